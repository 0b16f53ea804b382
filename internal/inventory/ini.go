package inventory

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var section = regexp.MustCompile(`^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?$`)

// ini reads Ansible's INI form, of which a plain list of hosts is a case.
func (v *Inventory) ini(file string, text []byte) error {
	r := &iniReader{v: v, file: file, at: v.group("ungrouped"), named: map[string]int{}, declared: map[string]bool{}}
	for i, line := range strings.Split(string(text), "\n") {
		r.line = i + 1
		if err := r.take(strings.TrimSpace(line)); err != nil {
			return &Error{File: file, Line: r.line, Text: err.Error()}
		}
	}
	for name, line := range r.named {
		if g := v.groups[name]; !r.declared[name] && len(g.hosts)+len(g.children) == 0 && name != "all" && name != "ungrouped" {
			return &Error{File: file, Line: line, Text: fmt.Sprintf("there is no group %q", name)}
		}
	}
	return nil
}

type iniReader struct {
	v        *Inventory
	file     string
	line     int
	at       *group
	kind     string         // "", "vars" or "children"
	named    map[string]int // groups named by :vars and :children, and where
	declared map[string]bool
}

func (r *iniReader) take(line string) error {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
		return nil
	case line[0] == '[' && section.MatchString(line):
		return r.section(line)
	case line[0] == '[' && !strings.Contains(line, ":"):
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
	r.kind = m[2]
	if !slices.Contains([]string{"", "hosts", "vars", "children"}, r.kind) {
		return fmt.Errorf("section %s: %q is none of hosts, children, vars", line, r.kind)
	}
	if r.kind == "vars" {
		r.named[m[1]] = r.line
	} else {
		r.declared[m[1]] = true
	}
	r.at = r.v.group(m[1])
	return nil
}

// variable reads "name = value": the value is the rest of the line.
func (r *iniReader) variable(line string) error {
	name, value, ok := strings.Cut(line, "=")
	name = strings.TrimSpace(name)
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("not NAME=VALUE: %s", shorten(line))
	}
	r.at.vars[name] = r.value(strings.TrimSpace(withoutComment(value)))
	return nil
}

func (r *iniReader) child(line string) error {
	words, err := shellWords(line)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return fmt.Errorf("not the name of a group: %s", shorten(line))
	}
	r.named[words[0]] = r.line
	r.at.adopt(r.v.group(words[0]))
	return nil
}

// host reads "name-or-range key=value…".
func (r *iniReader) host(line string) error {
	words, err := shellWords(line)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return nil
	}
	name, port := hostPort(words[0])
	names, err := expand(name)
	if err != nil {
		return err
	}
	if len(r.v.order)+len(names) > maxHosts {
		return fmt.Errorf("more than %d hosts", maxHosts)
	}
	for _, n := range names {
		h := r.v.add(r.at, n)
		if port != 0 {
			h.own["ansible_port"] = Var{Value: port, Where: r.where()}
		}
		for _, w := range words[1:] {
			key, value, ok := strings.Cut(w, "=")
			if !ok || key == "" {
				return fmt.Errorf("behind host %s: not NAME=VALUE: %s", n, shorten(w))
			}
			h.own[key] = r.value(value)
		}
	}
	return nil
}

func (r *iniReader) where() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

// value reads a Python literal of the simple kinds; what is none is text.
func (r *iniReader) value(s string) Var {
	v := Var{Value: s, Where: r.where()}
	switch n, err := strconv.ParseInt(s, 10, 64); {
	case s == "True" || s == "true":
		v.Value = true
	case s == "False" || s == "false":
		v.Value = false
	case s == "None":
		v.Value = nil
	case err == nil:
		v.Value = n
	case len(s) > 1 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0]:
		v.Value = s[1 : len(s)-1]
	}
	return v
}

var portSuffix = regexp.MustCompile(`^([^:@+\s]+|\[[0-9A-Fa-f:.%]+\]):(\d{1,5})$`)

// hostPort splits a port off a name.
func hostPort(name string) (string, int64) {
	if m := portSuffix.FindStringSubmatch(name); m != nil && !strings.Contains(m[1], "[") {
		port, _ := strconv.ParseInt(m[2], 10, 32)
		return m[1], port
	}
	return name, 0
}

// shellWords splits a line as a shell does, comments left out.
func shellWords(line string) ([]string, error) {
	var all []string
	var word strings.Builder
	begun, quoted := false, rune(0)
	escaped := false
	for _, c := range line + " " {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quoted != '\'':
			escaped, begun = true, true
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quoted, begun = c, true
		case c == ' ' || c == '\t':
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		case c == '#' && !begun:
			return all, nil
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quoted != 0 {
		return nil, fmt.Errorf("a quote without its end: %s", shorten(line))
	}
	return all, nil
}

// withoutComment cuts at " #".
func withoutComment(s string) string {
	if s = strings.TrimSpace(s); s != "" && (s[0] == '"' || s[0] == '\'') {
		if end := strings.IndexByte(s[1:], s[0]); end >= 0 {
			return s[:end+2]
		}
	}
	if i := strings.Index(s, " #"); i >= 0 {
		return s[:i]
	}
	return s
}

func shorten(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return strconv.Quote(s)
}
