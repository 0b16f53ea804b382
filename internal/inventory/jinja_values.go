package inventory

import (
	"slices"
	"strconv"
	"strings"
)

// An evaluation says for whom an expression is evaluated.
type evaluation struct {
	r     *reader
	name  string // the variable whose value it is, for errors
	depth int    // of references
}

// undefined stands for what isn't known. It names it.
type undefined string

// Values that only lead to other values.
type (
	allGroups struct{}
	allHosts  struct{}
	ownVars   struct{}
	unordered []any // names of hosts that ansible-inventory has told, whose order is by chance
)

func (e *evaluation) list(all []node) any {
	values := []any{}
	for _, n := range all {
		x := n(e)
		if _, ok := x.(undefined); ok {
			return x
		}
		values = append(values, x)
	}
	return values
}

// variable returns what a name stands for.
func (e *evaluation) variable(name string) any {
	switch name {
	case "true", "True":
		return true
	case "false", "False":
		return false
	case "none", "None":
		return nil
	case "omit":
		return omitted{}
	case "groups":
		return allGroups{}
	case "hostvars":
		return allHosts{}
	case "vars":
		return ownVars{}
	}
	value, found := e.r.variable(e.name, name, e.depth)
	if !found {
		return undefined(name)
	}
	return value
}

// member returns an entry of a value by its name.
func (e *evaluation) member(x any, name, what string) any {
	switch x := x.(type) {
	case undefined:
		return x
	case allGroups:
		return e.group(name, what)
	case allHosts:
		if h := e.host(name); h != nil {
			return h
		}
	case ownVars:
		return e.variable(name)
	case *Host:
		if value, found := e.r.hostvar(e.name, what, x, name, e.depth); found {
			return value
		}
	case map[string]any:
		if value, ok := x[name]; ok {
			return e.nested(value, what)
		}
	}
	return undefined(what)
}

// nested returns a value within another. If it is in a variable's value, its template is filled in.
// No other text is a template, neither computed text nor text of another author.
func (e *evaluation) nested(value any, what string) any {
	p, ok := value.(inner)
	switch {
	case !ok:
		return value
	case e.depth > maxReferences:
		e.r.fail(e.name, "refers to %s, which isn't known here: references go in a circle", what)
		return nil
	}
	filled := p.r.fill(e.name, Var{Value: p.text}, max(e.depth, p.depth)+1)
	if p.r != e.r && p.r.err != nil {
		e.r.fail(e.name, "refers to %s: %v", what, p.r.err)
		return nil
	}
	return filled
}

// element returns an entry of a list by its place.
func (e *evaluation) element(x any, i int64, what string) any {
	all, ok := e.ordered(x, what)
	switch m := x.(type) {
	case undefined:
		return x
	case map[string]any:
		return e.member(m, strconv.FormatInt(i, 10), what)
	}
	if i < 0 {
		i += int64(len(all))
	}
	if !ok || i < 0 || i >= int64(len(all)) {
		return undefined(what + "[" + strconv.FormatInt(i, 10) + "]")
	}
	return e.nested(all[i], what)
}

// ordered returns a list whose order counts; the characters of a text are one.
func (e *evaluation) ordered(x any, what string) ([]any, bool) {
	switch x := x.(type) {
	case []any:
		return x, true
	case string:
		var all []any
		for _, c := range x {
			all = append(all, string(c))
		}
		return all, true
	case unordered:
		if len(x) > 1 {
			e.r.fail(e.name, "refers to %s by place, and ansible-inventory doesn't tell the order", what)
		}
		return x, true
	}
	return nil, false
}

func (e *evaluation) slice(x any, from, to node) any {
	if _, ok := x.(undefined); ok {
		return x
	}
	all, ok := e.ordered(x, "a list")
	if !ok {
		return e.fail("a part of what is no list")
	}
	bound := func(n node, otherwise int) int {
		if n == nil {
			return otherwise
		}
		i, ok := n(e).(int64)
		if !ok {
			e.fail("a part that isn't given by numbers")
		}
		if i < 0 {
			i += int64(len(all))
		}
		return int(max(0, min(i, int64(len(all)))))
	}
	first, last := bound(from, 0), bound(to, len(all))
	all = all[first:max(first, last)]
	if _, ok := x.(string); !ok {
		return slices.Clone(all)
	}
	var b strings.Builder
	for _, c := range all {
		b.WriteString(c.(string))
	}
	return b.String()
}

// group returns the names of a group's hosts.
func (e *evaluation) group(name, what string) any {
	if e.r.inventory == nil || e.r.inventory.groups[name] == nil {
		return undefined(what)
	}
	all := []any{}
	for _, h := range e.r.inventory.groups[name].all {
		all = append(all, h.Name)
	}
	if e.r.inventory.asked {
		return unordered(all)
	}
	return all
}

func (e *evaluation) host(name string) *Host {
	if e.r.inventory == nil {
		return nil
	}
	return e.r.inventory.hosts[name]
}
