package serial

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/seriallink"
	"github.com/mitogen-go/mitogen/secret"
)

// Idle is the timeout after which an end of a link that hears nothing ends.
const Idle = 30 * time.Second

// Options say what to start.
type Options struct {
	Line     *methods.Line
	Argv     []string // the context's command
	Python   []string // interpreters, as in connect.Options
	Password func(ctx context.Context) (secret.Secret, error)
	Hidden   *methods.Mask                          // of secrets, which texts are shown without
	Phase    func(phase string, took time.Duration) // is told what has been reached
	Log      func(line string)                      // is given lines of stderr after Connected

	wait time.Duration // for a sign of life on the console; 0: 3 s
}

// Phases of a start, in their order.
const (
	PhaseOpen  = "opened"
	PhaseLogin = "logged in"
	PhaseShell = "shell"
	PhaseStage = "first code"
	PhaseLink  = "link"
)

// An Error is a start that failed.
type Error struct {
	Phase string // the phase that wasn't reached
	Text  string // the end of what the console has shown
	Given bool   // the password was typed
	Err   error
}

// Error says what failed when.
func (e *Error) Error() string {
	if e.Phase == PhaseOpen {
		return e.Err.Error()
	}
	return "console, before " + e.Phase + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Kind returns the reason as one of connect's kinds.
func (e *Error) Kind() error {
	text := strings.ToLower(e.Text)
	if errors.Is(e.Err, io.EOF) && (strings.Contains(text, "already active") ||
		strings.Contains(text, "already in use")) {
		return connect.ErrBusy
	}
	for _, k := range []struct{ err, kind error }{
		{ErrBusy, connect.ErrBusy}, {os.ErrNotExist, connect.ErrNotFound}, {errNoPassword,
			connect.ErrPasswordRequired},
		{errWrong, connect.ErrAuth}, {errAgain, connect.ErrAuth}, {errEchoes, connect.ErrAuth},
		{errBootLoader, connect.ErrNoLogin}, {errNoShell, connect.ErrNoLogin}, {errSilent,
			connect.ErrTimeout},
		{errNoPython, connect.ErrNoPython}, {errNoStart, connect.ErrDied}, {errLine,
			connect.ErrForeign},
		{context.DeadlineExceeded, connect.ErrTimeout}, {context.Canceled, connect.ErrCancelled},
		{io.EOF, connect.ErrDisconnected},
	} {
		if errors.Is(e.Err, k.err) {
			return k.kind
		}
	}
	switch {
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return connect.ErrRefused
	case e.Phase == PhaseOpen:
		return connect.ErrStart
	}
	return connect.ErrDisconnected
}

// Process is a context on a console.
type Process struct {
	w    wire
	log  func(string)
	mask *methods.Mask
	in   *pipe // what the context has written
	done chan struct{}
	wake chan struct{} // holds one; there is something to write

	mu        sync.Mutex // protects following
	room      *sync.Cond // there is room in link, or it has ended
	link      *seriallink.Link
	tail      []byte // of stderr and of what came before
	line      []byte // of stderr, begun
	connected bool
	ended     bool
	status    int
	told      bool // status is the command's
	failure   *methods.Failure
	limit     *time.Timer
}

// Start opens the console, logs in and starts the command. ctx bounds that. The error is an *Error.
func Start(ctx context.Context, o Options) (*Process, error) {
	s := &starter{o: o, began: time.Now()}
	p, err := s.start(ctx)
	if err == nil {
		return p, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	e := &Error{Phase: s.next, Given: s.session.given, Err: err}
	if s.t != nil {
		e.Text = printable.Text(o.Hidden.Hide(said(s.t.all)))
		s.abandon()
	}
	return nil, e
}

// said is the end of what a console has shown, without our farewell and how it was taken back.
func said(all []byte) string {
	text := string(lastOf(clean(all), methods.TextLimit))
	return strings.TrimSpace(strings.NewReplacer(seriallink.Farewell, "", "\b \b",
		"").Replace(text))
}

// starter is a start under way.
type starter struct {
	o       Options
	began   time.Time
	next    string // the phase that is not reached yet
	w       wire
	t       *talk
	session session
}

func (s *starter) reached(phase, next string) {
	if s.o.Phase != nil {
		s.o.Phase(phase, time.Since(s.began))
	}
	s.next = next
}

func (s *starter) start(ctx context.Context) (*Process, error) {
	s.next = PhaseOpen
	w, err := open(ctx, s.o.Line)
	if err != nil {
		return nil, err
	}
	s.w, s.t = w, &talk{ctx: ctx, w: w, rate: s.o.Line.Baud / 10, mute: true, wait: cmp.Or(s.o.wait,
		3*time.Second)}
	s.reached(PhaseOpen, PhaseLogin)
	stop := context.AfterFunc(ctx, func() { w.SetReadDeadline(time.Now()) })
	defer stop()
	if err := s.shell(); err != nil {
		return nil, err
	}
	s.reached(PhaseShell, PhaseStage)
	return s.load()
}

// shell comes to a shell of ours: anew where a client that was killed had left one, unless the
// password was given for that.
func (s *starter) shell() (err error) {
	for range 3 {
		if s.session, err = s.t.login(account{s.o.Line.User, s.password}); err != nil {
			return err
		}
		s.reached(PhaseLogin, PhaseShell)
		if err = s.t.shell(s.session); err != errLeft {
			return err
		}
		if s.session.given {
			break
		}
	}
	return errNoShell
}

// password returns the password, which is hidden in texts from then on: a console may show it.
func (s *starter) password(ctx context.Context) (secret.Secret, error) {
	p, err := s.o.Password(ctx)
	s.o.Hidden.Add(string(p))
	return p, err
}

// load starts the far end.
func (s *starter) load() (*Process, error) {
	var random [4]byte
	rand.Read(random[:])
	o := seriallink.Options{Key: binary.BigEndian.Uint32(random[:]), Rate: s.t.rate,
		Trip: max(s.t.trip, minTrip), Idle: Idle}
	lines := blocks(farEnd(o.Key, o, s.o.Argv))
	if err := s.t.first(s.o.Python, len(lines)); err != nil {
		return nil, err
	}
	s.reached(PhaseStage, PhaseLink)
	link := seriallink.New(o, time.Now())
	early, err := s.t.upload(lines, link)
	if err != nil {
		return nil, err
	}
	s.reached(PhaseLink, "")
	p := &Process{
		w: s.w, log: s.o.Log, mask: s.o.Hidden, link: link, in: newPipe(),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	p.room = sync.NewCond(&p.mu)
	p.mu.Lock()
	p.takeLocked(early)
	p.mu.Unlock()
	s.w.SetReadDeadline(time.Time{})
	s.w.SetWriteDeadline(time.Time{})
	go p.read()
	go p.write()
	return p, nil
}

// abandon leaves the console as well as can be: what was begun is given up, a session of ours ends.
func (s *starter) abandon() {
	s.w.SetWriteDeadline(time.Now().Add(time.Second))
	leave := seriallink.Farewell + "\n" + restart
	switch {
	case s.next == PhaseLogin:
	case s.session.ours:
		leave += "exit\r"
	default:
		leave += leaveOurs
	}
	io.WriteString(s.w, leave)
	s.w.Close()
}

// Stdin returns what the context reads. Write blocks while the line has enough to do.
func (p *Process) Stdin() io.WriteCloser { return stdin{p} }

// Stdout returns what the context writes.
func (p *Process) Stdout() io.ReadCloser { return p.in }

type stdin struct{ p *Process }

func (s stdin) Write(b []byte) (n int, err error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		for !p.link.Room() && !p.ended {
			p.room.Wait()
		}
		if p.ended {
			return n, io.ErrClosedPipe
		}
		part := min(len(b)-n, seriallink.MaxPayload)
		p.link.Put(seriallink.Data, b[n:n+part])
		n += part
		p.wakeWriter()
	}
	return n, nil
}

func (s stdin) Close() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if !s.p.ended {
		s.p.link.Put(seriallink.End, nil)
		s.p.wakeWriter()
	}
	return nil
}

func (p *Process) wakeWriter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// read takes what comes until the line or the link ends.
func (p *Process) read() {
	b := make([]byte, 4096)
	for {
		n, err := p.w.Read(b)
		if p.take(b[:n]) || err != nil && n == 0 {
			break
		}
	}
	p.end()
}

// take returns whether the link has ended.
func (p *Process) take(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link.Hold(p.in.full())
	p.takeLocked(p.link.Feed(b, time.Now()))
	if p.link.Room() {
		p.room.Broadcast()
	}
	p.wakeWriter()
	return p.link.Left()
}

// takeLocked gives what the link has brought to whom it is for.
func (p *Process) takeLocked(records []seriallink.Record) {
	for _, r := range records {
		switch r.Kind {
		case seriallink.Data:
			p.in.put(r.Data)
		case seriallink.Error:
			p.sayLocked(r.Data)
		case seriallink.End:
			p.in.end()
			if n, err := strconv.Atoi(string(r.Data)); err == nil {
				p.status, p.told = n, true
				time.AfterFunc(farewellGrace, p.end) // the far end's goodbye may be lost
			}
		}
	}
}

func (p *Process) sayLocked(b []byte) {
	p.tail = lastOf(append(p.tail, b...), methods.TextLimit)
	if !p.connected || p.log == nil {
		return
	}
	p.line = append(p.line, b...)
	for {
		line, rest, whole := bytes.Cut(p.line, []byte{'\n'})
		if !whole && len(line) < methods.TextLimit {
			p.line = line
			return
		}
		p.log(printable.Line(p.mask.Hide(string(line))))
		p.line = bytes.Clone(rest)
	}
}

// write writes what the link has, when it has it.
func (p *Process) write() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		line, wait, ok := p.next()
		if !ok {
			p.end()
			return
		}
		if line != nil {
			if _, err := p.w.Write(line); err != nil {
				p.end()
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.done:
			return
		}
	}
}

// next returns a line, or how long there is none. It returns false when the link is over.
func (p *Process) next() ([]byte, time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.ended || p.link.Silent(now) {
		return nil, 0, false
	}
	line := p.link.Take(now)
	if line != nil { // under the lock, so that end shortens it
		p.w.SetWriteDeadline(now.Add(Idle))
	}
	if p.link.Room() {
		p.room.Broadcast()
	}
	return line, max(p.link.Next(now).Sub(now), time.Millisecond), true
}

// farewellGrace bounds the wait for the far end's goodbye.
const farewellGrace = time.Second

// leaveGrace bounds the wait for the far end's shell, which puts the console back.
const leaveGrace = 2 * time.Second

// end ends all, once.
func (p *Process) end() {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	left, goodbye := p.link.Left(), p.link.Goodbye()
	if !p.told {
		p.tail = lastOf(append(p.tail, p.link.Noise()...), methods.TextLimit)
		if p.status = 255; !left {
			p.tail = append(p.tail, "\nthe console is silent"...)
		}
	}
	if p.limit != nil {
		p.limit.Stop()
	}
	p.room.Broadcast()
	p.mu.Unlock()
	p.w.SetWriteDeadline(time.Now().Add(time.Second))
	if !left {
		p.w.Write(goodbye)
	}
	p.w.SetReadDeadline(time.Now()) // the reader ends
	p.settle()
	p.w.Close()
	p.in.end()
	close(p.done)
}

// settle waits until the console has been put back: the far end's shell says so by what it prints.
func (p *Process) settle() {
	b := make([]byte, 4096)
	var seen []byte
	for deadline := time.Now().Add(leaveGrace); time.Now().Before(deadline); {
		p.w.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := p.w.Read(b)
		seen = lastOf(append(seen, b[:n]...), maxSeen)
		if s := stateOf(clean(seen)); s == asksLogin || s == atShell || s == atRamdisk {
			return
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// Limit ends the process as having timed out, unless Connected is called in time. It is to be
// called
// once at most.
func (p *Process) Limit(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = time.AfterFunc(d, func() { p.Fail(methods.WhatTimeout) })
}

// Connected says that the context has answered.
func (p *Process) Connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = true
	if p.limit != nil {
		p.limit.Stop()
	}
}

// Note adds to what is told of a failure.
func (p *Process) Note(noise []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = lastOf(append(p.tail, noise...), methods.TextLimit)
}

// Text is the end of what was written to stderr.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mask.Hide(string(p.tail))
}

// LoggedIn is true: there is a Process once its command has been started.
func (p *Process) LoggedIn() bool { return true }

// Fail ends the process because of what, unless it is connected.
func (p *Process) Fail(what string) {
	p.mu.Lock()
	if p.connected && what == methods.WhatTimeout {
		p.mu.Unlock()
		return
	}
	if p.failure == nil {
		p.failure = &methods.Failure{What: what}
	}
	p.mu.Unlock()
	p.Kill()
}

// Done is closed when the console has been let go of.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failure says, after Done, why there is no process any more.
func (p *Process) Failure() methods.Failure {
	text := p.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := methods.Failure{What: methods.WhatExit, Status: p.status}
	if p.failure != nil {
		f = *p.failure
	}
	f.Text, f.LoggedIn = text, true
	return f
}

// Stopped is not to be told from here.
func (p *Process) Stopped() bool { return false }

// Kill ends the process, and doesn't wait for it.
func (p *Process) Kill() { go p.end() }

// Close ends the process and returns when the console has been let go of.
func (p *Process) Close() error {
	p.end()
	<-p.done
	return nil
}

// pipe holds what has come until it is read.
type pipe struct {
	mu    sync.Mutex // protects following
	some  *sync.Cond
	data  []byte
	ended bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.some = sync.NewCond(&p.mu)
	return p
}

// pipeRoom bounds the bytes that wait in a pipe.
const pipeRoom = 256 << 10

func (p *pipe) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.data) > pipeRoom
}

func (p *pipe) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = append(p.data, b...)
	p.some.Broadcast()
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.some.Broadcast()
}

// Read returns what has come, and io.EOF behind the last of it.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.data) == 0 && !p.ended {
		p.some.Wait()
	}
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// Close ends the pipe.
func (p *pipe) Close() error {
	p.end()
	return nil
}
