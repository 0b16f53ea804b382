package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/demo"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

func TestMain(m *testing.M) {
	mitogen.Main() // in a copy that a script has started as a Go context
	testscript.Main(m, map[string]func(){
		"fakehost": fakehostMain,
		"mitogen": func() {
			ctx := Interruptible(os.Exit)
			os.Exit(Main(ctx, os.Args[1:], Streams{os.Stdin, os.Stdout, os.Stderr}))
		},
	})
}

// password lets in at the server of the scripts.
const password = "open sesame"

// TestScripts runs testdata/script. $CONFIG is an ssh configuration with these hosts, all of them
// the same server: demo, which lets in by a key, $KEY; asks, which wants the password; stranger,
// whose host key isn't known.
func TestScripts(t *testing.T) {
	server, err := demo.Serve(demo.ServerOptions{Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			dir := filepath.Join(e.WorkDir, "ssh") // of its own: ssh keeps keys there
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			config, err := writeConfig(server, dir)
			if err != nil {
				return err
			}
			e.Setenv("CONFIG", config)
			e.Setenv("PASSWORD", password)
			e.Setenv("KEY", filepath.Join(server.Dir, "key"))
			e.Setenv("PORT", fmt.Sprint(server.Port))
			e.Setenv("MITOGEN_PATH", "")
			e.Setenv("TERM", "xterm")
			// An interpreter that doesn't see the script's files, as on another machine.
			e.Setenv("BLIND", testpython.Blind(t, e.WorkDir)+"/usr/bin/python3")
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(e.WorkDir, "tmp"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfile": waitFile,
			"signal":   sendSignal,
			"gone":     gone,
			"empty":    empty,
		},
	})
}

// writeConfig adds hosts to those of the server's own configuration.
func writeConfig(s *demo.Server, dir string) (name string, err error) {
	own, err := os.ReadFile(s.Config)
	if err != nil {
		return "", err
	}
	where := fmt.Sprintf("\tHostName 127.0.0.1\n\tPort %d\n\tUser demo\n\tIdentityAgent none\n"+
		"\tGlobalKnownHostsFile /dev/null\n", s.Port)
	text := string(own) +
		"Host asks\n" + where + "\tPubkeyAuthentication no\n\tUserKnownHostsFile " +
		filepath.Join(s.Dir, "known_hosts") + "\n" +
		"Host stranger\n" + where + "\tIdentityFile " + filepath.Join(s.Dir, "key") +
		"\n\tIdentitiesOnly yes\n" +
		"\tUserKnownHostsFile " + filepath.Join(dir, "none") + "\n"
	name = filepath.Join(dir, "config")
	return name, os.WriteFile(name, []byte(text), 0o600)
}

// patience is the time after which something that must happen hasn't happened.
const patience = 30 * time.Second

func eventually(what string, ts *testscript.TestScript, f func() bool) {
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// waitFile FILE...: until they are there, with something in them.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	for _, a := range args {
		eventually("wait for "+a, ts, func() bool {
			st, err := os.Stat(ts.MkAbs(a))
			return err == nil && st.Size() > 0
		})
	}
}

func pid(ts *testscript.TestScript, file string) int {
	n := 0
	if _, err := fmt.Sscan(ts.ReadFile(file), &n); err != nil || n <= 1 {
		ts.Fatalf("%s: no process id", file)
	}
	return n
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM,
	"HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}

// sendSignal NAME FILE: to the process whose id is in FILE.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if err := syscall.Kill(pid(ts, args[1]), signals[args[0]]); err != nil {
		ts.Fatalf("signal %s: %v", args[0], err)
	}
}

// gone FILE...: until the processes whose ids are in them are.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	for _, a := range args {
		n := pid(ts, a)
		eventually("end of "+a, ts, func() bool {
			return syscall.Kill(n, 0) == syscall.ESRCH || zombie(n)
		})
	}
}

// zombie says whether a process has ended and only waits for a parent that doesn't look.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// empty DIR: nothing is in it.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}

// TestMainStreams: Main is a function, and touches no stream but those it is given.
func TestMainStreams(t *testing.T) {
	var out, errs strings.Builder
	if got := Main(context.Background(), []string{"version"},
		Streams{strings.NewReader(""), &out, &errs}); got != 0 {
		t.Errorf("status %d", got)
	}
	if !strings.HasPrefix(out.String(), "mitogen ") || errs.String() != "" {
		t.Errorf("printed %q and %q", out.String(), errs.String())
	}
}
