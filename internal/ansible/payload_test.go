package ansible

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// What a module does with the places of its files. Each prints "well".
var uses = map[string]string{
	"another interpreter": `
import os, subprocess, sys
import ansible.module_utils.basic as basic
env = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(os.path.dirname(basic.__file__))))
for program in (sys.executable, basic.args()):
    code = 'import ansible.module_utils.basic as b; print(len(b.LOADED))'
    out = subprocess.Popen([program, '-c', code], env=env, stdout=subprocess.PIPE).communicate()[0]
    assert out.decode().strip() == '0', (program, out)
print('well')
sys.exit(0)
`,
	"itself, by stdin": `
import subprocess, sys
SAID = 'well'
if __name__ == '__main__':
    code = ("import sys; sys.path.insert(0, %r); import ansible.modules.x as x; print(x.SAID)" %
            _modlib_path)
    p = subprocess.Popen([sys.executable, '--'], stdin=subprocess.PIPE)
    p.communicate(code.encode())
    sys.exit(p.returncode)
# respawn
`,
	"sys.path as PYTHONPATH": `
import os, subprocess, sys
env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
code = 'import ansible.module_utils.basic; print(\'well\')'
sys.exit(subprocess.call(['/bin/sh', '-c', sys.executable + ' -c "' + code + '"'], env=env))
`,
	"processes that are started": `
import sys
if sys.version_info[0] == 2:
    print('well')
    sys.exit(0)
import multiprocessing
from ansible.module_utils import basic
def work(x):
    return x + len(basic.LOADED)
if __name__ == '__main__':
    for method in multiprocessing.get_all_start_methods():
        pool = multiprocessing.get_context(method).Pool(2)
        assert pool.map(work, [1, 2]) == [1, 2], method
        pool.close()
        pool.join()
    print('well')
    sys.exit(0)
`,
	"a list of modules": `
import pkgutil, sys
import ansible, ansible.module_utils
assert [m[1:] for m in pkgutil.iter_modules(ansible.module_utils.__path__)] == [('basic', False)]
walked = [m[1:] for m in pkgutil.walk_packages(ansible.__path__, 'ansible.')]
assert walked[0] == ('ansible.module_utils', True)
data = pkgutil.get_data('ansible.module_utils', 'basic.py')
assert data.strip().startswith('import subprocess'.encode())
print('well')
sys.exit(0)
`,
	"resources": `
import sys
try:
    from importlib.resources import files
    names = sorted([f.name for f in files('ansible.module_utils').iterdir()])
    assert names == ['__init__.py', 'basic.py'], names
    assert 'LOADED' in files('ansible.module_utils').joinpath('basic.py').read_text()
except ImportError:
    pass
print('well')
sys.exit(0)
`,
	"a source": `
import inspect, sys
import ansible.module_utils.basic as basic
assert 'def args' in inspect.getsource(basic.args)
print('well')
sys.exit(0)
`,
}

// Paths of a module's files are of use to other processes.
func TestPlacesOfFiles(t *testing.T) {
	if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
		t.Skip("there is no other interpreter")
	}
	for _, i := range testpython.Sample(t.Name()) {
		t.Run(i.Name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, i.Path)
			for name, text := range uses {
				if out, errs, status := b.run(b.s.store.module(t, text), "/usr/bin/python3",
					nil); strings.TrimSpace(out) != "well" || status != 0 {
					t.Errorf("%s: got %q, %q, %d, want well", name, out, errs, status)
				}
			}
			for _, place := range []string{"/run/ansible_*", "/run/user/*/ansible_*"} {
				if left, _ := filepath.Glob(place); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			}
		})
	}
}

// closing are modules that close the file in RAM, or have another file of its number.
// Each prints "well".
var closing = map[string]string{
	"closed": `
import os, subprocess, sys
os.closerange(3, 256)
out = subprocess.check_output([sys.executable, '-c', 'print(1)'], close_fds=False)
assert out == b'1\n', out
print('well')
sys.exit(0)
`,
	"pipe": `
import os, subprocess, sys
r, w = os.pipe()
os.dup2(w, 200)
os.close(w)
out = subprocess.check_output([sys.executable, '-c', 'print(1)'])
assert out == b'1\n', out
os.close(200)
assert os.read(r, 1) == b''
print('well')
sys.exit(0)
`,
	"another file": `
import os, subprocess, sys
from ansible.module_utils import basic
fd = os.open(basic.args(), os.O_RDWR | os.O_CREAT)
os.write(fd, b'theirs')
os.dup2(fd, 200)
subprocess.check_call([sys.executable, '-c', ''])
sys.meta_path[0].get_resource_reader('ansible.module_utils')
assert open(basic.args(), 'rb').read() == b'theirs'
assert subprocess.call([sys.executable, '-c', 'import os; os.fstat(200)'], stderr=subprocess.PIPE)
print('well')
sys.exit(0)
`,
}

// A module that closes the file starts programs all the same, and nothing is written to another
// file of that number.
func TestFileIsClosed(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	for name, text := range closing {
		file := filepath.Join(t.TempDir(), "file")
		out, errs, status := b.run(b.s.store.module(t, text), file, nil)
		if strings.TrimSpace(out) != "well" || status != 0 {
			t.Errorf("%s: got %q, %q, %d, want well", name, out, errs, status)
		}
	}
}

// Programs that a module starts don't have the file, but for interpreters.
func TestFileIsNotInherited(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	const text = `
import os, subprocess, sys
here = os.path.realpath('/proc/self/fd/200')
links = 'import os; print([os.readlink("/proc/self/fd/" + n) for n in ("200",)])'
for argv, want in ((['ls', '-l', '/proc/self/fd'], False),
                   (['sh', '-c', 'ls -l /proc/self/fd'], False),
                   ([sys.executable, '-c', links], True)):
    out = subprocess.run(argv, stdout=subprocess.PIPE).stdout.decode()
    assert ('memfd' in out) == want, out
try:
    os.write(200, b'x')
    sys.exit('not sealed')
except OSError:
    pass
sys.stdout.write(here)
sys.exit(0)
`
	out, errs, status := b.run(b.s.store.module(t, text), "", nil)
	if !strings.Contains(out, "memfd") || status != 0 {
		t.Errorf("got %q, %q, %d, want a file in RAM", out, errs, status)
	}
}
