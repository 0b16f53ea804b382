package main

import (
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/linksim"
)

// imports measures a call into a module that imports what the child lacks: by an engine's first child that does, and
// its second. Effective round trips are what 200 ms of them add, divided by 200 ms: connecting is not in it.
func imports(module string) func(*bench, row) error {
	return func(b *bench, r row) error {
		medians := map[string][2]float64{}
		for _, rtt := range []time.Duration{0, 200 * time.Millisecond} {
			theirs, ours, err := pair(b.importing(b.mitogen, module, rtt), b.importing(b.ours, module, rtt))
			if err != nil {
				return err
			}
			for _, child := range []string{"cold", "warm"} {
				t, o := over(theirs, child+"_s"), over(ours, child+"_s")
				medians[fmt.Sprint(child, rtt)] = [2]float64{t.median, o.median}
				fmt.Printf("| %s, %s, RTT %v, s | %s | %s | %.2f × | %s |\n", r.name, child, rtt, t.text("%.3f", 1), o.text("%.3f", 1),
					o.median/t.median, r.needed)
			}
			if rtt == 0 {
				continue
			}
			for _, key := range []string{"up", "asked", "negative"} {
				t, o := over(theirs, "cold_"+key), over(ours, "cold_"+key)
				fmt.Printf("| the same, cold: %s | %.0f | %.0f | %.2f × | |\n", key, t.median, o.median, o.median/t.median)
			}
		}
		for _, child := range []string{"cold", "warm"} {
			trips := func(i int) float64 { return (medians[child+"200ms"][i] - medians[child+"0s"][i]) / 0.2 }
			fmt.Printf("| the same, %s: effective round trips | %.2f | %.2f | | ≤ 2.0 |\n", child, trips(0), trips(1))
		}
		return nil
	}
}

func (b *bench) importing(driver []string, module string, rtt time.Duration) func() (reading, error) {
	return func() (reading, error) {
		k, err := b.link(rtt)
		if err != nil {
			return nil, err
		}
		defer k.Close()
		target := b.target("ssh", k)
		target["python"] = b.bare
		return drive(driver, "import", m{"target": target, "module": module}, counting(k))
	}
}

// counting notes, as NAME_up, the bytes sent between the marks NAME_connected and NAME.
func counting(k *linksim.Link) func(int, string, reading) {
	var before int64
	return func(_ int, mark string, r reading) {
		now := k.Up.Load()
		r[mark+"_up"] = float64(now - before)
		before = now
	}
}

// tree measures how bytes get to many children through one hop. So that their computing doesn't count, ours only wait for
// them; Mitogen's have to import.
func tree(b *bench, r row) error {
	run := func(driver []string, module string, n int) func() (reading, error) {
		return func() (reading, error) {
			k, err := b.link(100 * time.Millisecond)
			if err != nil {
				return nil, err
			}
			defer k.Close()
			k.Rate = 10e6 / 8
			target := b.target("ssh", k)
			target["python"] = b.bare
			return drive(driver, "tree", m{"target": target, "module": module, "n": n}, counting(k))
		}
	}
	for _, module := range []string{"work_arrival", "work_django"} {
		one, many, err := pair(run(b.ours, module, 1), run(b.ours, module, 40))
		if err != nil {
			return err
		}
		what := "imported"
		theirs := "-"
		if module == "work_arrival" {
			what = "arrived"
		} else {
			t, err := run(b.mitogen, module, 40)()
			if err != nil {
				return err
			}
			theirs = fmt.Sprintf("%.0f bytes, %.2f s (one run)", t["done_up"], t["s"])
		}
		u1, u40, s1, s40 := over(one, "done_up"), over(many, "done_up"), over(one, "s"), over(many, "s")
		fmt.Printf("| %s, %s: bytes up | %s | %.0f; one: %.0f | %.2f × one | %s |\n", r.name, what, theirs, u40.median, u1.median,
			u40.median/u1.median, r.needed)
		fmt.Printf("| the same, s | | %s; one: %s | %.2f × one | |\n", s40.text("%.3f", 1), s1.text("%.3f", 1), s40.median/s1.median)
	}
	return nil
}
