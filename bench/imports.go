package main

import (
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/linksim"
)

// imports measures a call into a module that imports what the child lacks: by an engine's first
// child that does, and its second. Connecting is not in the effective round trips.
func imports(module string) func(*bench, row) error {
	return func(b *bench, r row) error {
		var at []readings
		for _, rtt := range []time.Duration{0, 200 * time.Millisecond} {
			all, err := b.alternate(*runs, plain,
				func(s side, _ string) (reading, error) { return b.importing(s, module, rtt) })
			if err != nil {
				return err
			}
			at = append(at, all)
			for _, child := range []string{"cold", "warm"} {
				b.show(all, line{label: fmt.Sprintf("%s, %s, RTT %v, s", r.name, child, rtt), key: child + "_s",
					format: "%.3f", spread: true, needed: r.needed})
			}
		}
		for _, f := range []struct{ key, what string }{{"up", "bytes up"}, {"asked", "modules asked for"},
			{"negative", "negative answers"}} {
			b.show(at[1], line{label: r.name + ", cold: " + f.what, key: "cold_" + f.key, format: "%.0f"})
		}
		all := trips(at[0], at[1], "cold_s", "warm_s")
		for _, child := range []string{"cold", "warm"} {
			b.show(all, line{label: r.name + ", " + child + ": effective round trips", key: child + "_s",
				format: "%.2f", needed: "≤ 2.0"})
		}
		return nil
	}
}

func (b *bench) importing(s side, module string, rtt time.Duration) (reading, error) {
	k, err := b.link(rtt)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	target := b.target("ssh", k)
	target["python"] = b.bare
	return b.drive(s.driver, "import", m{"target": target, "module": module}, counting(k))
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

// tree measures how bytes get to many children through one hop. So that their computing doesn't
// count, ours only wait for them; Mitogen's have to import, and do so once.
func tree(b *bench, r row) error {
	for _, work := range []struct{ module, what string }{{"work_arrival", "arrived"},
		{"work_django", "imported"}} {
		once := work.module == "work_django"
		all, err := b.alternate(*runs, []string{"one", ""}, func(s side, v string) (reading, error) {
			if s.name == peer {
				if v == "one" || !once {
					return nil, nil
				}
				once = false
			}
			return b.branch(s, work.module, map[string]int{"one": 1, "": 40}[v])
		})
		if err != nil {
			return err
		}
		up := line{label: fmt.Sprintf("%s, %s: bytes up", r.name, work.what), key: "done_up",
			format: "%.0f"}
		took := line{label: fmt.Sprintf("%s, %s: s", r.name, work.what), key: "s", format: "%.3f",
			spread: true}
		for _, l := range []line{up, took} {
			one := l
			one.label, one.variant = l.label+", one child", "one"
			b.show(all, one)
			l.label, l.beside, l.needed = l.label+" (ratio: to one child; Mitogen: one run)", source{ours,
				"one"}, r.needed
			b.show(all, l)
		}
	}
	return nil
}

// branch has n children behind a hop take what a module needs.
func (b *bench) branch(s side, module string, n int) (reading, error) {
	k, err := b.link(100 * time.Millisecond)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	k.Rate = 10e6 / 8
	target := b.target("ssh", k)
	target["python"] = b.bare
	return b.drive(s.driver, "tree", m{"target": target, "module": module, "n": n}, counting(k))
}
