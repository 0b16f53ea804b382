package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// renamed is a package whose modules are imported by other names than the engine knows them by: as
// those of another package, and from its directory as a place of sys.path.
const renamed = `
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.modules['alias'] = sys.modules[__name__]
sys.path.append(os.path.join(HERE, 'inner'))
`

// TestOtherNames: a file of a package is imported by each name that Python would import it by.
func TestOtherNames(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"renamed/__init__.py": renamed,
		"renamed/sub.py": "NAME = __name__", "renamed/deep/__init__.py": "NAME = __name__",
		"renamed/deep/mod.py": "NAME = __name__", "renamed/inner/__init__.py": "",
		"renamed/inner/flat.py": "NAME = __name__"} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	own := "import renamed\ndef names():\n  import alias.sub, alias.deep.mod, flat\n" +
		"  import renamed.sub, renamed.inner.flat\n" +
		"  return ' '.join([m.NAME for m in (alias.sub, alias.deep, alias.deep.mod, flat, " +
		"renamed.inner.flat)])\n" +
		"def gone():\n  try:\n    import alias.nowhere\n  except ImportError as e:\n    return str(e)\n"
	p, ok := testpython.Default()
	if !ok || testpython.Blind(t) == "env " {
		t.Skip("no python3, or no root for a target that doesn't share this disk")
	}
	c := nativeContext(t, dir, p, fstest.MapFS{"mine.py": {Data: []byte(own)}}, mitogen.Options{})
	got, err := mitogen.Call[string](t.Context(), c, "mine:names")
	plain := exec.Command(p.Path, "-c", own+"print(names())")
	plain.Env = append(os.Environ(), "PYTHONPATH="+dir)
	want, wrong := plain.Output()
	if err != nil || wrong != nil || got+"\n" != string(want) {
		t.Errorf("got %s, %v, want as plain Python: %s, %v", got, err, want, wrong)
	}
	if got, err = mitogen.Call[string](t.Context(), c, "mine:gone"); err != nil || got == "" {
		t.Errorf("a module that there isn't: got %q, %v", got, err)
	}
}
