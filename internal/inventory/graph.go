package inventory

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

type group struct {
	name     string
	hosts    []*Host
	has      map[*Host]bool // hosts, as a set
	children []*group
	parents  []*group
	vars     map[string]Var   // from inventory sources
	files    []map[string]Var // from group_vars, one for each place
	problem  error            // a file with its variables can't be read
	priority int64            // among groups of one depth
	depth    int              // longest way from "all"; set by finish
	all      []*Host          // hosts of the group and its descendants; set by finish
}

func (g *group) add(h *Host) {
	if !g.has[h] {
		g.has[h] = true
		g.hosts = append(g.hosts, h)
		h.direct = append(h.direct, g)
	}
}

func (g *group) remove(h *Host) {
	delete(g.has, h)
	g.hosts = slices.DeleteFunc(g.hosts, func(x *Host) bool { return x == h })
	h.direct = slices.DeleteFunc(h.direct, func(x *group) bool { return x == g })
}

// set takes a variable. Ansible takes ansible_group_priority for itself.
func (g *group) set(name string, value Var) error {
	if name != "ansible_group_priority" {
		g.vars[name] = value
		return nil
	}
	n, ok := wholeNumber(value.Value)
	if !ok {
		return fmt.Errorf("group %q: ansible_group_priority is not a number", g.name)
	}
	g.priority = n
	return nil
}

// wholeNumber converts as Python's int() does.
func wholeNumber(x any) (int64, bool) {
	switch x := x.(type) {
	case int64:
		return x, true
	case bool:
		return map[bool]int64{true: 1}[x], true
	case float64:
		return int64(x), math.Abs(x) < 1<<53
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(x), 10, 64)
		return n, err == nil
	case *big.Int:
		return x.Int64(), x.IsInt64()
	}
	return 0, false
}

// adopt makes child a child of g. It is an error if g is below child already.
func (v *Inventory) adopt(g, child *group) error {
	if slices.Contains(g.children, child) {
		return nil
	}
	if g == child || slices.Contains(g.ancestors(), child) {
		return fmt.Errorf("group %q is its own child", child.name)
	}
	g.children = append(g.children, child)
	child.parents = append(child.parents, g)
	v.changes++
	return nil
}

func parents(g *group) []*group  { return g.parents }
func children(g *group) []*group { return g.children }

func (g *group) ancestors() []*group { return walk(g, parents)[1:] }

// walk returns g and the groups that next leads to, level by level, each once.
func walk(g *group, next func(*group) []*group) []*group {
	all := []*group{g}
	seen := map[*group]bool{g: true}
	for i := 0; i < len(all); i++ {
		for _, n := range next(all[i]) {
			if !seen[n] {
				seen[n] = true
				all = append(all, n)
			}
		}
	}
	return all
}

// finish completes the graph as Ansible does: "all" above every group, "ungrouped" for hosts
// without another group. Then it computes the orders for Vars and Select.
func (v *Inventory) finish() error {
	if err := v.declared(); err != nil {
		return err
	}
	all := v.group("all")
	for _, g := range v.groupOrder {
		if g != all && len(g.parents) == 0 {
			if err := v.adopt(all, g); err != nil {
				return err
			}
		}
	}
	for _, h := range v.hostOrder {
		if err := v.regroup(h); err != nil {
			return err
		}
	}
	for _, g := range v.groupOrder {
		g.depth = 0
	}
	all.deepen(0)
	for _, g := range v.groupOrder {
		g.all = g.members()
	}
	v.order = all.all
	above := map[*group][]*group{}
	for _, g := range v.groupOrder {
		above[g] = walk(g, parents)
	}
	for _, h := range v.hostOrder {
		h.groups = h.in(above)
	}
	return nil
}

// regroup moves h into "ungrouped" if it is in no other group, and out of it if it is.
func (v *Inventory) regroup(h *Host) error {
	all, ungrouped := v.groups["all"], v.groups["ungrouped"]
	rest, in := 0, false
	for _, d := range h.direct {
		for _, g := range walk(d, parents) {
			in = in || g == ungrouped
			if g != all && g != ungrouped {
				rest++
			}
		}
	}
	switch {
	case in && rest > 0 && ungrouped.has[h]:
		ungrouped.remove(h)
		h.grouped = true
	case !in && rest == 0 && v.groups[h.Name] != nil:
		return v.adopt(ungrouped, v.groups[h.Name])
	case !in && rest == 0:
		ungrouped.add(h)
	}
	return nil
}

// deepen sets the depth of g and of its descendants to the longest way.
func (g *group) deepen(depth int) {
	g.depth = depth
	for _, c := range g.children {
		if c.depth <= depth {
			c.deepen(depth + 1)
		}
	}
}

// members returns the hosts of g and of its descendants, each once: the nearer group's first.
func (g *group) members() []*Host {
	var all []*Host
	seen := map[*Host]bool{}
	for _, d := range walk(g, children) {
		for _, h := range d.hosts {
			if !seen[h] {
				seen[h] = true
				all = append(all, h)
			}
		}
	}
	return all
}

// in returns the groups of h but "all", in the order of precedence. above has each group's
// ancestors, itself included.
func (h *Host) in(above map[*group][]*group) []*group {
	var groups []*group
	seen := map[*group]bool{}
	for _, d := range h.direct {
		for _, g := range above[d] {
			if !seen[g] && g.name != "all" && !(h.grouped && g.name == "ungrouped") {
				seen[g] = true
				groups = append(groups, g)
			}
		}
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority),
			cmp.Compare(a.name, b.name))
	})
	return groups
}

// magic are the variables that Ansible makes of a host's name and groups.
func (h *Host) magic() map[string]Var {
	short, _, _ := strings.Cut(h.Name, ".")
	if isIPv4(h.Name) || isIPv6(h.Name) {
		short = h.Name
	}
	names := []any{}
	for _, g := range h.groups {
		names = append(names, g.name)
	}
	slices.SortFunc(names, func(a, b any) int { return cmp.Compare(a.(string), b.(string)) })
	return map[string]Var{
		"inventory_hostname":       {Value: h.Name, Unsafe: true},
		"inventory_hostname_short": {Value: short, Unsafe: true},
		"group_names":              {Value: names, Unsafe: true},
	}
}
