//go:build darwin || freebsd

package peer

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Own tells whether the other end belongs to our user, or root.
func Own(c *net.UnixConn) bool {
	return check(c, func(fd int) (uint32, error) {
		cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil {
			return 0, err
		}
		return cred.Uid, nil
	}, os.Getuid())
}
