package runtimetest

import (
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

func TestLargeValues(t *testing.T) {
	on(t, []test{
		{"results", func(t *testing.T, l *link) {
			// The pickle's own bytes put these around the size of a frame, and of the window.
			for _, n := range []int{131_000, 131_060, 131_072, 131_073, 262_144, 1 << 20, 5 << 20} {
				if got := l.call("rt:text", n).value(); got != strings.Repeat("x", n) {
					t.Fatalf("%d characters came as %.100v", n, got)
				}
			}
		}},
		{"results wait for credit", func(t *testing.T, l *link) {
			big := l.expect(first)
			release := l.hold(big.reply)
			l.send(wire.Frame{Dst: first, Handle: wire.Call, Reply: big.reply,
				Payload: l.payload("rt:text", []any{5 << 20})})
			got := l.settled(big, func() int { return big.parts })
			if got < wire.Window || got > wire.Window+wire.MaxPayload {
				t.Errorf("%d bytes came without credit", got)
			}
			release()
			equal(t, "length", len(big.value().(string)), 5<<20)
		}},
		{"arguments", func(t *testing.T, l *link) {
			const n = 5 << 20
			p := l.call("rt:length", strings.Repeat("y", n))
			equal(t, "length", p.value(), int64(n))
			k := flow{first, p.reply}
			l.await("credit", func() bool { return l.granted[k] >= n-wire.MaxPayload })
		}},
		{"arguments given up", func(t *testing.T, l *link) {
			p := l.expect(first)
			send := func(kind wire.Kind, payload []byte) {
				l.send(wire.Frame{Dst: first, Kind: kind, Handle: wire.Call, Reply: p.reply, Payload: payload})
			}
			whole := l.payload("rt:echo", []any{"whole"})
			send(wire.Part, whole[:5])
			send(wire.Part, nil)
			send(wire.Part, whole[:7])
			send(wire.Data, whole[7:])
			equal(t, "result", p.value(), "whole")
		}},
		{"interleaved arguments", func(t *testing.T, l *link) {
			a, b := l.expect(first), l.expect(first)
			send := func(p *pending, kind wire.Kind, payload []byte) {
				l.send(wire.Frame{Dst: first, Kind: kind, Handle: wire.Call, Reply: p.reply, Payload: payload})
			}
			whole := l.payload("rt:echo", []any{"halves"})
			send(a, wire.Part, whole[:5])
			send(b, wire.Part, whole[:9])
			l.call("rt:nothing").value()
			send(b, wire.Data, whole[9:])
			send(a, wire.Data, whole[5:])
			equal(t, "a", a.value(), "halves")
			equal(t, "b", b.value(), "halves")
		}},
	})
}

// settled waits until n, called with mu held, has not grown for a while, and returns it. It fails
// where p is answered.
func (l *link) settled(p *pending, n func() int) int {
	l.t.Helper()
	last, since := -1, time.Now()
	l.await("standstill", func() bool {
		if p.done {
			l.t.Fatal("the answer has come: nothing waited for credit")
		}
		if got := n(); got != last || got == 0 {
			last, since = got, time.Now()
		}
		time.AfterFunc(20*time.Millisecond, l.changed.Broadcast)
		return time.Since(since) > 300*time.Millisecond
	})
	return last
}

func TestMessageLimit(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, limit(300_000))
		for _, n := range []int{290_000, 300_000, 390_000, 393_216, 500_000, 2 << 20} {
			l.call("rt:notes").wait()
			p := l.call("rt:note", strings.Repeat("z", n))
			if n <= 290_000 {
				p.value()
				equal(t, "calls", l.call("rt:notes").value().(*pyvalue.List).Items,
					[]any{strings.Repeat("z", n)})
				continue
			}
			p.dead("larger than 300000 bytes")
			equal(t, "calls", len(l.call("rt:notes").value().(*pyvalue.List).Items), 0)
			equal(t, "parts kept", l.call("rt:evaluate", "len(sys.modules['_mitogen'].PARTS)").value(),
				int64(0))
			l.mu.Lock()
			equal(t, "answers", p.times, 1)
			credit := l.granted[flow{first, p.reply}]
			l.mu.Unlock()
			if credit < n-wire.MaxPayload {
				t.Errorf("credit for %d bytes of %d", credit, n)
			}
		}
	})
}

func TestGenerators(t *testing.T) {
	on(t, []test{
		{"items", func(t *testing.T, l *link) {
			p := l.call("rt:count", 3)
			equal(t, "result", p.value(), nil)
			equal(t, "items", p.list(), []any{int64(0), int64(1), int64(2)})
			p = l.call("rt:count", 0)
			equal(t, "result of none", p.value(), nil)
			equal(t, "no items", p.list(), []any(nil))
		}},
		{"many", func(t *testing.T, l *link) {
			calls := make([]*pending, 1000)
			for i := range calls {
				calls[i] = l.call("rt:count", 4)
			}
			for _, p := range calls {
				p.value()
				equal(t, "items", len(p.items), 4)
			}
			equal(t, "flows", l.windows(first), "[]")
		}},
		{"failure behind items", func(t *testing.T, l *link) {
			p := l.call("rt:count_then_fail", 2)
			p.fails("ValueError", "after 2")
			equal(t, "items", p.list(), []any{int64(0), int64(1)})
		}},
		{"window", func(t *testing.T, l *link) {
			p := l.expect(first)
			release := l.hold(p.reply)
			l.send(wire.Frame{Dst: first, Handle: wire.Call, Reply: p.reply,
				Payload: l.payload("rt:chunks", []any{50, 100_000})})
			got := l.settled(p, func() int { return len(p.items) })
			if got < 10 || got > 12 {
				t.Errorf("%d items of 100,000 bytes came without credit", got)
			}
			release()
			p.value()
			equal(t, "items", len(p.items), 50)
		}},
		{"large items", func(t *testing.T, l *link) {
			p := l.call("rt:chunks", 3, 3<<20)
			p.value()
			equal(t, "items", len(p.items), 3)
			for _, item := range p.list() {
				equal(t, "length", len(item.([]byte)), 3<<20)
			}
		}},
		{"output of the generator", func(t *testing.T, l *link) {
			l.stdout()
			p := l.call("rt:printing", 3)
			p.value()
			equal(t, "stdout", l.stdout(), "item 0\nitem 1\nitem 2\n")
		}},
		{"cancelled while it waits for credit", func(t *testing.T, l *link) {
			p := l.expect(first)
			release := l.hold(p.reply)
			defer release()
			l.send(wire.Frame{Dst: first, Handle: wire.Call, Reply: p.reply,
				Payload: l.payload("rt:chunks", []any{50, 100_000})})
			l.settled(p, func() int { return len(p.items) })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
		}},
		{"cancelled within an item", func(t *testing.T, l *link) {
			p := l.expect(first)
			release := l.hold(p.reply)
			defer release()
			l.send(wire.Frame{Dst: first, Handle: wire.Call, Reply: p.reply,
				Payload: l.payload("rt:chunks", []any{1, 3 << 20})})
			l.settled(p, func() int { return p.parts })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			equal(t, "items", len(p.items), 0)
		}},
		{"cancelled between items", func(t *testing.T, l *link) {
			p := l.call("rt:count", 1<<30)
			l.await("items", func() bool { return len(p.items) > 100 })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
		}},
	})
}

func TestCancel(t *testing.T) {
	on(t, []test{
		{"queued", func(t *testing.T, l *link) {
			running, queued := l.begin("rt:sleep", "sleeping\n"), l.call("rt:note", "never")
			behind := l.call("rt:echo", "behind")
			l.cancel(queued)
			queued.fails("KeyboardInterrupt")
			if running.come() {
				t.Error("the running call has ended too")
			}
			l.cancel(running)
			running.fails("KeyboardInterrupt")
			equal(t, "the call behind", behind.value(), "behind")
			equal(t, "notes", len(l.call("rt:notes").value().(*pyvalue.List).Items), 0)
		}},
		{"endless loop", func(t *testing.T, l *link) { l.interrupted("rt:loop", "looping\n") }},
		{"sleep", func(t *testing.T, l *link) { l.interrupted("rt:sleep", "sleeping\n") }},
		{"import that waits", func(t *testing.T, l *link) {
			// This module has no answer: the question goes to an engine that is still looking.
			l.serve("unanswered", "")
			p := l.call("rt:execute", "import sys, _mitogen\n_mitogen.ASKED['later'] = 1\n"+
				"print('importing')\nsys.stdout.flush()\nimport later")
			l.await("importing", func() bool { return l.printedLocked("importing\n") })
			time.Sleep(30 * time.Millisecond)
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			l.call("rt:evaluate", "sys.modules['_mitogen'].ASKED.pop('later')").value()
			l.call("rt:evaluate", "__import__('later')").fails(map[bool]string{true: "ModuleNotFoundError",
				false: "ImportError"}[l.py.AtLeast(3, 6)])
		}},
		{"unknown and finished calls", func(t *testing.T, l *link) {
			p := l.call("rt:nothing")
			p.value()
			l.cancel(p)
			l.send(wire.Frame{Dst: first, Handle: wire.Cancel,
				Payload: wire.AppendU32(nil, wire.Handle(99))})
			equal(t, "answer", l.call("rt:slow", 0.05, "whole").value(), "whole")
		}},
		{"twice", func(t *testing.T, l *link) {
			p := l.begin("rt:stubborn", "round 0\n")
			l.cancel(p)
			l.await("second round", func() bool { return l.printedLocked("round 1\n") })
			l.cancel(p)
			equal(t, "result", p.value(), "ended")
		}},
		{"whose signal comes just before Python blocks", func(t *testing.T, l *link) {
			l.call("rt:execute", "import _mitogen as m\nold = m.interrupt\ndef lost():\n  m.interrupt = "+
				"old\nm.interrupt = lost").value()
			l.interrupted("rt:sleep", "sleeping\n")
		}},
		{"only the call that is meant", interruptsHitOne},
	})
}

// begin starts a call and waits for its first output.
func (l *link) begin(target, words string) *pending {
	l.t.Helper()
	l.stdout()
	p := l.call(target)
	l.await(words, func() bool { return l.printedLocked(words) })
	return p
}

func (l *link) printedLocked(words string) bool {
	b := l.output[flow{first, wire.Stdout}]
	return b != nil && strings.Contains(b.String(), words)
}

func (l *link) interrupted(target, words string) {
	l.t.Helper()
	p := l.begin(target, words)
	l.cancel(p)
	p.fails("KeyboardInterrupt")
}

// interruptsHitOne cancels short calls at all moments; the calls behind them must never notice.
func interruptsHitOne(t *testing.T, l *link) {
	for i := range 300 {
		victim := l.call("rt:slow", float64(i%7)*0.0003, i)
		next := l.call("rt:slow", 0.0002, "next")
		time.Sleep(time.Duration(i%11) * 200 * time.Microsecond)
		l.cancel(victim)
		equal(t, "next", next.value(), "next")
		if a := victim.wait(); a.kind == wire.Error {
			victim.fails("KeyboardInterrupt")
		} else {
			equal(t, "victim", victim.value(), int64(i))
		}
		if t.Failed() {
			return
		}
	}
}

func TestPing(t *testing.T) {
	on(t, []test{
		{"idle", func(t *testing.T, l *link) {
			equal(t, "answer", string(l.ping(first, "hello").wait().payload), "hello")
		}},
		{"during a call", func(t *testing.T, l *link) {
			for target, words := range map[string]string{"rt:sleep": "sleeping\n", "rt:loop": "looping\n"} {
				p := l.begin(target, words)
				equal(t, "answer", string(l.ping(first, "hello").wait().payload), "hello")
				if p.come() {
					t.Error("the call has ended")
				}
				l.cancel(p)
				p.fails("KeyboardInterrupt")
			}
		}},
		{"no answer wanted", func(t *testing.T, l *link) {
			l.send(wire.Frame{Dst: first, Handle: wire.Ping, Payload: []byte("x")})
			l.ping(first, "").wait()
			equal(t, "frames for handle 0", len(l.others), 0)
		}},
	})
}

func (l *link) ping(dst wire.ContextID, payload string) *pending {
	return l.request(wire.Frame{Dst: dst, Handle: wire.Ping, Payload: []byte(payload)})
}
