package pysource

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// sampleFiles is the number of files of each interpreter's library that the normal test reads. With
// MITOGEN_SOAK=1 it reads all.
const (
	sampleFiles = 40
	sampleSize  = 60_000
)

var soak = os.Getenv("MITOGEN_SOAK") != ""

// shapes are the ways of minifying that are compared with the original; the first keeps lines.
var shapes = []Options{{}, {DropLines: true, Reindent: true, Tight: true}}

// TestAgainstPython shows that interpreters read the same tokens as this package, and compile
// minified files of their own libraries to the same tree. It tries a sample, by package testpython;
// MITOGEN_SOAK=1 tries all.
func TestAgainstPython(t *testing.T) { onLibraries(t, compare) }

// TestImportsAgainstPython shows that such interpreters find the same imports as we do.
func TestImportsAgainstPython(t *testing.T) { onLibraries(t, compareImports) }

func onLibraries(t *testing.T, test func(t *testing.T, python string, files []string)) {
	found := testpython.Sample(t.Name())
	if len(found) == 0 {
		t.Fatal("no Python found; run scripts/setup-tests.sh")
	}
	for _, python := range found {
		t.Run(python.Name(), func(t *testing.T) {
			t.Parallel()
			files := library(t, python.Path)
			if soak {
				files = append(files, installed(t, python.Path)...)
			} else {
				files = sample(files)
			}
			test(t, python.Path, files)
		})
	}
}

// library returns the files of an interpreter's standard library, the test suite included.
func library(t *testing.T, python string) []string {
	t.Helper()
	return files(t, ask(t, python, "import os; print(os.path.dirname(os.__file__))"))
}

// installed returns the files of the packages that an interpreter has besides its library.
func installed(t *testing.T, python string) []string {
	t.Helper()
	var all []string
	for dir := range strings.FieldsSeq(ask(t, python,
		"import sys; print('\\n'.join([p for p in sys.path if p.endswith('-packages')]))")) {
		all = append(all, files(t, dir)...)
	}
	return all
}

func ask(t *testing.T, python, question string) string {
	t.Helper()
	out, err := exec.Command(python, "-c", question).Output()
	if err != nil {
		t.Fatalf("run %s -c %q: %v", python, question, err)
	}
	return strings.TrimSpace(string(out))
}

// files returns the Python files below dir, but for packages installed there.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && path != dir && strings.HasSuffix(path, "-packages") {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".py") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	return found
}

// TestAgainstPackages does the same with packages that are hard to read, or large.
func TestAgainstPackages(t *testing.T) {
	if !soak {
		t.Skip("MITOGEN_SOAK is not set")
	}
	found := testpython.Find()
	python := found[len(found)-1].Path
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	venv := filepath.Join(cache, "mitogen-go", "pysource", found[len(found)-1].Name())
	for _, command := range [][]string{
		{python, "-m", "venv", venv},
		{filepath.Join(venv, "bin", "pip"), "install", "-q", "pygments", "sympy", "sqlalchemy", "boto3"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("run %v: %v; output:\n%s", command, err, out)
		}
	}
	python = filepath.Join(venv, "bin", "python")
	packages := installed(t, python)
	compare(t, python, packages)
	compareImports(t, python, packages)
}

// sample picks some files, the same ones each time.
func sample(files []string) []string {
	r := rand.New(rand.NewPCG(1, 2))
	var picked []string
	want := sampleFiles
	if testing.Short() {
		want /= 4
	}
	for _, i := range r.Perm(len(files)) {
		if info, err := os.Stat(files[i]); err == nil && info.Size() < sampleSize && len(picked) < want {
			picked = append(picked, files[i])
		}
	}
	return picked
}

// compare has python read and compile the files as they are and minified.
func compare(t *testing.T, python string, files []string) {
	t.Helper()
	dir := t.TempDir()
	var list bytes.Buffer
	for i, file := range files {
		for j, shape := range shapes {
			base := filepath.Join(dir, fmt.Sprintf("%d-%d", i, j))
			tokens := prepare(t, file, base, shape)
			fmt.Fprintf(&list, "%s\t%s\t%s\t%d\n", file, base+".py", tokens, 1-min(j, 1))
		}
	}
	check(t, python, "testdata/check.py", dir, list.Bytes())
}

// compareImports has python look for the imports of files.
func compareImports(t *testing.T, python string, files []string) {
	t.Helper()
	dir := t.TempDir()
	var list bytes.Buffer
	for i, file := range files {
		name := filepath.Join(dir, fmt.Sprint(i))
		fmt.Fprintf(&list, "%s\t%s\n", file, importList(t, file, name))
	}
	check(t, python, "testdata/imports.py", dir, list.Bytes())
}

// importList writes what we know about a file, and returns where, or - and why we don't know.
func importList(t *testing.T, file, name string) string {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Scan(src)
	if err != nil {
		return fmt.Sprintf("- %v", err)
	}
	var b bytes.Buffer
	for _, i := range info.Imports {
		where := i.Where.String()
		if where == "" {
			where = "-"
		}
		fmt.Fprintf(&b, "%d\t%d\t%s\t%s\t%s\n", i.Line, i.Level, i.Module, strings.Join(i.Names, ","),
			where)
	}
	for n, g := range info.Guards {
		if n > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d-%d", g.Line, g.Last)
	}
	write(t, name, b.Bytes())
	return name
}

// check runs a script on a list in dir, and reports each line that it prints but the last.
func check(t *testing.T, python, script, dir string, list []byte) {
	t.Helper()
	write(t, filepath.Join(dir, "list"), list)
	out, err := exec.Command(python, script, filepath.Join(dir, "list")).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if err != nil || !strings.HasPrefix(last, "checked ") || strings.HasPrefix(last, "checked 0 ") {
		t.Fatalf("run %s: got error %v, want more than 0 checked; output:\n%s", script, err, out)
	}
	t.Log(last)
	for _, line := range lines[:len(lines)-1] {
		t.Error(line)
	}
}

// prepare writes the minified file and its tokens, and returns the latter's name, - where we didn't
// understand the file.
func prepare(t *testing.T, file, base string, o Options) string {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	min, err := Minify(src, o)
	write(t, base+".py", min)
	if se := (*SyntaxError)(nil); errors.As(err, &se) {
		return fmt.Sprintf("- %v", err)
	}
	toks, _ := Tokens(src)
	var b bytes.Buffer
	for _, tok := range toks {
		if tok.Kind != EOF {
			fmt.Fprintln(&b, tok.Kind, tok.Start, tok.End)
		}
	}
	write(t, base+".tok", b.Bytes())
	return base + ".tok"
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
