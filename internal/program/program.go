// Package program serves a program that is context 0 together with an engine: docs/protocol,
// section 11. Serve reads what the program sends, makes the engine that the program configures, and
// hands what is for contexts to an engine.Front.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// Protocol is the version of what passes between a program and its engine.
const Protocol = 1

// Dial gets contexts that a daemon keeps.
type Dial = engine.Dial

// Options of Serve.
type Options struct {
	Version string // of this program, which the other one is told

	// Daemon returns what reaches the user's daemon, and starts one where there is none. prompt may
	// be nil. Nil: programs can't have contexts of a daemon.
	Daemon func(prompt connect.PromptFunc, heartbeat time.Duration) (Dial, error)
}

// limits of what the program asks for. It is trusted; they bound what a mistake costs.
var limits = pickle.Limits{}

// session is one program's.
type session struct {
	opt    Options         // static
	ctx    context.Context // ended with the program
	stream *stream.Stream  // to the program

	// Owned by the goroutine that reads:
	engine *engine.Engine // nil until it is configured
	front  *engine.Front
	path   modules.Path
	err    error // why the program is not served any longer
	parts  wire.Assembler
	left   bool // the engine waits with writing for what follows

	lists inventories

	mu    sync.Mutex // protects following
	asked wire.Handle
	wants map[wire.Handle]chan wire.Frame // what the program was asked, each holds one
}

// Serve serves the program at the other end of conn until it closes that, or ctx ends. It returns
// once no context is left.
// The error is of a program that breaks the protocol.
func Serve(ctx context.Context, conn *net.UnixConn, o Options) error {
	served, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{
		opt: o, ctx: served, stream: stream.New(), parts: wire.Assembler{Limit: wire.MaxMessage},
		asked: wire.FirstEngineHandle, wants: map[wire.Handle]chan wire.Frame{},
	}
	s.stream.Attach(conn)
	s.stream.Release()
	defer context.AfterFunc(ctx, func() { s.stream.Close(nil) })()
	foreign := func(b []byte) { s.fail(fmt.Errorf("got %d bytes that are no frame", len(b))) }
	err := s.stream.Read(conn, foreign, s.take)
	cancel() // nothing is asked any more; what the contexts say last still goes up
	if s.engine != nil {
		err = errors.Join(noEnd(err), s.engine.Close())
	}
	s.stream.Close(nil)
	s.path.Close()
	return errors.Join(s.err, noEnd(err))
}

// noEnd returns err unless it says that the program has gone, which is the usual end.
func noEnd(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, stream.ErrClosed} {
		if errors.Is(err, end) {
			return nil
		}
	}
	if isReset(err) {
		return nil
	}
	return err
}

// fail ends the session because of what the program has sent.
func (s *session) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("serve program: %w", err)
		s.stream.Close(s.err)
	}
}

// take takes a frame of the program's.
func (s *session) take(f *wire.Frame) {
	switch {
	case s.err != nil:
	case f.Src != 0 || f.Auth != 0:
		s.fail(fmt.Errorf("got a frame from %d with authority of %d, want 0 and 0", f.Src, f.Auth))
	case f.Dst == 0:
		s.own(f)
	case s.front == nil:
		s.fail(errors.New("got a frame for a context, want configure first"))
	default:
		s.left = s.front.Take(f, s.stream.Buffered())
		return
	}
	if s.left && !s.stream.Buffered() {
		s.left = false
		s.front.Write()
	}
}

// own takes a frame for the engine, in parts where it is large.
func (s *session) own(f *wire.Frame) {
	whole, done, err := s.parts.Add(*f)
	switch {
	case err != nil:
		s.fail(err)
		return
	case !done:
		return
	}
	switch {
	case whole.Handle == wire.Do && whole.Kind == wire.Data:
		s.do(&whole)
	case whole.Handle == wire.Prepare && whole.Kind == wire.Data && s.front != nil:
		err = s.prepare(whole.Payload)
	case whole.Handle >= wire.FirstEngineHandle:
		s.answered(whole)
	default:
		err = fmt.Errorf("got %v for handle %v", whole.Kind, whole.Handle)
	}
	if err != nil {
		s.fail(err)
	}
}

// prepare takes a PREPARE.
func (s *session) prepare(b []byte) error {
	id, name, text, err := wire.ParsePrepare(b)
	if err == nil {
		s.front.Prepare(id, name, text)
	}
	return err
}

// do takes a DO: a pickle of (name, dict).
func (s *session) do(f *wire.Frame) {
	v, err := pickle.Decode(f.Payload, limits)
	t, ok := v.(pyvalue.Tuple)
	if err != nil || !ok || len(t) != 2 {
		s.fail(errors.Join(errors.New("got a DO that is no pickle of a name and a dict"), err))
		return
	}
	name, _ := t[0].(string)
	op := ops[name]
	switch {
	case name != "configure" && s.front == nil:
		s.fail(fmt.Errorf("got DO %s, want configure first", name))
		return
	case op == nil:
		err = fmt.Errorf("no operation %q", name)
	default:
		err = op(s, f.Reply, f.Payload)
	}
	if err == nil {
		return
	}
	if s.front == nil {
		s.fail(err)
		return
	}
	s.front.Answer(f.Reply, wire.Error, map[string]any{"message": err.Error()})
}

// ops are the operations of DO. The payload is the frame's; an error is the answer.
var ops = map[string]func(s *session, reply wire.Handle, payload []byte) error{
	"configure": (*session).configure,
	"connect":   (*session).connect,
	"close":     (*session).close,
	"kill":      (*session).kill,
	"allow":     (*session).allow,
	"inventory": (*session).inventory,
	"stats":     (*session).stats,
}

// arguments reads the dict of a DO into v.
func arguments[T any](payload []byte) (T, error) {
	var v T
	both := []any{}
	if err := pickle.Unmarshal(payload, limits, &both); err != nil {
		return v, err
	}
	b, err := pickle.Append(nil, both[1], pickle.Proto4)
	if err != nil {
		return v, err
	}
	err = pickle.Unmarshal(b, limits, &v)
	return v, err
}

// configuration is the dict of configure.
type configuration struct {
	Protocol   int      `py:"protocol"`
	Own        []string `py:"own"`
	Packages   []string `py:"packages"`
	Serve      []string `py:"serve"`
	Allow      []string `py:"allow"`
	Deny       []string `py:"deny"`
	Heartbeat  float64  `py:"heartbeat"` // seconds; 0: the default, less: none
	MaxMessage int      `py:"max_message"`
	Prompts    bool     `py:"prompts"`
	OwnMitogen bool     `py:"own_mitogen"`
	Daemon     bool     `py:"daemon"`
}

// configure makes the engine. It comes first, once.
func (s *session) configure(reply wire.Handle, payload []byte) error {
	c, err := arguments[configuration](payload)
	switch {
	case err != nil:
		return err
	case s.engine != nil:
		return errors.New("configure came twice")
	}
	for _, dir := range c.Own {
		if err := s.path.Add(dir, true); err != nil {
			return fmt.Errorf("search path: %w", err)
		}
	}
	for _, dir := range c.Packages {
		if err := s.path.AddSite(dir); err != nil {
			return fmt.Errorf("search path: %w", err)
		}
	}
	var own, packages []fs.FS
	for _, e := range s.path.Entries {
		if e.Own {
			own = append(own, e.FS)
		} else {
			packages = append(packages, e.FS)
		}
	}
	o := engine.Options{
		MaxMessage: c.MaxMessage, Heartbeat: seconds(c.Heartbeat), Logger: slog.New(logHandler{s.stream}),
		Modules: engine.ModuleOptions{Path: own, Packages: packages, Serve: c.Serve, Allow: c.Allow,
			Deny: c.Deny, OwnMitogen: c.OwnMitogen},
	}
	if c.Prompts {
		o.Prompt = s.prompt
	}
	if c.Daemon {
		if s.opt.Daemon == nil {
			return errors.New("configure: there is no daemon here")
		}
		if o.Dial, err = s.opt.Daemon(o.Prompt, o.Heartbeat); err != nil {
			return fmt.Errorf("configure: find the daemon: %w", err)
		}
	}
	if s.engine, err = engine.New(o); err != nil {
		return err
	}
	s.front = s.engine.Attach(s.stream)
	s.front.Answer(reply, wire.Data, map[string]any{"protocol": Protocol, "version": s.opt.Version})
	return nil
}

func seconds(f float64) time.Duration {
	return time.Duration(max(min(f, math.MaxInt32), math.MinInt32) * float64(time.Second))
}

// connect makes a context.
func (s *session) connect(reply wire.Handle, payload []byte) error {
	c, err := arguments[connection](payload)
	if err != nil {
		return err
	}
	o := engine.ConnectOptions{Options: c.Options.connect(), LogLevel: slogLevel(c.LogLevel)}
	if c.Inventory != 0 {
		return s.connectHost(reply, c, o)
	}
	s.front.Connect(wire.ContextID(c.ID), wire.ContextID(c.Via), reply, c.Target, o, nil)
	return nil
}

// permission is the dict of allow.
type permission struct {
	From   int `py:"from"`
	To     int `py:"to"`
	Handle int `py:"handle"`
}

// allow lets a context send values to a receiver.
func (s *session) allow(_ wire.Handle, payload []byte) error {
	p, err := arguments[permission](payload)
	if err == nil {
		s.front.Permit(wire.ContextID(p.From), wire.ContextID(p.To), wire.Handle(p.Handle))
	}
	return err
}

// stats tells what the contexts have cost.
func (s *session) stats(reply wire.Handle, _ []byte) error {
	all := []any{}
	for _, c := range s.engine.Contexts() {
		n := c.Stats()
		all = append(all, map[string]any{
			"id": int(n.ID), "parent": int(n.Parent), "name": n.Name,
			"bytes_down": n.BytesDown, "bytes_up": n.BytesUp, "round_trips": n.RoundTrips,
			"calls": n.Calls, "modules": n.Modules, "module_bytes": n.Compressed,
			"asked": n.Asked, "negative": n.Negative, "connect": n.Hello.Seconds(),
			"pack": (n.Scan + n.Pack).Seconds(),
		})
	}
	s.front.Answer(reply, wire.Data, map[string]any{"contexts": all})
	return nil
}

// ended is the dict of close and kill.
type ended struct {
	ID  int    `py:"id"`
	Why string `py:"why"`
}

// close has a context end in order; LOST says that it has.
func (s *session) close(_ wire.Handle, payload []byte) error {
	c, err := arguments[ended](payload)
	if err == nil {
		s.front.Close(wire.ContextID(c.ID))
	}
	return err
}

// kill ends a context now.
func (s *session) kill(_ wire.Handle, payload []byte) error {
	c, err := arguments[ended](payload)
	if err == nil {
		s.front.Kill(wire.ContextID(c.ID), c.Why)
	}
	return err
}

// prompt has the program answer a question.
func (s *session) prompt(ctx context.Context, p connect.Prompt) (string, error) {
	question := map[string]any{"hop": p.Hop, "kind": p.Kind.String(), "text": p.Text}
	b, err := pickle.Append([]byte{'p'}, question, pickle.Proto4)
	if err != nil {
		return "", err
	}
	f, err := s.want(ctx, b)
	switch {
	case err != nil:
		return "", err
	case f.Kind != wire.Data:
		return "", errors.New("the program doesn't answer: " + string(f.Payload))
	}
	return string(f.Payload), nil
}

// want asks the program, and waits for its answer.
func (s *session) want(ctx context.Context, payload []byte) (wire.Frame, error) {
	answer := make(chan wire.Frame, 1)
	s.mu.Lock()
	s.asked++
	reply := s.asked
	s.wants[reply] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.wants, reply)
		s.mu.Unlock()
	}()
	s.front.Ask(reply, payload)
	select {
	case f := <-answer:
		return f, nil
	case <-ctx.Done():
		return wire.Frame{}, context.Cause(ctx)
	case <-s.ctx.Done():
		return wire.Frame{}, context.Cause(s.ctx)
	}
}

// answered takes an answer of the program's. An answer that comes too late is dropped.
func (s *session) answered(f wire.Frame) {
	s.mu.Lock()
	answer := s.wants[f.Handle]
	delete(s.wants, f.Handle)
	s.mu.Unlock()
	if answer != nil {
		f.Payload = append([]byte(nil), f.Payload...)
		answer <- f
	}
}
