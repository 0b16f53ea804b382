// Package surroundings has tests of what a program finds when it is started and seldom thinks of:
// the home directory, that for temporary files, ignored signals, the umask, closed streams, the
// locale, variables of Python, the current directory. In each of them mitogen does what it does
// elsewhere.
package surroundings

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/cli"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// cliVar makes the test binary the command.
const cliVar = "MITO_SURROUNDINGS_CLI"

func TestMain(m *testing.M) {
	if os.Getenv(cliVar) != "" {
		ctx := cli.Interruptible(os.Exit)
		os.Exit(cli.Main(ctx, os.Args[1:],
			cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(lab.Main(m))
}

// patience ends a command that hangs.
const patience = 2 * time.Minute

// long tells that all pairs are tried, not a sample: make test-surroundings.
func long() bool { return os.Getenv("MITOGEN_SURROUNDINGS") != "" || testpython.All() }

// A surrounding is made by a line of sh. $W is an empty directory.
type surrounding struct {
	name, line string
	mounts     bool // it takes a mount namespace
}

var surroundings = []surrounding{
	{name: "HOME unset", line: "unset HOME"},
	{name: "HOME empty", line: "export HOME="},
	{name: "HOME missing", line: "export HOME=/no/such/home"},
	{name: "HOME relative", line: "cd $W; mkdir -p h; export HOME=h"},
	{name: "HOME a file", line: "export HOME=/etc/passwd"},
	{name: "HOME not writable", line: "export HOME=/proc"},
	{name: "HOME read-only", line: "mkdir -p $W/h; mount -t tmpfs -o ro none $W/h; export HOME=$W/h",
		mounts: true},
	{name: "HOME below /tmp", line: "mkdir -p $W/h; export HOME=$W/h"},
	{name: "HOME with spaces", line: `mkdir -p "$W/hö me"; export HOME="$W/hö me"`},
	{name: "HOME a link", line: "mkdir -p $W/h; ln -sfn h $W/l; export HOME=$W/l"},
	{name: "TMPDIR missing", line: "export TMPDIR=/no/such"},
	{name: "TMPDIR empty", line: "export TMPDIR="},
	{name: "TMPDIR relative", line: "cd $W; mkdir -p t; export TMPDIR=t"},
	{name: "TMPDIR a file", line: "export TMPDIR=/etc/passwd"},
	{name: "TMPDIR long", line: "l=$W/" + strings.Repeat("x", 120) +
		"; mkdir -p $l; export TMPDIR=$l"},
	{name: "TMPDIR with spaces", line: `mkdir -p "$W/t ü'"; export TMPDIR="$W/t ü'"`},
	{name: "TMPDIR noexec", line: "mkdir -p $W/t; mount -t tmpfs -o noexec none $W/t; export " +
		"TMPDIR=$W/t", mounts: true},
	{name: "TMPDIR read-only", line: "mkdir -p $W/t; mount -t tmpfs -o ro none $W/t; export " +
		"TMPDIR=$W/t", mounts: true},
	{name: "XDG_RUNTIME_DIR missing", line: "export XDG_RUNTIME_DIR=/no/such"},
	{name: "XDG_RUNTIME_DIR relative", line: "cd $W; export XDG_RUNTIME_DIR=r"},
	{name: "SIGHUP ignored", line: "trap '' HUP"},
	{name: "SIGINT ignored", line: "trap '' INT QUIT"},
	{name: "SIGPIPE ignored", line: "trap '' PIPE"},
	{name: "SIGCHLD ignored", line: "trap '' CHLD"},
	{name: "SIGTERM ignored", line: "trap '' TERM"},
	{name: "all signals ignored",
		line: "trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2 CHLD TSTP TTIN TTOU"},
	{name: "umask 077", line: "umask 077"},
	{name: "umask 000", line: "umask 000"},
	{name: "umask 777", line: "umask 777"},
	{name: "no stdin", line: "exec <&-"},
	{name: "no stderr", line: "exec 2>&-"},
	{name: "no terminal", line: "unset TERM"},
	{name: "LC_ALL unknown", line: "export LC_ALL=no_SUCH.locale"},
	{name: "LC_ALL Turkish", line: "export LC_ALL=tr_TR.ISO-8859-9"},
	{name: "LC_ALL C", line: "export LC_ALL=C LANG=C"},
	{name: "no locale", line: "unset LC_ALL LANG LC_CTYPE"},
	{name: "environment empty", line: `exec env -i ` + cliVar +
		`=1 PATH="$PATH" W="$W" MITOGEN_CONFIG= ` +
		`MITOGEN_SSH_PASSWORD="$MITOGEN_SSH_PASSWORD" ` +
		`MITOGEN_BECOME_PASSWORD="$MITOGEN_BECOME_PASSWORD" "$0" "$@"`},
	{name: "PYTHONWARNINGS", line: "export PYTHONWARNINGS=error"},
	{name: "PYTHONINSPECT", line: "export PYTHONINSPECT=1 PYTHONSTARTUP=/etc/passwd"},
	{name: "PYTHONOPTIMIZE", line: "export PYTHONOPTIMIZE=2 PYTHONDONTWRITEBYTECODE=1"},
	{name: "PYTHONUTF8", line: "export PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C"},
	{name: "PYTHONIOENCODING", line: "export PYTHONIOENCODING=utf-8:strict PYTHONUNBUFFERED=1"},
	{name: "PYTHONDEVMODE", line: "export PYTHONDEVMODE=1 PYTHONWARNINGS=ignore"},
	{name: "PYTHONNOUSERSITE", line: "export PYTHONNOUSERSITE=1 PYTHONHASHSEED=0 PYTHONSAFEPATH=1"},
	{name: "PYTHONPATH missing", line: "export PYTHONPATH=/no/such:/proc/1/environ"},
	{name: "PYTHONTRACEMALLOC", line: "export PYTHONTRACEMALLOC=5 PYTHONFAULTHANDLER=1 " +
		"PYTHONMALLOC=debug"},
	{name: "directory removed", line: "mkdir -p $W/gone; cd $W/gone; rmdir $W/gone"},
	{name: "directory with spaces", line: `mkdir -p "$W/d ü"; cd "$W/d ü"`},
	{name: "directory a link", line: "mkdir -p $W/real; ln -sfn real $W/link; cd $W/link"},
	{name: "variables of shells",
		line: "export ENV=/no/such BASH_ENV=/no/such CDPATH=/ IFS=x POSIXLY_CORRECT=1"},
	{name: "odd variables", line: `export GODEBUG= GOGC=off GOMAXPROCS=1 TZ=Nowhere/No ` +
		`TERM=nonesuch LD_LIBRARY_PATH=/no COLUMNS=x`},
	{name: "TZ", line: "export TZ=:/etc/passwd"},
	{name: "nice", line: "renice -n 19 $$ >/dev/null"},
}

// A task is a command line of mitogen in an environment, and its output.
type task struct {
	name string
	args []string // CONFIG: a configuration of ssh; SCRIPT: a program
	want string   // an expression that the whole output matches
}

var tasks = []task{
	{name: "call", args: []string{"call", "-t", "local", "math:factorial", "5"}, want: `120\n`},
	{name: "call behind a hop", args: []string{"call", "-t", "local+local", "os.path:basename",
		`"/a/b"`}, want: `"b"\n`},
	{name: "run", args: []string{"run", "-t", "local", "SCRIPT", "a"}, want: `\['a'\]\nended 3\n`},
	{name: "run behind a hop", args: []string{"run", "-t", "local+local", "SCRIPT"},
		want: `\[\]\nended 3\n`},
	{name: "exec", args: []string{"exec", "-t", "local", "--", "sh", "-c", "echo out; exit 0"},
		want: `out\n`},
	{name: "exec over ssh", args: []string{"exec", "--ssh-config", "CONFIG", "-t", lab.Free, "--",
		"id", "-un"}, want: lab.Free + `\n`},
	{name: "password", args: []string{"call", "--ssh-config", "CONFIG", "--ssh-arg=-o",
		"--ssh-arg=PubkeyAuthentication=no", "-t", lab.Pass, "math:factorial", "4"}, want: `24\n`},
	{name: "sudo", args: []string{"call", "--ssh-config", "CONFIG", "-t", lab.Pass + "+sudo",
		"os:getuid"}, want: `0\n`},
	{name: "bastion", args: []string{"call", "--ssh-config", "CONFIG", "-t", lab.Free + "+" + lab.Pass,
		"math:factorial", "3"}, want: `6\n`},
	{name: "native", args: []string{"call", "--ssh-native", "--ssh-config", "CONFIG", "-t",
		lab.Free + "+sudo", "os:getuid"}, want: `0\n`},
	{name: "daemon", args: []string{"call", "--daemon", "--socket", "$W/d/s", "-t", "local",
		"math:factorial", "3"}, want: `6\n`},
	{name: "version", args: []string{"version"}, want: `mitogen .*\n`},
	{name: "ansible config", args: []string{"ansible", "config", "--dir", "$W/plugins"},
		want: `(?s)\[defaults\]\n.*`},
}

const script = `
import os, subprocess, sys
print([str(a) for a in sys.argv[1:]])
sys.stdout.flush()
print('ended %d' % subprocess.call(['sh', '-c', 'exit 3']))
`

// crashed matches texts that no user may see.
var crashed = regexp.MustCompile(`panic:|goroutine \d|fatal error|SIGSEGV|DATA RACE|Traceback|` +
	`<stdin>`)

// TestSurroundings tries each surrounding with some of the tasks, drawn anew each day, and each
// task somewhere; every pair in make test-surroundings.
func TestSurroundings(t *testing.T) {
	l := lab.Need(t)
	for i, s := range surroundings {
		some := tasks
		if !long() {
			r := testpython.Draw(t.Name() + s.name)
			some = []task{tasks[i%len(tasks)], tasks[r.IntN(len(tasks))]}
		}
		for _, k := range slices.CompactFunc(some, func(a, b task) bool { return a.name == b.name }) {
			t.Run(s.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				try(t, l, s, k)
			})
		}
	}
}

func try(t *testing.T, l *lab.Lab, s surrounding, k task) {
	w, err := os.MkdirTemp("/tmp", "sur")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(w) })
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "script.py"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("CONFIG", l.Config, "SCRIPT", filepath.Join(files, "script.py"),
		"$W", w)
	var args []string
	for _, a := range k.args {
		args = append(args, replace.Replace(a))
	}
	since := time.Now()
	status, out, errs := run(t, l, w, s, args...)
	if k.name == "daemon" {
		defer func() {
			if status, _, errs := run(t, l, w, s, "daemon", "stop", "--socket", w+"/d/s"); status != 0 {
				t.Errorf("daemon stop: got status %d, want 0: %s", status, errs)
			}
		}()
	}
	if status != 0 || !regexp.MustCompile(`^(?:`+k.want+`)$`).MatchString(out) {
		t.Errorf("got status %d and %q, want 0 and %q: %s", status, out, k.want, errs)
	}
	if at := crashed.FindString(errs); at != "" {
		t.Errorf("it says %q: %s", at, errs)
	}
	for _, name := range openToOthers(t, since, w, os.TempDir()) {
		t.Errorf("others may write to %s", name)
	}
}

// run runs mitogen in a surrounding.
func run(t *testing.T, l *lab.Lab, w string, s surrounding, args ...string) (status int,
	stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	argv := append([]string{"sh", "-c", "set -e; " + s.line + `; exec "$0" "$@"`, os.Args[0]}, args...)
	if s.mounts {
		argv = append([]string{"unshare", "-m"}, argv...)
	}
	cmd := exec.CommandContext(ctx, "setsid", append([]string{"-w"}, argv...)...)
	cmd.Env = append(os.Environ(), cliVar+"=1", "W="+w,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"MITOGEN_SSH_PASSWORD="+l.Password, "MITOGEN_BECOME_PASSWORD="+l.Password)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// ours matches the names of mitogen's files among other temporary files.
var ours = regexp.MustCompile(`^mitogen-(stdin-)?\d+$`)

// openToOthers returns the files made since below dirs that other users may write to. It leaves out
// files in a directory that keeps those users out.
func openToOthers(t *testing.T, since time.Time, dirs ...string) (found []string) {
	t.Helper()
	for i, dir := range dirs {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || name == dir {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			mine := i == 0 || ours.MatchString(d.Name()) && !info.ModTime().Before(since)
			switch {
			case !mine && d.IsDir():
				return fs.SkipDir
			case !mine || info.Mode().Type() == fs.ModeSymlink || len(filepath.Base(name)) == 1 ||
				strings.HasPrefix(filepath.Base(name), "xxx"):
			case info.Mode().Perm()&0o022 != 0:
				found = append(found, fmt.Sprintf("%s, %v", name, info.Mode()))
			case d.IsDir() && info.Mode().Perm()&0o077 == 0:
				return fs.SkipDir
			}
			return nil
		})
	}
	return found
}

// ignoring executes its arguments with signals ignored, as a service manager or a careless parent
// has them. A shell can't: it needs SIGCHLD itself.
const ignoring = `#!/usr/bin/python3 -S
import os, signal, sys
for n in %q.split():
    signal.signal(getattr(signal, 'SIG' + n), signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])
`

// statuses ends with the status of a program that it has started in several ways.
const statuses = `
import os, subprocess
def f():
    pid = os.fork()
    if not pid:
        os._exit(3)
    return [subprocess.call(['sh', '-c', 'exit 3']), os.waitpid(pid, 0)[1] >> 8,
            os.system('exit 3') >> 8]
def ignored():
    "The bits of SIGHUP, SIGINT and SIGCHLD."
    lines = [line for line in open('/proc/self/status') if line.startswith('SigIgn')]
    return int(lines[0].split()[1], 16) & 0x10003
`

// Targets whose logins ignore signals: what ends there is known with its status, and what a hop
// starts ends at a hangup. Without `make test-surroundings`, of those that ignore all signals.
func TestTargetsThatIgnoreSignals(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "told.py"), []byte(statuses), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, signals := range []string{"HUP INT QUIT PIPE ALRM TERM USR1 USR2 CHLD", "CHLD",
		"HUP CHLD"} {
		if i > 0 && !long() {
			break
		}
		program := filepath.Join(dir, fmt.Sprint("ignoring", i))
		if err := os.WriteFile(program,
			[]byte(strings.ReplaceAll(fmt.Sprintf(ignoring, signals), "`", "'")), 0o755); err != nil {
			t.Fatal(err)
		}
		first := "exec:" + program + " sh"
		for _, target := range []string{first, first + "+local", first + "+sudo"} {
			for want, args := range map[string][]string{
				"[3,3,3]\n": {"call", "--path", dir, "-t", target, "told:f"},
				"status 5":  {"exec", "-t", target, "--", "sh", "-c", "exit 5"},
				"status 6": {"run", "-t", target, "-c",
					"import subprocess, sys; sys.exit(subprocess.call(['sh', '-c', 'exit 6']))"},
				"0\n": {"call", "--path", dir, "-t", first + "+local", "told:ignored"},
			} {
				t.Run(signals+" "+target+" "+args[0], func(t *testing.T) {
					t.Parallel()
					status, out, errs := run(t, lab.Need(t), t.TempDir(), surrounding{line: ":"}, args...)
					if got := fmt.Sprintf("status %d", status); got != want && (out != want || status != 0) {
						t.Errorf("got %q and %s, want %q: %s", out, got, want, errs)
					}
				})
			}
		}
	}
}
