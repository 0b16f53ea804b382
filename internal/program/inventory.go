package program

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// inventories are those that the program has had read, by the numbers that it was told.
type inventories struct {
	mu   sync.Mutex          // protects following
	all  []map[string]chain  // by number, less one; then by host
	hops map[hopPlace][]*hop // on the way to hosts, shared by all that are reached through them
}

// hopPlace says where a hop is.
type hopPlace struct {
	via    *engine.Context // nil: this machine
	target string
}

// hop is a context on the way to hosts. Only hosts with these options share it: other options may
// enter another account.
type hop struct {
	options connect.Options
	context *engine.Context
}

// chain has the ways to a host, or the error of an unreachable one.
type chain struct {
	ways []inventory.Way
	err  error
}

// listing is the dict of inventory.
type listing struct {
	Sources []string `py:"sources"`
	Limit   string   `py:"limit"`
}

// inventory reads inventories and chooses hosts. It doesn't block: sources may be programs.
func (s *session) inventory(reply wire.Handle, payload []byte) error {
	l, err := arguments[listing](payload)
	if err != nil {
		return err
	}
	go func() {
		answer, err := s.list(l)
		if err != nil {
			s.front.Answer(reply, wire.Error, map[string]any{"message": printable.Line(err.Error())})
			return
		}
		s.front.Answer(reply, wire.Data, answer)
	}()
	return nil
}

// list returns what the program is told of an inventory.
func (s *session) list(l listing) (map[string]any, error) {
	inv, err := inventory.Load(s.ctx, l.Sources, nil)
	if err != nil {
		return nil, err
	}
	if l.Limit == "" {
		l.Limit = "all"
	}
	hosts, err := inv.Select(l.Limit)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	names, warnings := []any{}, []any{}
	ways := map[string]chain{}
	for _, h := range hosts {
		c := chain{}
		if c.ways, c.err = inv.Chain(h); c.err == nil {
			c.err = inventory.CheckProxies(c.ways)
		}
		ways[h.Name] = c
		names = append(names, h.Name)
	}
	for _, w := range inv.Warnings() {
		warnings = append(warnings, printable.Line(w))
	}
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	s.lists.all = append(s.lists.all, ways)
	return map[string]any{
		"inventory": len(s.lists.all), "hosts": names, "warnings": warnings,
	}, nil
}

// host returns how a host of an inventory is reached.
func (s *session) host(number int, name string) ([]inventory.Way, error) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	if number < 1 || number > len(s.lists.all) {
		return nil, fmt.Errorf("connect %s: there is no inventory %d", name, number)
	}
	c, ok := s.lists.all[number-1][name]
	switch {
	case !ok:
		return nil, fmt.Errorf("connect %s: no host that was chosen from inventory %d", name, number)
	case c.err != nil:
		return nil, fmt.Errorf("inventory: %w", c.err)
	}
	return c.ways, nil
}

// at returns the options of one way: the program's, as far as they are for it, and the inventory's.
// A password for ssh is for the last way, a password for an account for the last that enters one.
func at(o connect.Options, ways []inventory.Way, i int) connect.Options {
	if i < len(ways)-1 {
		o.SSH.Password = ""
	}
	if inventory.BecomesLater(ways, i) {
		o.Sudo.Password, o.Su.Password, o.Doas.Password = "", "", ""
	}
	return connect.Merge(o, &ways[i].Options)
}

// before returns the context before the last of a chain, nil if there is none. All hosts that are
// reached through it with the same options share it.
func (s *session) before(ways []inventory.Way, o engine.ConnectOptions) (*engine.Context, error) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	var c *engine.Context
	for i, w := range ways[:len(ways)-1] {
		own := o
		own.Options, own.Via = at(o.Options, ways, i), c
		var err error
		if c, err = s.hopLocked(w.Target, own); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// hopLocked returns a context that lives and was made in this way, or a new one.
func (s *session) hopLocked(target string, o engine.ConnectOptions) (*engine.Context, error) {
	place := hopPlace{o.Via, target}
	there := s.lists.hops[place]
	for _, h := range there {
		if h.context.Err() == nil && reflect.DeepEqual(h.options, o.Options) {
			return h.context, nil
		}
	}
	c, err := s.engine.Start(target, o)
	if err != nil {
		return nil, err
	}
	if s.lists.hops == nil {
		s.lists.hops = map[hopPlace][]*hop{}
	}
	there = slices.DeleteFunc(there, func(h *hop) bool { return h.context.Err() != nil })
	s.lists.hops[place] = append(there, &hop{o.Options, c})
	return c, nil
}

// connectHost makes a context at a host of an inventory.
func (s *session) connectHost(reply wire.Handle, c connection, o engine.ConnectOptions) error {
	if c.Via != 0 {
		return errors.New("connect: a host of an inventory is reached as that says, got via, too")
	}
	ways, err := s.host(c.Inventory, c.Target)
	if err != nil {
		return err
	}
	last := len(ways) - 1
	before := func() (*engine.Context, error) { return s.before(ways, o) }
	own := o
	own.Options = at(o.Options, ways, last)
	s.front.Connect(wire.ContextID(c.ID), 0, reply, ways[last].Target, own, before)
	return nil
}
