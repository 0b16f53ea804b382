package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// scriptTimeout bounds a script, and ansible-inventory.
const scriptTimeout = 2 * time.Minute

// script runs a script with --list and, where its answer has no "_meta", with --host for each host.
func (v *Inventory) script(ctx context.Context, at origin) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	v.changes++ // a script that fails isn't passed over
	out, stderr, err := run(ctx, nil, at.source, "--list")
	if err != nil {
		return at.bad("%v", err)
	}
	if stderr != "" {
		v.warn("%s: %s", at.file, stderr)
	}
	ask := func(host string) ([]byte, error) {
		out, _, err := run(ctx, nil, at.source, "--host", host)
		return out, err
	}
	return v.list(at, out, ask)
}

// run runs a program and returns its output and its stderr. The error includes the stderr.
func run(ctx context.Context, env []string, argv ...string) (out []byte, stderr string, err error) {
	var errors bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr, cmd.WaitDelay, cmd.Env = &errors, time.Second, env
	out, err = cmd.Output()
	stderr = strings.TrimSpace(errors.String())
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, stderr)
	}
	return out, stderr, err
}

// list reads the answer to --list. ask returns the answer to --host.
func (v *Inventory) list(at origin, text []byte, ask func(host string) ([]byte, error)) error {
	r := &listReader{yamlReader: yamlReader{v: v, at: at}, ask: ask, seen: map[string]bool{}}
	top, err := r.object(text)
	if err != nil {
		return at.bad("its answer to --list: %v", err)
	}
	for _, p := range top {
		if p.key == "_meta" {
			err = r.meta(p.value)
		} else {
			err = r.group(p.key.(string), p.value)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range r.hosts {
		if err := r.hostVars(name); err != nil {
			return err
		}
	}
	return nil
}

type listReader struct {
	yamlReader
	ask      func(host string) ([]byte, error)
	hosts    []string
	seen     map[string]bool
	hasMeta  bool
	hostvars map[string]*yaml.Node
}

// object reads a JSON object.
func (r *listReader) object(text []byte) ([]pair, error) {
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	top, err := document(r.at.file, text)
	if err == nil && top.Kind != yaml.MappingNode {
		err = errors.New("not a JSON object")
	}
	if err != nil {
		return nil, err
	}
	return r.mapping(top, 0)
}

// bad leaves out the line, which would be one of the answer.
func (r *listReader) bad(format string, args ...any) error { return r.at.bad(format, args...) }

func (r *listReader) meta(n *yaml.Node) error {
	for _, key := range []string{"hostvars"} {
		if n = entry(n, key); n == nil || n.Kind != yaml.MappingNode {
			return r.bad("_meta: no object %q", key)
		}
	}
	r.hasMeta, r.hostvars = true, map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		r.hostvars[n.Content[i].Value] = n.Content[i+1]
	}
	return nil
}

// entry returns the last entry of that key, nil if there is none.
func entry(n *yaml.Node, key string) *yaml.Node {
	var found *yaml.Node
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			found = n.Content[i+1]
		}
	}
	return found
}

// group takes a list of hosts, or an object of hosts, vars, children. An object without any of them
// has the variables of a host that is called as the group is.
func (r *listReader) group(name string, n *yaml.Node) error {
	if name == "" {
		return r.bad("a group without a name")
	}
	g := r.v.group(name)
	hosts, vars, children := entry(n, "hosts"), entry(n, "vars"), entry(n, "children")
	switch {
	case n.Kind != yaml.MappingNode:
		hosts = n
	case hosts == nil && vars == nil && children == nil:
		hosts, vars = &yaml.Node{Kind: yaml.SequenceNode,
			Content: []*yaml.Node{{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: name}}}, n
	}
	err := r.each(name, "hosts", hosts, func(host string) error {
		if !r.seen[host] {
			r.seen[host] = true
			r.hosts = append(r.hosts, host)
		}
		return r.v.addHosts(g, []string{host}, 0, nil, r.at)
	})
	if err == nil {
		err = r.vars(name, vars)
	}
	if err != nil {
		return err
	}
	return r.each(name, "children", children,
		func(child string) error { return r.v.adopt(g, r.v.group(child)) })
}

// each calls do for each text of a list.
func (r *listReader) each(group, what string, n *yaml.Node, do func(string) error) error {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return r.bad("group %q: %s: not a list", group, what)
	}
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode || c.Style != yaml.DoubleQuotedStyle || c.Value == "" {
			return r.bad("group %q: %s: not a list of names", group, what)
		}
		if err := do(c.Value); err != nil {
			return r.bad("%v", err)
		}
	}
	return nil
}

// vars sets the variables of a host or group.
func (r *listReader) vars(entity string, n *yaml.Node) error {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return r.bad("%q: its variables are no object", entity)
	}
	all, err := r.variables(n)
	if err != nil {
		return err
	}
	for _, x := range all {
		x.Where = r.at.file
		if err := r.v.set(entity, x.name, x.Var); err != nil {
			return r.bad("%v", err)
		}
	}
	return nil
}

func (r *listReader) hostVars(name string) error {
	if r.hasMeta {
		return r.vars(name, r.hostvars[name])
	}
	text, err := r.ask(name)
	if err != nil {
		return r.bad("%v", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if _, err := r.object(text); err != nil {
		return r.bad("its answer to --host %s: %v", name, err)
	}
	top, err := document(r.at.file, text)
	if err != nil {
		return err
	}
	return r.vars(name, top)
}
