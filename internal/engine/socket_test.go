package engine

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// opens returns the next OPEN, and the dict in it.
func (f *fake) opens(t *testing.T) (wire.Frame, map[any]any) {
	t.Helper()
	for {
		g := f.next()
		if g.Handle != wire.Open || g.Kind != wire.Data {
			continue
		}
		v, err := pickle.Decode(g.Payload, pickle.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		what := map[any]any{}
		for _, e := range v.(*pyvalue.Dict).Entries {
			what[e.Key] = e.Value
		}
		return g, what
	}
}

// addressPair is a first item of a connection.
func addressPair(t *testing.T) []byte {
	return encode(t, pyvalue.Tuple{
		pyvalue.Tuple{"10.0.0.5", int64(1)}, pyvalue.Tuple{"10.0.0.1", int64(80)},
	})
}

// What a hostile context answers to a connect is an error.
func TestHostileSocket(t *testing.T) {
	failure := func(args any) []byte {
		return encode(t, pyvalue.Tuple{"builtins", "OSError", "bad\x1b[2J\n text", "", args})
	}
	for name, tt := range map[string]struct {
		kind    wire.Kind
		payload []byte
		want    error
	}{
		"nothing":       {wire.Data, nil, net.ErrClosed},
		"no pickle":     {wire.Item, []byte("no pickle"), nil},
		"a number":      {wire.Item, encode(t, int64(1)), nil},
		"one address":   {wire.Item, encode(t, pyvalue.Tuple{nil}), nil},
		"refused":       {wire.Error, failure(pyvalue.Tuple{"ECONNREFUSED"}), syscall.ECONNREFUSED},
		"unknown code":  {wire.Error, failure(pyvalue.Tuple{"ESTRANGE"}), nil},
		"code a number": {wire.Error, failure(pyvalue.Tuple{int64(111)}), nil},
		"no code":       {wire.Error, failure(nil), nil},
		"text":          {wire.Error, []byte("text"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			failed := later(func() error {
				s, err := DialSocket(within(t), c, "tcp", "10.0.0.1:80")
				if err == nil {
					s.Close()
				}
				return err
			})
			g, what := f.opens(t)
			if what["service"] != "sockets" || what["port"] != int64(80) {
				t.Errorf("got %v, want a connect", what)
			}
			f.reply(g, tt.kind, tt.payload)
			err := soon(t, failed)
			op := (*net.OpError)(nil)
			if !errors.As(err, &op) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want a *net.OpError with %v", err, tt.want)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %q, want printable text", err)
			}
		})
	}
}

// dialing has c connect: what comes of it, and the request that it has sent.
func dialing(t *testing.T, c *Context, f *fake) (<-chan *Socket, wire.Frame, map[any]any) {
	t.Helper()
	dialed := later(func() *Socket {
		s, _ := DialSocket(within(t), c, "tcp", "10.0.0.1:80")
		return s
	})
	g, what := f.opens(t)
	return dialed, g, what
}

// Addresses that are none, and further items where one is due, harm nothing. What the peer has
// written comes before the error at the end.
func TestHostileAddresses(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	dialed, g, what := dialing(t, c, f)
	bad := pyvalue.Tuple{pyvalue.Tuple{"no address", int64(-1)}, pyvalue.Tuple{int64(1), "x"}}
	f.reply(g, wire.Item, encode(t, bad))
	s := soon(t, dialed)
	if s == nil {
		t.Fatal("got no connection")
	}
	if s.LocalAddr() == nil || s.RemoteAddr() == nil {
		t.Errorf("got addresses %v, %v, want some", s.LocalAddr(), s.RemoteAddr())
	}
	f.reply(g, wire.Item, addressPair(t))
	data := wire.Frame{Dst: g.Dst, Reply: wire.Handle(what["data"].(int64))}
	f.reply(data, wire.Item, []byte("text"))
	reset := pyvalue.Tuple{"builtins", "OSError", "x", "", pyvalue.Tuple{"ECONNRESET"}}
	f.reply(g, wire.Error, encode(t, reset))
	b, err := io.ReadAll(s)
	if string(b) != "text" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v, want text and then %v", b, err, syscall.ECONNRESET)
	}
}

// A context can't open a connection by itself: it may answer each question of a listener once.
func TestHostileListener(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	listening := later(func() *Listener {
		l, _ := ListenSocket(within(t), c, "tcp", "localhost:0")
		return l
	})
	g, what := f.opens(t)
	if what["listen"] != true {
		t.Fatalf("got %v, want a listener", what)
	}
	f.reply(g, wire.Item, encode(t, pyvalue.Tuple{pyvalue.Tuple{"127.0.0.1", int64(999)}}))
	l := soon(t, listening)
	if l == nil || l.Addr().String() != "127.0.0.1:999" {
		t.Fatalf("got %v, want a listener at 127.0.0.1:999", l)
	}
	var asked []wire.Frame
	for range acceptAhead {
		h, what := f.opens(t)
		if what["accept"] != int64(g.Reply) {
			t.Errorf("got %v, want a wait at the listener", what)
		}
		asked = append(asked, h)
	}
	for range 3 { // each answers the same question
		f.reply(asked[0], wire.Item, addressPair(t))
	}
	for _, handle := range []wire.Handle{1, 5000, g.Reply} {
		f.reply(wire.Frame{Dst: g.Dst, Reply: handle}, wire.Item, addressPair(t))
	}
	accepted := later(func() error { _, err := l.Accept(); return err })
	if err := soon(t, accepted); err != nil {
		t.Fatal(err)
	}
	second := later(func() error { _, err := l.Accept(); return err })
	if _, what := f.opens(t); what["accept"] != int64(g.Reply) {
		t.Errorf("got %v, want one more wait at the listener", what)
	}
	// What answers the items of unknown flows may come now, or came before.
	f.quietBut(1, func(g wire.Frame) bool { return g.Handle == wire.Credit })
	f.reply(g, wire.Data, nil)
	if err := soon(t, second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want no second connection, and %v", err, net.ErrClosed)
	}
}

// Items behind the first, which is due, are not kept, and their window comes back: of a
// connection, and of a listener.
func TestHostileItems(t *testing.T) {
	for name, open := range map[string]func(*Context) *Tunnel{
		"connection": func(c *Context) *Tunnel {
			if s, _ := DialSocket(within(t), c, "tcp", "10.0.0.1:80"); s != nil {
				return s.end
			}
			return nil
		},
		"listener": func(c *Context) *Tunnel {
			if l, _ := ListenSocket(within(t), c, "tcp", "localhost:0"); l != nil {
				return l.place
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			opened := later(func() *Tunnel { return open(c) })
			g, _ := f.opens(t)
			large := make([]byte, wire.MaxPayload)
			f.reply(g, wire.Item, addressPair(t))
			f.reply(g, wire.Item, large)
			f.reply(g, wire.Item, large)
			end := soon(t, opened)
			if end == nil {
				t.Fatal("got nothing open")
			}
			for range 6 {
				f.reply(g, wire.Item, large)
			}
			for got := uint32(0); got < wire.Window/2; { // the rest is told with what follows
				h := f.next()
				if flow, n, _ := wire.ParseCredit(h.Payload); h.Handle == wire.Credit && flow == g.Reply {
					got += n
				}
			}
			end.p.answer.mu.Lock()
			defer end.p.answer.mu.Unlock()
			if n := len(end.p.answer.items); n > 0 {
				t.Errorf("got %d items kept, want none", n)
			}
		})
	}
}

// What comes for a connection that nothing reads from is its window and a frame, and what is more
// ends the context.
func TestSocketWindow(t *testing.T) {
	for more, lives := range map[int]bool{0: true, 2: false} {
		e, fakes := fakeEngine(t, Options{})
		c, f := connected(t, e, fakes)
		dialed, g, what := dialing(t, c, f)
		f.reply(g, wire.Item, addressPair(t))
		s := soon(t, dialed)
		if s == nil {
			t.Fatal("got no connection")
		}
		data := wire.Frame{Dst: g.Dst, Reply: wire.Handle(what["data"].(int64))}
		for range wire.Window/wire.MaxPayload + more {
			f.reply(data, wire.Item, make([]byte, wire.MaxPayload))
		}
		if !lives {
			waitFor(t, "the end of the context", func() bool { return c.Err() != nil })
			continue
		}
		if n, err := io.ReadFull(s, make([]byte, wire.Window)); err != nil || c.Err() != nil {
			t.Errorf("got %d bytes, %v, and %v of the context, want the window", n, err, c.Err())
		}
	}
}

// What is written after CloseWrite is an error, as with a *net.TCPConn, also if the write has begun
// before.
func TestWriteAfterCloseWrite(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	dialed, g, _ := dialing(t, c, f)
	f.reply(g, wire.Item, addressPair(t))
	s := soon(t, dialed)
	if s == nil {
		t.Fatal("got no connection")
	}
	type result struct {
		n   int
		err error
	}
	large := make([]byte, wire.Window+wire.MaxPayload)
	written := later(func() result {
		n, err := s.Write(large)
		return result{n, err}
	})
	for got := 0; got < wire.Window; {
		if h := f.next(); h.Kind == wire.Item && h.Reply == g.Reply {
			got += len(h.Payload)
		}
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	credit := wire.AppendCredit(nil, g.Reply, wire.Window)
	f.send(wire.Frame{Src: c.id, Handle: wire.Credit, Payload: credit})
	if got := soon(t, written); got.n != wire.Window || !errors.Is(got.err, syscall.EPIPE) {
		t.Errorf("got %d, %v, want %d and EPIPE", got.n, got.err, wire.Window)
	}
	if n, err := s.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %d, %v, want 0 and EPIPE", n, err)
	}
}

// The audit log is told what a context connects to, and listens at, before it does.
func TestSocketsAreAudited(t *testing.T) {
	events := make(chan report.Event, 100)
	e, fakes := fakeEngine(t, Options{Audit: func(ev report.Event) error {
		events <- ev
		return nil
	}})
	c, f := connected(t, e, fakes)
	go DialSocket(within(t), c, "tcp", "10.0.0.1:80")
	f.opens(t)
	go ListenSocket(within(t), c, "unix", "/tmp/s")
	f.opens(t)
	var told []string
	for len(told) < 2 {
		if ev := soon(t, events); ev.Kind == report.EventService {
			told = append(told, ev.Name)
		}
	}
	want := "socket connect 10.0.0.1:80, socket listen /tmp/s"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
