package engine

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/report"
)

// sink is a Writer of the caller's for one stream of a context or program. After its first error
// nothing is written.
type sink struct {
	name, op string
	w        io.Writer
	writers  *writers
	failed   func(error) // takes the first error; may be nil

	logged bool // the error was, where no call could have it; protected by Engine.mu

	mu  sync.Mutex // protects following
	err error      // a *report.StreamError
}

// sink returns a Writer for what a context or target writes, never nil. A nil w takes everything.
func (e *Engine) sink(name, op string, w io.Writer, failed func(error)) io.Writer {
	if w == nil {
		return io.Discard
	}
	return &sink{name: name, op: op, w: w, writers: &e.writers, failed: failed}
}

// Write returns a *report.StreamError, the same for ever.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := s.writers.write(s.w, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil && n > len(b) {
		err = fmt.Errorf("invalid count of %d bytes for %d", n, len(b))
	}
	if err == nil {
		return n, nil
	}
	if _, ok := err.(*report.StreamError); !ok { // of the context's own sink
		err = &report.StreamError{Context: s.name, Op: s.op, Err: err}
	}
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	if s.failed != nil {
		s.failed(err)
	}
	return 0, err
}

// gateWriter throws away what comes up to EC0. One goroutine uses it.
type gateWriter struct {
	w    io.Writer
	gate boot.Gate
	held []byte // may be what ssh prints last
}

func (g *gateWriter) Write(b []byte) (int, error) {
	n := len(b)
	if _, b = g.gate.Feed(b); len(b) == 0 {
		return n, nil
	}
	b = append(g.held, b...)
	end := methods.BeforeFarewell(b)
	g.held = bytes.Clone(b[end:])
	if end > 0 {
		g.w.Write(b[:end])
	}
	return n, nil
}

// end is called when all has been written: what is held is ssh's if it is whole.
func (g *gateWriter) end() {
	if len(g.held) > 0 && !methods.IsFarewell(g.held) {
		g.w.Write(g.held)
	}
	g.held = nil
}

// writers has the Writers that are being written to. Each is called by one goroutine at a time,
// also if it was given to several contexts, as long as it can be compared.
type writers struct {
	mu   sync.Mutex // protects following
	busy map[io.Writer]*writing
}

// writing is held by the goroutine that calls a Writer.
type writing struct {
	sync.Mutex
	users int // that hold it or wait for it; protected by writers.mu
}

func (ws *writers) write(w io.Writer, b []byte) (int, error) {
	if !reflect.ValueOf(w).Comparable() {
		return w.Write(b)
	}
	t := ws.enter(w)
	defer ws.leave(w, t)
	t.Lock()
	defer t.Unlock()
	return w.Write(b)
}

func (ws *writers) enter(w io.Writer) *writing {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	t := ws.busy[w]
	if t == nil {
		t = &writing{}
		if ws.busy == nil {
			ws.busy = map[io.Writer]*writing{}
		}
		ws.busy[w] = t
	}
	t.users++
	return t
}

func (ws *writers) leave(w io.Writer, t *writing) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(ws.busy, w)
	}
}
