package secret

import (
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a secret, in bytes.
const maxLine = 64 << 10

// ErrTooLong says that a line is too long for a secret.
var ErrTooLong = errors.New("line is too long for a secret")

// ReadLine reads the first line of r and returns it without its end. It keeps no other copy. What
// has come behind the line is lost.
func ReadLine(r io.Reader) (Secret, error) {
	buf := make([]byte, maxLine)
	n, err := 0, error(nil)
	defer func() { clear(buf[:n]) }()
	for err == nil && n < len(buf) && bytes.IndexByte(buf[:n], '\n') < 0 {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	line, _, ended := bytes.Cut(buf[:n], []byte("\n"))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case !ended && n == len(buf):
		return "", ErrTooLong
	}
	return Hold(bytes.TrimRight(line, "\r")), nil
}
