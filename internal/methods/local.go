package methods

import (
	"errors"

	"github.com/mitogen-go/mitogen/connect"
)

// localMethod starts the process directly, on the machine of the engine or hop that carries out the
// plan.
var localMethod = method{
	near:   true,
	direct: true,
	parse: func(_ string, given bool) (Hop, error) {
		if given {
			return Hop{}, errors.New(`"local" takes no arguments`)
		}
		return Hop{Method: "local"}, nil
	},
	format: func(Hop) string { return "local" },
	plan: func(_ Hop, boot []string, _ connect.Options, _ bool) (Plan, error) {
		return Plan{Argv: boot}, nil
	},
}
