package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// bastion is the whole process of a first result behind one, a round trip of 100 ms on each link; ssh -J is the measure.
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
	config, key, known := filepath.Join(b.dir, "bastion_config"), filepath.Join(b.dir, "bastion_key"), filepath.Join(b.dir, "bastion_known")
	// Mitogen starts ssh on the bastion, where the key has to be then, and readable for its user.
	if err := command("install", "-m", "600", "-o", lab.Free, b.lab.Key, key); err != nil {
		return err
	}
	if err := command("install", "-m", "644", filepath.Join(b.dir, "known_hosts"), known); err != nil {
		return err
	}
	text := ""
	for name, port := range map[string]int{"bastion": near.Port(), "web1": far.Port()} {
		text += fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n",
			name, b.lab.Host, port, lab.Free, key, known)
	}
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	target := m{"python": python, "kind": "bastion+web1+sudo", "ssh_config": config, "name": "bastion+web1+sudo"}
	direct := m{"native": true}
	maps.Copy(direct, target)
	var jump, native []reading
	theirs, ours, err := pair(
		func() (reading, error) { return drive(b.mitogen, "own", m{"target": target}, nil) },
		func() (reading, error) {
			start := time.Now()
			if err := command("ssh", "-F", config, "-J", "bastion", "web1", "true"); err != nil {
				return nil, err
			}
			jump = append(jump, reading{"process_s": time.Since(start).Seconds()})
			r, err := drive(b.ours, "own", m{"target": direct}, nil)
			if err != nil {
				return nil, err
			}
			native = append(native, r)
			return drive(b.ours, "own", m{"target": target}, nil)
		})
	if err != nil {
		return err
	}
	t, o, n, j := over(theirs, "process_s"), over(ours, "process_s"), over(native, "process_s"), over(jump, "process_s")
	fmt.Printf("| %s (`ssh -J bastion web1 true`: %s) | %s | %s; native %s | %.2f × | %s: %.3f, both links' %.3f |\n", r.name, j.text("%.3f", 1), t.text("%.3f", 1), o.text("%.3f", 1), n.text("%.3f", 1),
		o.median/t.median, r.needed, j.median+rtt.Seconds(), j.median+2*rtt.Seconds())
	return nil
}

// fleet is ours alone: Mitogen's figure stands in the study, of 500 without tiers.
func fleet(b *bench, r row) error {
	for _, where := range []string{"local", "fork"} {
		got, err := drive(b.ours, "tiers", m{"target": b.target("local", nil), "n": 1500, "where": where}, nil)
		if err != nil {
			return err
		}
		fmt.Printf("| %s, method %s, s (one run) | 500 without tiers: 25 | %.1f | | %s |\n", r.name, where, got["s"], r.needed)
		fmt.Printf("| the same call on all of them, ms | 500: 94 | %.0f | | ≤ 250 |\n", got["broadcast_call_s"]*1000)
		fmt.Printf("| memory of the engine, MiB | | %.0f | | ≤ 120 |\n", got["rss_mib"])
	}
	return nil
}

// warmDaemon is the whole process of the second command that uses a daemon.
func warmDaemon(b *bench, r row) error {
	program := filepath.Join(b.dir, "mitogen")
	if err := command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./cmd/mitogen"); err != nil {
		return err
	}
	env := append(os.Environ(), "MITOGEN_SOCKET="+filepath.Join(b.dir, "d", "s"))
	call := func() (reading, error) {
		cmd := exec.Command(program, "call", "--daemon", "-t", "local", "--python", python, "os:getpid")
		cmd.Env = env
		start := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		if _, err := strconv.Atoi(string(out[:len(out)-1])); err != nil {
			return nil, err
		}
		return reading{"process_s": time.Since(start).Seconds()}, nil
	}
	if _, err := call(); err != nil {
		return err
	}
	var all []reading
	for range 20 {
		one, err := call()
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	stop := exec.Command(program, "daemon", "stop")
	stop.Env = env
	fmt.Printf("| %s | – | %s | | %s |\n", r.name, over(all, "process_s").text("%.1f", 1000), r.needed)
	return stop.Run()
}

// connections compares our two transports: CPU and memory of the engine and of the ssh processes that it has started.
func connections(b *bench, r row) error {
	measured := func(native bool, n int) func() (reading, error) {
		return func() (reading, error) {
			k, err := b.link(0)
			if err != nil {
				return nil, err
			}
			defer k.Close()
			target := b.target("ssh", k)
			target["native"] = native
			return drive(b.ours, "scale", m{"target": target, "n": n, "threads": 16}, func(pid int, _ string, r reading) {
				time.Sleep(time.Second) // idle
				r["engine_mib"] = pss(pid)
				r["mib"] = r["engine_mib"]
				for _, c := range descendants(pid) {
					r["mib"] += pss(c)
				}
			})
		}
	}
	program, native, err := pair(measured(false, 200), measured(true, 200))
	if err != nil {
		return err
	}
	one, err := measured(true, 1)()
	if err != nil {
		return err
	}
	for _, f := range []struct{ what, key, format string }{{"CPU, s", "cpu_s", "%.2f"}, {"memory, MiB", "mib", "%.0f"}, {"time, s", "s", "%.2f"}} {
		p, o := over(program, f.key), over(native, f.key)
		fmt.Printf("| %s: %s, ssh program / native | | %s / %s | %.2f × | %s |\n", r.name, f.what, p.text(f.format, 1), o.text(f.format, 1), o.median/p.median, r.needed)
	}
	fmt.Printf("| memory of the engine for each idle native connection, KiB | 8 MB a process | %.0f | | ≤ 200 |\n",
		(over(native, "engine_mib").median-one["engine_mib"])*1024/199)
	return nil
}
