package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// Rows of Ansible: whole playbooks, by the ssh plugin without and with pipelining, by Mitogen's strategy plugin, and by our connection
// plugin, in turn.

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
}

var quickAndSlow = []time.Duration{0, 20 * time.Millisecond}

var books = []book{
	{"a playbook of one task", tasks(1), 1, quickAndSlow, []string{"default", "pipelining", "mitogen", "ours"}, "≤ 1.05 × pipelining"},
	{"100 tasks `command: true`", tasks(100), 1, quickAndSlow, []string{"pipelining", "mitogen", "ours"}, "≤ 1.0 × Mitogen, aim 0.8"},
	{"one task, loop of 100", "  - command: /bin/true\n    with_sequence: count=100\n", 1, quickAndSlow, []string{"pipelining", "mitogen", "ours"}, "≤ 1.0 × Mitogen, aim 0.8"},
	{"gather facts", "  - setup:\n", 1, quickAndSlow, []string{"pipelining", "mitogen", "ours"}, "≤ 1.0 × pipelining, aim 0.8"},
	{"copy 20 files", prepared + "  - copy: {src: 'f{{ item }}', dest: /tmp/mitogen-bench-files/}\n    with_sequence: count=20\n", 1, quickAndSlow,
		[]string{"pipelining", "mitogen", "ours"}, "≤ 1.1 × Mitogen, aim 0.9"},
	{"template 20", prepared + "  - template: {src: 'f{{ item }}', dest: /tmp/mitogen-bench-files/}\n    with_sequence: count=20\n", 1, quickAndSlow,
		[]string{"pipelining", "mitogen", "ours"}, "≤ 1.1 × Mitogen, aim 0.9"},
	{"10 hosts × 20 tasks of several kinds", mixed, 10, []time.Duration{10 * time.Millisecond}, []string{"mitogen", "ours", "native"}, "–"},
	{"10 hosts × 20 tasks", tasks(20), 10, []time.Duration{10 * time.Millisecond}, []string{"pipelining", "mitogen", "ours", "native"}, "≤ 0.6 × Mitogen"},
}

// mixed is what playbooks do every day: 20 tasks.
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
  - replace: {path: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-3", regexp: another, replace: other}
  - copy: {src: f1, dest: "/tmp/mitogen-bench-files/{{ inventory_hostname }}-1"}
  - command: /bin/true
`

const prepared = "  - file: {path: /tmp/mitogen-bench-files, state: absent}\n  - file: {path: /tmp/mitogen-bench-files, state: directory}\n"

func tasks(n int) string { return strings.Repeat("  - command: /bin/true\n", n) }

// playbooks measures all books.
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
	head, rule := "| playbook | RTT | default | pipelining | Mitogen | ours | native | ratio | needed |", "|---|---:|---:|---:|---:|---:|---:|---:|---|"
	if *revision != "" {
		head, rule = head+" before | ours / before | native before | native / before |", rule+"---:|---:|---:|---:|"
	}
	fmt.Printf("\n%s; all with become; s, and KB up.\n\n%s\n%s\n", first, head, rule)
	for _, k := range books {
		if !strings.Contains(k.name, *only) {
			continue
		}
		for _, rtt := range k.rtts {
			if err := b.playbook(k, rtt, variants); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
	}
	return nil
}

// variants are all ways to run a playbook, by side.
func (b *bench) variants() (map[source]variant, error) {
	site := os.Getenv("BENCH_PACKAGES")
	all := map[source]variant{
		{peer, "default"}:    {},
		{peer, "pipelining"}: {pipe: true},
		{peer, "mitogen"}: {env: []string{"PYTHONPATH=" + site},
			cfg: "strategy = mitogen_linear\nstrategy_plugins = " + filepath.Join(site, "ansible_mitogen/plugins/strategy") + "\n"},
	}
	for _, s := range b.sides {
		if s.program == "" {
			continue
		}
		out, err := output(b.command(s.program, "ansible", "config", "--dir", filepath.Join(b.dir, s.name, "plugins")))
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
	for _, from := range []source{{peer, "default"}, {peer, "pipelining"}, {peer, "mitogen"}, {ours, "ours"}, {ours, "native"}} {
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
	fmt.Printf("| %s | %s |%s %s | %s |%s\n", k.name, rtt, cells, ratio, k.needed, b.compareBook(k, rtt, all))
	return nil
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
		inventory += fmt.Sprintf("h%d ansible_host=mito-%d ansible_port=%d ansible_user=%s ansible_python_interpreter=%s\n", i, i, link.Port(), lab.Free, python)
	}
	config := fmt.Sprintf("Host mito-*\n  HostName 127.0.0.1\n  HostKeyAlias mito-bench\n  UserKnownHostsFile %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n",
		filepath.Join(b.dir, "known_hosts"), b.lab.Key)
	files := map[string]string{
		"inventory": inventory, "ssh_config": config, "book.yml": "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n" + k.tasks,
		"ansible.cfg": fmt.Sprintf("[defaults]\ninventory = inventory\nforks = 10\nretry_files_enabled = false\nnocows = true\n%s[ssh_connection]\npipelining = %t\n"+
			"ssh_args = -F %s/ssh_config -C -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = %s/cp\n", v.cfg, v.pipe, dir, dir),
	}
	for i := range 20 {
		files[fmt.Sprintf("f%d", i+1)] = fmt.Sprintf("file %d\n", i) + strings.Repeat("a line of a file\n", 40)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	defer closeMasters(filepath.Join(dir, "cp"))
	cmd := b.command(*ansible, "book.yml")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+dir+"/ansible.cfg", "ANSIBLE_HOME="+dir+"/home", "HOME="+dir, "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, v.env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return reading{"s": time.Since(start).Seconds(), "up": float64(link.Up.Load())}, nil
}

// closeMasters ends the connections that ssh keeps, also after an interrupt.
func closeMasters(dir string) {
	masters, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, m := range masters {
		exec.Command("ssh", "-O", "exit", "-o", "ControlPath="+m, "x").Run()
	}
}
