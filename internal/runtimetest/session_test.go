package runtimetest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// session is a program beside the first context.
type session struct {
	*pending
	err *pending
}

// session starts one. more are further keys of its dict.
func (l *link) session(argv []string, more map[string]any) *session {
	l.t.Helper()
	return l.sessionAt(first, argv, more)
}

// sessionAt is session for any context.
func (l *link) sessionAt(id wire.ContextID, argv []string, more map[string]any) *session {
	l.t.Helper()
	l.push(id, "_mitogen_guard")
	l.push(id, "_mitogen_session")
	s := &session{err: l.expect(id)}
	spec := map[string]any{"err": uint32(s.err.reply)}
	if argv != nil {
		var words []any
		for _, a := range argv {
			words = append(words, []byte(a))
		}
		spec["argv"] = words
	}
	for k, v := range more {
		spec[k] = v
	}
	b, err := pickle.Append(nil, spec, pickle.Proto2Both)
	if err != nil {
		l.t.Fatal(err)
	}
	s.pending = l.request(wire.Frame{Dst: id, Handle: wire.Session, Payload: b})
	return s
}

func (s *session) feed(kind wire.Kind, text string) {
	s.send(wire.Frame{Dst: first, Kind: kind, Handle: wire.Session, Reply: s.reply,
		Payload: []byte(text)})
}

// ends demands how the program ends.
func (s *session) ends(status, held int64) {
	s.t.Helper()
	v, _ := s.value().(pyvalue.Tuple)
	equal(s.t, "status and held", fmt.Sprint(v), fmt.Sprint(pyvalue.Tuple{status, held}))
}

// text returns the output that has come to p.
func (p *pending) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(bytes.Join(p.items, nil))
}

func (s *session) prints(text string) {
	s.t.Helper()
	s.await("output "+text, func() bool {
		return strings.Contains(string(bytes.Join(s.items, nil)), text)
	})
}

var noInput = map[string]any{"null": true}

var terminal = map[string]any{"pty": pyvalue.Tuple{[]byte("vt100"), int64(24), int64(80), int64(0),
	int64(0)}}

// asksForMissing is a program that reads while it asks for modules that there aren't, for 2 s.
const asksForMissing = `
import time
for i in range(20):
    time.sleep(.1)
    try:
        __import__('not_there_%d' % i)
    except ImportError:
        pass
print('asked')
`

func sh(script string) []string { return []string{"sh", "-c", script} }

// sessionTests are those of programs beside any context.
func sessionTests() []test {
	return []test{
		{"exit status and output", func(t *testing.T, l *link) {
			s := l.session(sh("echo out; echo err >&2; exit 9"), noInput)
			s.ends(9, 0)
			equal(t, "stdout", s.text(), "out\n")
			s.err.value()
			equal(t, "stderr", s.err.text(), "err\n")
			l.session([]string{"true"}, noInput).ends(0, 0)
		}},
		{"stderr with stdout", func(t *testing.T, l *link) {
			s := l.session(sh("echo out; echo err >&2"), map[string]any{"err": 0})
			s.ends(0, 0)
			equal(t, "stdout", s.text(), "out\nerr\n")
		}},
		{"signal", func(t *testing.T, l *link) {
			l.session(sh("kill -9 $$"), noInput).ends(-9, 0)
			l.session(sh("kill -PIPE $$"), noInput).ends(-13, 0)
			l.session(sh("kill -INT $$"), noInput).ends(-2, 0)
		}},
		{"what can't be started", func(t *testing.T, l *link) {
			for _, tt := range []struct {
				argv   []string
				more   map[string]any
				status int64
				text   string
			}{
				{[]string{"no-such-command"}, nil, 127,
					"mitogen: no-such-command: No such file or directory\n"},
				{[]string{"/no/such"}, nil, 127, "mitogen: /no/such: No such file or directory\n"},
				{[]string{"/etc/passwd"}, nil, 126, "mitogen: /etc/passwd: Permission denied\n"},
				{[]string{"true"}, map[string]any{"cwd": []byte("/nowhere")}, 127,
					"mitogen: cd /nowhere: No such file or directory\n"},
			} {
				s := l.session(tt.argv, tt.more)
				s.ends(tt.status, 0)
				equal(t, "stderr", s.err.text(), tt.text)
			}
		}},
		{"signals at their defaults", func(t *testing.T, l *link) {
			l.session([]string{"grep", "-E", "SigBlk:.*[1-9a-f]", "/proc/self/status"}, noInput).ends(1, 0)
			s := l.session([]string{"grep", "SigIgn", "/proc/self/status"}, noInput)
			s.ends(0, 0)
			_, mask, _ := strings.Cut(s.text(), "\t")
			ignored, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			equal(t, "SIGPIPE and SIGXFSZ are ignored", ignored&(1<<(13-1)|1<<(25-1)), uint64(0))
			equal(t, "error", err, nil)
		}},
		{"environment and directory", func(t *testing.T, l *link) {
			s := l.session(sh(`echo "$EXTRA" "$PWD" "${PATH:+path}" "$1"`),
				map[string]any{"cwd": []byte("/usr"),
					"env": []any{pyvalue.Tuple{[]byte("EXTRA"), []byte("more h\u00e9 \xff")}}})
			s.ends(0, 0)
			equal(t, "stdout", s.text(), "more h\u00e9 \xff /usr path \n")
		}},
		{"a login", func(t *testing.T, l *link) {
			s := l.session(nil, map[string]any{"login": true,
				"command": []byte(`echo "$HOME|$PWD|$USER|$LOGNAME|$SHELL"`)})
			s.ends(0, 0)
			words := strings.Split(strings.TrimSpace(s.text()), "|")
			equal(t, "home", words[0], words[1])
			equal(t, "user", words[2], words[3])
			s = l.session(nil, map[string]any{"login": true})
			s.feed(wire.Item, "echo $0\n")
			s.feed(wire.Data, "")
			s.ends(0, 0)
			equal(t, "name of a login shell", s.text()[:1], "-")
		}},
		{"stdin", func(t *testing.T, l *link) {
			s := l.session([]string{"tr", "a-z", "A-Z"}, nil)
			s.feed(wire.Item, "lo")
			s.feed(wire.Item, "ud")
			s.feed(wire.Data, "")
			s.ends(0, 0)
			equal(t, "stdout", s.text(), "LOUD")
			l.session([]string{"cat"}, noInput).ends(0, 0)
		}},
		{"stdin that isn't read", func(t *testing.T, l *link) {
			s := l.session(sh("exec <&-; echo closed; sleep 1000"), nil)
			s.prints("closed")
			for range 20 {
				s.feed(wire.Item, strings.Repeat("x", 65536))
			}
			s.await("credit", func() bool { return l.granted[flow{first, s.reply}] >= 20*65536 })
			s.feed(wire.Data, "sTERM")
			s.ends(-15, 0)
		}},
		{"many at once, beside a call", func(t *testing.T, l *link) {
			call := l.slow()
			var all []*session
			for i := range 20 {
				all = append(all, l.session(sh("read x; echo "+strconv.Itoa(i)+" $x"), nil))
			}
			for i := len(all) - 1; i >= 0; i-- {
				all[i].feed(wire.Item, "in\n")
				all[i].ends(0, 0)
				equal(t, "stdout", all[i].text(), fmt.Sprintf("%d in\n", i))
			}
			call.value()
		}},
		{"one that nothing is taken of", func(t *testing.T, l *link) {
			s := l.session(sh("head -c 3000000 /dev/zero; exit 3"), noInput)
			release := l.hold(s.reply)
			l.session([]string{"echo", "free"}, noInput).ends(0, 0)
			equal(t, "it has ended", s.come(), false)
			release()
			s.ends(3, 0)
			equal(t, "bytes", len(s.text()), 3_000_000)
		}},
		{"terminal", func(t *testing.T, l *link) {
			s := l.session(sh(`tty; stty size; echo $TERM; trap 'stty size; exit 4' WINCH; echo ready; `+
				`while :; do sleep .05; done`),
				map[string]any{"pty": pyvalue.Tuple{[]byte("vt100"), int64(24), int64(80), int64(0), int64(0)}})
			s.prints("ready")
			contains(t, "terminal", s.text(), "/dev/", "24 80\r\n", "vt100\r\n")
			s.feed(wire.Data, string(wire.AppendResize(nil, 50, 132, 0, 0)))
			s.ends(4, 0)
			contains(t, "after the change", s.text(), "50 132\r\n")
			s = l.session([]string{"cat"},
				map[string]any{"pty": pyvalue.Tuple{[]byte("vt100"), int64(24), int64(80), int64(0), int64(0)}})
			s.feed(wire.Item, "typed\n")
			s.prints("typed\r\ntyped\r\n") // the terminal's echo, and the program's
			s.feed(wire.Item, "\x03")
			s.ends(-2, 0)
		}},
		{"signals", func(t *testing.T, l *link) {
			s := l.session(sh(`trap 'echo usr1' USR1; trap 'exit 5' TERM; echo ready; while :; do sleep `+
				`.05; done`), nil)
			s.prints("ready")
			s.feed(wire.Data, "sNOTONE")
			s.feed(wire.Data, "sUSR1")
			s.prints("usr1")
			s.feed(wire.Data, "sTERM")
			s.ends(5, 0)
			s.feed(wire.Data, "sTERM") // late
			equal(t, "lives", l.echo(1).value(), int64(1))
		}},
		{"dropped", func(t *testing.T, l *link) {
			s := l.session(sh("trap '' HUP; echo started; sleep 1000; :"), nil)
			s.prints("started")
			s.feed(wire.Error, "")
			eventually(t, "the program ends", func() bool { return !runs(l, "sleep 1000") })
			equal(t, "answers", s.come(), false)
		}},
		{"leaves a process behind that has its output", func(t *testing.T, l *link) {
			s := l.session(sh("sleep 1000 & echo $!"), noInput)
			s.ends(0, 1)
			equal(t, "it lives", runs(l, "sleep\x001000"), true)
			pid, err := strconv.Atoi(strings.TrimSpace(s.text()))
			if err != nil {
				t.Fatal(err)
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}},
		{"waits for all that has its output", func(t *testing.T, l *link) {
			s := l.session(sh("(sleep 2.5; echo late) & echo now; exit 3"),
				map[string]any{"null": true, "wait": int64(1000)})
			s.ends(3, 0)
			equal(t, "stdout", s.text(), "now\nlate\n")
		}},
		{"output that nothing reads any more", func(t *testing.T, l *link) {
			for _, tt := range []struct {
				script string
				err    bool
				status int64
			}{{"echo go; exec yes", false, -13}, {"echo go; exec yes >&2", true, -13},
				{"echo go; trap '' PIPE; yes; exit 4", false, 4}} {
				s := l.session(sh(tt.script+"; exit 0"), noInput)
				s.prints("go")
				flow := s.reply
				if tt.err {
					flow = s.err.reply
				}
				s.feed(wire.Data, string(wire.AppendU32([]byte{'c'}, flow)))
				s.ends(tt.status, 0)
				s.feed(wire.Data, string(wire.AppendU32([]byte{'c'}, flow))) // late
			}
			s := l.session(sh("echo go; sleep 1000"), terminal)
			s.prints("go")
			s.feed(wire.Data, string(wire.AppendU32([]byte{'c'}, s.reply)))
			s.ends(-1, 0)
			equal(t, "lives", l.echo(1).value(), int64(1))
		}},
		{"terminal without input", func(t *testing.T, l *link) {
			for _, script := range []string{"test -t 1 && test ! -t 0 && echo there >/dev/tty",
				"cat && echo there"} {
				s := l.session(sh(script), map[string]any{"null": true, "pty": terminal["pty"]})
				s.ends(0, 0)
				equal(t, "output", s.text(), "there\r\n")
			}
		}},
		{"left by one that was told to end", func(t *testing.T, l *link) {
			s := l.session([]string{"setsid", "sh", "-c", "echo started; cat >/dev/null; echo read it all"},
				nil)
			s.prints("started")
			s.feed(wire.Item, "half")
			s.feed(wire.Data, "sTERM")
			s.wait()
			if strings.Contains(s.text(), "all") {
				t.Error("it took half of its input for the whole")
			}
		}},
		{"not a session", func(t *testing.T, l *link) {
			l.push(first, "_mitogen_session")
			l.request(wire.Frame{Dst: first, Handle: wire.Session,
				Payload: []byte("\x80\x02K\x01.")}).error()
			l.session([]string{"x"}, map[string]any{"pty": 1}).error()
			equal(t, "lives", l.echo(1).value(), int64(1))
		}},
	}
}

func TestSession(t *testing.T) {
	on(t, append(sessionTests(), []test{
		{"beside a program that asks", func(t *testing.T, l *link) {
			for script, status := range map[string]int64{
				"exec >&- 2>&-; sleep 3; exit 0": 0,
				"sleep 3; echo done; exit 3":     3,
			} {
				s := l.session(sh(script), noInput)
				l.runs(asksForMissing, 0, "asked\n", "")
				s.ends(status, 0)
				equal(t, "stdout", s.text(), map[int64]string{3: "done\n"}[status])
			}
		}},
		{"types of errors", func(t *testing.T, l *link) {
			l.push(first, "_mitogen_session")
			l.request(wire.Frame{Dst: first, Handle: wire.Session,
				Payload: []byte("\x80\x02K\x01.")}).fails("TypeError")
			l.session([]string{"x"}, map[string]any{"pty": 1}).fails("TypeError")
			equal(t, "lives", l.echo(1).value(), int64(1))
		}},
	}...))
}

// runs tells whether a process of the link's has these words in its command line.
func runs(l *link, words string) bool {
	for _, p := range marked(l.tag) {
		if strings.Contains(strings.ReplaceAll(p.line, "\x00", " "),
			strings.ReplaceAll(words, "\x00", " ")) {
			return true
		}
	}
	return false
}

// A context ends by itself with its last session, and what a session has started with the context.
func TestLastSession(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		l.session([]string{"sh", "-c", "exit 3"}, map[string]any{"null": true, "last": true}).ends(3, 0)
		l.await("the end", func() bool { return l.ended != nil })
	})
}

func TestSessionsEndWithTheContext(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		l.session([]string{"sh", "-c", "trap '' HUP TERM; echo ready; sleep 1000; :"},
			nil).prints("ready")
		l.send(wire.Frame{Dst: first, Handle: wire.Shutdown})
		l.leavesNone(t, patience)
		l = start(t, py)
		l.session([]string{"setsid", "sh", "-c", "trap '' HUP TERM; echo ready; sleep 1000; :"},
			nil).prints("ready")
		l.cmd.Process.Kill()
		l.leavesNone(t, patience)
	})
}
