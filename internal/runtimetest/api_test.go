package runtimetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// siblings starts two contexts below the first one, with a test that relays between them as an
// engine does that allows it.
func (l *link) siblings() (a, b wire.ContextID) {
	l.t.Helper()
	a, b = l.child(first, l.py), l.child(first, l.py)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pair := range [][2]wire.ContextID{{a, b}, {b, a}} {
		l.allowed[pair] = true
	}
	return a, b
}

// with executes source in a context, in which the mitogen module and `peer`, another context, are
// at hand.
func (l *link) with(id, peer wire.ContextID, source string) *pending {
	l.t.Helper()
	return l.callAt(id, "rt:execute",
		fmt.Sprintf("import mitogen, rt\npeer = mitogen.Context(%d, 'peer')\n", peer)+source)
}

// failing is source that sets result to the description of the exception that line raises.
func failing(line string) string {
	return "import sys\ntry:\n  " + line +
		"\n  result = 'no exception'\nexcept Exception:\n  e = sys.exc_info()[1]\n  result = " +
		"e.__class__.__name__ + ': ' + str(e)\n"
}

// windows returns the bytes that a context may still send to handles that programs gave out.
func (l *link) windows(id wire.ContextID) string {
	l.t.Helper()
	return l.callAt(id, "rt:evaluate", "(lambda m: str([v for k, v in m.FLOWS.items() "+
		"if k[1] >= 1000]))(sys.modules['_mitogen'])").value().(string)
}

func TestContextCall(t *testing.T) {
	on(t, []test{
		hopTest("results", func(t *testing.T, l *link) {
			a, b := l.siblings()
			equal(t, "pid", l.with(a, b, "result = peer.call('os:getpid')").value(), int64(l.pid(b)))
			equal(t, "arguments", l.with(a, b,
				"result = peer.call('rt:echo', 1, key='value')[1]['key']").value(), "value")
			equal(t, "none", l.with(a, b, "result = peer.call('rt:nothing')").value(), nil)
			equal(t, "and back", l.with(b, a, "result = peer.call('os:getpid')").value(), int64(l.pid(a)))
			equal(t, "output of the other",
				l.with(a, b, "result = peer.call('rt:printing', 2)").value().(*pyvalue.List).Items,
				[]any{int64(0), int64(1)})
			equal(t, "stdout", l.outputOf(b, wire.Stdout), "item 0\nitem 1\n")
		}),
		hopTest("large values", func(t *testing.T, l *link) {
			a, b := l.siblings()
			equal(t, "argument", l.with(a, b, "result = peer.call('rt:length', 'x' * 3000000)").value(),
				int64(3_000_000))
			equal(t, "flows kept", l.windows(a), "[]")
			equal(t, "result", l.with(a, b, "result = len(peer.call('rt:text', 3000000))").value(),
				int64(3_000_000))
			equal(t, "items", l.with(a, b,
				"result = sum([len(c) for c in peer.call('rt:chunks', 30, 100000)])").value(), int64(3_000_000))
		}),
		hopTest("failures", func(t *testing.T, l *link) {
			a, b := l.siblings()
			equal(t, "error", l.with(a, b, failing("peer.call('rt:fail', 'ValueError', 'bad', 3)")).value(),
				"Error: ValueError: ('bad', 3)")
			equal(t, "attributes", l.with(a, b,
				"try:\n  peer.call('rt:fail', 'ValueError', 'bad')\nexcept mitogen.Error:\n  import sys\n  e "+
					"= sys.exc_info()[1]\n"+
					"  result = [e.module != '', e.type, e.text, e.arguments[0], "+
					"'in fail' in e.traceback]").value().(*pyvalue.List).Items,
				[]any{true, "ValueError", "bad", "bad", true})
			equal(t, "module", l.with(a, b, failing("peer.call('nowhere:f')")).value().(string)[:7],
				"Error: ")
		}),
		hopTest("not allowed", func(t *testing.T, l *link) {
			a, b := l.child(first, l.py), l.child(first, l.py)
			equal(t, "sibling", l.with(a, b, failing("peer.call('os:getpid')")).value(),
				"DeadError: not allowed")
			equal(t, "parent", l.with(a, first, failing("peer.call('os:getpid')")).value(),
				fmt.Sprintf("DeadError: context %d refuses handle 1", first))
			equal(t, "engine", l.with(a, 0, failing("peer.call('os:getpid')")).value(),
				"DeadError: not allowed")
		}),
		hopTest("cancelled", func(t *testing.T, l *link) {
			a, b := l.siblings()
			p := l.with(a, b, "peer.call('rt:sleep')")
			l.await("call", func() bool { return l.output[flow{b, wire.Stdout}] != nil })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			equal(t, "echo", l.callAt(a, "rt:echo", "usable").value(), "usable")
		}),
		hopTest("at the same time from several threads", func(t *testing.T, l *link) {
			a, b := l.siblings()
			equal(t, "results", l.with(a, b,
				"import threading\ngot = []\ndef f(n):\n  got.append(peer.call('rt:echo', n) == n)\nstarted = "+
					"[threading.Thread(target=f, args=(n,)) for n in range(20)]\n"+
					"for t in started: t.start()\nfor t in started: t.join()\n"+
					"result = got == [True] * 20").value(), true)
		}),
	})
}

func TestSenders(t *testing.T) {
	// receiver gives a context a receiver, named rt.receiver there, and returns the way to it.
	receiver := func(l *link, id wire.ContextID) pyvalue.Sender {
		l.t.Helper()
		s, ok := l.callAt(id, "rt:execute", "import mitogen, rt\nrt.receiver = mitogen.Receiver()\n"+
			"result = rt.receiver.sender()").value().(pyvalue.Sender)
		if !ok || s.Context != uint32(id) || s.Handle < 1000 {
			l.t.Fatalf("sender %v of %d", s, id)
		}
		return s
	}
	on(t, []test{
		hopTest("between siblings", func(t *testing.T, l *link) {
			a, b := l.siblings()
			l.callAt(b, "rt:send", receiver(l, a), []any{1, "two", nil}, true).value()
			equal(t, "values", l.callAt(a, "rt:evaluate", "list(receiver)").value().(*pyvalue.List).Items,
				[]any{int64(1), "two", nil})
		}),
		hopTest("values of other types between siblings", func(t *testing.T, l *link) {
			a, b := l.siblings()
			s := receiver(l, a)
			l.callAt(b, "rt:send_made", s, "[collections.deque([1]), {'a': datetime.timedelta(1)}]").value()
			equal(t, "value", l.callAt(a, "rt:evaluate", "repr(receiver.get())").value(),
				"[[1], {'a': 86400.0}]")
			l.callAt(b, "rt:send_made", s, "[object()]").fails("TypeError",
				"value[0]: an object has no plain form")
		}),
		hopTest("large values", func(t *testing.T, l *link) {
			a, b := l.siblings()
			p := l.callAt(b, "rt:send", receiver(l, a), []any{strings.Repeat("v", 3<<20)}, false)
			equal(t, "length", l.callAt(a, "rt:evaluate", "len(receiver.get())").value(), int64(3<<20))
			p.value()
			eventually(t, "all credit is back", func() bool { return l.windows(b) == "[1048576]" })
		}),
		hopTest("a receiver that takes nothing", func(t *testing.T, l *link) {
			a, b := l.siblings()
			s := receiver(l, a)
			p := l.callAt(b, "rt:send_many", s, 40, 100_000)
			got := l.settled(p, func() int { return l.relayed[flow{b, wire.Handle(s.Handle)}] })
			if got < wire.Window || got > wire.Window+wire.MaxPayload {
				t.Errorf("%d bytes came without credit", got)
			}
			equal(t, "values", l.callAt(a, "rt:evaluate",
				"sum([len(receiver.get()) for i in range(40)])").value(), int64(4_000_000))
			p.value()
		}),
		hopTest("to the engine", func(t *testing.T, l *link) {
			a := l.child(first, l.py)
			p := l.expect(a)
			l.callAt(a, "rt:send", pyvalue.Sender{Context: 0, Handle: uint32(p.reply)}, []any{"up", 7},
				true).value()
			a1 := p.wait()
			equal(t, "end", fmt.Sprint(a1.kind, len(a1.payload)), fmt.Sprint(wire.Data, 0))
			equal(t, "values", p.list(), []any{"up", int64(7)})
		}),
		{"from the engine", func(t *testing.T, l *link) {
			s := receiver(l, first)
			for _, v := range []any{"one", 2} {
				l.item(s, v)
			}
			equal(t, "first", l.call("rt:evaluate", "receiver.get()").value(), "one")
			k := flow{first, wire.Handle(s.Handle)}
			l.await("credit for what was taken", func() bool { return l.granted[k] > 0 })
			equal(t, "second", l.call("rt:evaluate", "receiver.get(0)").value(), int64(2))
			l.call("rt:evaluate", "receiver.get(0)").fails("IndexError", "nothing came")
			l.call("rt:evaluate", "receiver.get(.05)").fails("IndexError", "nothing came")
			p := l.evaluating("receiver.get(1000)")
			l.item(s, "late")
			equal(t, "late", p.value(), "late")
			p = l.evaluating("receiver.get()")
			l.send(wire.Frame{Dst: first, Handle: wire.Handle(s.Handle)})
			p.fails("mitogen.DeadError", "closed")
			l.call("rt:evaluate", "receiver.close()").value()
			l.request(wire.Frame{Dst: first, Handle: wire.Handle(s.Handle), Kind: wire.Item,
				Payload: []byte("N.")}).dead("refuses handle")
		}},
		hopTest("several threads, one sender", func(t *testing.T, l *link) {
			a, b := l.siblings()
			p := l.callAt(b, "rt:execute",
				"import rt, threading\ndef go(sender):\n  def f(n):\n    for i in range(5): "+
					"sender.send(chr(97 + n) * 300000)\n"+
					"  started = [threading.Thread(target=f, args=(n,)) for n in range(4)]\n  for t in started: "+
					"t.start()\n  for t in started: t.join()\nrt.go = go")
			p.value()
			p = l.callAt(b, "rt:go", receiver(l, a))
			equal(t, "values", l.callAt(a, "rt:evaluate",
				"str(sorted([len(v) * len(set(v)) for v in [receiver.get() for i in range(20)]]) == [300000] "+
					"* 20)").value(), "True")
			p.value()
		}),
		{"several threads, one receiver", func(t *testing.T, l *link) {
			s := receiver(l, first)
			p := l.call("rt:execute", "import rt, threading\ngot = []\ndef f():\n  for i in range(50): "+
				"got.append(rt.receiver.get(1000))\n"+
				"started = [threading.Thread(target=f) for n in range(8)]\nfor t in started: t.start()\nfor t "+
				"in started: t.join()\nresult = sum(got)")
			for i := range 400 {
				l.item(s, i)
			}
			equal(t, "sum", p.value(), int64(399*400/2))
		}},
		{"cancelled while it waits", func(t *testing.T, l *link) {
			receiver(l, first)
			p := l.evaluating("receiver.get(1000)")
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			equal(t, "deadlines kept", l.call("rt:execute",
				"import mitogen\nresult = len(mitogen._DEADLINES)").value(), int64(0))
		}},
		{"waiting for two", func(t *testing.T, l *link) {
			a := receiver(l, first)
			l.call("rt:execute", "import rt\nrt.other = rt.receiver").value()
			b := receiver(l, first)
			p := l.evaluating("[receiver.get(), other.get()]")
			l.item(a, "a")
			l.item(b, "b")
			equal(t, "values", p.value().(*pyvalue.List).Items, []any{"b", "a"})
		}},
	})
}

// item sends one value to a receiver.
func (l *link) item(s pyvalue.Sender, v any) {
	l.t.Helper()
	b, err := pickle.Append(nil, v, pickle.Proto2Both)
	if err != nil {
		l.t.Fatal(err)
	}
	l.send(wire.Frame{Dst: wire.ContextID(s.Context), Handle: wire.Handle(s.Handle), Kind: wire.Item,
		Payload: b})
}

// evaluating evaluates an expression and waits until that has begun.
func (l *link) evaluating(expr string) *pending {
	l.t.Helper()
	l.stdout()
	p := l.call("rt:execute", "import sys, rt\nprint('begun')\nsys.stdout.flush()\nresult = eval("+
		fmt.Sprintf("%q", expr)+", rt.__dict__)")
	l.await("begin", func() bool { return l.printedLocked("begun\n") })
	return p
}

func TestMitogenModule(t *testing.T) {
	on(t, []test{{"handles are given out once", func(t *testing.T, l *link) {
		equal(t, "handles", l.call("rt:execute",
			"import _mitogen, threading\ngot = []\ndef f():\n  for i in range(2000): "+
				"got.append(_mitogen.register(f))\n"+
				"started = [threading.Thread(target=f) for i in range(8)]\nfor t in started: t.start()\nfor t "+
				"in started: t.join()\nresult = len(set(got))").value(), int64(16000))
	}}, {"threads wake others at the same time", func(t *testing.T, l *link) {
		equal(t, "failed", l.call("rt:execute",
			"import _mitogen as m, threading\nfailed = []\ndef f():\n  try:\n    for i in range(3000):\n   "+
				"   m.WAITERS.append(m.lock())\n      m.wake()\n"+
				"  except Exception:\n    failed.append(1)\nstarted = [threading.Thread(target=f) for i in "+
				"range(8)]\nfor t in started: t.start()\nfor t in started: t.join()\n"+
				"result = len(failed)").value(), int64(0))
	}}, {"in a program", func(t *testing.T, l *link) {
		l.call("rt:execute", "import rt, mitogen\nrt.mitogen = mitogen").value()
		for _, tt := range []struct {
			expr string
			want any
		}{
			{"repr(mitogen.Secret('hush'))", "Secret('********')"},
			{"'%r' % [mitogen.Secret('hush')]", "[Secret('********')]"},
			{"mitogen.Secret('hush') == 'hush'", true},
			{"mitogen.Secret('hush') + '!'", "hush!"},
			{"mitogen.Secret('hush')", secret.Secret("hush")},
			{"repr(mitogen.Blob('abc'.encode()))", "<Blob of 3 bytes>"},
			{"mitogen.Blob('abc'.encode())", pyvalue.Blob("abc")},
			{"repr(mitogen.Context(7, 'db'))", "Context(7, 'db')"},
			{"mitogen.Context(7, 'db') == mitogen.Context(7, 'other')", true},
			{"mitogen.Context(7, 'db') != mitogen.Context(8, 'db')", true},
			{"len(set([mitogen.Context(7, 'db'), mitogen.Context(7, 'other')]))", int64(1)},
			{"str(mitogen.Error('m', 'T', 'text'))", "T: text"},
			{"[mitogen.Context(0).id, mitogen.Context(0).name]", &pyvalue.List{Items: []any{int64(0), ""}}},
		} {
			equal(t, tt.expr, fmt.Sprintf("%#v", l.call("rt:evaluate", tt.expr).value()),
				fmt.Sprintf("%#v", tt.want))
		}
	}}})
}
