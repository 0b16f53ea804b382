package inventory

import (
	"go.yaml.in/yaml/v4"
)

// A yamlReader reads Ansible's YAML form.
type yamlReader struct {
	v    *Inventory
	at   origin
	work int // entries of mappings that were read; aliases multiply them
}

// maxWork bounds the entries that are read of a file.
const maxWork = 1 << 22

func (r *yamlReader) place(n *yaml.Node) origin {
	at := r.at
	at.line = n.Line
	return at
}

func (r *yamlReader) bad(n *yaml.Node, format string, args ...any) error {
	return r.place(n).bad(format, args...)
}

// in gives an error the place of n.
func (r *yamlReader) in(n *yaml.Node, err error) error {
	if err != nil {
		return r.bad(n, "%v", err)
	}
	return nil
}

// maxDepth bounds how deep groups and values may lie within each other.
const maxDepth = 100

// sections are the keys of a group.
var sections = map[any]bool{"vars": true, "children": true, "hosts": true}

// group reads a group's mapping. Ansible passes over what is no mapping with a warning.
func (r *yamlReader) group(p pair, depth int) error {
	n := follow(p.value)
	name, ok := p.key.(string)
	switch {
	case depth > maxDepth:
		return r.bad(p.at, "groups are nested too deep")
	case r.null(n):
		n = &yaml.Node{Kind: yaml.MappingNode, Line: p.at.Line}
	case n.Kind != yaml.MappingNode:
		r.v.warn("%s: group %q is passed over: not a mapping of hosts, children, vars",
			r.place(p.at).where(), pythonText(p.key))
		return nil
	}
	if !ok || name == "" {
		return r.bad(p.at, "group %q: its name is not text: quote it", pythonText(p.key))
	}
	g := r.v.group(name)
	pairs, err := r.mapping(n, 0)
	if err != nil {
		return err
	}
	for _, s := range pairs {
		if err := r.section(g, s, depth); err != nil {
			return err
		}
	}
	return nil
}

// section reads hosts, children or vars of g.
func (r *yamlReader) section(g *group, s pair, depth int) error {
	members, err := r.members(g, s)
	if err != nil {
		return err
	}
	for _, m := range members {
		switch s.key {
		case "vars":
			value, err := r.variable(m.value)
			if err != nil {
				return err
			}
			err = r.v.set(g.name, pythonText(m.key), value)
			if err != nil {
				return r.in(m.at, err)
			}
		case "children":
			if err := r.child(g, m, depth); err != nil {
				return err
			}
		case "hosts":
			if err := r.hosts(g, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// members are the entries of a section. Text is an entry without a value.
func (r *yamlReader) members(g *group, s pair) ([]pair, error) {
	n := follow(s.value)
	switch {
	case r.null(n):
		return nil, nil
	case !sections[s.key]:
		r.v.warn("%s: group %q: %q is passed over: none of hosts, children, vars", r.place(s.at).where(),
			g.name, pythonText(s.key))
		return nil, nil
	case n.Kind == yaml.MappingNode:
		return r.mapping(n, 0)
	}
	var x any
	if n.Kind == yaml.ScalarNode {
		var err error
		if x, err = r.scalar(n); err != nil {
			return nil, err
		}
	}
	if _, ok := x.(string); !ok {
		return nil, r.bad(n, "group %q: %s is not a mapping", g.name, s.key)
	}
	return []pair{{key: x, at: n, value: nothing}}, nil
}

// nothing is a node without a value.
var nothing = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}

func (r *yamlReader) child(g *group, p pair, depth int) error {
	if err := r.group(p, depth+1); err != nil {
		return err
	}
	child := r.v.groups[pythonText(p.key)]
	if child == nil {
		return r.bad(p.at, "group %q: child %q is neither a mapping nor a group that is known by now",
			g.name, pythonText(p.key))
	}
	return r.in(p.at, r.v.adopt(g, child))
}

// hosts reads an entry of a section hosts. An entry that is no host makes a host that can't be
// reached.
func (r *yamlReader) hosts(g *group, p pair) error {
	names, port, vars, err := r.host(p)
	if err != nil {
		if len(names) == 0 {
			names = []string{pythonText(p.key)}
		}
		return r.in(p.at, r.v.addBad(g, names, r.place(p.at), err))
	}
	return r.in(p.at, r.v.addHosts(g, names, port, vars, r.place(p.at)))
}

func (r *yamlReader) host(p pair) (names []string, port int64, vars []namedVar, err error) {
	text, ok := p.key.(string)
	if !ok {
		return nil, 0, nil, r.bad(p.at, "host %s: its name is not text: quote it", pythonText(p.key))
	}
	if names, port, err = hosts(text); err != nil {
		return nil, 0, nil, r.bad(p.at, "%v", err)
	}
	vars, err = r.hostVars(p)
	return names, port, vars, err
}

// hostVars reads the variables behind a host.
func (r *yamlReader) hostVars(p pair) ([]namedVar, error) {
	n := follow(p.value)
	if n.Kind == yaml.MappingNode {
		return r.variables(n)
	}
	if none, err := r.falsy(n); err != nil || none {
		return nil, err
	}
	return nil, r.bad(n, "host %s: not a mapping of variables", pythonText(p.key))
}

// falsy tells what Python takes for false.
func (r *yamlReader) falsy(n *yaml.Node) (bool, error) {
	if n = follow(n); n.Kind != yaml.ScalarNode {
		return len(n.Content) == 0, nil
	}
	x, err := r.scalar(n)
	return x == nil || x == "" || x == false || x == int64(0) || x == 0.0, err
}

// variables reads a mapping of variables.
func (r *yamlReader) variables(n *yaml.Node) ([]namedVar, error) {
	pairs, err := r.mapping(n, 0)
	if err != nil {
		return nil, err
	}
	all := make([]namedVar, 0, len(pairs))
	for _, p := range pairs {
		value, err := r.variable(p.value)
		if err != nil {
			return nil, err
		}
		all = append(all, namedVar{pythonText(p.key), value})
	}
	return all, nil
}
