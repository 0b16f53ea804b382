package boot

import (
	"fmt"
	"strconv"
	"strings"
)

// Names say what was called what, and where.
type Names struct {
	// of the core's namespace: a name, or the number that is written for it
	Globals    map[string]string
	Attributes map[string]string     // of the runtime's objects
	Parts      map[string][]Part     // of modules
	Functions  map[string][]Function // of sources, in their order
}

// A Part of a module's text was made of one source.
type Part struct {
	Source string
	Lines  []int // of the source, from 1: what each line of the text was made of
}

// A Function is one, or a class, whose head is on a line.
type Function struct {
	Line int
	Name string
}

// frameHead begins a line of a traceback that names a place in the runtime.
const frameHead = `File "<`

// Readable returns text with the places in the runtime that a traceback in it names as they are
// in the sources: the file in python/, the line and the function.
func (n *Names) Readable(text string) string {
	var out strings.Builder
	for {
		before, behind, found := strings.Cut(text, frameHead)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		line, _, _ := strings.Cut(behind, "\n")
		if place := n.frame(line); place != "" {
			out.WriteString(place)
			text = behind[len(line):]
		} else {
			out.WriteString(frameHead)
			text = behind
		}
	}
}

// frame returns the readable form of a frame's line, which is without its head; "" if it is
// none of the runtime's.
func (n *Names) frame(line string) string {
	module, rest, found := strings.Cut(line, `>", line `)
	if !found {
		return ""
	}
	between := ", in "
	if !strings.Contains(rest, between) {
		between = " in " // as package faulthandler writes it
	}
	digits, rest, named := strings.Cut(rest, between)
	number, err := strconv.Atoi(digits)
	source, number := n.place(module, number)
	if err != nil || source == "" {
		return ""
	}
	place := fmt.Sprintf(`File "python/%s", line %d`, source, number)
	if !named {
		return place
	}
	return place + between + n.function(source, number, rest)
}

// place returns the source that a line of a module was made of, and the line there. There is
// none if the module or the line is none of the runtime's.
func (n *Names) place(module string, line int) (source string, number int) {
	for _, p := range n.Parts[module] {
		if line >= 1 && line <= len(p.Lines) {
			return p.Source, p.Lines[line-1]
		}
		line -= len(p.Lines)
	}
	return "", 0
}

// function returns the name of the function around a line, which short was written for.
func (n *Names) function(source string, line int, short string) string {
	name := short
	for _, f := range n.Functions[source] {
		if f.Line > line {
			break
		}
		if n.Globals[f.Name] == short || n.Attributes[f.Name] == short {
			name = f.Name
		}
	}
	return name
}
