package spawn

import (
	"bytes"
	"os"
	"strconv"
)

// beforeHangUp: closing the master is enough.
func beforeHangUp(*os.File) {}

// stopped reads the state behind the name, which may hold anything.
func stopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	return bytes.HasPrefix(rest, []byte(" T")) || bytes.HasPrefix(rest, []byte(" t"))
}
