package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// A PlaceError reports a socket that another user could have made, or could listen at. Nothing was
// sent.
type PlaceError struct {
	Path string // the socket, its directory, or the parent of that
	Why  string
}

func (e *PlaceError) Error() string { return fmt.Sprintf("%s %s", e.Path, e.Why) }

// Remedy says what a user can do about it.
func (e *PlaceError) Remedy() string {
	return "remove it or give it back, or set XDG_RUNTIME_DIR to a directory of your own with mode " +
		"0700"
}

// maxDirectory bounds the path of a directory of sockets: a UNIX address has room for 104 bytes on
// some systems, and the longest name of a daemon's socket is 23 bytes long.
const maxDirectory = 80

// Directory returns the directory of this user's sockets. It need not exist.
// docs/protocol/daemon.md, section 9, has the rule, which internal/ansible/plugin/place.py follows
// too. $XDG_RUNTIME_DIR wins, so that its owner is checked instead of being passed over.
func Directory() string {
	uid := os.Getuid()
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mitogen")
	}
	if dir := "/run/user/" + strconv.Itoa(uid); ownAndPrivate(dir, uid) {
		return filepath.Join(dir, "mitogen")
	}
	if home := homeOf(uid); home != "" {
		dir := filepath.Join(home, ".cache", "mitogen")
		if len(dir) <= maxDirectory && canHold(home, uid) {
			return dir
		}
	}
	return "/tmp/mitogen-" + strconv.Itoa(uid)
}

// homeOf returns the home directory of the user, "" if there is none.
func homeOf(uid int) string {
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return home
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return ""
}

func ownAndPrivate(dir string, uid int) bool {
	st, err := os.Lstat(dir)
	return err == nil && st.IsDir() && ownerOf(st) == uid && st.Mode().Perm()&0o077 == 0
}

// canHold tells whether home is the user's, and .cache can be made there or written to.
func canHold(home string, uid int) bool {
	dir := home
	for _, d := range []string{home, filepath.Join(home, ".cache")} {
		st, err := os.Stat(d)
		switch {
		case errors.Is(err, os.ErrNotExist) && d != home:
		case err != nil || !st.IsDir() || ownerOf(st) != uid || othersWrite(st):
			return false
		default:
			dir = d
		}
	}
	const writeAndSearch = 2 | 1
	return syscall.Access(dir, writeAndSearch) == nil
}

func ownerOf(st os.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}

// othersWrite tells whether other users can remove what is in a directory.
func othersWrite(st os.FileInfo) bool {
	return st.Mode().Perm()&0o022 != 0 && st.Mode()&os.ModeSticky == 0
}

// CheckDirectory returns a *PlaceError unless only this user can make sockets in dir. dir must be a
// directory and no link, be owned by this user, and give no permission to other users. Its parent
// could have dir replaced. So the parent must be owned by this user or root, and be sticky or not
// writable by other users. A dir that doesn't exist is os.ErrNotExist.
func CheckDirectory(dir string) error {
	uid := os.Getuid()
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case !st.IsDir():
		return &PlaceError{dir, "is no directory"}
	case ownerOf(st) != uid:
		return &PlaceError{dir, fmt.Sprintf("belongs to user %d, and not to %d", ownerOf(st), uid)}
	case st.Mode().Perm()&0o077 != 0:
		return &PlaceError{dir, fmt.Sprintf("is open to others (mode %04o): chmod 700 it",
			st.Mode().Perm())}
	}
	return checkParent(filepath.Dir(dir), uid)
}

func checkParent(dir string, uid int) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	switch owner := ownerOf(st); {
	case owner != uid && owner != 0:
		return &PlaceError{dir, fmt.Sprintf("belongs to user %d, and not to %d", owner, uid)}
	case othersWrite(st):
		return &PlaceError{dir, fmt.Sprintf("can be written by others (mode %04o)", st.Mode().Perm())}
	}
	return nil
}

// Lasting tells whether no other user can make dir, or its parent, if it is gone, as one could in
// /tmp.
func Lasting(dir string) bool {
	for range 2 {
		dir = filepath.Dir(dir)
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm()&0o022 != 0 {
			return false
		}
	}
	return true
}

// MakeDirectory makes a directory for sockets, unless it is there, and checks it. Parents that it
// makes are private too.
func MakeDirectory(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return CheckDirectory(dir)
}

// Listen makes a socket that only this user may connect to, whatever the umask is. Its directory is
// to be private: for a moment the socket has the umask's mode.
func Listen(socket string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to a socket of this user's. It returns a *PlaceError, and has sent nothing, if
// another user could have made the socket or listens there. Missing tells whether nothing listens.
func Dial(socket string) (*net.UnixConn, error) {
	if err := CheckLength(socket); err != nil {
		return nil, err
	}
	if err := CheckDirectory(filepath.Dir(socket)); err != nil {
		return nil, err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if !Own(c) {
		c.Close()
		return nil, &PlaceError{socket, "is served by another user"}
	}
	return c, nil
}

// CheckLength returns an error for a path that is too long for a UNIX address.
func CheckLength(socket string) error {
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1; len(socket) > most {
		return fmt.Errorf("path of socket has %d bytes, want at most %d: set XDG_RUNTIME_DIR to a "+
			"shorter directory, or name another "+
			"with --socket: %s", len(socket), most, socket)
	}
	return nil
}

// Missing tells whether an error of Dial says that nothing listens there.
func Missing(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
}
