package methods

import "github.com/mitogen-go/mitogen/connect"

// lxc is the classic one, by lxc-attach; users are numbers.
var lxcMethod = near(inside("lxc", "lxc-attach", "container", checkWord, checkUID,
	func(o connect.ProgramOptions, h Hop) []string {
		return words(o.Args, []string{"--clear-env", "--name", h.Host}, flagged("--uid", h.User),
			[]string{"--"})
	}))
