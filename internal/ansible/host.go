package ansible

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// service is the name of the service in the context.
const service = "ansible"

// brings are the modules of the runtime that it needs.
var brings = []string{"_mitogen_spawn", "_mitogen_tunnel", "_mitogen_ansible"}

// host is a login: a hop that runs nothing, but does file operations; accounts are below it.
type host struct {
	key     string
	name    string          // for people
	machine string          // see machineOf
	login   *engine.Context // of a direct host its account's
	began   time.Time       // not after any of its contexts did
	direct  bool
	beside  *engine.Context // nil, or a direct host's whose connection the login uses

	mu      sync.Mutex // protects following; held while something is sent that depends on them
	leaves  map[leafKey]*leaf
	places  map[sum]place // of contents that the hop has
	numbers map[sum]int   // of zip files
	homes   map[string]string
	uses    int // operations under way
	last    time.Time
	retired bool    // no further ones
	parting []*leaf // that were told to end, and may not have yet
	lent    bool    // a direct host has taken the login's rights
}

type place struct {
	pack  string
	index int
}

// leafKey says which leaf does what is asked. An account of "" is the login's own; a python of ""
// is any.
type leafKey struct{ account, python string }

// leaf is a context of one account and interpreter, which runs modules and programs.
type leaf struct {
	key   leafKey
	user  string
	ready chan struct{} // closed once the following are set
	ctx   *engine.Context
	err   error
	zips  map[int]bool    // that it knows
	packs map[string]bool // that went to it

	uses int // operations under way
	last time.Time
}

// maxLeaves bounds the contexts of a host, each of which costs it 10 to 20 MB. The least recently
// used context makes room for a new one.
const maxLeaves = 20

// A Way leads to a host: targets, each behind the one before.
type Way []Hop

// Hop is a target with options of its own.
type Hop struct {
	Target  string
	Options connect.Options
	Origin  *engine.Origin // the playbook's process; nil: this one
}

// logIn starts a login. What is on the way there is shared with other hosts; beside is nil, or a
// context that is there already.
func logIn(eng *engine.Engine, key string, way Way, beside *engine.Context) (*host, error) {
	var c *engine.Context
	began := time.Now()
	for i, h := range way {
		next, err := eng.Start(h.Target,
			engine.ConnectOptions{Options: h.Options, Origin: h.Origin, Via: c, Fresh: i == len(way)-1,
				Beside: beside})
		if err != nil {
			return nil, err
		}
		c = next
	}
	return newHost(key, c, began), nil
}

func newHost(key string, login *engine.Context, began time.Time) *host {
	return &host{key: key, login: login, began: began, leaves: map[leafKey]*leaf{},
		places: map[sum]place{}, numbers: map[sum]int{}, homes: map[string]string{}}
}

func newLeaf(key leafKey) *leaf {
	return &leaf{key: key, ready: make(chan struct{}), zips: map[int]bool{}, packs: map[string]bool{}}
}

// account describes the entry into an account other than the login's own.
type account struct {
	user    string
	stdin   bool // what asks for a password reads the answer from stdin, else from the terminal
	command func(ctx context.Context, boot string) (string, error)
	said    chan []byte // gets what entering it says
}

// find returns the leaf for key, in use (release is the other end of that), and whether the caller
// has to open it.
func (h *host) find(key leafKey) (l *leaf, fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { l.uses++ }()
	if key.python == "" {
		for k, l := range h.leaves {
			if k.account == key.account && !l.dead() {
				return l, false
			}
		}
	}
	if l := h.leaves[key]; l != nil && !l.dead() {
		return l, false
	}
	h.makeRoom()
	l = newLeaf(key)
	h.leaves[key] = l
	return l, true
}

// makeRoom closes the idle leaf that was used least lately, if there are many. h.mu is held.
func (h *host) makeRoom() {
	if len(h.leaves) < maxLeaves {
		return
	}
	var oldest *leaf
	for _, l := range h.leaves {
		if l.uses == 0 && (oldest == nil || l.last.Before(oldest.last)) {
			oldest = l
		}
	}
	if oldest == nil {
		return
	}
	h.part(oldest)
}

// part tells a leaf that nothing uses to end. h.mu is held.
func (h *host) part(l *leaf) {
	delete(h.leaves, l.key)
	h.parting = slices.DeleteFunc(h.parting, func(l *leaf) bool { return l.ctx.Err() != nil })
	if l.ctx != nil {
		l.ctx.Release()
		h.parting = append(h.parting, l)
	}
}

// release says that an operation of l has ended.
func (h *host) release(l *leaf) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.uses--
	l.last = time.Now()
}

func (l *leaf) dead() bool {
	select {
	case <-l.ready:
		return l.err != nil || l.ctx.Err() != nil
	default:
		return false
	}
}

// open starts a leaf. packs go to it with its start.
func (h *host) open(ctx context.Context, eng *engine.Engine, l *leaf, a *account,
	packs []string) error {
	defer close(l.ready)
	var python []string
	if l.key.python != "" {
		python = []string{l.key.python}
	}
	plan := methods.Plan{Method: "fork", Name: "fork", Argv: boot.Command(python, boot.Pipe),
		Fork: true, Near: true, Python: l.key.python, Timeout: leafTimeout}
	o := engine.ConnectOptions{Brings: append(append([]string(nil), brings...), packs...)}
	if a != nil {
		l.user = a.user
		way := boot.Pipe
		if !a.stdin {
			way = boot.Terminal
		}
		command, err := a.command(ctx, methods.QuoteCommand(boot.Command(python, way)))
		if err != nil {
			l.err = err
			return err
		}
		plan = methods.Plan{Method: "exec", Name: "become:" + a.user,
			Argv: []string{"/bin/sh", "-c", command}, TTY: true, Talk: methods.TalkStdin, Near: true,
			Timeout: leafTimeout}
		if !a.stdin {
			plan.Wait, plan.Talk = true, methods.TalkTerminal
		}
		o.Talk = func(text []byte) {
			select {
			case a.said <- text:
			default: // more than a program says that asks for a password
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range packs {
		l.packs[name] = true
	}
	l.ctx, l.err = eng.StartPlan(h.login, plan, o)
	return l.err
}

// leafTimeout bounds the start of an account's interpreter, questions for passwords included.
const leafTimeout = connect.DefaultTimeout

// learn sees to it that the hop has what a module is made of. It returns the packs that it is in.
// h.mu is held.
func (h *host) learn(ctx context.Context, s *Server, a *archive) ([]string, error) {
	var missing []sum
	for _, m := range a.files {
		if _, ok := h.places[m.sum]; !ok {
			missing = append(missing, m.sum)
			h.places[m.sum] = place{}
		}
	}
	fail := func(err error) ([]string, error) {
		for _, k := range missing {
			delete(h.places, k)
		}
		return nil, err
	}
	if len(missing) > 0 {
		packs, err := s.store.pack(missing)
		if err != nil {
			return fail(err)
		}
		for _, p := range packs {
			if err := s.give(ctx, h.login, p); err != nil {
				return fail(err)
			}
			for i, k := range p.sums {
				h.places[k] = place{p.name, i}
			}
		}
	}
	seen := map[string]bool{}
	var names []string
	for _, m := range a.files {
		if name := h.places[m.sum].pack; !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// teach makes the spec of a module's run mention its zip file, and gives the leaf what it lacks of
// it. h.mu is held.
func (h *host) teach(ctx context.Context, l *leaf, a *archive, packs []string,
	spec map[string]any) error {
	n := h.numbers[a.sum]
	if n == 0 {
		n = len(h.numbers) + 1
		h.numbers[a.sum] = n
	}
	spec["zip"], spec["files"] = n, []any{}
	if l.zips[n] {
		return nil
	}
	var names []any
	for _, name := range packs {
		if !l.packs[name] {
			l.packs[name] = true
			names = append(names, name)
		}
	}
	if len(names) > 0 && l.ctx != h.login {
		if err := tell(ctx, h.login,
			map[string]any{"op": "pass", "to": int(l.ctx.ID()), "names": names}); err != nil {
			return err
		}
	}
	var files []any
	for _, m := range a.files {
		p := h.places[m.sum]
		files = append(files, pyvalue.Tuple{m.path, p.pack, p.index})
	}
	spec["files"] = files
	l.zips[n] = true
	return nil
}

func discard(t *engine.Tunnel) {
	for {
		if _, err := t.Next(); err != nil {
			return
		}
	}
}

// use notes an operation. False: another host has to be made.
func (h *host) use() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired || h.login.Err() != nil {
		return false
	}
	h.uses++
	return true
}

// done is the other end of use.
func (h *host) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uses--
	h.last = time.Now()
	h.endIfOver()
}

// retire lets what is under way end, and then the host. It tells whether nothing is under way.
func (h *host) retire() (idle bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
	return h.endIfOver()
}

// endIfOver tells a retired host to end, its leaves first, as a login stays for what is behind it,
// once nothing is under way. h.mu is held.
func (h *host) endIfOver() bool {
	if !h.retired || h.uses > 0 {
		return false
	}
	for _, l := range h.leaves {
		h.part(l)
	}
	h.login.Release()
	return true
}

// leave tells the idle leaves of a user whose account is to be changed to end, and tells whether
// there were any.
func (h *host) leave(user string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := false
	for _, l := range h.leaves {
		select {
		case <-l.ready:
			if l.user == user && l.ctx != nil && l.uses == 0 {
				h.part(l)
				found = true
			}
		default:
		}
	}
	return found
}

// partingGrace bounds the wait for the end of leaves that were told to end.
const partingGrace = 10 * time.Second

// await waits until the leaves of a user that were told to end are gone.
func (h *host) await(ctx context.Context, user string) {
	ctx, cancel := context.WithTimeout(ctx, partingGrace)
	defer cancel()
	h.mu.Lock()
	parting := slices.Clone(h.parting)
	h.mu.Unlock()
	for _, l := range parting {
		if l.user != user {
			continue
		}
		select {
		case <-l.ctx.Done():
		case <-ctx.Done():
		}
	}
}

// An outcome tells of a job that has ended.
type outcome struct {
	status int  // exit status
	stale  bool // accounts have changed: the next job is to have another context
}

// collect passes a job's output on until its end.
func collect(t *engine.Tunnel, output func(stream byte, data []byte) error) (outcome, error) {
	for {
		b, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			text, stale := strings.CutSuffix(t.Text(), " stale")
			n, err := strconv.Atoi(text)
			if err != nil && text != "" {
				return outcome{}, fmt.Errorf("exit status %.40q", text)
			}
			return outcome{n, stale}, nil
		case err != nil:
			return outcome{}, err
		case len(b) > 0:
			if err := output(b[0], b[1:]); err != nil {
				t.Close()
				return outcome{}, err
			}
		}
	}
}
