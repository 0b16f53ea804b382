//go:build darwin || freebsd

package secret

// wipeEnv does nothing: only root can read the environment that another process was started with
// there, or its own user.
func wipeEnv(string) {}
