package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

var targetName = lazyregexp.New(`^([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)$`)

// takeNames takes the names off targets that have one, and returns them by the place of the target.
func (o *options) takeNames() (map[int]string, error) {
	names := map[int]string{}
	for i, t := range o.targets {
		m := targetName.FindStringSubmatch(t)
		if m == nil {
			continue
		}
		for _, other := range names {
			if other == m[1] {
				return nil, usagef("two targets are called %s", m[1])
			}
		}
		names[i], o.targets[i] = m[1], m[2]
	}
	return names, nil
}

// withBackend runs what the ssh programs of one command ask for.
type withBackend struct {
	f     *fleet
	hosts map[string]*withHost // static after newWithBackend
	all   []*withHost          // static

	noAgents bool // clients can't forward theirs; static

	forwards withForwards
	sizes    resizing
}

// withHost is a target with names.
type withHost struct {
	*host
	names []string
	noWay error         // why there is no chain; else nil
	room  chan struct{} // of the connections of all its forwardings

	mu   sync.Mutex // held while it is connected; protects following, and what host has
	user string     // its account; "": not asked for yet
}

// newWithBackend gives targets their names. Of two that come to the same, neither has it.
func newWithBackend(f *fleet, names map[int]string) *withBackend {
	b := &withBackend{f: f, hosts: map[string]*withHost{}}
	f.crowd = f.newCrowd()
	taken := map[string]int{}
	for i := range f.s.opt.spots {
		sp := &f.s.opt.spots[i]
		h := &withHost{host: &host{target: sp.name, chain: sp.chain, fleet: f}, noWay: sp.err,
			room: make(chan struct{}, portforward.MaxConnections)}
		h.stdout, h.stderr = raw{f.s.ui.err}, raw{f.s.ui.err}
		if h.names = namesOf(sp.name, names[i]); len(f.s.opt.spots) == 1 {
			h.names = append(h.names, "host")
		}
		b.all = append(b.all, h)
		for _, name := range slices.Compact(slices.Sorted(slices.Values(h.names))) {
			taken[name]++
			b.hosts[name] = h
		}
	}
	for name, n := range taken {
		if n > 1 && !slices.Contains(mapValues(names), name) {
			delete(b.hosts, name)
		}
	}
	for i, name := range names {
		b.hosts[name] = b.all[i]
	}
	return b
}

func mapValues(m map[int]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// namesOf returns the names of a target: its own name, if the user has given one; else the target
// as it is written, and the last ssh host on its way.
func namesOf(target, own string) []string {
	if own != "" {
		return []string{own}
	}
	names := []string{target}
	if hops, err := methods.ParseTarget(target); err == nil {
		for _, hop := range slices.Backward(hops) {
			if hop.Method == "ssh" {
				return append(names, hop.Host)
			}
		}
	}
	return names
}

// names lists what there is, for errors.
func (b *withBackend) names() string {
	var all []string
	for name := range b.hosts {
		all = append(all, printable.Name(name))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// find returns the host that [USER@]NAME means.
func (b *withBackend) find(target string) (*withHost, string, error) {
	if h := b.hosts[target]; h != nil {
		return h, "", nil
	}
	user, name := "", target
	if i := strings.LastIndexByte(target, '@'); i >= 0 {
		user, name = target[:i], target[i+1:]
	}
	if h := b.hosts[name]; h != nil {
		return h, user, nil
	}
	return nil, "", fmt.Errorf("no target is called %s; there are: %s", printable.Name(name),
		b.names())
}

// start returns the context of h, and connects it first unless it is up. ctx bounds the connect,
// which waits for its turn.
func (h *withHost) start(ctx context.Context) (*mitogen.Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noWay != nil {
		h.err = &wayError{h.noWay}
		return nil, h.err
	}
	if h.context != nil && h.context.Err() == nil {
		return h.context, nil
	}
	crowd := h.fleet.crowd
	defer crowd.leave()
	if !crowd.enter(ctx) {
		h.err = context.Cause(ctx)
		return nil, h.err
	}
	h.up(ctx)
	late := (*timeoutError)(nil)
	if errors.As(h.err, &late) {
		if h.context != nil {
			h.context.Close()
		}
		return nil, late
	}
	return h.context, h.err
}

// up connects h and sets h.err. It tries again if the network failed, or if another connect may
// make room for this one.
func (h *withHost) up(ctx context.Context) {
	f := h.fleet
	for alone := 0; ; {
		f.starts(h.host)
		f.try(ctx, h.host, func(ctx context.Context, _ *host) error {
			if err := h.connect(h.stdout); err != nil {
				return err
			}
			_, err := h.context.Info(ctx)
			return err
		})
		if !h.foundNoRoom() || !f.crowd.retry(ctx, &alone) {
			return
		}
	}
}

// connectAll waits until all targets are up. If one isn't, it prints the reason, and returns an
// exitError.
func (b *withBackend) connectAll(ctx context.Context) error {
	f := b.f
	done := make(chan struct{})
	go f.refresh(done)
	var all sync.WaitGroup
	for _, h := range b.all {
		all.Go(func() {
			h.start(ctx)
			f.ends(h.host, errors.Is(context.Cause(ctx), errInterrupted))
		})
	}
	all.Wait()
	close(done)
	f.mu.Lock()
	status := f.status
	f.sealed = status == 0 // progress doesn't go on beside the command
	f.mu.Unlock()
	f.s.ui.show("")
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case status != 0:
		return exitError(f.seal())
	}
	return nil
}

// printUnreached prints the error of a target that isn't up.
func (s *state) printUnreached(h *host) {
	switch {
	case !s.opt.json:
		h.tell()
	case h.err != nil:
		h.printJSON(record{})
	}
}

// account asks what the account is called there.
func (h *withHost) account(ctx context.Context) (string, error) {
	c, err := h.start(ctx)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	user := h.user
	h.mu.Unlock()
	if user != "" {
		return user, nil
	}
	if user, err = nameOfAccount(ctx, c); err != nil {
		return "", err
	}
	h.mu.Lock()
	h.user = user
	h.mu.Unlock()
	return user, nil
}

// nameOfAccount asks the user database, as no variable of the environment can tell; without an
// entry there, an account's name is its number.
func nameOfAccount(ctx context.Context, c *mitogen.Context) (string, error) {
	uid, err := mitogen.Call[int64](ctx, c, "os:geteuid")
	if err != nil {
		return "", err
	}
	type account struct {
		Name string `py:"pw_name"`
	}
	entry, err := mitogen.Call[account](ctx, c, "pwd:getpwuid", uid)
	if raised := (*report.CallError)(nil); errors.As(err, &raised) && raised.Type == "KeyError" {
		return strconv.FormatInt(uid, 10), nil
	}
	return entry.Name, err
}
