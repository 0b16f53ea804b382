package muxserve

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// backend answers as tests need it: it writes the request to stdout, then copies stdin there.
type backend struct {
	asked   chan bool // the target slow was asked for
	ended   chan error
	started atomic.Int32 // programs and connections
}

func (b *backend) Check(ctx context.Context, r *Request) error {
	if r.Target == "slow" {
		close(b.asked)
		<-ctx.Done()
		b.ended <- ctx.Err()
	}
	if r.Target == "nobody" || r.Command == "refuse" {
		return errors.New("no target is called nobody")
	}
	return nil
}

func (b *backend) Run(ctx context.Context, r *Request) int {
	b.started.Add(1)
	io.WriteString(r.Stdout, strings.Join([]string{r.Target, r.Command, r.Term,
		strings.Join(r.Env, ",")}, "|")+"\n")
	if r.Command == "wait" {
		<-ctx.Done()
		b.ended <- ctx.Err()
		return 255
	}
	io.Copy(r.Stdout, r.Stdin)
	return 7
}

func (b *backend) Dial(ctx context.Context, target, address string) (Conn, error) {
	b.started.Add(1)
	if address == "refused:80" {
		return nil, errors.New("connection refused")
	}
	near, far := pair()
	go func() {
		io.Copy(far, far)
		far.Close()
	}()
	return near, nil
}

// pair returns both ends of a socket.
func pair() (near, far *net.UnixConn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		if err != nil {
			panic(err)
		}
		f.Close()
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// served returns a client's end, and what Serve returns.
func served(t *testing.T, b Backend) (*net.UnixConn, <-chan error) {
	t.Helper()
	near, far := pair()
	done := make(chan error, 1)
	go func() {
		done <- Serve(context.Background(), far, b)
		far.Close()
	}()
	t.Cleanup(func() { near.Close() })
	return near, done
}

// within waits for a value, not for ever.
func within[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("waited in vain")
		panic(nil)
	}
}

// pipes are the files of a client: what it writes to, what it reads, and those to hand over.
func pipes(t *testing.T) (in, out, stdin, stdout *os.File) {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{in, out, stdin, stdout} {
			f.Close()
		}
	})
	return in, out, stdin, stdout
}

func TestSession(t *testing.T) {
	c, done := served(t, &backend{})
	m, err := Open(c, "web1")
	if err != nil || m.Server != os.Getpid() {
		t.Fatalf("got %v, %v, want this process", m, err)
	}
	in, out, stdin, stdout := pipes(t)
	r := &Request{Command: "cat", Term: "vt100", Env: []string{"A=b", "C=d"}, Stdin: stdin,
		Stdout: stdout, Stderr: stdout}
	if err := m.Start(r); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	stdout.Close()
	io.WriteString(in, "typed")
	in.Close()
	if b, err := io.ReadAll(out); string(b) != "web1|cat|vt100|A=b,C=d\ntyped" {
		t.Errorf("got %q, %v", b, err)
	}
	if status, err := m.Wait(); status != 7 || err != nil {
		t.Errorf("got status %d, %v, want 7", status, err)
	}
	if err := within(t, done); err != nil {
		t.Errorf("server: %v", err)
	}
}

// No variable is dropped without a word: all of a message arrive, and more than fit are an error.
func TestManyVariables(t *testing.T) {
	for _, tt := range []struct {
		many int
		want string
	}{
		{3000, "<nil>"},
		{60_000, "send request: got 300040 bytes, want at most 262144"},
	} {
		c, _ := served(t, &backend{})
		m, err := Open(c, "web1")
		if err != nil {
			t.Fatal(err)
		}
		_, out, stdin, stdout := pipes(t)
		read := make(chan string, 1)
		go func() {
			line, _ := bufio.NewReader(out).ReadString('\n')
			read <- line
		}()
		env := slices.Repeat([]string{"A"}, tt.many-1)
		env = append(env, "B")
		err = m.Start(&Request{Env: env, Stdin: stdin, Stdout: stdout, Stderr: stdout})
		if got := fmt.Sprint(err); got != tt.want {
			t.Errorf("%d variables: got %s, want %s", tt.many, got, tt.want)
		}
		if err != nil {
			continue
		}
		want := "web1|||" + strings.Join(env, ",") + "\n"
		if got := within(t, read); got != want {
			t.Errorf("%d variables: got %d bytes, want %d with all of them", tt.many, len(got), len(want))
		}
	}
}

func TestRefusedSession(t *testing.T) {
	for _, tt := range []struct{ target, command string }{{"nobody", "cat"}, {"web1", "refuse"}} {
		c, _ := served(t, &backend{})
		m, err := Open(c, tt.target)
		if err != nil {
			t.Fatal(err)
		}
		_, _, stdin, stdout := pipes(t)
		err = m.Start(&Request{Command: tt.command, Stdin: stdin, Stdout: stdout, Stderr: stdout})
		if denied := (*DeniedError)(nil); !errors.As(err, &denied) ||
			denied.Why != "no target is called nobody" {
			t.Errorf("%v: got %v, want the refusal", tt, err)
		}
	}
}

// The program of a client that is killed ends.
func TestKilledClient(t *testing.T) {
	b := &backend{ended: make(chan error, 1)}
	c, done := served(t, b)
	m, err := Open(c, "web1")
	if err != nil {
		t.Fatal(err)
	}
	_, _, stdin, stdout := pipes(t)
	r := &Request{Command: "wait", Stdin: stdin, Stdout: stdout, Stderr: stdout}
	if err := m.Start(r); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if err := within(t, b.ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want an end", err)
	}
	within(t, done)
}

// Nothing is started for a client that is killed while what it asks for is checked.
func TestKilledWhileChecked(t *testing.T) {
	_, _, stdin, stdout := pipes(t)
	for name, ask := range map[string]func(m *Client) error{
		"a program": func(m *Client) error {
			return m.Start(&Request{Command: "cat", Stdin: stdin, Stdout: stdout, Stderr: stdout})
		},
		"a port":      func(m *Client) error { return m.Connect("there", 80, stdin, stdout, false) },
		"the target":  (*Client).Check,
		"no such one": func(m *Client) error { return m.Connect("refused", 80, stdin, stdout, false) },
	} {
		b := &backend{asked: make(chan bool), ended: make(chan error, 1)}
		c, done := served(t, b)
		m, err := Open(c, "slow")
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		go func() { answered <- ask(m) }()
		within(t, b.asked)
		c.CloseWrite()
		if err := within(t, b.ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want an end", name, err)
		}
		within(t, done)
		if err := within(t, answered); err == nil {
			t.Errorf("%s: answered as if it were there", name)
		}
		if n := b.started.Load(); n != 0 {
			t.Errorf("%s: %d were started", name, n)
		}
	}
}

func TestStdio(t *testing.T) {
	for host, want := range map[string]string{"there": "", "refused": "connection refused"} {
		c, _ := served(t, &backend{})
		m, err := Open(c, "web1")
		if err != nil {
			t.Fatal(err)
		}
		in, out, stdin, stdout := pipes(t)
		err = m.Connect(host, 80, stdin, stdout, false)
		if want != "" {
			if err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", host, err, want)
			}
			continue
		}
		stdin.Close()
		stdout.Close()
		io.WriteString(in, "sent and back")
		in.Close()
		if b, err := io.ReadAll(out); string(b) != "sent and back" {
			t.Errorf("got %q, %v", b, err)
		}
		if err := m.Connected(); err != nil {
			t.Error(err)
		}
	}
}

// halfCloser has peers that close what they write at once, and then read.
type halfCloser struct {
	backend
	got chan string
}

func (b *halfCloser) Dial(context.Context, string, string) (Conn, error) {
	near, far := pair()
	far.CloseWrite()
	go func() {
		got, _ := io.ReadAll(far)
		b.got <- string(got)
		far.Close()
	}()
	return near, nil
}

// What comes from stdin after the peer's end goes to the peer, unless it is typed. stdout has ended
// by then.
func TestStdioHalfClosed(t *testing.T) {
	for keyboard, want := range map[bool]string{false: "late", true: ""} {
		b := &halfCloser{got: make(chan string, 1)}
		c, _ := served(t, b)
		m, err := Open(c, "web1")
		if err != nil {
			t.Fatal(err)
		}
		in, out, stdin, stdout := pipes(t)
		if err := m.Connect("there", 80, stdin, stdout, keyboard); err != nil {
			t.Fatal(err)
		}
		stdin.Close()
		stdout.Close()
		if b, err := io.ReadAll(out); len(b) > 0 || err != nil {
			t.Errorf("got %q, %v, want an end", b, err)
		}
		if keyboard {
			if err := m.Connected(); err != nil {
				t.Error(err)
			}
		}
		io.WriteString(in, "late")
		in.Close()
		if got := within(t, b.got); got != want {
			t.Errorf("peer got %q, want %q", got, want)
		}
		if !keyboard {
			if err := m.Connected(); err != nil {
				t.Error(err)
			}
		}
	}
}

// If stdin can't be read, the peer is told an end, and the client why.
func TestStdioUnreadable(t *testing.T) {
	b := &halfCloser{got: make(chan string, 1)}
	c, _ := served(t, b)
	m, err := Open(c, "web1")
	if err != nil {
		t.Fatal(err)
	}
	in, _, _, stdout := pipes(t)
	if err := m.Connect("there", 80, in, stdout, false); err != nil { // in can be written only
		t.Fatal(err)
	}
	within(t, b.got)
	if err := m.Connected(); err == nil {
		t.Error("got no error, want that stdin can't be read")
	}
}

// Other requests are answered; that a server can't be ended by a client is one of the answers.
func TestOtherRequests(t *testing.T) {
	for request, want := range map[uint32]uint32{msgTerminate: replyOK, msgStop: replyOK,
		msgAlive:       replyAlive,
		msgOpenForward: replyFailed, msgCloseForward: replyFailed, 0x1000000f: replyFailed,
		0x77: replyFailed} {
		c, _ := served(t, &backend{})
		c.Write(message(uint32(msgHello), uint32(version)))
		c.Write(message(request, uint32(9)))
		readMessage(c) // hello
		b, err := readMessage(c)
		f := &fields{rest: b}
		if kind, id := f.number(), f.number(); err != nil || kind != want || id != 9 {
			t.Errorf("%#x: got %#x for %d, %v, want %#x for 9", request, kind, id, err, want)
		}
	}
}

// hostile returns messages that no client sends.
func hostile() map[string][]byte {
	hello := message(uint32(msgHello), uint32(version))
	all := map[string][]byte{
		"no length":       {0, 0},
		"too short":       {0, 0, 0, 3, 1, 2, 3},
		"too long":        binary.BigEndian.AppendUint32(nil, maxMessage+1),
		"other version":   message(uint32(msgHello), uint32(3)),
		"half an answer":  message(uint32(msgHello), uint32(version), targetExtension),
		"long text":       message(uint32(msgHello), uint32(version), uint32(1<<31)),
		"no request":      message(uint32(msgAlive)),
		"empty session":   append(hello, message(uint32(msgSession), uint32(1))...),
		"no files":        append(hello, session0()...),
		"empty stdio":     append(hello, message(uint32(msgStdio), uint32(1))...),
		"stdio, no files": append(hello, message(uint32(msgStdio), uint32(1), "", "h", uint32(80))...),
	}
	return all
}

// session0 asks for a session.
func session0() []byte {
	return message(uint32(msgSession), uint32(1), "", uint32(0), uint32(0), uint32(0), uint32(0),
		uint32(0), "vt100", "cat")
}

func TestHostileClients(t *testing.T) {
	for name, b := range hostile() {
		c, done := served(t, &backend{})
		c.Write(b)
		c.CloseWrite()
		if err := within(t, done); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// Files that aren't as they should be are closed.
func TestHostileFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, fds := range map[string][]int{
		"two at once": {int(w.Fd()), int(w.Fd())},
		"many":        {int(w.Fd()), int(w.Fd()), int(w.Fd()), int(w.Fd()), int(w.Fd())},
		"none":        nil,
	} {
		c, done := served(t, &backend{})
		c.Write(message(uint32(msgHello), uint32(version)))
		c.Write(session0())
		if fds == nil {
			c.Write([]byte{0})
		} else if _, _, err := c.WriteMsgUnix([]byte{0}, syscall.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
		if err := within(t, done); err == nil || err == io.EOF {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want %v: a file stays open", err, io.EOF)
	}
}

// A file that can't be a program's is refused with the reason, whichever it is; a long command
// isn't.
func TestUnusableFiles(t *testing.T) {
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		_, _, stdin, stdout := pipes(t)
		files := []*os.File{stdin, stdout, stdout}
		files[i] = dir
		c, _ := served(t, &backend{})
		m, err := Open(c, "web1")
		if err != nil {
			t.Fatal(err)
		}
		err = m.Start(&Request{Stdin: files[0], Stdout: files[1], Stderr: files[2]})
		if denied := (*DeniedError)(nil); !errors.As(err, &denied) ||
			denied.Why != name+": is a directory" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c, _ := served(t, &backend{})
	m, err := Open(c, "web1")
	if err != nil {
		t.Fatal(err)
	}
	_, out, stdin, stdout := pipes(t)
	go io.Copy(io.Discard, out)
	if err := m.Start(&Request{Command: strings.Repeat("x", 130_000), Stdin: stdin, Stdout: stdout,
		Stderr: stdout}); err != nil {
		t.Errorf("a long command: %v", err)
	}
}

func TestCheckTarget(t *testing.T) {
	for target, want := range map[string]string{"web1": "<nil>",
		"nobody": "no target is called nobody"} {
		c, _ := served(t, &backend{})
		m, err := Open(c, target)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m.Check()); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// FuzzServe checks that whatever a client sends, its connection ends.
func FuzzServe(f *testing.F) {
	for _, b := range hostile() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, done := served(t, &backend{})
		go io.Copy(io.Discard, c)
		c.Write(b)
		c.CloseWrite()
		within(t, done)
	})
}

// What a client asks to be ready is asked of the backend, and the connection goes on; unless it is
// refused.
func TestReady(t *testing.T) {
	for target, ok := range map[string]bool{"web": true, "cold": true, "nobody": false} {
		b := &ready{asked: make(chan Request, 2)}
		near, done := served(t, b)
		m, err := Open(near, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Ready(); (err == nil) != ok {
			t.Errorf("%s: got %v, want success: %v", target, err, ok)
		}
		if r := within(t, b.asked); r.Target != target || !r.Ready {
			t.Errorf("%s: got %+v, want that it is to be ready", target, r)
		}
		if ok {
			f, err := m.File()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.BeginHold(); err != nil {
				t.Errorf("%s: BeginHold: got %v, want no error", target, err)
			}
			m.c.Close()
			select {
			case err := <-done:
				t.Errorf("%s: got the end (%v) while a copy of the connection is open", target, err)
			case <-time.After(20 * time.Millisecond):
			}
			f.Close()
		}
		within(t, done)
	}
}

// ready is a backend that tells what it was asked.
type ready struct {
	backend
	asked chan Request
}

func (b *ready) Check(ctx context.Context, r *Request) error {
	b.asked <- *r
	return b.backend.Check(ctx, r)
}

// A client of ours says what agent it means; OpenSSH's says only that it wants one.
func TestAgentOfSession(t *testing.T) {
	for _, want := range []Request{{}, {Agent: true}, {Agent: true, AgentSocket: "/run/agent"}} {
		b := &ready{asked: make(chan Request, 2)}
		near, _ := served(t, b)
		m, err := Open(near, "web")
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		ask := &Request{Agent: want.Agent, AgentSocket: want.AgentSocket,
			Stdin: null, Stdout: null, Stderr: null}
		if err := m.Start(ask); err != nil {
			t.Fatal(err)
		}
		if r := within(t, b.asked); r.Agent != want.Agent || r.AgentSocket != want.AgentSocket {
			t.Errorf("got %v, %q, want %v, %q", r.Agent, r.AgentSocket, want.Agent, want.AgentSocket)
		}
		m.Wait()
	}
}
