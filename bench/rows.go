package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/linksim"
)

// A row is one figure of the table.
type row struct {
	name    string
	remote  bool // needs ssh
	needed  string
	measure func(*bench, row) error
}

var rows = []row{
	{"local context and first call, ms", false, "≤ 0.33 ×", figure("connect", "local", "total_s", "%.1f", 1000, nil)},
	{"call latency, local, p50, µs", false, "≤ 0.35 ×", figure("latency", "local", "p50_us", "%.1f", 1, m{"n": 10000})},
	{"pipelined calls, thousands a second", false, "≥ 4 ×", figure("pipeline", "local", "calls_per_s", "%.0f", 0.001, m{"n": 10000})},
	{"memory of a local child, 50 of them, PSS, MiB", false, "≤ 8", memory},
	{"200 local children, 16 at a time, s", false, "≤ 0.4 ×", figure("scale", "local", "s", "%.2f", 1, m{"n": 200, "threads": 16})},
	{"ssh, sudo, own module, whole process", true, "≤ `ssh host true` + 1 RTT", wholeProcess},
	{"100 × `true` under sudo, RTT 20 ms, loop in the engine", true, "≤ 0.5 × bytes, ≤ 0.9 × time", loops("local")},
	{"import django.db.models", true, "≤ 2.0 RTTs, ≤ 0.9 s", imports("work_django")},
	{"import requests", true, "≤ 2.0 RTTs, ≤ 0.8 s", imports("work_requests")},
	{"own module, connected child", true, "1 RTT", imports("work_small_import")},
	{"django in 40 children behind a hop, RTT 100 ms, 10 Mbit/s", true, "≤ 1.2 × the bytes and ≤ 1.3 × the time of one", tree},
	{"call latency two hops down, local, p50, µs", false, "≤ 0.4 ×", figure("latency", "local+local", "p50_us", "%.1f", 1, m{"n": 10000})},
	{"second call through the daemon, whole process, ms", false, "≤ 30, aim 15", warmDaemon},
	{"bastion, web1, sudo, RTT 100 ms each, first result, whole process, s", true, "≤ that + 1 RTT", bastion},
	{"200 ssh connections, 16 at a time, one call each", true, "≤ 0.25 × CPU and memory", connections},
	{"1,500 contexts in 3 tiers, connected and one call answered by each", false, "≤ 45, aim 30", fleet},
	{"100 × `true` under sudo, RTT 20 ms, loop in the child", true, "≤ 0.5 × bytes, ≤ 0.9 × time", loops("remote")},
}

type m map[string]any

func with(p m, target map[string]any) m {
	q := m{"target": target}
	for k, v := range p {
		q[k] = v
	}
	return q
}

// figure measures one key of one workload's result.
func figure(workload, kind, key, format string, scale float64, p m) func(*bench, row) error {
	return func(b *bench, r row) error {
		q := with(p, b.target(kind, nil))
		theirs, ours, err := pair(
			func() (reading, error) { return drive(b.mitogen, workload, q, nil) },
			func() (reading, error) { return drive(b.ours, workload, q, nil) })
		if err != nil {
			return err
		}
		t, o := over(theirs, key), over(ours, key)
		fmt.Printf("| %s | %s | %s | %.2f × | %s |\n", r.name, t.text(format, scale), o.text(format, scale), o.median/t.median, r.needed)
		return nil
	}
}

// memory looks at the children of a driver that holds them.
func memory(b *bench, r row) error {
	see := func(pid int, _ string, r reading) {
		children := descendants(pid)
		for _, c := range children {
			r["mib"] += pss(c) / float64(len(children))
		}
	}
	q := m{"n": 50, "threads": 16, "target": b.target("local", nil)}
	theirs, ours, err := pair(
		func() (reading, error) { return drive(b.mitogen, "scale", q, see) },
		func() (reading, error) { return drive(b.ours, "scale", q, see) })
	if err != nil {
		return err
	}
	t, o := over(theirs, "mib"), over(ours, "mib")
	fmt.Printf("| %s | %s | %s | %.2f × | %s |\n", r.name, t.text("%.1f", 1), o.text("%.1f", 1), o.median/t.median, r.needed)
	return nil
}

// wholeProcess compares with OpenSSH too. Effective round trips are what 200 ms of them add, divided by 200 ms.
func wholeProcess(b *bench, r row) error {
	medians := map[time.Duration][3]float64{}
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		k, err := b.link(rtt)
		if err != nil {
			return err
		}
		defer k.Close()
		q := m{"target": b.target("ssh+sudo", k)}
		var ssh []reading
		theirs, ours, err := pair(
			func() (reading, error) { return drive(b.mitogen, "own", q, nil) },
			func() (reading, error) {
				s, err := b.sshTrue(k)
				if err != nil {
					return nil, err
				}
				ssh = append(ssh, s)
				return drive(b.ours, "own", q, nil)
			})
		if err != nil {
			return err
		}
		t, o, s := over(theirs, "process_s"), over(ours, "process_s"), over(ssh, "process_s")
		medians[rtt] = [3]float64{t.median, o.median, s.median}
		fmt.Printf("| %s, RTT %v, s (`ssh host true`: %s) | %s | %s | %.2f × | %s: %.3f |\n", r.name, rtt, s.text("%.3f", 1),
			t.text("%.3f", 1), o.text("%.3f", 1), o.median/t.median, r.needed, s.median+rtt.Seconds())
	}
	trips := func(i int) float64 { return (medians[200*time.Millisecond][i] - medians[0][i]) / 0.2 }
	fmt.Printf("| the same, effective round trips (`ssh host true`: %.2f) | %.2f | %.2f | | ≤ %.2f |\n", trips(2), trips(0), trips(1), trips(2)+1)
	return nil
}

func (b *bench) sshTrue(k *linksim.Link) (reading, error) {
	start := time.Now()
	err := exec.Command("ssh", "-F", b.config, "-p", strconv.Itoa(k.Port()), "-l", lab.Free, "mito", "true").Run()
	return reading{"process_s": time.Since(start).Seconds()}, err
}

func loops(where string) func(*bench, row) error {
	return func(b *bench, r row) error {
		measured := func(driver []string) func() (reading, error) {
			return func() (reading, error) {
				k, err := b.link(20 * time.Millisecond)
				if err != nil {
					return nil, err
				}
				defer k.Close()
				got, err := drive(driver, "loop100", m{"target": b.target("ssh+sudo", k), "n": 100, "where": where}, nil)
				if err == nil {
					got["up"] = float64(k.Up.Load())
				}
				return got, err
			}
		}
		theirs, ours, err := pair(measured(b.mitogen), measured(b.ours))
		if err != nil {
			return err
		}
		t, o, tu, ou := over(theirs, "process_s"), over(ours, "process_s"), over(theirs, "up"), over(ours, "up")
		fmt.Printf("| %s, s | %s | %s | %.2f × | %s |\n", r.name, t.text("%.2f", 1), o.text("%.2f", 1), o.median/t.median, r.needed)
		fmt.Printf("| the same, KB up | %.1f | %.1f | %.2f × | |\n", tu.median/1000, ou.median/1000, ou.median/tu.median)
		return nil
	}
}
