package ansible_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// stage is a directory to run playbooks in.
type stage struct {
	t        *testing.T
	l        *lab.Lab
	dir      string
	playbook string
	plugin   string
	callback string
	target   string // a directory that accounts there can make, and what begins like it
	env      []string
	printed  string // by the last playbook
}

func newStage(t *testing.T, playbook string) *stage {
	t.Helper()
	l := lab.Need(t)
	l.Alone(t, lab.Play)
	removeLeftUser.Do(func() {
		if os.Geteuid() == 0 { // else there is no such user
			exec.Command("userdel", "-f", "mito-temp").Run()
			os.RemoveAll("/home/mito-temp")
		}
	})
	s := &stage{t: t, l: l, dir: t.TempDir(), playbook: playbook,
		target: fmt.Sprintf("/tmp/mitogen-ansible-test-%d", os.Getpid())}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if s.plugin, s.callback, err = ansible.Unpack(filepath.Join(s.dir, "plugins"), exe); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "ansible.cfg"), []byte("[defaults]\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// sockets returns the sockets of this stage's daemons.
func (s *stage) sockets() []string {
	all, _ := filepath.Glob(filepath.Join(s.dir, "run", "mitogen", "*"))
	return all
}

// command runs a playbook of testdata/cases, or elsewhere.
func (s *stage) command(ctx context.Context, plugin, book, host string, args ...string) *exec.Cmd {
	cases, err := filepath.Abs("testdata/cases")
	if err != nil {
		s.t.Fatal(err)
	}
	args = append([]string{"-i", host + ",", "-e", "ansible_ssh_common_args='-F " + s.l.Config + "'",
		"-e", "d=" + s.target, book}, args...)
	cmd := exec.CommandContext(ctx, s.playbook, args...)
	cmd.Dir = cases
	cmd.Env = s.environ(plugin)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// environ is the environment of Ansible's programs.
func (s *stage) environ(plugin string) []string {
	s.t.Helper()
	data, err := filepath.Abs("testdata")
	if err != nil {
		s.t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	return slices.Concat(os.Environ(), []string{
		"MITOGEN_RECORD=" + in("record-"+plugin),
		"MITOGEN_FETCH=" + in("fetched"),
		"XDG_RUNTIME_DIR=" + in("run"),
		"ANSIBLE_HOME=" + in("home"),
		"ANSIBLE_LOCAL_TEMP=" + in("tmp"),
		"ANSIBLE_CONFIG=" + in("ansible.cfg"),
		"ANSIBLE_SSH_CONTROL_PATH_DIR=" + in("cp"),
		"ANSIBLE_CALLBACK_PLUGINS=" + filepath.Join(data, "callback") + ":" + s.callback,
		"ANSIBLE_CALLBACKS_ENABLED=record,mitogen",
		"ANSIBLE_LIBRARY=" + filepath.Join(data, "cases/library"),
		"ANSIBLE_BECOME_PLUGINS=" + filepath.Join(data, "become"),
		"ANSIBLE_CONNECTION_PLUGINS=" + s.plugin,
		"ANSIBLE_TRANSPORT=" + plugin,
		"ANSIBLE_PIPELINING=1",
		"ANSIBLE_SSH_ARGS=-C -o ControlMaster=auto -o ControlPersist=5s",
		"ANSIBLE_NOCOWS=1",
		"ANSIBLE_DEPRECATION_WARNINGS=0",
		"ANSIBLE_NOCOLOR=1",
		"ANSIBLE_TIMEOUT=20",
		"LC_ALL=C.UTF-8",
		"LC_MESSAGES=C",
	}, s.env)
}

// result is the outcome of a task on a host.
type result struct {
	Task, Host, What string
	Value            map[string]any
}

// play runs a playbook and returns its results and what it printed.
func (s *stage) play(plugin, book, host string, args ...string) ([]result, string) {
	s.t.Helper()
	for _, dir := range []string{s.target, filepath.Join(s.dir, "fetched"),
		filepath.Join(s.dir, "record-"+plugin)} {
		os.RemoveAll(dir)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	out, _ := s.command(ctx, plugin, book, host, args...).CombinedOutput() // tasks are to fail
	f, err := os.Open(filepath.Join(s.dir, "record-"+plugin))
	if err != nil {
		s.t.Fatalf("%v; it printed\n%s", err, out)
	}
	defer f.Close()
	var all []result
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var fields [4]json.RawMessage
		var r result
		if err := json.Unmarshal(lines.Bytes(), &fields); err != nil {
			s.t.Fatal(err)
		}
		for i, to := range []any{&r.Task, &r.Host, &r.What, &r.Value} {
			if err := json.Unmarshal(fields[i], to); err != nil {
				s.t.Fatal(err)
			}
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		s.t.Fatalf("nothing was run:\n%s", out)
	}
	return all, string(out)
}

// normal is v without what differs anyway.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			if !varying[k] {
				m[k] = normal(x)
			}
		}
		return m
	case []any:
		var l []any
		for _, x := range v {
			if n := normal(x); n != "" {
				l = append(l, n)
			}
		}
		return l
	case string:
		for _, r := range replaced {
			v = r.re.ReplaceAllString(v, r.with)
		}
		return v
	}
	return v
}

// compare runs a playbook by Ansible's own ssh plugin and by ours.
func (s *stage) compare(book, host string, args ...string) string {
	s.t.Helper()
	want, wantOut := s.play("ssh", book, host, args...)
	got, gotOut := s.play("mitogen", book, host, args...)
	if len(want) != len(got) {
		s.t.Errorf("%d results, and not %d as with ssh. ssh:\n%s\nmitogen:\n%s", len(got), len(want),
			last(wantOut), last(gotOut))
	}
	for i := range min(len(want), len(got)) {
		a, b := want[i], got[i]
		if a.Task != b.Task || a.What != b.What {
			s.t.Errorf("%s %s, and with ssh %s %s: %v", b.Task, b.What, a.Task, a.What, b.Value)
			continue
		}
		s.differ(a.Task, normal(b.Value), normal(a.Value))
	}
	return gotOut
}

// differ reports what differs, as deep inside as it can.
func (s *stage) differ(where string, got, want any) {
	s.t.Helper()
	x, ok := got.(map[string]any)
	y, both := want.(map[string]any)
	if !ok || !both {
		if !reflect.DeepEqual(got, want) {
			s.t.Errorf("%s\nmitogen: %.2000v\n    ssh: %.2000v", where, got, want)
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(y)) {
		s.differ(where+", "+k, x[k], y[k])
	}
	for _, k := range slices.Sorted(maps.Keys(x)) {
		if _, ok := y[k]; !ok {
			s.t.Errorf("%s, %s is there\nmitogen: %.2000v", where, k, x[k])
		}
	}
}

// recognised says how many modules ran as such, by our report.
func recognised(out string) int {
	n := 0
	row := regexp.MustCompile(`(?m)^\S+ +: logins=\d+ .* modules=(\d+)`)
	if m := row.FindStringSubmatch(out); m != nil {
		fmt.Sscan(m[1], &n)
	}
	return n
}

func last(s string) string { return s[max(0, len(s)-4000):] }

// quiet waits until nothing of the daemons is left but some sockets. A module that was interrupted
// may finish before that: the longest sleeps for 31 s.
func (s *stage) quiet(but map[string]bool) {
	s.t.Helper()
	run := filepath.Join(s.dir, "run")
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if !slices.ContainsFunc(s.sockets(), func(name string) bool { return !but[name] }) &&
			len(processes(run)) == 0 && len(contexts(s.t)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Errorf("left: %v, %v, %v", s.sockets(), processes(run), contexts(s.t))
}

// contexts are the processes of user Play, contexts that are reached through that, and temporary
// directories.
func contexts(t *testing.T) []string {
	t.Helper()
	all := processes("mitogen: ssh:" + lab.Play)
	all = append(all, processes("mitogen: "+lab.Play)...)
	out, _ := exec.Command("ps", "-o", "pid=,args=", "-u", lab.Play).Output()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "sshd") { // of the ssh plugin, which lets them stay
			all = append(all, strings.TrimSpace(line))
		}
	}
	temps, _ := filepath.Glob(filepath.Join(homeOf(t), ".ansible/tmp/*"))
	return append(all, temps...)
}

// processes are those with text in their command lines, but for this one.
func processes(text string) []string {
	var all []string
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if bytes.Contains(b, []byte(text)) &&
			!strings.HasPrefix(name, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			all = append(all, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return all
}

// inventory writes an inventory and returns its name.
func (s *stage) inventory(lines string) string {
	s.t.Helper()
	name := filepath.Join(s.dir, "inventory")
	text := "[all:vars]\nansible_ssh_common_args=-F " + s.l.Config +
		"\nansible_python_interpreter=/usr/bin/python3\n[hosts]\n" + lines
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// stdout returns the output of tasks, by host and task.
func stdout(all []result) map[string]string {
	m := map[string]string{}
	for _, r := range all {
		text, _ := r.Value["stdout"].(string)
		if r.What != "ok" {
			text = fmt.Sprint(r.What, ": ", r.Value["msg"])
		}
		m[r.Host+" "+r.Task] = text
	}
	return m
}

// stdoutOf returns the stdout of one host, by task.
func stdoutOf(all []result, host string) map[string]string {
	m := map[string]string{}
	for k, v := range stdout(all) {
		if task, ok := strings.CutPrefix(k, host+" "); ok {
			m[task] = v
		}
	}
	return m
}
