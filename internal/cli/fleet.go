package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/internal/ownfile"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// After an interrupt calls have interruptPatience to end in order, then all contexts are ended, and
// what has then not come back within endPatience is left behind: the whole has to be over within a
// second.
const (
	interruptPatience = 300 * time.Millisecond
	endPatience       = 150 * time.Millisecond
)

// timeoutError is the cause of the end of a target's time.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return "timed out after " + e.after.String() }

// job does a command's work at one target.
type job func(ctx context.Context, h *host) error

// fleet works on all targets of a command, some at a time.
type fleet struct {
	s       *state
	eng     *mitogen.Engine
	options mitogen.ConnectOptions
	daemon  bool     // contexts come from it
	profile *profile // nil: not wanted
	crowd   *crowd
	print   func(*host)
	began   time.Time

	mu sync.Mutex // protects following
	// on the way to targets, by names and targets of the ways to them
	hops      map[string]*mitogen.Context
	running   map[*host]bool
	finished  int
	failed    []string // targets
	unreached int      // of these, those where nothing was run
	lost      int      // of these, those whose connection was lost once they were at work
	status    int      // the worst so far
	sealed    bool     // nothing may be printed any more
}

// host is one target while it is worked on. Only the job's goroutine uses it, and the printer after
// it.
type host struct {
	target         string
	fleet          *fleet
	chain          []inventory.Way
	leave          func()           // lets another target begin, as this one waits
	context        *mitogen.Context // nil before connect; fleet.mu protects it from the progress
	stdout, stderr output
	byShell        bool // where there is no Python, sh does the work: state.goFallback doesn't count

	result     json.RawMessage // of a call, for --json
	copied     *copied         // nil: no files were copied
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

// wayError says that an inventory doesn't say how a host is reached.
type wayError struct{ error }

func (e *wayError) Error() string { return "inventory " + e.error.Error() }
func (e *wayError) Unwrap() error { return e.error }

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

// job runs j at all targets and prints what comes of it. first is the first element of the search
// path, "" for none. The error is an exitError, or says why nothing was tried.
func (s *state) job(ctx context.Context, first []string, print func(*host), j job) error {
	f, closePath, err := s.newFleet(ctx, first, print)
	if err != nil {
		return err
	}
	defer closePath()
	return f.run(ctx, j)
}

// newFleet makes an engine for the targets. The caller closes the search path when that has ended.
func (s *state) newFleet(
	ctx context.Context,
	first []string,
	print func(*host),
) (f *fleet, closePath func(), err error) {
	path, closePath, err := s.opt.searchPath(first)
	if err != nil {
		return nil, nil, err
	}
	closeSearchPath := closePath
	defer func() {
		if err != nil {
			closeSearchPath()
		}
	}()
	options, err := s.connectOptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	own, packages := modulesFrom(path)
	viaDaemon, err := s.opt.viaDaemon()
	if err != nil {
		return nil, nil, err
	}
	tell, err := s.auditor()
	if err != nil {
		return nil, nil, err
	}
	secrets, err := s.opt.secrets.source()
	if err != nil {
		return nil, nil, err
	}
	eng, err := mitogen.New(mitogen.Options{Path: own, Packages: packages, Serve: s.opt.serve,
		Strip:   s.opt.strip,
		Learned: s.opt.learned, NoNative: s.opt.noNative, NativeBudget: s.opt.nativeBudget << 20,
		Logger: s.newLogger(), Prompt: s.prompter(), Daemon: viaDaemon, Secrets: secrets, Audit: tell,
		Binary: s.opt.binary(), Agent: s.opt.agent, Heartbeat: time.Duration(s.opt.heartbeat)})
	if err != nil {
		return nil, nil, err
	}
	f = &fleet{s: s, eng: eng, options: options, daemon: viaDaemon != nil, print: print,
		began: time.Now(), hops: map[string]*mitogen.Context{}, running: map[*host]bool{}}
	if s.opt.stats != "" {
		f.profile = newProfile()
	}
	return f, closePath, nil
}

func (f *fleet) run(ctx context.Context, j job) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.work(ctx, j)
	}()
	go f.refresh(done)
	interrupted := false
	select {
	case <-done:
	case <-ctx.Done():
		interrupted = true
		within(done, interruptPatience)
	}
	stats := f.writeProfile() // before the contexts are gone, which costs time
	f.s.ending.Store(true)
	told := f.eng.Close()
	if interrupted {
		within(done, endPatience)
	}
	status := f.seal()
	f.s.ui.show("")
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(told, mitogen.ErrAudit):
		return told
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
	f.crowd = f.newCrowd()
	f.crowd.closes = len(f.s.opt.spots) > f.crowd.most
	places := make(chan struct{}, min(f.s.opt.forks, len(f.s.opt.spots)))
	var workers sync.WaitGroup
	defer workers.Wait()
	for i := range f.s.opt.spots {
		places <- struct{}{}
		leave := sync.OnceFunc(func() { <-places })
		if ctx.Err() != nil {
			return
		}
		workers.Go(func() {
			defer leave()
			if f.crowd.enter(ctx) {
				f.one(ctx, &f.s.opt.spots[i], leave, j)
			}
			f.crowd.leave()
		})
	}
}

// one does the job at one target, which may leave its place to another.
func (f *fleet) one(ctx context.Context, sp *spot, leave func(), j job) {
	h := &host{target: sp.name, chain: sp.chain, fleet: f, leave: leave}
	f.starts(h)
	h.stdout, h.stderr = f.outputs(sp.name)
	if sp.err != nil {
		h.err = &wayError{sp.err}
		f.ends(h, false)
		return
	}
	for alone := 0; ; {
		f.try(ctx, h, j)
		if !h.foundNoRoom() || !f.crowd.retry(ctx, &alone) {
			break
		}
		f.starts(h)
	}
	h.stdout.flush()
	h.stderr.flush()
	if h.context != nil {
		h.connecting = h.context.Stats().Hello
		f.crowd.done(h.context)
	}
	f.ends(h, errors.Is(context.Cause(ctx), errInterrupted))
}

// try does the job, again after failures of the network, as long as the target has time.
func (f *fleet) try(ctx context.Context, h *host, j job) {
	began := time.Now()
	if t := time.Duration(f.s.opt.timeout); t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, &timeoutError{t})
		defer cancel()
	}
	again := false
	for try := 0; ; try++ {
		h.err = j(ctx, h)
		if !again && h.fallsBack() {
			again = true
			f.starts(h)
			h.err = j(ctx, h)
		}
		if try == f.s.opt.retries || !h.mayRetry() || !pause(ctx, backOff<<try) {
			break
		}
		if f.s.opt.verbose > 0 {
			f.s.ui.say("%s: %v; trying again", printable.Name(h.target), h.err)
		}
		f.starts(h)
	}
	h.took = time.Since(began)
	if late := (*timeoutError)(nil); h.err != nil && errors.As(context.Cause(ctx), &late) {
		h.err = errors.Join(late, h.err)
	}
}

// fallsBack reports whether the target, behind hops, has turned out to have no Python. The next
// start needs none then.
func (h *host) fallsBack() bool {
	if !h.fleet.s.goFallback || h.fleet.daemon || h.context == nil || h.wasUp() {
		return false
	}
	_, _, direct := h.direct()
	return !direct && errors.Is(h.err, connect.ErrNoPython) && !errors.Is(h.err, connect.ErrNoProgram)
}

// outputs returns the writers of a target's output. With --json they keep it for the record. Lines
// of several targets have the target's name.
func (f *fleet) outputs(target string) (stdout, stderr output) {
	ui := f.s.ui
	switch {
	case f.s.opt.json:
		return &captured{}, &captured{}
	case f.s.opt.several():
		return ui.newLines(ui.out, target), ui.newLines(ui.err, target)
	case f.s.asIs:
		return raw{ui.out}, raw{ui.err}
	}
	return raw{ui.out}, ui.newLoneLines(ui.err, target)
}

// backOff is the first wait before another try; it doubles. With it comes up to as much again, so
// that hosts spread.
const backOff = 500 * time.Millisecond

// mayRetry says that the network failed before anything was run.
func (h *host) mayRetry() bool {
	if h.err == nil || h.context == nil || h.context.Stats().Hello > 0 {
		return false
	}
	failed := (*connect.Error)(nil)
	// it may have been the password's fault
	return errors.As(h.err, &failed) && failed.Passing && !failed.Given
}

// pause waits for d and a random part of it, and says whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d + rand.N(d)):
		return true
	case <-ctx.Done():
		return false
	}
}

// connect starts the target's context. It doesn't wait until that is up.
func (h *host) connect(stdout io.Writer) error {
	f := h.fleet
	last := len(h.chain) - 1
	via, err := f.hop(h.chain)
	if err != nil {
		return err
	}
	o := merged(optionsAt(f.options, h.chain, last), &h.chain[last].Options)
	o.Via, o.Stdout, o.Stderr = via, stdout, h.stderr
	o.GoFallback = f.s.goFallback && !h.byShell && goctx.Started()
	c, err := f.eng.Start(h.chain[last].Target, o)
	if err != nil {
		return err
	}
	if f.daemon && via == nil && h.chain[last].Target == "local" {
		// As if it had been started from here; if the directory goes meanwhile, it is the daemon's own.
		if dir, err := os.Getwd(); err == nil {
			c.Go("os:chdir", dir)
		}
		c.Go("os:environ.clear")
		// each for itself: one may not be text there
		for name, value := range ownEnvironment(os.Environ()) {
			c.Go("os:environ.__setitem__", name, value)
		}
	}
	f.mu.Lock()
	h.context = c
	f.mu.Unlock()
	if f.profile != nil {
		f.profile.note(f.eng.Contexts())
	}
	return nil
}

// hop returns the context before the last of a chain, which all who are reached through it share;
// nil if there is none.
func (f *fleet) hop(chain []inventory.Way) (*mitogen.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var c *mitogen.Context
	key := ""
	for i, w := range chain[:len(chain)-1] {
		key += fmt.Sprintf("%s\n%s\n%v %v\n", w.Name, w.Target, reflect.ValueOf(w.Options).IsZero(),
			inventory.BecomesLater(chain, i))
		o := merged(optionsAt(f.options, chain, i), &w.Options)
		o.Via = c
		if c = f.hops[key]; c == nil || c.Err() != nil {
			var err error
			if c, err = f.eng.Start(w.Target, o); err != nil {
				return nil, err
			}
			f.hops[key] = c
		}
	}
	return c, nil
}

// starts notes that h is being worked on.
func (f *fleet) starts(h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.context = nil
	f.running[h] = true
	f.showLocked()
}

// ends prints what came of one target, unless all was interrupted.
func (f *fleet) ends(h *host, interrupted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, h)
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
		switch {
		case h.err == nil || status != exitConnection:
		case h.wasUp():
			f.lost++
		default:
			f.unreached++
		}
	}
	if f.s.opt.several() && status != 0 && status != exitConnection {
		status = exitFailed
	}
	f.status = max(f.status, status)
	f.print(h)
	f.showLocked()
}

// problem describes the error of h; nil if there is none.
func (h *host) problem() *problem {
	if h.err == nil {
		return nil
	}
	return describe(h.err, h.context == nil || h.wasUp())
}

// wasUp tells whether the target's context had been connected, so that it may have begun with its
// work.
func (h *host) wasUp() bool { return h.context != nil && h.context.Stats().Hello > 0 }

// seal stops printing, sums up, and returns the exit status.
func (f *fleet) seal() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sealed = true
	f.s.ui.show("")
	if o := &f.s.opt; o.several() && !o.quiet && !o.json && (len(f.failed) > 0 || f.s.ui.errTTY) {
		f.s.ui.say("%s", f.summaryLocked())
	}
	return f.status
}

// summaryLocked is one line.
func (f *fleet) summaryLocked() string {
	all := len(f.s.opt.spots)
	text := fmt.Sprintf("%d of %d well", f.finished-len(f.failed), all)
	if n := len(f.failed) - f.unreached - f.lost; n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	if f.lost > 0 {
		text += fmt.Sprintf(", %d lost after the start", f.lost)
	}
	if f.unreached > 0 {
		text += fmt.Sprintf(", %d not reached", f.unreached)
	}
	if n := all - f.finished; n > 0 {
		text += fmt.Sprintf(", %d not finished", n)
	}
	if len(f.failed) > 0 {
		const most = 10
		slices.Sort(f.failed)
		text += ": " + names(f.failed[:min(most, len(f.failed))])
		if len(f.failed) > most {
			text += " …"
		}
	}
	return text
}

// names are a list of targets, each of which is one word.
func names(targets []string) string {
	words := make([]string, len(targets))
	for i, t := range targets {
		words[i] = printable.Name(t)
	}
	return strings.Join(words, " ")
}

// refresh shows who has got further, until done.
func (f *fleet) refresh(done <-chan struct{}) {
	if !f.s.ui.errTTY {
		return
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			f.mu.Lock()
			f.showLocked()
			f.mu.Unlock()
		}
	}
}

// showLocked shows progress, if a terminal shows it.
func (f *fleet) showLocked() {
	o, ui := &f.s.opt, f.s.ui
	if !o.several() || !ui.errTTY || ui.plain || o.quiet || o.json || f.sealed {
		return
	}
	status := fmt.Sprintf("%d of %d done", f.finished, len(o.spots))
	if n := len(f.failed); n > 0 {
		status += fmt.Sprintf(", %d failed", n)
	}
	var phases [2][]string
	for h := range f.running {
		i := 0
		if h.context != nil && h.context.Stats().Hello > 0 {
			i = 1
		}
		phases[i] = append(phases[i], h.target)
	}
	for i, what := range []string{"connecting", "at work"} {
		if len(phases[i]) > 0 {
			slices.Sort(phases[i])
			status += fmt.Sprintf("; %d %s: %s", len(phases[i]), what, names(phases[i]))
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
		f.s.ui.write(f.s.ui.err, b)
		return nil
	}
	file, err := ownfile.Create(name, 0o644)
	if err == nil {
		_, err = file.Write(b)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("write network profile: %w", err)
	}
	return nil
}
