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

func newConfined() *confined {
	s := confine.Look()
	return &confined{s.Landlock, s.Seccomp, s.Missing}
}

// line describes it for people.
func (c *confined) line() string {
	switch {
	case c.Landlock == 0:
		return fmt.Sprintf("no: %s; what targets ask for is opened without a restriction by the kernel", c.Missing)
	case !c.Seccomp:
		return fmt.Sprintf("by Landlock %d; no seccomp: %s", c.Landlock, c.Missing)
	}
	return fmt.Sprintf("by Landlock %d and seccomp: what targets ask for is opened below the search path, to read", c.Landlock)
}

// printConfined shows it before the first target.
func (s *state) printConfined(c *confined) {
	if s.opt.json {
		return // it is in each hop's line
	}
	pg := s.ui.page(s.ui.out)
	pg.bold("this machine").end()
	pg.add("  %-12s %s", "confined", c.line()).end()
	pg.print()
}
