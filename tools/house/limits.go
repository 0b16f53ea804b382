package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// place names the directory and the kind of a limit.
type place struct{ dir, kind string }

// limits say how much there may be of what. What isn't in them is 0.
type limits map[place]int

// counts returns a tree's figures in the form of limits.
func (h *house) counts() limits {
	l := limits{}
	for _, f := range h.findings {
		at := place{f.dir, f.kind}
		if kinds[f.kind].most {
			l[at] = max(l[at], f.size)
		} else {
			l[at]++
		}
	}
	return l
}

// readLimits reads lines of a directory and KIND=NUMBER pairs. # begins a comment.
func readLimits(name string) (limits, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	l := limits{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		for i := 1; i < len(fields); i++ {
			kind, number, _ := strings.Cut(fields[i], "=")
			value, err := strconv.Atoi(number)
			if _, known := kinds[kind]; !known || err != nil {
				return nil, fmt.Errorf("%s:%d: got %q, want KIND=NUMBER", name, n, fields[i])
			}
			l[place{fields[0], kind}] = value
		}
	}
	return l, nil
}

const limitsHead = `
# The most that there may be of each kind, in the whole tree (*) and in each directory.
# Numbers only go down: after an improvement, "make house-lower". What isn't listed is 0.
# "package" rose from 36 to 39 once: internal/engine was divided, and its parts count by themselves.
# "go run ./tools/house -list KIND DIRECTORY" shows each finding.
`

// String returns the text of the file.
func (l limits) String() string {
	byDir := map[string][]string{}
	for at, n := range l {
		if n > 0 {
			byDir[at.dir] = append(byDir[at.dir], fmt.Sprintf("%s=%d", at.kind, n))
		}
	}
	var text strings.Builder
	text.WriteString(strings.TrimPrefix(limitsHead, "\n"))
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		slices.Sort(byDir[dir])
		fmt.Fprintf(&text, "%s %s\n", dir, strings.Join(byDir[dir], " "))
	}
	return text.String()
}

// lowerFile writes the lower one of limit and figure. A file that is missing gets today's figures.
func lowerFile(name string, now *house) error {
	counts := now.counts()
	old, err := readLimits(name)
	switch {
	case os.IsNotExist(err):
		old = counts
	case err != nil:
		return err
	}
	lower := limits{}
	for at, limit := range old {
		lower[at] = min(limit, counts[at])
	}
	return os.WriteFile(name, []byte(lower.String()), 0o644)
}

// excess is a limit that is exceeded.
type excess struct {
	place
	got, limit int
}

// exceeded returns what is beyond the limits, in order.
func (l limits) exceeded(now *house) (all []excess) {
	for at, n := range now.counts() {
		if n > l[at] {
			all = append(all, excess{at, n, l[at]})
		}
	}
	slices.SortFunc(all, func(a, b excess) int {
		return strings.Compare(a.dir+" "+a.kind, b.dir+" "+b.kind)
	})
	return all
}

// blame returns the findings that exceed a limit: of kinds with a largest finding those beyond the
// limit, else those that base, which may be nil, doesn't have.
func (e excess) blame(now, base *house) (all []finding) {
	type same struct{ dir, text string } // a line may move, and a file may be renamed
	known := map[same]int{}
	if base != nil && !kinds[e.kind].most {
		for _, f := range base.findings {
			if f.kind == e.kind && f.dir == e.dir {
				known[same{f.dir, f.text}]++
			}
		}
	}
	for _, f := range now.findings {
		if f.kind != e.kind || f.dir != e.dir || kinds[e.kind].most && f.size <= e.limit {
			continue
		}
		key := same{f.dir, f.text}
		if e.kind == "package" || e.kind == "subject" {
			key.text = f.file
		}
		if known[key] > 0 {
			known[key]--
			continue
		}
		all = append(all, f)
	}
	return all
}
