package modules

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// shortFS can open nothing, for lack of err, until that is nil.
type shortFS struct {
	fstest.MapFS
	err *error
}

func (s shortFS) Open(name string) (fs.File, error) {
	if *s.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: *s.err}
	}
	return s.MapFS.Open(name)
}

// A module that can't be read for lack of descriptors or memory isn't said to be nowhere, nor is
// another one of its name taken. It is found later.
func TestShort(t *testing.T) {
	for _, lacks := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		for _, name := range []string{"m", "pkg", "pkg.sub"} {
			err := lacks
			first := shortFS{fstest.MapFS{"m.py": {Data: []byte("first = 1")}, "pkg/__init__.py": {},
				"pkg/sub.py": {}}, &err}
			second := fstest.MapFS{"m.py": {Data: []byte("second = 1")}, "pkg/__init__.py": {},
				"pkg/sub.py": {}}
			f := New([]Entry{{FS: first, Own: true}, {FS: second, Own: true}},
				func(string) ([]byte, bool) { return nil, false }, Options{})
			m := f.Find(name)
			if got := string(m.Rest()); m.Letter != Missing || !strings.Contains(got, lacks.Error()) {
				t.Errorf("%s, %v: got letter %q, %q, want the error", name, lacks, m.Letter, got)
			}
			err = nil
			if m := f.Find(name); m.Letter == Missing {
				t.Errorf("%s, after %v: got letter %q, want the module", name, lacks, m.Letter)
			}
		}
	}
}
