package runtimetest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

func TestHello(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		l.await("HELLO", func() bool { return l.hellos[first] != nil })
		d := l.hellos[first]
		get := func(key string) any {
			v, ok := d.Get(key)
			if !ok {
				t.Errorf("HELLO has no %s", key)
			}
			return v
		}
		version, _ := get("version").(pyvalue.Tuple)
		if len(version) != 5 {
			t.Fatalf("version %v", version)
		}
		equal(t, "version", fmt.Sprintf("%v.%v.%v", version[0], version[1], version[2]), py.Version)
		equal(t, "implementation", get("implementation"), py.Impl)
		contains(t, "platform", fmt.Sprint(get("platform")), "linux")
		equal(t, "uid", get("uid"), int64(os.Getuid()))
		host, _ := os.Hostname()
		equal(t, "hostname", get("hostname"), host)
		equal(t, "pid", get("pid"), int64(l.cmd.Process.Pid))
		equal(t, "pickle", get("pickle"), map[bool]int64{true: 4, false: 2}[py.AtLeast(3, 4)])
		if path, _ := get("executable").(string); !strings.HasPrefix(path, "/") {
			t.Errorf("executable %q", path)
		}
		equal(t, "noise", string(l.noise), "\n"+boot.EC0+"\n")
	})
}

func TestCalls(t *testing.T) {
	on(t, []test{
		{"builtin module", func(t *testing.T, l *link) {
			equal(t, "getpid", l.call("os:getpid").value(), int64(l.cmd.Process.Pid))
		}},
		{"arguments", func(t *testing.T, l *link) {
			equal(t, "none", l.call("rt:echo").value(), pyvalue.Tuple{})
			equal(t, "one", l.call("rt:echo", 7).value(), int64(7))
			equal(t, "args", fmt.Sprint(l.call("rt:echo", 1, "b", nil).value()),
				fmt.Sprint(pyvalue.Tuple{int64(1), "b", nil}))
			v := l.call("rt:echo", 1, kwargs{"key": "value"}).value().(pyvalue.Tuple)
			equal(t, "args", v[0], pyvalue.Tuple{int64(1)})
			got, _ := v[1].(*pyvalue.Dict).Get("key")
			equal(t, "kwargs", got, "value")
		}},
		{"methods", func(t *testing.T, l *link) {
			equal(t, "static", l.call("rt:Base.static", 6, 7).value(), int64(42))
			equal(t, "class", l.call("rt:Base.of", 1).value(), pyvalue.Tuple{"Base", int64(1)})
			equal(t, "inherited", l.call("rt:Derived.of", 1).value(), pyvalue.Tuple{"Derived", int64(1)})
			equal(t, "nested", l.call("rt:Base.Inner.deep").value(), "deep")
		}},
		{"submodule", func(t *testing.T, l *link) {
			equal(t, "join", l.call("os.path:join", "a", "b").value(), "a/b")
		}},
		{"None is empty", func(t *testing.T, l *link) {
			a := l.call("rt:nothing").wait()
			equal(t, "kind", a.kind, wire.Data)
			equal(t, "payload", len(a.payload), 0)
		}},
		{"source of answers", func(t *testing.T, l *link) {
			equal(t, "src", l.call("rt:nothing").wait().src, first)
		}},
		{"no such function", func(t *testing.T, l *link) {
			l.call("rt:absent").fails("AttributeError", "rt", "absent")
			l.call("rt:Base.absent").fails("AttributeError", "Base.absent")
		}},
		{"no such module", func(t *testing.T, l *link) {
			e := l.call("absent:f").error()
			contains(t, "type", e.Type,
				map[bool]string{true: "ModuleNotFoundError", false: "ImportError"}[l.py.AtLeast(3, 6)])
			contains(t, "text", e.Text, "absent", "not on the test's path")
		}},
		{"not callable", func(t *testing.T, l *link) {
			l.call("rt:Base.plain").fails("TypeError", "not callable")
		}},
		{"wrong arguments", func(t *testing.T, l *link) {
			l.call("rt:length").fails("TypeError", "argument")
		}},
		{"no answer wanted", noAnswerWanted},
		{"pipelined in order", pipelined},
		{"a slow call", slowCall},
	})
}

func noAnswerWanted(t *testing.T, l *link) {
	l.send(wire.Frame{Dst: first, Handle: wire.Call, Payload: l.payload("rt:note", []any{"silent"})})
	l.send(wire.Frame{Dst: first, Handle: wire.Call,
		Payload: l.payload("rt:fail", []any{"ValueError", "unheard"})})
	equal(t, "notes", l.call("rt:notes").value().(*pyvalue.List).Items, []any{"silent"})
	r := l.record("a call without an answer failed")
	contains(t, "traceback", r.trace, "ValueError: unheard")
	equal(t, "level", r.level, int64(40))
}

func pipelined(t *testing.T, l *link) {
	const n = 10_000
	l.call("rt:notes").wait()
	calls := make([]*pending, n)
	for i := range calls {
		calls[i] = l.call("rt:note", i)
	}
	for i, c := range calls {
		c.value()
		if i > 0 && c.order <= calls[i-1].order {
			t.Fatalf("answer %d came as number %d, the one before as %d", i, c.order, calls[i-1].order)
		}
	}
	for i, v := range l.call("rt:notes").value().(*pyvalue.List).Items {
		if v != int64(i) {
			t.Fatalf("call %d ran as number %v", i, v)
		}
	}
}

// slowCall: answers don't wait for a call behind them.
func slowCall(t *testing.T, l *link) {
	l.call("rt:nothing").wait()
	before := l.call("rt:echo", "early")
	slow := l.call("rt:sleep")
	equal(t, "first answer", before.value(), "early")
	if slow.come() {
		t.Error("the slow call has ended")
	}
	l.cancel(slow)
	slow.fails("KeyboardInterrupt")
}

func TestErrors(t *testing.T) {
	on(t, []test{
		{"arguments", func(t *testing.T, l *link) {
			e := l.call("rt:fail", "ValueError", "bad", 3).fails("ValueError", "bad", "3")
			equal(t, "args", e.Args, pyvalue.Tuple{"bad", int64(3)})
			e = l.call("rt:fail_odd").fails("rt.Odd", "odd")
			equal(t, "args that are no values", e.Args, pyvalue.Tuple(nil))
		}},
		{"no text", func(t *testing.T, l *link) {
			l.call("rt:fail", "Unprintable", 1).fails("rt.Unprintable")
		}},
		{"text of any length", func(t *testing.T, l *link) {
			for _, n := range []int{0, 131_071, 131_072, 3 << 20} {
				equal(t, "length", len(l.call("rt:fail_long", n).fails("ValueError").Text), n)
			}
		}},
		{"traceback", func(t *testing.T, l *link) {
			e := l.call("rt:outer").fails("ZeroDivisionError")
			contains(t, "traceback", e.Traceback, "Traceback (most recent call last)", "/dev/null/srv/rt.py",
				"return inner(3)", "in inner",
				"return n / 0  # the line that fails", "ZeroDivisionError: ")
			if strings.Contains(e.Traceback, "<_mitogen>") {
				t.Errorf("the traceback shows the runtime:\n%s", e.Traceback)
			}
		}},
		{"chained", func(t *testing.T, l *link) {
			e := l.call("rt:chained").fails("KeyError", "second")
			if l.py.Major > 2 {
				contains(t, "traceback", e.Traceback, "ZeroDivisionError",
					"During handling of the above exception", "KeyError")
			}
		}},
		{"SystemExit", func(t *testing.T, l *link) {
			equal(t, "args", l.call("rt:finish", 3).fails("SystemExit", "3").Args, pyvalue.Tuple{int64(3)})
			l.call("rt:finish").fails("SystemExit")
			l.call("sys:exit", "words").fails("SystemExit", "words")
		}},
		{"KeyboardInterrupt", func(t *testing.T, l *link) {
			l.call("rt:interrupt").fails("KeyboardInterrupt")
		}},
		{"SyntaxError", syntaxError},
		{"failing module", func(t *testing.T, l *link) {
			l.serve("broken", "import sys\nraise ValueError('at import')\n")
			for range 2 {
				e := l.call("broken:f").fails("ValueError", "at import")
				contains(t, "traceback", e.Traceback, "/dev/null/srv/broken.py", "line 2",
					"raise ValueError('at import')")
			}
			equal(t, "in sys.modules", l.call("rt:evaluate", "'broken' in sys.modules").value(), false)
		}},
		{"unpicklable result", func(t *testing.T, l *link) {
			for _, kind := range []string{"lambda", "class", "module"} {
				unpicklable(t, l.call("rt:unpicklable", kind).wait())
			}
		}},
		{"pickle that is no value", func(t *testing.T, l *link) {
			evil := append(wire.AppendCall(nil, "rt:echo"),
				"\x80\x02cos\nsystem\nU\x04true\x85R\x85}\x86."...)
			l.request(wire.Frame{Dst: first, Handle: wire.Call, Payload: evil}).fails("TypeError",
				"os.system", "not a plain value")
		}},
		{"pickle that is none", func(t *testing.T, l *link) {
			p := l.request(wire.Frame{Dst: first, Handle: wire.Call,
				Payload: append(wire.AppendCall(nil, "rt:echo"), "\x80\x02nonsense"...)})
			p.error()
		}},
		{"call that names nothing", func(t *testing.T, l *link) {
			for _, s := range []string{"", "rt", "rt\x00", ":\x00", "rt:\x00", ":f\x00", "\xff:f\x00"} {
				l.request(wire.Frame{Dst: first, Handle: wire.Call, Payload: []byte(s)}).error()
			}
		}},
	})
}

// unpicklable: Python refuses, or names something that our decoder doesn't take.
func unpicklable(t *testing.T, a *answer) {
	t.Helper()
	if a.kind == wire.Error {
		if e, err := pickle.DecodeError(a.payload, pickle.Limits{}); err != nil || e.Text == "" {
			t.Errorf("error %v, %v", e, err)
		}
		return
	}
	_, err := pickle.Decode(a.payload, pickle.Limits{})
	if ge := (*pickle.GlobalError)(nil); !errors.As(err, &ge) {
		t.Errorf("a result that is no value came as %q: %v", a.payload, err)
	}
}

func syntaxError(t *testing.T, l *link) {
	l.serve("badsyntax", "def f():\n    return 1\n\nx = = 3\n")
	e := l.call("badsyntax:f").fails("SyntaxError")
	contains(t, "traceback", e.Traceback, `File "/dev/null/srv/badsyntax.py", line 4`, "x = = 3",
		"SyntaxError: ")
}
