package methods

import "github.com/mitogen-go/mitogen/connect"

// lxd's client is called lxc. A name may have a remote's before it: "lxd:remote:name". Users are
// numbers.
var lxdMethod = inside("lxd", "lxc", "container", checkWord, checkUID, execInstance)

func execInstance(o connect.ProgramOptions, h Hop) []string {
	return words(o.Args, []string{"exec", h.Host, "--mode", "non-interactive"},
		flagged("--user", h.User), []string{"--"})
}
