package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

var (
	section   = lazyregexp.New(`^\[([^:\]\s]+)(?::([\pL\pN_]+))?\]\s*(?:#.*)?$`)
	groupName = lazyregexp.New(`^([^:\]\s]+)\s*(?:#.*)?$`)
)

// lineEnds are the characters that Python's splitlines takes for the end of a line.
var lineEnds = lazyregexp.New("\r\n|[\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029]")

// ini reads Ansible's INI form, of which a plain list of hosts is a case.
func (v *Inventory) ini(at origin, text []byte) error {
	r := &iniReader{v: v, at: at, group: v.group("ungrouped"), kind: "hosts", pending: map[string]*pendingGroup{}}
	lines := iniLines(text)
	for i, line := range lines {
		r.at.line = i + 1
		err := r.take(strip(line))
		if !utf8.ValidString(line) && err == nil && line[0] != '#' && line[0] != ';' {
			err = errors.New("not UTF-8")
		}
		if err != nil {
			return r.at.bad("%v", err)
		}
	}
	return r.undeclared()
}

func iniLines(text []byte) []string {
	if !utf8.Valid(text) { // so that no half of a character is taken for a line's end
		return strings.Split(string(bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))), "\n")
	}
	return lineEnds.Split(string(text), -1)
}

// strip removes the same space as Python's str.strip.
func strip(s string) string {
	return strings.TrimFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f })
}

type iniReader struct {
	v       *Inventory
	at      origin
	group   *group
	kind    string // "hosts", "vars" or "children"
	pending map[string]*pendingGroup
}

// A pendingGroup was named by a section :children or :vars, but not declared yet.
type pendingGroup struct {
	line    int
	section string
	parents []*group // of :children; none if :vars named it
}

func (r *iniReader) take(line string) error {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
		return nil
	case section.MatchString(line):
		return r.section(line)
	case line[0] == '[' && line[len(line)-1] == ']':
		return fmt.Errorf("not a section: %s", line)
	}
	switch r.kind {
	case "vars":
		return r.variable(line)
	case "children":
		return r.child(line)
	}
	return r.host(line)
}

func (r *iniReader) section(line string) error {
	m := section.FindStringSubmatch(line)
	name := m[1]
	if r.kind = m[2]; r.kind == "" {
		r.kind = "hosts"
	}
	if !slices.Contains([]string{"hosts", "vars", "children"}, r.kind) {
		return fmt.Errorf("section %s: %q is none of hosts, children, vars", line, r.kind)
	}
	if r.v.groups[name] == nil && r.kind == "vars" && r.pending[name] == nil {
		r.pending[name] = &pendingGroup{line: r.at.line, section: line}
	}
	r.group = r.v.group(name)
	if p := r.pending[name]; p != nil && r.kind != "vars" {
		delete(r.pending, name)
		for _, parent := range p.parents {
			if err := r.v.adopt(parent, r.group); err != nil {
				return err
			}
		}
	}
	return nil
}

// undeclared is the error for the first group that has no section of its own. If only variables were
// given to it, finish looks for it in the other sources.
func (r *iniReader) undeclared() error {
	first := 0
	for name, p := range r.pending {
		at := r.at
		at.line = p.line
		switch {
		case len(p.parents) == 0:
			r.v.expected = append(r.v.expected, expectedGroup{name, at})
		case first == 0 || p.line < first:
			first, r.at = p.line, at
		}
	}
	for name, p := range r.pending {
		if p.line == first {
			return r.at.bad("there is no group %q", name)
		}
	}
	return nil
}

// An expectedGroup got variables where no source had declared it yet.
type expectedGroup struct {
	name string
	at   origin
}

// declared is an error for an expected group that no source fills.
func (v *Inventory) declared() error {
	for _, e := range v.expected {
		if g := v.groups[e.name]; len(g.hosts)+len(g.children) == 0 {
			return e.at.bad("there is no group %q", e.name)
		}
		v.warn("%s: group %q is in another source, read later", e.at.where(), e.name)
	}
	return nil
}

// variable reads "name = value": the value is the rest of the line.
func (r *iniReader) variable(line string) error {
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("not NAME=VALUE: %s", shorten(line))
	}
	x, err := literal(strip(value))
	if err != nil {
		return err
	}
	return r.v.set(r.group.name, strip(name), Var{Value: x, Where: r.at.where()})
}

func (r *iniReader) child(line string) error {
	m := groupName.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("not the name of a group: %s", shorten(line))
	}
	if g := r.v.groups[m[1]]; g != nil {
		return r.v.adopt(r.group, g)
	}
	p := r.pending[m[1]]
	if p == nil {
		p = &pendingGroup{line: r.at.line}
		r.pending[m[1]] = p
	}
	p.parents = append(p.parents, r.group)
	return nil
}

// host reads "name-or-range key=value…".
func (r *iniReader) host(line string) error {
	words, err := splitWords(line, true)
	if err != nil {
		return fmt.Errorf("%w: %s", err, shorten(line))
	}
	if len(words) == 0 || words[0] == "" {
		return fmt.Errorf("no name of a host: %s", shorten(line))
	}
	names, port, err := hosts(words[0])
	switch {
	case err != nil:
		return err
	case strings.HasSuffix(strip(words[0]), ":") && port == 0:
		return fmt.Errorf("host %q ends with a colon: a port, or a YAML file?", words[0])
	case slices.Contains(names, "---"):
		return errors.New("--- begins a YAML file")
	}
	vars, err := r.assignments(words[0], words[1:])
	if err != nil {
		return err
	}
	err = r.v.addHosts(r.group, names, port, vars, r.at)
	for _, name := range names {
		if h := r.v.hosts[name]; h != nil {
			h.line = true
		}
	}
	return err
}

func (r *iniReader) assignments(host string, words []string) ([]namedVar, error) {
	var all []namedVar
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("behind host %s: not NAME=VALUE: %s", host, shorten(w))
		}
		x, err := literal(value)
		if err != nil {
			return nil, err
		}
		all = append(all, namedVar{name, Var{Value: x, Where: r.at.where()}})
	}
	return all, nil
}

func shorten(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return strconv.Quote(s)
}
