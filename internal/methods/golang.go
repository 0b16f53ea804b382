package methods

import "github.com/mitogen-go/mitogen/connect"

// GoMethod is the method of contexts that are Go programs. No target names it.
const GoMethod = "go"

// PlanGo returns the plan that starts a Go program as a context, beside the context or engine that
// carries it out.
func PlanGo(argv []string, opt connect.Options) Plan {
	return Plan{Name: GoMethod, Method: GoMethod, Argv: argv, Timeout: timeout(opt), Near: true}
}
