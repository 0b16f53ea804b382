package methods

import (
	"bytes"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// ssh's farewell is two lines that it prints on stderr when all else has been printed.
const (
	farewellBegin = "Transferred: sent "
	maxFarewell   = 250 // bytes, which it never has
)

var (
	farewell = lazyregexp.New(`^Transferred: sent \d+, received \d+ bytes, in [\d.]+ seconds\r\n` +
		`Bytes per second: sent [\d.]+, received [\d.]+\r\n$`)
	farewellPart = lazyregexp.New(`^Transferred: sent [\d., a-z]*(\r?|\r\n|` +
		`\r\nB[\d., a-zA-Z:]*(\r\n?)?)$`)
)

// BeforeFarewell returns the size of what in text, from a command's stderr by ssh, can't be ssh's
// farewell: what is behind it may be, or its beginning.
func BeforeFarewell(text []byte) int {
	from := max(0, len(text)-maxFarewell)
	if at := bytes.LastIndex(text[from:], []byte(farewellBegin)); at >= 0 &&
		farewellPart.Match(text[from+at:]) {
		return from + at
	}
	for size := min(len(farewellBegin)-1, len(text)); size >= minHeld; size-- {
		if bytes.HasSuffix(text, []byte(farewellBegin[:size])) {
			return len(text) - size
		}
	}
	return len(text)
}

// minHeld is the least length of the farewell's beginning that is held back, in bytes. ssh prints a
// line at once, so a shorter beginning comes alone only if a read has cut it. A program may print
// as much as a question.
const minHeld = len("Transferred:")

// IsFarewell tells whether text is ssh's farewell, whole.
func IsFarewell(text []byte) bool { return farewell.Match(text) }
