package agentproxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// agent notes what it is asked. It answers with the type of the answer, and the request.
type agent struct {
	binding byte // the type of its answer to a binding

	mu    sync.Mutex // protects following
	asked []string
	open  int
}

// answers has the type of each answer.
var answers = map[byte]byte{requestIdentities: 12, signRequest: 14}

func (a *agent) dial(context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	a.mu.Lock()
	a.open++
	a.mu.Unlock()
	go func() {
		defer there.Close()
		for {
			size, kind, err := readHead(there)
			if err != nil {
				return
			}
			request, err := readRest(there, size, kind)
			if err != nil {
				return
			}
			a.mu.Lock()
			a.asked = append(a.asked, string(request))
			a.mu.Unlock()
			answer := append([]byte{answers[kind]}, request...)
			if kind == extension {
				answer = []byte{a.binding}
			}
			writeFrame(there, answer)
		}
	}()
	return here, nil
}

// requests are those that the agent was asked after its binding.
func (a *agent) requests(t *testing.T) []string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		return nil
	}
	if a.asked[0] != string(bindingOf(t)) {
		t.Errorf("first the agent was asked %q, want a binding", a.asked[0])
	}
	return a.asked[1:]
}

func (a *agent) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}

// duplex is a client whose requests are known before.
type duplex struct {
	io.Reader
	bytes.Buffer
}

func (d *duplex) Read(b []byte) (int, error) { return d.Reader.Read(b) }

func frame(b ...byte) string {
	var w bytes.Buffer
	writeFrame(&w, b)
	return w.String()
}

var refused = frame(failure)

// Each type of request of the agent protocol, and some that there are not: what comes through, and
// what the client is answered.
func TestRequests(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, MaxFrame-1)
	sign := append([]byte{signRequest}, long...)
	type test struct {
		name, in, out string
		asked         []string
		err           error
	}
	tests := []test{
		{"nothing", "", "", nil, nil},
		{"list", frame(11), frame(12, 11), []string{"\v"}, nil},
		{"sign", frame(13, 1, 2), frame(14, 13, 1, 2), []string{"\r\x01\x02"}, nil},
		{"sign without content", frame(13), frame(14, 13), []string{"\r"}, nil},
		{"two", frame(11) + frame(13, 9), frame(12, 11) + frame(14, 13, 9),
			[]string{"\v", "\r\x09"}, nil},
		{"list with content", frame(11, 1), refused, nil, nil},
		{"refused between", frame(11) + frame(19) + frame(11), frame(12, 11) + refused + frame(12, 11),
			[]string{"\v", "\v"}, nil},
		{"binding", frame(bindingOf(t)...), refused, nil, nil},
		{"longest that is refused", frame(append([]byte{17}, long...)...) + frame(19),
			refused + refused, nil, nil},
		{"longest, with too long an answer", frame(sign...), "", []string{string(sign)}, errFrame},
		{"too long", "\x00\x04\x00\x01\x0d", "", nil, errFrame},
		{"much too long", "\xff\xff\xff\xff\x0b", "", nil, errFrame},
		{"no type", "\x00\x00\x00\x00", "", nil, errFrame},
		{"no type, after one", frame(11) + "\x00\x00\x00\x00", frame(12, 11), []string{"\v"}, errFrame},
		{"length cut", "\x00\x00", "", nil, io.ErrUnexpectedEOF},
		{"type cut", "\x00\x00\x00\x01", "", nil, io.ErrUnexpectedEOF},
		{"refused and cut", "\x00\x00\x00\x09\x11ab", "", nil, io.ErrUnexpectedEOF},
		{"sign cut", "\x00\x00\x00\x09\x0dab", "", nil, io.ErrUnexpectedEOF},
	}
	for kind := range 256 {
		if answers[byte(kind)] == 0 {
			tests = append(tests, test{"type", frame(byte(kind), 1, 2), refused, nil, nil},
				test{"type alone", frame(byte(kind)), refused, nil, nil})
		}
	}
	for _, tt := range tests {
		a := &agent{binding: failure}
		c := &duplex{Reader: strings.NewReader(tt.in)}
		err := Pass(t.Context(), c, a.dial)
		if err != tt.err || c.String() != tt.out {
			t.Errorf("%s: got %.40q, %v, want %.40q, %v", tt.name, c.String(), err, tt.out, tt.err)
		}
		if got := a.requests(t); !slices.Equal(got, tt.asked) {
			t.Errorf("%s: the agent was asked %.40q, want %.40q", tt.name, got, tt.asked)
		}
		if n := a.connections(); n != min(1, len(tt.asked)) {
			t.Errorf("%s: got %d connections to the agent for %d requests", tt.name, n, len(tt.asked))
		}
	}
}

// Each connection to the agent begins with a binding to a host that there isn't, whatever the agent
// makes of that.
func TestBinding(t *testing.T) {
	for _, answer := range []byte{success, failure, extensionFailure} {
		a := &agent{binding: answer}
		c := &duplex{Reader: strings.NewReader(frame(11))}
		if err := Pass(t.Context(), c, a.dial); err != nil || c.String() != frame(12, 11) {
			t.Errorf("answer %d: got %q, %v, want a list", answer, c.String(), err)
		}
		a.requests(t)
	}
	var b struct {
		Name               string
		Key, Session, Sign []byte
		Forwarded          bool
	}
	err := ssh.Unmarshal(bindingOf(t)[1:], &b)
	key, err2 := ssh.ParsePublicKey(b.Key)
	sign := ssh.Signature{}
	err3 := ssh.Unmarshal(b.Sign, &sign)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if err := key.Verify(b.Session, &sign); err != nil || b.Name != bindSession || !b.Forwarded {
		t.Errorf("got %+v, %v, want a forwarded session that its key has signed", b, err)
	}
}

// Other answers of agents.
const (
	success          = 6
	extensionFailure = 28
)

func bindingOf(t *testing.T) []byte {
	t.Helper()
	b, err := binding()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An agent that can't be reached, or that answers with what is no answer, ends the connection.
func TestBadAgent(t *testing.T) {
	gone := errors.New("gone")
	answering := func(text string) Dial {
		return func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				io.CopyN(io.Discard, there, int64(4+len(bindingOf(t))))
				io.WriteString(there, text)
				there.Close()
			}()
			return here, nil
		}
	}
	for name, tt := range map[string]struct {
		dial Dial
		want error
	}{
		"none":     {func(context.Context) (net.Conn, error) { return nil, gone }, gone},
		"silent":   {answering(""), io.ErrUnexpectedEOF},
		"cut":      {answering("\x00\x00\x00\x05\x05"), io.ErrUnexpectedEOF},
		"no type":  {answering("\x00\x00\x00\x00"), errFrame},
		"too long": {answering("\x00\x10\x00\x00\x05"), errFrame},
	} {
		c := &duplex{Reader: strings.NewReader(frame(11))}
		if err := Pass(t.Context(), c, tt.dial); !errors.Is(err, tt.want) || c.Len() > 0 {
			t.Errorf("%s: got %q, %v, want %v", name, c.String(), err, tt.want)
		}
	}
}

// serving has Serve listen at a socket, until the test ends.
func serving(t *testing.T, dial Dial) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, dial) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			if err != nil {
				t.Errorf("got %v, want no error", err)
			}
		case <-time.After(time.Minute):
			t.Error("it serves a minute after its end")
		}
	}
	t.Cleanup(stop)
	return path, stop
}

// A flood of connections costs no connections to the agent, and the ones that ask are served once
// there is room; a bad one hurts no other.
func TestFloodOfConnections(t *testing.T) {
	a := &agent{binding: failure}
	path, _ := serving(t, a.dial)
	var idle []net.Conn
	for range 2 * MaxConnections {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	got := make(chan string, 1)
	go func() {
		c, err := net.Dial("unix", path)
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		io.WriteString(c, frame(11))
		b := make([]byte, len(frame(12, 11)))
		io.ReadFull(c, b)
		got <- string(b)
	}()
	for i, c := range idle {
		if i%2 == 0 {
			io.WriteString(c, "\x00\x00\x00\x00")
		}
		c.Close()
	}
	select {
	case answer := <-got:
		if answer != frame(12, 11) {
			t.Errorf("got %q, want an answer", answer)
		}
	case <-time.After(time.Minute):
		t.Error("got no answer after a minute")
	}
	if n := a.connections(); n != 1 {
		t.Errorf("got %d connections to the agent, want 1", n)
	}
}

// slow is a listener whose end takes a while.
type slow struct {
	net.Listener
	accepted atomic.Int32
	end      sync.Once
	closed   atomic.Bool
}

func (l *slow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.accepted.Add(1)
	return c, err
}

func (l *slow) Close() error {
	l.end.Do(func() {
		time.Sleep(50 * time.Millisecond)
		l.Listener.Close()
		l.closed.Store(true)
	})
	return nil
}

// The listener is closed when Serve returns, though further connections wait.
func TestEndWhileConnectionsWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := &slow{Listener: listener}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, (&agent{}).dial) }()
	for range MaxConnections + 1 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for end := time.Now().Add(time.Minute); l.accepted.Load() < MaxConnections; {
		if time.Now().After(end) {
			t.Fatalf("got %d connections, want %d", l.accepted.Load(), MaxConnections)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil || !l.closed.Load() {
			t.Errorf("got %v, closed: %v, want no error and the end", err, l.closed.Load())
		}
	case <-time.After(time.Minute):
		t.Error("it serves a minute after its end")
	}
}

// The end of ctx ends what waits for an agent that asks its user.
func TestEndWhileAgentWaits(t *testing.T) {
	asked := make(chan struct{})
	path, stop := serving(t, func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			io.CopyN(io.Discard, there, 4)
			close(asked)
		}()
		return here, nil
	})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, frame(11))
	<-asked
	stop()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes, want an end", n)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left")
	}
}

// ended is a context that has just ended: what is to be done then hasn't begun.
type ended struct{ context.Context }

func (ended) Err() error { return context.Canceled }

// Nothing is asked from the end of ctx on.
func TestEndCountsAtOnce(t *testing.T) {
	a := &agent{binding: failure}
	c := &duplex{Reader: strings.NewReader(frame(11))}
	err := Pass(ended{context.Background()}, c, a.dial)
	if !errors.Is(err, context.Canceled) || a.connections() > 0 || c.String() != "" {
		t.Errorf("got %v, %d connections, answer %q, want %v, none, and no answer", err,
			a.connections(), c.String(), context.Canceled)
	}
}

// Whatever a client sends, the agent is asked for lists and signatures only, and each request has
// one answer.
func FuzzPass(f *testing.F) {
	for _, seed := range []string{"", frame(11), frame(13, 1), frame(19) + frame(11),
		frame(27, 0, 0, 0, 24, 's'), "\x00\x00\x00\x00", "\x00\x04\x00\x01\x0d",
		"\x00\x00\x00\x02\x0b\x0b" + frame(11), frame(11)[:4]} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a := &agent{binding: failure}
		c := &duplex{Reader: bytes.NewReader(in)}
		Pass(t.Context(), c, a.dial)
		for _, request := range a.requests(t) {
			if request != "\v" && request[0] != signRequest {
				t.Errorf("the agent was asked %q", request)
			}
		}
		want := 0
		for rest := in; len(rest) >= 4; want++ {
			size := binary.BigEndian.Uint32(rest)
			if size == 0 || size > MaxFrame || uint64(len(rest)) < 4+uint64(size) {
				break
			}
			rest = rest[4+size:]
		}
		got := 0
		for rest := c.Bytes(); len(rest) > 0; got++ {
			rest = rest[4+binary.BigEndian.Uint32(rest):]
		}
		if got != want {
			t.Errorf("got %d answers, want %d", got, want)
		}
	})
}
