package runtimetest

import (
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// TestWaitingThreads: threads that wait, and read meanwhile, hold up no call and no other thread.
// Nothing else wakes who reads: neither a timer nor a signal of life.
func TestWaitingThreads(t *testing.T) {
	const begin = `
import threading, time
import _mitogen as m
m.PATIENCE = 1 << 20
for i in range(3):
    t = threading.Thread(target=m.wait, args=(lambda: 0,))
    t.setDaemon(True)
    t.start()
time.sleep(.1)
result = 0
`
	// A thread finds that R is taken. Who has it gives it back, and wakes who waits, before that
	// thread does anything else. When the thread has R, main begins to want it.
	const late = `
import _mitogen as m
names = dict(m.__dict__)

class Lock:
    free = 0
    def acquire(self):
        if not self.free:
            raise AssertionError('sleeps, and nothing wakes it')
    def release(self):
        self.free = 1

class R:
    tries = 0
    def acquire(self, block):
        self.tries += 1
        if self.tries == 1:
            names['wake']()     # names of core
        m.S.want = self.tries == 2
        return self.tries > 1
    def release(self):
        m.S.want = 0

def again(fn):
    code = getattr(fn, '__code__', None) or fn.func_code
    return type(fn)(code, names)

read = []
names.update({'R': R(), 'WAITERS': [], 'lock': Lock,    # names of core
              'pump': lambda: read.append(1),   # names of core
              'atomic': lambda fn, *args: fn(*args)})   # names of core
for name in ('wake', 'turn'):   # names of core
    names[name] = again(m.__dict__[name])
again(m.wait)(lambda: read)
result = names['R'].tries, len(read)    # names of core
`
	on(t, []test{
		{"calls", func(t *testing.T, l *link) {
			l.call("rt:execute", begin).value()
			for range 30 {
				l.call("rt:execute", "import time\ntime.sleep(.02)\nresult = 0").value()
			}
		}},
		{"woken before they sleep", func(t *testing.T, l *link) {
			got := l.call("rt:execute", late).value()
			equal(t, "tries, and turns", got, pyvalue.Tuple{int64(3), int64(1)})
		}},
	})
}
