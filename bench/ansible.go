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
	name string
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
	out, err := exec.Command(*ansible, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", *ansible, err, out)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	program := filepath.Join(b.dir, "mitogen")
	if err := command("go", "build", "-trimpath", "-o", program, "./cmd/mitogen"); err != nil {
		return err
	}
	out, err = exec.Command(program, "ansible", "config", "--dir", filepath.Join(b.dir, "plugins")).Output()
	if err != nil {
		return err
	}
	variants := map[string]variant{"default": {name: "default"}, "pipelining": {name: "pipelining", pipe: true},
		"ours": {name: "ours", cfg: strings.TrimPrefix(string(out), "[defaults]\n")}}
	site := os.Getenv("BENCH_PACKAGES")
	variants["native"] = variant{name: "native", cfg: variants["ours"].cfg, env: []string{"ANSIBLE_MITOGEN_NATIVE=1"}}
	variants["mitogen"] = variant{name: "mitogen", env: []string{"PYTHONPATH=" + site},
		cfg: "strategy = mitogen_linear\nstrategy_plugins = " + filepath.Join(site, "ansible_mitogen/plugins/strategy") + "\n"}
	fmt.Printf("\n%s; all with become; s, and KB up.\n\n| playbook | RTT | default | pipelining | Mitogen | ours | native | ratio | needed |\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n", first)
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

func (b *bench) playbook(k book, rtt time.Duration, variants map[string]variant) error {
	all := map[string][]reading{}
	for range *runs {
		for _, name := range k.by {
			r, err := b.play(k, rtt, variants[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			all[name] = append(all[name], r)
		}
	}
	cells := ""
	for _, name := range []string{"default", "pipelining", "mitogen", "ours", "native"} {
		if all[name] == nil {
			cells += " |"
			continue
		}
		cells += fmt.Sprintf(" %s; %.0f |", over(all[name], "s").text("%.2f", 1), over(all[name], "up").median/1000)
	}
	peer := "mitogen"
	if strings.Contains(k.needed, "pipelining") {
		peer = "pipelining"
	}
	ratio := over(all["ours"], "s").median / over(all[peer], "s").median
	fmt.Printf("| %s | %s |%s %.2f × | %s |\n", k.name, rtt, cells, ratio, k.needed)
	return nil
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
	cmd := exec.Command(*ansible, "book.yml")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+dir+"/ansible.cfg", "ANSIBLE_HOME="+dir+"/home", "HOME="+dir, "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, v.env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	r := reading{"s": time.Since(start).Seconds(), "up": float64(link.Up.Load())}
	masters, _ := filepath.Glob(filepath.Join(dir, "cp", "*"))
	for _, m := range masters {
		exec.Command("ssh", "-O", "exit", "-o", "ControlPath="+m, "x").Run()
	}
	return r, nil
}
