package main

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func values(key string, xs ...float64) (rs []reading) {
	for _, x := range xs {
		rs = append(rs, reading{key: x})
	}
	return rs
}

func TestRatiosCompareRoundByRound(t *testing.T) {
	for _, c := range []struct {
		name     string
		us, them []float64
		want     stat
	}{
		{"a slow round slows both", []float64{10, 100, 12}, []float64{10, 50, 10}, stat{1.2, 1, 2}},
		{"an even number of rounds", []float64{1, 2}, []float64{1, 1}, stat{1.5, 1, 2}},
		{"nothing beside nothing", []float64{0, 0}, []float64{0, 0}, stat{1, 1, 1}},
		{"something beside nothing", []float64{3}, []float64{0},
			stat{math.Inf(1), math.Inf(1), math.Inf(1)}},
	} {
		if got := ratios(values("s", c.us...), values("s", c.them...), "s"); got != c.want {
			t.Errorf("%s: ratios of %v to %v: got %v, want %v", c.name, c.us, c.them, got, c.want)
		}
	}
}

func TestWorseRowsAreNoted(t *testing.T) {
	for _, c := range []struct {
		ours, before float64
		more, worse  bool
	}{
		{1.02, 1, false, false}, {1.04, 1, false, true}, {0.5, 1, false, false},
		{0.98, 1, true, false}, {0.96, 1, true, true}, {2, 1, true, false}, {1, 0, false, true},
		{0, 0, false, false},
	} {
		b := &bench{}
		b.compare(readings{{ours, ""}: values("s", c.ours), {before, ""}: values("s", c.before)},
			line{label: "row", key: "s", more: c.more})
		if got := len(b.worse) == 1; got != c.worse {
			t.Errorf("ours %v, before %v, the more the better %v: noted as worse: got %v, want %v", c.ours,
				c.before, c.more, got, c.worse)
		}
	}
}

func TestSidesHaveReadingsOfTheSameRounds(t *testing.T) {
	b := &bench{sides: []side{{name: peer}, {name: ours}, {name: before}}}
	var turns []string
	n := 0.0
	all, err := b.alternate(2, []string{"", "native"}, func(s side, v string) (reading, error) {
		if s.name == peer && v == "native" {
			return nil, nil
		}
		turns = append(turns, s.name+v)
		n++
		return reading{"n": n}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Mitogen", "ours", "before", "oursnative", "beforenative", "Mitogen", "before",
		"ours", "beforenative", "oursnative"}
	if !slices.Equal(turns, want) {
		t.Errorf("turns of two rounds: got %v, want %v", turns, want)
	}
	for from, want := range map[source][]float64{{ours, ""}: {2, 8}, {before, ""}: {3, 7},
		{ours, "native"}: {4, 10}} {
		for i, r := range all[from] {
			if len(all[from]) != len(want) || r["n"] != want[i] {
				t.Errorf("readings of %v: got %v, want those of the turns %v", from, all[from], want)
			}
		}
	}
	if len(all[source{peer, "native"}]) != 0 {
		t.Errorf("Mitogen has a variant that it did not do: %v", all)
	}
}

func TestAnEarlierRevisionThatFailsHasNoFigures(t *testing.T) {
	b := &bench{ctx: t.Context(), sides: []side{{name: ours}, {name: before}}}
	turns := 0
	all, err := b.alternate(3, plain, func(s side, _ string) (reading, error) {
		turns++
		if s.name == before && turns > 2 {
			return nil, errors.New("no such workload")
		}
		return reading{"n": 1}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(all[source{ours, ""}]); got != 3 {
		t.Errorf("our readings: got %d, want 3", got)
	}
	if got := all[source{before, ""}]; len(got) != 0 {
		t.Errorf("readings of the revision that failed in its second round: got %v, want none", got)
	}
	want := errors.New("broken")
	if _, err := b.alternate(1, plain, func(s side, _ string) (reading, error) {
		return nil, want
	}); !errors.Is(err, want) {
		t.Errorf("our side fails: got %v, want %v", err, want)
	}
}

func TestTripsAreWhatSlowRoundTripsAdd(t *testing.T) {
	from := source{ours, ""}
	got := trips(readings{from: values("s", 0.1, 0.2)}, readings{from: values("s", 0.3, 0.8)},
		"s")[from]
	for i, want := range []float64{1, 3} {
		if math.Abs(got[i]["s"]-want) > 1e-9 {
			t.Errorf("round trips of round %d: got %v, want %v", i, got[i]["s"], want)
		}
	}
}
