package goctx

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxBound bounds the path that a socket is bound to, in bytes. BSDs take 103.
const maxBound = 100

// randomName returns digits for a name that no other process has.
func randomName(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// listenPath listens at a path, where no other account may connect at any moment: the socket gets
// its mode in a directory of its own, and then its name.
func listenPath(path string) ([]net.Listener, error) {
	dir := path[:len(path)-len(filepath.Base(path))] + ".mitogen-" + randomName(4)
	own := dir + "/s"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer unix.Rmdir(dir)
	sock, err := bindBelow(dir)
	if err != nil {
		return nil, err
	}
	defer os.Remove(own)
	if err = os.Chmod(own, 0o600); err == nil {
		if isStale(path) {
			os.Remove(path)
		}
		err = os.Link(own, path)
	}
	if err != nil {
		sock.Close()
		if errors.Is(err, os.ErrExist) {
			err = unix.EADDRINUSE
		}
		return nil, err
	}
	return []net.Listener{sock}, nil
}

// bindBelow listens at s in dir, though an address has no room for what dir adds to the path that
// was asked for.
func bindBelow(dir string) (net.Listener, error) {
	path := dir + "/s"
	if len(path) > maxBound && runtime.GOOS == "linux" {
		d, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		path = fmt.Sprintf("/proc/self/fd/%d/s", d.Fd())
	}
	return listenUnix(path)
}

// listenUnix listens at a path, which stays when the listener is closed.
func listenUnix(path string) (net.Listener, error) {
	sock, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	sock.SetUnlinkOnClose(false)
	return sock, nil
}

// isStale reports whether path is a socket of this account that nothing listens at.
func isStale(path string) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK ||
		int(st.Uid) != os.Getuid() {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// listenPrivate listens in a new directory that no other account can enter.
func listenPrivate() (socks []net.Listener, path, dir string, err error) {
	err = unix.EACCES
	for _, at := range []string{os.Getenv("TMPDIR"), "/tmp", "/var/tmp"} {
		if !filepath.IsAbs(at) {
			continue
		}
		at, failed := filepath.EvalSymlinks(at) // a link may be another account's
		if failed != nil || !keepsNames(at) {
			continue
		}
		dir = filepath.Join(at, "mitogen-agent-"+randomName(8))
		path = dir + "/agent"
		if err = os.Mkdir(dir, 0o700); err != nil {
			continue
		}
		sock := net.Listener(nil)
		if sock, err = listenUnix(path); err == nil {
			if err = os.Chmod(path, 0o600); err == nil {
				return []net.Listener{sock}, path, dir, nil
			}
			sock.Close()
		}
		os.Remove(path)
		unix.Rmdir(dir)
	}
	return nil, "", "", err
}

// keepsNames reports whether no account but root can rename what this account makes in dir, or a
// directory above that. dir has no links in it.
func keepsNames(dir string) bool {
	for {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || st.Uid != 0 && int(st.Uid) != os.Getuid() ||
			st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
			return false
		}
		above := filepath.Dir(dir)
		if above == dir {
			return true
		}
		dir = above
	}
}
