package stream

import (
	"io"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Read passes frames from r to handle until r ends, which is io.EOF, or breaks, which is a *wire.CorruptError. Bytes between
// frames go to noise. Neither may block, or keep what it is given.
func (s *Stream) Read(r io.Reader, noise func([]byte), handle func(*wire.Frame)) error {
	sc := wire.NewScanner(counted{r, s})
	sc.Noise = noise
	for {
		f, err := sc.Next()
		if err != nil {
			return err
		}
		s.framesUp.Add(1)
		handle(&f)
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	s *Stream
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if n > 0 {
		c.s.bytesUp.Add(int64(n))
		if c.s.down.CompareAndSwap(true, false) {
			c.s.trips.Add(1)
		}
	}
	return n, err
}
