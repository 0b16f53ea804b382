//go:build darwin || freebsd

package sshconf

import "syscall"

func statusFrom(st *syscall.Stat_t) status {
	return status{dev: int64(st.Dev), ino: int64(st.Ino), size: st.Size, mtime: st.Mtimespec.Nano(), ctime: st.Ctimespec.Nano()}
}
