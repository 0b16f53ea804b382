package askpass

import "net"

// checkPeer compares the uid that uidOf finds with ours.
func checkPeer(c *net.UnixConn, uidOf func(fd int) (uint32, error), ours int) bool {
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
