// Package life has one test: an engine is ended in every way, at any moment, with contexts in every
// state, and nothing may be left of what it started.
package life

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
)

var (
	rounds = flag.Int("life.rounds", 0,
		"engines to start and end; 0: 30, or 1000 with MITOGEN_SOAK set")
	seed = flag.Uint64("life.seed", uint64(time.Now().UnixNano()),
		"what decides targets, states, signals and moments")
)

// patience limits each step, on a loaded machine too. The tests look for steps that take longer
// than a heartbeat, or for ever.
const patience = 5 * time.Second

// The engine is this test binary, started again with these set.
const (
	targetVar = "MITO_LIFE_TARGET"
	stateVar  = "MITO_LIFE_STATE"
	markVar   = "MITO_LIFE_MARK"
	configVar = "MITO_LIFE_SSH"
)

// states are functions that don't end by themselves.
const states = `
import os, re, signal, subprocess, time

def idle():
    pass

def sleep():
    time.sleep(1000)

def loop():
    while 1:
        pass

def locked():
    "In C, without ever letting go of the interpreter lock."
    re.match('(a+)+$', 'a' * 60 + 'b')

def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

def deaf():
    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(s, signal.SIG_IGN)
    while 1:
        time.sleep(0.01)

def child():
    subprocess.call(['sh', '-c', 'trap "" TERM HUP INT; sleep 1000; sleep 1000'])

def output():
    while 1:
        os.write(1, 'x'.encode() * 65536)
`

var stateNames = []string{"idle", "sleep", "loop", "locked", "stopped", "deaf", "child", "output"}

func TestMain(m *testing.M) {
	if target := os.Getenv(targetVar); target != "" {
		if os.Getenv(kindVar) != "" {
			killEngine(target)
		} else {
			engine(target)
		}
		return
	}
	flag.Parse()
	// by nohup; what has a handler here isn't ignored in what is started
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(lab.Main(m))
}

// engine does what a program would: connect, call, and end in order when it is told to.
func engine(target string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	files := fstest.MapFS{"states.py": {Data: []byte(states)}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	c, err := e.Start(target, mitogen.ConnectOptions{
		Options: connect.Options{Python: []string{"env " + markVar + "=" + os.Getenv(markVar) +
			" python3"},
			SSH: connect.SSHOptions{ConfigFile: os.Getenv(configVar)}},
	})
	if err != nil {
		panic(err)
	}
	mitogen.Call[any](ctx, c, "states:"+os.Getenv(stateVar))
	<-ctx.Done()
}

// A round is one engine's life.
type round struct {
	target, state string
	sig           syscall.Signal
	after         time.Duration
}

func (r round) String() string {
	return fmt.Sprintf("%s, %s, %v after %v", r.target, r.state, r.sig, r.after)
}

func randomRound(rnd *rand.Rand, targets []string) round {
	return round{
		target: targets[rnd.IntN(len(targets))],
		state:  stateNames[rnd.IntN(len(stateNames))],
		sig: []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM,
			syscall.SIGINT}[rnd.IntN(4)],
		after: time.Duration(rnd.IntN(600)) * time.Millisecond,
	}
}

// live runs r and returns how long after the engine's end its last process was seen.
func (r round) live(t *testing.T, l *lab.Lab, mark string) time.Duration {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), targetVar+"="+r.target, stateVar+"="+r.state, markVar+"="+mark)
	if l != nil {
		cmd.Env = append(cmd.Env, configVar+"="+l.Config)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(r.after)
	cmd.Process.Signal(r.sig)
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		cmd.Process.Kill()
		<-ended
		t.Errorf("%v: the engine did not end\n%s", r, stderr.Bytes())
	}
	if s := stderr.String(); strings.Contains(s, "panic") || strings.Contains(s, "DATA RACE") {
		t.Errorf("%v: got stderr %s, want no panic or race", r, s)
	}
	begin := time.Now()
	if left := untilNone(func() []string { return marked(mark) }); len(left) > 0 {
		t.Errorf("%v: left behind:\n%s\nengine: %s", r, strings.Join(left, "\n"), stderr.Bytes())
		killMarked(mark)
	}
	return time.Since(begin)
}

// looks is the number of looks, 5 ms apart, at which something must be found to count as left
// behind. A machine that stands still for some seconds takes patience, but no look.
const looks = 200

// untilNone calls find until it finds nothing, and returns what it found at last.
func untilNone(find func() []string) (left []string) {
	begin := time.Now()
	for i := 0; i < looks || time.Since(begin) < patience; i++ {
		if left = find(); len(left) == 0 {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return left
}

// marked describes the processes that have mark in their environment or arguments.
func marked(mark string) (found []string) {
	for pid := range procs(mark) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		lines := strings.SplitN(string(status), "\n", 10)
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		place, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		found = append(found, fmt.Sprintf("%d %q %q, in system call %s, %s", pid,
			lines[:min(len(lines), 8)], args, bytes.TrimSpace(call), place))
	}
	return found
}

// procs yields the pids of living processes that carry mark, other than this one.
func procs(mark string) map[int]bool {
	found := map[int]bool{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		for _, file := range []string{"environ", "cmdline"} {
			b, _ := os.ReadFile(filepath.Join(dir, file))
			if pid != os.Getpid() && bytes.Contains(b, []byte(mark)) {
				found[pid] = true
			}
		}
	}
	return found
}

func killMarked(mark string) {
	for pid := range procs(mark) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	targets := []string{"local", "local+local"}
	var l *lab.Lab
	if os.Getuid() == 0 {
		l = lab.Need(t)
		targets = append(targets, "local+sudo", "mito", "mito+sudo", "mito+sudo+local")
	}
	n := *rounds
	if n == 0 {
		n = 30
		if os.Getenv("MITOGEN_SOAK") != "" {
			n = 1000
		}
	}
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		took []time.Duration
		gate = make(chan struct{}, 4)
	)
	for i := range n {
		r := randomRound(rnd, targets)
		mark := fmt.Sprintf("mark-%d-%d-%d", os.Getpid(), *seed, i)
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			d := r.live(t, l, mark)
			if d > time.Second {
				t.Logf("%v: gone only after %v", r, d)
			}
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.Sort(took)
	t.Logf("time until nothing was left: median %v, 99 %% %v, most %v", took[len(took)/2],
		took[len(took)*99/100], took[len(took)-1])
}
