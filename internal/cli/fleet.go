package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
)

// After an interrupt calls have interruptPatience to end in order, then all contexts are ended, and what has then not
// come back within endPatience is left behind: the whole has to be over within a second.
const (
	interruptPatience = 300 * time.Millisecond
	endPatience       = 150 * time.Millisecond
)

// timeoutError is the cause of the end of a target's time.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return "timed out after " + e.after.String() }

// job is what a command does at one target.
type job func(ctx context.Context, h *host) error

// fleet works on all targets of a command, some at a time.
type fleet struct {
	s       *state
	eng     *mitogen.Engine
	options mitogen.ConnectOptions
	profile *profile // nil: not wanted
	print   func(*host)
	began   time.Time

	mu       sync.Mutex // protects following
	running  map[string]int
	finished int
	failed   []string // targets
	status   int      // the worst so far
	sealed   bool     // nothing may be printed any more
}

// host is one target while it is worked on. Only the job's goroutine uses it, and the printer after it.
type host struct {
	target         string
	fleet          *fleet
	context        *mitogen.Context // nil before connect
	stdout, stderr output

	result     json.RawMessage // of a call, for --json
	ran        bool            // and ended, with
	status     int             // this exit status
	err        error
	took       time.Duration
	connecting time.Duration // until it was up
}

// output takes what a target writes.
type output interface {
	io.Writer
	flush()
}

// raw passes bytes as they are.
type raw struct{ io.Writer }

func (raw) flush() {}

// captured keeps what fits for --json.
type captured struct {
	data      []byte
	truncated bool
}

const maxCaptured = 16 << 20

func (c *captured) Write(b []byte) (int, error) {
	fits := min(len(b), maxCaptured-len(c.data))
	c.data = append(c.data, b[:fits]...)
	c.truncated = c.truncated || fits < len(b)
	return len(b), nil
}

func (c *captured) flush() {}

// job runs j at all targets and prints what comes of it. first is the first element of the search path, "" for none. The
// error is an exitError, or says why nothing was tried.
func (s *state) job(ctx context.Context, first string, print func(*host), j job) error {
	path, closePath, err := s.opt.searchPath(first)
	if err != nil {
		return err
	}
	defer closePath()
	options, err := s.connectOptions(ctx)
	if err != nil {
		return err
	}
	own, packages := modulesFrom(path)
	eng, err := mitogen.New(mitogen.Options{Path: own, Packages: packages, Logger: s.newLogger(), Prompt: s.prompter()})
	if err != nil {
		return err
	}
	f := &fleet{s: s, eng: eng, options: options, print: print, began: time.Now(), running: map[string]int{}}
	if s.opt.stats != "" {
		f.profile = newProfile()
	}
	return f.run(ctx, j)
}

func (f *fleet) run(ctx context.Context, j job) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.work(ctx, j)
	}()
	interrupted := false
	select {
	case <-done:
	case <-ctx.Done():
		interrupted = true
		within(done, interruptPatience)
	}
	stats := f.writeProfile() // before the contexts are gone, which costs time
	f.s.ending.Store(true)
	f.eng.Close()
	if interrupted {
		within(done, endPatience)
	}
	status := f.seal()
	f.s.ui.show("")
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stats != nil:
		return stats
	case status != 0:
		return exitError(status)
	}
	return nil
}

func within(done <-chan struct{}, d time.Duration) {
	select {
	case <-done:
	case <-time.After(d):
	}
}

// work takes targets in turn until there are none.
func (f *fleet) work(ctx context.Context, j job) {
	targets := make(chan string)
	var workers sync.WaitGroup
	for range min(f.s.opt.forks, len(f.s.opt.targets)) {
		workers.Go(func() {
			for target := range targets {
				f.one(ctx, target, j)
			}
		})
	}
	for _, target := range f.s.opt.targets {
		if ctx.Err() != nil {
			break
		}
		targets <- target
	}
	close(targets)
	workers.Wait()
}

// one does the job at one target.
func (f *fleet) one(ctx context.Context, target string, j job) {
	f.starts(target)
	h := &host{target: target, fleet: f}
	h.stdout, h.stderr = f.outputs(target)
	began := time.Now()
	if t := time.Duration(f.s.opt.timeout); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, &timeoutError{t})
		defer cancel()
	}
	h.err = j(ctx, h)
	h.took = time.Since(began)
	if late := (*timeoutError)(nil); h.err != nil && errors.As(context.Cause(ctx), &late) {
		h.err = errors.Join(late, h.err)
	}
	h.stdout.flush()
	h.stderr.flush()
	if h.context != nil {
		h.connecting = h.context.Stats().Hello
		if len(f.s.opt.targets) > f.s.opt.forks {
			h.context.Close() // to make room for others
		}
	}
	f.ends(h, errors.Is(context.Cause(ctx), errInterrupted))
}

// outputs are where a target's output goes. A function's is no result, so call sets its own.
func (f *fleet) outputs(target string) (stdout, stderr output) {
	ui := f.s.ui
	switch {
	case f.s.opt.json:
		return &captured{}, &captured{}
	case f.s.opt.several():
		return ui.newLines(ui.out, target), ui.newLines(ui.err, target)
	}
	return raw{ui.out}, raw{ui.err}
}

// connect starts the target's context. It doesn't wait until that is up.
func (h *host) connect(stdout io.Writer) error {
	f := h.fleet
	o := f.options
	o.Stdout, o.Stderr = stdout, h.stderr
	c, err := f.eng.Start(h.target, o)
	if err != nil {
		return err
	}
	h.context = c
	if f.profile != nil {
		f.profile.note(f.eng.Contexts())
	}
	return nil
}

func (f *fleet) starts(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[target]++
	f.showLocked()
}

// ends prints what came of one target, unless all was interrupted.
func (f *fleet) ends(h *host, interrupted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[h.target]--; f.running[h.target] == 0 {
		delete(f.running, h.target)
	}
	f.finished++
	if f.sealed || interrupted {
		return
	}
	status := h.status
	if p := h.problem(); p != nil {
		status = p.status
	}
	if status != 0 {
		f.failed = append(f.failed, h.target)
	}
	if f.s.opt.several() && status != 0 && status != exitConnection {
		status = exitFailed
	}
	f.status = max(f.status, status)
	f.print(h)
	f.showLocked()
}

// problem is what went wrong, or nil.
func (h *host) problem() *problem {
	if h.err == nil {
		return nil
	}
	return describe(h.err, h.context == nil || h.context.Stats().Hello > 0)
}

// seal stops printing, sums up, and returns the exit status.
func (f *fleet) seal() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sealed = true
	return f.status
}

// showLocked shows progress, where somebody sees it.
func (f *fleet) showLocked() {
	o, ui := &f.s.opt, f.s.ui
	if !o.several() || !ui.errTTY || ui.plain || o.quiet || o.json || f.sealed {
		return
	}
	status := fmt.Sprintf("%d of %d done", f.finished, len(o.targets))
	if n := len(f.failed); n > 0 {
		status += fmt.Sprintf(", %d failed", n)
	}
	if f.finished < len(o.targets) {
		status += ", at work:"
		for target := range f.running {
			status += " " + target
		}
	}
	ui.show(status)
}

// tell prints the error of a target, for people.
func (h *host) tell() {
	p := h.problem()
	if p == nil {
		return
	}
	name := ""
	if h.fleet.s.opt.several() {
		name = h.target
	}
	h.fleet.s.ui.tell(name, p)
}

// writeProfile writes --stats.
func (f *fleet) writeProfile() error {
	if f.profile == nil {
		return nil
	}
	b := f.profile.json(time.Since(f.began))
	name := f.s.opt.stats
	if name == "-" {
		f.s.ui.message(string(b))
		return nil
	}
	if err := os.WriteFile(name, b, 0o666); err != nil {
		return fmt.Errorf("write network profile: %w", err)
	}
	return nil
}
