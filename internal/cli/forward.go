package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

const forwardUsage = `Forwards TCP connections and UNIX sockets to and from a target, until it is
interrupted or the target is lost. HOST is a name or address as the target's
machine knows it (with -R: as this machine does).

-L, -R, -D and -W are those of ssh. What has a slash is the path of a UNIX
socket, on either side, which only the account that listens can connect to.
Without BIND only the machine that listens can connect, by 127.0.0.1 and ::1; a
BIND of * lets every machine that reaches it. Port 0 has the system choose one.

PORT:PORT is as with kubectl: from the first port, of this machine, to the
second one, of the target's localhost. PORT is both; :PORT has the system choose
the port of this machine.

The addresses that are listened at are printed, once all are there. If one can't
be had, that is an error, and nothing is forwarded. A connection that can't be
made is an error of its own.

The target needs no Python. Where it has none, a copy of this program works
there, which has no name in the file system and ends with the command.

Every user of a machine can connect to its ports of 127.0.0.1. Paths don't have
that fault.

The status is 255 if the target can't be reached, or is lost; 1 if an address
can't be listened at. -W ends with 0 when the other side and standard input do;
if that is a terminal, when the other side does. It ends with 1 if it can't be
connected to, or if it breaks.`

const forwardExamples = `  mitogen forward -t bastion+db1 5432
  mitogen forward -t web1+docker:app 8080:80
  mitogen forward -t web1 -L 5432:db.internal:5432 -D 1080
  mitogen forward -t web1+sudo -L /tmp/docker.sock:/var/run/docker.sock
  mitogen forward -t web1 -R 8000:localhost:8000
  mitogen forward -t web1 -W db.internal:5432`

// forwardFlags name ports and sockets to forward.
type forwardFlags struct {
	local, remote, dynamic []string
	stdio                  string
}

func newForward(s *state) *cobra.Command {
	flags := forwardFlags{}
	cmd := command(s, &cobra.Command{
		Use:     "forward -t TARGET [-L|-R|-D|-W ...] [flags] [[PORT]:PORT...]",
		Short:   "forward ports and UNIX sockets to and from a target",
		Long:    forwardUsage,
		Example: forwardExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		return forward(ctx, s, flags, args)
	})
	f := cmd.Flags()
	f.SetInterspersed(true) // nothing that follows is for a program
	f.StringArrayVarP(&flags.local, "local", "L", nil,
		"listen here, connect there: `[BIND:]PORT:HOST:PORT`, PATH:PATH, or a mixture; repeat")
	f.StringArrayVarP(&flags.remote, "remote", "R", nil,
		"listen there, connect here: `[BIND:]PORT:HOST:PORT`, PATH:PATH; "+
			"[BIND:]PORT alone is a SOCKS proxy; repeat")
	f.StringArrayVarP(&flags.dynamic, "dynamic", "D", nil,
		"be a SOCKS proxy (4, 4a, 5) here, whose connections the target makes: `[BIND:]PORT`; repeat")
	f.StringVarP(&flags.stdio, "stdio", "W", "",
		"connect standard input and output: `HOST:PORT`, or PATH")
	s.opt.addBulk(f)
	s.opt.addFallback(f)
	s.opt.addTargets(cmd)
	return cmd
}

// specs reads the flags and arguments.
func (f *forwardFlags) specs(args []string) (all []portforward.Spec, err error) {
	for _, list := range []struct {
		kind   byte
		values []string
	}{
		{portforward.Local, f.local}, {portforward.Remote, f.remote}, {portforward.Dynamic, f.dynamic},
	} {
		for _, text := range list.values {
			spec, err := portforward.Parse(list.kind, text)
			if err != nil {
				return nil, usagef("-%c %w", list.kind, err)
			}
			all = append(all, spec)
		}
	}
	for _, text := range args {
		spec, err := portforward.ParsePorts(text)
		if err != nil {
			return nil, usagef("%w", err)
		}
		all = append(all, spec)
	}
	return all, nil
}

func forward(ctx context.Context, s *state, flags forwardFlags, args []string) error {
	stdio := flags.stdio
	specs, err := flags.specs(args)
	if err != nil {
		return err
	}
	to := portforward.Spec{}
	switch {
	case stdio != "" && len(specs) > 0:
		return usagef("-W goes with no other forwarding")
	case stdio != "" && s.opt.json:
		return usagef("-W goes with no --json")
	case stdio != "":
		if to, err = portforward.Parse(portforward.Stdio, stdio); err != nil {
			return usagef("-W %w", err)
		}
	case len(specs) == 0:
		return usagef("nothing to forward: give ports, or -L, -R, -D or -W")
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if s.opt.several() {
		return usagef("got %d targets, want one", len(s.opt.spots))
	}
	s.asIs, s.opt.bulk, s.goFallback = true, true, true
	return s.job(ctx, nil, s.printForward, func(ctx context.Context, h *host) error {
		if err := h.connect(h.stderr); err != nil {
			return err
		}
		if _, err := h.context.Info(ctx); err != nil {
			return err
		}
		if stdio != "" {
			return h.stdio(ctx, to.To)
		}
		w := &forwarder{h: h, room: make(chan struct{}, portforward.MaxConnections)}
		return w.run(ctx, specs)
	})
}

func (s *state) printForward(h *host) {
	p := h.problem()
	if p == nil || errors.Is(h.err, s.ui.out.failure()) {
		return
	}
	if op := (*net.OpError)(nil); errors.As(h.err, &op) && p.Kind == "error" {
		p = describeSocket(h.err)
	}
	p.hint = connectHint(h.err)
	if s.opt.json {
		s.ui.json(s.ui.out, forwardEvent{Event: "end", Host: h.target, Error: p}, "")
		return
	}
	s.ui.tell("", p)
}

// connectHint returns the remedy of a failed connect. A lost target needs none.
func connectHint(err error) string {
	if failed := (*connect.Error)(nil); errors.As(err, &failed) {
		return describeConnect(failed).hint
	}
	return ""
}

// stdio connects standard input and output.
func (h *host) stdio(ctx context.Context, to portforward.Address) error {
	c, err := h.context.Dial(ctx, to.Network, to.Text)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, h.fleet.s.stdin)
		closeWrite(c)
		sent <- err
	}()
	if _, err = io.Copy(h.stdout, c); err != nil || isTerminal(h.fleet.s.stdin) {
		return err
	}
	h.fleet.s.ui.out.close() // its reader may wait for that before it ends standard input
	select {
	case err = <-sent:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// forwardEvent is a line of --json.
type forwardEvent struct {
	Event    string   `json:"event"` // listening, opened, failed, closed, end
	Host     string   `json:"host"`
	Forward  string   `json:"forward,omitempty"`  // the letter of ssh's option
	ID       uint64   `json:"id,omitempty"`       // of the connection
	At       string   `json:"at,omitempty"`       // of listening: the address
	From     string   `json:"from,omitempty"`     // the client's address
	To       string   `json:"to,omitempty"`       // missing: where a SOCKS client says
	Sent     *int64   `json:"sent,omitempty"`     // of closed: bytes from the client
	Received *int64   `json:"received,omitempty"` // of closed: bytes to the client
	Error    *problem `json:"error,omitempty"`
}

// forwarder carries out what one target is to forward.
type forwarder struct {
	h    *host
	room chan struct{} // of all connections
	stop context.CancelCauseFunc
}

// written ends all if standard output can't be written: who reads it isn't told of more.
func (w *forwarder) written() {
	if err := w.h.fleet.s.ui.out.failure(); err != nil {
		w.stop(err)
	}
}

// place has the listeners of a spec.
type place struct {
	spec      portforward.Spec
	listeners []net.Listener
}

// run listens everywhere, and forwards until ctx ends, a listener fails, or the target is lost.
func (w *forwarder) run(ctx context.Context, specs []portforward.Spec) error {
	var places []place
	defer func() {
		for _, p := range places {
			for _, l := range p.listeners {
				l.Close()
			}
		}
	}()
	for _, spec := range specs {
		all, err := w.listen(ctx, spec)
		if err != nil {
			return err
		}
		places = append(places, place{spec, all})
	}
	ctx, w.stop = context.WithCancelCause(ctx)
	defer w.stop(nil)
	var serving sync.WaitGroup
	for _, p := range places { // all are told before the first connection
		w.listening(p)
	}
	for _, p := range places {
		server := w.server(p.spec)
		for _, l := range p.listeners {
			serving.Go(func() {
				if err := server.Serve(ctx, l); err != nil {
					w.stop(err)
				}
			})
		}
	}
	select {
	case <-w.h.context.Done():
		w.stop(w.h.context.Err())
	case <-ctx.Done():
	}
	serving.Wait()
	if err := w.h.context.Err(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// listen listens at one place.
func (w *forwarder) listen(ctx context.Context, spec portforward.Spec) ([]net.Listener, error) {
	if spec.Kind != portforward.Remote {
		all, err := portforward.Listen(spec.Listen)
		if err != nil {
			return nil, &listenError{spec.Listen.Text, err}
		}
		return all, nil
	}
	l, err := w.h.context.Listen(ctx, spec.Listen.Network, spec.Listen.Text)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// listenError is a place here that can't be listened at.
type listenError struct {
	at  string
	err error
}

func (e *listenError) Error() string { return "listen at " + e.at + ": " + cause(e.err).Error() }
func (e *listenError) Unwrap() error { return e.err }

// cause returns the innermost error of err.
func cause(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// server forwards the connections of a place.
func (w *forwarder) server(spec portforward.Spec) *portforward.Server {
	s := &portforward.Server{Spec: spec, Room: w.room, Dial: w.h.context.Dial}
	if spec.Kind == portforward.Remote {
		s.Dial = (&net.Dialer{}).DialContext
	}
	s.Tell = func(e portforward.Event) { w.tell(spec, e) }
	return s
}

// listening tells of a place, by its first address.
func (w *forwarder) listening(p place) {
	defer w.written()
	at, s := p.listeners[0].Addr().String(), w.h.fleet.s
	if s.opt.json {
		s.ui.json(s.ui.out, forwardEvent{
			Event: "listening", Host: w.h.target, Forward: string(p.spec.Kind), At: at, To: p.spec.To.Text,
		}, "")
		return
	}
	to := p.spec.To.Text
	if p.spec.SOCKS() {
		to = "SOCKS proxy"
	}
	there, here := "", " there"
	if p.spec.Kind == portforward.Remote {
		there, here = " there", " here"
	}
	s.ui.page(s.ui.out).add("listening%s at %s: %s%s", there, at, to, here).end().print()
}

// tell tells of a connection.
func (w *forwarder) tell(spec portforward.Spec, e portforward.Event) {
	s := w.h.fleet.s
	if s.opt.json {
		line := forwardEvent{Event: string(e.Kind), Host: w.h.target, Forward: string(spec.Kind),
			ID: e.ID, From: e.From, To: e.To}
		if e.Kind == portforward.Closed {
			line.Sent, line.Received = &e.Sent, &e.Received
		}
		if e.Err != nil {
			line.Error = describeSocket(e.Err)
		}
		s.ui.json(s.ui.out, line, "")
		w.written()
		return
	}
	name, to := printable.Name(e.From), printable.Name(e.To)
	switch {
	case e.Kind == portforward.Failed && e.To == "":
		s.ui.say("%s: %s", name, printable.Line(e.Err.Error()))
	case e.Kind == portforward.Failed:
		s.ui.say("%s: connect to %s: %s", name, to, printable.Line(cause(e.Err).Error()))
	case s.opt.verbose == 0:
	case e.Kind == portforward.Opened:
		s.ui.say("%s: connected to %s", name, to)
	default:
		s.ui.say("%s: closed; %d bytes sent, %d received", name, e.Sent, e.Received)
	}
}

// socketKinds name what can be wrong with a connection or listener, in JSON.
var socketKinds = []struct {
	err  error
	name string
}{
	{syscall.ECONNREFUSED, "refused"},
	{syscall.ECONNRESET, "reset"},
	{syscall.EPIPE, "reset"},
	{syscall.EHOSTUNREACH, "unreachable"},
	{syscall.ENETUNREACH, "unreachable"},
	{syscall.ETIMEDOUT, "timeout"},
	{context.DeadlineExceeded, "timeout"},
	{syscall.EACCES, "permission"},
	{syscall.EPERM, "permission"},
	{syscall.ENOENT, "not-found"},
	{syscall.EADDRINUSE, "in-use"},
	{syscall.EADDRNOTAVAIL, "no-such-address"},
	{syscall.EMFILE, "too-many"},
	{syscall.ENFILE, "too-many"},
}

// describeSocket says what is wrong with a connection or listener.
func describeSocket(err error) *problem {
	p := &problem{Kind: "error", Message: printable.Line(err.Error()), status: exitFailed}
	unknown := (*net.DNSError)(nil)
	if errors.As(err, &unknown) {
		p.Kind = "unknown-host"
		return p
	}
	for _, k := range socketKinds {
		if errors.Is(err, k.err) {
			p.Kind = k.name
			return p
		}
	}
	if lost := (*report.LostError)(nil); errors.As(err, &lost) {
		p.Kind = "lost"
	}
	return p
}
