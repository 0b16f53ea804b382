package secret

import "golang.org/x/sys/unix"

// lock keeps b from being swapped. A limit on locked memory may forbid it; nothing depends on it.
func lock(b []byte) { _ = unix.Mlock(b) }
