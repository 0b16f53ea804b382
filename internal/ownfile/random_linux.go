package ownfile

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// fillRandom asks the kernel. It panics if there is no source of chance, as crypto/rand does.
func fillRandom(b []byte) {
	err := error(unix.EINTR)
	for n := 0; err == unix.EINTR; {
		if n, err = unix.Getrandom(b, 0); err == nil && n < len(b) {
			err = unix.EINTR // which a request of this size never meets
		}
	}
	if err == unix.ENOSYS { // before Linux 3.17
		err = randomDevice(b)
	}
	if err != nil {
		panic(fmt.Sprintf("mitogen: get random bytes: %v", err))
	}
}

func randomDevice(b []byte) error {
	f, err := os.Open("/dev/urandom")
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(f, b)
	return err
}
