package engine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/gobinary"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/proxy"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/secret"
)

// ConnectOptions are as documented at mitogen.ConnectOptions.
type ConnectOptions struct {
	connect.Options
	Via      *Context       // nil: the engine
	ID       wire.ContextID // of the last context, which is new then; 0: the engine's choice
	Template bool           // it runs nothing, is forked, and shared by all who ask for it
	Fresh    bool           // no other caller has the last context, before or after
	// instead of boot.Command's for the last context, which it is to start, by boot.Pipe
	Boot     []string
	BootName string // what that makes of the target, for people
	Shared   bool   // other ssh processes may use the connection of the last context's ssh
	// a context with Shared, whose connection the first one's ssh uses if it can; it doesn't end
	// before that
	Beside *Context
	// GoFallback has a copy of this program started as the context where the target, of one hop, has
	// no Python.
	GoFallback     bool
	Stdout, Stderr io.Writer
	LogLevel       slog.Level
	Origin         *Origin            // whose request it is; nil: this process's
	Prompt         connect.PromptFunc // asked instead of the engine's about what this starts
	Secrets        secret.Source      // the same for secrets that the options don't have

	// For StartPlan.
	// modules of the runtime that go to the context with its start, by way of its hop
	Brings []string
	Talk   func(text []byte) // is told what a dialogue says; doesn't block, nor call the engine
}

// link is a hop of a target: what has to be known before anything is started.
type link struct {
	hop     methods.Hop
	key     string // says which contexts can take its place
	place   string // says where its password goes; "": there is none
	name    string
	plan    methods.Plan
	start   starter // nil: the engine's
	carry   bool    // the context before it makes ssh's connection
	native  bool    // SSH is spoken by the engine
	ahead   bool    // what is known may go ahead of its stdin
	carries bool    // carry is set in the next
	options connect.Options
	golang  bool // it is a Go program, not an interpreter
	shared  bool // ConnectOptions.Shared
	beside  *Context
	// it may be a Go program, where there is no interpreter
	fallback bool
	// the next start is one by tunnel, if this one finds no interpreter; and this is such a one
	later, tunnel bool
}

// Start makes the contexts that target names, as far as there are none that can be shared, and
// returns the last. It doesn't wait for anything.
func (e *Engine) Start(target string, o ConnectOptions) (*Context, error) {
	r, err := e.Prepare(target, o)
	if err != nil {
		return nil, err
	}
	return r.Start()
}

// Prepared is a Start of which all is known but what the engine has.
type Prepared struct {
	e      *Engine
	target string
	o      ConnectOptions
	links  []link
}

// Prepare does the part of Start that reads files and may start ssh, to learn where it would go.
func (e *Engine) Prepare(target string, o ConnectOptions) (*Prepared, error) {
	links, err := e.starts.links(target, o)
	if err != nil {
		return nil, err
	}
	return &Prepared{e, target, o, links}, nil
}

// Start does the rest. It is called once.
func (r *Prepared) Start() (*Context, error) {
	e, target, o, links := r.e, r.target, r.o, r.links
	e.mu.Lock()
	defer e.unlock()
	if e.tree.closed {
		return nil, fmt.Errorf("connect %s: %w", target, ErrClosed)
	}
	c := o.Via
	if e.opt.Dial != nil && c == nil {
		links = links[len(links)-1:] // Dial goes the whole way
		links[0].start = dialer(e.opt.Dial, target, o.Options)
		links[0].plan.Alone, links[0].carry, links[0].native, links[0].ahead = true, false, false, false
	}
	switch {
	case c == nil:
	case c.e != e:
		return nil, fmt.Errorf("connect %s via %s: %w", target, c.name, ErrOtherEngine)
	case c.err != nil:
		return nil, fmt.Errorf("connect %s via %s: %w", target, c.name, c.err)
	case c.launch.golang.is.Load():
		return nil, fmt.Errorf("connect %s via %s, a Go context: %w", target, c.name, connect.ErrNoPython)
	}
	for i, l := range links {
		last := i == len(links)-1
		next := e.tree.shared[l.key]
		if next == nil || last && (next.life.owned || o.ID != 0) && !o.Template {
			o := o
			if !last {
				o.ID = 0
			}
			o.Options = l.options
			next = e.starts.startLocked(c, l, o)
		}
		c = next
	}
	c.life.owned = true
	c.outbox.outputLocked(o)
	if c.life.closedLocked() {
		c.life.closing = make(chan struct{})
	}
	return c, nil
}

// StartPlan starts a context behind via by its caller's plan, and shares it with no other caller.
// plan.Argv must start boot.Command's, and plan.Name describes it. StartPlan returns once frames
// that are sent to via afterwards find the context there.
func (e *Engine) StartPlan(via *Context, plan methods.Plan, o ConnectOptions) (*Context, error) {
	l := link{hop: methods.Hop{Method: plan.Method}, name: via.name + "+" + plan.Name, plan: plan,
		options: o.Options}
	e.mu.Lock()
	err := via.err
	if e.tree.closed {
		err = ErrClosed
	}
	if err != nil {
		e.unlock()
		return nil, fmt.Errorf("connect %s: %w", l.name, err)
	}
	l.key = fmt.Sprintf("plan %d", e.router.NextID())
	c := e.starts.startLocked(via, l, o)
	c.life.owned = true
	c.outbox.outputLocked(o)
	e.unlock()
	c.Begun(e.work.base)
	return c, nil
}

// Begun waits until what is sent to c's hop from now on finds c there, or c is gone.
func (c *Context) Begun(ctx context.Context) {
	if c.hopStart.sent == nil {
		return
	}
	select {
	case <-c.hopStart.sent:
	case <-c.done:
	case <-ctx.Done():
	}
}

// Say answers in the dialogue of a context that is being started by StartPlan.
func (c *Context) Say(text secret.Secret) {
	c.e.dialogues.mask.Add(strings.TrimRight(string(text), "\r\n"))
	c.hopStart.say(text.Bytes())
}

// say is Say for what is hidden already, or may be shown. It keeps no copy of text.
func (hs *hopStart) say(text []byte) {
	c := hs.c
	payload := wire.AppendConnect(make([]byte, 0, 4+len(text)), c.id, text)
	defer clear(payload)
	e := c.e
	e.mu.Lock()
	if c.err == nil && !c.hello.up && c.parent != nil && c.parent.err == nil {
		e.traffic.putLocked(c.parent, &wire.Frame{Dst: c.parent.id, Handle: wire.Connect, Kind: wire.Item,
			Secret: true, Payload: payload})
	}
	e.unlock()
}

// sayLine is say for an answer, with the end of its line.
func (hs *hopStart) sayLine(answer string) {
	line := append(append(make([]byte, 0, len(answer)+1), answer...), '\n')
	defer clear(line)
	hs.say(line)
}

// with names the modules that its hop passes on to c.
func (hs *hopStart) with() []string {
	c := hs.c
	if c.launch.golang.is.Load() {
		return nil
	}
	return hs.brings
}

// starts plans contexts and starts them, and remembers what starts have found out.
type starts struct {
	e        *Engine
	fresh    atomic.Uint64 // contexts that were made with Fresh
	refused  refusals
	binaries gobinary.All
	proxy    proxy.Server
	// contexts behind hops that had no interpreter, by what made them: bool
	pythonless sync.Map
}

// links plans all hops of a target. The last link has the key of a hop, so that it can serve as a
// hop.
func (s *starts) links(target string, o ConnectOptions) ([]link, error) {
	e := s.e
	hops, err := methods.ParseTarget(target)
	if err != nil {
		return nil, err
	}
	o.Interactive, o.Sourced = e.dialogues.prompts(o) != nil, e.dialogues.sources(o) != nil
	here := o.Via == nil
	var names []string
	before, through := "", ""
	if o.Via != nil {
		names, before, through = append(names, o.Via.name), fmt.Sprint(o.Via.id), o.Via.name
	}
	all, boots := make([]link, len(hops)), o.Boot
	for i, h := range hops {
		o := o
		if o.Options, err = methods.ForHop(o.Options, through, hops, i); err != nil {
			return nil, fmt.Errorf("connect %s: %w", target, err)
		}
		names = append(names, h.String())
		l := link{hop: h, name: strings.Join(names, "+"), options: o.Options}
		first := here && i == 0
		l.carry = !first && h.Method == "ssh" && !o.SSH.FromHop
		l.native = o.SSH.Native && h.Method == "ssh" && (first || l.carry)
		way, own := boot.Pipe, boots != nil && i == len(hops)-1
		if h.Method == "ssh" && (first || l.carry) && !o.SSH.NoAhead && !own {
			way, l.ahead = boot.Ahead, true
		}
		if l.carry && i > 0 {
			all[i-1].carries = true
		}
		if o.Boot = nil; own {
			o.Boot, l.name = boots, l.name+"+"+o.BootName
		}
		last := i == len(hops)-1
		if err := s.planHop(&l, o, way, first, last && (first || l.carry)); err != nil {
			return nil, fmt.Errorf("connect %s: %w", target, err)
		}
		place := ""
		// else it is found out where that is dialed
		if (first || l.carry) && (e.opt.Dial == nil || !here) {
			place = o.Origin.settle(&l.plan)
		}
		l.key = key(l, o, place)
		if h.Method == "ssh" && (o.SSH.Password != "" || o.Sourced) {
			l.place = before + l.key
		}
		if own {
			l.key += fmt.Sprintf("%q", boots)
		}
		template := o.Template && last || !last && hops[i+1].Method == "fork"
		l.key = before + s.keyOf(l, template, o.Fresh && last)
		if last && !first && !own {
			s.planTunnel(&l, o)
		}
		before = l.key
		all[i] = l
	}
	all[len(all)-1].shared = o.Shared
	if here {
		all[0].beside = o.Beside
	}
	return all, nil
}

// keyOf adds to l's key what else decides whether a context can take another's place. In a template
// nothing is to run, and a fresh one has a place of its own.
func (s *starts) keyOf(l link, template, fresh bool) string {
	if fresh {
		return fmt.Sprintf("fresh %d", s.fresh.Add(1))
	}
	if l.fallback {
		l.key += "fallback"
	}
	if template {
		l.key += "template"
	}
	return l.key
}

// planHop sets l's plan, and what carries it out. alone tells whether it is the last hop and has a
// stream of its own, so that it may fall back on a Go program.
func (s *starts) planHop(l *link, o ConnectOptions, way boot.Way, first, alone bool) (err error) {
	command := boot.Command(o.Python, way)
	if o.Boot != nil {
		command = o.Boot
	} else if alone && s.e.opt.Dial == nil {
		other, err := o.fallbackFor(way)
		if err != nil {
			return err
		}
		if other != nil {
			command, l.fallback = other, true
		}
	}
	if l.plan, err = l.hop.Plan(command, o.Options, first || l.carry); err != nil {
		return err
	}
	if l.plan.Wait && o.Boot == nil {
		l.fallback = false
		command = boot.Command(o.Python, boot.Terminal)
		if l.plan, err = l.hop.Plan(command, o.Options, first); err != nil {
			return err
		}
	}
	if l.start = s.console(l.plan, o.Python); l.start != nil {
		l.fallback = false
	}
	return nil
}

// short are the methods whose pipes lead to a process of this machine.
var short = map[string]bool{"local": true, "fork": true, methods.GoMethod: true}

// newContext returns a context that nothing knows of yet.
func (s *starts) newContext(parent *Context, l link, o ConnectOptions) *Context {
	e := s.e
	c := bare(e, cmp.Or(o.ID, e.router.NextID()), l.name)
	c.parent = parent
	c.launch.hop, c.launch.key, c.launch.place = l.hop, l.key, l.place
	c.launch.prompt = e.dialogues.concealed(e.dialogues.prompts(o))
	c.launch.secrets = e.dialogues.sources(o)
	c.hopStart.brings, c.hopStart.talk = o.Brings, o.Talk
	c.figures.began, c.figures.slowness = time.Now(), l.plan.Line.Slowness()
	c.hello.mode = modeBefore(l)
	// The program of exec: may lead anywhere.
	c.Supply.near = l.plan.Near && l.hop.Method != "exec" && (parent == nil || parent.Supply.near)
	c.launch.golang.begin(l, o)
	return c
}

// startLocked makes one context and sets its start going.
func (s *starts) startLocked(parent *Context, l link, o ConnectOptions) *Context {
	e := s.e
	c := s.newContext(parent, l, o)
	e.dialogues.conceal(l.plan, o.SSH)
	c.outbox.records.Group = &e.work.drains
	if l.beside != nil && l.beside.err == nil {
		c.launch.beside = l.beside
		c.launch.beside.life.children++
	}
	if l.carry || l.tunnel {
		l.start = s.carryLocked(c, parent, l.tunnel)
		parent = nil
	}
	e.tree.addLocked(c, parent)
	config := s.config(c, o)
	e.work.jobs.Add(1)
	if parent == nil {
		c.launch.golang.fallback = newFallback(c, l, config)
		c.root, c.stream, c.launch.callsAhead = c, stream.New(), o.SSH.CallsAhead
		if !short[l.hop.Method] {
			c.stream.Bound(c.id)
		}
		if l.ahead {
			c.launch.ahead = &ahead{config: config, patience: e.opt.aheadPatience, carries: l.carries}
			if l.carries {
				c.launch.ahead.patience = carryPatience
			}
			c.stream.Gather(aheadLimit)
		} else if c.launch.golang.fallback == nil {
			c.stream.PutRaw(opening(config, l.golang))
		}
		e.tree.beatLocked()
		if (l.carries || l.shared) && l.hop.Method == "ssh" && !l.native {
			c.launch.master = newMaster()
		}
		starter := l.start
		if starter == nil {
			starter = e.opt.start
		}
		if l.native {
			starter = s.native(c.launch.carrier, starter)
		}
		go c.launch.run(starter, l.plan, o.SSH)
	} else {
		c.root, c.hopStart.gate, c.hopStart.sent = parent.root, &gate{}, make(chan struct{})
		c.hopStart.brings = slices.Concat(parent.Supply.passesOnLocked(), c.hopStart.brings)
		for _, name := range c.hopStart.with() {
			c.Supply.modules[name] = true // its hop passes it on
		}
		c.hopStart.converse(&l.plan)
		if l.plan.Talk == methods.TalkQuestions {
			c.hopStart.questions(&l.plan, o.SSH)
		}
		c.hopStart.late = hasSecrets(l.plan)
		go c.hopStart.connectVia(l.plan, behind(config, l.golang))
	}
	return c
}

// carryLocked has parent carry the bytes of c's process. It returns what starts that.
func (s *starts) carryLocked(c, parent *Context, tunnel bool) starter {
	parent.life.children++
	c.launch.carrier, c.parent = parent, nil
	if tunnel {
		return s.tunnelled(parent)
	}
	return s.carried(parent)
}

func (s *starts) config(c *Context, o ConnectOptions) boot.Config {
	e := s.e
	return boot.Config{ID: uint32(c.id), Parents: c.ancestors(), Name: c.name,
		MaxMessage:  e.opt.MaxMessage,
		Heartbeat:   wholeSeconds(c.figures.slowed(e.opt.Heartbeat)),
		BusyTimeout: wholeSeconds(c.figures.slowed(e.opt.busyTimeout)),
		LogLevel:    pythonLevel(o.LogLevel)}
}

// wholeSeconds rounds a timeout up. A negative one is 0: there is none.
func wholeSeconds(d time.Duration) int {
	return max(0, int((d+time.Second-1)/time.Second))
}

// Connected waits until c is up. The error is why it is gone, or ctx's.
func (c *Context) Connected(ctx context.Context) error {
	select {
	case <-c.hello.ready:
		return nil
	default:
	}
	if c.root.launch.ahead != nil {
		c.launch.depart(ctx)
	}
	select {
	case <-c.hello.ready:
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return c.notYet(ctx)
	}
}

// notYet is the error of a wait for c whose ctx has ended. It says how far the connect has come.
func (c *Context) notYet(ctx context.Context) error {
	err := connectGivenUp(ctx, c.name)
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	err.Hop, err.Phase = c.progressLocked()
	return err
}

// connectGivenUp is the error of a connect whose ctx has ended.
func connectGivenUp(ctx context.Context, target string) *connect.Error {
	why := givenUp(ctx, "connect "+target)
	return methods.Explain(&connect.Error{Hop: target, Target: target, Phase: connect.PhaseStart,
		Kind: connect.ErrCancelled, Text: why.reason(), Err: why})
}

// GivenUp returns the error of a connect to target whose ctx has ended before it began; nil: ctx
// has not ended.
func GivenUp(ctx context.Context, target string) error {
	if ctx.Err() == nil {
		return nil
	}
	return connectGivenUp(ctx, target)
}

// progressLocked returns the first hop on the way to c, itself included, that isn't up, and what it
// is about.
func (c *Context) progressLocked() (hop, phase string) {
	for before := c; before != nil; before = cmp.Or(before.parent, before.launch.carrier) {
		if !before.hello.up {
			c = before
		}
	}
	switch {
	case c.figures.count.phases.EC0 > 0, c.launch.loggedInLocked():
		phase = connect.PhasePython
	case c.figures.count.phases.Spawn > 0:
		phase = connect.PhaseLogin
	default:
		phase = connect.PhaseStart
	}
	return c.name, phase
}

// loggedInLocked tells whether the ssh of this machine that is to start c is logged in.
func (l *launch) loggedInLocked() bool { return l.proc != nil && l.proc.LoggedIn() }
