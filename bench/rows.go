package main

import (
	"fmt"
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
	{"bytes to start a child", false, "", sizes},
	{"local context and first call, ms", false, "≤ 0.33 ×",
		figure("connect", "local", "total_s", "%.1f", 1000, nil)},
	{"call latency, local, p50, µs", false, "≤ 0.35 ×",
		figure("latency", "local", "p50_us", "%.1f", 1, m{"n": 10000})},
	{"pipelined calls, thousands a second", false, "≥ 4 ×",
		measured("pipeline", "local", m{"n": 10000},
			line{key: "calls_per_s", format: "%.0f", scale: 0.001, more: true})},
	{"call of a Go function, local", false, "", goFunctions},
	{"memory of a local child, 50 of them, PSS, MiB", false, "≤ 8", memory},
	{"200 local children, 16 at a time, s", false, "≤ 0.4 ×",
		figure("scale", "local", "s", "%.2f", 1, m{"n": 200, "threads": 16})},
	{"ssh, sudo, own module, whole process", true, "≤ `ssh host true` + 1 RTT", wholeProcess},
	{"100 × `true` under sudo, RTT 20 ms, loop in the engine", true, "≤ 0.5 × bytes, ≤ 0.9 × time",
		loops("local")},
	{"import django.db.models", true, "≤ 2.0 RTTs, ≤ 0.9 s", imports("work_django")},
	{"import requests", true, "≤ 2.0 RTTs, ≤ 0.8 s", imports("work_requests")},
	{"import cryptography.fernet, RTT 100 ms, 100 Mbit/s", true, "",
		extensions("work_fernet", "cryptography.fernet")},
	{"import pydantic, RTT 100 ms, 100 Mbit/s", true, "", extensions("work_pydantic", "pydantic")},
	{"own module, connected child", true, "1 RTT", imports("work_small_import")},
	{"django in 40 children behind a hop, RTT 100 ms, 10 Mbit/s", true,
		"≤ 1.2 × the bytes and ≤ 1.3 × the time of one", tree},
	{"call latency two hops down, local, p50, µs", false, "≤ 0.4 ×",
		figure("latency", "local+local", "p50_us", "%.1f", 1, m{"n": 10000})},
	{"warm call through the daemon, local, whole process, ms", false, "≤ 30, aim 15",
		warm("local", func(*bench) []string {
			return []string{"-t", "local", "--python", python}
		})},
	{"warm call through the daemon, ssh, whole process, ms", true, "≤ 1.15 × before",
		warm("ssh", func(b *bench) []string {
			return []string{"-t", "mito", "-F", b.lab.Config, "--python", python}
		})},
	{"bastion, web1, sudo, RTT 100 ms each, first result, whole process, s", true, "≤ that + 1 RTT",
		bastion},
	{"200 ssh connections, 16 at a time, one call each", true, "≤ 0.25 × CPU and memory", connections},
	{"1,500 contexts in 3 tiers, connected and one call answered by each", false, "≤ 45, aim 30",
		fleet},
	{"100 × `true` under sudo, RTT 20 ms, loop in the child", true, "≤ 0.5 × bytes, ≤ 0.9 × time",
		loops("remote")},
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
	return measured(workload, kind, p, line{key: key, format: format, scale: scale})
}

func measured(workload, kind string, p m, l line) func(*bench, row) error {
	return func(b *bench, r row) error {
		all, err := b.alternate(*runs, plain, func(s side, _ string) (reading, error) {
			return b.drive(s.driver, workload, with(p, b.target(kind, nil)), nil)
		})
		if err != nil {
			return err
		}
		l.label, l.needed, l.spread = r.name, r.needed, true
		b.show(all, l)
		return nil
	}
}

// goFunctions measures calls of a Go function beside those of a Python function, ours alone.
func goFunctions(b *bench, r row) error {
	kinds := []string{"local", "go"}
	all, err := b.alternate(*runs, kinds, func(s side, kind string) (reading, error) {
		if s.name != ours {
			return nil, nil
		}
		p := m{"n": 10000, "target": m{"kind": kind, "python": python}}
		got, err := b.drive(s.driver, "latency", p, nil)
		if err != nil {
			return nil, err
		}
		piped, err := b.drive(s.driver, "pipeline", p, nil)
		if err == nil {
			got["calls_per_s"] = piped["calls_per_s"]
		}
		return got, err
	})
	if err != nil {
		return err
	}
	beside := source{ours, "local"}
	for _, l := range []line{
		{label: r.name + ", p50, µs", key: "p50_us", format: "%.1f", needed: "≤ 0.7 ×"},
		{label: "the same, pipelined, thousands a second", key: "calls_per_s", format: "%.0f",
			scale: 0.001, more: true, needed: "≥ 2 ×"},
	} {
		l.label += " (a Python function: " + l.cell(all[beside]) + ")"
		l.variant, l.beside, l.spread = "go", beside, true
		b.show(all, l)
	}
	return nil
}

// memory looks at the children of a driver that holds them.
func memory(b *bench, r row) error {
	see := func(pid int, _ string, r reading) {
		children := descendants(pid)
		for _, c := range children {
			r["mib"] += pss(c) / float64(len(children))
		}
	}
	all, err := b.alternate(*runs, plain, func(s side, _ string) (reading, error) {
		return b.drive(s.driver, "scale", m{"n": 50, "threads": 16, "target": b.target("local", nil)},
			see)
	})
	if err != nil {
		return err
	}
	b.show(all, line{label: r.name, key: "mib", format: "%.1f", spread: true, needed: r.needed})
	return nil
}

// wholeProcess compares with OpenSSH too, which has its turn just before Mitogen.
func wholeProcess(b *bench, r row) error {
	at := map[time.Duration]readings{}
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		k, err := b.link(rtt)
		if err != nil {
			return err
		}
		defer k.Close()
		all, err := b.alternate(*runs, plain,
			func(s side, _ string) (reading, error) { return b.whole(s, k) })
		if err != nil {
			return err
		}
		at[rtt] = all
		l := line{label: fmt.Sprintf("%s, RTT %v, s", r.name, rtt), key: "process_s", format: "%.3f",
			spread: true, needed: r.needed}
		if *peers {
			ssh := over(all[source{peer, ""}], "ssh_s")
			l.needed += fmt.Sprintf(": %.3f (`ssh host true`: %s)", ssh.median+rtt.Seconds(),
				ssh.text("%.3f", 1))
		}
		b.show(all, l)
	}
	all := trips(at[0], at[200*time.Millisecond], "process_s", "ssh_s")
	l := line{label: r.name + ": effective round trips", key: "process_s", format: "%.2f"}
	if *peers {
		ssh := over(all[source{peer, ""}], "ssh_s").median
		l.needed = fmt.Sprintf("≤ %.2f (`ssh host true`: %.2f)", ssh+1, ssh)
	}
	b.show(all, l)
	return nil
}

// whole does the workload of wholeProcess, and for the peer the workload of ssh alone.
func (b *bench) whole(s side, k *linksim.Link) (reading, error) {
	ssh := 0.0
	if s.name == peer {
		start := time.Now()
		if err := b.call("ssh", "-F", b.config, "-p", strconv.Itoa(k.Port()), "-l", lab.Free, "mito",
			"true"); err != nil {
			return nil, err
		}
		ssh = time.Since(start).Seconds()
	}
	r, err := b.drive(s.driver, "own", m{"target": b.target("ssh+sudo", k)}, nil)
	if err == nil {
		r["ssh_s"] = ssh
	}
	return r, err
}

func loops(where string) func(*bench, row) error {
	return func(b *bench, r row) error {
		all, err := b.alternate(*runs, plain, func(s side, _ string) (reading, error) {
			k, err := b.link(20 * time.Millisecond)
			if err != nil {
				return nil, err
			}
			defer k.Close()
			got, err := b.drive(s.driver, "loop100",
				m{"target": b.target("ssh+sudo", k), "n": 100, "where": where}, nil)
			if err == nil {
				got["up"] = float64(k.Up.Load())
			}
			return got, err
		})
		if err != nil {
			return err
		}
		b.show(all, line{label: r.name + ", s", key: "process_s", format: "%.2f", spread: true,
			needed: r.needed})
		b.show(all, line{label: r.name + ", KB up", key: "up", format: "%.1f", scale: 0.001})
		return nil
	}
}
