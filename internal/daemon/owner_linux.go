package daemon

import (
	"bytes"
	"fmt"
	"os"
)

// startOf returns the time at which pid started, "" if it has ended. That tells processes apart
// that had the same number.
func startOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 || f[0][0] == 'Z' {
		return ""
	}
	return string(f[19])
}
