package confine

import "golang.org/x/sys/unix"

// older are system calls that later machines have only in newer forms.
var older = []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME,
	unix.SYS_UTIMES, unix.SYS_FUTIMESAT}
