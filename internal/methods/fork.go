package methods

import (
	"errors"

	"github.com/mitogen-go/mitogen/connect"
)

// fork is local for those who want it faster: a copy of the hop's interpreter, which is started,
// instead of a new one. The engine gives it a hop of its own, which runs nothing; without a hop
// before it, it is local.
var forkMethod = method{
	near:   true,
	direct: true,
	parse: func(_ string, given bool) (Hop, error) {
		if given {
			return Hop{}, errors.New(`"fork" takes no arguments`)
		}
		return Hop{Method: "fork"}, nil
	},
	format: func(Hop) string { return "fork" },
	plan: func(_ Hop, boot []string, _ connect.Options, _ bool) (Plan, error) {
		return Plan{Argv: boot, Fork: true}, nil
	},
}
