package methods

import "github.com/mitogen-go/mitogen/connect"

// jail is FreeBSD's, by name or number. The user is one of the jail.
var jailMethod = near(inside("jail", "jexec", "jail", checkWord, checkUser,
	func(o connect.ProgramOptions, h Hop) []string {
		return words(o.Args, flagged("-U", h.User), []string{h.Host})
	}))
