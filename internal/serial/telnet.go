package serial

import (
	"bytes"
	"net"
)

// Bytes of the telnet protocol (RFC 854).
const (
	iac, dont, do, wont, will, sb, se = 255, 254, 253, 252, 251, 250, 240

	optBinary, optEcho, optSGA = 0, 1, 3
)

// telnet is a TCP connection to a console server. If the server speaks telnet, so does this end;
// else
// bytes pass as they are. The first command of the server decides.
type telnet struct {
	net.Conn
	held  []byte // owned by the reader: a command that isn't whole
	asked bool   // likewise: for a clean line
}

// Read returns at least one byte of data, or an error.
func (t *telnet) Read(b []byte) (int, error) {
	for {
		n, err := t.Conn.Read(b)
		if n == 0 {
			return 0, err
		}
		if n = copy(b, t.take(b[:n])); n > 0 || err != nil {
			return n, err
		}
	}
}

// take returns the data in what came, and answers commands.
func (t *telnet) take(b []byte) []byte {
	if len(t.held) == 0 && bytes.IndexByte(b, iac) < 0 {
		return b
	}
	b = append(t.held, b...)
	t.held = nil
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != iac {
			out = append(out, b[i])
			continue
		}
		size, data := t.command(b[i:])
		if size == 0 {
			t.held = bytes.Clone(b[i:])
			break
		}
		if data {
			out = append(out, iac)
		}
		i += size - 1
	}
	return out
}

// maxCommand bounds a command that has no end.
const maxCommand = 512

// command works off what begins with iac: how long it is (0: not whole), and whether it stands
// for a
// byte of data.
func (t *telnet) command(b []byte) (size int, data bool) {
	switch {
	case len(b) < 2:
		return 0, false
	case b[1] == iac:
		return 2, true
	case b[1] == sb:
		if end := bytes.Index(b, []byte{iac, se}); end >= 0 {
			return end + 2, false
		}
		if len(b) > maxCommand {
			return len(b), false
		}
		return 0, false
	case b[1] < will:
		return 2, false
	case len(b) < 3:
		return 0, false
	}
	t.answer(b[1], b[2])
	return 3, false
}

// answer agrees to what makes the line clean, and to nothing else.
func (t *telnet) answer(verb, option byte) {
	if !t.asked {
		t.asked = true
		t.Conn.Write([]byte{iac, will, optBinary, iac, do, optBinary, iac, do, optSGA})
	}
	wanted := option == optBinary || option == optSGA
	switch {
	case verb == will && !wanted && option != optEcho:
		t.Conn.Write([]byte{iac, dont, option})
	case verb == will && option == optEcho:
		t.Conn.Write([]byte{iac, do, option})
	case verb == do && option == optSGA:
		t.Conn.Write([]byte{iac, will, option})
	case verb == do && option != optBinary:
		t.Conn.Write([]byte{iac, wont, option})
	}
}
