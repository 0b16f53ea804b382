package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// pythonFile is a Python source and its tokens.
type pythonFile struct {
	src  []byte
	toks []pysource.Token
}

func (h *house) pythonFile(name string, src []byte) error {
	h.pythonFiles++
	toks, err := pysource.Tokens(src)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	f := &pythonFile{src, toks}
	for _, c := range f.comments() {
		h.prose(name, c)
	}
	for _, fn := range f.functions() {
		h.pythonFunctions = append(h.pythonFunctions, fn.lines)
		h.addWhole("python-function", name, fn.first, fn.lines, fn.name)
	}
	for _, use := range f.unbound() {
		h.add("unbound", name, use.line, use.name)
	}
	return nil
}

func (f *pythonFile) text(i int) string {
	if i < 0 || i >= len(f.toks) {
		return ""
	}
	return string(f.toks[i].Text(f.src))
}

// is reports whether token i is a name or an operator written as one of words.
func (f *pythonFile) is(i int, words ...string) bool {
	if i < 0 || i >= len(f.toks) || f.toks[i].Kind != pysource.Name && f.toks[i].Kind != pysource.Op {
		return false
	}
	return slices.Contains(words, f.text(i))
}

// begins reports whether a statement begins at token i.
func (f *pythonFile) begins(i int) bool {
	return i == 0 || f.is(i-1, ";") || f.is(i-1, ":") ||
		slices.Contains(layout, f.toks[i-1].Kind)
}

// layout are the kinds of tokens that aren't text.
var layout = []pysource.Kind{pysource.Newline, pysource.Indent, pysource.Dedent, pysource.EOF}

// comments returns docstrings, and blocks of lines with nothing but a comment, and comments behind
// code.
func (f *pythonFile) comments() (all []comment) {
	code := bytes.Clone(f.src)
	for i, t := range f.toks {
		if t.Kind != pysource.String {
			continue
		}
		if f.begins(i) && f.toks[i+1].Kind == pysource.Newline {
			all = append(all, comment{int(t.Line), stripped(f.text(i), `"'`)})
		}
		for at := t.Start; at < t.End; at++ {
			if code[at] != '\n' {
				code[at] = ' '
			}
		}
	}
	n, follows := 0, false
	for line := range bytes.Lines(code) {
		n++
		before, text, found := strings.Cut(string(line), "#")
		alone := strings.TrimSpace(before) == ""
		text = stripped(text, "#")
		if last := len(all) - 1; found && alone && follows {
			all[last].text += "\n" + text
		} else if found {
			all = append(all, comment{n, text})
		}
		follows = found && alone
	}
	return all
}

// stripped takes marks and blanks off both ends, and blanks off the beginning of each line.
func stripped(text, marks string) string {
	lines := strings.Split(strings.Trim(text, marks+" \t\r\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// pythonFunction is a def with its body.
type pythonFunction struct {
	name         string
	first, lines int
	level        int
}

// functions returns all functions and methods, nested functions included.
func (f *pythonFile) functions() (all []pythonFunction) {
	var open []pythonFunction
	level, last := 0, 0
	end := func() {
		for n := len(open); n > 0 && open[n-1].level >= level; n-- {
			fn := open[n-1]
			fn.lines = last - fn.first + 1
			all, open = append(all, fn), open[:n-1]
		}
	}
	for i, t := range f.toks {
		switch {
		case t.Kind == pysource.Indent:
			level++
		case t.Kind == pysource.Dedent:
			level--
		case t.Kind == pysource.Newline || t.Kind == pysource.EOF:
		default:
			if f.begins(i) && !f.is(i-1, ":") {
				end()
			}
			if f.is(i, "def") && !f.is(i-1, ".") {
				open = append(open, pythonFunction{f.text(i + 1), int(t.Line), 0, level})
			}
			last = int(t.Line) + bytes.Count(t.Text(f.src), []byte{'\n'})
		}
	}
	level = 0
	end()
	return all
}
