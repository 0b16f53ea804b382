package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// spool gives the same input to several readers, each at its own pace, while it comes. What was
// read is kept in a file without a name. Nothing is read before a reader wants it. If the file
// can't take it, that is the error of all readers that have come there.
type spool struct {
	source io.Reader
	file   *os.File

	mu      sync.Mutex // protects following
	more    *sync.Cond
	size    int64
	reading bool
	err     error // why there won't be more
}

func newSpool(source io.Reader) (*spool, error) {
	f, err := os.CreateTemp("", "mitogen-stdin-")
	if err != nil {
		return nil, fmt.Errorf("keep standard input for several targets: %w (TMPDIR says where)", err)
	}
	os.Remove(f.Name())
	s := &spool{source: source, file: f}
	s.more = sync.NewCond(&s.mu)
	return s, nil
}

// reader returns a Reader of all of it.
func (s *spool) reader() io.Reader { return &spoolReader{s: s} }

func (s *spool) fill() {
	buf := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := s.source.Read(buf)
		if _, werr := s.file.WriteAt(buf[:n], at); werr != nil {
			n, err = 0, fmt.Errorf("keep it for several targets: %w (TMPDIR says where)", werr)
		}
		at += int64(n)
		s.mu.Lock()
		if s.err == nil {
			s.size, s.err = at, err
		}
		s.more.Broadcast()
		end := s.err != nil
		s.mu.Unlock()
		if end {
			return
		}
	}
}

var errSpoolClosed = errors.New("standard input is closed")

// close makes all readers return. A reader that reads the source goes on until the source returns.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = errSpoolClosed
	}
	s.size = 0
	s.more.Broadcast()
	s.file.Close()
}

type spoolReader struct {
	s       *spool
	at      int64
	stopped bool // protected by s.mu
}

// SetReadDeadline ends a Read if t is past. The zero time allows further ones.
func (r *spoolReader) SetReadDeadline(t time.Time) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.stopped = !t.IsZero()
	r.s.more.Broadcast()
	return nil
}

func (r *spoolReader) Read(b []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	if !s.reading && s.err == nil {
		s.reading = true
		go s.fill()
	}
	for r.at >= s.size && s.err == nil && !r.stopped {
		s.more.Wait()
	}
	size, err, stopped := s.size, s.err, r.stopped
	s.mu.Unlock()
	if stopped {
		return 0, os.ErrDeadlineExceeded
	}
	if r.at >= size {
		return 0, err
	}
	n, err := s.file.ReadAt(b[:min(int64(len(b)), size-r.at)], r.at)
	r.at += int64(n)
	if errors.Is(err, io.EOF) { // there was more
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = fmt.Errorf("read what was kept: %w", err)
	}
	return n, err
}
