package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNoise means that more than MaxNoise foreign bytes came in a row.
var ErrNoise = errors.New("more than 1 MiB of foreign bytes and no frame")

const (
	firstBuffer = 16 << 10
	maxBuffer   = 256 << 10 // holds any frame
	maxEmpty    = 100       // reads in a row that bring nothing
)

// A Scanner takes the frames out of a byte stream. One read may bring many frames; a frame costs no
// allocation. The buffer starts small and grows up to 256 KiB for a stream with large frames.
//
// Not safe for concurrent use.
type Scanner struct {
	// Noise, where set, is given the foreign bytes before and between frames as soon as they are read.
	// They are valid during the call only.
	Noise func([]byte)

	r          io.Reader
	buf        []byte
	start, end int   // what is read and not yet taken
	row        int   // foreign bytes since the last frame
	skipped    int64 // foreign bytes in all
	err        error // sticky, once what was read before is used up
}

// NewScanner returns a Scanner for the frames that come from r.
func NewScanner(r io.Reader) *Scanner {
	return &Scanner{r: r}
}

// Skipped returns how many foreign bytes there were so far.
func (s *Scanner) Skipped() int64 { return s.skipped }

// Next returns the next frame, reading as needed. Its payload is valid until the next call.
//
// The error is io.EOF at the end between two frames. In a frame it wraps io.ErrUnexpectedEOF. A
// *CorruptError says that the bytes aren't a frame. ErrNoise says that more than MaxNoise bytes in
// a row lie between frames. Any other error is the reader's. After an error s yields no more
// frames, except that os.ErrDeadlineExceeded changes nothing.
func (s *Scanner) Next() (Frame, error) {
	for {
		if err := s.skip(); err != nil {
			return Frame{}, s.fail(err)
		}
		f, size, err := s.peek()
		if err != nil {
			return Frame{}, s.fail(err)
		}
		if have := s.end - s.start; size > 0 && have >= size {
			s.start += size
			s.row = 0
			return f, nil
		}
		if err := s.fill(max(size, HeaderSize)); err != nil {
			return Frame{}, err
		}
	}
}

// Buffered reports whether Next will return without reading.
func (s *Scanner) Buffered() bool {
	if at := bytes.Index(s.buf[s.start:s.end], []byte(magic)); at > 0 {
		ahead := *s
		ahead.start += at
		return ahead.Buffered()
	}
	_, size, err := s.peek()
	return err != nil || size > 0 && s.end-s.start >= size
}

// fail makes err what every later call returns.
func (s *Scanner) fail(err error) error {
	s.err, s.start, s.end = err, 0, 0
	return err
}

// skip hands foreign bytes up to the next magic, or to what may be the beginning of one, to Noise.
func (s *Scanner) skip() error {
	b := s.buf[s.start:s.end]
	n := foreign(b)
	if n == 0 {
		return nil
	}
	s.start += n
	return s.noise(b[:n])
}

func (s *Scanner) noise(b []byte) error {
	s.row += len(b)
	s.skipped += int64(len(b))
	if s.Noise != nil {
		s.Noise(b)
	}
	if s.row > MaxNoise {
		return ErrNoise
	}
	return nil
}

// foreign returns how many bytes of b come before a magic or before an end that may be one.
func foreign(b []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(b[from:], magic[0])
		if at < 0 {
			return len(b)
		}
		from += at
		rest := b[from:]
		if n := min(len(rest), len(magic)); string(rest[:n]) == magic[:n] {
			return from
		}
		from++
	}
}

// peek looks at the frame at the front. size is its length on the stream, 0 while the header is
// incomplete. The payload is set once all is there.
func (s *Scanner) peek() (f Frame, size int, err error) {
	b := s.buf[s.start:s.end]
	if len(b) < HeaderSize || string(b[:len(magic)]) != magic {
		return f, 0, nil
	}
	f, length, err := parseHeader(b)
	if err != nil {
		return f, 0, corrupt(err.Error(), b, 0, len(b))
	}
	size = HeaderSize + length + TrailerSize
	if len(b) < size {
		return f, size, nil
	}
	if string(b[size-TrailerSize:size]) != trailer {
		reason := fmt.Sprintf("no trailer behind %d bytes of payload", length)
		return f, 0, corrupt(reason, b, size-TrailerSize, size)
	}
	f.Payload = b[HeaderSize : HeaderSize+length : HeaderSize+length]
	return f, size, nil
}

// fill reads once, having made room for a frame of size bytes.
func (s *Scanner) fill(size int) error {
	if s.err != nil {
		return s.atEnd()
	}
	s.makeRoom(size)
	for range maxEmpty {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		s.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return s.atEnd()
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

// makeRoom moves what is unused to the front of a buffer that holds size bytes and has room for
// more.
func (s *Scanner) makeRoom(size int) {
	if s.start == s.end {
		s.start, s.end = 0, 0
	}
	old := s.buf[s.start:s.end]
	switch {
	case size > len(s.buf):
		s.buf = make([]byte, s.grown(size))
	case s.start+size <= len(s.buf) && s.end < len(s.buf):
		return
	}
	s.end = copy(s.buf, old)
	s.start = 0
}

func (s *Scanner) grown(size int) int {
	n := max(firstBuffer, len(s.buf))
	for n < size {
		n *= 4
	}
	return min(n, maxBuffer)
}

// atEnd says what the reader's error means for the stream.
func (s *Scanner) atEnd() error {
	rest := s.buf[s.start:s.end]
	if s.err != io.EOF || len(rest) == 0 {
		return s.err
	}
	if len(rest) >= len(magic) {
		return s.fail(fmt.Errorf("read frame: %d bytes and then the end: %w", len(rest),
			io.ErrUnexpectedEOF))
	}
	s.start = s.end
	if err := s.noise(rest); err != nil {
		return s.fail(err)
	}
	return io.EOF
}
