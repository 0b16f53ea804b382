package life

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

var (
	kills = flag.Int("life.kills", 0, "processes to kill; 0: 16, or 1000 with MITOGEN_SOAK set")
	only  = flag.String("life.targets", "",
		"targets of the contexts that are killed, with spaces between; empty: all")
)

// kindVar names the program that the engine of this test starts at its target.
const kindVar = "MITO_LIFE_KIND"

// programs start what a context may leave behind. Each has the mark as a whole argument, or is
// called life-program.
const programs = `
import os, signal, subprocess, sys, time

def plain(mark):
    subprocess.Popen(['sleep', mark])

def session(mark):
    subprocess.Popen(['setsid', 'sleep', mark])

def double(mark):
    subprocess.call(['sh', '-c', '(setsid sleep "$0" </dev/null >/dev/null 2>&1 &)', mark])

def bare(mark):
    subprocess.call(['env', '-i', 'PATH=/usr/bin:/bin', 'sh', '-c',
                     '(setsid setsid sleep "$0" &)', mark])

def deaf(mark):
    subprocess.Popen(['sh', '-c', 'trap "" TERM HUP INT; sleep "$0"; sleep "$0"', mark])

def stopped(mark):
    os.kill(subprocess.Popen(['sleep', mark]).pid, signal.SIGSTOP)

def shell(mark):
    os.system('setsid sleep %s & sleep %s &' % (mark, mark))

def spawned(mark):
    os.posix_spawnp('sleep', ['sleep', mark], os.environ)

def both(mark):
    "One that no guard was needed for yet, and one that there was one for."
    plain(mark)
    double(mark)

def copy(mark):
    "A daemon that is a copy of the context, with all its files open."
    r, w = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            open('/proc/self/comm', 'w').write('life-program')
            os.write(w, 'x'.encode())
            time.sleep(1000)
        os._exit(0)
    os.wait()
    os.read(r, 1)

def replaced(mark):
    "The context itself becomes a program."
    os.execvp('sleep', ['sleep', mark])
`

var kinds = []string{
	"plain", "session", "double", "bare", "deaf", "stopped", "shell", "spawned", "both", "copy",
	"replaced",
}

// killEngine connects, has a program started, says so, and lives until it is told to end.
func killEngine(target string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	files := fstest.MapFS{"programs.py": {Data: []byte(programs)}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	mark := os.Getenv(markVar)
	password := secret.Secret(os.Getenv(passwordVar))
	c, err := e.Start(target, mitogen.ConnectOptions{
		Options: connect.Options{Python: []string{"env " + markVar + "=" + mark + " python3"},
			SSH:  connect.SSHOptions{ConfigFile: os.Getenv(configVar)},
			Sudo: connect.SudoOptions{Password: password}},
	})
	if err != nil {
		panic(err)
	}
	info, err := c.Info(ctx)
	if err == nil {
		fmt.Println(info.PID)
		mitogen.Call[any](ctx, c, "programs:"+os.Getenv(kindVar), mark)
		fmt.Println("started")
	}
	<-ctx.Done()
}

const passwordVar = "MITO_LIFE_PASSWORD"

// A killing is the life of an engine, one context and its program, of which a process is killed at
// some moment.
type killing struct {
	l            *lab.Lab // nil: there is none
	target, kind string
	mark         string
	rnd          *rand.Rand
	victim       int // pid
	stderr       bytes.Buffer
	story        []string
}

func (k *killing) String() string {
	return fmt.Sprintf("%s, %s: %s", k.target, k.kind, strings.Join(k.story, ", "))
}

func (k *killing) tell(format string, args ...any) {
	k.story = append(k.story, fmt.Sprintf(format, args...))
}

// run returns what the killed process was.
func (k *killing) run(t *testing.T) (victim string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), targetVar+"="+k.target, kindVar+"="+k.kind, markVar+"="+k.mark)
	if k.l != nil {
		cmd.Env = append(cmd.Env, configVar+"="+k.l.Config, passwordVar+"="+k.l.Password)
	}
	cmd.Stderr = &k.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer killMarked(k.mark)
	ended := make(chan struct{})
	said := make(chan string, 2)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said <- lines.Text()
		}
		cmd.Wait()
	}()
	pid := k.wait(said, ended)
	victim, fatal := k.kill(cmd.Process.Pid, pid)
	// a context whose guard is killed at the same moment as itself has none
	if victim == "guard" && k.kind != "replaced" {
		k.guarded(t)
	}
	if fatal {
		k.gone(t, "while the engine lives", func() []string {
			if state := status(pid, "State"); state != "" && !strings.HasPrefix(state, "Z") {
				return nil // it works on: without su, or the monitor of its sshd
			}
			return k.programs()
		})
	}
	sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[k.rnd.IntN(3)]
	k.tell("engine: %v", sig)
	cmd.Process.Signal(sig)
	k.gone(t, "at last", func() []string { return marked(k.mark) })
	killMarked(k.mark) // what is left keeps the pipe open
	<-ended
	if s := k.stderr.String(); strings.Contains(s, "panic") || strings.Contains(s, "DATA RACE") ||
		strings.Contains(s, "Traceback") {
		t.Errorf("%v: got stderr %s, want no panic, race or traceback", k, s)
	}
	return victim
}

// wait lets the engine get to some point of its work, and returns the context's pid if that is
// known then.
func (k *killing) wait(said <-chan string, ended <-chan struct{}) (pid int) {
	moment := time.After(time.Duration(k.rnd.IntN(500)) * time.Millisecond)
	if k.rnd.IntN(4) > 0 { // most times the program is there
		moment = nil
	}
	deadline := time.After(30 * time.Second) // "replaced" says nothing more
	for {
		select {
		case line := <-said:
			if n, err := strconv.Atoi(line); err == nil {
				pid = n
				if k.kind == "replaced" {
					deadline = time.After(300 * time.Millisecond)
				}
				continue
			}
			k.tell("started")
			return pid
		case <-moment:
			return pid
		case <-deadline:
			return pid
		case <-ended:
			return pid
		}
	}
}

// kill kills any process that has to do with the target. fatal says that it was the context, or
// carries it.
func (k *killing) kill(engine, context int) (name string, fatal bool) {
	carriers := k.carriers(context)
	all := append(slices.Collect(maps.Keys(procs(k.mark))), carriers...)
	slices.Sort(all)
	if len(all) == 0 {
		return "nothing", false
	}
	pid := all[k.rnd.IntN(len(all))]
	if context != 0 && k.rnd.IntN(3) == 0 {
		pid = context
	}
	name = kindOf(pid)
	sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGHUP}[k.rnd.IntN(3)]
	switch {
	case pid == context:
		name, fatal = "context", true
	case pid == engine:
		name = "engine"
	default:
		fatal = sig == syscall.SIGKILL && (slices.Contains(carriers, pid) || name == "ssh")
	}
	k.tell("%s (%d): %v", name, pid, sig)
	k.victim = pid
	syscall.Kill(pid, sig)
	return name, fatal
}

// guarded waits until there is a guard, or no context that needs one.
func (k *killing) guarded(t *testing.T) {
	none := 0 // looks in turn that saw no program: a program that starts another may be missed
	left := untilNone(func() []string {
		if none++; len(k.programs()) > 0 {
			none = 0
		}
		for pid := range procs(k.mark) {
			if pid != k.victim && kindOf(pid) == "guard" {
				return nil
			}
		}
		if none > 20 {
			return nil
		}
		return []string{"no guard"}
	})
	if left != nil {
		t.Errorf("%v: no other guard has been started:\n%s", k, strings.Join(marked(k.mark), "\n"))
	}
}

// carriers are a context and what it was started by, up to the engine or sshd; none if its pid
// isn't known.
func (k *killing) carriers(pid int) (found []int) {
	for pid > 1 && pid != os.Getpid() && (k.l == nil || pid != k.l.Pid) {
		found = append(found, pid)
		pid, _ = strconv.Atoi(status(pid, "PPid"))
	}
	return found
}

// kindOf is the name of a process, as far as that says what it is here.
func kindOf(pid int) string {
	name := status(pid, "Name")
	if status(pid, "PPid") == "1" && strings.HasPrefix(name, "python") {
		return "guard"
	}
	return strings.TrimRight(name, "0123456789.")
}

// status is a field of a process's status, empty if there is no such process.
func status(pid int, field string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// programs describes those of the started programs that live.
func (k *killing) programs() (found []string) {
	for pid := range procs(k.mark) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if name := status(pid, "Name"); name == "life-program" ||
			bytes.Contains(args, []byte("\x00"+k.mark+"\x00")) {
			found = append(found, fmt.Sprintf("%d %s %q", pid, name, args))
		}
	}
	return found
}

// gone fails if find goes on to find something.
func (k *killing) gone(t *testing.T, when string, find func() []string) {
	if left := untilNone(find); len(left) > 0 {
		t.Errorf("%v: left behind %s:\n%s\nengine: %s", k, when, strings.Join(left, "\n"),
			k.stderr.Bytes())
	}
}

// TestAnyProcessIsKilled kills one process of an engine, a context, what the context has started,
// and all between them. If the context ends, what it has started ends at once; the rest ends with
// the engine.
func TestAnyProcessIsKilled(t *testing.T) {
	targets := []string{"local", "local+local", "local+fork"}
	var l *lab.Lab
	if os.Getuid() == 0 {
		l = lab.Need(t)
		targets = append(targets, "sudo:"+lab.Free, "su:"+lab.Free, "local+sudo:"+lab.Free, "mito",
			"mito+local", "mito+sudo",
			"mito+sudo:"+lab.None, "mito+sudo+su:"+lab.None, "mito+fork", lab.Pass+"+sudo", lab.TTY+"+sudo",
			lab.Log+"+sudo", "root+su:"+lab.Free)
		if lab.HasDoas() {
			targets = append(targets, "mito+doas")
		}
	}
	if *only != "" {
		targets = strings.Fields(*only)
	}
	n := *kills
	if n == 0 {
		n = 16
		if os.Getenv("MITOGEN_SOAK") != "" {
			n = 1000
		}
	}
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 3))
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		victims = map[string]int{}
		gate    = make(chan struct{}, 3)
	)
	for i := range n {
		k := &killing{l: l, target: targets[rnd.IntN(len(targets))], kind: kinds[rnd.IntN(len(kinds))],
			mark: fmt.Sprintf("1000.%d%d", os.Getpid()*10000+i, *seed),
			rnd:  rand.New(rand.NewPCG(*seed, uint64(i+4)))}
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			victim := k.run(t)
			mu.Lock()
			victims[victim]++
			mu.Unlock()
			if testing.Verbose() {
				t.Logf("%v", k)
			}
		})
	}
	wg.Wait()
	t.Logf("killed: %v", victims)
}
