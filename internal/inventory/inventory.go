// Package inventory reads lists of hosts: Ansible's INI and YAML files with group_vars and host_vars beside them, plain lists,
// and through the ansible-inventory program whatever else Ansible knows. What it says about a host becomes a Way: a target
// and the options for it.
package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Var is a variable's value: string, bool, int64, float64, nil, []any or map[string]any.
type Var struct {
	Value any
	Where string // "file:line" for errors
	Vault bool   // encrypted, so that Value is not known
}

// An Error is a mistake in an inventory.
type Error struct {
	File string
	Line int // 0: the whole file
	Text string
}

// Error begins with file and line, as compilers' messages do.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// maxHosts bounds what ranges make.
const maxHosts = 1 << 20

// An Inventory knows hosts and groups. All hosts are in group "all".
type Inventory struct {
	hosts  map[string]*Host
	groups map[string]*group
	order  []*Host
}

// A Host has the variables that were given for it alone. Use Vars for all.
type Host struct {
	Name string
	own  map[string]Var
}

type group struct {
	name     string
	hosts    []*Host
	children []*group
	vars     map[string]Var
	depth    int // longest way from "all"; set by finish
}

// New returns an inventory without hosts.
func New() *Inventory {
	v := &Inventory{hosts: map[string]*Host{}, groups: map[string]*group{}}
	v.group("all")
	return v
}

// Hosts returns all, in the order in which they were read.
func (v *Inventory) Hosts() []*Host { return v.order }

// Names returns those of all groups and hosts, sorted.
func (v *Inventory) Names() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(v.groups)), maps.Keys(v.hosts))
	slices.Sort(names)
	return slices.Compact(names)
}

// Host returns the one of that name, or nil.
func (v *Inventory) Host(name string) *Host { return v.hosts[name] }

func (v *Inventory) group(name string) *group {
	g := v.groups[name]
	if g == nil {
		g = &group{name: name, vars: map[string]Var{}}
		v.groups[name] = g
	}
	return g
}

// add returns the host of that name, which is in g from now on.
func (v *Inventory) add(g *group, name string) *Host {
	h := v.hosts[name]
	if h == nil {
		h = &Host{Name: name, own: map[string]Var{}}
		v.hosts[name] = h
		v.order = append(v.order, h)
	}
	if !slices.Contains(g.hosts, h) {
		g.hosts = append(g.hosts, h)
	}
	return h
}

func (g *group) adopt(child *group) {
	if !slices.Contains(g.children, child) {
		g.children = append(g.children, child)
	}
}

// finish checks the groups' graph and computes depths.
func (v *Inventory) finish() error {
	state := map[*group]int{} // 1: on the way down, 2: done
	var visit func(g *group, depth int) error
	visit = func(g *group, depth int) error {
		if state[g] == 1 {
			return fmt.Errorf("group %q is its own child", g.name)
		}
		if state[g] == 2 && g.depth >= depth {
			return nil
		}
		state[g] = 1
		g.depth = max(g.depth, depth)
		for _, c := range g.children {
			if err := visit(c, g.depth+1); err != nil {
				return err
			}
		}
		state[g] = 2
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		depth := 1
		if name == "all" {
			depth = 0
		}
		if err := visit(v.groups[name], depth); err != nil {
			return err
		}
	}
	return nil
}

// members returns the hosts of g and of its descendants, each once.
func (g *group) members() []*Host {
	var all []*Host
	hosts, groups := map[*Host]bool{}, map[*group]bool{}
	var visit func(g *group)
	visit = func(g *group) {
		if groups[g] {
			return
		}
		groups[g] = true
		for _, h := range g.hosts {
			if !hosts[h] {
				hosts[h] = true
				all = append(all, h)
			}
		}
		for _, c := range g.children {
			visit(c)
		}
	}
	visit(g)
	return all
}

// Vars returns what holds for h: the variables of its groups, the nearer before the farther and "all", then its own.
func (v *Inventory) Vars(h *Host) map[string]Var {
	var in []*group
	for _, g := range v.groups {
		if g.name == "all" || slices.Contains(g.members(), h) {
			in = append(in, g)
		}
	}
	slices.SortFunc(in, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority(), b.priority()), cmp.Compare(a.name, b.name))
	})
	all := map[string]Var{}
	for _, g := range in {
		maps.Copy(all, g.vars)
	}
	maps.Copy(all, h.own)
	return all
}

// priority is Ansible's, among groups of one depth.
func (g *group) priority() int64 {
	n, ok := g.vars["ansible_group_priority"].Value.(int64)
	if !ok {
		return 1
	}
	return n
}

// Select returns the hosts that Ansible's patterns name, in the inventory's order: names, groups, globs, "~" and a regular
// expression, "all"; "," or ":" between them, "!" before what is left out, "&" before what all must be in.
func (v *Inventory) Select(patterns string) ([]*Host, error) {
	list, err := splitPatterns(patterns)
	if err != nil {
		return nil, err
	}
	chosen := map[*Host]bool{}
	some := false
	for _, p := range list {
		if strings.HasPrefix(p, "!") || strings.HasPrefix(p, "&") {
			continue
		}
		some = true
		hosts, err := v.match(p)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			chosen[h] = true
		}
	}
	if !some {
		for _, h := range v.order {
			chosen[h] = true
		}
	}
	for _, sign := range []string{"&", "!"} {
		for _, p := range list {
			rest, ok := strings.CutPrefix(p, sign)
			if !ok {
				continue
			}
			hosts, err := v.match(rest)
			if err != nil {
				return nil, err
			}
			for h := range chosen {
				if slices.Contains(hosts, h) == (sign == "!") {
					delete(chosen, h)
				}
			}
		}
	}
	var all []*Host
	for _, h := range v.order {
		if chosen[h] {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no host is left")
	}
	return all, nil
}
