package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Look returns the restrictions of this system.
func Look() State { return look() }

var look = sync.OnceValue(func() (s State) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0,
		unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		s.Landlock = int(version)
	case unix.ENOSYS, unix.EOPNOTSUPP:
		s.Missing = "the kernel has no Landlock, or it is switched off"
	default:
		s.Missing = "Landlock: " + errno.Error()
	}
	if s.Seccomp = hasSeccomp(); !s.Seccomp && s.Missing == "" {
		s.Missing = "the kernel has no seccomp, or this program has no filter for " + runtime.GOARCH
	}
	return s
})

// handled are the rights that a version of Landlock's interface knows, of which one has only what a
// rule gives.
func handled(version int) *unix.LandlockRulesetAttr {
	a := &unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	for _, more := range []struct {
		since          int
		fs, net, scope uint64
	}{
		{2, unix.LANDLOCK_ACCESS_FS_REFER, 0, 0},
		{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE, 0, 0},
		{4, 0, unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, 0},
		{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, 0, 0},
		{6, 0, 0, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
	} {
		if version >= more.since {
			a.Handled_access_fs |= more.fs
			a.Handled_access_net |= more.net
			a.Scoped |= more.scope
		}
	}
	return a
}

// size returns the size of the attributes that a version knows, in bytes.
func size(version int) uintptr {
	switch {
	case version < 4:
		return unsafe.Sizeof(uint64(0))
	case version < 6:
		return 2 * unsafe.Sizeof(uint64(0))
	}
	return 3 * unsafe.Sizeof(uint64(0))
}

// rules hold a ruleset of Landlock that is ready.
type rules struct{ fd int }

// newRules allows to read below the places.
func newRules(places []string) (rules, error) {
	version := Look().Landlock
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(handled(version))), size(version), 0)
	if errno != 0 {
		return rules{-1}, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	r := rules{int(fd)}
	for _, place := range places {
		if err := r.allow(place); err != nil {
			r.close()
			return rules{-1}, fmt.Errorf("allow %s: %w", place, err)
		}
	}
	return r, nil
}

func (r rules) close() {
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
}

func (r rules) allow(place string) error {
	fd, err := unix.Open(place, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_READ_FILE,
		Parent_fd: int32(fd)}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		rule.Allowed_access |= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd),
		unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("landlock_add_rule", errno)
	}
	return nil
}

// enter restricts the calling thread for ever.
func (r rules) enter() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); errno != 0 {
		return os.NewSyscallError("landlock_restrict_self", errno)
	}
	if !Look().Seccomp {
		return nil
	}
	return filter(0)
}

// Nothing has this process open, make, execute and connect to nothing any more, as far as the
// system can. What is open stays open. It is for processes that start no program: what they would
// start is restricted likewise.
func Nothing() error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0,
		0); errno != 0 {
		return os.NewSyscallError("prctl", errno) // ENOTSUP in programs with C
	}
	var all []error
	if Look().Landlock > 0 {
		all = append(all, nothing())
	}
	if Look().Seccomp {
		all = append(all, filter(unix.SECCOMP_FILTER_FLAG_TSYNC))
	}
	return errors.Join(all...)
}

func nothing() error {
	r, err := newRules(nil)
	if err != nil {
		return err
	}
	defer r.close()
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0,
		0); errno != 0 {
		return os.NewSyscallError("landlock_restrict_self", errno)
	}
	return nil
}
