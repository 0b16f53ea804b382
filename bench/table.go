package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// limit is the ratio to the earlier revision above which a row counts as worse.
const limit = 1.03

// A stat is a figure over some runs.
type stat struct{ median, least, most float64 }

func over(rs []reading, key string) stat {
	var xs []float64
	for _, r := range rs {
		xs = append(xs, r[key])
	}
	return summary(xs)
}

// summary takes at least one figure.
func summary(xs []float64) stat {
	slices.Sort(xs)
	return stat{(xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2, xs[0], xs[len(xs)-1]}
}

func (s stat) text(format string, scale float64) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.median*scale, s.least*scale, s.most*scale)
}

// A line is one figure of the table: a key of a variant's readings.
type line struct {
	label   string
	key     string
	variant string
	beside  source // ours are divided by it; zero: by Mitogen's
	format  string
	scale   float64 // 0: 1
	spread  bool    // with the least and the most
	more    bool    // the more the better
	needed  string
}

// cell is a column's text, empty where nothing was measured.
func (l line) cell(rs []reading) string {
	if len(rs) == 0 {
		return ""
	}
	scale := l.scale
	if scale == 0 {
		scale = 1
	}
	s := over(rs, l.key)
	if l.spread {
		return s.text(l.format, scale)
	}
	return fmt.Sprintf(l.format, s.median*scale)
}

func (b *bench) head() string {
	names, rule := "| figure | Mitogen | ours | ratio | needed |", "|---|---:|---:|---:|---|"
	if *revision != "" {
		names, rule = names+" before | ours / before |", rule+"---:|---:|"
	}
	return names + "\n" + rule + "\n"
}

// show prints a line.
func (b *bench) show(all readings, l line) {
	us := all[source{ours, l.variant}]
	if l.beside == (source{}) {
		l.beside = source{peer, l.variant}
	}
	ratio := ""
	if rs := all[l.beside]; len(rs) > 0 && over(rs, l.key).median != 0 {
		ratio = fmt.Sprintf("%.2f ×", over(us, l.key).median/over(rs, l.key).median)
	}
	fmt.Printf("| %s | %s | %s | %s | %s |", l.label, l.cell(all[source{peer, l.variant}]), l.cell(us),
		ratio, l.needed)
	if *revision != "" {
		fmt.Printf(" %s | %s |", l.cell(all[source{before, l.variant}]), b.compare(all, l))
	}
	fmt.Println()
}

// compare is the ratio of ours to the earlier revision's, and notes the line if that is worse.
func (b *bench) compare(all readings, l line) string {
	us, them := all[source{ours, l.variant}], all[source{before, l.variant}]
	if len(us) == 0 || len(us) != len(them) {
		return ""
	}
	s := ratios(us, them, l.key)
	text := s.text("%.3f", 1) + " ×"
	if l.more && s.median < 1/limit || !l.more && s.median > limit {
		b.worse = append(b.worse, l.label+": "+text)
	}
	return text
}

// ratios compares round by round: what slows a round slows both. Nothing beside nothing is as much.
func ratios(us, them []reading, key string) stat {
	var xs []float64
	for i := range us {
		x := us[i][key] / them[i][key]
		if math.IsNaN(x) {
			x = 1
		}
		xs = append(xs, x)
	}
	return summary(xs)
}

// verdict lists the rows that are worse than the earlier revision's. Only a complete table can be
// without any.
func (b *bench) verdict(complete bool) {
	if len(b.worse) > 0 {
		fmt.Printf("\nMore than 3 %% worse than %s, by the median of the rounds' ratios:\n\n- %s\n",
			*revision, strings.Join(b.worse, "\n- "))
	} else if *revision != "" && complete {
		fmt.Printf("\nNo row is more than 3 %% worse than %s.\n", *revision)
	}
}

// slowRTT is the round-trip time whose effect is counted in round trips.
const slowRTT = 0.2

// trips are effective round trips: what 200 ms of them add, divided by 200 ms, round by round.
func trips(quick, slow readings, keys ...string) readings {
	all := readings{}
	for from, rs := range slow {
		for i, r := range rs {
			t := reading{}
			for _, k := range keys {
				t[k] = (r[k] - quick[from][i][k]) / slowRTT
			}
			all[from] = append(all[from], t)
		}
	}
	return all
}
