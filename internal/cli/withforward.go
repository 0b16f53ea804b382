package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshargs"
)

// withForwards are the forwardings of one `mitogen with`.
type withForwards struct {
	mu      sync.Mutex // protects following
	running map[string]*running
}

// running is a forwarding, which stop ends.
type running struct{ stop func() }

// add notes a forwarding. Of two that are called the same, the later one counts.
func (w *withForwards) add(key string, r *running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == nil {
		w.running = map[string]*running{}
	}
	w.running[key] = r
}

// remove forgets a forwarding, but none that is called the same.
func (w *withForwards) remove(key string, r *running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[key] == r {
		delete(w.running, key)
	}
}

// find returns a forwarding, or nil.
func (w *withForwards) find(key string) *running {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[key]
}

// forwardKey names a forwarding.
func forwardKey(target string, f muxserve.Forward) string {
	return fmt.Sprintf("%s\n%c\n%s\n%s", target, f.Kind, f.Listen, f.To)
}

// Dial is muxserve.Backend's.
func (b *withBackend) Dial(ctx context.Context, target, address string) (muxserve.Conn, error) {
	h, _, err := b.find(target)
	if err != nil {
		return nil, err
	}
	conn, err := h.dial(ctx, networkOf(address), address)
	if err != nil {
		return nil, err
	}
	return conn.(muxserve.Conn), nil
}

// dial connects from the target, which is connected again if it was lost.
func (h *withHost) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.start(ctx)
	if err != nil {
		return nil, err
	}
	return c.Dial(ctx, network, address)
}

// networkOf returns the network of an address: a path, or HOST:PORT.
func networkOf(address string) string {
	if strings.HasPrefix(address, "/") {
		return "unix"
	}
	return "tcp"
}

// addressOf makes an address of a text. Without a host, it is loopback.
func addressOf(text string) portforward.Address {
	host, port, err := net.SplitHostPort(text)
	if err == nil && host == "" && networkOf(text) == "tcp" {
		text = net.JoinHostPort("localhost", port)
	}
	return portforward.Address{Network: networkOf(text), Text: text}
}

// Forward is muxserve.Forwarder's.
func (b *withBackend) Forward(
	ctx context.Context,
	target string,
	f muxserve.Forward,
	ended func(error),
) (port int, stop func(), err error) {
	h, _, err := b.find(target)
	if err != nil {
		return 0, nil, err
	}
	c, err := h.start(ctx)
	if err != nil {
		return 0, nil, err
	}
	spec := portforward.Spec{Kind: f.Kind, Listen: addressOf(f.Listen)}
	if f.To != "" {
		spec.To = addressOf(f.To)
	}
	server := &portforward.Server{}
	if spec.Kind != portforward.Remote {
		server.Dial = h.dial
	}
	port, end, err := b.serveForward(ctx, h, c, spec, server, ended)
	if err != nil {
		return 0, nil, err
	}
	key, r := forwardKey(target, f), &running{}
	r.stop = func() {
		end()
		b.forwards.remove(key, r)
	}
	b.forwards.add(key, r)
	return port, r.stop, nil
}

// serveForward listens where spec says, and forwards to what server's Dial or Open returns, or
// without these to where spec says, from this machine. It returns the port that is listened at.
func (b *withBackend) serveForward(
	ctx context.Context,
	h *withHost,
	c *mitogen.Context,
	spec portforward.Spec,
	server *portforward.Server,
	ended func(error),
) (port int, stop func(), err error) {
	w := &forwarder{h: &host{target: h.target, fleet: b.f, context: c}, room: h.room}
	all, err := w.listen(ctx, spec)
	if err != nil {
		return 0, nil, err
	}
	if at, ok := all[0].Addr().(*net.TCPAddr); ok {
		port = at.Port
	}
	usual := w.server(spec)
	server.Spec, server.Room = usual.Spec, usual.Room
	if server.Dial == nil {
		server.Dial = usual.Dial
	}
	server.Tell = func(e portforward.Event) {
		if e.Kind == portforward.Failed {
			b.f.s.ui.say("%s: connect to %s: %s", printable.Name(e.From), printable.Name(e.To),
				printable.Line(cause(e.Err).Error()))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	for _, l := range all {
		serving.Go(func() {
			err := server.Serve(ctx, l)
			if lost := c.Err(); spec.Kind == portforward.Remote && lost != nil {
				err = lost
			}
			if err != nil && ctx.Err() == nil {
				ended(err)
			}
		})
	}
	return port, func() {
		cancel()
		serving.Wait()
	}, nil
}

// Cancel is muxserve.Forwarder's.
func (b *withBackend) Cancel(target string, f muxserve.Forward) error {
	r := b.forwards.find(forwardKey(target, f))
	if r == nil {
		return errors.New("no such forwarding")
	}
	r.stop()
	return nil
}

func (n named) target(given string) string {
	if n.name != "" {
		return n.name
	}
	return given
}

func (n named) Dial(ctx context.Context, target, address string) (muxserve.Conn, error) {
	return n.withBackend.Dial(ctx, n.target(target), address)
}

func (n named) Forward(
	ctx context.Context,
	target string,
	f muxserve.Forward,
	ended func(error),
) (int, func(), error) {
	return n.withBackend.Forward(ctx, n.target(target), f, ended)
}

func (n named) Cancel(target string, f muxserve.Forward) error {
	return n.withBackend.Cancel(n.target(target), f)
}

// forwardByTree asks for what the options -L, -R and -D of ssh say.
func forwardByTree(m *muxserve.Client, all []sshargs.Forward) error {
	for _, f := range all {
		spec, err := portforward.Parse(f.Kind, f.Value)
		if err != nil {
			return fmt.Errorf("-%c %w", f.Kind, err)
		}
		ask := muxserve.Forward{Kind: f.Kind, Listen: spec.Listen.Text, To: spec.To.Text}
		port, err := m.Forward(ask)
		if err != nil {
			return fmt.Errorf("-%c %s: %w", f.Kind, printable.Line(f.Value), err)
		}
		if port != 0 {
			to := ask.To
			if to == "" {
				to = "SOCKS clients' destinations"
			}
			fmt.Fprintf(os.Stderr, "Allocated port %d for remote forward to %s\r\n",
				port, printable.Name(to))
		}
	}
	return nil
}

// stdioByTree does what ssh -W does.
func stdioByTree(m *muxserve.Client, text string, stdin, stdout *os.File) (int, error) {
	spec, err := portforward.Parse(portforward.Stdio, text)
	if err != nil {
		return 0, fmt.Errorf("-W %w", err)
	}
	host, port := spec.To.Text, 0
	if spec.To.Network == "tcp" {
		var number string
		if host, number, err = net.SplitHostPort(spec.To.Text); err != nil {
			return 0, err
		}
		if port, err = net.LookupPort("tcp", number); err != nil {
			return 0, err
		}
	}
	// mitogen with may not be able to read stdin, and is not to take more of it than goes through.
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	keyboard := term.IsTerminal(int(stdin.Fd()))
	err = m.Connect(host, port, r, stdout, keyboard)
	r.Close()
	if err != nil {
		w.Close()
		return 0, err
	}
	stdout.Close() // which ends with the connection
	go func() {
		feedPipe(w, stdin)
		w.Close()
	}()
	if err := m.Connected(); err != nil {
		return 0, fmt.Errorf("-W %s: %w", printable.Line(text), err)
	}
	return 0, nil
}
