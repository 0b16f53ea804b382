package cli

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// The rules of what goes where:
//
//   - Results go to standard output, and nothing else does. What people are told goes to standard
//     error: "error:" lines in lower case, a "hint:" line behind them, log records, progress.
//     Questions go to the terminal, /dev/tty.
//   - One target: what run, exec and shell have run there passes byte for byte, as with ssh.
//   - Everything else that comes from targets is made printable: what could act on a terminal is
//     shown as an escape. No line of a target begins as one of ours does.
//   - Several targets: whole lines, each behind its target's name. A last line without a
//     newline gets one.
//   - A caller may ignore the result of a write: a stream remembers its first error, and Main ends
//     with it.
//   - Colour and progress are for terminals only, and neither for NO_COLOR nor --no-color; progress
//     is for several targets only, and not for --quiet or --json.

// ui writes the output of all goroutines, in whole lines.
type ui struct {
	out, err *stream
	outTTY   bool // out is a terminal
	errTTY   bool
	plain    bool // no colour, no progress; set before anything is written

	mu     sync.Mutex // protects following, and the order of writes
	status string     // progress, as shown on err
}

func newUI(out, err io.Writer) *ui {
	return &ui{out: &stream{w: out}, err: &stream{w: err}, outTTY: isTerminal(out),
		errTTY: isTerminal(err), plain: os.Getenv("NO_COLOR") != "" ||
			os.Getenv("TERM") == "dumb"}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// write writes whole lines to out or err, and keeps progress below them. They are made printable
// already, or bytes of a lone target.
func (u *ui) write(w *stream, b []byte) (int, error) { return u.writeAll(w, b) }

// writeAll is write for what is in pieces.
func (u *ui) writeAll(w *stream, pieces ...[]byte) (n int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	shown := u.status
	u.showLocked("")
	for _, b := range pieces {
		var more int
		more, err = w.Write(b)
		if n += more; err != nil {
			break
		}
	}
	u.showLocked(shown)
	return n, err
}

// show replaces the line of progress; "" removes it.
func (u *ui) show(status string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.showLocked(status)
}

func (u *ui) showLocked(status string) {
	if status == u.status {
		return
	}
	if status != "" {
		if width := u.width(); utf8.RuneCountInString(status) >= width {
			status = string([]rune(status)[:max(0, width-2)]) + "…"
		}
	}
	u.status = status
	fmt.Fprint(u.err, "\r\x1b[K"+status)
}

func (u *ui) width() int {
	const usual = 80
	f, ok := u.err.w.(*os.File)
	if !ok {
		return usual
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return usual
}

// alone runs f while nothing else is written, for questions on the terminal.
func (u *ui) alone(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	shown := u.status
	u.showLocked("")
	f()
	u.showLocked(shown)
}

// tty tells whether w, which is u.out or u.err, is a terminal.
func (u *ui) tty(w *stream) bool { return w == u.out && u.outTTY || w == u.err && u.errTTY }

func paint(s, code string, on bool) string {
	if !on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// colours that can be read on dark and on light ground.
var colours = []string{"32", "33", "34", "35", "36", "92", "94", "95", "96"}

func colourOf(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	return colours[h.Sum32()%uint32(len(colours))]
}

// maxLine bounds a line of output, in bytes: a longer one is broken.
const maxLine = 64 << 10

// lines is a Writer of one target's output, line by line. It is used by one goroutine at a time.
type lines struct {
	ui     *ui
	w      *stream // ui.out or ui.err
	prefix string
	lone   bool // the prefix is for lines only that could be taken for ours
	tty    bool
	rest   []byte
}

// newLines returns a Writer for what target writes; w is u.out or u.err.
func (u *ui) newLines(w *stream, target string) *lines {
	tty, name := u.tty(w), printable.Name(target)
	prefix := paint(name+":", colourOf(name), tty && !u.plain) + " "
	return &lines{ui: u, w: w, prefix: prefix, tty: tty}
}

// newLoneLines is newLines for the only target.
func (u *ui) newLoneLines(w *stream, target string) *lines {
	l := u.newLines(w, target)
	l.lone = true
	return l
}

// ours begins lines that only this program writes: problems, log records, sums.
var ours = lazyregexp.New(`^(\d\d:\d\d:\d\d |\d+ of \d+ )`)

// Write never keeps b.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	var out bytes.Buffer
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			l.rest = append(l.rest, b...)
			for len(l.rest) > maxLine {
				l.rest = l.rest[l.line(&out, l.rest[:wholeRunes(l.rest, maxLine)]):]
			}
			break
		}
		l.line(&out, append(l.rest, b[:end]...))
		l.rest, b = l.rest[:0], b[end+1:]
	}
	if out.Len() == 0 {
		return n, nil
	}
	if _, err := l.ui.write(l.w, out.Bytes()); err != nil {
		return 0, err
	}
	return n, nil
}

// line appends one line, in pieces if it is long, and returns its length.
func (l *lines) line(out *bytes.Buffer, b []byte) int {
	text := printable.Text(string(bytes.TrimSuffix(b, []byte("\r"))))
	if l.tty {
		text = strings.ReplaceAll(text, "\t", "    ")
	}
	if !l.lone || printable.Reserved(text) || ours.MatchString(text) {
		out.WriteString(l.prefix)
	}
	out.WriteString(text)
	out.WriteByte('\n')
	return len(b)
}

// wholeRunes is the length, at most n, of a part of b that doesn't end inside a character.
func wholeRunes(b []byte, n int) int {
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return n
}

// flush writes a last line without an end.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.Write([]byte("\n"))
	}
}
