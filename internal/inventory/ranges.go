package inventory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// expand makes host names of a name with ranges: "web[01:20:2]", "db-[a:f]". Every bracket begins a
// range. A range that ends before it begins makes none.
func expand(text string) ([]string, error) {
	head, rest, ok := strings.Cut(text, "[")
	if !ok {
		return []string{text}, nil
	}
	inner, tail, ok := strings.Cut(rest, "]")
	switch {
	case !ok:
		return nil, fmt.Errorf("no ] in %q", text)
	case strings.Contains(head, "]") || strings.Contains(text, "|"):
		return nil, fmt.Errorf("%q: no name of a host with ranges", text)
	}
	words, err := steps(inner)
	if err != nil && isIPv6(inner) && strings.ContainsAny(head, "@+") {
		return []string{text}, nil // a target, which Ansible doesn't know
	}
	if err != nil {
		return nil, fmt.Errorf("range [%s]: %w", inner, err)
	}
	ends, err := expand(tail)
	if err != nil {
		return nil, err
	}
	if len(words)*len(ends) > maxHosts {
		return nil, fmt.Errorf("%q names more than %d hosts", text, maxHosts)
	}
	all := make([]string, 0, len(words)*len(ends))
	for _, w := range words {
		for _, end := range ends {
			all = append(all, head+w+end)
		}
	}
	return all, nil
}

// letters are the ends that alphabetic ranges may have, in their order.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// steps lists the values of "from:to" or "from:to:step", both ends included.
func steps(inner string) ([]string, error) {
	bounds := strings.Split(inner, ":")
	if len(bounds) != 2 && len(bounds) != 3 {
		return nil, errors.New("not FROM:TO or FROM:TO:STEP")
	}
	step := 1
	if len(bounds) == 3 {
		var err error
		if step, err = strconv.Atoi(bounds[2]); err != nil || step < 1 {
			return nil, fmt.Errorf("bad step %q", bounds[2])
		}
	}
	from, to := bounds[0], bounds[1]
	switch {
	case to == "":
		return nil, errors.New("no end")
	case from == "":
		from = "0"
	}
	if len(from) > 1 && from[0] == '0' && len(from) != len(to) {
		return nil, errors.New("ends of different width")
	}
	if a, b := strings.Index(letters, from), strings.Index(letters, to); a >= 0 && b >= 0 {
		if a > b { // unlike with numbers
			return nil, errors.New("its end is before its begin")
		}
		return span(a, b, step, func(n int) string { return letters[n : n+1] })
	}
	a, errA := strconv.Atoi(from)
	b, errB := strconv.Atoi(to)
	if errA != nil || errB != nil || strings.Contains(from+to, "+") {
		return nil, errors.New("neither two numbers nor two letters")
	}
	width := 0
	if from[0] == '0' {
		width = len(from)
	}
	return span(a, b, step, func(n int) string { return fmt.Sprintf("%0*d", width, n) })
}

func span(a, b, step int, name func(int) string) ([]string, error) {
	switch {
	case a > b: // which Ansible takes for no host
		return nil, nil
	case (b-a)/step >= maxHosts:
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	var all []string
	for n := a; n <= b; n += step {
		all = append(all, name(n))
	}
	return all, nil
}
