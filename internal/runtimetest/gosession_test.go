package runtimetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// onGo runs tests on a Go context, as on does on interpreters.
func onGo(t *testing.T, tests []test) {
	t.Helper()
	l := startGo(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if l.ended != nil {
				t.Fatalf("the context has ended: %v", l.ended)
			}
			l := l.in(t)
			tt.run(t, l)
			equal(t, "usable afterwards", l.echo("well").value(), "well")
		})
	}
}

func TestGoSession(t *testing.T) { onGo(t, sessionTests()) }

// What another party than an ancestor sends reaches no session, and starts none.
func TestGoSessionAuthority(t *testing.T) {
	l := startGo(t)
	spec, err := pickle.Append(nil, map[string]any{"argv": []any{[]byte("true")}}, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	s := l.session(sh("echo ready; read x; echo got $x"), nil)
	s.prints("ready")
	for _, auth := range []wire.ContextID{first, 4, 1 << 31} {
		for kind := wire.Data; kind <= wire.Part; kind++ {
			l.raw(wire.Frame{Kind: kind, Dst: first, Src: auth, Auth: auth, Handle: wire.Session,
				Payload: spec})
			for _, payload := range []string{"", "forged\n", "sKILL", "w12345678",
				string(wire.AppendU32([]byte{'c'}, s.reply))} {
				l.write((&wire.Frame{Kind: kind, Dst: first, Auth: auth, Handle: wire.Session,
					Reply: s.reply, Payload: []byte(payload)}).Append(nil))
			}
		}
	}
	s.feed(wire.Item, "mine\n")
	s.await("the end", func() bool { return s.kind == wire.Data && s.done })
	equal(t, "stdout", s.text(), "ready\ngot mine\n")
}

// Frames that no engine sends do a session, and the context, no harm.
func TestGoSessionMalformed(t *testing.T) {
	l := startGo(t)
	s := l.session(sh("read x; echo got $x"), nil)
	for _, payload := range []string{"c", "c123", "w", "w1", "s", "s/../TERM", "sIG_IGN", "x", "\x00",
		"s" + strings.Repeat("A", 100_000)} {
		s.feed(wire.Data, payload)
	}
	s.feed(wire.Item, "mine\n")
	s.ends(0, 0)
	for _, more := range []map[string]any{
		{"argv": []any{[]byte("a\x00b")}}, {"argv": "text"}, {"argv": []any{1}},
		{"cwd": []byte("/\x00")}, {"env": []any{pyvalue.Tuple{[]byte("A")}}},
		{"pty": pyvalue.Tuple{[]byte("x"), int64(1 << 16), int64(1), int64(0), int64(0)}},
		{"pty": pyvalue.Tuple{[]byte("x"), int64(1)}}, {"wait": "long"}, {"module": "none"}, {"agent": 9},
	} {
		l.session([]string{"true"}, more).error()
	}
	// An engine has no more than a window on the way: more is an error.
	s = l.session(sh("sleep 1000"), nil)
	for range 90 {
		s.feed(wire.Item, strings.Repeat("x", wire.MaxPayload))
	}
	contains(t, "error", s.error().Text, "wait to be written")
	equal(t, "lives", l.echo(1).value(), int64(1))
	l.mu.Lock()
	defer l.mu.Unlock()
	equal(t, "answers", s.times, 1)
}

// A context has 1,024 sessions at most.
func TestGoSessionLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts 1,024 programs")
	}
	l := startGo(t)
	var all []*session
	for range 1024 {
		all = append(all, l.session([]string{"sleep", "1000"}, noInput))
	}
	contains(t, "error", l.session([]string{"true"}, noInput).error().Text, "1024 sessions are open")
	for _, s := range all {
		s.feed(wire.Error, "")
	}
	eventually(t, "they end", func() bool { return !runs(l, "sleep 1000") })
	// A program that has ended has a session until the context has reaped it.
	eventually(t, "there is room", func() bool {
		return l.session([]string{"true"}, noInput).wait().kind == wire.Data
	})
}

func TestGoLastSession(t *testing.T) {
	for program, status := range map[string]int64{"false": 1, "no-such-command": 127} {
		t.Run(program, func(t *testing.T) {
			l := startGo(t)
			l.session([]string{program}, map[string]any{"null": true, "last": true}).ends(status, 0)
			l.await("the end", func() bool { return l.ended != nil })
		})
	}
}

// What sessions have started ends with the context, however that ends.
func TestGoSessionsEnd(t *testing.T) {
	deaf := "trap '' HUP TERM; echo ready; sleep 1000; :"
	for _, leaves := range []bool{false, true} {
		for _, end := range []string{"both", "stdin", "stderr", "shutdown", "killed", "guard"} {
			t.Run(fmt.Sprintf("%v %s", leaves, end), func(t *testing.T) {
				l := startGo(t)
				argv := sh(deaf)
				if leaves {
					argv = sh("setsid sh -c \"" + deaf + "\" & wait")
				}
				l.session(argv, nil).prints("ready")
				switch end {
				case "both":
					return // finish closes both
				case "stdin":
					l.up.Close()
				case "stderr":
					l.err.Close()
				case "shutdown":
					l.shutDown(first)
				case "guard": // which another one follows
					before := guards(l)
					syscall.Kill(before[0], syscall.SIGKILL)
					eventually(t, "another guard", func() bool {
						after := guards(l)
						return len(after) == 1 && after[0] != before[0]
					})
					l.cmd.Process.Kill()
				case "killed":
					l.cmd.Process.Kill()
				}
				l.leavesNone(t, patience)
			})
		}
	}
}

// guards returns the processes that guard the context of l.
func guards(l *link) (all []int) {
	for _, p := range marked(l.tag) {
		if strings.HasPrefix(p.line, "mitogen:guard") {
			all = append(all, p.pid)
		}
	}
	return all
}

// A context whose sessions run may be silent for as long as one whose calls do.
func TestGoSessionHeartbeat(t *testing.T) {
	l := startGo(t, func(c *boot.Config) { c.Heartbeat, c.BusyTimeout = 1, 1000 })
	s := l.session(sh("sleep 3; echo done"), noInput)
	s.ends(0, 0)
	equal(t, "stdout", s.text(), "done\n")
}

// What asks for a session is read before the bytes of the next frame take its place.
func TestGoSessionsBehindEachOther(t *testing.T) {
	l := startGo(t)
	var all []*session
	for i := range 50 {
		all = append(all, l.session([]string{"echo", fmt.Sprint(i, strings.Repeat("x", i))}, noInput))
	}
	for i, s := range all {
		s.ends(0, 0)
		equal(t, "stdout", s.text(), fmt.Sprint(i, strings.Repeat("x", i))+"\n")
	}
}

// A frame without bytes is no end of input.
func TestGoSessionEmptyInput(t *testing.T) {
	l := startGo(t)
	s := l.session([]string{"cat"}, nil)
	for _, text := range []string{"", "a", "", "b"} {
		s.feed(wire.Item, text)
	}
	s.feed(wire.Data, "")
	s.ends(0, 0)
	equal(t, "stdout", s.text(), "ab")
}

// What a program that was told to end has left behind does not take a part of its input for the
// whole, though more waits than a pipe holds.
func TestGoSessionKeepsFullInput(t *testing.T) {
	l := startGo(t)
	dir := t.TempDir()
	s := l.session(sh("cd "+dir+`
		exec 3<&0
		(trap '' TERM; echo ready; exec >/dev/null 2>&1
		until test -e go; do sleep .01; done
		head -c 65536 >/dev/null; timeout 1 cat >/dev/null; echo $? >part; mv part status) <&3 3<&- &
		wait`), nil)
	s.prints("ready")
	for range 8 {
		s.feed(wire.Item, strings.Repeat("x", wire.MaxPayload))
	}
	equal(t, "takes all of it", l.echo(1).value(), int64(1))
	s.feed(wire.Data, "sTERM")
	s.ends(-15, 0)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status := []byte(nil)
	eventually(t, "it has read what there is", func() bool {
		status, _ = os.ReadFile(filepath.Join(dir, "status"))
		return len(status) > 0
	})
	equal(t, "status of what waits for the end", string(status), "124\n")
}
