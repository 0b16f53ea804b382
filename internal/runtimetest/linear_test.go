package runtimetest

import (
	"fmt"
	"strings"
	"testing"
)

// Nothing is registered under a handle that something else has.
func TestHandlesAreOwnedOnce(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, heartbeat(30))
		ask := "import _mitogen_files as f\ntry:\n  f.answer(f.ask('r', 'pkg', 'a'), 'a')\nexcept " +
			"IOError:\n  result = 'answered'"
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
			p.fails("ValueError", "larger than 300000 bytes")
			equal(t, "parts of "+target, p.parts, 0)
		}
		p := l.call("rt:chunks", 1, 1<<20)
		p.fails("ValueError", "larger than 300000 bytes")
		equal(t, "parts of an item", p.parts, 0)
		equal(t, "largest", len(l.call("rt:text", 299_900).value().(string)), 299_900)
		l.call("rt:execute", "import mitogen\ntry:\n  mitogen.Context(0).call('a:b', 'x' * 400000)\n"+
			"except ValueError:\n  result = 1").value()
	})
}

// An error that can't be told is replaced by a short error that names it, whatever a program has
// named it. The context goes on.
func TestErrorWhoseTextFails(t *testing.T) {
	const source = "import _mitogen as m\nInner = type(%s, (BaseException,), {})\n" +
		"class Outer(Exception):\n  def __str__(self):\n    raise Inner(%s)\n  __repr__ = __str__\n" +
		"raise Outer()"
	long := strings.Repeat("x", 200)
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, limit(300_000))
		for _, tt := range []struct{ name, class, text, wantType, wantText string }{
			{"short", "'Inner'", "'why'", "Inner", "why"},
			{"long name", "'x' * 400000", "'why'", long, "why"},
			{"long text", "'Inner'", "'x' * 400000", "Inner", long},
			{"both long", "'x' * 400000", "'x' * 400000", long, long},
			{"name beyond ASCII", "m.native(u'na\\xefve'.encode('utf-8'))", "u'na\\xefve'", "na\u00efve",
				"na\u00efve"},
		} {
			e := l.call("rt:execute", fmt.Sprintf(source, tt.class, tt.text)).error()
			equal(t, "type, "+tt.name, e.Type, tt.wantType)
			equal(t, "text, "+tt.name, e.Text, tt.wantText)
			equal(t, "answer after it, "+tt.name, l.call("rt:echo", "well").value(), "well")
		}
	})
}
