// Package goctx is the runtime of a context that is a Go program (docs/protocol/golang.md): what
// python/core is for a context that is an interpreter. Main takes over a process that was started
// as a context. It never returns: one goroutine reads the frames of the stream (package stream),
// each call has one, and each pipe that captures output has one.
//
//	stdin ─► read ─► deliver ─► Call (goroutine) ─► Handler
//	                    │                              │ Emit, result, error
//	fds 1, 2 ─► capture ┼──────────────────────────────┼─► stream ─► stdout
//	                    └──► session ─► program ───────┤ output, status
//	                         socket ◄─► peer ──────────┘
package goctx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// key names a call: its caller, and the handle there that the answer goes to.
type key struct {
	src   wire.ContextID
	reply wire.Handle
}

// served is the context that this process is.
type served struct {
	cfg     wire.GoHead // static, as all up to heard
	me      wire.ContextID
	files   *standard
	stream  *stream.Stream
	output  []*capture
	base    context.Context // ended by SHUTDOWN
	stop    context.CancelCauseFunc
	heard   atomic.Int64 // when the parent was last heard, in nanoseconds since began
	allowed atomic.Int64 // nanoseconds of silence that were allowed then; 0: any
	began   time.Time
	answers answers
	workers workers
	guard   guard
	groups  sync.Map // numbers of the process groups that sessions have

	mu       sync.Mutex // protects following
	calls    map[key]*Call
	sessions map[key]*session
	tunnels  map[key]tunnel
	silent   time.Duration // an engine behind an OPEN allows this much silence
	running  int           // calls that have not ended, those that want no answer included
	flows    map[key]*flow
	parts    map[partKey]*parts
	held     int // bytes of parts
	stopping bool
	left     bool          // idle is closed
	idle     chan struct{} // closed when stopping and nothing runs
}

// answers are frames that wait for the output before them.
type answers struct {
	sync.Mutex // protects following
	ready      []wire.Frame
	spare      []wire.Frame // memory for ready
	sending    bool         // sendAnswers runs
}

// unsent reports whether an answer waits.
func (a *answers) unsent() bool {
	a.Lock()
	defer a.Unlock()
	return a.sending
}

// ErrShutdown is the cause of the end of a call's context when its context is told to end.
var ErrShutdown = errors.New("the context ends")

// Main serves, and never returns, if this process was started as a context: its only argument is
// wire.GoWord. Otherwise it does nothing.
func Main() {
	started.Store(true)
	if len(os.Args) > 0 && os.Args[0] == guardWord {
		guardLife(os.Args[1:])
	}
	if len(os.Args) == 1 && os.Args[0] == copyWord {
		copyLife()
	}
	if len(os.Args) != 2 || os.Args[1] != wire.GoWord {
		return
	}
	os.Args = os.Args[:1]
	err := serve()
	fmt.Fprintln(os.Stderr, "mitogen:", err)
	os.Exit(1)
}

var started atomic.Bool

// Started reports whether Main has been called: so a copy of this program serves as a context.
func Started() bool { return started.Load() }

// serve takes the process over. It returns only if that fails.
func serve() error {
	files, err := takeOver()
	if err != nil {
		return fmt.Errorf("take over standard files: %w", err)
	}
	cfg, rest, err := files.head()
	if err != nil {
		return files.say(err)
	}
	s := newServed(cfg)
	s.files = files
	if err := files.tie(); err != nil {
		return files.say(err)
	}
	s.stream.Attach(files.out)
	s.stream.Release()
	if err := s.captureOutput(); err != nil {
		return files.say(err)
	}
	if startLog != nil {
		startLog(s)
	}
	s.listened()
	if err := s.hello(); err != nil {
		return files.say(err)
	}
	if cfg.Heartbeat > 0 {
		go s.watch()
	}
	err = s.stream.Read(listening{rest, s}, s.foreign, s.deliver)
	s.ended(err)
	select {}
}

// newServed returns a context that has no files yet.
func newServed(cfg wire.GoHead) *served {
	s := &served{cfg: cfg, me: wire.ContextID(cfg.ID), stream: stream.New(), began: time.Now(),
		calls: map[key]*Call{}, sessions: map[key]*session{}, tunnels: map[key]tunnel{},
		flows: map[key]*flow{}, parts: map[partKey]*parts{}, idle: make(chan struct{}),
		workers: workers{wake: make(chan struct{}, maxIdle)}}
	s.base, s.stop = context.WithCancelCause(context.Background())
	return s
}

// hello sends the first frame.
func (s *served) hello() error {
	host, _ := os.Hostname()
	exe, _ := os.Executable()
	b, err := pickle.Append(nil, map[string]any{
		"version": goVersion(), "implementation": "go", "platform": runtime.GOOS,
		"machine": runtime.GOARCH, "uid": os.Getuid(), "hostname": text(host, 255),
		"pid": os.Getpid(), "executable": text(exe, 4096), "pickle": 4, "functions": Digest(),
	}, pickle.Proto2Both)
	if err != nil {
		return fmt.Errorf("make HELLO: %w", err)
	}
	s.send(&wire.Frame{Handle: wire.Hello, Payload: b})
	return nil
}

// goVersion returns the version of Go that made this program in the form of sys.version_info.
func goVersion() pyvalue.Tuple {
	v := [3]int{}
	word, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	for i, n := range strings.SplitN(word, ".", 3) {
		digits := len(n) - len(strings.TrimLeft(n, "0123456789")) // "26rc1" is 26
		v[i], _ = strconv.Atoi(n[:digits])
	}
	return pyvalue.Tuple{v[0], v[1], v[2], "final", 0}
}

// send queues a frame to a context and writes what goes at once.
func (s *served) send(f *wire.Frame) {
	f.Src, f.Auth = s.me, s.me
	s.stream.Put(f)
	s.stream.Flush()
}

// soon sends a frame of at most one payload behind the output that was written before. Answers of
// calls that end at the same time go together.
func (s *served) soon(f wire.Frame) {
	f.Src, f.Auth = s.me, s.me
	s.answers.Lock()
	defer s.answers.Unlock()
	s.answers.ready = append(s.answers.ready, f)
	if !s.answers.sending {
		s.answers.sending = true
		go s.sendAnswers()
	}
}

// sendAnswers sends what is ready until nothing is.
func (s *served) sendAnswers() {
	for {
		runtime.Gosched() // behind the calls that are about to end
		s.answers.Lock()
		ready := s.answers.ready
		s.answers.ready = s.answers.spare[:0]
		if s.answers.spare = ready[:0]; len(ready) == 0 {
			s.answers.sending = false
			s.answers.Unlock()
			return
		}
		s.answers.Unlock()
		s.settle()
		for i := range ready {
			s.stream.Put(&ready[i])
		}
		s.stream.Flush()
		clear(ready)
	}
}

// urgent is send for what overtakes all else.
func (s *served) urgent(f *wire.Frame) {
	f.Src, f.Auth = s.me, s.me
	s.stream.PutUrgent(f)
	s.stream.Flush()
}

// dead refuses a request that wants an answer.
func (s *served) dead(dst wire.ContextID, reply wire.Handle, format string, args ...any) {
	if reply != 0 {
		s.send(&wire.Frame{Kind: wire.Dead, Dst: dst, Handle: reply,
			Payload: fmt.Appendf(nil, format, args...)})
	}
}

// room waits until the stream takes more, or ctx ends.
func (s *served) room(ctx context.Context) error {
	for full := s.stream.Full(); full != nil; full = s.stream.Full() {
		select {
		case <-full:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// An entry says who takes the frames of a handle.
type entry struct {
	take func(s *served, f *wire.Frame)
	size int  // of the payload, -1: any
	fed  bool // it takes ITEM and ERROR too
}

// handles are those that a Go context serves. Modules and bundles, which go to each context, are
// not answered; anything else is refused.
var handles map[wire.Handle]entry

func init() { // not a literal: handlers look at the table
	handles = map[wire.Handle]entry{
		wire.Call:     {take: (*served).onCall, size: -1},
		wire.Cancel:   {take: (*served).onCancel, size: 4},
		wire.Credit:   {take: (*served).onCredit, size: 8},
		wire.Open:     {take: (*served).onOpen, size: -1, fed: true},
		wire.Session:  {take: (*served).onSession, size: -1, fed: true},
		wire.Shutdown: {take: (*served).onShutdown, size: -1},
		wire.Ping:     {take: (*served).onPing, size: -1},
	}
}

// deliver takes a frame from the parent. Its payload is valid until deliver returns.
func (s *served) deliver(f *wire.Frame) {
	if f.Dst != s.me {
		s.dead(f.Src, f.Reply, "no route to context %d", f.Dst)
		return
	}
	h, known := handles[f.Handle]
	credit := f.Handle == wire.Credit // which comes from receivers
	if !known || !credit && !s.obeys(f.Auth) || credit && f.Kind != wire.Data {
		s.refuse(f)
		return
	}
	whole, done := s.assemble(f)
	if !done {
		return
	}
	if !h.takes(whole.Kind) || h.size >= 0 && len(whole.Payload) != h.size {
		s.refuse(f)
		return
	}
	h.take(s, &whole)
}

// takes reports whether frames of a kind are for the handle.
func (h entry) takes(k wire.Kind) bool {
	return k == wire.Data || h.fed && (k == wire.Item || k == wire.Error)
}

// obeys reports whether auth is an ancestor.
func (s *served) obeys(auth wire.ContextID) bool {
	for _, p := range s.cfg.Parents {
		if wire.ContextID(p) == auth {
			return true
		}
	}
	return false
}

func (s *served) refuse(f *wire.Frame) {
	s.dead(f.Src, f.Reply, "context %d, a Go context, refuses handle %v", s.me, f.Handle)
}

func (s *served) onPing(f *wire.Frame) {
	if f.Reply != 0 && len(f.Payload) <= maxPing {
		s.urgent(&wire.Frame{Dst: f.Src, Handle: f.Reply, Payload: f.Payload})
	}
}

// maxPing bounds the payload of a PING, in bytes.
const maxPing = 64

func (s *served) onShutdown(*wire.Frame) {
	s.mu.Lock()
	first := !s.stopping
	s.stopping = true
	s.leftLocked()
	s.mu.Unlock()
	if first {
		s.stop(ErrShutdown)
		s.leaveSessions()
		s.leaveTunnels()
		go s.leave()
	}
}

// leftLocked notes that the context may end, once it was told to and nothing runs.
func (s *served) leftLocked() {
	if s.stopping && !s.left && s.running+len(s.sessions)+len(s.tunnels) == 0 {
		s.left = true
		close(s.idle)
	}
}

// foreign takes bytes between frames. Nothing but frames comes from a parent.
func (s *served) foreign(b []byte) { s.ended(fmt.Errorf("foreign bytes: %.40q", b)) }
