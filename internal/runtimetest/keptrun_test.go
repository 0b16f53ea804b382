package runtimetest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// outputs begins a program that has keep.py, with what it needs of the core. The fork whose number
// is in its arguments fails, if there is one.
const outputs = `
import errno, fcntl, os, sys
core = type(sys)('_mitogen')
sys.modules['_mitogen'] = core
class posix:
    pipe = staticmethod(os.pipe)
    forks = 0
    def fork():
        posix.forks += 1
        if str(posix.forks) == sys.argv[2]:
            raise OSError(errno.EAGAIN, 'none')
        return os.fork()
    fork = staticmethod(fork)
core.posix, core.fcntl, core.errno = posix, fcntl, errno
core.STDOUT, core.STDERR, core.ZERO = 1, 2, '\0'.encode()
core.private = lambda fd: fcntl.fcntl(fd, fcntl.F_SETFD, 1)
core.new_mark = lambda: '1'
core.resource_module = lambda: __import__('resource')
core.bear_mark = lambda resource, mark=None: 0
def close_all_but(kept):
    for fd in range(3, 64):
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass
core.close_all_but = close_all_but
keep = {'__name__': '_mitogen_keep'}
exec(compile(open(sys.argv[1]).read(), 'keep.py', 'exec'), keep)
r, w = os.pipe()
core.guard_sweep = lambda mark, seen: os._exit(0)
before = sorted(os.listdir('/proc/self/fd'))
try:
    o = keep['Outputs']()
    o.unlock()
    print('guarded')
except OSError:
    print(sys.exc_info()[1].args[0] == errno.EAGAIN and
          sorted(os.listdir('/proc/self/fd')) == before)
`

// What is to be kept isn't started without its guard.
func TestKeptRunHasAGuard(t *testing.T) {
	for _, p := range testpython.Sample(t.Name()) {
		for fails, want := range map[string]string{"0": "guarded", "1": "True", "2": "True"} {
			out, err := exec.Command(p.Path, "-c", outputs, "../../python/keep.py", fails).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != want {
				t.Errorf("%s, fork %s fails: got %v, %s, want %s", p.Name(), fails, err, got, want)
			}
		}
	}
}
