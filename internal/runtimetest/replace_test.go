package runtimetest

import (
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// interrupts has a function of os, and of the module that replaces files, do its work and then
// raise an exception.
const interrupts = `
import os, shutil, sys, tempfile, _mitogen_paths as p
directory = tempfile.mkdtemp()
path = os.path.join(directory, 'file')
if %[4]d:
    f = open(path, 'w')
    f.write('old')
    f.close()
holder, name = %[1]s
real = getattr(holder, name)
def interrupted(*args, **kw):
    value = real(*args, **kw)
    if %[2]s:
        setattr(holder, name, real)
        raise %[3]s
    return value
def fill(fd):
    os.write(fd, 'new'.encode())
    os.fsync(fd)
came = 'no exception'
setattr(holder, name, interrupted)
try:
    p.replace(path.encode(), 420, fill)
except:
    came = sys.exc_info()[0].__name__
setattr(holder, name, real)
result = [came, ' '.join(sorted(os.listdir(directory)))]
shutil.rmtree(directory)
`

// TestReplaceIsInterrupted: whenever an interrupt comes, a replaced file is the old one or the new
// one, and nothing else is left.
func TestReplaceIsInterrupted(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		for _, old := range []int{0, 1} {
			for _, tt := range []struct{ name, function, when, after string }{
				{"the new file is made", "os, 'open'", "args[1] & os.O_EXCL", ""},
				{"it is filled", "os, 'fsync'", "1", ""},
				{"its mode is set", "p, 'set_mode'", "1", ""},
				{"it is looked at", "os, 'fstat'", "value.st_size == 3", ""},
				{"it has taken its place", "os, 'rename'", "1", "file"},
			} {
				for _, exception := range []string{"KeyboardInterrupt", "MemoryError"} {
					what := fmt.Sprintf("%s when %s, old file %d", exception, tt.name, old)
					want := tt.after
					if old == 1 {
						want = "file"
					}
					got := l.call("rt:execute",
						fmt.Sprintf(interrupts, tt.function, tt.when, exception, old)).value().(*pyvalue.List).Items
					equal(t, what, got[0], exception)
					equal(t, "files: "+what, got[1], want)
				}
			}
		}
	})
}

const special = `
import os, shutil, stat, sys, tempfile, _mitogen_paths as p
directory = tempfile.mkdtemp()
path = os.path.join(directory, 'pipe')
os.mkfifo(path)
came = 'no exception'
try:
    p.replace(path.encode(), 420, lambda fd: None)
except EnvironmentError:
    came = str(sys.exc_info()[1].errno)
result = [came, stat.S_ISFIFO(os.lstat(path).st_mode), ' '.join(os.listdir(directory))]
shutil.rmtree(directory)
`

// A device, pipe or socket isn't replaced.
func TestReplaceSparesSpecial(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		got := start(t, py).call("rt:execute", special).value().(*pyvalue.List).Items
		equal(t, "error", got[0], "17")
		equal(t, "a pipe", got[1], true)
		equal(t, "files", got[2], "pipe")
	})
}
