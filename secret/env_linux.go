package secret

import (
	"bytes"
	"os"
	"strconv"
)

// Places of the environment that a process was started with in /proc/self/stat, counted from behind
// the name.
const (
	envStart = 47
	envEnd   = 48
)

// wipeEnv wipes a variable of the environment that this process was started with, which other
// processes can read as /proc/PID/environ.
func wipeEnv(name string) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= envEnd {
		return
	}
	start, _ := strconv.ParseInt(string(fields[envStart]), 10, 64)
	end, _ := strconv.ParseInt(string(fields[envEnd]), 10, 64)
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil || start <= 0 || end <= start {
		return
	}
	defer memory.Close()
	block := make([]byte, end-start)
	defer clear(block)
	if _, err := memory.ReadAt(block, start); err != nil {
		return
	}
	at := int64(0)
	for entry := range bytes.SplitSeq(block, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(name+"=")); ok {
			memory.WriteAt(make([]byte, len(value)), start+at+int64(len(entry)-len(value)))
		}
		at += int64(len(entry)) + 1
	}
}
