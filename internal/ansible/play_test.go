package ansible_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// removeLeftUser removes the user of the playbooks, and its home, which an interrupted test left.
var removeLeftUser sync.Once

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

// recycle plays recycle.yml and returns its tasks' outputs, and its own.
func (s *stage) recycle() (map[string]string, string) {
	results, out := s.play("mitogen", "recycle.yml", lab.Play, "-e", python3)
	return stdoutOf(results, lab.Play), out
}

// Contexts are made anew when a new login would see something else.
func TestRecycled(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	got, out := s.recycle()
	// Accounts, rights and the like are the machine's: another test may change them meanwhile.
	for n := 0; n < 4 && got["world"] != got["world since"]; n++ {
		t.Log("something has changed what contexts watch")
		got, out = s.recycle()
	}
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
