package runtimetest

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// first is the id of the context that start makes.
const first wire.ContextID = 5

//go:embed testdata/rt.py
var helperModule string

// link is a context with the test as its engine. Credit is given back at once, except for flows
// that are held.
type link struct {
	t *testing.T
	*conn
}

// conn is the part of a link that the links of several tests share.
type conn struct {
	py   testpython.Interp
	tag  string // of the marker
	beat int    // seconds of the heartbeat
	busy int    // the same while something runs
	isGo bool   // the context is a Go program
	cmd  *exec.Cmd
	up   *os.File      // ours of the context's stdin
	down *os.File      // of its stdout
	err  *os.File      // ours of its stderr, a socket
	gone chan struct{} // closed when the process has been reaped

	mu      sync.Mutex // protects what follows
	changed sync.Cond
	queue   []byte // to be written
	closed  bool
	state
}

// state holds the data that has come from the context. conn.mu guards it.
type state struct {
	ended    error // why reading ended
	parts    wire.Assembler
	handle   wire.Handle    // last given out
	id       wire.ContextID // last given out
	parents  map[wire.ContextID][]uint32
	order    int // of the last answer
	hellos   map[wire.ContextID]*pyvalue.Dict
	output   map[flow]*bytes.Buffer
	held     map[flow]bool
	owed     map[flow]int // bytes not given back
	granted  map[flow]int // bytes that a context has given back
	answers  map[wire.Handle]*answer
	others   []wire.Frame // what no case knows
	logs     []record
	lost     []lost
	asked    []ask
	modules  map[string]wire.Module
	withheld map[string]bool            // modules that are not sent when asked for
	allowed  map[[2]wire.ContextID]bool // pairs that frames are relayed between
	relayed  map[flow]int               // bytes of items that were relayed, by source
	noise    []byte
}

type flow struct {
	src    wire.ContextID
	handle wire.Handle
}

type lost struct {
	id  wire.ContextID
	why string
}

type ask struct {
	src  wire.ContextID
	name string
}

// answer holds the data that has come to one reply handle or receiver.
type answer struct {
	src     wire.ContextID
	done    bool
	times   int // that it was answered
	kind    wire.Kind
	payload []byte
	items   [][]byte
	parts   int          // bytes in PART frames
	printed map[flow]int // lengths of the output when it came
	order   int          // of all answers
}

// start makes a context on py that ends with the test.
func start(t *testing.T, py testpython.Interp, change ...func(*boot.Config)) *link {
	t.Helper()
	return startWith(t, py, boot.Pipe, nil, change...)
}

// startWith has head, image and frames go by the environment, or with frames nil by stdin.
func startWith(t *testing.T, py testpython.Interp, way boot.Way, frames []byte,
	change ...func(*boot.Config)) *link {
	t.Helper()
	l, cfg := newLink(t, py, change)
	image := boot.Image()
	opening := append(boot.Head(cfg, len(image)), image...)
	l.spawn(boot.Command([]string{py.Path}, way), cfg, frames, opening)
	t.Cleanup(func() { l.finish(t) })
	return l
}

// newLink returns a link without a context, and the configuration of one.
func newLink(t *testing.T, py testpython.Interp, change []func(*boot.Config)) (*link, boot.Config) {
	cfg := boot.Config{ID: uint32(first), Parents: []uint32{0}, Name: "web1",
		MaxMessage: wire.MaxMessage, LogLevel: 20}
	for _, f := range change {
		f(&cfg)
	}
	l := &link{t, &conn{py: py, tag: fmt.Sprintf("%s-%d.", nonce, links.Add(1)),
		gone: make(chan struct{})}}
	l.beat, l.busy = cfg.Heartbeat, cfg.BusyTimeout
	l.changed.L = &l.mu
	l.state = state{
		handle: 1000, id: first, parents: map[wire.ContextID][]uint32{first: {0}},
		hellos: map[wire.ContextID]*pyvalue.Dict{}, output: map[flow]*bytes.Buffer{},
		held: map[flow]bool{},
		owed: map[flow]int{}, granted: map[flow]int{}, answers: map[wire.Handle]*answer{},
		modules:  map[string]wire.Module{},
		withheld: map[string]bool{},
		allowed:  map[[2]wire.ContextID]bool{}, relayed: map[flow]int{},
	}
	l.serve("rt", helperModule)
	return l, cfg
}

// in is l for another test.
func (l *link) in(t *testing.T) *link { return &link{t, l.conn} }

// spawn starts argv. Its stdin begins with opening, unless frames go ahead.
func (l *link) spawn(argv []string, cfg boot.Config, frames, opening []byte) {
	l.t.Helper()
	l.cmd = exec.Command(argv[0], argv[1:]...)
	l.cmd.Env = append(os.Environ(), marker+"="+l.tag)
	if frames != nil {
		env, err := boot.AheadEnv(cfg, frames)
		if err != nil {
			l.t.Fatal(err)
		}
		l.cmd.Env = append(l.cmd.Env, env...)
	}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	inR, inW, err1 := os.Pipe()
	outR, outW, err2 := os.Pipe()
	pair, err3 := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err1 != nil || err2 != nil || err3 != nil {
		l.t.Fatal(err1, err2, err3)
	}
	theirs := os.NewFile(uintptr(pair[1]), "stderr")
	syscall.SetNonblock(pair[0], true)
	l.up, l.down, l.err = inW, outR, os.NewFile(uintptr(pair[0]), "stderr")
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = inR, outW, theirs
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	for _, f := range []*os.File{inR, outW, theirs} {
		f.Close()
	}
	if frames == nil {
		l.write(opening)
	}
	go l.writeLoop()
	go l.readLoop()
	go func() {
		l.cmd.Wait()
		close(l.gone)
	}()
}

// finish closes the stream and demands that nothing stays.
func (l *link) finish(t *testing.T) {
	l.close()
	limit := time.Now().Add(3 * time.Second)
	select {
	case <-l.gone:
	case <-time.After(time.Until(limit)):
	}
	l.leavesNone(t, time.Until(limit))
	select {
	case <-l.gone:
	case <-time.After(patience):
		t.Error("the context's process can't be reaped")
	}
}

// leavesNone demands that all of the link's processes end within a time, and ends those that don't.
func (l *link) leavesNone(t *testing.T, limit time.Duration) {
	t.Helper()
	left := awaitNone(l.tag, limit)
	if len(left) > 0 {
		t.Errorf("%s: processes left behind: %v", l.py.Name(), left)
	}
	for _, p := range left {
		syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// close ends the stream from our side.
func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.up.Close()
	c.down.Close()
	c.err.Close()
}

// write queues bytes for the context.
func (c *conn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, b...)
	c.changed.Broadcast()
}

func (c *conn) writeLoop() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closed {
			c.changed.Wait()
		}
		b := c.queue
		c.queue = nil
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return
		}
		if _, err := c.up.Write(b); err != nil {
			return
		}
	}
}

// await blocks until done, called with mu held, is true.
func (l *link) await(what string, done func() bool) {
	l.t.Helper()
	timer := time.AfterFunc(patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer timer.Stop()
	end := time.Now().Add(patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	for !done() {
		if l.ended != nil || !time.Now().Before(end) {
			l.t.Fatalf("no %s (stream: %v)\n%s", what, l.ended, l.reportLocked())
		}
		l.changed.Wait()
	}
}

// reportLocked shows what has come, for failed tests.
func (l *link) reportLocked() string {
	words := make([]byte, 4096)
	l.err.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _ := l.err.Read(words)
	s := fmt.Sprintf("%s\nold stderr: %s\nnoise: %q\nlogs: %v\nlost: %v\nasked: %v\n", l.py.Name(),
		words[:max(n, 0)], l.noise, l.logs, l.lost, l.asked)
	for f, b := range l.output {
		s += fmt.Sprintf("%v of %d: %q\n", f.handle, f.src, tail(b.Bytes(), 1000))
	}
	for _, f := range l.others {
		s += fmt.Sprintf("%v %q\n", f, tail(f.Payload, 200))
	}
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// limit sets a context's message limit.
func limit(n int) func(*boot.Config) { return func(c *boot.Config) { c.MaxMessage = n } }

// heartbeat sets a context's timeouts for silence in seconds, whether something runs or not.
func heartbeat(s int) func(*boot.Config) { return timeouts(s, s) }

// timeouts sets a context's timeouts for silence in seconds: while nothing runs, and while
// something does.
func timeouts(idle, busy int) func(*boot.Config) {
	return func(c *boot.Config) { c.Heartbeat, c.BusyTimeout = idle, busy }
}
