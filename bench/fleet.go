package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// bastion measures the whole process of a first result behind a bastion, a round trip of 100 ms on
// each link. ssh -J is the measure, and has its turn just before Mitogen.
func bastion(b *bench, r row) error {
	const rtt = 100 * time.Millisecond
	near, err := b.link(rtt)
	if err != nil {
		return err
	}
	defer near.Close()
	far, err := b.link(rtt)
	if err != nil {
		return err
	}
	defer far.Close()
	config, err := b.bastionConfig(map[string]int{"bastion": near.Port(), "web1": far.Port()})
	if err != nil {
		return err
	}
	all, err := b.alternate(*runs, []string{"", "native"},
		func(s side, v string) (reading, error) { return b.behindBastion(s, config, v) })
	if err != nil {
		return err
	}
	l := line{label: r.name, key: "process_s", format: "%.3f", spread: true, needed: r.needed}
	if *peers {
		jump := over(all[source{peer, ""}], "jump_s")
		l.needed = fmt.Sprintf("%s: %.3f, both links' %.3f (`ssh -J bastion web1 true`: %s)", r.needed,
			jump.median+rtt.Seconds(),
			jump.median+2*rtt.Seconds(), jump.text("%.3f", 1))
	}
	b.show(all, l)
	l.label, l.variant, l.beside, l.needed = r.name+", native", "native", source{peer, ""}, ""
	b.show(all, l)
	return nil
}

// bastionConfig writes ssh's configuration. Mitogen starts ssh on the bastion, where the key has to
// be then, and readable for its user.
func (b *bench) bastionConfig(ports map[string]int) (string, error) {
	config, key, known := filepath.Join(b.dir, "bastion_config"), filepath.Join(b.dir,
		"bastion_key"), filepath.Join(b.dir, "bastion_known")
	if err := b.call("install", "-m", "600", "-o", lab.Free, b.lab.Key, key); err != nil {
		return "", err
	}
	if err := b.call("install", "-m", "644", filepath.Join(b.dir, "known_hosts"), known); err != nil {
		return "", err
	}
	text := ""
	for name, port := range ports {
		text += fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  User %s\n  IdentityFile %s\n  "+
			"IdentitiesOnly yes\n  IdentityAgent none\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n",
			name, b.lab.Host, port, lab.Free, key, known)
	}
	return config, os.WriteFile(config, []byte(text), 0o644)
}

func (b *bench) behindBastion(s side, config, variant string) (reading, error) {
	target := m{"python": python, "kind": "bastion+web1+sudo", "ssh_config": config,
		"name": "bastion+web1+sudo"}
	if s.name != peer {
		target["native"] = variant == "native"
		return b.drive(s.driver, "own", m{"target": target}, nil)
	}
	if variant == "native" {
		return nil, nil
	}
	start := time.Now()
	if err := b.call("ssh", "-F", config, "-J", "bastion", "web1", "true"); err != nil {
		return nil, err
	}
	jump := time.Since(start).Seconds()
	r, err := b.drive(s.driver, "own", m{"target": target}, nil)
	if err == nil {
		r["jump_s"] = jump
	}
	return r, err
}

// fleet is ours alone, and one run unless it is compared: Mitogen's figure stands in the study, of
// 500 without tiers.
func fleet(b *bench, r row) error {
	rounds := 1
	if *revision != "" {
		rounds = *runs
	}
	all, err := b.alternate(rounds, []string{"local", "fork"},
		func(s side, where string) (reading, error) {
			if s.name == peer {
				return nil, nil
			}
			return b.drive(s.driver, "tiers", m{"target": b.target("local", nil), "n": 1500, "where": where},
				nil)
		})
	if err != nil {
		return err
	}
	for _, where := range []string{"local", "fork"} {
		label := fmt.Sprintf("%s, method %s", r.name, where)
		b.show(all, line{label: label + ", s (Mitogen, 500 without tiers: 25)", variant: where, key: "s",
			format: "%.1f", needed: r.needed})
		b.show(all, line{label: label + ": the same call on all, ms (Mitogen, 500: 94)", variant: where,
			key: "broadcast_call_s", format: "%.0f", scale: 1000, needed: "≤ 250"})
		b.show(all, line{label: label + ": memory of the engine, MiB", variant: where, key: "rss_mib",
			format: "%.0f", needed: "≤ 120"})
	}
	return nil
}

// warmCalls are so many because one takes so little.
const warmCalls = 300

// warm measures the whole process of commands that use a daemon which has their target connected.
// Each row has daemons of its own, since a daemon that is told to stop keeps its socket for a
// moment.
func warm(name string, target func(*bench) []string) func(*bench, row) error {
	return func(b *bench, r row) error {
		defer b.stopDaemons(name)
		call := func(s side, _ string) (reading, error) {
			if s.name == peer {
				return nil, nil
			}
			return b.daemonCall(s, name, target(b))
		}
		if _, err := b.alternate(1, plain, call); err != nil { // connects
			return err
		}
		all, err := b.alternate(warmCalls, plain, call)
		if err != nil {
			return err
		}
		b.show(all, line{label: r.name, key: "process_s", format: "%.1f", scale: 1000, spread: true,
			needed: r.needed})
		return nil
	}
}

func (b *bench) daemonCall(s side, name string, target []string) (reading, error) {
	cmd := b.command(append(append([]string{s.program, "call", "--daemon"}, target...),
		"os:getpid")...)
	cmd.Env = b.daemonEnv(s, name)
	start := time.Now()
	out, err := output(cmd)
	if err != nil {
		return nil, err
	}
	took := time.Since(start).Seconds()
	if _, err := strconv.Atoi(out[:len(out)-1]); err != nil {
		return nil, err
	}
	return reading{"process_s": took}, nil
}

// daemonEnv gives each side a daemon of its own.
func (b *bench) daemonEnv(s side, name string) []string {
	return append(os.Environ(), "MITOGEN_SOCKET="+filepath.Join(b.dir, s.name, name, "s"))
}

// stopDaemons also works after an interrupt. A side whose daemon hasn't been started is no error.
func (b *bench) stopDaemons(name string) {
	for _, s := range b.sides {
		if s.program != "" {
			stop := exec.Command(s.program, "daemon", "stop")
			stop.Env = b.daemonEnv(s, name)
			stop.Run()
		}
	}
}

// connections compares our two transports: CPU and memory of the engine and of the ssh processes
// that it has started.
func connections(b *bench, r row) error {
	const n = 200
	measure := func(rounds int, variants []string, n int) (readings, error) {
		return b.alternate(rounds, variants, func(s side, v string) (reading, error) {
			if s.name == peer {
				return nil, nil
			}
			return b.connected(s, v == "native", n)
		})
	}
	all, err := measure(*runs, []string{"program", "native"}, n)
	if err != nil {
		return err
	}
	one, err := measure(1, []string{"native"}, 1)
	if err != nil {
		return err
	}
	for _, f := range []struct{ what, key, format string }{{"CPU, s", "cpu_s", "%.2f"},
		{"memory, MiB", "mib", "%.0f"}, {"time, s", "s", "%.2f"}} {
		l := line{label: fmt.Sprintf("%s: %s, ssh program", r.name, f.what), variant: "program",
			key: f.key, format: f.format, spread: true}
		b.show(all, l)
		l.label, l.variant, l.beside, l.needed = fmt.Sprintf("%s: %s, native (ratio: to the program)",
			r.name, f.what), "native", source{ours, "program"}, r.needed
		b.show(all, l)
	}
	for from, rs := range one {
		for _, r := range all[from] {
			r["idle_kib"] = (r["engine_mib"] - rs[0]["engine_mib"]) * 1024 / (n - 1)
		}
	}
	b.show(all, line{label: "memory of the engine for each idle native connection, KiB (Mitogen: 8 " +
		"MB a process)", variant: "native", key: "idle_kib", format: "%.0f", needed: "≤ 200"})
	return nil
}

// connected holds n connections, and reads their memory when they are idle.
func (b *bench) connected(s side, native bool, n int) (reading, error) {
	k, err := b.link(0)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	target := b.target("ssh", k)
	target["native"] = native
	return b.drive(s.driver, "scale", m{"target": target, "n": n, "threads": 16},
		func(pid int, _ string, r reading) {
			time.Sleep(time.Second)
			r["engine_mib"] = pss(pid)
			r["mib"] = r["engine_mib"]
			for _, c := range descendants(pid) {
				r["mib"] += pss(c)
			}
		})
}
