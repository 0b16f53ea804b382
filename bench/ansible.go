package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// Rows of Ansible: whole playbooks, by the ssh plugin without and with pipelining, by Mitogen's
// strategy plugin, and by our connection plugin, in turn.

var ansible = flag.String("ansible", "", "measure playbooks instead, with this ansible-playbook")

// variant is a way to run a playbook.
type variant struct {
	cfg  string   // of [defaults]
	env  []string // besides
	pipe bool
}

// A book is a playbook, and the variants that it is measured by.
type book struct {
	name   string
	tasks  string
	hosts  int
	rtts   []time.Duration
	by     []string
	needed string
	forks  int  // 0: 10
	memory bool // of what runs on the controller is measured
}

var quickAndSlow = []time.Duration{0, 20 * time.Millisecond}

var books = []book{
	{name: "a playbook of one task", tasks: tasks(1),
		hosts: 1, rtts: quickAndSlow, by: []string{"default", "pipelining", "mitogen", "ours"},
		needed: "≤ 1.05 × pipelining"},
	{name: "100 tasks `command: true`", tasks: tasks(100),
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "mitogen", "ours"},
		needed: "≤ 1.0 × Mitogen, aim 0.8"},
	{name: "one task, loop of 100", tasks: "  - command: /bin/true\n    with_sequence: count=100\n",
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "mitogen", "ours"},
		needed: "≤ 1.0 × Mitogen, aim 0.8"},
	{name: "gather facts", tasks: "  - setup:\n",
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "mitogen", "ours"},
		needed: "≤ 1.0 × pipelining, aim 0.8"},
	{name: "copy 20 files", tasks: prepared +
		"  - copy: {src: 'f{{ item }}', dest: /tmp/mitogen-bench-files/}\n    with_sequence: count=20\n",
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "mitogen", "ours"},
		needed: "≤ 1.1 × Mitogen, aim 0.9"},
	{name: "template 20", tasks: prepared +
		"  - template: {src: 'f{{ item }}', dest: /tmp/mitogen-bench-files/}\n    with_sequence: " +
		"count=20\n",
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "mitogen", "ours"},
		needed: "≤ 1.1 × Mitogen, aim 0.9"},
	{name: "10 hosts × 20 tasks of several kinds", tasks: mixed,
		hosts: 10, rtts: []time.Duration{10 * time.Millisecond},
		by:     []string{"mitogen", "ours", "native"},
		needed: "–"},
	{name: "10 hosts × 20 tasks", tasks: tasks(20),
		hosts: 10, rtts: []time.Duration{10 * time.Millisecond},
		by:     []string{"pipelining", "mitogen", "ours", "native"},
		needed: "≤ 0.6 × Mitogen"},
}

// besides are books that are measured beside pipelining only.
var besides = []book{
	{name: "a loop of 15 and four tasks",
		tasks: "  - command: /bin/true\n    with_sequence: count=15\n" + tasks(4),
		hosts: 1, rtts: quickAndSlow, by: []string{"pipelining", "ours"}, needed: "≤ 0.41 × pipelining"},
	{name: "a playbook of 17 tasks", tasks: seventeen, hosts: 1, rtts: quickAndSlow,
		by: []string{"pipelining", "ours"}, needed: "≤ 0.45 × pipelining"},
	{name: "50 hosts, 20 forks, 17 tasks", tasks: seventeen, hosts: 50, rtts: []time.Duration{0},
		by: []string{"pipelining", "ours"}, needed: "≤ 0.5 × pipelining", forks: 20, memory: true},
}

// seventeen is a playbook of facts, files, become, jobs, scripts and connections that end.
const seventeen = `  - setup:
  - file: {path: /tmp/mitogen-bench-files, state: directory, mode: "0777"}
  - copy: {src: f1, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1"}
  - copy: {content: text, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-2"}
  - template: {src: f2, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3"}
  - {command: id -un, become: false}
  - {command: id -un, become_user: ` + lab.Log + `}
  - {command: /bin/true, async: 30, poll: 1}
  - script: hello.sh
  - fetch: {src: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1", dest: fetched}
  - raw: echo raw
  - meta: reset_connection
  - lineinfile: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3", line: another}
  - stat: {path: /etc/passwd}
  - shell: echo $HOME
  - slurp: {src: /etc/hostname}
  - file: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1", state: absent}
`

// mixed is a playbook of the tasks that users run every day: 20 of them.
const mixed = `  - file: {path: /tmp/mitogen-bench-files, state: directory}
  - ping:
  - command: /bin/true
  - shell: echo $HOME
  - stat: {path: /etc/passwd}
  - copy: {src: f1, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1"}
  - copy: {content: text, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-2", mode: "0600"}
  - template: {src: f2, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3"}
  - lineinfile: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3", line: another}
  - file: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-4", state: touch}
  - stat: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-4"}
  - slurp: {src: /etc/hostname}
  - getent: {database: passwd, key: root}
  - user: {name: root, state: present}
  - file: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-4", state: absent}
  - command: id -un
  - shell: cat /etc/os-release | head -n 1
  - replace: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3", regexp: another,
              replace: other}
  - copy: {src: f1, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1"}
  - command: /bin/true
`

const prepared = "  - file: {path: /tmp/mitogen-bench-files, state: absent}\n  - file: {path: " +
	"/tmp/mitogen-bench-files, state: directory}\n"

func tasks(n int) string { return strings.Repeat("  - command: /bin/true\n", n) }

// playbooks measures all books, also when a book fails.
func (b *bench) playbooks() error {
	if b.lab == nil {
		return errors.New("playbooks need root, for an sshd and users of their own")
	}
	out, err := output(b.command(*ansible, "--version"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(out, "\n")
	variants, err := b.variants()
	if err != nil {
		return err
	}
	head, rule := "| playbook | RTT | default | pipelining | Mitogen | ours | native | ratio | "+
		"needed |", "|---|---:|---:|---:|---:|---:|---:|---:|---|"
	if *revision != "" {
		head, rule = head+" before | ours / before | native before | native / before |", rule+
			"---:|---:|---:|---:|"
	}
	fmt.Printf("\n%s; all with become; s, and KB up.\n\n%s\n%s\n", first, head, rule)
	var failed []error
	for _, k := range append(books, besides...) {
		if !strings.Contains(k.name, *only) {
			continue
		}
		for _, rtt := range k.rtts {
			if err := b.playbook(k, rtt, variants); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", k.name, err))
			}
			if b.ctx.Err() != nil {
				return errors.Join(failed...)
			}
		}
	}
	return errors.Join(failed...)
}

// variants are all ways to run a playbook, by side.
func (b *bench) variants() (map[source]variant, error) {
	site := os.Getenv("BENCH_PACKAGES")
	all := map[source]variant{
		{peer, "default"}:    {},
		{peer, "pipelining"}: {pipe: true},
		{peer, "mitogen"}: {env: []string{"PYTHONPATH=" + site},
			cfg: "strategy = mitogen_linear\nstrategy_plugins = " +
				filepath.Join(site, "ansible_mitogen/plugins/strategy") + "\n"},
	}
	for _, s := range b.sides {
		if s.program == "" {
			continue
		}
		out, err := output(b.command(s.program, "ansible", "config", "--dir",
			filepath.Join(b.dir, s.name, "plugins")))
		if err != nil {
			return nil, err
		}
		cfg := strings.TrimPrefix(out, "[defaults]\n")
		all[source{s.name, "ours"}] = variant{cfg: cfg}
		all[source{s.name, "native"}] = variant{cfg: cfg, env: []string{"ANSIBLE_MITOGEN_NATIVE=1"}}
	}
	return all, nil
}

func (b *bench) playbook(k book, rtt time.Duration, variants map[source]variant) error {
	all, err := b.alternate(*runs, k.by, func(s side, name string) (reading, error) {
		v, ok := variants[source{s.name, name}]
		if !ok {
			return nil, nil
		}
		r, err := b.play(k, rtt, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return r, nil
	})
	if err != nil {
		return err
	}
	cells := ""
	for _, from := range []source{{peer, "default"}, {peer, "pipelining"}, {peer, "mitogen"},
		{ours, "ours"}, {ours, "native"}} {
		cells += playCell(all[from])
	}
	beside := source{peer, "mitogen"}
	if strings.Contains(k.needed, "pipelining") {
		beside.variant = "pipelining"
	}
	ratio := ""
	if rs := all[beside]; len(rs) > 0 {
		ratio = fmt.Sprintf("%.2f ×", over(all[source{ours, "ours"}], "s").median/over(rs, "s").median)
	}
	fmt.Printf("| %s | %s |%s %s | %s |%s\n", k.name, rtt, cells, ratio, k.needed,
		b.compareBook(k, rtt, all))
	if k.memory {
		fmt.Println(memoryRow(k, rtt, all))
	}
	return nil
}

// memoryRow has the memory of what runs on the controller.
func memoryRow(k book, rtt time.Duration, all readings) string {
	theirs, own := all[source{peer, "pipelining"}], all[source{ours, "ours"}]
	if len(theirs) == 0 || len(own) == 0 {
		return ""
	}
	x, y := over(theirs, "memory"), over(own, "memory")
	return fmt.Sprintf("| %s: memory, MiB | %s | | %s | | %s | | %.2f × | ≤ 1.1 × pipelining |",
		k.name, rtt,
		x.text("%.0f", 1), y.text("%.0f", 1), y.median/x.median)
}

func playCell(rs []reading) string {
	if len(rs) == 0 {
		return " |"
	}
	return fmt.Sprintf(" %s; %.0f |", over(rs, "s").text("%.2f", 1), over(rs, "up").median/1000)
}

// compareBook is the columns of an earlier revision.
func (b *bench) compareBook(k book, rtt time.Duration, all readings) string {
	if *revision == "" {
		return ""
	}
	cells := ""
	for _, v := range []string{"ours", "native"} {
		label := fmt.Sprintf("%s, RTT %s, %s", k.name, rtt, v)
		s := b.compare(all, line{label: label + ", s", key: "s", variant: v})
		up := b.compare(all, line{label: label + ", bytes up", key: "up", variant: v})
		cells += playCell(all[source{before, v}]) + " " + strings.Trim(s+"; "+up, "; ") + " |"
	}
	return cells
}

// play runs a playbook once.
func (b *bench) play(k book, rtt time.Duration, v variant) (reading, error) {
	dir, err := os.MkdirTemp(b.dir, "play-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	link, err := b.link(rtt)
	if err != nil {
		return nil, err
	}
	defer link.Close()
	inventory := ""
	for i := range k.hosts {
		inventory += fmt.Sprintf("h%d ansible_host=mito-%d ansible_port=%d ansible_user=%s "+
			"ansible_python_interpreter=%s\n", i, i, link.Port(), lab.Free, python)
	}
	config := fmt.Sprintf("Host mito-*\n  HostName 127.0.0.1\n  HostKeyAlias mito-bench\n  "+
		"UserKnownHostsFile %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n",
		filepath.Join(b.dir, "known_hosts"), b.lab.Key)
	files := map[string]string{
		"inventory": inventory, "ssh_config": config,
		"book.yml": "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n" + k.tasks,
		"ansible.cfg": fmt.Sprintf("[defaults]\ninventory = inventory\nforks = %d\nretry_files_enabled "+
			"= false\nnocows = true\n%s[ssh_connection]\npipelining = %t\n"+
			"ssh_args = -F %s/ssh_config -C -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir "+
			"= %s/cp\n", cmp.Or(k.forks, 10), v.cfg, v.pipe, dir, dir),
	}
	files["hello.sh"] = "#!/bin/sh\necho hello\n"
	for i := range 20 {
		files[fmt.Sprintf("f%d", i+1)] = fmt.Sprintf("file %d\n", i) +
			strings.Repeat("a line of a file\n", 40)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	defer closeMasters(filepath.Join(dir, "cp"))
	cmd := b.command(*ansible, "book.yml")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+dir+"/ansible.cfg", "ANSIBLE_HOME="+dir+"/home",
		"HOME="+dir, "XDG_RUNTIME_DIR="+dir, "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, v.env...)
	most := make(chan float64, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if k.memory {
		go func() { most <- mostMemory(ctx, dir) }()
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start).Seconds()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	r := reading{"s": took, "up": float64(link.Up.Load())}
	if cancel(); k.memory {
		r["memory"] = <-most
	}
	return r, nil
}

// mostMemory looks, twice a second, at the memory of processes that have dir in their environment
// or arguments, and returns the most that it has seen, in MiB, when ctx ends.
func mostMemory(ctx context.Context, dir string) float64 {
	most := 0.0
	for tick := time.NewTicker(500 * time.Millisecond); ; {
		names, _ := filepath.Glob("/proc/[0-9]*")
		sum := 0.0
		for _, name := range names {
			environ, _ := os.ReadFile(filepath.Join(name, "environ"))
			args, _ := os.ReadFile(filepath.Join(name, "cmdline"))
			pid, _ := strconv.Atoi(filepath.Base(name))
			if strings.Contains(string(environ)+string(args), dir) {
				sum += pss(pid)
			}
		}
		most = max(most, sum)
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// closeMasters ends the connections that ssh keeps, also after an interrupt.
func closeMasters(dir string) {
	masters, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, m := range masters {
		exec.Command("ssh", "-O", "exit", "-o", "ControlPath="+m, "x").Run()
	}
}
