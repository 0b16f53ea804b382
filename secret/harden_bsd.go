//go:build darwin || freebsd

package secret

// Harden keeps core dumps from being written. Programs that this process starts may write them:
// see Unlimited. It is to be called before the first secret is read.
func Harden() { limitCores() }
