package cli

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// page is text for people while it is put together, one goroutine's. All that is added to it is
// made printable and stays on its line, so that no text from a target acts on a terminal or begins
// a line of its own. Colours are the page's.
type page struct {
	ui      *ui
	w       *stream
	colours bool
	b       strings.Builder
}

// page returns an empty page for w, which is u.out or u.err. Print writes it.
func (u *ui) page(w *stream) *page { return &page{ui: u, w: w, colours: u.tty(w) && !u.plain} }

// add appends to the line.
func (p *page) add(format string, args ...any) *page {
	p.b.WriteString(printable.Line(fmt.Sprintf(format, args...)))
	return p
}

// red appends a word that says that something is wrong.
func (p *page) red(word string) *page { return p.paint(word, "1;31") }

func (p *page) bold(word string) *page { return p.paint(word, "1") }

func (p *page) paint(text, code string) *page {
	p.b.WriteString(paint(printable.Line(text), code, p.colours))
	return p
}

// end ends the line.
func (p *page) end() *page {
	p.b.WriteByte('\n')
	return p
}

// headline is the first line of a traceback, which says nothing.
const headline = "Traceback (most recent call last):"

// quote appends the lines of a text from a target: each behind its name, or, for a name of "",
// indented, so that none can be taken for a line of this program.
func (p *page) quote(name, text string) *page {
	for line := range linesOf(text) {
		switch {
		case name != "":
			p.add("%s: ", printable.Name(name))
		case line != headline && !strings.HasPrefix(line, " "):
			p.add("    ")
		}
		p.add("%s", line).end()
	}
	return p
}

// linesOf yields the lines of a text, without their ends, and with blanks for tabs.
func linesOf(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(strings.TrimRight(text, "\r\n")) {
			line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")
			if !yield(line) {
				return
			}
		}
	}
}

// print writes the page, all at once.
func (p *page) print() error {
	_, err := p.ui.write(p.w, []byte(p.b.String()))
	return err
}

// say writes one line for people to standard error.
func (u *ui) say(format string, args ...any) { u.page(u.err).add(format, args...).end().print() }

// json writes v to w as JSON that does nothing to a terminal: on one line, or indented.
func (u *ui) json(w *stream, v any, indent string) error {
	_, err := u.write(w, safeJSON(v, indent))
	return err
}

// safeJSON encodes v, which holds nothing that could fail, and ends the line.
func safeJSON(v any, indent string) []byte {
	b, err := json.Marshal(v)
	if indent != "" {
		b, err = json.MarshalIndent(v, "", indent)
	}
	must(err)
	return append(jsonvalue.EscapeControls(b), '\n')
}
