package inventory

import (
	"fmt"
	"strconv"
	"strings"
)

// expand makes host names of one with ranges: "web[01:20:2]", "db-[a:f]".
func expand(text string) ([]string, error) {
	open := strings.IndexByte(text, '[')
	if open < 0 {
		return []string{text}, nil
	}
	shut := strings.IndexByte(text[open:], ']')
	if shut < 0 {
		return nil, fmt.Errorf("no ] in %q", text)
	}
	head, inner, tail := text[:open], text[open+1:open+shut], text[open+shut+1:]
	if n := strings.Count(inner, ":"); n == 0 || n > 2 { // no range, or an IPv6 address
		return []string{text}, nil
	}
	words, err := steps(inner)
	if err != nil {
		return nil, fmt.Errorf("range [%s]: %w", inner, err)
	}
	rest, err := expand(tail)
	if err != nil {
		return nil, err
	}
	if len(words)*len(rest) > maxHosts {
		return nil, fmt.Errorf("%q names more than %d hosts", text, maxHosts)
	}
	var all []string
	for _, w := range words {
		for _, r := range rest {
			all = append(all, head+w+r)
		}
	}
	return all, nil
}

// steps lists what "from:to" or "from:to:step" stands for, both ends included.
func steps(inner string) ([]string, error) {
	parts := strings.Split(inner, ":")
	step := 1
	if len(parts) == 3 {
		var err error
		if step, err = strconv.Atoi(parts[2]); err != nil || step < 1 {
			return nil, fmt.Errorf("bad step %q", parts[2])
		}
	}
	from, to := parts[0], parts[1]
	if from == "" {
		from = "0"
	}
	if len(from) == 1 && len(to) == 1 && letter(from[0]) && letter(to[0]) {
		var all []string
		for c := int(from[0]); c <= int(to[0]); c += step {
			all = append(all, string(rune(c)))
		}
		return nonEmpty(all)
	}
	a, errA := strconv.ParseUint(from, 10, 31)
	b, errB := strconv.ParseUint(to, 10, 31)
	switch {
	case errA != nil || errB != nil:
		return nil, fmt.Errorf("neither two numbers nor two letters")
	case len(from) > 1 && from[0] == '0' && len(from) != len(to):
		return nil, fmt.Errorf("ends of different width")
	case b > a && (b-a)/uint64(step) >= maxHosts:
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	width := 0
	if from[0] == '0' {
		width = len(from)
	}
	var all []string
	for n := a; n <= b; n += uint64(step) {
		all = append(all, fmt.Sprintf("%0*d", width, n))
	}
	return nonEmpty(all)
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func nonEmpty(all []string) ([]string, error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("its end is before its begin")
	}
	return all, nil
}
