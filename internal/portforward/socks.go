package portforward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// request is a SOCKS client's, to be connected.
type request struct {
	address string // HOST:PORT
	version byte
}

// Answers to a request of version 5.
const (
	socksWell        = 0
	socksFailed      = 1
	socksNetwork     = 3
	socksHost        = 4
	socksRefused     = 5
	socksTimeout     = 6
	socksCommand     = 7
	socksAddressKind = 8
)

// Of version 4, by which everything else is a failure.
const (
	socks4Well   = 90
	socks4Failed = 91
)

const socksConnect = 1 // the command

// maxSOCKSText bounds a name or user of version 4, which ends with a zero.
const maxSOCKSText = 255

// errSOCKS is an error of a client that has been told.
var errSOCKS = errors.New("SOCKS")

// readRequest leads the conversation up to the request: version 5 without authentication, 4 or 4a.
func readRequest(c io.ReadWriter) (request, error) {
	version, err := readBytes(c, 1)
	if err != nil {
		return request{}, err
	}
	switch version[0] {
	case 4:
		return readRequest4(c)
	case 5:
		return readRequest5(c)
	}
	return request{}, fmt.Errorf("%w: got version %d, want 4 or 5", errSOCKS, version[0])
}

func readBytes(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: read request: %w", errSOCKS, err)
	}
	return b, nil
}

// readText reads to a zero.
func readText(r io.Reader) (string, error) {
	var text []byte
	for {
		b, err := readBytes(r, 1)
		switch {
		case err != nil:
			return "", err
		case b[0] == 0:
			return string(text), nil
		case len(text) == maxSOCKSText:
			return "", fmt.Errorf("%w: text has more than %d bytes", errSOCKS, maxSOCKSText)
		}
		text = append(text, b[0])
	}
}

func readRequest4(c io.ReadWriter) (request, error) {
	head, err := readBytes(c, 7) // command, port, address
	if err != nil {
		return request{}, err
	}
	if _, err := readText(c); err != nil { // user
		return request{}, err
	}
	host := netip.AddrFrom4([4]byte(head[3:])).String()
	if head[3] == 0 && head[4] == 0 && head[5] == 0 && head[6] != 0 { // version 4a
		if host, err = readText(c); err != nil {
			return request{}, err
		}
	}
	q := request{join(host, head[1:3]), 4}
	if head[0] != socksConnect {
		q.answer(c, syscall.EOPNOTSUPP)
		return q, fmt.Errorf("%w: got command %d, want connect", errSOCKS, head[0])
	}
	return q, nil
}

func join(host string, port []byte) string {
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
}

func readRequest5(c io.ReadWriter) (request, error) {
	q := request{version: 5}
	n, err := readBytes(c, 1)
	if err != nil {
		return q, err
	}
	methods, err := readBytes(c, int(n[0]))
	if err != nil {
		return q, err
	}
	method := byte(255) // none of these
	for _, m := range methods {
		if m == 0 { // no authentication
			method = 0
		}
	}
	if _, err := c.Write([]byte{5, method}); err != nil {
		return q, err
	}
	if method != 0 {
		return q, fmt.Errorf("%w: client wants to authenticate", errSOCKS)
	}
	head, err := readBytes(c, 4) // version, command, zero, kind of address
	if err != nil {
		return q, err
	}
	host, err := readHost5(c, head[3])
	if err != nil {
		return q, err
	}
	port, err := readBytes(c, 2)
	if err != nil {
		return q, err
	}
	if q.address = join(host, port); head[0] != 5 || head[1] != socksConnect {
		q.tell(c, socksCommand)
		return q, fmt.Errorf("%w: got command %d, want connect", errSOCKS, head[1])
	}
	return q, nil
}

// readHost5 reads an address of version 5, of a kind.
func readHost5(c io.ReadWriter, kind byte) (string, error) {
	switch kind {
	case 1, 4:
		b, err := readBytes(c, 4*int(kind))
		if err != nil {
			return "", err
		}
		ip, _ := netip.AddrFromSlice(b)
		return ip.String(), nil
	case 3:
		n, err := readBytes(c, 1)
		if err != nil {
			return "", err
		}
		name, err := readBytes(c, int(n[0]))
		return string(name), err
	}
	request{version: 5}.tell(c, socksAddressKind)
	return "", fmt.Errorf("%w: got address of kind %d, want 1, 3 or 4", errSOCKS, kind)
}

// socksAnswers are the causes that version 5 has a number for.
var socksAnswers = []struct {
	cause  error
	answer byte
}{
	{syscall.ECONNREFUSED, socksRefused},
	{syscall.ENETUNREACH, socksNetwork},
	{syscall.EHOSTUNREACH, socksHost},
	{syscall.ETIMEDOUT, socksTimeout},
	{context.DeadlineExceeded, socksTimeout},
}

// answer tells the client how connecting has ended; nil: it is connected.
func (q request) answer(w io.Writer, err error) error {
	if err == nil {
		return q.tell(w, socksWell)
	}
	unknown := (*net.DNSError)(nil)
	if errors.As(err, &unknown) {
		return q.tell(w, socksHost)
	}
	for _, a := range socksAnswers {
		if errors.Is(err, a.cause) {
			return q.tell(w, a.answer)
		}
	}
	return q.tell(w, socksFailed)
}

// tell sends an answer of version 5, or what version 4 has in its place. Of the address that the
// connection has there, it says nothing.
func (q request) tell(w io.Writer, answer byte) error {
	b := []byte{5, answer, 0, 1, 0, 0, 0, 0, 0, 0}
	if q.version == 4 {
		b = []byte{0, socks4Failed, 0, 0, 0, 0, 0, 0}
		if answer == socksWell {
			b[1] = socks4Well
		}
	}
	_, err := w.Write(b)
	return err
}
