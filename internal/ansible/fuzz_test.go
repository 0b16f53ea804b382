package ansible

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzWrapper checks that whatever a program of a playbook is, it is a wrapper that is known, or an
// error.
func FuzzWrapper(f *testing.F) {
	files, _ := filepath.Glob("testdata/wrappers/*")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Add([]byte("_ANSIBALLZ_WRAPPER = True\n    ZIPDATA = \"eA==\"\n" +
		"    ANSIBALLZ_PARAMS = '{\"a\": \"\\x41\\u00e9\"}'\n"))
	f.Add(append([]byte("code"), append(newTail,
		"zip_data='eA==',\nparams='{}',\nmodule_fqn='m',\nprofile='legacy',\n)\n"...)...))
	f.Add([]byte("'\\U0010ffff\\xz'"))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		p, err := parseWrapper(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the program has been changed")
		}
		if err == nil && (p.zip == nil || p.params == nil || p.module == "") {
			t.Fatalf("a wrapper without a part: %+v", p)
		}
		if from, to := parameters(b); from >= 0 && (to < from || to > len(b)) {
			t.Fatalf("parameters from %d to %d of %d", from, to, len(b))
		}
		pythonString(string(b))
	})
}
