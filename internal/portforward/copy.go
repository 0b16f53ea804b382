package portforward

import (
	"errors"
	"io"
	"net"
)

// copyBuffer bounds the bytes that are copied at a time.
const copyBuffer = 64 << 10

// halfCloser is a connection that can be closed for writing alone.
type halfCloser interface{ CloseWrite() error }

// lingerer is a connection that Close can reset.
type lingerer interface{ SetLinger(seconds int) error }

// half is the end of one direction.
type half struct {
	n           int64
	read, write error // of read, io.EOF is none
}

// Join copies both ways between two connections, until both have ended, and closes them. The end of
// one direction doesn't end the other. A reset of one is a reset of the other. It returns how many
// bytes went from a to b, and from b to a, and the first error.
func Join(a, b net.Conn) (there, back int64, err error) {
	ended := make(chan half, 1)
	go func() { ended <- copyHalf(a, b) }()
	to := copyHalf(b, a)
	from := <-ended
	err = errors.Join(to.read, to.write, from.read, from.write)
	if err != nil {
		reset(a, b)
	}
	a.Close()
	b.Close()
	return to.n, from.n, err
}

// copyHalf copies one direction. If src fails, both are reset. If dst takes no more, what it still
// sends is waited for.
func copyHalf(dst, src net.Conn) (h half) {
	buf := make([]byte, copyBuffer)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			var done int
			done, h.write = dst.Write(buf[:n])
			if h.n += int64(done); h.write != nil {
				return h
			}
		}
		if err == io.EOF {
			if c, ok := dst.(halfCloser); ok {
				c.CloseWrite()
			}
			return h
		}
		if err != nil {
			h.read = err
			reset(src, dst)
			src.Close()
			dst.Close()
			return h
		}
	}
}

// reset has Close reset connections, where there is such a thing.
func reset(all ...net.Conn) {
	for _, c := range all {
		if l, ok := c.(lingerer); ok {
			l.SetLinger(0)
		}
	}
}
