package runtimetest

import (
	"fmt"
	"testing"
)

// Nothing is registered under a handle that something else has.
func TestHandlesAreOwnedOnce(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, heartbeat(30))
		ask := "import _mitogen_files as f\ntry:\n  f.answer(f.ask('r', 'pkg', 'a'), 'a')\nexcept IOError:\n  result = 'answered'"
		equal(t, "before", l.call("rt:execute", ask).value(), "answered")
		l.child(first, py)
		equal(t, "as a hop", l.call("rt:execute", ask).value(), "answered")
		l.call("rt:execute", "import mitogen\nresult = mitogen.Receiver().handle").value()
		equal(t, "with a receiver", l.call("rt:execute", ask).value(), "answered")
	})
}

// A value of any length is copied once on its way into frames.
func TestSendingCopiesOnce(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		const n = 6 << 20
		p := l.expect(first)
		copied := l.call("rt:execute", fmt.Sprintf(`import _mitogen as m
class Counted(type(m.EMPTY)):
    copied = 0
    def __getitem__(self, k):
        r = type(m.EMPTY).__getitem__(self, k)
        Counted.copied += len(r)
        return r
    def __getslice__(self, i, j):
        return self[slice(i, j)]
data = Counted(m.dumps('x' * %d, 2))
m.emit(0, %d, data, m.DATA)
m.settle(1)
result = Counted.copied - len(data)`, n, p.reply)).value()
		equal(t, "bytes copied more than once", copied, int64(0))
		equal(t, "length", len(fmt.Sprint(p.value())), n)
	})
}

// What is too large is refused where it is made: nothing of it is sent.
func TestTooLargeToSend(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, limit(300_000))
		for _, target := range []string{"rt:text", "rt:fail_long"} {
			p := l.call(target, 1<<20)
			p.fails("ValueError")
			equal(t, "parts of "+target, p.parts, 0)
		}
		p := l.call("rt:chunks", 1, 1<<20)
		p.fails("ValueError", "larger than 300000 bytes")
		equal(t, "parts of an item", p.parts, 0)
		equal(t, "largest", len(l.call("rt:text", 299_900).value().(string)), 299_900)
		l.call("rt:execute", "import mitogen\ntry:\n  mitogen.Context(0).call('a:b', 'x' * 400000)\nexcept ValueError:\n  result = 1").value()
	})
}
