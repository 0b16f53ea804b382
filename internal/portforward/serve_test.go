package portforward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// serving forwards what comes to an address by a Server, and returns that address.
func serving(t *testing.T, s *Server, at Address) net.Addr {
	t.Helper()
	all, err := Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for _, l := range all {
		done.Go(func() { s.Serve(ctx, l) })
	}
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return all[0].Addr()
}

// server accepts connections at loopback, and has each served.
func server(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

var dialer net.Dialer

func dialed(t *testing.T, at net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// Bytes pass both ways, and each side's end is the other's; the events say so.
func TestServe(t *testing.T) {
	to := server(t, func(c *net.TCPConn) {
		defer c.Close()
		n, _ := io.Copy(io.Discard, c) // to the client's end
		fmt.Fprintf(c, "got %d", n)
	})
	path := Address{"unix", filepath.Join(t.TempDir(), "s")}
	for _, at := range []Address{tcp("localhost:0"), tcp("127.0.0.1:0"), tcp("*:0"), path} {
		t.Run(at.Text, func(t *testing.T) {
			events := make(chan Event, 10)
			s := &Server{Spec: Spec{Local, at, tcp(to)}, Dial: dialer.DialContext}
			s.Tell = func(e Event) { events <- e }
			c := dialed(t, serving(t, s, at))
			c.Write(make([]byte, 100_000))
			c.(halfCloser).CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "got 100000" || err != nil {
				t.Errorf("got %q, %v, want the number of bytes", got, err)
			}
			opened, closed := <-events, <-events
			if opened.Kind != Opened || opened.To != to || opened.From == "" {
				t.Errorf("got %+v, want that it is opened", opened)
			}
			want := opened
			want.Kind, want.Sent, want.Received = Closed, 100_000, 10
			if closed != want {
				t.Errorf("got %+v, want %+v", closed, want)
			}
		})
	}
}

// A reset passes through, and so does a connection that can't be made.
func TestServeResets(t *testing.T) {
	seen := make(chan error, 1)
	to := server(t, func(c *net.TCPConn) {
		defer c.Close()
		b := make([]byte, 1)
		if _, err := c.Read(b); err != nil {
			seen <- err
			return
		}
		c.SetLinger(0)
	})
	s := &Server{Spec: Spec{Local, tcp("localhost:0"), tcp(to)}, Dial: dialer.DialContext}
	at := serving(t, s, s.Spec.Listen)
	c := dialed(t, at)
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
	c = dialed(t, at)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("there: got %v, want %v", err, syscall.ECONNRESET)
	}
	failed := make(chan Event, 1)
	bad := &Server{Spec: s.Spec, Tell: func(e Event) { failed <- e }}
	bad.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, syscall.ECONNREFUSED
	}
	if c, err := net.Dial("tcp", serving(t, bad, bad.Spec.Listen).String()); err == nil {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("got %d, %v, want an error", n, err)
		}
		c.Close()
	}
	if e := <-failed; e.Kind != Failed || e.Err != syscall.ECONNREFUSED {
		t.Errorf("got %+v, want that it has failed", e)
	}
}

// What the other side sends after it takes no more still comes: the early answer of a server.
func TestEarlyAnswer(t *testing.T) {
	to := server(t, func(c *net.TCPConn) {
		io.WriteString(c, "too large")
		c.CloseWrite()
		time.Sleep(100 * time.Millisecond)
		c.Close()
	})
	s := &Server{Spec: Spec{Local, tcp("localhost:0"), tcp(to)}, Dial: dialer.DialContext}
	c := dialed(t, serving(t, s, s.Spec.Listen))
	go io.Copy(c, io.LimitReader(zeros{}, 100<<20))
	got := make([]byte, 9)
	if _, err := io.ReadFull(c, got); string(got) != "too large" {
		t.Errorf("got %q, %v, want the answer", got, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// SOCKS clients of each version are led to where they want to go, or told why not.
func TestSOCKS(t *testing.T) {
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		switch address {
		case "refused:80":
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		case "unknown:80":
			return nil, &net.DNSError{Err: "no such host"}
		case "slow:80":
			return nil, context.DeadlineExceeded
		}
		a, b := net.Pipe()
		go func() {
			fmt.Fprintf(b, "%s %s", network, address)
			b.Close()
		}()
		return a, nil
	}
	s := &Server{Spec: Spec{Dynamic, tcp("localhost:0"), nowhere}, Dial: dial}
	at := serving(t, s, s.Spec.Listen)
	named := func(name string) string {
		return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(name))) + name + "\x00\x50"
	}
	head, rest := "\x05\x00\x05", "\x00\x01\x00\x00\x00\x00\x00\x00"
	well := head + "\x00" + rest
	direct, well4 := "\x04\x01\x00\x50\x7f\x00\x00\x01", "\x00\x5a\x00\x00\x00\x00\x00\x00"
	indirect := "\x04\x01\x00\x50\x00\x00\x00\x01\x00"
	ask := "\x05\x01\x00\x05\x01\x00"
	ip6 := "\x04" + strings.Repeat("\x00", 15) + "\x01\x01\x00"
	for name, tt := range map[string]struct{ send, want string }{
		"name":                 {named("web"), well + "tcp web:80"},
		"IPv4":                 {ask + "\x01\x7f\x00\x00\x01\x00\x50", well + "tcp 127.0.0.1:80"},
		"IPv6":                 {ask + ip6, well + "tcp [::1]:256"},
		"of three methods":     {"\x05\x03\x02\x01" + ask[2:] + "\x03\x01a\x00\x50", well + "tcp a:80"},
		"refused":              {named("refused"), head + "\x05" + rest},
		"unknown":              {named("unknown"), head + "\x04" + rest},
		"slow":                 {named("slow"), head + "\x06" + rest},
		"bind":                 {"\x05\x01\x00\x05\x02\x00\x03\x01a\x00\x50", head + "\x07" + rest},
		"kind":                 {"\x05\x01\x00\x05\x01\x00\x02", head + "\x08" + rest},
		"password":             {"\x05\x01\x02", "\x05\xff"},
		"version 4":            {direct + "user\x00", well4 + "tcp 127.0.0.1:80"},
		"version 4a":           {indirect + "web\x00", well4 + "tcp web:80"},
		"version 4, refused":   {indirect + "refused\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		"version 4, bind":      {"\x04\x02" + direct[2:] + "\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		"another version":      {"GET / HTTP/1.0\r\n", ""},
		"version 4, long user": {direct + strings.Repeat("u", 300), ""},
		"cut off":              {"\x05\x01\x00\x05\x01", "\x05\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialed(t, at)
			io.WriteString(c, tt.send)
			c.(halfCloser).CloseWrite()
			if got, _ := io.ReadAll(c); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What a client sends is bounded, whatever it is.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50"))
	f.Add([]byte("\x04\x01\x00\x50\x00\x00\x00\x01\x00web\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		q, err := readRequest(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), &out})
		if err == nil && q.address == "" || out.Len() > 12 || len(q.address) > 300 {
			t.Errorf("got %+v, %v, %d bytes of answers", q, err, out.Len())
		}
	})
}

// localhost is loopback of both families, at one port. A port that is taken in one is an error.
func TestListenLoopback(t *testing.T) {
	all, err := Listen(tcp("localhost:0"))
	if err != nil {
		t.Fatal(err)
	}
	port := all[0].Addr().(*net.TCPAddr).Port
	for _, l := range all {
		a := l.Addr().(*net.TCPAddr)
		if !a.IP.IsLoopback() || a.Port != port {
			t.Errorf("got %v, want loopback and port %d", a, port)
		}
	}
	last := all[len(all)-1]
	for _, l := range all[:len(all)-1] {
		l.Close()
	}
	defer last.Close()
	if _, err := Listen(tcp(fmt.Sprintf("localhost:%d", port))); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, syscall.EADDRINUSE)
	}
}

// More connections than there is room for wait until there is.
func TestRoom(t *testing.T) {
	to := server(t, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.Close()
	})
	s := &Server{Spec: Spec{Local, tcp("localhost:0"), tcp(to)}, Dial: dialer.DialContext}
	s.Room = make(chan struct{}, 2)
	at := serving(t, s, s.Spec.Listen)
	var all []net.Conn
	for range 3 {
		c := dialed(t, at)
		c.Write([]byte("x"))
		all = append(all, c)
	}
	b := make([]byte, 1)
	for _, c := range all[:2] {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	all[2].SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := all[2].Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third: got %v, want that it waits", err)
	}
	all[0].Close()
	all[2].SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := all[2].Read(b); err != nil {
		t.Errorf("the third, once there is room: %v", err)
	}
}
