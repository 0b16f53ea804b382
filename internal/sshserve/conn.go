package sshserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// conn is a connection that is authenticated.
type conn struct {
	server *Server
	ssh    *ssh.ServerConn
	target string
	jobs   sync.WaitGroup

	forwards map[string]*listening // serveRequests' own
}

// listening is a forwarding that was begun.
type listening struct {
	stop  func()
	ended atomic.Bool // by itself, as its target is lost
}

// serve returns when nothing of the connection is left.
func (c *conn) serve(
	ctx context.Context,
	channels <-chan ssh.NewChannel,
	requests <-chan *ssh.Request,
) {
	ctx, cancel := context.WithCancel(ctx)
	defer c.jobs.Wait()
	defer cancel()
	c.jobs.Go(func() { c.serveRequests(ctx, requests) })
	room := make(chan struct{}, maxChannels)
	for n := range channels {
		select {
		case room <- struct{}{}:
			c.jobs.Go(func() {
				defer func() { <-room }()
				c.channel(ctx, n)
			})
		default:
			n.Reject(ssh.ResourceShortage, fmt.Sprintf("%d channels: want no more", maxChannels))
		}
	}
}

// check asks whether the client's user can be at its target.
func (c *conn) check(ctx context.Context) error {
	return c.server.backend.Check(ctx, c.target, c.ssh.User())
}

// channel serves a channel until its end.
func (c *conn) channel(ctx context.Context, n ssh.NewChannel) {
	switch n.ChannelType() {
	case "session":
		c.session(ctx, n)
	case "direct-tcpip":
		var to struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}
		err := unmarshal(n.ExtraData(), &to)
		if address, wrong := portAddress(to.Host, to.Port, 1); err == nil {
			c.direct(ctx, n, "tcp", address, wrong)
			return
		}
		c.direct(ctx, n, "", "", err)
	case "direct-streamlocal@openssh.com":
		var to struct {
			Path     string
			Reserved string
			Number   uint32
		}
		err := unmarshal(n.ExtraData(), &to)
		if err == nil {
			err = wholePath(to.Path)
		}
		c.direct(ctx, n, "unix", to.Path, err)
	default:
		n.Reject(ssh.UnknownChannelType, "unknown channel type")
	}
}

// unmarshal reads what a client has sent.
func unmarshal(b []byte, to any) error {
	if err := ssh.Unmarshal(b, to); err != nil {
		return errors.New("read request: malformed")
	}
	return nil
}

const maxPort = 65535

func portAddress(host string, port, least uint32) (string, error) {
	if port < least || port > maxPort {
		return "", fmt.Errorf("read request: got port %d, want %d to %d", port, least, maxPort)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

func wholePath(path string) error {
	if path == "" || path[0] != '/' {
		return errors.New("read request: got a relative path, want one that begins with /")
	}
	return nil
}

// direct connects a channel with an address, unless err says what is wrong with that.
func (c *conn) direct(ctx context.Context, n ssh.NewChannel, network, address string, err error) {
	if err == nil {
		err = c.check(ctx)
	}
	var to net.Conn
	if err == nil {
		to, err = c.server.backend.Dial(ctx, c.target, network, address)
	}
	if err != nil {
		n.Reject(ssh.ConnectionFailed, printable.Line(err.Error()))
		return
	}
	ch, requests, err := n.Accept()
	if err != nil {
		to.Close()
		return
	}
	from := newChannelConn(ch, requests, to)
	defer context.AfterFunc(ctx, func() {
		to.Close()
		from.Close()
	})()
	portforward.Join(from, to)
}

// channelConn is a channel as a connection, without deadlines.
type channelConn struct {
	ssh.Channel
	gone  chan struct{} // closed when the client has closed the channel
	other net.Conn      // which ends with it
}

// newChannelConn makes a connection of a channel. When its client has closed the channel, and all
// that came from it has been read, other is closed.
func newChannelConn(ch ssh.Channel, requests <-chan *ssh.Request, other net.Conn) *channelConn {
	c := &channelConn{ch, make(chan struct{}), other}
	go func() {
		ssh.DiscardRequests(requests)
		close(c.gone)
	}()
	return c
}

func (c *channelConn) Read(b []byte) (int, error) {
	n, err := c.Channel.Read(b)
	if err != nil {
		go func() {
			<-c.gone
			c.other.Close()
		}()
	}
	return n, err
}

func (c *channelConn) LocalAddr() net.Addr              { return channelAddr{} }
func (c *channelConn) RemoteAddr() net.Addr             { return channelAddr{} }
func (c *channelConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *channelConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *channelConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// channelAddr is the address of a channel.
type channelAddr struct{}

func (channelAddr) Network() string { return "ssh" }
func (channelAddr) String() string  { return "channel" }

// serveRequests serves the requests that belong to no channel, and ends what they have begun.
func (c *conn) serveRequests(ctx context.Context, requests <-chan *ssh.Request) {
	c.forwards = map[string]*listening{}
	for r := range requests {
		answer, err := c.request(ctx, r)
		if r.WantReply { // a refusal has no room for a reason
			r.Reply(err == nil, answer)
		}
	}
	for _, l := range c.forwards {
		l.stop()
	}
}

// forgetEnded leaves room for forwardings in place of those that have ended.
func (c *conn) forgetEnded() {
	for key, l := range c.forwards {
		if l.ended.Load() {
			delete(c.forwards, key)
			l.stop()
		}
	}
}

// forwardTypes are the requests that begin and end forwardings.
var forwardTypes = []string{"tcpip-forward", "cancel-tcpip-forward",
	"streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"}

// request carries out a request that belongs to no channel.
func (c *conn) request(ctx context.Context, r *ssh.Request) (answer []byte, err error) {
	f := forwarding{conn: c.ssh}
	at := slices.Index(forwardTypes, r.Type)
	switch at {
	case 0, 1:
		err = unmarshal(r.Payload, &f.tcp)
		f.network, f.channel = "tcp", "forwarded-tcpip"
		if err == nil {
			f.address, err = portAddress(localHost(f.tcp.Host), f.tcp.Port, uint32(at))
		}
	case 2, 3:
		var to struct{ Path string }
		err = unmarshal(r.Payload, &to)
		f.network, f.address, f.channel = "unix", to.Path, "forwarded-streamlocal@openssh.com"
		if err == nil {
			err = wholePath(to.Path)
		}
	default:
		return nil, errors.New("unknown request")
	}
	if err != nil {
		return nil, err
	}
	if at%2 == 1 {
		return nil, c.cancel(f)
	}
	return c.listen(ctx, &f)
}

// localHost returns where to listen at for an empty host: at loopback, as with sshd unless it is
// configured otherwise.
func localHost(host string) string {
	if host == "" {
		return "localhost"
	}
	return host
}

// listen begins a forwarding. The answer has the port, if the system has chosen it.
func (c *conn) listen(ctx context.Context, f *forwarding) (answer []byte, err error) {
	c.forgetEnded()
	switch {
	case len(c.forwards) >= maxForwards:
		return nil, fmt.Errorf("%d forwardings: want no more", maxForwards)
	case c.forwards[f.key()] != nil:
		return nil, errors.New("forwarded already")
	}
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	wanted := f.tcp.Port
	ready := make(chan struct{}) // f.tcp.Port is known
	defer close(ready)
	open := func(ctx context.Context, from net.Conn) (net.Conn, error) {
		<-ready
		return f.open(ctx, from)
	}
	l := &listening{}
	ended := func() { l.ended.Store(true) }
	port, stop, err := c.server.backend.Listen(ctx, c.target, f.network, f.address, open, ended)
	if err != nil {
		return nil, err
	}
	l.stop = stop
	if f.network == "tcp" && wanted == 0 {
		f.tcp.Port = uint32(port)
		f.address, _ = portAddress(localHost(f.tcp.Host), f.tcp.Port, 0)
		answer = ssh.Marshal(struct{ Port uint32 }{f.tcp.Port})
	}
	c.forwards[f.key()] = l
	return answer, nil
}

// cancel ends a forwarding.
func (c *conn) cancel(f forwarding) error {
	l := c.forwards[f.key()]
	if l == nil {
		return errors.New("no such forwarding")
	}
	delete(c.forwards, f.key())
	l.stop()
	return nil
}

// forwarding leads connections that are made to a target back to the client.
type forwarding struct {
	conn             ssh.Conn
	network, address string
	channel          string // type of its channels
	tcp              struct {
		Host string // as the client wrote it, which it knows the forwarding by
		Port uint32
	}
}

func (f *forwarding) key() string { return f.network + " " + f.address }

// open opens a channel for a connection.
func (f *forwarding) open(ctx context.Context, from net.Conn) (net.Conn, error) {
	data := ssh.Marshal(struct{ Path, Reserved string }{f.address, ""})
	if f.network == "tcp" {
		origin, port := "127.0.0.1", uint32(0)
		if host, text, err := net.SplitHostPort(from.RemoteAddr().String()); err == nil {
			number, _ := strconv.ParseUint(text, 10, 16)
			origin, port = host, uint32(number)
		}
		data = ssh.Marshal(struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}{f.tcp.Host, f.tcp.Port, origin, port})
	}
	return openChannel(ctx, f.conn, f.channel, data, from)
}

// openChannel has a client open a channel for from. It doesn't wait beyond ctx: a client may answer
// late, such as after what it has asked for itself, or never.
func openChannel(
	ctx context.Context,
	c ssh.Conn,
	kind string,
	data []byte,
	from net.Conn,
) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	opened := make(chan result)
	go func() {
		ch, requests, err := c.OpenChannel(kind, data)
		r := result{err: err}
		if err == nil {
			r.conn = newChannelConn(ch, requests, from)
		}
		select {
		case opened <- r:
		case <-ctx.Done():
			if err == nil {
				ch.Close()
			}
		}
	}()
	select {
	case r := <-opened:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
