package mitogen

import (
	"context"
	"net"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// Dial connects to an address that the context's machine can reach, from there. network is "tcp",
// "tcp4", "tcp6" or "unix"; an address is HOST:PORT, whose name is looked up there, or a path that
// begins with /. ctx bounds the connecting, not the connection.
//
// The error has the context's name, and in it, for errors.As, the *net.OpError of the same
// operation on this machine. errors.Is finds its cause by the numbers of this system, whatever the
// other is (syscall.ECONNREFUSED, EHOSTUNREACH, EACCES, ENOENT, …). If a name isn't found, that is
// a *net.DNSError.
//
// The connection has deadlines, and may be used by several goroutines, as connections of package
// net. Write returns when the data is on its way. LocalAddr and RemoteAddr are addresses of the
// context's machine. Like a *net.TCPConn it has CloseWrite, after which the peer's data still
// comes, and SetLinger: with 0, Close resets the connection. A peer's reset is an error of Read
// that matches syscall.ECONNRESET. The connection ends with its context, which has at most 1,024
// at a time.
func (c *Context) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s, err := engine.DialSocket(ctx, c.c, network, address)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Listen listens at the context's machine; Accept returns connections that are made to it there.
// Networks and errors are as for Dial. ctx bounds the wait until it listens.
//
// A host to listen at is an IP address, or * for all of the machine. An empty one, and localhost,
// is loopback alone, of IPv4 and IPv6; net.Listen would take an empty host for all. With port 0 the
// system chooses one, which Addr returns.
//
// A path becomes a socket that only the context's account, and root, can connect to at any moment.
// If the path exists, that is an error, unless it is a socket of the account that refuses
// connections. Close removes it, and so does the end of the context, unless that is killed.
//
// The listener has SetDeadline too. Close doesn't wait for the other machine. Connections that were
// accepted live on after it.
func (c *Context) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := engine.ListenSocket(ctx, c.c, network, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}
