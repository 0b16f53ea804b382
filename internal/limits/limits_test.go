// Package limits takes each resource away at each step, from the command, from its daemon, from a
// hop and from a context: before it starts (resources, sides, steps), and while it runs (takings).
// Nothing may panic or hang; the target that lacks the resource has an error that says so, or its
// result, and the other targets have theirs.
package limits

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/cli"
)

// cliVar makes the test binary the command.
const cliVar = "MITO_LIMITS_CLI"

func TestMain(m *testing.M) {
	if os.Getenv(cliVar) != "" {
		ctx := cli.Interruptible(os.Exit)
		os.Exit(cli.Main(ctx, os.Args[1:],
			cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

// patience ends a command that hangs.
const patience = 2 * time.Minute

var soak = os.Getenv("MITOGEN_SOAK") != ""

// A resource is taken away by a line of sh, in which %d is how much of it is left.
type resource struct {
	name   string
	take   string
	steps  []int // in the normal test
	last   int   // with MITOGEN_SOAK all from first to last
	first  int
	needs  string   // a program without which it can't be taken away
	unlike []string // sides for which it means nothing
}

var resources = []resource{
	{name: "descriptors", take: "ulimit -n %d", first: 3, last: 64, steps: []int{8, 13, 24}},
	// Go reserves more than it uses
	{name: "memory", take: "ulimit -v %d000", first: 10, last: 60, steps: []int{30},
		unlike: []string{"client", "daemon"}},
	{name: "file size", take: "ulimit -f %d", first: 0, last: 1, steps: []int{0}},
	// of a user without any other
	{name: "processes", take: "prlimit --pid $$ --nproc=%d", first: 1, last: 12, steps: []int{1, 4},
		needs: "setpriv", unlike: []string{"client", "daemon"}},
	{name: "terminals", take: "mount -t tmpfs none /dev/pts && : %d", steps: []int{0},
		needs: "unshare"},
	{name: "terminal device", take: "mount --bind /dev/null /dev/ptmx && : %d", steps: []int{0},
		needs: "unshare"},
	{name: "temporary files", take: "mount -t tmpfs -o size=4k,nr_inodes=%d none /mnt && export " +
		"TMPDIR=/mnt && { yes >/mnt/full; true; } 2>/dev/null", first: 1, last: 4, steps: []int{1},
		needs: "unshare"},
	{name: "shared memory", take: "mkdir -p /dev/shm && mount -t tmpfs -o size=4k,nr_inodes=%d none " +
		"/dev/shm && { yes >/dev/shm/full; true; } 2>/dev/null", first: 1, last: 2, steps: []int{2},
		needs: "unshare"},
}

// left returns how much of the resource is left, step by step.
func (r resource) left() []int {
	if !soak || r.last == 0 {
		return r.steps
	}
	var all []int
	for n := r.first; n <= r.last; n++ {
		all = append(all, n)
	}
	return all
}

// starve returns a shell command that runs words without the resource.
func (r resource) starve(n int, words string) string {
	script := "sh -c " + quote(fmt.Sprintf(r.take, n)+` && exec "$0" "$@"`) + " " + words
	switch r.needs {
	case "unshare":
		return "unshare -m " + script
	case "setpriv":
		return "setpriv --reuid 64871 --regid 64871 --clear-groups " + script
	}
	return script
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// target makes a target of a command that ends in a shell.
func target(command string) string { return "exec:" + strings.ReplaceAll(command, "+", `\+`) }

var well = []string{"local", "exec:env MITO_LIMITS_B=1 sh", "local+local"}

// A side is the process or the machine that a resource is taken from.
type side struct {
	name    string
	targets func(r resource, n int) []string
	lacking int // so many of the targets, the first ones, lack it; 0: the command does
}

var sides = []side{
	{"client", func(resource, int) []string { return append(well, "sudo", "nosuch.invalid") }, 0},
	{"context and hop", func(r resource, n int) []string {
		starved := target(r.starve(n, "sh"))
		return append([]string{starved, starved + "+local", starved + "+sudo"}, well...)
	}, 3},
}

// command returns the command with arguments, in a shell that takes resources away if starve isn't
// nil.
func command(t *testing.T, starve func(words string) string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return commandWithin(ctx, starve, args...)
}

// commandWithin is command that ends with ctx.
func commandWithin(ctx context.Context, starve func(words string) string,
	args ...string) *exec.Cmd {
	words := quote(os.Args[0])
	for _, a := range args {
		words += " " + quote(a)
	}
	if starve != nil {
		words = starve(words)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+words)
	cmd.Env = append(os.Environ(), cliVar+"=1", "MITOGEN_CONFIG="+os.DevNull)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// A record is the line of --json for a target.
type record struct {
	Host   string
	Result json.RawMessage
	Status *int
	Stdout string
	Error  *struct{ Kind, Message string }
}

// A step is something that a command does with targets once it has contexts there.
type step struct {
	name  string
	args  []string // behind the targets
	input int      // bytes of standard input
	want  func(r record) bool
}

const inputSize = 300_000

var steps = []step{
	{"call", []string{"os:getpid"}, 0, func(r record) bool { return r.Result != nil }},
	{"run", []string{"-c", "import sys\nsys.stdout.write('%d' % len(sys.stdin.read()))"}, inputSize,
		whole},
	{"exec", []string{"--", "wc", "-c"}, inputSize, whole},
}

// whole says that a program has read all of its input.
func whole(r record) bool {
	return r.Status != nil && *r.Status == 0 && strings.TrimSpace(r.Stdout) == fmt.Sprint(inputSize)
}

// crashed are words of Go's runtime that no user should see.
var crashed = []string{"panic:", "goroutine ", "fatal error", "SIGSEGV", "DATA RACE"}

// call has the command call a function at targets and returns what it says of each.
func call(t *testing.T, starve func(string) string, daemon bool, targets []string,
	flags ...string) (all []record, stderr string) {
	t.Helper()
	return steps[0].take(t, starve, daemon, targets, flags...)
}

// take has the command take a step with targets and returns what it says of each.
func (s step) take(t *testing.T, starve func(string) string, daemon bool, targets []string,
	flags ...string) (all []record, stderr string) {
	t.Helper()
	args := append([]string{s.name, "--json", "--connect-timeout", "20s"}, flags...)
	if daemon {
		args = append(args, "--daemon")
	}
	for _, x := range targets {
		args = append(args, "-t", x)
	}
	cmd := command(t, starve, append(args, s.args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if s.input > 0 {
		cmd.Stdin = strings.NewReader(strings.Repeat("x", s.input))
	}
	err := cmd.Run()
	stderr = errs.String()
	for _, word := range crashed {
		if strings.Contains(stderr, word) || strings.Contains(out.String(), word) {
			t.Fatalf("%q says %q:\n%.3000s", targets, word, stderr)
		}
	}
	status := cmd.ProcessState.ExitCode()
	if !slices.Contains([]int{0, 1, 2, 255}, status) {
		t.Errorf("status: got %d (%v), want 0, 1, 2 or 255; it says %.1000s", status, err, stderr)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("output %q: %v", line, err)
		}
		all = append(all, r)
	}
	if status == 0 && len(all) != len(targets) {
		t.Errorf("got %d records with status 0, want %d", len(all), len(targets))
	}
	return all, stderr
}

// check demands one record for each target, with an error or a result, and results of those that
// lack nothing.
func check(t *testing.T, targets []string, lacking int, all []record, stderr string) {
	t.Helper()
	steps[0].check(t, targets, lacking, all, stderr)
}

func (s step) check(t *testing.T, targets []string, lacking int, all []record, stderr string) {
	t.Helper()
	if len(all) != len(targets) {
		t.Fatalf("got %d records of %d targets; it says %.1000s", len(all), len(targets), stderr)
	}
	for i, x := range targets {
		at := slices.IndexFunc(all, func(r record) bool { return r.Host == x })
		switch {
		case at < 0:
			t.Errorf("%s: got no record", x)
		case all[at].Error == nil && !s.want(all[at]) &&
			(i >= lacking || all[at].Status == nil || *all[at].Status == 0):
			t.Errorf("%s: got %+v, want a result or an error", x, all[at])
		case i < lacking && all[at].Error != nil:
			t.Logf("%s: %s: %s", x, all[at].Error.Kind, all[at].Error.Message)
		case i >= lacking && all[at].Error != nil:
			t.Errorf("%s: got %v, want its result: it lacks nothing", x, *all[at].Error)
		}
	}
}

func skipWithout(t *testing.T, r resource) {
	t.Helper()
	if r.needs == "" {
		return
	}
	if os.Getuid() != 0 {
		t.Skip("it takes root")
	}
	if _, err := exec.LookPath(r.needs); err != nil {
		t.Skip(err)
	}
}

func TestResources(t *testing.T) {
	for _, r := range resources {
		for _, s := range sides {
			if slices.Contains(r.unlike, s.name) {
				continue
			}
			t.Run(r.name+"/"+s.name, func(t *testing.T) {
				skipWithout(t, r)
				for i, n := range r.left() {
					for j, do := range steps {
						if !soak && (i+j)%len(steps) != 0 && r.name != "temporary files" {
							continue // a sample
						}
						t.Run(fmt.Sprint(n, " ", do.name), func(t *testing.T) {
							targets := s.targets(r, n)
							if s.lacking > 0 {
								all, stderr := do.take(t, nil, false, targets)
								do.check(t, targets, s.lacking, all, stderr)
								return
							}
							all, stderr := do.take(t, func(words string) string { return r.starve(n, words) }, false,
								targets)
							switch {
							case len(all) > 0:
								do.check(t, targets, len(targets), all, stderr)
							case !strings.Contains(stderr, "error:") && !strings.Contains(stderr, "sh:"):
								t.Errorf("nothing started: got %.1000s, want an error", stderr)
							}
						})
					}
				}
			})
		}
	}
}

// said keeps what a process that runs says.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// daemonAt starts a daemon without a resource, and returns what to set for its clients; "": it has
// not started.
func daemonAt(t *testing.T, starve func(string) string) (stderr *said, up bool) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "lim") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	stderr, _, up = daemonIn(t, filepath.Join(dir, "own", "d.sock"), starve)
	return stderr, up
}

// daemonIn starts a daemon that listens at a socket, of which its directory is made.
func daemonIn(t *testing.T, socket string, starve func(string) string) (stderr *said, cmd *exec.Cmd,
	up bool) {
	t.Helper()
	t.Setenv("MITOGEN_SOCKET", socket)
	cmd = commandWithin(context.Background(), starve, "daemon") // ended by the cleanup below
	stderr = &said{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	for {
		if _, err := os.Stat(socket); err == nil {
			return stderr, cmd, true
		}
		select {
		case <-ended:
			return stderr, cmd, false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A daemon lives on when a client asks for more than it has, and what its other clients run does
// too.
func TestDaemon(t *testing.T) {
	for _, r := range resources {
		if slices.Contains(r.unlike, "daemon") {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			skipWithout(t, r)
			for _, n := range r.left() {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					stderr, up := daemonAt(t, func(words string) string { return r.starve(n, words) })
					if up {
						besideDaemon(t, r)
					}
					for _, word := range crashed {
						if strings.Contains(stderr.String(), word) {
							t.Fatalf("the daemon says %q:\n%.3000s", word, stderr)
						}
					}
				})
			}
		})
	}
}

// besideDaemon has one client run a script while another asks for many contexts.
func besideDaemon(t *testing.T, r resource) {
	bystander := command(t, nil, "run", "--daemon", "-t", "local", "-c",
		"import sys\nprint('up')\nsys.stdout.flush()\nprint(sys.stdin.read())")
	in, err := bystander.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := bystander.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("up\n"))
	_, err = io.ReadFull(out, first)
	runs := err == nil
	targets := []string{"sudo"}
	many := 5
	if r.name == "descriptors" || soak {
		many = 20
	}
	for i := range many {
		targets = append(targets, fmt.Sprintf("exec:env MITO_LIMITS_N=%d sh", i))
	}
	all, stderr := call(t, nil, true, targets)
	check(t, targets, len(targets), all, stderr)
	io.WriteString(in, "alive")
	in.Close()
	rest, _ := io.ReadAll(out)
	err = bystander.Wait()
	if runs && (err != nil || string(rest) != "alive\n") {
		t.Errorf("the other client's script: got %q, %v, want it to end well", rest, err)
	}
	again, stderr := call(t, nil, true, []string{"local"})
	check(t, []string{"local"}, 1, again, stderr)
	if runs && again[0].Error != nil {
		t.Errorf("another call: got %v, want its result", *again[0].Error)
	}
}

// A hundred targets with 64 descriptors: all well.
func TestManyTargets(t *testing.T) {
	count := 24
	if soak {
		count = 100
	}
	r := resources[0]
	for _, x := range []struct {
		name   string
		target string
		daemon bool
	}{
		{"local", "local", false},
		{"processes of their own", "exec:env MITO_LIMITS_N=%d sh", false},
		{"by a shared hop", "local+exec:env MITO_LIMITS_N=%d sh", false},
		{"by the daemon", "exec:env MITO_LIMITS_N=%d sh", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			starve := func(words string) string { return r.starve(64, words) }
			if x.daemon {
				if _, up := daemonAt(t, starve); !up {
					t.Fatal("the daemon has not started")
				}
			}
			var targets []string
			for i := range count {
				if !strings.Contains(x.target, "%d") {
					targets = append(targets, fmt.Sprintf("exec:env MITO_LIMITS_N=%d sh", i))
					continue
				}
				targets = append(targets, fmt.Sprintf(x.target, i))
			}
			all, stderr := call(t, starve, x.daemon, targets)
			check(t, targets, 0, all, stderr)
		})
	}
}

// goNeeds are the least address space and processes, threads included, that README.md promises to
// be enough for the command and a daemon. With less, Go's own runtime may end them, before or after
// their first line.
var goNeeds = []resource{
	{name: "address space", take: "ulimit -v %d000000", steps: []int{2}},
	{name: "processes", take: "prlimit --pid $$ --nproc=%d", steps: []int{32}, needs: "setpriv"},
}

func TestWhatGoNeeds(t *testing.T) {
	for _, r := range goNeeds {
		for _, n := range r.steps {
			t.Run(fmt.Sprint(r.name, " ", n), func(t *testing.T) {
				skipWithout(t, r)
				if r.needs == "setpriv" {
					forAll(t)
				}
				starve := func(words string) string { return r.starve(n, words) }
				targets := []string{"local", "local+local"}
				for _, do := range steps {
					all, stderr := do.take(t, starve, false, targets)
					do.check(t, targets, 0, all, stderr)
				}
				if r.needs == "setpriv" {
					return // a daemon of another user takes no client of this one
				}
				if _, up := daemonAt(t, starve); !up {
					t.Fatal("the daemon has not started")
				}
				all, stderr := call(t, nil, true, targets)
				check(t, targets, 0, all, stderr)
			})
		}
	}
}

// forAll has this test's executable be a copy that another user may execute.
func forAll(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "lim")
	if err != nil {
		t.Fatal(err)
	}
	old := os.Args[0]
	t.Cleanup(func() { os.Args[0] = old; os.RemoveAll(dir) })
	text, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	os.Args[0] = filepath.Join(dir, "mitogen")
	if err := os.WriteFile(os.Args[0], text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}
