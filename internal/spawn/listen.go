package spawn

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// A listener takes what comes on stderr or terminal. It belongs to the goroutine that reads.
type listener struct {
	p    *Process
	copy io.Writer     // nil: none
	talk *conversation // nil: none
	logs bool          // an ssh's own words come here
	line []byte        // begun after Connected
}

// listen reads f until its end. f may be in another process's hands when ours has ended; then
// reap's deadline is the end.
func (p *Process) listen(f *os.File, l *listener) {
	defer p.readers.Done()
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		l.hear(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.drain(f, buf)
		}
		if err != nil {
			break
		}
	}
	if len(l.line) > 0 {
		l.pass(l.line)
	}
}

// drain takes what is there already, which a reader that gets the processor late would else miss.
func (l *listener) drain(f *os.File, buf []byte) {
	f.SetReadDeadline(time.Time{})
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	for range 1 << 20 / len(buf) { // a program that writes on for ever is cut off
		n := 0
		c.Read(func(fd uintptr) bool { n = readNow(int(fd), buf); return true })
		if n <= 0 {
			return
		}
		l.hear(buf[:n])
	}
}

func (l *listener) hear(b []byte) {
	if len(b) == 0 {
		return
	}
	p := l.p
	p.mu.Lock()
	p.tail.add(b)
	connected := p.connected
	if l.logs && !connected {
		p.login.Feed(b)
	}
	p.mu.Unlock()
	if l.copy != nil {
		l.copy.Write(b)
	}
	switch {
	case connected:
		l.split(b)
	case l.talk != nil:
		l.talk.hear(b)
	}
}

// split passes on whole lines.
func (l *listener) split(b []byte) {
	if l.p.opt.Line == nil {
		return
	}
	for {
		head, rest, found := bytes.Cut(b, []byte("\n"))
		room := methods.TextLimit - len(l.line)
		l.line = append(l.line, head[:min(len(head), room)]...)
		if !found {
			return
		}
		l.pass(l.line)
		l.line, b = l.line[:0], rest
	}
}

func (l *listener) pass(line []byte) {
	l.p.opt.Line(printable.Line(string(bytes.TrimSuffix(line, []byte("\r")))))
}

// A tail is the end of a text.
type tail []byte

func (t *tail) add(b []byte) {
	b = b[max(0, len(b)-methods.TextLimit):]
	if over := len(*t) + len(b) - methods.TextLimit; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	*t = append(*t, b...)
}
