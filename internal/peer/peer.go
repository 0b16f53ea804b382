// Package peer connects processes of one user by UNIX sockets. It checks the user at the other end,
// and has a server that lets no other user in. It also listens at the paths and ports whose
// connections are forwarded.
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
