package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// Select returns the hosts that Ansible's --limit would leave of all, in the order of Hosts. A
// pattern is a host, a group, a glob, "~" and a regular expression, or "all"; "[N]" and "[N:M]"
// behind it choose by place. Commas stand between patterns, or, where there are none, colons or
// spaces; "@FILE" is a file with a pattern in each line. "&" keeps the hosts that a pattern names,
// "!" removes them, wherever they stand. If a pattern that adds names nothing and another does name
// hosts, it is a warning. Other patterns that name nothing are errors, but for "!" with a glob, a
// regular expression or localhost.
func (v *Inventory) Select(patterns string) ([]*Host, error) {
	terms, err := terms(patterns)
	if err != nil {
		return nil, err
	}
	chosen, misses, err := v.evaluate(terms)
	if err != nil {
		return nil, err
	}
	var all []*Host
	for _, h := range v.order {
		if chosen[h] {
			all = append(all, h)
		}
	}
	switch {
	case len(all) > 0:
	case len(misses) > 0:
		return nil, misses[0]
	default:
		return nil, errors.New("no host is left")
	}
	for _, m := range misses {
		v.warn("%v", m)
	}
	return all, nil
}

// A missError says that a pattern names nothing.
type missError string

func (e missError) Error() string { return string(e) }

// evaluate applies the terms that add, then those with "&", then those with "!". It returns a miss
// for each term that would add and names nothing.
func (v *Inventory) evaluate(terms []string) (chosen map[*Host]bool, misses []error, err error) {
	chosen = map[*Host]bool{}
	if !slices.ContainsFunc(terms, func(t string) bool { return t[0] != '!' && t[0] != '&' }) {
		terms = append([]string{"all"}, terms...)
	}
	for _, sign := range []byte{0, '&', '!'} {
		for _, t := range terms {
			first := t[0]
			if first != '&' && first != '!' {
				first = 0
			}
			if first != sign {
				continue
			}
			hosts, err := v.match(t)
			if miss := missError(""); sign == 0 && errors.As(err, &miss) {
				misses = append(misses, miss)
			} else if err != nil {
				return nil, nil, err
			}
			apply(chosen, sign, hosts)
		}
	}
	return chosen, misses, nil
}

func apply(chosen map[*Host]bool, sign byte, hosts []*Host) {
	named := map[*Host]bool{}
	for _, h := range hosts {
		named[h] = true
	}
	if sign == 0 {
		maps.Copy(chosen, named)
		return
	}
	maps.DeleteFunc(chosen, func(h *Host, _ bool) bool { return named[h] == (sign == '!') })
}

// betweenSeparators matches a pattern in a list with colons or spaces between. Brackets keep
// theirs.
var betweenSeparators = lazyregexp.New(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// terms splits a list of patterns, and reads the files that it names.
func terms(text string) ([]string, error) {
	words := []string{text}
	if strings.Contains(text, ",") {
		words = strings.Split(text, ",")
	} else if _, _, ok := address(text); !ok {
		words = betweenSeparators.FindAllString(text, -1)
		if strings.ContainsAny(betweenSeparators.ReplaceAllString(text, ""), "[]") {
			return nil, fmt.Errorf("pattern %q: brackets without their other half", text)
		}
	}
	var all []string
	for _, w := range words {
		lines := []string{w}
		if name, ok := strings.CutPrefix(strip(w), "@"); ok {
			file, err := readFile(name)
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", w, err)
			}
			if lines = strings.Split(string(file), "\n"); strings.TrimSpace(string(file)) == "" {
				return nil, fmt.Errorf("pattern %q: the file names no host", w)
			}
		}
		for _, line := range lines {
			if line = strip(line); line != "" {
				all = append(all, line)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("empty pattern")
	}
	return all, nil
}

var subscript = lazyregexp.New(`^(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]$`)

// match returns the hosts that one pattern names. As in Ansible, a host may be there twice, which
// counts for subscripts.
func (v *Inventory) match(term string) ([]*Host, error) {
	if h := v.hosts[term]; h != nil {
		return []*Host{h}, nil
	}
	pattern := strings.TrimPrefix(term, "!")
	if pattern == term {
		pattern = strings.TrimPrefix(term, "&")
	}
	if pattern == "" {
		return nil, fmt.Errorf("pattern %q: nothing behind the sign", term)
	}
	m := subscript.FindStringSubmatch(pattern)
	if m == nil || pattern[0] == '~' {
		hosts, err := v.named(pattern, term)
		return hosts, err
	}
	if v.asked && (m[1] == "all" || isWild(m[1])) {
		return nil, fmt.Errorf("pattern %q: ansible-inventory doesn't tell the order: name a group", term)
	}
	hosts, err := v.named(m[1], term)
	if err != nil || len(hosts) == 0 {
		return nil, err
	}
	return part(hosts, pattern, m)
}

// named returns the hosts of all groups and the hosts whose names a pattern without subscript
// matches.
func (v *Inventory) named(pattern, term string) ([]*Host, error) {
	test, err := v.tester(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", term, err)
	}
	var all []*Host
	found := false
	for _, g := range v.groupOrder {
		if test(g.name) {
			found = true
			all = append(all, g.all...)
		}
	}
	wild := isWild(pattern)
	if !found || wild || strings.Contains(pattern, ".") {
		for _, h := range v.hostOrder {
			if test(h.Name) {
				found = true
				all = append(all, h)
			}
		}
	}
	if len(all) == 0 && slices.Contains(localNames, pattern) {
		found = true
		local := v.localhost
		if local == nil {
			local = &Host{Name: pattern} // Ansible's implicit one, which is in no group
		}
		all = append(all, local)
	}
	switch {
	case found || wild && term[0] == '!':
		return all, nil
	case wild:
		return nil, missError(fmt.Sprintf("pattern %q matches no host and no group", term))
	}
	return nil, missError(fmt.Sprintf("no host or group %q in the inventory%s", pattern,
		v.near(pattern)))
}

// isWild tells an expression or a glob from a name.
func isWild(pattern string) bool { return pattern[0] == '~' || strings.ContainsAny(pattern, "?*[") }

// part returns one host, or those from one place to another, both included. m is the match of
// subscript.
func part(hosts []*Host, pattern string, m []string) ([]*Host, error) {
	if m[2] != "" {
		n, err := strconv.Atoi(m[2])
		if n < 0 {
			n += len(hosts)
		}
		if err != nil || n < 0 || n >= len(hosts) {
			return nil, fmt.Errorf("pattern %q: only %d hosts are there", pattern, len(hosts))
		}
		return hosts[n : n+1], nil
	}
	from, err := strconv.Atoi(m[3])
	to, errTo := strconv.Atoi(cmp.Or(m[4], "-1"))
	if err != nil || errTo != nil {
		return nil, fmt.Errorf("pattern %q: a number too large", pattern)
	}
	switch {
	case to == 0: // Ansible takes [N:0] for [N]
		return part(hosts, pattern, []string{2: m[3]})
	case to < 0 || to >= len(hosts):
		to = len(hosts) - 1
	}
	if from > to {
		return nil, nil
	}
	return hosts[from : to+1], nil
}

// near names a host or group with a similar name.
func (v *Inventory) near(name string) string {
	for _, all := range [][]string{slices.Sorted(maps.Keys(v.groups)),
		slices.Sorted(maps.Keys(v.hosts))} {
		for _, other := range all {
			if strings.EqualFold(other, name) ||
				len(name) > 2 && (strings.HasPrefix(other, name) ||
					strings.HasPrefix(name, other) && len(other) > 2) {
				return fmt.Sprintf(" (%q?)", other)
			}
		}
	}
	return ""
}
