// Package peer is for UNIX sockets between processes of one user: who is at the other end, and a
// server that lets in no others.
package peer

import "net"

// check compares the uid that uidOf finds with ours.
func check(c *net.UnixConn, uidOf func(fd int) (uint32, error), ours int) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		uid, err := uidOf(int(fd))
		ok = err == nil && (uid == 0 || int(uid) == ours)
	})
	return err == nil && ok
}
