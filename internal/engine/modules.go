package engine

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

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

// Bounds of what a context may ask for.
const (
	maxAsked = 4096  // at once
	maxNames = 65536 // ever
)

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
	key     string // in Context.modules: a context that has been prepared for it needs nothing more
	builtin bool   // a module of our own
}

// ofCall is the program that a call of a function in module is.
func (e *Engine) ofCall(module string) program {
	_, ours := e.opt.builtin(module)
	return program{forward.Program{Name: module, Roots: []string{module}}, module, ours}
}

// known says whether nothing is to be sent before a program can be run.
func (c *Context) known(key string) bool {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	_, ok := c.modules[key]
	return ok
}

// prepare queues what p needs, unless that has been done. What is known has been queued: a call
// gets behind it.
func (c *Context) prepare(ctx context.Context, p program) error {
	if p.builtin {
		if err := c.pushing.take(ctx, c, nil); err != nil {
			return err
		}
		defer c.pushing.leave()
		return c.push(ctx, p.key)
	}
	if err := c.roomy(ctx); err != nil {
		return err
	}
	_, err := apart(ctx, c.done, func() (struct{}, error) {
		return struct{}{}, c.prepareNow(ctx, p)
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
func (c *Context) prepareNow(ctx context.Context, p program) error {
	begun := time.Now()
	n := c.e.forward.Need(c.target(), p.Program)
	scan := time.Since(begun)
	if err := c.pushing.take(ctx, c, nil); err != nil {
		return err
	}
	defer c.pushing.leave()
	if c.known(p.key) {
		return nil
	}
	if n.Grants() {
		c.e.introduce(c)
		c.e.forward.Grant(c.id, c.target(), n)
	}
	if err := c.want(n); err != nil {
		return err
	}
	if c.e.startsPrograms(p) {
		if err := c.push(ctx, guardModule); err != nil {
			return err
		}
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.count.Scan += scan
	if !c.modules[p.key] {
		c.modules[p.key] = false
	}
	return nil
}

// roomy waits until c's stream has room.
func (c *Context) roomy(ctx context.Context) error {
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
func (c *Context) target() pysource.Target {
	t := pysource.Target{ABI: c.e.forward.ABI(c.id)}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if !c.up {
		return t
	}
	t.Version, t.Implementation = c.info.Version, c.info.Implementation
	t.Platform, t.OSName = c.info.Platform, "posix"
	if t.Platform == "win32" {
		t.OSName = "nt"
	}
	return t
}

// want has n brought to c: behind what is held back for it, should there be a gate.
func (c *Context) want(n *forward.Need) error {
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
	e.bring(c, n)
	return nil
}

// bring lets the Forwarder decide. No gate holds c back, or it is just being opened.
func (e *Engine) bring(c *Context, n *forward.Need) {
	e.introduce(c)
	e.forward.Want(c.id, n)
}

// introduce makes the Forwarder know c and those before it.
func (e *Engine) introduce(c *Context) {
	e.mu.Lock()
	gone, done := c.err != nil, c.forwarding
	e.mu.Unlock()
	if gone || done {
		return
	}
	parent := wire.ContextID(0)
	if c.parent != nil {
		e.introduce(c.parent)
		parent = c.parent.id
	}
	e.forward.Add(c.id, parent)
	e.mu.Lock()
	c.forwarding = true
	gone = c.err != nil
	e.mu.Unlock()
	if gone { // it may be too late for goneLocked to have this done
		e.forward.Gone(c.id)
	}
}

// deliver queues what the Forwarder has decided. It isn't flushed.
func (e *Engine) deliver(b forward.Batch) {
	if slices.ContainsFunc(b.Actions, func(a forward.Action) bool { return a.Load == nil }) {
		e.forwards.Rest() // compresses it, which is not to be done under the lock
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.contexts[b.Ctx]; c != nil {
		c.count.Pack += b.Pack
	}
	for i := range b.Actions {
		if c := e.contexts[b.Actions[i].Ctx]; c != nil && c.err == nil {
			e.carryOutLocked(c, &b.Actions[i])
		}
	}
}

// push sends a module of the runtime, if c hasn't got it. c.pushing is held.
func (c *Context) push(ctx context.Context, name string) error {
	if c.golang.is.Load() || c.known(name) { // a Go context has its services without modules
		return nil
	}
	return c.load(ctx, c.e.finder.Find(name))
}

// load sends one module, unless c has it. c.pushing is held.
func (c *Context) load(ctx context.Context, m *modules.Module) error {
	e := c.e
	f := loadFrame(c, m)
	e.mu.Lock()
	if c.modules[m.Name] || c.err != nil {
		defer e.mu.Unlock()
		return c.err
	}
	c.loadedLocked(m, len(f.Payload))
	if len(f.Payload) <= wire.MaxPayload {
		defer e.mu.Unlock() // not flushed: the call comes right behind it
		e.putLocked(c, &f)
		c.modules[m.Name] = true
		return nil
	}
	e.mu.Unlock()
	whole := len(f.Payload)
	rest, err := c.parts(ctx, nil, &f)
	e.mu.Lock()
	defer e.unlock()
	switch {
	case err == nil:
		c.modules[m.Name] = true
	case len(rest) < whole && c.err == nil: // half of it is there: take it back
		e.putLocked(c, &wire.Frame{Kind: wire.Part, Dst: c.id, Handle: wire.LoadModule})
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

// request is a frame from below that the Forwarder answers.
type request struct {
	handle  wire.Handle
	name    string // GET_MODULE
	during  string // GET_MODULE, GET_FILE: the program that ran then
	payload []byte // LACKS
	id      wire.BundleID
	ctx     wire.ContextID
	file    string      // GET_FILE
	reply   wire.Handle // GET_FILE
}

// askLocked takes a GET_MODULE.
func (c *Context) askLocked(payload []byte) {
	name := string(payload[:min(len(payload), modules.MaxName+1)])
	switch {
	case c.modules[name]: // it is on its way, or the context plays tricks
		c.e.offendLocked(c, oddity)
		return
	case len(c.modules) >= maxNames || bytes.IndexByte(payload, 0) >= 0 || len(name) > modules.MaxName:
		c.reportLocked("request for a module refused", slog.String("name", fmt.Sprintf("%+q", name)))
		return
	}
	c.serveLocked(request{handle: wire.GetModule, name: name, during: c.runningLocked()})
}

// runningLocked returns the program whose call is open, "" if there is none.
func (c *Context) runningLocked() string {
	if c.open.n == 0 {
		return ""
	}
	return c.open.first.program
}

// lacksLocked takes a LACKS.
func (c *Context) lacksLocked(payload []byte) {
	if c.asks == 0 {
		c.reportLocked("answer refused", slog.String("error", "nothing was asked"))
		return
	}
	c.asks--
	c.serveLocked(request{handle: wire.Lacks, payload: bytes.Clone(payload)})
}

// droppedLocked takes a DROPPED.
func (c *Context) droppedLocked(payload []byte) {
	id, ctx, err := wire.ParseForward(payload)
	if err == nil && c.forwards == 0 {
		err = fmt.Errorf("nothing was to be forwarded")
	}
	if err != nil {
		c.reportLocked("answer refused", slog.Any("error", err))
		return
	}
	c.forwards--
	c.serveLocked(request{handle: wire.Dropped, id: id, ctx: ctx})
}

func (c *Context) serveLocked(r request) {
	// of these there are no more than questions
	if len(c.requests) >= maxAsked && r.handle != wire.Lacks {
		c.noteLocked("request refused: too many", slog.String("handle", r.handle.String()))
		c.e.offendLocked(c, oddity)
		return
	}
	c.requests = append(c.requests, r)
	if !c.serving {
		c.serving = true
		c.e.drains.Add(1)
		go c.serve()
	}
}

// serve answers c's requests, one after another, until there is none.
func (c *Context) serve() {
	e := c.e
	defer e.drains.Done()
	for n := 1; ; n++ {
		e.mu.Lock()
		if len(c.requests) == 0 || c.err != nil {
			c.serving = false
			e.unlock()
			return
		}
		r := c.requests[0]
		c.requests[0] = request{}
		c.requests = c.requests[1:]
		e.unlock()
		if full := c.root.stream.Full(); full != nil {
			select {
			case <-full:
			case <-c.done:
			}
		}
		begun := time.Now()
		e.introduce(c)
		switch r.handle {
		case wire.GetFile:
			c.answerFile(r)
		case wire.GetModule:
			c.answer(r)
		case wire.Lacks:
			c.lacks(r.payload)
		case wire.Dropped:
			e.forward.Dropped(c.id, r.id, r.ctx)
		}
		c.root.stream.Kick()
		if n > paceAfter {
			c.pace(begun)
		}
	}
}

// lacks takes the names in a LACKS.
func (c *Context) lacks(payload []byte) {
	names, err := wire.ParseNames(payload)
	if err != nil {
		c.e.mu.Lock()
		c.reportLocked("answer refused", slog.Any("error", err))
		c.e.unlock()
	}
	if err == nil && !slices.Contains(names, unpacker) && c.unpacks() {
		c.e.forward.Unpacks(c.id)
	}
	abi := ""
	if i := slices.IndexFunc(names,
		func(n string) bool { return strings.HasPrefix(n, abiMark) }); i >= 0 {
		abi = strings.TrimPrefix(names[i], abiMark)
	}
	c.e.forward.Lacks(c.id, c.target(), abi, names) // of none, where they can't be read: it was asked
}

// unpacks tells whether bzip2's reader of c's interpreter can be bounded: from 3.5 on.
func (c *Context) unpacks() bool {
	v := c.target().Version
	return v[0] > 3 || v[0] == 3 && v[1] >= 5
}

// answer answers a GET_MODULE: with a bundle, or, if c has been sent one with it before, with the
// module alone.
func (c *Context) answer(r request) {
	e := c.e
	e.mu.Lock()
	c.count.Asked++
	if _, ok := c.modules[r.name]; !ok {
		c.modules[r.name] = false
	}
	packed, lent := c.count.Pack, c.lent
	c.lent = nil
	e.mu.Unlock()
	begun, target := time.Now(), c.target()
	for _, l := range lent {
		e.forward.Lend(l.by, c.id, target, l.module)
	}
	m, given := c.asked(r, target)
	e.mu.Lock()
	c.count.Scan += time.Since(begun) - (c.count.Pack - packed)
	if !given {
		c.refusedToLocked(report.EventModule, r.name)
	}
	e.mu.Unlock()
	if m == nil {
		return
	}
	if c.pushing.take(e.base, c, nil) == nil {
		defer c.pushing.leave()
		c.load(e.base, m) // the error is that c is gone
	}
}

// asked returns the module that answers a GET_MODULE, nil where a bundle does, and whether there is
// one for this context.
func (c *Context) asked(r request, target pysource.Target) (m *modules.Module, given bool) {
	if r.name == guardModule || r.name == valuesModule { // the runtime waits for it, and for no bundle
		return c.e.finder.Find(r.name), true
	}
	return c.e.forward.Asked(c.id, target, r.during, r.name)
}

// newFinder returns what looks modules up.
func newFinder(o *Options) *modules.Finder {
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
