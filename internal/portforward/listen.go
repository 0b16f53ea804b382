package portforward

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Listen listens at an address of this machine. localhost is loopback of IPv4 and IPv6, * is all.
// For a path see listenPath. The caller closes what is returned.
func Listen(at Address) ([]net.Listener, error) {
	if at.Network == "unix" {
		l, err := listenPath(at.Text)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	host, port, err := net.SplitHostPort(at.Text)
	if err != nil {
		return nil, err
	}
	hosts := map[string][2]string{loopback: {"127.0.0.1", "::1"}, "*": {"0.0.0.0", "::"}}
	both, ok := hosts[host]
	if !ok {
		l, err := net.Listen("tcp", at.Text)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	for tries := 10; ; tries-- {
		all, err := listenBoth(both, port)
		if port != "0" || tries == 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return all, err
		}
	}
}

// listenBoth listens at an address of IPv4 and one of IPv6, at one port. A machine may lack one of
// these.
func listenBoth(hosts [2]string, port string) (all []net.Listener, err error) {
	var missing error
	for i, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, net.JoinHostPort(hosts[i], port))
		switch {
		case err == nil:
			all = append(all, l)
			port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			missing = err
		default:
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, missing
	}
	return all, nil
}

// pathListener removes its socket when it is closed, if that still stands there.
type pathListener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

func (l *pathListener) Close() error {
	err := l.UnixListener.Close()
	if st, failed := os.Lstat(l.path); err == nil && failed == nil && os.SameFile(st, l.made) {
		os.Remove(l.path)
	}
	return err
}

func (l *pathListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// listenPath listens at a path, where only this user may connect at any moment: the socket gets its
// mode in a directory of its own, and then its name. What stands there is an error, unless it is a
// socket of this user that refuses connections.
func listenPath(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".mitogen-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own := filepath.Join(dir, "s")
	at, err := listenBelow(dir, own)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", path, err)
	}
	at.SetUnlinkOnClose(false)
	l := &pathListener{UnixListener: at, path: path}
	err = os.Chmod(own, 0o600)
	if err == nil {
		l.made, err = os.Lstat(own)
	}
	if err == nil {
		removeStale(path)
		err = os.Link(own, path)
	}
	if errors.Is(err, os.ErrExist) {
		err = &net.OpError{Op: "listen", Net: "unix", Addr: l.Addr(), Err: syscall.EADDRINUSE}
	}
	if err != nil {
		at.Close()
		return nil, err
	}
	return l, nil
}

// listenBelow listens at a path in dir, though an address has no room for what dir adds to the path
// that was asked for.
func listenBelow(dir, path string) (*net.UnixListener, error) {
	if len(path) > 100 { // BSDs take 103 bytes
		d, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		path = fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path))
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// removeStale removes a socket of this user that nothing listens at.
func removeStale(path string) {
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != os.ModeSocket {
		return
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Getuid() {
		return
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(path)
	}
}
