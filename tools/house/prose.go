package main

import (
	"regexp"
	"strings"
)

// comment is a block of lines without their markers.
type comment struct {
	line int // of the first
	text string
}

// riddle matches the beginning of a comment that defines a name by a question.
var riddle = regexp.MustCompile(
	`^(?:\S+\s+){1,3}(?:is|are)\s+(?:what|who|whom|how|where|when|whether|why)\b`)

// absent are words in the place of an actor: engine, hop, context, target, client, server, daemon,
// plugin, user or caller.
var absent = regexp.MustCompile(
	`(?i)\b(?:somebody|someone|nobody|whoever|whomever|others|one\s+that|that\s+of|those\s+which)\b`)

// prose looks at a comment.
func (h *house) prose(file string, c comment) {
	if riddle.MatchString(c.text) {
		h.add("form", file, c.line, shortened(strings.Join(strings.Fields(c.text), " ")))
	}
	for _, at := range absent.FindAllStringIndex(c.text, -1) {
		line := c.line + strings.Count(c.text[:at[0]], "\n")
		h.add("actor", file, line, strings.Join(strings.Fields(c.text[at[0]:at[1]]), " "))
	}
}
