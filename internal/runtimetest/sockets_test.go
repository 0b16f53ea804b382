package runtimetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// socket is a connection, or a wait for one, in the first context.
type socket struct {
	*pending
	data *pending // what the peer writes
}

// open asks the service that has connections for something.
func (l *link) open(what map[string]any) *pending {
	l.t.Helper()
	for _, name := range []string{"spawn", "tunnel", "sockets"} {
		l.push(first, "_mitogen_"+name)
	}
	what["service"] = "sockets"
	b, err := pickle.Append(nil, what, pickle.Proto2Both)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.request(wire.Frame{Dst: first, Handle: wire.Open, Payload: b})
}

func (l *link) socket(what map[string]any) *socket {
	l.t.Helper()
	s := &socket{data: l.expect(first)}
	what["data"] = uint32(s.data.reply)
	s.pending = l.open(what)
	return s
}

func (l *link) feed(p *pending, kind wire.Kind, text string) {
	f := wire.Frame{Dst: first, Kind: kind, Handle: wire.Open, Reply: p.reply}
	f.Payload = []byte(text)
	p.send(f)
}

// item waits for the first item of p.
func (p *pending) item() any {
	p.t.Helper()
	p.await("an item", func() bool { return len(p.items) > 0 || p.done })
	items := p.list()
	if len(items) == 0 {
		p.t.Fatalf("got an end, want an item: %v", p.answer)
	}
	return items[0]
}

// failsWith demands an error with a name.
func (p *pending) failsWith(code string) {
	p.t.Helper()
	equal(p.t, "error", fmt.Sprint(p.error().Args), fmt.Sprint([]any{code}))
}

// addressOf returns the address of l, as keys of OPEN.
func addressOf(l net.Listener) map[string]any {
	if l.Addr().Network() == "unix" {
		return map[string]any{"path": []byte(l.Addr().String())}
	}
	a := l.Addr().(*net.TCPAddr)
	return map[string]any{"host": []byte(a.IP.String()), "port": a.Port}
}

// here listens at an address, and has each connection served.
func here(t *testing.T, network, address string, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l
}

// socketTests are those of connections of any context.
func socketTests() []test {
	echo := func(c net.Conn) {
		io.Copy(c, c)
		c.Close()
	}
	exchange := func(network, address string) func(t *testing.T, l *link) {
		return func(t *testing.T, l *link) {
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			s := l.socket(addressOf(here(t, network, address, echo)))
			l.feed(s.pending, wire.Item, "early ")
			l.feed(s.pending, wire.Item, "text")
			l.feed(s.pending, wire.Data, "")
			s.data.value()
			equal(t, "echo", s.data.text(), "early text")
			equal(t, "end", s.value(), nil)
		}
	}
	return []test{
		{"TCP", exchange("tcp", "127.0.0.1:0")},
		{"UNIX", exchange("unix", "")},
		{"the peer's end first", func(t *testing.T, l *link) {
			got := make(chan string, 1)
			s := l.socket(addressOf(here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				io.WriteString(c, "hello")
				c.(*net.TCPConn).CloseWrite()
				b, _ := io.ReadAll(c)
				c.Close()
				got <- string(b)
			})))
			s.data.value()
			equal(t, "text", s.data.text(), "hello")
			l.feed(s.pending, wire.Item, "bye")
			l.feed(s.pending, wire.Data, "")
			equal(t, "end", s.value(), nil)
			equal(t, "there", <-got, "bye")
		}},
		{"reset", func(t *testing.T, l *link) {
			s := l.socket(addressOf(here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				c.Read(make([]byte, 1))
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			})))
			l.feed(s.pending, wire.Item, "x")
			s.failsWith("ECONNRESET")
		}},
		{"closed here", func(t *testing.T, l *link) {
			ended := make(chan error, 2)
			at := here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				_, err := io.Copy(io.Discard, c)
				c.Close()
				ended <- err
			})
			s := l.socket(addressOf(at))
			s.item()
			l.feed(s.pending, wire.Error, "")
			if err := <-ended; err == nil {
				t.Error("got an end, want a reset")
			}
			s = l.socket(addressOf(at))
			l.feed(s.pending, wire.Item, "x")
			s.item()
			l.feed(s.pending, wire.Data, "")
			l.feed(s.pending, wire.Error, "")
			equal(t, "end", <-ended, nil)
		}},
		{"failures", func(t *testing.T, l *link) {
			dir := t.TempDir()
			closed := here(t, "tcp", "127.0.0.1:0", echo)
			closed.Close()
			l.socket(addressOf(closed)).failsWith("ECONNREFUSED")
			l.socket(map[string]any{"host": []byte("localhost"), "port": 1}).failsWith("ECONNREFUSED")
			l.socket(map[string]any{"path": []byte(dir + "/none")}).failsWith("ENOENT")
			l.socket(map[string]any{"accept": 7}).failsWith("EBADF")
			unknown := l.socket(map[string]any{"host": []byte("no-such-host.invalid"), "port": 1})
			if code := fmt.Sprint(unknown.error().Args); len(code) < 6 || code[:5] != "[EAI_" {
				t.Errorf("got %s, want one of a name", code)
			}
			taken := here(t, "tcp", "127.0.0.1:0", echo).Addr().(*net.TCPAddr).Port
			l.open(map[string]any{"listen": true, "host": []byte(""), "port": taken}).failsWith("EADDRINUSE")
		}},
		{"listener", func(t *testing.T, l *link) {
			at := l.open(map[string]any{"listen": true, "host": []byte("localhost"), "port": 0})
			bound := at.item().(*pyvalue.List).Items[0].(pyvalue.Tuple)
			equal(t, "host", bound[0], any("127.0.0.1"))
			for range 3 {
				c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", bound[1]))
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(c, "from there")
				c.(*net.TCPConn).CloseWrite()
				s := l.socket(map[string]any{"accept": uint32(at.reply)})
				s.data.value()
				equal(t, "text", s.data.text(), "from there")
				l.feed(s.pending, wire.Item, "from here")
				l.feed(s.pending, wire.Data, "")
				b, _ := io.ReadAll(c)
				equal(t, "answer", string(b), "from here")
				c.Close()
				s.value()
			}
			waits := l.socket(map[string]any{"accept": uint32(at.reply)})
			l.feed(at, wire.Error, "")
			waits.failsWith("EBADF")
			if c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", bound[1])); err == nil {
				c.Close()
				t.Error("it listens after its end")
			}
		}},
	}
}

func TestSockets(t *testing.T) {
	on(t, append(socketTests(), test{"a program while one connects", func(t *testing.T, l *link) {
		l.open(map[string]any{"listen": true, "host": []byte(""), "port": 0}).item()
		const late = "import _mitogen as core\ncore.ALARMS[0, 1] = 0\nresult = core.ring() > 0"
		equal(t, "is due", l.call("rt:execute", late).value(), any(true))
	}}))
}

// A handler may close a file whose event has come with its own, and open another, which gets the
// number: the event isn't that one's.
func TestStaleEvent(t *testing.T) {
	const source = `
import _mitogen as m
result = []

class Fake:
    def poll(self, ms):
        return [(901, 1), (902, 1), (903, 1)]

def opens(ev):
    result.append('first')
    fds[902] = lambda ev: result.append('event of another')
    del fds[903]

fds = {901: opens, 902: lambda ev: 0, 903: lambda ev: result.append('closed')}
names = dict(m.__dict__)
names.update({'POLL': Fake(), 'FDS': fds})  # names of core
code = getattr(m.react, '__code__', None) or m.react.func_code
type(m.react)(code, names)(0)
`
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		got := l.call("rt:execute", source).value().(*pyvalue.List).Items
		equal(t, "called", fmt.Sprint(got), "[first]")
	})
}

// A wait that is given up is forgotten with deques as Python 2.4 has them.
func TestForgetWait(t *testing.T) {
	const source = `
import _mitogen as m

class Old(m.deque):
    remove = None
    def __call__(self):
        pass

class Fake:     # its methods do nothing
    def __getattr__(self, name):
        return Old(['a', 'b', 'c'])

l = Fake()
forget = m.Listener.forget
getattr(forget, 'im_func', forget)(l, 'b')
result = ''.join(list(l.__dict__.values())[0])
`
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		l.open(map[string]any{"accept": 1}).failsWith("EBADF") // loads what has listeners
		equal(t, "waiting", l.call("rt:execute", source).value(), "ac")
	})
}

// TestListenPath: a socket has mode 600 from its first moment, whatever the umask, and replaces
// nothing but a socket of the same account that is left.
func TestListenPath(t *testing.T) {
	on(t, []test{{"path", func(t *testing.T, l *link) {
		old := l.call("os:umask", 0).value()
		defer l.call("os:umask", old).value()
		testListenPath(t, l)
	}}})
}

func testListenPath(t *testing.T, l *link) {
	path := filepath.Join(t.TempDir(), "s")
	stop, worst := make(chan struct{}), make(chan os.FileMode)
	go func() { // sees each mode that path has
		mode := os.FileMode(0)
		for {
			select {
			case <-stop:
				worst <- mode
				return
			default:
			}
			if st, err := os.Lstat(path); err == nil {
				mode |= st.Mode().Perm()
			}
		}
	}()
	for range 20 {
		at := l.open(map[string]any{"listen": true, "path": []byte(path)})
		at.item()
		l.feed(at, wire.Error, "")
		l.echo(1).value()
		if _, err := os.Lstat(path); err == nil {
			t.Fatal("the socket is left after its listener's end")
		}
	}
	close(stop)
	if mode := <-worst; mode&0o177 != 0 {
		t.Errorf("got mode %o at some moment, want 600", mode)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open(map[string]any{"listen": true, "path": []byte(path)}).failsWith("EADDRINUSE")
	os.Remove(path)
	used, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	used.SetUnlinkOnClose(false)
	l.open(map[string]any{"listen": true, "path": []byte(path)}).failsWith("EADDRINUSE")
	used.Close()
	at := l.open(map[string]any{"listen": true, "path": []byte(path)})
	at.item()
	l.feed(at, wire.Error, "")
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) > 1 {
		t.Errorf("got %v left, want nothing besides", all)
	}
}

// private asks for a listener at a place that the context chooses, and returns what a session
// finds in SSH_AUTH_SOCK.
func (l *link) private() (at *pending, path string) {
	l.t.Helper()
	at = l.open(map[string]any{"listen": true, "private": true})
	s := l.session([]string{"sh", "-c", "echo $SSH_AUTH_SOCK"},
		map[string]any{"null": true, "agent": uint32(at.reply)})
	s.ends(0, 0)
	return at, strings.TrimSpace(s.text())
}

// TestListenPrivate: a socket that the context chooses the place of is for its account alone,
// whatever the umask, and in no directory where another account could rename it, or what leads
// there.
func TestListenPrivate(t *testing.T) {
	on(t, append(privateTests(t), test{"no listener", func(t *testing.T, l *link) {
		l.private()
		l.session([]string{"true"}, map[string]any{"null": true, "agent": 99}).fails("KeyError")
	}}))
}

func privateTests(t *testing.T) (tests []test) {
	dir, open := t.TempDir(), t.TempDir()
	sticky := t.TempDir()
	if err := errors.Join(os.Chmod(open, 0o777), os.Chmod(sticky, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if os.Getuid() == 0 {
		if err := os.Chown(foreign, 12345, -1); err != nil {
			t.Fatal(err)
		}
	} else {
		foreign = open
	}
	long := filepath.Join(dir, strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	ownLink, openLink := filepath.Join(dir, "link"), filepath.Join(dir, "open")
	below := func(dir string) string { return filepath.Join(dir, "own", "tmp") }
	if err := errors.Join(os.Symlink(sticky, ownLink), os.Symlink(open, openLink),
		os.MkdirAll(below(dir), 0o700), os.MkdirAll(below(open), 0o700),
		os.MkdirAll(below(sticky), 0o700), os.MkdirAll(below(foreign), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{dir, sticky, long, below(dir), below(sticky)} {
			if left, _ := filepath.Glob(filepath.Join(dir, "mitogen-agent-*")); len(left) > 0 {
				t.Errorf("got %v left, want nothing", left)
			}
		}
	})
	for name, tt := range map[string]struct{ dir, want string }{
		"TMPDIR":          {dir, dir},
		"sticky":          {sticky, sticky},
		"open to others":  {open, "/tmp"},
		"another's":       {foreign, "/tmp"},
		"below own":       {below(dir), below(dir)},
		"below sticky":    {below(sticky), below(sticky)},
		"below open":      {below(open), "/tmp"},
		"below another's": {below(foreign), "/tmp"},
		"link below open": {below(openLink), "/tmp"},
		"missing":         {dir + "/missing", "/tmp"},
		"relative":        {"tmp", "/tmp"},
		"long":            {long, "/tmp"},
		"empty":           {"", "/tmp"},
		"link":            {ownLink, sticky},
		"link to open":    {openLink, "/tmp"},
	} {
		tests = append(tests, test{name, func(t *testing.T, l *link) {
			if l.isGo {
				l.call("go:tmpdir", tt.dir).value()
			} else {
				l.call("rt:execute", fmt.Sprintf("import os\nos.umask(0)\nos.environ['TMPDIR'] = %q",
					tt.dir)).value()
			}
			at, path := l.private()
			if filepath.Dir(filepath.Dir(path)) != tt.want {
				t.Fatalf("got %s, want it in %s", path, tt.want)
			}
			for name, want := range map[string]os.FileMode{path: 0o600 | os.ModeSocket,
				filepath.Dir(path): 0o700 | os.ModeDir} {
				st, err := os.Lstat(name)
				if err != nil || st.Mode() != want {
					t.Fatalf("%s: got %v, %v, want mode %v", name, st, err, want)
				}
			}
			l.feed(at, wire.Error, "")
			l.echo(1).value()
			if _, err := os.Lstat(filepath.Dir(path)); !os.IsNotExist(err) {
				t.Errorf("got %v, want that %s is gone", err, path)
			}
		}})
	}
	return tests
}

// TestSocketsOfKilled: what a context has listened at is removed once the context has ended, also
// by SIGKILL; and what has taken that place meanwhile isn't.
func TestSocketsOfKilled(t *testing.T) {
	each(t, func(t *testing.T, py testpython.Interp) { testSocketsOfKilled(t, start(t, py)) })
}

func testSocketsOfKilled(t *testing.T, l *link) {
	dir := t.TempDir()
	listen := func(name string) string {
		path := filepath.Join(dir, name)
		l.open(map[string]any{"listen": true, "path": []byte(path)}).item()
		return path
	}
	if testpython.Draw(t.Name()).IntN(2) == 0 { // the guard, which spares what removes the sockets
		l.session([]string{"true"}, noInput).ends(0, 0)
	}
	before := listen("before")
	_, private := l.private()
	after := listen("after")
	taken := listen("taken")
	if err := errors.Join(os.Remove(taken), os.WriteFile(taken, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	l.cmd.Process.Kill()
	l.leavesNone(t, patience)
	for _, name := range []string{before, after, filepath.Dir(private)} {
		if _, err := os.Lstat(name); !os.IsNotExist(err) {
			t.Errorf("got %v, want that %s is gone", err, name)
		}
	}
	if _, err := os.Lstat(taken); err != nil {
		t.Errorf("a file in the place of a socket: %v, want it kept", err)
	}
}

// TestSocketsOfKilledAreForgotten: what removes sockets keeps nothing of those that have gone.
func TestSocketsOfKilledAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, py testpython.Interp) {
		l := start(t, py)
		l.private()
		l.call("rt:execute", `
import _mitogen as core
left, rest, pass_on = {}, core.EMPTY, core.pass_on
core.pass_on = lambda: None     # that of the context isn't told of these
begin = len(core.UNTOLD)
try:
    for name in 'a', 'b', 'c':
        core.tell_cleaner(name.encode(), (1, ord(name)), '/d'.encode())
    core.tell_cleaner('a'.encode())
    core.tell_cleaner('c'.encode(), (1, 7))
    core.tell_cleaner('b'.encode())
    core.tell_cleaner('none'.encode())
    told = core.EMPTY.join(core.UNTOLD[begin:])
    del core.UNTOLD[begin:]
finally:
    core.pass_on = pass_on
for i in range(0, len(told), 5):    # in pieces
    rest = core.note_sockets(left, rest + told[i:i + 5])
assert (left, rest) == ({'c'.encode(): ((1, 7), core.EMPTY)}, core.EMPTY), (left, rest)
`).value()
	})
}
