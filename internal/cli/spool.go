package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// spool gives the same input to several readers, each at its own pace, while it comes. What was read is kept in a file
// without a name. Nothing is read before a reader wants it.
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
		return nil, fmt.Errorf("keep standard input: %w", err)
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
			n, err = 0, fmt.Errorf("keep standard input: %w", werr)
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

// close makes all readers return. One that reads the source goes on until that returns.
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
	s  *spool
	at int64
}

func (r *spoolReader) Read(b []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	if !s.reading && s.err == nil {
		s.reading = true
		go s.fill()
	}
	for r.at >= s.size && s.err == nil {
		s.more.Wait()
	}
	size, err := s.size, s.err
	s.mu.Unlock()
	if r.at >= size {
		return 0, err
	}
	n, err := s.file.ReadAt(b[:min(int64(len(b)), size-r.at)], r.at)
	r.at += int64(n)
	return n, err
}
