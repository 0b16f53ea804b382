package ansible_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// stepFiles are the files of steps.yml's tasks: those of a step are there all, or none of them.
var stepFiles = [][]string{
	{"1-begun", "1-done"}, {"2-begun", "2-done"}, {"3-whole"}, {"4-begun", "4-done"}, {"5-whole"},
	{"6-begun", "6-done"}, {"7-begun", "7-done"},
}

// stepsDone returns the number of steps whose files are there; err says what a host must not be
// left with: half of a step, or a step without those before it.
func (s *stage) stepsDone() (n int, err error) {
	for i, names := range stepFiles {
		found := 0
		for _, name := range names {
			st, err := os.Stat(s.target + "-" + name)
			if err == nil {
				found++
			}
			if err == nil && strings.HasSuffix(name, "whole") && st.Size() != 300000 {
				return n, fmt.Errorf("%s: got %d bytes, want 300000", name, st.Size())
			}
		}
		switch {
		case found == len(names) && n == i:
			n++
		case found > 0:
			return n, fmt.Errorf("step %d: got %d of %d files after step %d, want all in order",
				i+1, found, len(names), n)
		}
	}
	return n, nil
}

// moment is a time after the beginning of a step, of the playbook if that is 0.
type moment struct {
	step  int
	after time.Duration
}

// wait waits for a moment, a minute at most.
func (s *stage) wait(m moment) {
	if m.step > 0 {
		name := s.target + "-" + stepFiles[m.step-1][0]
		end := time.Now().Add(time.Minute)
		for ; time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(name); err == nil {
				break
			}
		}
	}
	time.Sleep(m.after)
}

// own returns the processes with a name that the stage's playbook or its daemon has started here:
// the stage's directory is in their environment, their arguments, or those of their parent.
func (s *stage) own(name string) []int {
	var pids []int
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range names {
		comm, _ := os.ReadFile(path)
		dir := filepath.Dir(path)
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if strings.TrimSpace(string(comm)) != name {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, after, _ := strings.Cut(string(stat), ") ")
		var state string
		var parent int
		fmt.Sscan(after, &state, &parent)
		var text []byte
		for _, name := range []string{
			filepath.Join(dir, "environ"),
			filepath.Join(dir, "cmdline"),
			fmt.Sprintf("/proc/%d/cmdline", parent),
		} {
			b, _ := os.ReadFile(name)
			text = append(text, b...)
		}
		if bytes.Contains(text, []byte(s.dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// strike kills a part of a playbook that runs.
func (s *stage) strike(what string, cmd *exec.Cmd) {
	switch what {
	case "playbook": // its workers learn of it by themselves
		syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
	case "session":
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	case "interrupt":
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	case "daemon": // the ssh plugin's is the master of its connections
		exec.Command("pkill", "-KILL", "-f", "daemon --socket "+filepath.Join(s.dir, "run")).Run()
		exec.Command("pkill", "-KILL", "-f", "^ssh: "+filepath.Join(s.dir, "cp")).Run()
	case "connection":
		pids := s.own("ssh")
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		s.t.Logf("%d processes of ssh killed", len(pids))
	}
}

// A playbook, a daemon or a connection that is killed, whenever that is, leaves the host as with
// the ssh plugin: what has begun is done, and the same playbook can be run again.
func TestKilledBetween(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	testpython.OneIn(t, 3)
	n := 1
	if os.Getenv("MITOGEN_SOAK") != "" {
		n = 40
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := newStage(t, playbooks(t)[0])
	defer s.clear()
	for i := range n {
		what := []string{"playbook", "session", "interrupt", "daemon", "connection"}[r.IntN(5)]
		m := moment{r.IntN(len(stepFiles) + 1), time.Duration(r.IntN(700)) * time.Millisecond}
		for _, plugin := range []string{"ssh", "mitogen"} {
			s.killedBetween(plugin, what, m)
			if t.Failed() {
				t.Fatalf("run %d: %s, %s killed at %v", i, plugin, what, m)
			}
		}
	}
	s.clear()
	_, out := s.play("mitogen", "steps.yml", lab.Play, "-e", python3)
	if n, err := s.stepsDone(); n != len(stepFiles) || err != nil {
		t.Errorf("afterwards: got %d steps, %v, want %d\n%s", n, err, len(stepFiles), last(out))
	}
	s.quiet(nil)
}

// killedBetween runs steps.yml, strikes, and looks at what is left.
func (s *stage) killedBetween(plugin, what string, m moment) {
	s.t.Helper()
	s.clear()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"-e", python3}
	if plugin == "ssh" { // which leaves temporary directories there
		args = append(args, "-e", "ansible_remote_tmp="+s.target+"-tmp")
	}
	cmd := s.command(ctx, plugin, "steps.yml", lab.Play, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	// A worker of Ansible's whose playbook was killed may wait for ever to be read.
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	s.wait(m)
	s.strike(what, cmd)
	cmd.Wait()
	steps, err := s.settled()
	s.t.Logf("%s, %s at %v: %d steps", plugin, what, m, steps)
	if err != nil {
		s.t.Error(err)
	}
	if plugin != "mitogen" {
		for _, pid := range s.own("ssh") { // its master, and what a killed client has left
			syscall.Kill(pid, syscall.SIGTERM)
		}
		return
	}
	left := map[string]bool{}
	for _, name := range s.sockets() { // of a daemon that was killed: the next one removes them
		left[name] = true
	}
	s.quiet(left)
}

// settled waits until what was begun is done, and returns stepsDone once that stays the same for
// two seconds.
func (s *stage) settled() (steps int, err error) {
	since, patience := time.Now(), time.Now().Add(30*time.Second)
	for last := -1; time.Since(since) < 2*time.Second && time.Now().Before(patience); {
		time.Sleep(20 * time.Millisecond)
		if steps, err = s.stepsDone(); err != nil || steps != last || len(s.running()) > 0 {
			last, since = steps, time.Now()
		}
	}
	return steps, err
}
