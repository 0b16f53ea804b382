//go:build darwin || freebsd

package spawn

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// beforeHangUp interrupts the program that asks on the terminal. Closing the master would wait for
// its reader to return.
func beforeHangUp(master *os.File) { master.Write([]byte{3}) }

func stopped(pid int) bool {
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
