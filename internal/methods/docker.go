package methods

import "github.com/mitogen-go/mitogen/connect"

// docker runs in a container that runs, docker-run in a new one of an image, which is removed at
// the end.
var (
	dockerMethod    = inside("docker", "docker", "container", checkWord, checkUser, execInside)
	dockerRunMethod = inside("docker-run", "docker", "image", checkPath, checkUser, runImage)
)

// execInside are the arguments of docker, and of those that have taken over its interface.
func execInside(o connect.ProgramOptions, h Hop) []string {
	return words(o.Args, []string{"exec", "--interactive"}, o.ExecArgs, flagged("--user", h.User),
		[]string{h.Host})
}

// runImage leaves nothing: neither container nor log.
func runImage(o connect.ProgramOptions, h Hop) []string {
	return words(o.Args, []string{"run", "--interactive", "--rm", "--log-driver", "none",
		"--entrypoint", ""},
		flagged("--user", h.User), []string{h.Host})
}
