package runtimetest

import (
	"fmt"
	"testing"
)

// withAnsible executes source in a context. There m is the runtime, as an account of Ansible's has
// it.
func (l *link) withAnsible(source string) string {
	l.t.Helper()
	for _, name := range []string{"_mitogen_spawn", "_mitogen_tunnel", "_mitogen_ansible"} {
		l.push(first, name)
	}
	return l.call("rt:execute", `
import errno, fcntl, os, shutil, tempfile, zlib, _mitogen as m
brings = 'CHILDREN TUNNELS TEMPS'.split()     # names of core
for name, brings in zip(('spawn', 'tunnel', 'ansible'), brings):
    if brings not in m.__dict__:
        text = zlib.decompress(m.MODULES['_mitogen_' + name][2])
        exec(compile(text, '<%s>' % name, 'exec'), m.__dict__)

def refuse(error):
    def fail(*args):
        raise error
    return fail
`+source).value().(string)
}

// An end of the parent that can't be seen to in all is an end all the same.
func TestDieWhateverFails(t *testing.T) {
	const source = `
dirs = [tempfile.mkdtemp().encode() for i in range(3)]
held = os.open(dirs[%d], os.O_RDONLY)
fcntl.flock(held, fcntl.LOCK_SH)
m.TEMPS.clear()
m.TEMPS.update(dict([(dir, 1) for dir in dirs]))
died = []
at, name, error = %s   # names of core
old = getattr(at, name)
setattr(at, name, refuse(error))
try:
    try:
        m.tidying_die(lambda: died.append(1))
        raised = 0
    except Exception:
        raised = 1
finally:
    setattr(at, name, old)
    os.close(held)
    stay = [os.path.isdir(dir) for dir in dirs]
    m.TEMPS.clear()
    for dir in dirs:
        shutil.rmtree(dir, 1)
result = '%%d died, %%d stay, raised %%d' %% (len(died), stay.count(True), raised)
`
	var tests []test
	for i, tt := range []struct{ name, fails, want string }{
		{"no process", "m.posix, 'fork', OSError(errno.EAGAIN, 'no')", "1 died, 1 stay, raised 0"},
		{"no memory", "m.posix, 'fork', OSError(errno.ENOMEM, 'no')", "1 died, 1 stay, raised 0"},
		{"no rights", "m, 'by_login', KeyError('SUDO_UID')", "1 died, 3 stay, raised 1"},
		{"removal", "m, 'remove', MemoryError()", "1 died, 3 stay, raised 1"},
	} {
		tests = append(tests, test{tt.name, func(t *testing.T, l *link) {
			equal(t, "end", l.withAnsible(fmt.Sprintf(source, i%3, tt.fails)), tt.want)
		}})
	}
	on(t, tests)
}

// A directory that a job holds is waited for, but not for ever. This test's clock doesn't sleep.
func TestLockWithin(t *testing.T) {
	const source = `
class Clock:
    slept = 0
    turns = 0
    def sleep(self, seconds):
        self.slept += seconds
        self.turns += 1
        if self.turns == %[1]d:
            os.close(held)
clock = Clock()
dir = tempfile.mkdtemp()
held, fd = os.open(dir, os.O_RDONLY), os.open(dir, os.O_RDONLY)
fcntl.flock(held, fcntl.LOCK_SH)
%[2]s
fn = m.lock_within
fn = type(fn)(getattr(fn, '__code__', 0) or fn.func_code, dict(m.__dict__, time=clock))
got = fn(fd, 86400)
shutil.rmtree(dir, 1)
if clock.turns < %[1]d:
    os.close(held)
result = 'got %%d, slept %%d' %% (got, round(clock.slept, 3))
`
	var tests []test
	for _, tt := range []struct {
		name  string
		calls int
		first string
		want  string
	}{
		{"held for ever", 1 << 30, "", "got 0, slept 86400"},
		{"held for a moment", 1, "", "got 1, slept 0"},
		{"held for a while", 100, "", "got 1, slept 2781"},
		{"not held", 1 << 30, "fcntl.flock(held, fcntl.LOCK_UN)", "got 1, slept 0"},
		{"shared with the job that waits", 3, "fcntl.flock(fd, fcntl.LOCK_SH)", "got 1, slept 0"},
		{"closed", 1 << 30, "os.close(fd)", "got 0, slept 0"},
		{"removed by the job", 1 << 30, "os.rmdir(dir)", "got 0, slept 0"},
	} {
		tests = append(tests, test{tt.name, func(t *testing.T, l *link) {
			equal(t, "lock", l.withAnsible(fmt.Sprintf(source, tt.calls, tt.first)), tt.want)
		}})
	}
	on(t, tests)
}

// At the parent's end a wrapper's directory goes too, unless it belongs to a job.
func TestDieWithWrapper(t *testing.T) {
	const source = `
dirs = [tempfile.mkdtemp().encode() for i in range(2)]
m.TEMPS.clear()
for dir in dirs:
    open(dir + '/async_wrapper.py'.encode(), 'w').close()
    m.TEMPS[dir] = 1
m.STEPS['keep'](dirs[1])
m.tidying_die(lambda: 0)
result = 'stay: %s' % [int(os.path.isdir(dir)) for dir in dirs]
for dir in dirs:
    shutil.rmtree(dir, 1)
`
	on(t, []test{{"wrapper", func(t *testing.T, l *link) {
		equal(t, "end", l.withAnsible(source), "stay: [0, 1]")
	}}})
}
