//go:build darwin || freebsd

package sshconf

import "syscall"

func statusFrom(st *syscall.Stat_t) status {
	return status{dev: int64(st.Dev), ino: int64(st.Ino), size: st.Size, mtime: st.Mtimespec.Nano(),
		ctime: st.Ctimespec.Nano()}
}

// mountedHere is MNT_LOCAL, of the flags that statfs(2) gives.
const mountedHere = 0x1000

// onDisk tells whether a file, or a directory, is on a file system of this machine.
func onDisk(name string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(name, &st) == nil && st.Flags&mountedHere != 0
}
