package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// Places returns the addresses of IPv4 and IPv6 that localhost, or *, stands for; nil: it is
// another host.
func Places(host string) []netip.Addr {
	switch host {
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	case "*":
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return nil
}

// ListenAll listens at all addresses, at one port.
func ListenAll(how *net.ListenConfig, at []netip.Addr, port string) ([]net.Listener, error) {
	for tries := 10; ; tries-- {
		all, err := listenAll(how, at, port)
		// If the system has chosen the port, the second address may have it taken.
		if port != "0" || tries == 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return all, err
		}
	}
}

// listenAll is ListenAll, tried once. A machine may lack IPv4 or IPv6.
func listenAll(
	how *net.ListenConfig,
	at []netip.Addr,
	port string,
) (all []net.Listener, err error) {
	missing := error(syscall.EADDRNOTAVAIL)
	for _, host := range at {
		network := "tcp6"
		if host.Is4() {
			network = "tcp4"
		}
		l, err := how.Listen(context.Background(), network, net.JoinHostPort(host.String(), port))
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

// ListenPath listens at a path, where only this user may connect at any moment: the socket gets its
// mode in a directory of its own, and then its name. What stands there is an error, unless it is a
// socket of this user that refuses connections.
func ListenPath(path string) (net.Listener, error) {
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
	if len(path) > 100 && runtime.GOOS == "linux" { // BSDs take 103 bytes
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
