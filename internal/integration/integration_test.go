// Package integration tries the public library against real interpreters, sshd and sudo.
package integration

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// patience bounds what ends by itself, on a machine that is busy with much else.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	mitogen.Main() // in a copy that a test has started as a Go context
	os.Exit(withCommandDir(func() int { return lab.Main(m) }))
}

const here = `
import os, re, signal, sys, time

def uid():
    return os.getuid()

def env(name):
    return os.environ.get(name)

def own_environment(ignored):
    with open('/proc/self/environ', 'rb') as f:
        return f.read()

def variables(name):
    "What this interpreter has, and what it gives to programs."
    return [os.environ.get(name, ''), os.popen('echo "$%s"' % name).read().strip()]

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def locked(n):
    "Holds the interpreter lock in C, for a time that doubles with each n."
    re.match('(a+)+$', 'a' * n + 'b')
    return n

def begun_and_locked(name, n):
    open(name, 'w').close()
    return locked(n)

def say(text):
    os.write(1, text.encode())

def sleep(s):
    time.sleep(s)

def path():
    return sys.path

def ask(context, function, *args):
    return context.call(function, *args)

def fail(context, function):
    "How calling without being allowed ends."
    import mitogen
    try:
        context.call(function)
    except mitogen.DeadError:
        return str(sys.exc_info()[1])

def open_mailbox():
    import mitogen
    global mailbox
    mailbox = mitogen.Receiver()
    return mailbox.sender()

def read_mailbox(n):
    return [mailbox.get(10) for i in range(n)]

def send(sender, *values):
    for v in values:
        sender.send(v)
`

func engine(t *testing.T, o mitogen.Options) *mitogen.Engine {
	t.Helper()
	o.Path = append(o.Path, fstest.MapFS{"here.py": {Data: []byte(here)}})
	e, err := mitogen.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func connected(t *testing.T, e *mitogen.Engine, target string,
	o mitogen.ConnectOptions) *mitogen.Context {
	t.Helper()
	c, err := e.Connect(t.Context(), target, o)
	if err != nil {
		t.Fatalf("connect %s: %v", target, err)
	}
	return c
}

func TestWaysIn(t *testing.T) {
	l := lab.Need(t)
	options := mitogen.ConnectOptions{
		Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config},
			Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}},
	}
	for _, tt := range []struct {
		target string
		root   bool
	}{
		{"local", true},
		{"local+sudo", true},
		{"sudo:" + lab.Free, false},
		{"sudo:" + lab.Free + "+sudo:" + lab.Pass, false},
		{"sudo:" + lab.Pass + "+sudo", true},
		{"mito", false},
		{"mito+sudo", true},
		{"mito+sudo:" + lab.None, false},
		{lab.Pass + "+sudo", true},
		{lab.TTY + "+sudo", true},
		{lab.Log + "+sudo", true},
		{"mito+local+sudo+local", true},
		{"local+root+sudo:" + lab.Free + "+sudo", true},
	} {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			e := engine(t, mitogen.Options{})
			c, err := e.Start(tt.target, options)
			if err != nil {
				t.Fatal(err)
			}
			// Sent before anything has come back.
			uid, err := mitogen.Call[int](t.Context(), c, "here:uid")
			if err != nil || uid == 0 != tt.root {
				t.Errorf("uid %d, %v", uid, err)
			}
		})
	}
}

// A bastion, a password typed on its terminal, a password for sudo behind it.
func TestBastion(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	c := connected(t, e, lab.Free+"+"+lab.Pass+"+sudo", mitogen.ConnectOptions{
		Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config,
			Password: secret.Secret(l.Password)},
			Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}},
	})
	if uid, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil || uid != 0 {
		t.Errorf("uid %d, %v", uid, err)
	}
}

func TestRefusals(t *testing.T) {
	l := lab.Need(t)
	ssh := connect.SSHOptions{ConfigFile: l.Config}
	for _, tt := range []struct {
		target  string
		options mitogen.ConnectOptions
		want    error
		hop     string
	}{
		{lab.Pass + "+sudo", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh,
			Sudo: connect.SudoOptions{Password: "wrong"}}}, connect.ErrSudoPassword, lab.Pass + "+sudo"},
		{lab.Pass + "+sudo", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh}},
			connect.ErrPasswordRequired,
			lab.Pass + "+sudo"},
		{lab.None + "+sudo", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh,
			Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}}}, connect.ErrNotInSudoers,
			lab.None + "+sudo"},
		{"nobody-at-all@mito", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh}},
			connect.ErrAuth, "nobody-at-all@mito"},
		{"mito+sudo:nobody-at-all", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh}},
			connect.ErrUnknownUser,
			"mito+sudo:nobody-at-all"},
		{"no-host.invalid", mitogen.ConnectOptions{}, connect.ErrUnknownHost, "no-host.invalid"},
		{"127.0.0.1:1+sudo", mitogen.ConnectOptions{}, connect.ErrRefused, "127.0.0.1:1"},
		{"mito", mitogen.ConnectOptions{Options: connect.Options{SSH: ssh,
			Python: []string{"no-such-python", "nor-this"}}},
			connect.ErrNoPython, "mito"},
		{"local", mitogen.ConnectOptions{Options: connect.Options{Python: []string{"false"}}},
			connect.ErrDied, "local"},
	} {
		t.Run(tt.target+" "+tt.want.Error(), func(t *testing.T) {
			t.Parallel()
			e := engine(t, mitogen.Options{})
			_, err := e.Connect(t.Context(), tt.target, tt.options)
			var failed *connect.Error
			if !errors.Is(err, tt.want) || !errors.As(err, &failed) || failed.Hop != tt.hop ||
				failed.Phase == "" {
				t.Errorf("got %v (%#v), want %v at %s", err, failed, tt.want, tt.hop)
			}
			if strings.Contains(err.Error(), l.Password) || strings.Contains(err.Error(), "wrong\n") {
				t.Errorf("secret in %q", err)
			}
		})
	}
}

// lines keeps log records as text.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// noisy is an interpreter as a login script would start it that prints, before and long after:
// again and again, since what comes before the runtime is up is not reported.
const noisy = `sh -c 'echo Welcome to the machine; (while sleep 0.2; do echo late news; done) & ` +
	`exec python3 "$@"' sh`

func TestNoise(t *testing.T) {
	targets := []string{"local", "local+local"}
	options := mitogen.ConnectOptions{Options: connect.Options{Python: []string{noisy}}}
	if os.Getuid() == 0 {
		options.SSH.ConfigFile = lab.Need(t).Config
		targets = append(targets, "mito", "mito+sudo")
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			var log lines
			e := engine(t, mitogen.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c := connected(t, e, target, options)
			for end := time.Now().Add(patience); !strings.Contains(log.String(), "late news"); {
				if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
					t.Fatal(err)
				}
				if time.Now().After(end) {
					t.Fatalf("late noise wasn't reported: %s", log.String())
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A stopped context is lost within the heartbeat, a busy one isn't.
func TestHeartbeat(t *testing.T) {
	targets := []string{"local", "local+local"}
	options := mitogen.ConnectOptions{}
	if os.Getuid() == 0 {
		options.SSH.ConfigFile = lab.Need(t).Config
		targets = append(targets, "mito", "mito+sudo", "local+sudo")
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			e := engine(t, mitogen.Options{Heartbeat: time.Second})
			c := connected(t, e, target, options)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := mitogen.Call[any](ctx, c, "here:stop")
			var lost *report.LostError
			if !errors.As(err, &lost) || lost.Context != target {
				t.Errorf("got %v, want it lost", err)
			}
		})
	}
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		e := engine(t, mitogen.Options{Heartbeat: time.Second})
		c := connected(t, e, "local", mitogen.ConnectOptions{})
		for n := 20; ; n++ { // until it was away for several heartbeats
			begin := time.Now()
			if _, err := mitogen.Call[int](t.Context(), c, "here:locked", n); err != nil {
				t.Fatal(err)
			}
			if time.Since(begin) > 3*time.Second {
				return
			}
		}
	})
}

func TestSiblings(t *testing.T) {
	e := engine(t, mitogen.Options{})
	// Both behind the same hop.
	a, b := connected(t, e, "local+local", mitogen.ConnectOptions{}), connected(t, e, "local+local",
		mitogen.ConnectOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	refused, err := mitogen.Call[string](ctx, a, "here:fail", b, "here:uid")
	if err != nil || !strings.Contains(refused, "not allowed") {
		t.Errorf("without being allowed: %q, %v", refused, err)
	}
	e.Allow(a, b)
	if uid, err := mitogen.Call[int](ctx, a, "here:ask", b, "here:uid"); err != nil ||
		uid != os.Getuid() {
		t.Errorf("allowed: %d, %v", uid, err)
	}
	if back, err := mitogen.Call[string](ctx, b, "here:fail", a, "here:uid"); err != nil ||
		!strings.Contains(back, "not allowed") {
		t.Errorf("the other way: %q, %v", back, err)
	}
	sender, err := mitogen.Call[pyvalue.Sender](ctx, b, "here:open_mailbox")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mitogen.Call[any](ctx, a, "here:send", sender, 1, "two",
		[]byte("three")); err != nil {
		t.Fatal(err)
	}
	if err := e.Send(ctx, sender, 4.5); err != nil {
		t.Fatal(err)
	}
	got, err := mitogen.Call[[]any](ctx, b, "here:read_mailbox", 4)
	if err != nil || len(got) != 4 || got[0] != int64(1) || got[1] != "two" || got[3] != 4.5 {
		t.Errorf("mailbox: %v, %v", got, err)
	}

	r := e.Receiver()
	defer r.Close()
	p := b.Go("here:send", r.Sender(), "up")
	m, err := r.Get(ctx)
	if err != nil || m.From.Name() != b.Name() {
		t.Errorf("engine's mailbox: %v, %v", m, err)
	}
	var text string
	if err := m.Decode(&text); err != nil || text != "up" {
		t.Errorf("message in the mailbox: got %q, %v; want \"up\"", text, err)
	}
	if _, err := mitogen.Wait[any](ctx, p); err != nil {
		t.Error(err)
	}
}

// Values that are larger than a window altogether reach a receiver.
func TestSendMuch(t *testing.T) {
	e := engine(t, mitogen.Options{})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	sender, err := mitogen.Call[pyvalue.Sender](t.Context(), c, "here:open_mailbox")
	if err != nil {
		t.Fatal(err)
	}
	const size, count = 700_000, 10
	done := make(chan error)
	go func() {
		for range count {
			if err := e.Send(t.Context(), sender, make([]byte, size)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	got, err := mitogen.Call[[]any](t.Context(), c, "here:read_mailbox", count)
	if err != nil || len(got) != count || len(got[count-1].([]byte)) != size {
		t.Errorf("%d values, %v", len(got), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What waits on a context fails at once when that dies, and says what was lost.
func TestDies(t *testing.T) {
	e := engine(t, mitogen.Options{})
	c := connected(t, e, "local+local", mitogen.ConnectOptions{})
	dies := c.Go("os:_exit", 3)
	waits := c.Go("here:uid")
	for _, p := range []*mitogen.Pending{dies, waits} {
		_, err := mitogen.Wait[any](t.Context(), p)
		var lost *report.LostError
		if !errors.As(err, &lost) || lost.Hop != "local+local" || !strings.Contains(lost.Reason, "3") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := mitogen.Call[int](t.Context(), connected(t, e, "local", mitogen.ConnectOptions{}),
		"here:uid"); err != nil {
		t.Errorf("its hop: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	e := engine(t, mitogen.Options{Grace: 500 * time.Millisecond})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := mitogen.Call[any](ctx, c, "here:sleep", 100); !errors.Is(err, mitogen.ErrCancelled) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	begun := filepath.Join(t.TempDir(), "begun")
	go func() {
		defer cancel()
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(begun); err == nil {
				return
			}
		}
	}()
	_, err := mitogen.Call[any](ctx, c, "here:begun_and_locked", begun, 60)
	if !errors.Is(err, mitogen.ErrKilled) {
		t.Errorf("what can't be interrupted: %v", err)
	}
	var lost *report.LostError
	if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err == nil ||
		errors.As(err, &lost) && lost.Context != "local" {
		t.Errorf("after that: %v", err)
	}
}

// Modules come from any fs.FS, and win over what the target has installed, but for its standard
// library.
func TestSearchPath(t *testing.T) {
	installed := t.TempDir()
	if err := os.WriteFile(filepath.Join(installed, "taken.py"),
		[]byte("def name():\n    return 'theirs'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", installed)
	var paths []fs.FS
	paths = append(paths, fstest.MapFS{
		"json.py":         {Data: []byte("def dumps(x):\n    return 'ours'\n")},
		"taken.py":        {Data: []byte("def name():\n    return 'ours'\n")},
		"pkg/__init__.py": {Data: []byte("from pkg.sub import name\n")},
		"pkg/sub.py": {Data: []byte("from . import deep\nname = deep.__name__\ndef get():\n    " +
			"return name\n")},
		"pkg/deep.py":      {Data: []byte("")},
		"broken.py":        {Data: []byte("def f():\n    return 1 +\n")},
		"needs/missing.py": {Data: []byte("import surely_not_there\n")},
		"script.py": {Data: []byte("def f():\n    return __name__\nif __name__ == '__main__':\n  " +
			"  raise SystemExit('ran')\n")},
	})
	e := engine(t, mitogen.Options{Path: paths})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	for function, want := range map[string]string{"json:dumps": "1", "taken:name": "ours",
		"pkg.sub:get": "pkg.deep", "script:f": "script"} {
		var args []any
		if function == "json:dumps" {
			args = []any{1}
		}
		if got, err := mitogen.Call[string](t.Context(), c, function, args...); err != nil ||
			got != want {
			t.Errorf("call %s: got %q, %v; want %q", function, got, err, want)
		}
	}
	var raised *report.CallError
	if _, err := mitogen.Call[any](t.Context(), c, "broken:f"); !errors.As(err, &raised) ||
		raised.Type != "SyntaxError" ||
		!strings.Contains(raised.Traceback, "broken.py\", line 2") {
		t.Errorf("syntax error: %v", err)
	}
	if _, err := mitogen.Call[any](t.Context(), c, "needs.missing:f"); !errors.As(err, &raised) ||
		!strings.Contains(raised.Text, "surely_not_there") {
		t.Errorf("missing module: %v", err)
	}
	if got, err := mitogen.Call[[]string](t.Context(), c, "here:path"); err != nil ||
		slices.Contains(got, "") {
		t.Errorf("sys.path %q, %v", got, err)
	}
}

func TestRun(t *testing.T) {
	e := engine(t, mitogen.Options{})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	var out, errs bytes.Buffer
	status, err := c.Run(t.Context(), mitogen.Script{
		Name: "s.py", Source: []byte("import sys\nprint(sys.argv, sys.stdin.read(), __name__)\n" +
			"sys.stdout.write('no newline')\nsys.stderr.write('bad')\nsys.exit(9)\n"),
		Args: []string{"a b", "ü"}, Stdin: strings.NewReader("input"), Stdout: &out, Stderr: &errs,
	})
	if err != nil || status != 9 ||
		out.String() != "['s.py', 'a b', 'ü'] input __main__\nno newline" || errs.String() != "bad" {
		t.Errorf("status %d, %v, stdout %q, stderr %q", status, err, out.String(), errs.String())
	}
}
