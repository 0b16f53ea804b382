package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropWords has what goes to fd go nowhere, if that is a file without a name, as Client.start has
// one: it is read until a daemon listens, and would grow as long as the daemon lives.
func dropWords(fd int) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 {
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer null.Close()
	redirect(int(null.Fd()), fd)
}
