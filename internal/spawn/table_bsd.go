//go:build darwin || freebsd

package spawn

import (
	"os"
	"os/exec"
)

// processes returns the process table as it is now.
func processes() table {
	columns := []string{"-A", "-o", "pid=", "-o", "ppid=", "-o", "uid=", "-o", "state=", "-o", "comm="}
	out, err := exec.Command("ps", columns...).Output()
	if err != nil {
		return func(int) (*program, error) { return nil, err }
	}
	return parsePS(string(out), os.Geteuid())
}
