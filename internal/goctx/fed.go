package goctx

import (
	"fmt"
	"io"
	"sync"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// maxFed bounds the bytes that wait to be written to one file: the largest window that an engine
// takes, and one frame beyond it.
const maxFed = 8<<20 + wire.MaxPayload

// fed is a file that is written what the frames of one request bring. Methods but run may be
// called from any goroutine, and do not block.
type fed struct {
	credit func(n int) // gives back what was taken. Static, as end from run on
	end    func()      // called when the input is whole, and written; it may be nil

	mu     sync.Mutex // protects following
	more   *sync.Cond // queue or a flag has changed
	queue  [][]byte
	held   int // bytes that are not written yet
	eof    bool
	broken error // nothing reads it any more: what comes is given back at once
	closed bool
	owed   int // bytes that were written and not given back
}

func newFed(credit func(n int), end func()) *fed {
	f := &fed{credit: credit, end: end}
	f.more = sync.NewCond(&f.mu)
	return f
}

// put takes a copy of b. It is an error if more waits than a window.
func (f *fed) put(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(b) == 0 || f.eof || f.closed || f.broken != nil {
		f.credit(len(b))
		return nil
	}
	if f.held+len(b) > maxFed {
		return fmt.Errorf("more than %d bytes wait to be written", maxFed)
	}
	f.held += len(b)
	f.queue = append(f.queue, append([]byte(nil), b...))
	f.more.Signal()
	return nil
}

// finish says that nothing more comes.
func (f *fed) finish() {
	f.mu.Lock()
	f.eof = true
	f.more.Signal()
	f.mu.Unlock()
}

// close has run return. What waits is dropped.
func (f *fed) close() {
	f.mu.Lock()
	f.closed = true
	f.more.Signal()
	f.mu.Unlock()
}

// finished reports whether the end of the input has come, or its reader is gone.
func (f *fed) finished() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.eof || f.broken != nil
}

// whole reports whether the end of the input has come.
func (f *fed) whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.eof
}

// waits reports whether the end of the input has come, and something before it waits.
func (f *fed) waits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.eof && f.held > 0
}

// run writes to w until the end of the input, or close. It returns why nothing can be written any
// more; what comes after that is given back.
func (f *fed) run(w io.Writer) error {
	for {
		b, done := f.next()
		if done {
			return nil
		}
		if len(b) == 0 {
			if f.end != nil {
				f.end()
			}
			return nil
		}
		if _, err := w.Write(b); err != nil {
			return f.fail(err)
		}
		f.written(len(b))
	}
}

// next waits for the next piece. Without one, the input has ended; done: it is closed.
func (f *fed) next() (b []byte, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.eof && !f.closed {
		f.more.Wait()
	}
	if f.closed || len(f.queue) == 0 {
		return nil, f.closed
	}
	b = f.queue[0]
	f.queue[0] = nil
	f.queue = f.queue[1:]
	return b, false
}

// written gives bytes back in bulk: a pipe that is nearly full takes few at a time.
func (f *fed) written(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held -= n
	if f.owed += n; f.owed >= wire.Window/4 || f.eof {
		f.credit(f.owed)
		f.owed = 0
	}
}

// fail drops what waits.
func (f *fed) fail(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
	if !f.closed {
		f.credit(f.held + f.owed)
	}
	f.queue, f.held, f.owed = nil, 0, 0
	return err
}
