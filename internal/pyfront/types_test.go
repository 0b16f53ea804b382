package pyfront

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// located finds file and line of an error of a type checker.
var located = regexp.MustCompile(`(?m)^\s*(\S+\.py):(\d+):(?:\d+ -)? error: `)

// complaints returns the lines of a file with errors of a type checker, those of other files as
// negative numbers, and all that it says.
func complaints(t *testing.T, file string, args ...string) (lines []int, said string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	api, err := filepath.Abs(filepath.Join("..", "..", "pyapi"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "MYPYPATH="+api, "PYTHONPATH="+api, "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	for _, m := range located.FindAllStringSubmatch(string(out), -1) {
		n, _ := strconv.Atoi(m[2])
		if filepath.Base(m[1]) != file {
			n = -n
		}
		lines = append(lines, n)
	}
	slices.Sort(lines)
	if err != nil && len(lines) == 0 {
		t.Fatalf("run %s: got %v and no errors\n%s", strings.Join(args, " "), err, out)
	}
	return slices.Compact(lines), string(out)
}

// TestTypes has mypy and pyright read the package, which has no error, and a program with the
// types of what calls return, which has one in each line that says so.
func TestTypes(t *testing.T) {
	if !testpython.All() {
		t.Skip("long: make types")
	}
	dir := tools(t, "types")
	const file = "typed.py"
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasSuffix(line, "# wrong") {
			want = append(want, i+1)
		}
	}
	pkg, err := filepath.Glob(filepath.Join("..", "..", "pyapi", "mitogo", "*.py"))
	compat, _ := filepath.Glob(filepath.Join("..", "..", "pyapi", "mitogo", "compat", "*.py"))
	if err != nil || len(pkg) == 0 || len(compat) == 0 {
		t.Fatalf("the package's files: %v, %v, %v", pkg, compat, err)
	}
	// What programs import as mitogen is read by Python 2.7, too, and has no types.
	files := append(slices.Concat(pkg, compat), filepath.Join("testdata", file))
	python := filepath.Join(dir, "python")
	for _, checker := range [][]string{
		{filepath.Join(dir, "mypy"), "--strict", "--cache-dir", t.TempDir()},
		{filepath.Join(dir, "pyright"), "--pythonpath", python},
		{filepath.Join(dir, "pyright"), "--pythonpath", python, "--pythonversion", "3.8"},
	} {
		lines, said := complaints(t, file, append(checker, files...)...)
		if !slices.Equal(lines, want) {
			t.Errorf("%s: got errors in the lines %v of %s, want them in %v\n%s",
				filepath.Base(checker[0]), lines, file, want, said)
		}
	}
}
