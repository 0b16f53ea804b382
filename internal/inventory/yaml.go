package inventory

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// errPlugin says that a file is for one of Ansible's inventory plugins.
var errPlugin = errors.New("a plugin's configuration")

// parseYAML returns the document's top node, nil if there is none.
func parseYAML(file string, text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &Error{File: file, Text: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// yaml reads Ansible's YAML form, of which JSON is a case.
func (v *Inventory) yaml(file string, text []byte) error {
	top, err := parseYAML(file, text)
	if err != nil || top == nil {
		return err
	}
	r := &yamlReader{v: v, file: file}
	if top.Kind != yaml.MappingNode {
		return r.bad(top, "not a mapping of groups")
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if key := top.Content[i]; key.Value == "plugin" {
			return errPlugin
		}
		if err := r.group(top.Content[i], top.Content[i+1], 0); err != nil {
			return err
		}
	}
	return nil
}

type yamlReader struct {
	v    *Inventory
	file string
}

func (r *yamlReader) bad(n *yaml.Node, format string, args ...any) error {
	return &Error{File: r.file, Line: n.Line, Text: fmt.Sprintf(format, args...)}
}

// maxDepth is how deep groups and values may lie within each other.
const maxDepth = 100

func (r *yamlReader) group(key, n *yaml.Node, depth int) error {
	g := r.v.group(key.Value)
	n = follow(n)
	switch {
	case depth > maxDepth:
		return r.bad(key, "groups are nested too deep")
	case null(n):
		return nil
	case n.Kind != yaml.MappingNode:
		return r.bad(n, "group %q: not a mapping of hosts, children, vars", g.name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		what, value := n.Content[i], follow(n.Content[i+1])
		if null(value) {
			continue
		}
		if value.Kind != yaml.MappingNode {
			return r.bad(value, "group %q: %s is not a mapping", g.name, what.Value)
		}
		for j := 0; j+1 < len(value.Content); j += 2 {
			if err := r.member(g, what, value.Content[j], value.Content[j+1], depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// member takes an entry of hosts, children or vars.
func (r *yamlReader) member(g *group, what, key, n *yaml.Node, depth int) error {
	switch what.Value {
	case "vars":
		value, err := r.variable(n)
		g.vars[key.Value] = value
		return err
	case "children":
		g.adopt(r.v.group(key.Value))
		return r.group(key, n, depth+1)
	case "hosts":
		return r.hosts(g, key, follow(n))
	}
	return r.bad(what, "group %q: %q is none of hosts, children, vars", g.name, what.Value)
}

func (r *yamlReader) hosts(g *group, key, n *yaml.Node) error {
	name, port := hostPort(key.Value)
	names, err := expand(name)
	if err != nil {
		return r.bad(key, "%v", err)
	}
	if len(r.v.order)+len(names) > maxHosts {
		return r.bad(key, "more than %d hosts", maxHosts)
	}
	vars := map[string]Var{}
	if port != 0 {
		vars["ansible_port"] = Var{Value: port, Where: fmt.Sprintf("%s:%d", r.file, key.Line)}
	}
	if err := r.variables(n, vars, "host "+key.Value); err != nil {
		return err
	}
	for _, each := range names {
		h := r.v.add(g, each)
		for k, v := range vars {
			h.own[k] = v
		}
	}
	return nil
}

// variables reads a mapping into vars.
func (r *yamlReader) variables(n *yaml.Node, vars map[string]Var, whose string) error {
	if null(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return r.bad(n, "%s: not a mapping of variables", whose)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value, err := r.variable(n.Content[i+1])
		if err != nil {
			return err
		}
		vars[n.Content[i].Value] = value
	}
	return nil
}

func (r *yamlReader) variable(n *yaml.Node) (Var, error) {
	v := Var{Where: fmt.Sprintf("%s:%d", r.file, n.Line)}
	if n.Tag == "!vault" {
		v.Vault = true
		return v, nil
	}
	budget := 1 << 20
	var err error
	v.Value, err = r.value(n, 0, &budget)
	return v, err
}

// value converts by YAML 1.1's rules, as Ansible's parser has them. budget bounds what aliases can make.
func (r *yamlReader) value(n *yaml.Node, depth int, budget *int) (any, error) {
	if *budget--; depth > maxDepth || *budget < 0 {
		return nil, r.bad(n, "a value too large or nested too deep")
	}
	n = follow(n)
	switch n.Kind {
	case yaml.SequenceNode:
		all := []any{}
		for _, c := range n.Content {
			v, err := r.value(c, depth+1, budget)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := r.value(n.Content[i+1], depth+1, budget)
			if err != nil {
				return nil, err
			}
			all[n.Content[i].Value] = v
		}
		return all, nil
	}
	return scalar(n), nil
}

var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)

func scalar(n *yaml.Node) any {
	s := n.Value
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 || n.Tag == "!!str" && quotedTag(n) {
		return s
	}
	switch strings.ToLower(s) {
	case "", "~", "null":
		return nil
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
		return false
	}
	if decimal.MatchString(s) {
		if i, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64); err == nil {
			return i
		}
	}
	if len(s) > 1 && s[0] == '0' {
		if i, err := strconv.ParseInt(s, 0, 64); err == nil { // octal and hexadecimal
			return i
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".") && !math.IsInf(f, 0) && !math.IsNaN(f) {
		return f
	}
	return s
}

// quotedTag says that the tag was written, and not concluded.
func quotedTag(n *yaml.Node) bool { return n.Style&yaml.TaggedStyle != 0 }

func follow(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

func null(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Value == "")
}
