package secret

import "golang.org/x/sys/unix"

// Harden keeps other processes of the same user from reading this one's memory and environment, as
// ssh-agent does, and keeps core dumps from being written. Programs that this process starts have
// what they would have without it: executing a program ends the first, and Unlimited the second.
// It is to be called before the first secret is read.
func Harden() {
	limitCores()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
