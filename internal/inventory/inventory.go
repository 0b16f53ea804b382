// Package inventory reads lists of hosts: Ansible's INI and YAML files with group_vars and
// host_vars beside them, scripts, plain lists, and all other forms through the ansible-inventory
// program. The variables of a host become a Way: a target and the options for it.
package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Var is a variable's value: string, bool, int64, float64, nil, []any, map[string]any, or
// *big.Int beyond 64 bits.
type Var struct {
	Value  any
	Where  string // "file:line" for errors
	Vault  bool   // encrypted, so that Value is not known
	Unsafe bool   // tagged !unsafe: Value is never a template
}

// An Error is a mistake in an inventory.
type Error struct {
	File string
	Line int // 0: the whole file
	Text string

	prose bool // the file is no inventory at all
}

// Error begins with file and line, as compilers' messages do.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// maxHosts bounds the hosts that ranges make.
const maxHosts = 1 << 20

// An Inventory knows hosts and groups. All hosts are in group "all".
type Inventory struct {
	hosts      map[string]*Host
	groups     map[string]*group
	hostOrder  []*Host  // as first named
	groupOrder []*group // as first named
	localhost  *Host    // the first of localhost's names that a source lists
	order      []*Host  // of "all"; set by finish
	asked      bool     // ansible-inventory gave it, which doesn't tell all orders
	changes    int      // counts additions, to tell a source that adds nothing
	expected   []expectedGroup
	decrypt    func() (*Inventory, error) // asks Ansible once for all variables; nil: can't
	warnings   []string
}

// A Host has the variables that were given for it alone. Use Vars for all.
type Host struct {
	Name    string
	line    bool             // named by a line of text, see listed
	where   string           // of its first mention, for errors
	own     map[string]Var   // from inventory sources
	files   []map[string]Var // from host_vars, one for each place
	direct  []*group         // groups that list it
	bad     error            // its line or entry can't be read
	problem error            // a file with its variables can't be read
	told    map[string]Var   // all its variables, where Ansible alone can read some; else nil
	// removed from "ungrouped", of which it is then no member through other groups either
	grouped bool
	groups  []*group // all its groups but "all", by rising precedence; set by finish
}

// New returns an inventory without hosts.
func New() *Inventory {
	v := &Inventory{hosts: map[string]*Host{}, groups: map[string]*group{}}
	v.adopt(v.group("all"), v.group("ungrouped"))
	v.changes = 0
	return v
}

// Hosts returns all hosts in the order of Ansible's group "all": level by level from that group
// downwards.
func (v *Inventory) Hosts() []*Host { return v.order }

// Names returns those of all groups and hosts, sorted.
func (v *Inventory) Names() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(v.groups)), maps.Keys(v.hosts))
	slices.Sort(names)
	return slices.Compact(names)
}

// Host returns the one of that name, or nil.
func (v *Inventory) Host(name string) *Host { return v.hosts[name] }

// Warnings returns a line for each part of a source that Ansible passes over with a warning.
func (v *Inventory) Warnings() []string { return v.warnings }

func (v *Inventory) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// group returns the group of that name, which exists from now on.
func (v *Inventory) group(name string) *group {
	g := v.groups[name]
	if g == nil {
		g = &group{name: name, vars: map[string]Var{}, has: map[*Host]bool{}, priority: 1}
		v.groups[name] = g
		v.groupOrder = append(v.groupOrder, g)
		v.changes++
	}
	return g
}

// localNames are the names that Ansible takes for the machine that it runs on.
var localNames = []string{"127.0.0.1", "localhost", "::1"}

// add puts the host of that name into g. A port counts only where the host is named for the first
// time.
func (v *Inventory) add(g *group, name string, port int64, at origin) *Host {
	h := v.hosts[name]
	if h == nil {
		h = &Host{Name: name, where: at.where(), own: map[string]Var{}}
		v.hosts[name] = h
		v.hostOrder = append(v.hostOrder, h)
		if port != 0 {
			h.own["ansible_port"] = Var{Value: port, Where: at.where()}
		}
		if at.source != "" {
			v.set(name, "inventory_file", Var{Value: at.source, Where: at.where()})
			v.set(name, "inventory_dir", Var{Value: at.dir(), Where: at.where()})
		}
		if v.localhost == nil && slices.Contains(localNames, name) {
			v.localhost = h
		}
	}
	g.add(h)
	v.changes++
	return h
}

// addBad puts a host into g of which no more is known than where it is named, and why it can't be
// read.
func (v *Inventory) addBad(g *group, names []string, at origin, why error) error {
	if err := v.addHosts(g, names, 0, nil, at); err != nil {
		return err
	}
	for _, name := range names {
		if h := v.hosts[name]; h != nil && h.bad == nil {
			h.bad = why
		}
	}
	return nil
}

// problemOf returns why variables of h aren't known: of its own line, its files, or those of its
// groups; nil if all are.
func (v *Inventory) problemOf(h *Host) error {
	if err := cmp.Or(h.bad, h.problem); err != nil {
		return err
	}
	for _, g := range append([]*group{v.groups["all"]}, h.groups...) {
		if g.problem != nil {
			return g.problem
		}
	}
	return nil
}

// unread is problemOf after Ansible was asked for what is encrypted.
func (v *Inventory) unread(h *Host) error {
	problem := v.problemOf(h)
	locked := (*needsAnsible)(nil)
	if !errors.As(problem, &locked) || v.decrypt == nil {
		return problem
	}
	answer, err := v.decrypt()
	if bad := (*Error)(nil); errors.As(err, &bad) {
		return &Error{File: locked.File, Line: locked.Line, Text: bad.Text}
	}
	if err == nil && answer.hosts[h.Name] == nil {
		err = &Error{File: locked.File,
			Text: fmt.Sprintf("is encrypted, and ansible-inventory knows no host %q", h.Name)}
	}
	if err == nil {
		h.told = answer.Vars(answer.hosts[h.Name])
	}
	return err
}

type namedVar struct {
	name string
	Var
}

// addHosts puts hosts into g and gives each of them vars.
func (v *Inventory) addHosts(g *group, names []string, port int64, vars []namedVar,
	at origin) error {
	if len(v.hostOrder)+len(names) > maxHosts {
		return fmt.Errorf("more than %d hosts", maxHosts)
	}
	if len(names) == 0 {
		v.warn("%s: a range names no host, because its end is before its begin", at.where())
	}
	for _, name := range names {
		if name == "" {
			return errors.New("a host without a name")
		}
		v.add(g, name, port, at)
		for _, x := range vars {
			if err := v.set(name, x.name, x.Var); err != nil {
				return err
			}
		}
	}
	return nil
}

// set gives a variable to the group of that name or, if there is none, to the host: a host that is
// called as a group is sets the group's.
func (v *Inventory) set(entity, name string, value Var) error {
	v.changes++
	if g := v.groups[entity]; g != nil {
		return g.set(name, value)
	}
	v.hosts[entity].own[name] = value
	return nil
}

// Vars returns the variables that hold for h. Later ones win:
//  1. from inventory sources: those of "all", then of h's other groups by depth, priority and name;
//  2. from group_vars: those for "all" of each place, then for the other groups of each place;
//  3. h's own from inventory sources, then inventory_hostname, inventory_hostname_short and
//     group_names, which Ansible gives;
//  4. from host_vars of each place.
//
// Places are the directories of the sources in their order, then the working directory.
func (v *Inventory) Vars(h *Host) map[string]Var {
	if h.told != nil {
		all := maps.Clone(h.told)
		maps.Copy(all, h.magic())
		return all
	}
	all := maps.Clone(v.groups["all"].vars)
	for _, g := range h.groups {
		maps.Copy(all, g.vars)
	}
	for _, groups := range [][]*group{{v.groups["all"]}, h.groups} {
		for place := range v.groups["all"].files {
			for _, g := range groups {
				maps.Copy(all, g.files[place])
			}
		}
	}
	maps.Copy(all, h.own)
	maps.Copy(all, h.magic())
	for _, vars := range h.files {
		maps.Copy(all, vars)
	}
	return all
}
