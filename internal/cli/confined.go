package cli

import (
	"fmt"

	"github.com/mitogen-go/mitogen/internal/confine"
)

// confined says what restricts this program on this machine, as doctor shows it.
type confined struct {
	Landlock int    `json:"landlock"` // version of the kernel's interface; 0: none
	Seccomp  bool   `json:"seccomp"`
	Missing  string `json:"missing,omitempty"`
}

// unconfined has what the kernel doesn't restrict, whatever it could, and why: the rows of the last
// table in docs/security.md, "What the kernel restricts".
var unconfined = []struct{ what, why string }{
	{"the engine or the daemon as a whole, by Landlock",
		"ssh, podman and others, which they start, would inherit it, and need the whole file system"},
	{"the same, but for what ssh needs",
		"Landlock takes no_new_privs, under which sudo, su and doas refuse to run"},
	{"the engine, with another process that starts programs for it and passes it their streams; " +
		"parsers in another process than secrets",
		"each connect and each command would pay for that process"},
	{"the threads that read frames and decode values",
		"handing over to them would take longer than a local call"},
	{"the daemon alone, with local, sudo and exec: left to its clients",
		"it has to start what outlives its clients"},
}

func newConfined() *confined {
	s := confine.Look()
	return &confined{s.Landlock, s.Seccomp, s.Missing}
}

// line describes it for people.
func (c *confined) line() string {
	switch {
	case c.Landlock == 0:
		return fmt.Sprintf("no: %s; what targets ask for is opened without a restriction by the kernel",
			c.Missing)
	case !c.Seccomp:
		return fmt.Sprintf("by Landlock %d; no seccomp: %s", c.Landlock, c.Missing)
	}
	return fmt.Sprintf("by Landlock %d and seccomp: what targets ask for is opened below the search "+
		"path, to read", c.Landlock)
}

// printConfined shows it before the first target.
func (s *state) printConfined(c *confined) {
	if s.opt.json {
		return // it is in each hop's line
	}
	pg := s.ui.page(s.ui.out)
	pg.bold("this machine").end()
	pg.add("  %-12s %s", "confined", c.line()).end()
	for _, u := range unconfined {
		pg.add("  %-12s %s: %s", "not confined", u.what, u.why).end()
	}
	pg.print()
}
