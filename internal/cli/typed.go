package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/muxserve"
)

// typed reads what is typed at a terminal, and takes the escape character out of it, as ssh does.
// At the beginning of a line, with a period behind it, it hangs up; with a question mark, it tells
// what it is for; twice, it is typed once; with anything else it is typed as it is. Its Read can be
// interrupted by SetReadDeadline, as a terminal's can't.
type typed struct {
	file   *os.File
	escape uint32
	help   io.Writer // where the terminal shows what is written
	hangUp func()

	wake, waker *os.File // wake is at its end when interrupted
	line        bool     // what is next begins a line
	held        bool     // the escape character was typed there
	over        bool
}

func newTyped(file *os.File, escape uint32, help io.Writer, hangUp func()) (*typed, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &typed{file: file, escape: escape, help: help, hangUp: hangUp, wake: r, waker: w,
		line: true}, nil
}

// Read is for one goroutine.
func (t *typed) Read(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, io.ErrShortBuffer
	}
	for !t.over {
		fds := []unix.PollFd{{Fd: int32(t.file.Fd()), Events: unix.POLLIN},
			{Fd: int32(t.wake.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return 0, err
		}
		if fds[1].Revents != 0 {
			return 0, os.ErrDeadlineExceeded
		}
		in := make([]byte, len(b)/2) // a held byte may come out before another
		n, err := t.file.Read(in)
		if out := t.filter(b[:0], in[:n]); len(out) > 0 || err != nil {
			return len(out), err
		}
	}
	return 0, io.EOF
}

// filter appends to out what of in is for the program.
func (t *typed) filter(out, in []byte) []byte {
	for _, c := range in {
		escape := t.escape != muxserve.NoEscape && uint32(c) == t.escape
		switch {
		case t.held && c == '.':
			t.over = true
			fmt.Fprintf(t.help, "%s.\r\n", shownKey(t.escape))
			t.hangUp()
			return out
		case t.held && c == '?':
			fmt.Fprintf(t.help, escapeHelp, shownKey(t.escape))
			t.held = false
			continue // the line begins anew
		case t.held && !escape:
			out = append(out, byte(t.escape), c)
		case !t.held && t.line && escape:
			t.held = true
			continue
		default:
			out = append(out, c)
		}
		t.held, t.line = false, c == '\r' || c == '\n'
	}
	return out
}

// escapeHelp is written to a terminal that passes keys as they are typed.
const escapeHelp = "%[1]s?\r\n" +
	"At the beginning of a line:\r\n" +
	"  %[1]s.  ends the connection\r\n" +
	"  %[1]s?  shows this\r\n" +
	"  %[1]s%[1]s  types %[1]s\r\n"

// shownKey names a key: ^ and a letter is one with Ctrl.
func shownKey(c uint32) string {
	if c < ' ' {
		return "^" + string(rune(c+'@'))
	}
	return string(rune(c))
}

// SetReadDeadline interrupts Read for good by a time that is past.
func (t *typed) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		t.waker.Close()
	}
	return nil
}

// close is called when nothing reads any more.
func (t *typed) close() {
	t.waker.Close()
	t.wake.Close()
}
