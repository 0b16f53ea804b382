package testenv

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// asked is set for this test's executable as a process that tells what it was given.
const asked = "TESTENV_ASKED"

func TestMain(m *testing.M) {
	if os.Getenv(asked) != "" {
		out, _ := exec.Command("sh", "-c",
			"umask; env; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status").Output()
		os.Stdout.Write(out)
		return
	}
	os.Exit(m.Run())
}

// told starts this test's executable as `go test` does, by a line of sh, and returns what programs
// that it starts find.
func told(t *testing.T, line string, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{"-c", line + `; exec "$0" "$@"`, exe}, args...)...)
	cmd.Env = append(os.Environ(), asked+"=1")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run %s: %v; output: %s", line, err, out)
	}
	return "\n" + WithoutLibrarySignals(string(out))
}

// The surroundings of tests are the same, whatever the shell says that starts them.
func TestSurroundingsAreTheSame(t *testing.T) {
	usual := told(t, ":", "-test.timeout=1m")
	for _, want := range []string{"\n0022\n", "\nLANG=C.UTF-8\n", "\nSigIgn:\t0000000000000000\n",
		"\nMITOGEN_CONFIG=\n"} {
		if !strings.Contains(usual, want) {
			t.Errorf("usually: got %s, want %q in it", usual, want)
		}
	}
	for _, line := range []string{
		"umask 000", "umask 077", "umask 777",
		"trap '' HUP", "trap '' INT PIPE TERM QUIT", "trap '' CHLD TSTP TTIN TTOU ALRM USR1 USR2",
		"export LC_ALL=tr_TR.ISO-8859-9", "export LANG=C LC_CTYPE=POSIX LANGUAGE=de", "unset LANG",
		"export PYTHONPATH=/x PYTHONWARNINGS=error",
		"export PYTHONSTARTUP=/dev/null PYTHONINSPECT=1 PYTHONHOME=/x",
		"export ANSIBLE_CONFIG=/x ANSIBLE_FORKS=1", "export MITOGEN_CONFIG=/x",
		"export MITOGEN_PATH=/x MITOGEN_DAEMON=1 XDG_RUNTIME_DIR=/x",
		"export SSH_AUTH_SOCK=/x DISPLAY=:0 SSH_ASKPASS=/x",
		"export CDPATH=/ ENV=/x BASH_ENV=/x NO_COLOR=1",
		"export TMPDIR=/no/such", "mkdir x; export TMPDIR=x", "mkdir 'a b'; export TMPDIR=\"$PWD/a b\"",
		"export TMPDIR=/proc",
		"mkdir x; chmod 777 x; export TMPDIR=$PWD/x", "export HOME=", "unset HOME",
		"export HOME=/no/such", "export HOME=x", "export HOME=/proc",
	} {
		got := told(t, line, "-test.timeout=1m")
		if trimmed(got) != trimmed(usual) {
			t.Errorf("%s: got %s, want %s", line, trimmed(got), trimmed(usual))
		}
	}
}

// trimmed is without what a shell sets by itself.
func trimmed(env string) string {
	var kept []string
	for line := range strings.Lines(env) {
		name, _, _ := strings.Cut(line, "=")
		if name != "PWD" && name != "OLDPWD" && name != "_" && name != "HOME" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// What isn't started by `go test` is left as it is: it is a program that a test wants like that.
func TestProgramsAreLeftAlone(t *testing.T) {
	for line, want := range map[string]string{
		"umask 077":                     "\n0077\n",
		"trap '' HUP":                   "\nSigIgn:\t0000000000000001\n",
		"export LC_ALL=de_DE":           "\nLC_ALL=de_DE\n",
		"export TMPDIR=/no/such HOME=/": "\nTMPDIR=/no/such\n",
	} {
		for _, args := range [][]string{nil, {"daemon"}, {"-test.run=X"}} {
			if got := told(t, line, args...); !strings.Contains(got, want) {
				t.Errorf("%s, %q: got %s, want %q in it", line, args, got, want)
			}
		}
	}
}

func TestTempDir(t *testing.T) {
	fit, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fit)
	long := filepath.Join(fit, strings.Repeat("x", longestTemp))
	spaced := filepath.Join(fit, "a b")
	open := filepath.Join(fit, "o")
	for _, d := range []string{long, spaced, open} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		dirs []string
	}{
		{fit, []string{fit, "/tmp"}},
		{"/tmp", []string{"", "/tmp"}},
		{fit, []string{"/no/such", long, spaced, open, "x", fit, "/tmp"}},
		{"/last", []string{"/no/such", "/last"}},
	} {
		if got := tempDir(c.dirs...); got != c.want {
			t.Errorf("%q: got %s, want %s", c.dirs, got, c.want)
		}
	}
}

// What tests ask the environment for is not taken away from it.
func TestVariablesOfTestsAreMeant(t *testing.T) {
	asks := regexp.MustCompile(`(?:Getenv|LookupEnv)\("(MITOGEN_\w+)"\)`)
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range asks.FindAllSubmatch(text, -1) {
			name := string(m[1])
			found++
			if own := strings.Contains(string(text), `"`+name+`=`); !own && !slices.Contains(meant, name) {
				t.Errorf("%s asks for %s: got a name that is taken away, want one of meant", path, name)
			}
		}
		return err
	})
	if err != nil || found < 10 {
		t.Errorf("look for variables: got %d and %v, want at least 10", found, err)
	}
}
