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

// sampleFiles is how many files of each interpreter's library the normal test reads; MITOGEN_SOAK=1 reads all.
const (
	sampleFiles = 40
	sampleSize  = 60_000
)

// shapes are the ways of minifying that are compared with the original; the first keeps lines.
var shapes = []Options{{}, {DropLines: true, Reindent: true, Tight: true}}

// TestAgainstPython shows that every interpreter here reads the same tokens as we do, and compiles minified
// files of its own library to the same tree.
func TestAgainstPython(t *testing.T) {
	found := testpython.Find()
	if len(found) == 0 {
		t.Fatal("no Python found; run scripts/setup-tests.sh")
	}
	for _, python := range found {
		t.Run(python.Name(), func(t *testing.T) {
			t.Parallel()
			files := library(t, python.Path)
			if os.Getenv("MITOGEN_SOAK") == "" {
				files = sample(files)
			}
			compare(t, python.Path, files)
		})
	}
}

// library returns the files of an interpreter's standard library, the test suite included.
func library(t *testing.T, python string) []string {
	t.Helper()
	out, err := exec.Command(python, "-c", "import os; print(os.path.dirname(os.__file__))").Output()
	if err != nil {
		t.Fatalf("find standard library: %v", err)
	}
	var files []string
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && strings.HasSuffix(path, "-packages") {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".py") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("list standard library: %d files, error %v", len(files), err)
	}
	return files
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

// compare has python check the files, and reports each line that it prints but the last.
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
	write(t, filepath.Join(dir, "list"), list.Bytes())
	out, err := exec.Command(python, "testdata/check.py", filepath.Join(dir, "list")).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if err != nil || !strings.HasPrefix(last, "checked ") || strings.HasPrefix(last, "checked 0 ") {
		t.Fatalf("check.py: %v\n%s", err, out)
	}
	t.Log(last)
	for _, line := range lines[:len(lines)-1] {
		t.Error(line)
	}
}

// prepare writes the minified file and its tokens, and returns the latter's name, - where we didn't understand
// the file.
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
