package goctx

import (
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// listenUnix listens at a path, which stays when the listener is closed.
func listenUnix(path string) (net.Listener, error) {
	sock, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	sock.SetUnlinkOnClose(false)
	return sock, nil
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
		dir = filepath.Join(at, "mitogen-agent-"+ownfile.RandomName())
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
