//go:build !linux

package testenv

import (
	"os"
	"os/signal"
	"syscall"
)

// ignored returns the signals that this process ignores.
func ignored() []os.Signal {
	var all []os.Signal
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			all = append(all, sig)
		}
	}
	return all
}
