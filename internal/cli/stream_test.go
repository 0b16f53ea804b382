package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// writing has for each command the arguments with which it writes to standard output; nil: it never
// does. DEST is a directory.
var writing = map[string][][]string{
	"mitogen": {{}, {"help", "run"}, {"__complete", "call", "-t", "loc"}},
	"mitogen run": {
		{"-t", "local", "-c", "print(1)"},
		{"-t", "local", "-c", "while 1: print(1)"},
		{"-t", "local,local+local", "-c", "print(1)"},
		{"-t", "local", "--json", "-c", "print(1)"},
		{"-t", "local,local+local", "--json", "-c", "pass"},
	},
	"mitogen call": {
		{"-t", "local", "os:getpid"},
		{"-t", "local,local+local", "os:getpid"},
		{"-t", "local", "--json", "os:getpid"},
		{"-t", "local", "--json", "os:nosuch"},
	},
	"mitogen exec": {
		{"-t", "local", "--", "echo", "1"},
		{"-t", "local+local", "--", "yes"},
		{"-t", "local", "--python", "nosuch", "--", "yes"},
		{"-t", "local,local+local", "--json", "--", "true"},
	},
	"mitogen shell": {
		{"-t", "local", "--", "echo", "1"},
		{"-t", "local+local", "--", "sh", "-c", "echo 1; sleep 1; echo 2; exit 3"},
	},
	"mitogen repl": nil, // without a terminal it is mitogen run -
	"mitogen ping": {{"-t", "local"}, {"-t", "local", "--json"},
		{"-t", "local,local+local", "-c", "2"}},
	"mitogen doctor":             {{"-t", "local"}, {"-t", "local+local", "--json"}},
	"mitogen tree":               {{}, {"--json"}},
	"mitogen build":              nil, // TestScripts/build has a go command for it
	"mitogen version":            {{}},
	"mitogen completion":         {{"bash"}, {"zsh"}, {"fish"}, {"powershell"}},
	"mitogen ansible":            {{}},
	"mitogen ansible config":     {{}, {"--report"}},
	"mitogen ansible collection": {{}},
	"mitogen demo":               {{}},
	"mitogen with":               nil, // what it writes is its command's
	"mitogen ssh":                nil,
	"mitogen serve-ssh": {
		{"-t", "local", "--listen", "0"},
		{"-t", "local", "--json"},
	},
	"mitogen connect-ssh": nil, // what it writes is its server's
	"mitogen forward": {
		{"-t", "local", "-L", "127.0.0.1:0:127.0.0.1:1"},
		{"-t", "local", "-R", "127.0.0.1:0:127.0.0.1:1", "--json"},
	},
	"mitogen put": {
		{"-t", "local", "stream_test.go", "DEST/"},
		{"-t", "local,local+local", "--json", "stream_test.go", "DEST/"},
	},
	"mitogen get": {{"-t", "local", "stream_test.go", "DEST/"}},
	"mitogen sync": {
		{"-t", "local", "--list", "testdata", "DEST"},
		{"-t", "local", "-n", "--get", "testdata", "DEST"},
	},
	"mitogen python":            nil, // what it writes is its program's
	"mitogen engine":            nil, // it writes to the socket that its program gave it
	"mitogen daemon":            nil,
	"mitogen daemon stop":       nil,
	"mitogen daemon disconnect": nil,
}

// A command whose output can't be written says so, once, and fails.
func TestOutputFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("MITOGEN_SOCKET", filepath.Join(dir, "sockets", "d"))
	if out, err := exec.Command("mitogen", "ping", "--daemon", "-t",
		"local").CombinedOutput(); err != nil {
		t.Fatalf("ping by the daemon: %v; output:\n%s", err, out)
	}
	t.Cleanup(func() { exec.Command("mitogen", "daemon", "stop").Run() })
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	dest := t.TempDir()
	rows := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		args, known := writing[cmd.CommandPath()]
		if !known {
			t.Errorf("%s is missing in the table", cmd.CommandPath())
		}
		rows++
		words := strings.Fields(cmd.CommandPath())[1:]
		for _, a := range append(args, []string{"--help"}) {
			all := slices.Concat(words, a)
			for i, arg := range all {
				all[i] = strings.Replace(arg, "DEST", dest, 1)
			}
			failsOn(t, full, all, "no space left on device")
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" {
				walk(sub)
			}
		}
	}
	walk(newRoot(newState(Streams{os.Stdin, io.Discard, io.Discard})))
	if rows != len(writing) {
		t.Errorf("the table has %d commands, there are %d", len(writing), rows)
	}
}

// Where standard error can't be written only the status can tell, and it does.
func TestErrorOutputFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"run", "-t", "local", "-c", "import sys; sys.stderr.write('bad')"},
		{"run", "-t", "local,local+local", "-c", "import sys; sys.stderr.write('bad')"},
		{"call", "-t", "local", "os:system", `"echo printed"`},
		{"call", "-t", "local", "--stats", "-", "os:getpid"},
		{"exec", "-t", "local", "--", "sh", "-c", "while echo; do :; done >&2"},
	} {
		cmd := exec.Command("mitogen", args...)
		cmd.Stderr = full
		err := cmd.Run()
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%q: %v, want status 1", args, err)
		}
	}
}

var oneError = regexp.MustCompile(`(?m)^error: `)

// failsOn runs a command with stdout.
func failsOn(t *testing.T, stdout *os.File, args []string, why string) {
	t.Helper()
	cmd := exec.Command("mitogen", args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &said
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != 1 ||
		!strings.Contains(said.String(), "write standard output: "+why) {
		t.Errorf("%q: %v, want status 1 and %q, said:\n%s", args, err, why, said.String())
	}
	several := strings.Contains(strings.Join(args, " "), ",")
	if n := len(oneError.FindAllString(said.String(), -1)); n != 1 && !several {
		t.Errorf("%q: %d errors, want 1, said:\n%s", args, n, said.String())
	}
}

// Pipes, and files that fail late or take less.
func TestOutputFailsOtherwise(t *testing.T) {
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	pipe, w := io.Pipe()
	pipe.Close()
	for name, out := range map[string]io.Writer{"closed file": closed, "closed pipe": w,
		"short": short{}} {
		for _, args := range [][]string{{"version"}, {"--help"}, {"completion", "bash"}} {
			var said bytes.Buffer
			status := Main(t.Context(), args, Streams{strings.NewReader(""), out, &said})
			if status != exitFailed || !strings.Contains(said.String(), "error: write standard output: ") {
				t.Errorf("%s: %q: status %d, said %q", name, args, status, said.String())
			}
		}
	}
}

type short struct{}

func (short) Write(b []byte) (int, error) { return len(b) / 2, nil }
