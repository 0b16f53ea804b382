package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// ini reads Ansible's INI form, of which a plain list of hosts is a case. A line that should be a
// host and isn't makes a host that can't be reached, unless the text as a whole is no inventory.
func (v *Inventory) ini(at origin, text []byte) error {
	r := &iniReader{v: v, at: at, group: v.group("ungrouped"), kind: "hosts",
		pending: map[string]*pendingGroup{}}
	lines := iniLines(text)
	prose := sync.OnceValue(func() bool { return isProse(lines) })
	for i, line := range lines {
		r.at.line = i + 1
		err := r.take(strip(line))
		if !utf8.ValidString(line) && err == nil && line[0] != '#' && line[0] != ';' {
			err = errors.New("not UTF-8")
		}
		if bad := (*hostLineError)(nil); errors.As(err, &bad) {
			if prose() {
				return &Error{File: r.at.file, Line: r.at.line, Text: err.Error(), prose: true}
			}
			err = r.v.addBad(r.group, bad.names, r.at, r.at.bad("%v", bad.err))
		}
		if err != nil {
			return r.at.bad("%v", err)
		}
	}
	return r.undeclared()
}

// A hostLineError says that a line should be a host's, and isn't.
type hostLineError struct {
	names []string // of the hosts, or what stands where a name should
	err   error
}

func (e *hostLineError) Error() string { return e.err.Error() }

// isProse tells text that is no inventory: it has neither sections nor variables, and at least half
// of its lines are no hosts.
func isProse(lines []string) bool {
	good, bad := 0, 0
	for _, line := range lines {
		line = strip(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if section.MatchString(line) {
			return false
		}
		h, err := parseHostLine(line, "")
		switch {
		case err != nil:
			bad++
		case len(h.vars) > 0:
			return false
		default:
			good++
		}
	}
	return bad >= good
}

func iniLines(text []byte) []string {
	if !utf8.Valid(text) { // so that no half of a character is taken for a line's end
		return strings.Split(string(bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))), "\n")
	}
	return lineEnds.Split(string(text), -1)
}

// strip removes the same space as Python's str.strip.
func strip(s string) string {
	return strings.TrimFunc(s, func(c rune) bool {
		return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f
	})
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

// undeclared is the error for the first group that has no section of its own. If only variables
// were given to it, finish looks for it in the other sources.
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
	h, err := parseHostLine(line, r.at.where())
	if err != nil {
		return err
	}
	err = r.v.addHosts(r.group, h.names, h.port, h.vars, r.at)
	for _, name := range h.names {
		if h := r.v.hosts[name]; h != nil {
			h.line = true
		}
	}
	return err
}

// A hostLine holds the hosts and variables of a line.
type hostLine struct {
	names []string
	port  int64
	vars  []namedVar
}

// parseHostLine reads a line, which is at where.
func parseHostLine(line, where string) (h hostLine, err error) {
	bad := func(text string, err error) error {
		names, _, no := hosts(text)
		if no != nil || len(names) == 0 {
			names = []string{text}
		}
		return &hostLineError{names, err}
	}
	words, err := splitWords(line, true)
	if err != nil {
		return h, bad(strings.Fields(line)[0], fmt.Errorf("%w: %s", err, shorten(line)))
	}
	if len(words) == 0 || words[0] == "" {
		return h, bad(shorten(line), fmt.Errorf("no name of a host: %s", shorten(line)))
	}
	words[0] = withBackslashes(words[0], strings.Fields(line)[0])
	h.names, h.port, err = hosts(words[0])
	switch {
	case err != nil:
		return h, bad(words[0], err)
	case strings.HasSuffix(strip(words[0]), ":") && h.port == 0:
		return h, fmt.Errorf("host %q ends with a colon: a port, or a YAML file?", words[0])
	case slices.Contains(h.names, "---"):
		return h, errors.New("--- begins a YAML file")
	}
	if h.vars, err = assignments(words[0], words[1:], where); err != nil {
		return h, bad(words[0], err)
	}
	return h, nil
}

// withBackslashes returns the name as it stands on its line if it is a target with an account of a
// domain, CORP\user@host, of which Ansible's quoting would make CORPuser.
func withBackslashes(name, onLine string) string {
	target := strings.Contains(onLine, `\`) && strings.ContainsAny(onLine, "@+")
	if target && !strings.ContainsAny(onLine, `'"#`) {
		return onLine
	}
	return name
}

func assignments(host string, words []string, where string) ([]namedVar, error) {
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
		all = append(all, namedVar{name, Var{Value: x, Where: where}})
	}
	return all, nil
}

func shorten(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return strconv.Quote(s)
}
