// Package stdio passes standard streams on between a caller's Readers and Writers and programs
// elsewhere: Writers that several contexts have, and Reads that can be given up.
package stdio

import (
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/mitogen-go/mitogen/report"
)

// Sink is a Writer of the caller's for one stream of a context or program. After its first error
// nothing is written.
type Sink struct {
	name, op string
	w        io.Writer
	writers  *Writers
	failed   func(error)

	// Logged is its owner's: whether the error was logged, where no call could have it.
	Logged bool

	mu  sync.Mutex // protects following
	err error      // a *report.StreamError
}

// Sink returns a Writer for what a context or target writes, never nil. A nil w takes everything.
// failed takes the first error; it may be nil.
func (ws *Writers) Sink(name, op string, w io.Writer, failed func(error)) io.Writer {
	if w == nil {
		return io.Discard
	}
	return &Sink{name: name, op: op, w: w, writers: ws, failed: failed}
}

// Tells reports whether an error is told to a function.
func (s *Sink) Tells() bool { return s.failed != nil }

// Write returns a *report.StreamError, the same for ever.
func (s *Sink) Write(b []byte) (int, error) {
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

// Writers has the Writers that are being written to. Each is called by one goroutine at a time,
// also if it was given to several contexts, as long as it can be compared.
type Writers struct {
	mu   sync.Mutex // protects following
	busy map[io.Writer]*writing
}

// writing is held by the goroutine that calls a Writer.
type writing struct {
	sync.Mutex
	users int // that hold it or wait for it; protected by Writers.mu
}

func (ws *Writers) write(w io.Writer, b []byte) (int, error) {
	if !reflect.ValueOf(w).Comparable() {
		return w.Write(b)
	}
	t := ws.enter(w)
	defer ws.leave(w, t)
	t.Lock()
	defer t.Unlock()
	return w.Write(b)
}

func (ws *Writers) enter(w io.Writer) *writing {
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

func (ws *Writers) leave(w io.Writer, t *writing) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(ws.busy, w)
	}
}
