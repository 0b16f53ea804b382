package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// lineWidth is the column at which paragraphs are broken.
const lineWidth = 100

// printer writes what the demo says. It may be used from many goroutines.
type printer struct {
	colour bool

	mu     sync.Mutex // protects following
	w      io.Writer
	scenes int
	ended  bool
}

func (p *printer) write(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		io.WriteString(p.w, s)
	}
}

// end is the end of what is written: what shells say to the end of their contexts is no news.
func (p *printer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

func (p *printer) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// say writes a paragraph.
func (p *printer) say(text string) {
	var b strings.Builder
	width := 0
	for _, word := range strings.Fields(printable.Text(text)) {
		if width+len(word) >= lineWidth {
			b.WriteByte('\n')
			width = 0
		} else if width > 0 {
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	p.write("\n" + b.String() + "\n")
}

// scene writes a headline.
func (p *printer) scene(format string, args ...any) {
	p.mu.Lock()
	p.scenes++
	n := p.scenes
	p.mu.Unlock()
	p.write("\n" + p.paint("1;36",
		fmt.Sprintf("%d. %s", n, printable.Line(fmt.Sprintf(format, args...)))) + "\n")
}

// result writes a line about what came of it.
func (p *printer) result(format string, args ...any) {
	p.write("   " + p.paint("32", "=>") + " " + printable.Line(fmt.Sprintf(format, args...)) + "\n")
}

// text writes lines from there.
func (p *printer) text(s string) {
	for line := range strings.Lines(s) {
		p.write("      " + printable.Line(strings.TrimRight(line, "\r\n")) + "\n")
	}
}

// table writes rows in columns, numbers to the right.
func (p *printer) table(rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable.Line(cell)
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("   " + cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		p.write(b.String() + "\n")
	}
}

// stream returns a Writer for the lines of stdout or stderr from there.
func (p *printer) stream(name string) *stream { return &stream{p: p, name: name} }

type stream struct {
	p    *printer
	name string

	mu   sync.Mutex // protects rest: several contexts have the same stream
	rest []byte
}

// maxRest limits the length of a line without an end, in bytes. A longer line is broken.
const maxRest = 4096

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, b...)
	for {
		at := bytes.IndexByte(s.rest, '\n')
		if at < 0 {
			break
		}
		s.line(s.rest[:at])
		s.rest = s.rest[at+1:]
	}
	if len(s.rest) > maxRest {
		s.line(s.rest)
		s.rest = nil
	}
	return len(b), nil
}

func (s *stream) line(b []byte) {
	s.p.write("   " + s.p.paint("2", s.name+" |") + " " + printable.Line(string(b)) + "\n")
}

// flush writes a last line without an end.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) > 0 {
		s.line(s.rest)
		s.rest = nil
	}
}

// logger returns a logger that writes between the other lines.
func (p *printer) logger() *slog.Logger { return slog.New(&handler{p: p}) }

type handler struct {
	p     *printer
	attrs []slog.Attr
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	return &handler{h.p, append(h.attrs[:len(h.attrs):len(h.attrs)], as...)}
}

func (h *handler) WithGroup(string) slog.Handler { return h }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	add := func(a slog.Attr) bool { text += " " + a.String(); return true }
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	h.p.write("   " + h.p.paint("33", "log "+r.Level.String()+" |") + " " + printable.Line(text) +
		"\n")
	return nil
}
