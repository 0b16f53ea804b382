package methods

import "github.com/mitogen-go/mitogen/connect"

// nspawn starts a container on a directory tree: no machine has to run there.
var nspawnMethod = near(inside("nspawn", "systemd-nspawn", "directory", checkDir, checkUser,
	func(o connect.ProgramOptions, h Hop) []string {
		return words([]string{"--quiet", "--pipe", "--directory", h.Host}, flagged("--user", h.User),
			o.Args, []string{"--"})
	}))
