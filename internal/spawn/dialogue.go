package spawn

import (
	"bytes"
	"sync"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// A Dialogue finds prompts in what a terminal shows, however it is cut into pieces. It does no I/O.
type Dialogue struct {
	sync.Mutex // for those who share it

	prompts []connect.Prompt
	needles [][]byte // in lower case
	seen    []bool
	rest    []byte // lower case; could be the beginning of a needle
	longest int
}

// NewDialogue makes one of a plan's prompts.
func NewDialogue(prompts []connect.Prompt) *Dialogue {
	d := &Dialogue{prompts: prompts, seen: make([]bool, len(prompts))}
	for _, p := range prompts {
		d.needles = append(d.needles, lower(p.Needle))
		d.longest = max(d.longest, len(p.Needle))
	}
	return d
}

// Feed takes what was shown and returns what to type, a line each, and how the dialogue failed, if it did: after WhatUnanswered it can go
// on, should somebody have an answer after all.
func (d *Dialogue) Feed(b []byte) (answers [][]byte, problem string) {
	text := append(d.rest, lower(b)...)
	for {
		i, end := d.next(text)
		if i < 0 {
			break
		}
		text = text[end:]
		switch {
		case d.prompts[i].Answer == nil:
			d.rest = bytes.Clone(text)
			return answers, connect.WhatUnanswered
		case d.seen[i]:
			return answers, connect.WhatRepeated
		}
		d.seen[i] = true
		answers = append(answers, d.prompts[i].Answer)
	}
	keep := min(len(text), max(0, d.longest-1))
	d.rest = bytes.Clone(text[len(text)-keep:])
	return answers, ""
}

// next finds the first needle in text: its index, and where it ends.
func (d *Dialogue) next(text []byte) (which, end int) {
	which, first := -1, len(text)
	for i, n := range d.needles {
		if at := bytes.Index(text, n); at >= 0 && at < first && len(n) > 0 {
			which, first, end = i, at, at+len(n)
		}
	}
	return which, end
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
