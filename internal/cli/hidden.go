package cli

import (
	"io"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/secret"
)

// maxHidden bounds a secret that is typed, in bytes.
const maxHidden = 4 << 10

// Keys of a terminal in raw mode.
const (
	keyInterrupt  = 0x03 // Ctrl-C
	keyEnd        = 0x04 // Ctrl-D
	keyBackspace  = 0x08
	keyEraseLine  = 0x15 // Ctrl-U
	keyEraseWord  = 0x17 // Ctrl-W
	keyEscape     = 0x1b
	keyDelete     = 0x7f
	firstVisible  = 0x20
	firstCSIFinal = 0x40
)

// hidden is a line that is typed and not shown. There is one copy of it, which is wiped.
type hidden struct {
	line   []byte // never grows beyond its first memory
	over   bool   // there was more; it is read all the same, or a shell would read it
	escape byte   // 0, or the key that the sequence of another key is at: keyEscape, '[' or 'O'
}

// readHidden reads a line from a terminal in raw mode. The error is io.EOF for Ctrl-C, and for
// Ctrl-D on an empty line.
func readHidden(tty io.Reader) (secret.Secret, error) {
	h := hidden{line: make([]byte, 0, maxHidden)}
	defer func() { clear(h.line[:cap(h.line)]) }()
	key := make([]byte, 1)
	defer clear(key)
	for {
		if _, err := io.ReadFull(tty, key); err != nil {
			return "", err
		}
		switch k := key[0]; {
		case k == '\r' || k == '\n':
			if h.over {
				return "", secret.ErrTooLong
			}
			return secret.Hold(h.line), nil
		case k == keyInterrupt || k == keyEnd && len(h.line) == 0:
			return "", io.EOF
		case h.inSequence(k):
		default:
			h.edit(k)
		}
	}
}

// inSequence tells whether a key belongs to what the terminal sends for an arrow and the like.
func (h *hidden) inSequence(k byte) bool {
	switch {
	case h.escape == 0 && k != keyEscape:
		return false
	case h.escape == keyEscape && (k == '[' || k == 'O'):
		h.escape = k
	case h.escape == '[' && k < firstCSIFinal && k >= firstVisible: // a parameter
	case h.escape == 0:
		h.escape = k
	default:
		h.escape = 0
	}
	return true
}

func (h *hidden) edit(k byte) {
	switch {
	case k == keyBackspace || k == keyDelete:
		_, n := utf8.DecodeLastRune(h.line)
		h.line = h.line[:len(h.line)-n]
	case k == keyEraseLine || k == keyEraseWord: // the user doesn't see where a word begins
		h.line, h.over = h.line[:0], false
	case len(h.line) == cap(h.line):
		h.over = h.over || k >= firstVisible
	case k >= firstVisible:
		h.line = append(h.line, k)
	}
}
