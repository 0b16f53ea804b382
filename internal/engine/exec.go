package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/spawn"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Command is documented at mitogen.Command.
type Command struct {
	Args           []string
	Env            map[string]string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	WaitDelay      time.Duration
	Agent          string
}

// Exec runs cmd at a target of one hop, without Python: direct is false where the target has more,
// or cmd takes a context.
func (e *Engine) Exec(ctx context.Context, target string, o ConnectOptions,
	cmd Command) (status int, direct bool, err error) {
	hops, err := methods.ParseTarget(target)
	if err != nil || len(hops) != 1 || cmd.Agent != "" {
		return noStatus, false, err
	}
	prompt, secrets := e.dialogues.concealed(e.dialogues.prompts(o)), e.dialogues.sources(o)
	o.Interactive, o.Sourced = prompt != nil, secrets != nil
	ctx = withSecrets(withPrompt(ctx, prompt), secrets, target)
	if o.Options, err = methods.ForHop(o.Options, "", hops, 0); err != nil {
		return noStatus, false, fmt.Errorf("exec at %s: %w", target, err)
	}
	plan, err := hops[0].Plan(cmd.argv(), o.Options, true)
	if err != nil {
		return noStatus, false, fmt.Errorf("exec at %s: %w", target, err)
	}
	if plan.Wait || plan.Line != nil { // its stdin is a terminal: not for bytes
		return noStatus, false, nil
	}
	told, err := e.audit.exec(ctx, hops[0], plan, o.SSH, cmd)
	if err != nil {
		return noStatus, true, err
	}
	if plan.Method == "ssh" {
		o.Origin.settle(&plan)
	}
	e.dialogues.conceal(plan, o.SSH)
	status, err = e.starts.execWithin(ctx, target, plan, cmd, o.SSH)
	err = e.dialogues.hide(err)
	told(max(status, 0), err)
	return status, true, err
}

// execWithin is exec that ends with ctx, and with the engine, also where a writer of cmd's blocks.
func (s *starts) execWithin(ctx context.Context, target string, plan methods.Plan, cmd Command,
	ssh connect.SSHOptions) (int, error) {
	e := s.e
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.work.base, cancel)()
	// The process has some time to end before late does.
	late, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	patience := outputPatience
	if cmd.Stdin != nil { // a Read in progress is waited for, too
		patience += cmp.Or(cmd.WaitDelay, e.opt.Grace)
	}
	defer context.AfterFunc(within, func() { time.AfterFunc(patience, giveUp) })()
	var running atomic.Bool
	e.mu.Lock()
	if e.tree.closed { // and waits for drains
		e.mu.Unlock()
		return noStatus, fmt.Errorf("exec at %s: %w", target, ErrClosed)
	}
	e.work.drains.Add(1)
	e.mu.Unlock()
	status, err := aside.Do(late, nil, func() (int, error) {
		defer e.work.drains.Done()
		return s.exec(within, target, plan, cmd, ssh, &running)
	})
	switch {
	case within.Err() == nil:
		return status, err
	case ctx.Err() == nil:
		return noStatus, fmt.Errorf("exec at %s: %w", target, ErrClosed)
	case running.Load() && errors.Is(err, ErrStdinInUse):
		return noStatus, joined(givenUp(ctx, "exec at "+target), ErrStdinInUse)
	case running.Load():
		return noStatus, givenUp(ctx, "exec at "+target)
	}
	gone := connectGivenUp(ctx, target)
	gone.Phase = connect.PhaseLogin
	return noStatus, gone
}

// argv has a shell say on both streams that it is there, so that noise and questions before it are
// told apart, and become the command.
func (c Command) argv() []string {
	script, args := "", []string{}
	if c.Dir != "" {
		script, args = `cd "$1"||exit 126;shift;`, append(args, c.Dir)
	}
	script += "{ " + boot.EchoEC0 + "; }>&2;" + boot.EchoEC0 + ";"
	if len(c.Env) > 0 {
		script += `exec env "$@"`
		for _, k := range slices.Sorted(maps.Keys(c.Env)) {
			args = append(args, k+"="+c.Env[k])
		}
	} else {
		script += `exec "$@"`
	}
	return append(append([]string{"sh", "-c", script, "sh"}, args...), c.Args...)
}

// exec carries out a plan for cmd, and sets running when cmd is about to.
func (s *starts) exec(ctx context.Context, target string, plan methods.Plan, cmd Command,
	ssh connect.SSHOptions,
	running *atomic.Bool) (int, error) {
	e := s.e
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	ans, err := e.dialogues.answer(ctx, &plan, ssh)
	if err != nil {
		return noStatus, err
	}
	defer ans.release()
	said := &gateWriter{w: e.writers.Sink(target, report.WriteStderr, cmd.Stderr, failed)}
	p, err := spawn.Start(ctx, plan, spawn.Options{Stderr: said, Busy: ans.busy, Background: true})
	if err != nil {
		return noStatus, err
	}
	defer p.Close()
	ans.begin(p)
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	rest, ok := untilEC0(p.Stdout, p.Note)
	if !ok {
		p.Wait()
		err := methods.Classify(plan.Method, ans.amend(p.Failure()))
		err.Hop = plan.Name
		return noStatus, err
	}
	p.Connected()
	running.Store(true)
	ans.forget()
	in := feedPipe(ctx, p.Stdin, cmd.Stdin,
		func(err error) { failed(&report.StreamError{Context: target, Op: report.ReadStdin, Err: err}) })
	out := e.writers.Sink(target, report.WriteStdout, cmd.Stdout, failed)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		copyOutput(out, rest, p.Stdout)
	}()
	status := p.Wait()
	said.end()
	// something in the background may have the pipe
	p.Stdout.SetReadDeadline(time.Now().Add(outputPatience))
	select {
	case <-copied:
	case <-ctx.Done():
	}
	p.Stdin.Close() // a Write may wait for it
	inUse := in.Stop(cmp.Or(cmd.WaitDelay, e.opt.Grace))
	if failure := streamFailure(ctx, nil); failure != nil {
		return noStatus, joined(failure, inUse)
	}
	if ctx.Err() != nil {
		return noStatus, joined(context.Cause(ctx), inUse)
	}
	if status < 0 {
		status = 128 - status
	}
	if inUse != nil {
		return status, fmt.Errorf("exec at %s: %w", target, inUse)
	}
	return status, nil
}

// What an ended process has written is in its pipe, which holds at most maxPipe bytes. If a slow
// Writer has kept it there, each Read has lastRead to find some.
const (
	maxPipe  = 1 << 20
	lastRead = 50 * time.Millisecond
)

// copyOutput writes rest, and then what r has, until r's end, or its deadline and then no more.
func copyOutput(out io.Writer, rest []byte, r *os.File) {
	_, err := io.Copy(out, io.MultiReader(bytes.NewReader(rest), r))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		io.Copy(out, io.LimitReader(present{r}, maxPipe))
	}
}

// present reads what is in a file by now.
type present struct{ file *os.File }

func (p present) Read(b []byte) (int, error) {
	p.file.SetReadDeadline(time.Now().Add(lastRead))
	return p.file.Read(b)
}

// feedPipe passes r on to w, which it closes at r's end. After an error of r, for failed, the
// process is to be killed while w is open.
func feedPipe(ctx context.Context, w io.WriteCloser, r io.Reader,
	failed func(error)) *stdio.Feeder {
	if r == nil {
		w.Close()
	}
	return stdio.Feed(ctx, r, func(_ context.Context, b []byte) error {
		if b == nil {
			return w.Close()
		}
		_, err := w.Write(b)
		return err
	}, failed)
}

// untilEC0 reads up to EC0 and returns what came behind its line. What came before is noise.
func untilEC0(r io.Reader, noise func([]byte)) (rest []byte, ok bool) {
	var gate boot.Gate
	buf := make([]byte, 4096)
	for total := 0; total < wire.MaxNoise; {
		n, err := r.Read(buf)
		total += n
		before, behind := gate.Feed(buf[:n])
		noise(before)
		if gate.Open {
			return behind, true
		}
		if err != nil {
			break
		}
	}
	noise(gate.Rest())
	return nil, false
}

// gateWriter throws away what comes up to EC0. One goroutine uses it.
type gateWriter struct {
	w    io.Writer
	gate boot.Gate
	held []byte // may be what ssh prints last
}

func (g *gateWriter) Write(b []byte) (int, error) {
	n := len(b)
	if _, b = g.gate.Feed(b); len(b) == 0 {
		return n, nil
	}
	b = append(g.held, b...)
	end := methods.BeforeFarewell(b)
	g.held = bytes.Clone(b[end:])
	if end > 0 {
		g.w.Write(b[:end])
	}
	return n, nil
}

// end is called when all has been written: what is held is ssh's if it is whole.
func (g *gateWriter) end() {
	if len(g.held) > 0 && !methods.IsFarewell(g.held) {
		g.w.Write(g.held)
	}
	g.held = nil
}
