package runtimetest

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

func TestGoSockets(t *testing.T) { onGo(t, socketTests()) }

func TestGoListenPath(t *testing.T) {
	l := startGo(t)
	l.call("go:tmpdir", "").value() // and no umask
	testListenPath(t, l)
}

func TestGoListenPrivate(t *testing.T) {
	onGo(t, append(privateTests(t), test{"no listener", func(t *testing.T, l *link) {
		l.session([]string{"true"}, map[string]any{"null": true, "agent": 99}).error()
	}}))
}

func TestGoSocketsOfKilled(t *testing.T) { testSocketsOfKilled(t, startGo(t)) }

// A connection as of OPEN without a service: one flow each way.
func TestGoForward(t *testing.T) {
	l := startGo(t)
	forward := func(what map[string]any) *pending {
		b, err := pickle.Append(nil, what, pickle.Proto4)
		if err != nil {
			t.Fatal(err)
		}
		return l.request(wire.Frame{Dst: first, Handle: wire.Open, Payload: b})
	}
	at := here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		b, _ := io.ReadAll(c)
		c.Write([]byte(strings.ToUpper(string(b))))
		c.Close()
	}).Addr().(*net.TCPAddr)
	p := forward(map[string]any{"host": "localhost", "port": at.Port})
	l.feed(p, wire.Item, "through")
	l.feed(p, wire.Data, "")
	equal(t, "end", p.value(), nil)
	equal(t, "text", p.text(), "THROUGH")
	refused := forward(map[string]any{"host": "127.0.0.1", "port": 1}).error()
	contains(t, "error", refused.Text, "refused")
	contains(t, "error", forward(map[string]any{"argv": []any{"true"}}).error().Text, "no process")
	contains(t, "error", forward(map[string]any{"service": "go"}).error().Text, "no service")
}

// What a peer writes waits at its machine while the engine takes nothing, and the other way round.
func TestGoSocketFlow(t *testing.T) {
	l := startGo(t)
	const size = 20 << 20
	s := l.socket(addressOf(here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		c.Write(make([]byte, size))
		c.Close()
	})))
	release := l.hold(s.data.reply)
	got := l.settled(s.data, func() int { return l.owed[flow{first, s.data.reply}] })
	if got < wire.Window || got > wire.Window+wire.MaxPayload {
		t.Errorf("without credit: got %d bytes, want a window", got)
	}
	equal(t, "another call meanwhile", l.echo(1).value(), int64(1))
	release()
	s.data.value()
	equal(t, "bytes", len(s.data.text()), size)

	took := make(chan int64, 1)
	let := make(chan bool)
	s = l.socket(addressOf(here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		<-let
		n, _ := io.Copy(io.Discard, c)
		took <- n
		c.Close()
	})))
	s.item()
	for range 8 {
		l.feed(s.pending, wire.Item, strings.Repeat("x", wire.MaxPayload))
	}
	l.feed(s.pending, wire.Data, "")
	close(let)
	equal(t, "end", s.value(), nil)
	equal(t, "bytes there", <-took, int64(wire.Window))
	l.await("credit", func() bool { return l.granted[flow{first, s.reply}] == wire.Window })
}

// What another party than an ancestor sends opens nothing and reaches no connection.
func TestGoSocketAuthority(t *testing.T) {
	l := startGo(t)
	came := make(chan string, 1)
	at := here(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		b, _ := io.ReadAll(c)
		came <- string(b)
		c.Close()
	})
	s := l.socket(addressOf(at))
	s.item()
	what := addressOf(at)
	what["service"], what["data"] = "sockets", 9
	spec, err := pickle.Append(nil, what, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	for _, auth := range []wire.ContextID{first, 4, 1 << 31} {
		for kind := wire.Data; kind <= wire.Part; kind++ {
			l.raw(wire.Frame{Kind: kind, Dst: first, Auth: auth, Handle: wire.Open,
				Payload: spec}).dead("refuses")
			for _, payload := range []string{"", "forged"} {
				l.write((&wire.Frame{Kind: kind, Dst: first, Src: auth, Auth: auth, Handle: wire.Open,
					Reply: s.reply, Payload: []byte(payload)}).Append(nil))
			}
		}
	}
	l.feed(s.pending, wire.Item, "mine")
	l.feed(s.pending, wire.Data, "")
	equal(t, "end", s.value(), nil)
	equal(t, "text there", <-came, "mine")
	select {
	case more := <-came:
		t.Errorf("got a second connection with %q, want none", more)
	default:
	}
}

// Requests that no engine sends, and more than a window, do no harm.
func TestGoSocketMalformed(t *testing.T) {
	l := startGo(t)
	for _, what := range []map[string]any{
		{"host": []byte("x\x00y"), "port": 1}, {"host": []byte("h"), "port": 65536},
		{"host": []byte("h"), "port": -1}, {"path": []byte("relative")}, {"path": []byte("/a\x00")},
		{"path": []byte("@abstract")}, {"host": []byte("h"), "port": "http"},
		{"host": []byte("h"), "port": 1, "timeout": -1.0}, {"host": []byte("h"), "family": 5},
		{"accept": "1"}, {"host": []byte("a name"), "port": 1, "listen": true}, {},
		{"path": []byte("/" + strings.Repeat("x", 200))},
	} {
		l.open(what).error()
	}
	silent := make(chan net.Conn, 1)
	s := l.socket(addressOf(here(t, "tcp", "127.0.0.1:0", func(c net.Conn) { silent <- c })))
	s.item()
	peer := <-silent
	for range 200 {
		l.feed(s.pending, wire.Item, strings.Repeat("x", wire.MaxPayload))
	}
	// Once the context has taken all, while nothing was read: read meanwhile, it may fit.
	equal(t, "lives", l.echo(1).value(), int64(1))
	peer.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, peer); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("more than a window: got %v, want %v", err, syscall.ECONNRESET)
	}
	at := l.open(map[string]any{"listen": true, "host": []byte(""), "port": 0})
	at.item()
	l.feed(at, wire.Item, "nothing reads this")
	l.await("credit", func() bool { return l.granted[flow{first, at.reply}] == 18 })
	equal(t, "lives", l.echo(1).value(), int64(1))
}

// A context has 1,024 connections, listeners and waits at most, and all end with it.
func TestGoSocketLimit(t *testing.T) {
	l := startGo(t)
	at := l.open(map[string]any{"listen": true, "host": []byte(""), "port": 0})
	at.item()
	var all []*socket
	for range 1023 {
		all = append(all, l.socket(map[string]any{"accept": uint32(at.reply)}))
	}
	l.socket(map[string]any{"accept": uint32(at.reply)}).failsWith("EMFILE")
	for _, s := range all[:1000] {
		l.feed(s.pending, wire.Error, "")
	}
	c, err := net.Dial("tcp", here(t, "tcp", "127.0.0.1:0", func(net.Conn) {}).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.feed(at, wire.Error, "")
	for _, s := range all[1000:] {
		s.failsWith("EBADF")
	}
	l.open(map[string]any{"listen": true, "host": []byte(""), "port": 0}).item()
	l.shutDown(first)
	l.leavesNone(t, patience)
}

// A socket is removed by the end of its context that was told to end, too.
func TestGoSocketsOfShutdown(t *testing.T) {
	l := startGo(t)
	path := filepath.Join(t.TempDir(), "s")
	l.open(map[string]any{"listen": true, "path": []byte(path)}).item()
	l.shutDown(first)
	l.leavesNone(t, patience)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that %s is gone", err, path)
	}
}
