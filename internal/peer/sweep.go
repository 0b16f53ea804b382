package peer

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// dirPrefix is followed by digits.
const dirPrefix = "mitogen-"

// sweepAge is how old a directory has to be: in a new one, there may be a socket that nobody listens at yet.
const sweepAge = time.Minute

// sweep removes the directories of servers whose processes were killed.
func sweep(temp string) {
	dirs, err := filepath.Glob(filepath.Join(temp, dirPrefix+"[0-9]*"))
	if err != nil {
		return // the path has a bracket
	}
	for _, dir := range dirs {
		st, err := os.Lstat(dir)
		if err != nil || st.Mode() != os.ModeDir|0o700 || time.Since(st.ModTime()) < sweepAge || !ours(st) {
			continue
		}
		c, err := net.Dial("unix", filepath.Join(dir, socketName))
		switch {
		case err == nil:
			c.Close()
		case errors.Is(err, syscall.ECONNREFUSED):
			os.RemoveAll(dir)
		}
	}
}

func ours(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}
