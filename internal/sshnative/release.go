package sshnative

import (
	"context"
	"os/exec"
	"strconv"
	"sync"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A release numbers an OpenSSH, by major and minor; zero if it is unknown.
type release [2]int

// before tells whether a release is older than another one, as an unknown release is.
func (r release) before(major, minor int) bool {
	return r[0] < major || r[0] == major && r[1] < minor
}

var openSSH = lazyregexp.New(`^OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)`)

// readRelease reads what ssh -V says.
func readRelease(text []byte) (r release) {
	if m := openSSH.FindSubmatch(text); m != nil {
		r[0], _ = strconv.Atoi(string(m[1]))
		r[1], _ = strconv.Atoi(string(m[2]))
	}
	return r
}

// releases remembers what ssh programs are, by name of the program.
var releases sync.Map

// releaseOf asks an ssh program for its release. It blocks until the program has ended, at most for
// queryTimeout.
func releaseOf(program string) release {
	if r, known := releases.Load(program); known {
		return r.(release)
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	text, err := exec.CommandContext(ctx, program, "-V").CombinedOutput()
	r := readRelease(text)
	if err == nil {
		releases.Store(program, r)
	}
	return r
}
