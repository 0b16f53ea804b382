package methods

import "github.com/mitogen-go/mitogen/connect"

// buildah runs in a container that is being built.
var buildahMethod = inside("buildah", "buildah", "container", checkWord, checkUser,
	func(o connect.ProgramOptions, h Hop) []string {
		return words(o.Args, []string{"run"}, o.ExecArgs, flagged("--user", h.User),
			[]string{"--", h.Host})
	})
