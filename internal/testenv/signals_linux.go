package testenv

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ignored returns the signals that this process ignores.
func ignored() []os.Signal {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	var mask uint64
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "SigIgn:\t%x", &mask)
	}
	var all []os.Signal
	for n := range 64 {
		if mask&(1<<n) != 0 {
			all = append(all, syscall.Signal(n+1))
		}
	}
	return all
}
