package methods

import "github.com/mitogen-go/mitogen/connect"

// chroot enters a directory tree. The user is one of the tree.
var chrootMethod = near(inside("chroot", "chroot", "directory", checkDir, checkUser,
	func(o connect.ProgramOptions, h Hop) []string {
		user := []string(nil)
		if h.User != "" {
			user = []string{"--userspec=" + h.User}
		}
		return words(o.Args, user, []string{h.Host})
	}))
