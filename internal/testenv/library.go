package testenv

import (
	"fmt"
	"regexp"
	"strconv"
)

var ignoredLine = regexp.MustCompile(`SigIgn:\t[0-9a-f]{16}`)

// WithoutLibrarySignals returns text of /proc/PID/status without signals 32 and 33 among those that
// are ignored. They are the C library's own, whose posix_spawn has the new process ignore them
// where the old one uses them, as make does.
func WithoutLibrarySignals(text string) string {
	return ignoredLine.ReplaceAllStringFunc(text, func(line string) string {
		mask, _ := strconv.ParseUint(line[len("SigIgn:\t"):], 16, 64)
		return fmt.Sprintf("SigIgn:\t%016x", mask&^(3<<31))
	})
}
