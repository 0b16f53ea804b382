package runtimetest

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// fan sends a FAN frame.
func (l *link) fan(hop wire.ContextID, number wire.Handle, kind wire.Kind, payload []byte) {
	l.send(wire.Frame{Kind: kind, Dst: hop, Handle: wire.Fan, Reply: number, Payload: payload})
}

// member returns the address of a session's frames.
func member(id wire.ContextID, s *session) wire.FanMember {
	return wire.FanMember{Dst: id, Handle: wire.Session, Reply: s.reply}
}

// cat starts a program in a context that writes what it reads.
func (l *link) cat(id wire.ContextID) *session { return l.sessionAt(id, []string{"cat"}, nil) }

// hasRead ends the input of a session, and compares what it has got.
func (l *link) hasRead(id wire.ContextID, s *session, want string) {
	l.t.Helper()
	l.send(wire.Frame{Dst: id, Handle: wire.Session, Reply: s.reply})
	s.ends(0, 0)
	equal(l.t, fmt.Sprintf("stdin of a session in %d", id), s.text(), want)
}

// A hop sends what comes for a fan to each member, behind it or its own.
func TestFan(t *testing.T) {
	on(t, []test{hopTest("fan", func(t *testing.T, l *link) {
		a, b := l.child(first, l.py), l.child(first, l.py)
		l.push(a, "_mitogen_spawn")
		c := l.child(a, l.py)
		l.push(first, "_mitogen_fan")
		l.push(a, "_mitogen_fan")
		own, inA, inB, inC := l.cat(first), l.cat(a), l.cat(b), l.cat(c)
		l.fan(a, 8, wire.Data, wire.AppendFanMembers(nil, []wire.FanMember{
			member(a, inA), member(c, inC), {Dst: 99, Handle: wire.Session, Reply: 1},
		}))
		l.fan(first, 7, wire.Data, wire.AppendFanMembers(nil, []wire.FanMember{
			member(first, own), {Dst: a, Handle: wire.Fan, Reply: 8},
		}))
		l.fan(first, 7, wire.Item, []byte("one "))
		l.fan(first, 7, wire.Data, wire.AppendFanMembers(nil, []wire.FanMember{member(b, inB)}))
		l.fan(first, 7, wire.Item, []byte("two "))
		l.fan(first, 7, wire.Error, wire.AppendFanMembers(nil, []wire.FanMember{member(first, own)}))
		l.fan(first, 7, wire.Item, []byte("three"))
		l.fan(first, 7, wire.Error, nil)
		l.fan(first, 7, wire.Item, []byte("four"))
		l.fan(first, 6, wire.Item, []byte("to no fan"))
		l.hasRead(first, own, "one two ")
		l.hasRead(a, inA, "one two three")
		l.hasRead(b, inB, "two three")
		l.hasRead(c, inC, "one two three")
	})})
}

// A frame whose handler's code was not sent is refused: the thread that reads doesn't wait for it.
func TestHandlerNotSent(t *testing.T) {
	on(t, []test{hopTest("not sent", func(t *testing.T, l *link) {
		l.child(first, l.py)
		l.fan(first, 7, wire.Error, nil)
		for _, h := range []wire.Handle{wire.Fan, wire.Session, wire.Open, wire.Forward} {
			l.request(wire.Frame{Dst: first, Handle: h}).dead("was not sent")
		}
		equal(t, "value", fmt.Sprint(l.call("rt:evaluate", "1 + 1").value()), "2")
	})})
}

// The pipes that copies and fans pass on this machine take two of the frames that fill them.
func TestWidePipes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("F_SETPIPE_SZ is Linux's")
	}
	on(t, []test{hopTest("pipes", func(t *testing.T, l *link) {
		sizes := func(fds string) string {
			return fmt.Sprint(l.call("rt:evaluate", "(lambda m: str([m.fcntl.fcntl(f, 1032) for f in "+fds+
				"]))(sys.modules['_mitogen'])").value())
		}
		l.push(first, "_mitogen_fan")
		for near, want := range map[bool]string{true: "[262144]", false: "[65536]"} {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["near"] = near
			l.connect(first, id, p)
			l.arrives(id)
			in := l.cat(id)
			l.fan(first, 7, wire.Data, wire.AppendFanMembers(nil, []wire.FanMember{member(id, in)}))
			l.hasRead(id, in, "")
			equal(t, fmt.Sprint("pipe to a child that is near: ", near),
				sizes(fmt.Sprintf("[m.ROUTES[%d].w]", id)), want)
		}
		l.push(first, "_mitogen_put")
		for module, want := range map[string]string{"put": "[262144]", "": "[65536]"} {
			s := l.cat(first)
			if module != "" {
				l.hasRead(first, s, "")
				s = l.sessionAt(first, nil, map[string]any{"module": module})
			}
			equal(t, "stdin of "+module, sizes("[s.w for s in m.SESSIONS.values()]"), want)
			l.send(wire.Frame{Dst: first, Handle: wire.Session, Reply: s.reply})
			s.value()
		}
	})})
}

// A context behind a hop can't have it send anything to another, by a fan of its own or of the
// engine's, nor add itself to one.
func TestFanFromBelow(t *testing.T) {
	on(t, []test{hopTest("below", func(t *testing.T, l *link) {
		a, b := l.child(first, l.py), l.child(first, l.py)
		l.push(first, "_mitogen_fan")
		in, bad := l.cat(b), l.cat(a)
		l.fan(first, 7, wire.Data, wire.AppendFanMembers(nil, []wire.FanMember{member(b, in)}))
		l.fan(first, 7, wire.Item, []byte("whole"))
		define := fmt.Sprintf("m.pack('>3L', %d, %d, %d)", b, wire.Session, in.reply)
		self := fmt.Sprintf("m.pack('>3L', %d, %d, %d)", a, wire.Session, bad.reply)
		for _, claim := range []struct{ src, auth wire.ContextID }{{a, a}, {a, 0}, {0, 0}, {0, a},
			{b, b}} {
			for _, f := range []string{
				fmt.Sprintf("(0, %d, %d, %d, 28, 7, %s)", first, claim.src, claim.auth, self),
				fmt.Sprintf("(0, %d, %d, %d, 28, 9, %s)", first, claim.src, claim.auth, define),
				fmt.Sprintf("(3, %d, %d, %d, 28, 7, 'forged')", first, claim.src, claim.auth),
				fmt.Sprintf("(3, %d, %d, %d, 28, 9, 'forged')", first, claim.src, claim.auth),
				fmt.Sprintf("(2, %d, %d, %d, 28, 7, '')", first, claim.src, claim.auth),
				fmt.Sprintf("(3, %d, %d, %d, 15, %d, 'forged')", b, claim.src, claim.auth, in.reply),
			} {
				l.forge(a, f)
			}
		}
		l.callAt(a, "rt:nothing").value()
		l.fan(first, 7, wire.Item, []byte(" and unchanged"))
		l.hasRead(b, in, "whole and unchanged")
		l.hasRead(a, bad, "")
	})})
}
