package inventory

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// splitPatterns cuts at commas, or at colons where there is no comma. Brackets and IPv6 addresses keep theirs.
func splitPatterns(text string) ([]string, error) {
	separator := byte(',')
	if !strings.Contains(text, ",") && !strings.HasPrefix(text, "~") && strings.Count(text, "::") == 0 {
		separator = ':'
	}
	var all []string
	depth, begin := 0, 0
	for i := 0; i <= len(text); i++ {
		switch {
		case i < len(text) && text[i] == '[':
			depth++
		case i < len(text) && text[i] == ']':
			depth--
		case i == len(text) || depth == 0 && text[i] == separator:
			if word := strings.TrimSpace(text[begin:i]); word != "" {
				all = append(all, word)
			}
			begin = i + 1
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("pattern %q: brackets without their other half", text)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("empty pattern")
	}
	return all, nil
}

var subscript = regexp.MustCompile(`^(.+)\[(-?\d+)(?:([:-])(-?\d*))?\]$`)

// match returns the hosts that one pattern names.
func (v *Inventory) match(p string) ([]*Host, error) {
	if g := v.groups[p]; g != nil {
		if p == "all" {
			return v.order, nil
		}
		return g.members(), nil
	}
	if h := v.hosts[p]; h != nil {
		return []*Host{h}, nil
	}
	if m := subscript.FindStringSubmatch(p); m != nil && !strings.HasPrefix(p, "~") {
		hosts, err := v.match(m[1])
		if err != nil {
			return nil, err
		}
		return part(hosts, m[2], m[3], m[4]), nil
	}
	test := func(name string) bool { ok, _ := path.Match(p, name); return ok }
	switch {
	case p == "*":
		return v.order, nil
	case strings.HasPrefix(p, "~"):
		re, err := regexp.Compile("^(?:" + p[1:] + ")")
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
		test = re.MatchString
	case !strings.ContainsAny(p, "*?["):
		return nil, fmt.Errorf("no host or group %q in the inventory%s", p, v.near(p))
	default:
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	var all []*Host
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		if test(name) && name != "all" {
			all = append(all, v.groups[name].members()...)
		}
	}
	for _, h := range v.order {
		if test(h.Name) {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("pattern %q matches no host and no group", p)
	}
	return all, nil
}

// part is hosts[from], hosts[from:to] with both ends.
func part(hosts []*Host, from, dash, to string) []*Host {
	place := func(s string) int {
		n, _ := strconv.Atoi(s)
		if n < 0 {
			n += len(hosts)
		}
		return n
	}
	a := place(from)
	b := a
	if dash != "" {
		if b = len(hosts) - 1; to != "" {
			b = place(to)
		}
	}
	a, b = max(a, 0), min(b, len(hosts)-1)
	if a > b {
		return nil
	}
	return hosts[a : b+1]
}

// near names what could have been meant.
func (v *Inventory) near(name string) string {
	for _, all := range [][]string{slices.Sorted(maps.Keys(v.groups)), slices.Sorted(maps.Keys(v.hosts))} {
		for _, other := range all {
			if strings.EqualFold(other, name) || len(name) > 2 && (strings.HasPrefix(other, name) || strings.HasPrefix(name, other) && len(other) > 2) {
				return fmt.Sprintf(" (%q?)", other)
			}
		}
	}
	return ""
}
