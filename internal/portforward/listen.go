package portforward

import (
	"net"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// Listen listens at an address of this machine. localhost is loopback of IPv4 and IPv6, * is all.
// For a path see peer.ListenPath. The caller closes what is returned.
func Listen(at Address) ([]net.Listener, error) {
	if at.Network == "unix" {
		l, err := peer.ListenPath(at.Text)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	host, port, err := net.SplitHostPort(at.Text)
	if err != nil {
		return nil, err
	}
	if both := peer.Places(host); both != nil {
		return peer.ListenAll(&net.ListenConfig{}, both, port)
	}
	l, err := net.Listen("tcp", at.Text)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}
