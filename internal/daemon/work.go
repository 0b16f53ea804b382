package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// For clients that are no engines themselves: one call, run or transfer, in a fork of its own, by
// an engine of its own.

// limits of results.
var limits = pickle.Limits{}

// job is one of these.
type job struct {
	ch    *daemonclient.Channel
	first *daemonclient.Message
	input *input // what the client sends
	eng   *engine.Engine
	c     *engine.Context
}

// input reads what a client sends for a program's stdin. After its first deadline it reads no more.
type input struct {
	*io.PipeReader
	stopped atomic.Bool
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.PipeReader.Read(b)
	if i.stopped.Load() && errors.Is(err, io.ErrClosedPipe) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// SetReadDeadline ends Reads, and what the client still sends is dropped. The zero time is ignored.
func (i *input) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	i.stopped.Store(true)
	return i.Close()
}

// work does what m asks for. The client's end cancels it.
func (s *Server) work(ctx context.Context, conn *net.UnixConn, ch *daemonclient.Channel,
	m *daemonclient.Message) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	j := &job{ch: ch, first: m, input: &input{PipeReader: r}}
	defer r.Close()
	asker := &session{ch: ch, target: m.Target, canAsk: m.Interactive, hasSecrets: m.Secrets,
		origin: m.Origin, hangUp: conn.Close}
	if len(m.Data) > 0 { // the buffer is the channel's
		m.Data = slices.Clone(m.Data)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		err := feed(ch, w, asker)
		w.CloseWithError(err)
	}()
	last := &daemonclient.End{}
	if err := s.do(ctx, j, asker); err != nil {
		last.Error = daemonclient.FailureOf(err)
	}
	ch.Send(&daemonclient.Message{End: last})
	conn.Close()
	r.Close()
	<-done
}

// feed passes on what a client sends, until it goes.
func feed(ch *daemonclient.Channel, w *io.PipeWriter, asker *session) error {
	for {
		m, err := ch.Receive(nil)
		switch {
		case err != nil:
			return errors.New("the client has gone")
		case m.Answer != nil || m.Refuse != "":
			asker.take(m)
		case m.EOF:
			w.Close()
		case len(m.Data) > 0:
			w.Write(m.Data) // an error says that it has no reader
		}
	}
}

func (s *Server) do(ctx context.Context, j *job, asker *session) error {
	m := j.first
	var path modules.Path
	defer path.Close()
	for _, dir := range m.Path {
		dir, err := m.Locate(dir)
		if err != nil {
			return err
		}
		if err := path.Add(dir, true); err != nil {
			return err
		}
	}
	for _, dir := range m.Packages {
		dir, err := m.Locate(dir)
		if err != nil {
			return err
		}
		if err := path.AddSite(dir); err != nil {
			return err
		}
	}
	var own, packages []fs.FS
	for _, e := range path.Entries {
		if e.Own {
			own = append(own, e.FS)
		} else {
			packages = append(packages, e.FS)
		}
	}
	var err error
	j.eng, err = engine.New(engine.Options{Logger: slog.New(&logHandler{ch: j.ch}),
		Dial: s.inside(asker), Audit: s.opt.Audit,
		Modules: engine.ModuleOptions{Path: own, Packages: packages, Serve: m.Serve}})
	if err != nil {
		return err
	}
	defer j.eng.Close()
	stdout, stderr := &streamWriter{j.ch, "stdout"}, &streamWriter{j.ch, "stderr"}
	j.c, err = j.eng.Start(m.Target,
		engine.ConnectOptions{Options: m.Options.Connect(), Stdout: stdout, Stderr: stderr})
	if err != nil {
		return err
	}
	m.Options = nil // it has secrets
	switch m.Op {
	case "connect":
		return j.c.Connected(ctx)
	case "call":
		return j.call(ctx)
	case "put":
		return j.script(ctx, put, []string{"put", m.Name, fmt.Sprint(m.Mode)})
	case "get":
		return j.script(ctx, get, []string{"get", m.Name})
	}
	return j.run(ctx)
}

// inside dials the daemon's own contexts.
func (s *Server) inside(asker *session) engine.Dial {
	return func(ctx context.Context, target string, o connect.Options) (engine.Conn, error) {
		m := &daemonclient.Message{Target: target, Options: daemonclient.OptionsOf(&o),
			Origin: asker.origin}
		if err := s.begin(asker, m); err != nil {
			return nil, err
		}
		t, err := asker.context.Tunnels.Fork(ctx, o.Python)
		if err != nil {
			s.finish(asker)
			return nil, err
		}
		return &borrowed{Tunnel: t, release: func() { s.finish(asker) }}, nil
	}
}

// borrowed is a fork that is given back once.
type borrowed struct {
	*engine.Tunnel
	once    sync.Once
	release func()
}

func (b *borrowed) Close() error {
	err := b.Tunnel.Close()
	b.once.Do(b.release)
	return err
}

func (j *job) call(ctx context.Context) error {
	args := make([]any, len(j.first.Args))
	for i, a := range j.first.Args {
		v, err := jsonvalue.Decode(string(a))
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		args[i] = v
	}
	kwargs := map[string]any{}
	for k, a := range j.first.Kwargs {
		v, err := jsonvalue.Decode(string(a))
		if err != nil {
			return fmt.Errorf("argument %s: %w", k, err)
		}
		kwargs[k] = v
	}
	p := j.c.Calls.Go(ctx, j.first.Function, args, kwargs, true)
	defer p.Leave()
	for {
		b, ok, err := p.Next(ctx)
		if err != nil || !ok {
			return err
		}
		v, err := pickle.Decode(b, p.Limits())
		p.Taken()
		if err != nil {
			return fmt.Errorf("result of %s: %w", j.first.Function, err)
		}
		text, err := jsonvalue.Encode(v)
		if err != nil {
			return fmt.Errorf("result of %s: %w", j.first.Function, err)
		}
		if err := j.ch.Send(&daemonclient.Message{Value: text}); err != nil {
			return err
		}
	}
}

func (j *job) run(ctx context.Context) error {
	m := j.first
	if m.Module == "" && len(m.Argv) == 0 {
		return errors.New("nothing to run: neither argv nor module")
	}
	p := engine.Program{Function: "script", Script: m.Data, Stdin: j.input}
	if m.Module != "" {
		p.Function, p.Module, p.Script = "module", m.Module, nil
		p.Args = []any{m.Module, append([]string{}, m.Argv...)}
	} else {
		p.Args = []any{m.Data, m.Argv[0], m.Argv}
	}
	status, err := j.c.Programs.Run(ctx, p)
	if err != nil {
		return err
	}
	return j.ch.Send(&daemonclient.Message{Status: &status})
}

// script runs a program of ours, whose exit by an exception is an error.
func (j *job) script(ctx context.Context, text string, argv []string) error {
	if j.first.Name == "" {
		return errors.New("no name")
	}
	var said tail
	status, err := j.c.Programs.Run(ctx, engine.Program{Function: "script", Script: []byte(text),
		Args: []any{[]byte(text), argv[0], argv}, Stdin: j.input, Stderr: &said})
	if err == nil && status != 0 {
		err = fmt.Errorf("%s %s: %s", argv[0], j.first.Name, said.line())
	}
	return err
}

// put writes a file beside its place and moves it there, so that no reader sees half of it.
var put = withPaths(`
def fill(f):
    while 1:
        b = os.read(0, 1048576)
        if not b:
            return
        while b:
            b = b[os.write(f, b):]
try:
    replace(getattr(os, 'fsencode', str)(sys.argv[1]), int(sys.argv[2]), fill)
except (OSError, IOError):
    e = sys.exc_info()[1]
    sys.exit(e.strerror or str(e))
`)

// get writes a file to stdout.
var get = withPaths(`
try:
    f = readable(getattr(os, 'fsencode', str)(sys.argv[1]))
    while 1:
        b = os.read(f, 1048576)
        if not b:
            break
        while b:
            b = b[os.write(1, b):]
except (OSError, IOError):
    e = sys.exc_info()[1]
    sys.exit(e.strerror or str(e))
`)

// withPaths puts what changes files before a program.
func withPaths(program string) string {
	paths, ok := boot.Module("_mitogen_paths")
	if !ok {
		panic("the runtime has no module _mitogen_paths")
	}
	return string(paths) + program
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-methods.TextLimit):]
	return len(b), nil
}

func (t *tail) line() string { return printable.Line(string(t.b[:max(0, len(t.b)-1)])) }

// streamWriter sends what is written.
type streamWriter struct {
	ch   *daemonclient.Channel
	name string
}

func (w *streamWriter) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		piece := rest[:min(len(rest), daemonclient.MaxData)]
		if err := w.ch.Send(&daemonclient.Message{Stream: w.name, Data: piece}); err != nil {
			return 0, err
		}
		rest = rest[len(piece):]
	}
	return len(b), nil
}

// logHandler sends records of the context's logging.
type logHandler struct {
	ch     *daemonclient.Channel
	logger string
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	l := &daemonclient.Logged{Level: r.Level.String(), Logger: h.logger, Message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "logger" {
			l.Logger = a.Value.String()
		}
		return true
	})
	if l.Logger == "" && r.Level < slog.LevelWarn {
		return nil // the engine's own, about what it gives
	}
	return h.ch.Send(&daemonclient.Message{Log: l})
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	for _, a := range attrs {
		if a.Key == "logger" {
			n.logger = a.Value.String()
		}
	}
	return &n
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
