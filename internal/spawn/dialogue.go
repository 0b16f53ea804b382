package spawn

import (
	"bytes"
	"sync"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// A Dialogue finds the question on the unfinished last line of what a terminal shows, however the
// text is cut into pieces. It does no I/O, and does not know who has written the text.
type Dialogue struct {
	sync.Mutex // for those who share it

	prompts []methods.Prompt
	needles [][]byte // in lower case
	seen    []bool
	line    []byte // lower case, without its beginning if it is long
}

// NewDialogue makes one of a plan's prompts.
func NewDialogue(prompts []methods.Prompt) *Dialogue {
	d := &Dialogue{prompts: prompts, seen: make([]bool, len(prompts))}
	for _, p := range prompts {
		d.needles = append(d.needles, lower(p.Needle))
	}
	return d
}

// Feed takes what was shown.
func (d *Dialogue) Feed(b []byte) {
	if end := bytes.LastIndexByte(b, '\n'); end >= 0 {
		d.line, b = d.line[:0], b[end+1:]
	}
	d.line = append(d.line, lower(b)...)
	if over := len(d.line) - methods.TextLimit; over > 0 {
		d.line = append(d.line[:0], d.line[over:]...)
	}
}

// Asked tells whether the last line is a question.
func (d *Dialogue) Asked() bool { return d.first() >= 0 }

// Answer returns what to type for the question, and takes the question away. It returns a problem
// (one of package connect's What constants) instead for a question without an answer, and for one
// whose answer was typed before. After WhatUnanswered the dialogue can go on.
func (d *Dialogue) Answer() (answer []byte, problem string) {
	i := d.first()
	if i < 0 {
		return nil, ""
	}
	d.line = d.line[:0]
	answer = d.prompts[i].Answer
	if answer == nil {
		return nil, methods.WhatUnanswered
	}
	for j, seen := range d.seen {
		if seen && bytes.Equal(d.prompts[j].Answer, answer) {
			return nil, methods.WhatRepeated
		}
	}
	d.seen[i] = true
	return answer, ""
}

// first finds the first needle in the line: its index, or -1.
func (d *Dialogue) first() int {
	which, first := -1, len(d.line)
	for i, n := range d.needles {
		if at := bytes.Index(d.line, n); at >= 0 && at < first && len(n) > 0 {
			which, first = i, at
		}
	}
	return which
}

// lower is for ASCII only, and so keeps lengths.
func lower(b []byte) []byte {
	b = bytes.Clone(b)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}
