package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// foreign prints which of some names an object of Python's has that the runtime may hold: a
// module that it uses, a class there, or an instance of a builtin type.
const foreign = `
import sys
names = dict.fromkeys(sys.argv[1].split())
modules = '''errno fcntl os posix select struct time zlib signal socket _socket io codecs re types
  collections pickle logging traceback atexit faulthandler termios warnings subprocess
  linecache threading importlib importlib.machinery importlib.util importlib.abc imp
  importlib.resources importlib.metadata multiprocessing multiprocessing.spawn runpy pwd grp
  multiprocessing.reduction resource gc tempfile shutil ctypes hashlib bz2 tokenize contextlib
  pathlib json enum dataclasses datetime uuid decimal fractions zipimport zipfile pkgutil
  inspect ssl sqlite3 locale _frozen_importlib _frozen_importlib_external'''.split()
found = {}

def look(what, o):
    for a in dir(o):
        if a in names:
            found['%s.%s' % (what, a)] = 1

for name in modules:
    try:
        module = __import__(name, None, None, ['x'])
    except ImportError:
        continue
    look(name, module)
    for n in dir(module):
        value = getattr(module, n, None)
        if isinstance(value, type):
            look(name + '.' + n, value)
frame = sys._getframe()
import select, threading
for o in (1, 1.5, 1j, '', ''.encode(), ''.encode().decode(), [], {}, (), None, lambda: 0, look,
          type, frame, frame.f_code, iter([]), (i for i in ()), sys.stdout, Exception(),
          OSError(), SyntaxError(), UnicodeError, threading.Lock(), select.poll(), [].append):
    look(repr(type(o)), o)
    look(repr(type(o)), type(o))
print('\n'.join(found))
`

// No object that the runtime didn't make has an attribute that is renamed.
func TestAttributesAreOurs(t *testing.T) {
	pythons := testpython.Sample(t.Name())
	if len(pythons) == 0 {
		t.Skip("no Python")
	}
	run := func(py, names string) string {
		out, err := exec.Command(py, "-W", "ignore", "-c", foreign, names).CombinedOutput()
		if err != nil {
			t.Fatalf("look for attributes on %s: got %v, want none: %s", py, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, py := range pythons {
		if got := run(py.Path, strings.Join(rules.Attributes, " ")); got != "" {
			t.Errorf("%s: attributes of others that the linker renames:\n%s", py.Name(), got)
		}
		if got := run(py.Path, "append f_back path"); strings.Count(got, "\n") < 2 {
			t.Errorf("%s: found %q of append, f_back and path, want all", py.Name(), got)
		}
	}
}
