package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Modules reach a context in two ways. Modules of the runtime, and the rest that must go alone, go
// by LOAD_MODULE. All other modules go in bundles, which the Forwarder decides about. Forwarder.mu
// is taken before Engine.mu, and held until the decision is queued (bring). So frames are queued in
// the order of the decisions.

// The runtime's own modules that contexts need to be hops, to take bundles, to start
// programs, and to send values of other types than the built-in ones.
const (
	nativeModule  = "_mitogen_native"
	spawnModule   = "_mitogen_spawn"
	askingModule  = "_mitogen_asking"
	tunnelModule  = "_mitogen_tunnel"
	sessionModule = "_mitogen_session"
	socketsModule = "_mitogen_sockets"
	forwardModule = "_mitogen_forward"
	lacksModule   = "_mitogen_lacks"
	forkModule    = "_mitogen_fork"
	guardModule   = "_mitogen_guard"
	valuesModule  = "_mitogen_values"
)

// program is code to run in a context: a module that a call names, or a Program.
type program struct {
	forward.Program
	key     string // in supply.modules: a context that has been prepared for it needs nothing more
	builtin bool   // a module of our own
}

// library has the modules that contexts may be sent. Static but for what its types protect.
type library struct {
	e       *Engine
	finder  *modules.Finder
	forward *forward.Forwarder
	// forwards is the module of the runtime that takes bundles, the same for all engines.
	forwards *modules.Module
	lacks    *modules.Module // of the runtime, answers questions
	natives  *modules.Module // of the runtime, loads extension modules

	// passedOn names the modules that each hop is sent, and passes on to each context that it starts.
	passedOn []string
	// whether modules are likely to start programs, by name: see startsPrograms
	starters sync.Map

	tooLarge map[string]bool // packages that a warning was given of. Protected by Engine.mu
}

// open finds the modules of the runtime, and reads what was learned.
func (l *library) open(o *ModuleOptions) {
	l.finder = newFinder(o)
	l.forward = forward.New(l.finder, l.deliver)
	l.forward.Remember(o.Learned)
	l.forward.Budget(o.NativeBudget)
	if o.NoNative {
		l.forward.Budget(-1)
	}
	l.natives = l.finder.Find(nativeModule)
	l.lacks = l.finder.Find(lacksModule)
	l.passedOn = []string{guardModule}
	if len(o.Packages) > 0 { // else there is nothing to be asked about
		l.passedOn = append(l.passedOn, lacksModule)
	}
	l.forwards = forwards.Load()
	if l.forwards == nil {
		forwards.CompareAndSwap(nil, l.finder.Find(forwardModule))
		l.forwards = forwards.Load()
	}
}

// ofCall is the program that a call of a function in module is.
func (l *library) ofCall(module string) program {
	_, ours := l.e.opt.Modules.builtin(module)
	return program{forward.Program{Name: module, Roots: []string{module}}, module, ours}
}

// supply is one context's share of modules and files: what it has been sent and may have, what it
// asks for (requests), and what it was given (given). The Forwarder decides about bundles.
type supply struct {
	c       *Context
	pushing turn // to send modules; taken before Engine.mu

	// Protected by Engine.mu:
	modules    map[string]bool // programs that were prepared, and modules: whether sent alone
	forwarding bool            // the Forwarder knows the context
	near       bool            // no link leads to the context. Static
	lent       []lent

	requests requests
	given    given
}

// known says whether nothing is to be sent before a program can be run.
func (s *supply) known(key string) bool {
	c := s.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	_, ok := s.modules[key]
	return ok
}

// prepare queues what p needs, unless that has been done. What is known has been queued: a call
// gets behind it.
func (s *supply) prepare(ctx context.Context, p program) error {
	c := s.c
	if p.builtin {
		if err := s.pushing.take(ctx, c, nil); err != nil {
			return err
		}
		defer s.pushing.leave()
		return s.push(ctx, p.key)
	}
	if err := c.Calls.roomy(ctx); err != nil {
		return err
	}
	_, err := aside.Do(ctx, c.done, func() (struct{}, error) {
		return struct{}{}, s.prepareNow(ctx, p)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return givenUp(ctx, "send to "+c.name)
	}
	return cmp.Or(c.Err(), err)
}

// prepareNow is prepare, which reads files, by code of the caller's.
func (s *supply) prepareNow(ctx context.Context, p program) error {
	c := s.c
	begun := time.Now()
	n := c.e.library.forward.Need(s.target(), p.Program)
	scan := time.Since(begun)
	if err := s.pushing.take(ctx, c, nil); err != nil {
		return err
	}
	defer s.pushing.leave()
	if s.known(p.key) {
		return nil
	}
	if n.Grants() {
		s.introduce()
		c.e.library.forward.Grant(c.id, s.target(), n)
	}
	if err := s.want(n); err != nil {
		return err
	}
	if c.e.library.startsPrograms(p) {
		if err := s.push(ctx, guardModule); err != nil {
			return err
		}
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.figures.count.Scan += scan
	if !s.modules[p.key] {
		s.modules[p.key] = false
	}
	return nil
}

// roomy waits until c's stream has room.
func (s *calls) roomy(ctx context.Context) error {
	c := s.c
	if full := c.root.stream.Full(); full != nil {
		select {
		case <-full:
		case <-ctx.Done():
			return givenUp(ctx, "send to "+c.name)
		}
	}
	return nil
}

// target returns the Python that modules are chosen for. Before HELLO it is unknown.
func (s *supply) target() pysource.Target {
	c := s.c
	t := pysource.Target{ABI: c.e.library.forward.ABI(c.id)}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if !c.hello.up {
		return t
	}
	t.Version, t.Implementation = c.hello.info.Version, c.hello.info.Implementation
	t.Platform, t.OSName = c.hello.info.Platform, "posix"
	if t.Platform == "win32" {
		t.OSName = "nt"
	}
	return t
}

// want has n brought to c: behind what is held back for it, should there be a gate.
func (s *supply) want(n *forward.Need) error {
	c := s.c
	if n.Idle() {
		return nil
	}
	e := c.e
	e.mu.Lock()
	if c.err != nil {
		defer e.mu.Unlock()
		return c.err
	}
	if g := c.gateLocked(); g != nil {
		g.add(heldBack{c: c, need: n})
		e.mu.Unlock()
		return nil
	}
	e.mu.Unlock()
	s.bring(n)
	return nil
}

// bring lets the Forwarder decide. No gate holds c back, or it is just being opened.
func (s *supply) bring(n *forward.Need) {
	s.introduce()
	s.c.e.library.forward.Want(s.c.id, n)
}

// introduce makes the Forwarder know c and those before it.
func (s *supply) introduce() {
	c, e := s.c, s.c.e
	e.mu.Lock()
	gone, done := c.err != nil, s.forwarding
	e.mu.Unlock()
	if gone || done {
		return
	}
	parent := wire.ContextID(0)
	if c.parent != nil {
		c.parent.Supply.introduce()
		parent = c.parent.id
	}
	e.library.forward.Add(c.id, parent)
	if s.near {
		e.library.forward.Near(c.id)
	}
	e.mu.Lock()
	s.forwarding = true
	gone = c.err != nil
	e.mu.Unlock()
	if gone { // it may be too late for goneLocked to have this done
		e.library.forward.Gone(c.id)
	}
}

// deliver queues what the Forwarder has decided. It isn't flushed.
func (l *library) deliver(b forward.Batch) {
	e := l.e
	if slices.ContainsFunc(b.Actions, func(a forward.Action) bool { return a.Load == nil }) {
		l.forwards.Rest() // compresses it, which is not to be done under the lock
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.tree.contexts[b.Ctx]; c != nil {
		c.figures.count.Pack += b.Pack
	}
	for i := range b.Actions {
		if c := e.tree.contexts[b.Actions[i].Ctx]; c != nil && c.err == nil {
			c.Supply.carryOutLocked(&b.Actions[i])
		}
	}
}

// push sends a module of the runtime, if c hasn't got it. s.pushing is held.
func (s *supply) push(ctx context.Context, name string) error {
	c := s.c
	if c.launch.golang.is.Load() || s.known(name) { // a Go context has its services without modules
		return nil
	}
	return s.load(ctx, c.e.library.finder.Find(name))
}

// load sends one module, unless c has it. s.pushing is held.
func (s *supply) load(ctx context.Context, m *modules.Module) error {
	c := s.c
	e := c.e
	f := loadFrame(c, m)
	e.mu.Lock()
	if s.modules[m.Name] || c.err != nil {
		defer e.mu.Unlock()
		return c.err
	}
	s.given.loadedLocked(m, len(f.Payload), report.SentAsked)
	if len(f.Payload) <= wire.MaxPayload {
		defer e.mu.Unlock() // not flushed: the call comes right behind it
		e.traffic.putLocked(c, &f)
		s.modules[m.Name] = true
		return nil
	}
	e.mu.Unlock()
	whole := len(f.Payload)
	rest, err := c.Calls.parts(ctx, nil, &f)
	e.mu.Lock()
	defer e.unlock()
	switch {
	case err == nil:
		s.modules[m.Name] = true
	case len(rest) < whole && c.err == nil: // half of it is there: take it back
		e.traffic.putLocked(c, &wire.Frame{Kind: wire.Part, Dst: c.id, Handle: wire.LoadModule})
	}
	return err
}

// loadFrame returns the LOAD_MODULE for m. If m is larger than c takes, the frame says so instead.
func loadFrame(c *Context, m *modules.Module) wire.Frame {
	w := wire.Module{Name: m.Name, Path: m.Place(), Form: bundle.Form(m.Letter), Rest: m.Rest()}
	payload := w.Append(nil)
	if most := c.e.opt.MaxMessage; len(payload) > most {
		w.Form = wire.FormNone
		w.Rest = fmt.Appendf(nil, "larger than %d bytes, the engine's message limit", most)
		payload = w.Append(nil)
	}
	return wire.Frame{Dst: c.id, Handle: wire.LoadModule, Payload: payload,
		Public: m.Letter != modules.Data}
}

// runningLocked returns the program whose call is open, "" if there is none.
func (s *calls) runningLocked() string {
	if s.open.n == 0 {
		return ""
	}
	return s.open.first.program
}

// newFinder returns what looks modules up.
func newFinder(o *ModuleOptions) *modules.Finder {
	var path []modules.Entry
	for _, f := range o.Path {
		path = append(path, modules.Entry{FS: f, Own: true})
	}
	for _, f := range o.Packages {
		path = append(path, modules.Entry{FS: f})
	}
	return modules.New(path, o.builtin, modules.Options{Allow: o.Allow, Deny: o.Deny,
		Serve: o.Serve, Strip: o.Strip, Rewrite: o.Rewrite})
}
