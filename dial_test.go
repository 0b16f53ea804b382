package mitogen_test

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

	"github.com/mitogen-go/mitogen"
)

// halfCloser is a connection that can be closed for writing alone.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// timed is a listener with a deadline.
type timed interface{ SetDeadline(time.Time) error }

// inContext returns a context on this machine.
func inContext(t *testing.T) *mitogen.Context {
	t.Helper()
	return connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
}

// listening listens here, and serves each connection by serve, which closes it.
func listening(t *testing.T, network, address string, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go acceptAll(l, serve)
	return l
}

func acceptAll(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

// echo returns what comes, and its own end after the peer's.
func echo(c net.Conn) {
	defer c.Close()
	io.Copy(c, c)
}

// stalling reads and writes nothing until the test's end.
func stalling(t *testing.T) func(net.Conn) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(c net.Conn) {
		<-over
		c.Close()
	}
}

// places are addresses to listen at, by network.
func places(t *testing.T) map[string]string {
	return map[string]string{
		"tcp": "127.0.0.1:0", "tcp4": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s"),
	}
}

// exchanged sends data and an end, and demands the same back.
func exchanged(t *testing.T, c net.Conn, data []byte) {
	t.Helper()
	defer c.Close()
	go func() {
		c.Write(data)
		c.(halfCloser).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(data))
	}
}

// Bytes and ends pass both ways, from here to there.
func TestDial(t *testing.T) { onEach(t, mitogen.Options{}, testDial) }

func testDial(t *testing.T, c *mitogen.Context) {
	for network, address := range places(t) {
		t.Run(network, func(t *testing.T) {
			l := listening(t, network, address, echo)
			conn, err := c.Dial(limited(t), network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.RemoteAddr(); got.String() != l.Addr().String() || got.Network() == "" {
				t.Errorf("got remote address %v, want %v", got, l.Addr())
			}
			if tcp, ok := conn.LocalAddr().(*net.TCPAddr); network != "unix" && (!ok || tcp.Port == 0) {
				t.Errorf("got local address %v, want one of TCP", conn.LocalAddr())
			}
			exchanged(t, conn, bytes.Repeat([]byte("0123456789abcdef"), 300_000))
		})
	}
}

// behind returns once a context has done what it was told before, which a PING would overtake.
func behind(t *testing.T, c *mitogen.Context) {
	t.Helper()
	info, err := c.Info(limited(t))
	if info.Implementation == "go" {
		_, err = goEcho.Call(limited(t), c, nil)
	} else if err == nil {
		_, err = mitogen.Call[int](limited(t), c, "os:getpid")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The same from there to here.
func TestListen(t *testing.T) { onEach(t, mitogen.Options{}, testListen) }

func testListen(t *testing.T, c *mitogen.Context) {
	for network, address := range places(t) {
		t.Run(network, func(t *testing.T) {
			l, err := c.Listen(limited(t), network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go acceptAll(l, echo)
			for range 40 { // more than are accepted ahead
				conn, err := net.Dial(network, l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				exchanged(t, conn, []byte("0123456789"))
			}
			l.Close()
			behind(t, c)
			if conn, err := net.Dial(network, l.Addr().String()); err == nil {
				conn.Close()
				t.Error("it listens after its Close")
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
			if _, err := os.Lstat(address); network == "unix" && err == nil {
				t.Error("the socket is left")
			}
		})
	}
}

// Failures are the errors that they would be here.
func TestDialErrors(t *testing.T) { onEach(t, mitogen.Options{}, testDialErrors) }

func testDialErrors(t *testing.T, c *mitogen.Context) {
	dir := t.TempDir()
	taken := listening(t, "tcp", "127.0.0.1:0", echo).Addr().String()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dial, listen := c.Dial, c.Listen
	free := listening(t, "tcp", "127.0.0.1:0", echo)
	free.Close()
	unused := free.Addr().String()
	udp := net.UnknownNetworkError("udp")
	noSuchHost := func(err error) bool {
		missing := (*net.DNSError)(nil)
		return errors.As(err, &missing)
	}
	is := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	refused := func(err error) bool {
		bad := (*net.AddrError)(nil)
		return errors.As(err, &bad)
	}
	for name, tt := range map[string]struct {
		network, address string
		listen           bool
		ok               func(error) bool
		text             string
	}{
		"refused":        {"tcp", unused, false, is(syscall.ECONNREFUSED), "connection refused"},
		"localhost":      {"tcp", "localhost:1", false, is(syscall.ECONNREFUSED), "connection refused"},
		"no such name":   {"tcp", "no-such-host.invalid:80", false, noSuchHost, "lookup"},
		"no such socket": {"unix", dir + "/none", false, is(syscall.ENOENT), "no such file"},
		"no socket":      {"unix", dir + "/file", false, is(syscall.ECONNREFUSED), "connection refused"},
		"relative":       {"unix", "none", false, refused, "path"},
		"long":           {"unix", "/" + strings.Repeat("x", 200), false, refused, "107"},
		"zero":           {"unix", "/a\x00b", false, refused, "zero"},
		"no port":        {"tcp", "127.0.0.1:0", false, refused, "port"},
		"a service":      {"tcp", "127.0.0.1:http", false, refused, "port"},
		"not a name":     {"tcp", "a\nb:1", false, refused, "characters"},
		"network":        {"udp", "127.0.0.1:1", false, is(udp), "network udp"},
		"other family":   {"tcp6", "127.0.0.1:1", false, noSuchHost, "lookup"},
		"taken":          {"tcp", taken, true, is(syscall.EADDRINUSE), "address already in use"},
		"taken path":     {"unix", dir + "/file", true, is(syscall.EADDRINUSE), "address already in use"},
		"no directory":   {"unix", dir + "/no/s", true, is(syscall.ENOENT), "no such file"},
		"foreign":        {"tcp", "192.0.2.1:0", true, is(syscall.EADDRNOTAVAIL), "assign"},
		"name to listen": {"tcp", "web1:0", true, refused, "IP address"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if tt.listen {
				_, err = listen(limited(t), tt.network, tt.address)
			} else {
				_, err = dial(limited(t), tt.network, tt.address)
			}
			op := (*net.OpError)(nil)
			if !errors.As(err, &op) || !tt.ok(err) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want one with %q", err, tt.text)
			}
			if _, ok := err.(net.Error); !ok || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("got %v, want a net.Error of one line", err)
			}
		})
	}
}

// A peer's reset is a reset here, and one of ours is one there.
func TestReset(t *testing.T) { onEach(t, mitogen.Options{}, testReset) }

func testReset(t *testing.T, c *mitogen.Context) {
	got := make(chan error, 1)
	l := listening(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		defer conn.Close()
		var b [1]byte
		if _, err := conn.Read(b[:]); err != nil {
			got <- err
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
	})
	conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
	if _, err := conn.Write([]byte("y")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: got %v, want %v", err, syscall.ECONNRESET)
	}
	conn.Close()
	if conn, err = c.Dial(limited(t), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn.(interface{ SetLinger(int) error }).SetLinger(0)
	conn.Close()
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("there: got %v, want %v", err, syscall.ECONNRESET)
	}
}

// Close loses no byte that was written before it.
func TestCloseFlushes(t *testing.T) { onEach(t, mitogen.Options{}, testCloseFlushes) }

func testCloseFlushes(t *testing.T, c *mitogen.Context) {
	got := make(chan int64, 1)
	l := listening(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		time.Sleep(200 * time.Millisecond)
		n, _ := io.Copy(io.Discard, conn)
		conn.Close()
		got <- n
	})
	conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const size = 3_000_000
	if n, err := conn.Write(make([]byte, size)); n != size || err != nil {
		t.Fatalf("got %d, %v, want %d", n, err, size)
	}
	conn.Close()
	if n := <-got; n != size {
		t.Errorf("got %d bytes there, want %d", n, size)
	}
}

// A deadline ends operations that wait, until it is set anew.
func TestDeadlines(t *testing.T) { onEach(t, mitogen.Options{}, testDeadlines) }

func testDeadlines(t *testing.T, c *mitogen.Context) {
	l := listening(t, "tcp", "127.0.0.1:0", stalling(t))
	conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	remote, err := c.Listen(limited(t), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	big := make([]byte, 64<<20)
	for name, do := range map[string]struct {
		set func(time.Time) error
		do  func() error
	}{
		"read":   {conn.SetReadDeadline, func() error { _, err := conn.Read(big[:1]); return err }},
		"write":  {conn.SetWriteDeadline, func() error { _, err := conn.Write(big); return err }},
		"accept": {remote.(timed).SetDeadline, func() error { _, err := remote.Accept(); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			timedOut := func(what string, err error) {
				t.Helper()
				e, ok := err.(net.Error)
				if !ok || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: got %v, want a timeout", what, err)
				}
			}
			do.set(time.Now().Add(-time.Second))
			timedOut("past", do.do())
			do.set(time.Now().Add(20 * time.Millisecond))
			timedOut("future", do.do())
			do.set(time.Time{})
			ended := make(chan error, 1)
			go func() { ended <- do.do() }()
			select {
			case err := <-ended:
				t.Errorf("without a deadline: got %v, want that it waits", err)
				return
			case <-time.After(50 * time.Millisecond):
			}
			do.set(time.Now())
			timedOut("while it waits", <-ended)
		})
	}
}

// A connect that is given up, because of its ctx or a deadline.
func TestDialGivenUp(t *testing.T) { onEach(t, mitogen.Options{}, testDialGivenUp) }

func testDialGivenUp(t *testing.T, c *mitogen.Context) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Dial(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	// The queue of this one is full after the first.
	dir := t.TempDir()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	err = errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: dir + "/s"}), syscall.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		conn, err := c.Dial(ctx, "unix", dir+"/s")
		cancel()
		if err == nil {
			defer conn.Close()
			continue
		}
		if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
		break
	}
}

// Connections and listeners end with their context.
func TestSocketsEndWithContext(t *testing.T) {
	onEach(t, mitogen.Options{}, testSocketsEndWithContext)
}

func testSocketsEndWithContext(t *testing.T, c *mitogen.Context) {
	l := listening(t, "tcp", "127.0.0.1:0", stalling(t))
	conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	remote, err := c.Listen(limited(t), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go c.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read: got %v, want an error", err)
	}
	if _, err := remote.Accept(); err == nil {
		t.Error("accept: got no error")
	}
	<-c.Done()
	if conn, err := net.Dial("tcp", remote.Addr().String()); err == nil {
		conn.Close()
		t.Error("it listens after the context's end")
	}
	if _, err := c.Dial(limited(t), "tcp", "127.0.0.1:1"); !errors.Is(err, mitogen.ErrClosed) {
		t.Errorf("got %v, want %v", err, mitogen.ErrClosed)
	}
}

// longPath is a path of as many bytes as the address of a socket has room for.
func longPath(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("d", max(1, 107-len(dir)-len("//s"))))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(long, "s")
}

// A UNIX socket is for its account alone from its first moment, whatever the umask, and replaces
// a socket that nothing listens at.
func TestListenPath(t *testing.T) {
	c := inContext(t)
	if _, err := mitogen.Call[int](limited(t), c, "os:umask", 0); err != nil {
		t.Fatal(err)
	}
	path := longPath(t)
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := c.Listen(limited(t), "unix", path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("one that is in use: got %v, want %v", err, syscall.EADDRINUSE)
	}
	stale.Close()
	l, err := c.Listen(limited(t), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got %v, %v, want a socket of mode 600", st.Mode(), err)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("got %v, want the socket alone", all)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	behind(t, c)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("what has taken the socket's place was removed: %v", err)
	}
}

// A thousand connections are open at once. A stalled one stops none of twenty beside it.
func TestManySockets(t *testing.T) { onEach(t, mitogen.Options{}, testManySockets) }

func testManySockets(t *testing.T, c *mitogen.Context) {
	stalled := listening(t, "tcp", "127.0.0.1:0", stalling(t))
	full, err := c.Dial(limited(t), "tcp", stalled.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	go full.Write(make([]byte, 64<<20))
	l := listening(t, "tcp", "127.0.0.1:0", echo)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			exchanged(t, conn, bytes.Repeat([]byte{byte(i)}, 2_000_000))
		})
	}
	all.Wait()
	open := make([]net.Conn, 1000)
	for i := range open {
		all.Go(func() {
			conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			open[i] = conn
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for i, conn := range open {
		all.Go(func() { exchanged(t, conn, fmt.Appendf(nil, "connection %d", i)) })
	}
	all.Wait()
}

// A connection beyond the limit is refused, with an error of its own, until there is room again.
func TestTooManySockets(t *testing.T) { onEach(t, mitogen.Options{}, testTooManySockets) }

func testTooManySockets(t *testing.T, c *mitogen.Context) {
	l := listening(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	var open []net.Conn
	for {
		conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
		if err == nil && len(open) < 2000 {
			open = append(open, conn)
			continue
		}
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("after %d: got %v, want %v", len(open), err, syscall.EMFILE)
		}
		break
	}
	if len(open) < 1000 || len(open) > 1024 {
		t.Errorf("got %d connections, want 1,024 at most and hardly fewer", len(open))
	}
	for _, conn := range open {
		conn.Close()
	}
	conn, err := c.Dial(limited(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A Close beside a Write that waits ends it, with net.ErrClosed.
func TestCloseBesideWrite(t *testing.T) { onEach(t, mitogen.Options{}, testCloseBesideWrite) }

func testCloseBesideWrite(t *testing.T, c *mitogen.Context) {
	stalled := listening(t, "tcp", "127.0.0.1:0", stalling(t))
	for range 20 {
		conn, err := c.Dial(limited(t), "tcp", stalled.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := conn.Write(make([]byte, 64<<20))
			ended <- err
		}()
		time.Sleep(time.Millisecond)
		conn.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
	}
}
