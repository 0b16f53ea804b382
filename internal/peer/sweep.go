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

// sweepAge is the least age of a directory that is removed. In a newer one, a server may be about
// to listen.
const sweepAge = time.Minute

// sweep removes the directories of servers whose processes were killed. If other users can rename
// files in temp, it removes nothing: they could have any directory of this user removed.
func sweep(temp string) {
	if checkParent(temp, os.Getuid()) != nil {
		return
	}
	dirs, err := filepath.Glob(filepath.Join(temp, dirPrefix+"[0-9]*"))
	if err != nil {
		return // the path has a bracket
	}
	for _, dir := range dirs {
		st, err := os.Lstat(dir)
		if err != nil || st.Mode() != os.ModeDir|0o700 || time.Since(st.ModTime()) < sweepAge ||
			!ours(st) {
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
