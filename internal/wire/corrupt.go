package wire

import (
	"fmt"
	"strings"
)

// What a CorruptError shows at most.
const (
	shownBytes = 64
	shownRuns  = 4
	shownRun   = 80
	leastRun   = 6 // shorter runs of text are chance
)

// CorruptError means that bytes which aren't ours came inside a frame, so that the stream can't be
// used any more.
type CorruptError struct {
	Reason string // what is wrong with the frame
	Near   []byte // bytes around the place where it showed, at most 64
	// runs of printable ASCII in the frame's beginning and end; what came between is likely among them
	Text []string
}

// Error quotes the bytes, so that a terminal can show them.
func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "foreign bytes in a frame: %s, near %+q", e.Reason, e.Near)
	for i, run := range e.Text {
		sep := ", "
		if i == 0 {
			sep = "; text in it: "
		}
		fmt.Fprintf(&b, "%s%+q", sep, run)
	}
	return b.String()
}

// corrupt copies what a CorruptError shows of b, the stream from the frame's magic on; the fault
// shows at b[at:to].
func corrupt(reason string, b []byte, at, to int) error {
	from := max(0, at-shownBytes/2)
	near := b[from:min(len(b), from+shownBytes)]
	return &CorruptError{Reason: reason, Near: append([]byte(nil), near...),
		Text: texts(b[min(to, HeaderSize):to])}
}

// texts returns the longest runs of printable ASCII in b, in their order.
func texts(b []byte) []string {
	var runs []string
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] >= ' ' && b[n] < 0x7f {
			n++
		}
		if n >= leastRun {
			runs = keep(runs, string(b[:min(n, shownRun)]))
		}
		b = b[min(n+1, len(b)):]
	}
	return runs
}

// keep appends run and drops the shortest where there are too many.
func keep(runs []string, run string) []string {
	runs = append(runs, run)
	if len(runs) <= shownRuns {
		return runs
	}
	shortest := 0
	for i, r := range runs {
		if len(r) < len(runs[shortest]) {
			shortest = i
		}
	}
	return append(runs[:shortest], runs[shortest+1:]...)
}
