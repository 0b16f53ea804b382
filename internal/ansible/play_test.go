package ansible_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/cli"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// The plugin starts this test's executable as a daemon.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		ctx := cli.Interruptible(os.Exit)
		os.Exit(cli.Main(ctx, os.Args[1:],
			cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(lab.Main(m))
}

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

// removeLeftUser removes the user of the playbooks, and its home, which an interrupted test left.
var removeLeftUser sync.Once

func newStage(t *testing.T, playbook string) *stage {
	t.Helper()
	removeLeftUser.Do(func() {
		if os.Geteuid() == 0 { // else there is no such user
			exec.Command("userdel", "-f", "mito-temp").Run()
			os.RemoveAll("/home/mito-temp")
		}
	})
	s := &stage{t: t, l: lab.Need(t), dir: t.TempDir(), playbook: playbook,
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

// What differs from run to run, whatever the plugin is.
var (
	varying = map[string]bool{"start": true, "end": true, "delta": true, "mtime": true, "atime": true,
		"ctime": true, "inode": true, "version": true, "attempts": true,
		"ansible_job_id": true, "results_file": true, "started": true, "backup_file": true,
		"elapsed": true, "ansible_date_time": true, "SSH_CLIENT": true, "SSH_CONNECTION": true,
		"files": true, "_original_basename": true, "duration_ms": true, "warnings": true,
		"SUDO_COMMAND": true, "_": true,
		"ansible_connection": true}
	replaced = []struct {
		re   *regexp.Regexp
		with string
	}{
		{regexp.MustCompile(`ansible-tmp-[\d.]+-\d+-\d+|ansible-moduletmp-[\d.]+-\w+`), "TEMP"},
		{regexp.MustCompile(`(/tmp/ansible_[\w.]+_payload(_\w+)?|/dev/null)/ansible_[\w.]+_payload.zip|` +
			`/proc/self/fd/\d+`), "ZIP"},
		{regexp.MustCompile(`BECOME-SUCCESS-\w+`), "SUCCESS"},
		{regexp.MustCompile(`--rsh='/[\w./-]+/ssh `), "--rsh='SSH "},
		{regexp.MustCompile(`j?\d{6,}\.\d+`), "JOB"},
		{regexp.MustCompile(`SSH_CONNECTION=.*`), "CONNECTION"},
		{regexp.MustCompile(`tmp\w{8}|/ansible\.\w{8}$|ansible-local-\w+|\.source\.\w+`), "TEMP"},
		// Of a module's wrapper, or of what runs it here.
		{regexp.MustCompile(`  File "<(stdin(-\d+)?|_mitogen_ansible)(-\d+)?>(-\d+)?".*\n(    .*\n)*`),
			""},
		// By a shell, if that is still there.
		{regexp.MustCompile(`^(Killed|Terminated|Hangup)(\r?\n)?$`), ""},
		// The end of what ssh says: control characters of hosts' and programs' words are left out.
		{regexp.MustCompile(`((?:via|over) ssh: [^\r]*)\r\n`), "$1\n"},
		// The terminal's echo of the end of a password.
		{regexp.MustCompile(`^\r\n`), ""},
	}
)

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

// TestSameAsSSH compares each task's result with the result of Ansible's own ssh plugin.
func TestSameAsSSH(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, playbook := range playbooks(t) {
		t.Run(release(t, playbook), func(t *testing.T) {
			s := newStage(t, playbook)
			if allModules(false) {
				out := s.compare("basic.yml", lab.Play, "-e", "ansible_python_interpreter=/usr/bin/python3")
				if n := recognised(out); n < 60 {
					t.Errorf("%d modules were recognised", n)
				}
			}
			s.compare("become.yml", lab.Play, "-e", "ansible_python_interpreter=/usr/bin/python3")
			s.compare("passwords.yml", lab.Pass, "-e", "ansible_become_password="+s.l.Password)
			s.quiet(nil)
		})
	}
}

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

// However a playbook ends, nothing is left of it after a second or two: two that are killed at
// random moments, and 200 in `make soak`.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	n := 2
	if os.Getenv("MITOGEN_SOAK") != "" {
		n = 200
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	s := newStage(t, playbooks(t)[0])
	left := map[string]bool{}
	for i := range n {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		args := []string{"-e", "ansible_python_interpreter=/usr/bin/python3"}
		if i%2 > 0 {
			args = append(args, "--become") // what removes temporary files is the account's context then
		}
		cmd := s.command(ctx, "mitogen", "endless.yml", lab.Play, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(100+r.IntN(3000)) * time.Millisecond
		time.Sleep(after)
		how := []string{"interrupt", "kill", "kill all", "kill the daemon"}[r.IntN(4)]
		switch how {
		case "interrupt": // as a terminal does
			syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		case "kill":
			syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
		case "kill all":
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		case "kill the daemon":
			exec.Command("pkill", "-KILL", "-f", filepath.Join(s.dir, "run")).Run()
			time.Sleep(100 * time.Millisecond)
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		cmd.Wait()
		cancel()
		if how == "kill the daemon" { // the next one removes what it had no time for
			for _, name := range s.sockets() {
				left[name] = true
			}
		}
		s.quiet(left)
		if t.Failed() {
			t.Fatalf("run %d: %s after %v, %q", i, how, after, args)
		}
	}
	s.play("mitogen", "ping.yml", lab.Play)
	s.quiet(nil)
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

// Contexts are made anew when a new login would see something else.
func TestRecycled(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	results, out := s.play("mitogen", "recycle.yml", lab.Play, "-e",
		"ansible_python_interpreter=/usr/bin/python3")
	got := stdoutOf(results, lab.Play)
	switch {
	case got["first"] == "" || got["first"] != got["same"]:
		t.Errorf("no change: %q, %q", got["first"], got["same"])
	case got["changed"] == got["first"] || got["removed"] == got["changed"]:
		t.Errorf("changes: %q, %q, %q", got["first"], got["changed"], got["removed"])
	case got["still"] != got["removed"] || got["reset"] == got["still"]:
		t.Errorf("reset: %q, %q, %q", got["removed"], got["still"], got["reset"])
	case got["after"] != got["reset"]+"\n0":
		t.Errorf("after a timeout: %q, %q", got["reset"], got["after"])
	case got["user's"] != "mito-temp" || strings.Contains(got["user gone"], "failed"):
		t.Errorf("user: %q, %q", got["user's"], got["user gone"])
	}
	if t.Failed() {
		t.Log(last(out))
	}
	s.quiet(nil)
}

// With mitogen_persist contexts last from one playbook to the next.
func TestPersist(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	socket := filepath.Join(s.dir, "run", "mitogen", "daemon.sock")
	var pids []string
	for range 2 {
		results, _ := s.play("mitogen", "pid.yml", lab.Play, "-e", "mitogen_persist=true", "-e",
			"ansible_python_interpreter=/usr/bin/python3")
		pids = append(pids, stdout(results)[lab.Play+" pid"])
	}
	if pids[0] == "" || pids[0] != pids[1] {
		t.Errorf("contexts %q", pids)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(exe, "daemon", "stop", "--socket",
		socket).CombinedOutput(); err != nil {
		t.Errorf("stop the daemon: %v; output: %s", err, out)
	}
	s.quiet(map[string]bool{socket + ".lock": true})
}

// Without the program, tasks are done by the ssh plugin, with a warning.
func TestNoProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	results, out := s.play("mitogen", "pid.yml", lab.Play, "-e", "mitogen_executable=/no/such/program",
		"-e", "ansible_python_interpreter=/usr/bin/python3")
	if got := stdout(results)[lab.Play+" pid"]; !regexp.MustCompile(`^\s*\d+$`).MatchString(got) ||
		!strings.Contains(strings.Join(strings.Fields(out), " "),
			"left to the ssh plugin: /no/such/program") {
		t.Errorf("play without the program: got pid %q, want a number and a warning; output: %s",
			got, last(out))
	}
}

// The other Pythons that there are have modules run as their own wrappers do.
func TestOtherPythons(t *testing.T) {
	if testing.Short() || os.Getenv("MITOGEN_ANSIBLE_ALL") == "" {
		t.Skip("long")
	}
	oldest := map[string]int{"2.14": 0, "2.16": 0, "2.18": 8, "2.19": 8, "2.20": 9, "2.21": 9}
	for _, playbook := range playbooks(t) {
		name := release(t, playbook)
		for _, i := range testpython.Find() {
			if i.Impl != "cpython" || i.Major == 2 && oldest[name] > 0 ||
				i.Major == 3 && i.Minor < oldest[name] {
				continue
			}
			t.Run(name+"/"+i.Name(), func(t *testing.T) {
				s := newStage(t, playbook)
				out := s.compare("basic.yml", "root", "-e", "ansible_python_interpreter="+i.Path)
				if n := recognised(out); n < 60 {
					t.Errorf("%d modules were recognised", n)
				}
				s.compare("root.yml", lab.Play, "-e", "ansible_python_interpreter="+i.Path)
			})
		}
	}
}

// A task whose daemon is lost is unreachable, and says why; the next one has a new daemon.
func TestDaemonLost(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	go func() {
		for range 600 {
			time.Sleep(50 * time.Millisecond)
			if out, _ := exec.Command("pgrep", "-u", lab.Play, "-f", "^sleep 31$").Output(); len(out) > 0 {
				exec.Command("pkill", "-KILL", "-f", "daemon --socket "+filepath.Join(s.dir, "run")).Run()
				return
			}
		}
	}()
	results, out := s.play("mitogen", "lost.yml", lab.Play, "-e",
		"ansible_python_interpreter=/usr/bin/python3")
	got := stdout(results)
	if !strings.Contains(got[lab.Play+" sleep"], "unreachable: ") ||
		!strings.Contains(got[lab.Play+" sleep"], "daemon lost") || got[lab.Play+" after"] != lab.Play {
		t.Errorf("play with a lost daemon: got %q, want one task unreachable; output:\n%s",
			got, last(out))
	}
	s.quiet(nil)
}

// Tasks wait for as many answers as they must.
func TestRoundTrips(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	for _, by := range []struct {
		args   []string
		logins int
		more   int // besides what the tasks' names say
	}{
		{args: nil, logins: 1, more: 1}, // the home directory
		// As well; fetch is one less as root; and for another account files are made by one context, and
		// rights given by another, which waits twice.
		{args: []string{"--become"}, logins: 2, more: 2},
	} {
		results, out := s.play("mitogen", "rounds.yml", lab.Play,
			append([]string{"-e", "ansible_python_interpreter=/usr/bin/python3"}, by.args...)...)
		want := by.more
		for _, r := range results {
			n := 0
			if fmt.Sscan(strings.TrimSpace(regexp.MustCompile(` \d`).FindString(r.Task)),
				&n); r.What != "ok" {
				t.Errorf("task %s: got result %s (%v), want ok", r.Task, r.What, r.Value["msg"])
			}
			want += n
		}
		m := regexp.MustCompile(lab.Play +
			fmt.Sprintf(` +: logins=%d +round_trips=(\d+)`, by.logins)).FindStringSubmatch(out)
		if m == nil || m[1] != fmt.Sprint(want) {
			t.Errorf("%q: %q round trips, and not %d\n%s", by.args, m, want, last(out))
		}
	}
	s.quiet(nil)
}

// A task's process whose playbook was killed starts nothing: its parent would keep a daemon for
// ever.
func TestOrphaned(t *testing.T) {
	const program = `
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location('plugin', sys.argv[1])
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
r, w = os.pipe()
if os.fork():
    os.close(w)
    print(os.read(r, 99).decode()) # before the playbook is waited for
    os.wait()
    os._exit(sys.stdout.flush() or 0)
plugin.MAIN = main = os.getpid()
if os.fork():
    time.sleep(.3)
    os._exit(0)
said = [plugin.orphaned(os.getppid()), plugin.orphaned(main)]
while os.getppid() == main:
    time.sleep(.01)
os.write(w, repr(said + [plugin.orphaned(os.getppid())]).encode())
`
	for _, playbook := range playbooks(t) {
		text, err := os.ReadFile(playbook)
		if err != nil {
			t.Fatal(err)
		}
		python, _, _ := strings.Cut(strings.TrimPrefix(string(text), "#!"), "\n")
		dir := t.TempDir()
		if _, _, err := ansible.Unpack(dir, "/nowhere/mitogen"); err != nil {
			t.Fatal(err)
		}
		argv := append(strings.Fields(python), "-c", program,
			filepath.Join(dir, "connection", "mitogen.py"))
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if string(out) != "[False, False, True]\n" {
			t.Errorf("probe for %s: got %q, %v; want [False, False, True]", playbook, out, err)
		}
	}
}
