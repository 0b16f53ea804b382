package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// A program that repeats the command, on whatever stream, is not taken for a program that executes
// it. That holds for contexts, next to the engine and behind a hop, and for programs without one.
func TestCommandIsRepeated(t *testing.T) {
	for name, text := range map[string]string{
		"echo on stdout":       `echo "$@"; exec "$@"`,
		"echo on stderr":       `echo "$@" >&2; exec "$@"`,
		"a word a line":        `printf '%s\n' "$@"; printf '%s\n' "$@" >&2; exec "$@"`,
		"as a format":          `printf "$*"; exec "$@"`,
		"traced":               `shift 2; exec sh -x -c "$@"`,
		"traced, no prefix":    `shift 2; PS4=; export PS4; exec sh -x -c "$@"`,
		"verbose":              `shift 2; exec sh -v -c "$@"`,
		"traced by bash":       `shift 2; exec bash -xv -c "$@"`,
		"no newline at end":    `printf %s "$*"; printf %s "$*" >&2; exec "$@"`,
		"the markers' letters": `echo "MITO-EC0 MITO-EC1 MITO-NOPY"; echo " MITO-EC0" >&2; exec "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			wrapper := "exec:" + script(t, text)
			e := engine(t, mitogen.Options{})
			targets := []string{wrapper}
			if strings.HasPrefix(name, "echo") || strings.HasPrefix(name, "no") {
				targets = append(targets, "local+"+wrapper)
			}
			for _, target := range targets {
				c := connected(t, e, target, mitogen.ConnectOptions{})
				if uid, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil || uid != os.Getuid() {
					t.Errorf("call at %s: got %d, %v, want %d", target, uid, err, os.Getuid())
				}
			}
			if strings.Contains(text, "-x") || strings.Contains(text, "-v") {
				return // what is traced of the program itself is its stderr
			}
			var out, errs bytes.Buffer
			status, err := e.Exec(t.Context(), wrapper, mitogen.ConnectOptions{}, mitogen.Command{
				Args: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, Stdout: &out, Stderr: &errs})
			if status != 7 || err != nil || out.String() != "out\n" || errs.String() != "err\n" {
				t.Errorf("exec: got status %d, %v, %q, %q, want 7, out, err", status, err, out.String(),
					errs.String())
			}
		})
	}
}

// A refusal that quotes the command is told as one, in a line without boot code.
func TestCommandIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want error
		says string
	}{
		"quoted on stderr": {`echo "not allowed here: $*" >&2; exit 1`, connect.ErrNotPermitted,
			"not allowed here: "},
		"quoted on stdout": {`echo "Sorry, '$*' is not for you"; exit 77`, connect.ErrNotPermitted,
			"is not for you"},
		"with the status 127": {`echo "$*: command not found" >&2; exit 127`, connect.ErrNoPython,
			"command not found"},
		"like git-shell": {`echo "fatal: unrecognized command '$*'" >&2; exit 128`,
			connect.ErrNotPermitted, "unrecognized command"},
		"not quoted": {`echo "go away" >&2; exit 4`, connect.ErrDied, "go away"},
	} {
		t.Run(name, func(t *testing.T) {
			wrapper := "exec:" + script(t, tt.text)
			e := engine(t, mitogen.Options{})
			for _, target := range []string{wrapper, "local+" + wrapper} {
				_, err := e.Connect(t.Context(), target, mitogen.ConnectOptions{})
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) ||
					strings.Contains(err.Error(), "import sys") {
					t.Errorf("%s: got %v, want %v and %q, without boot code", target, err, tt.want, tt.says)
				}
			}
		})
	}
}

// A program that is no Python says so in one line, without boot code, and so does a missing
// program.
func TestNotPython(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "python3")
	if err := os.Symlink("/nonexistent/python3", broken); err != nil {
		t.Fatal(err)
	}
	small := script(t, `echo "Traceback (most recent call last):" >&2; echo "ImportError: no module `+
		`named 'fcntl'" >&2; exit 1`)
	for python, says := range map[string]string{
		"python9": "python9", "perl": "perl", "bash": "syntax error", "dash": "yntax error",
		"/tmp": "/tmp",
		broken: broken, "cat": "invalid option", small: "no module named 'fcntl'", "sh": "yntax error",
		"/etc/passwd": "ermission denied",
	} {
		e := engine(t, mitogen.Options{})
		hop := connected(t, e, "local", mitogen.ConnectOptions{})
		for target, via := range map[string]*mitogen.Context{"local": nil, "exec:env": nil,
			"exec:nice env": hop} {
			o := mitogen.ConnectOptions{Options: connect.Options{Python: []string{python}}, Via: via}
			_, err := e.Connect(t.Context(), target, o)
			failed := (*connect.Error)(nil)
			if !errors.As(err, &failed) || !errors.Is(err, connect.ErrNoPython) ||
				!strings.Contains(err.Error(), says) ||
				strings.Contains(err.Error()+failed.Text, "sys.path") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %s: got %v, want no Python, %q, and no boot code", target, python, err, says)
			}
		}
	}
}

// A tree without devices, /dev there or not, is entered, and nothing is left in it.
func TestTreeWithoutDevices(t *testing.T) {
	lab.Need(t)
	for _, dev := range []bool{true, false} {
		root := t.TempDir()
		for _, dir := range []string{"usr", "tmp", "proc"} {
			if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
			if err := os.Symlink("usr/"+link, filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
		if dev {
			if err := os.Mkdir(filepath.Join(root, "dev"), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(root, 0o755); err != nil {
			t.Fatal(err)
		}
		enter := script(t, "exec unshare -m sh -c 'mount --bind /usr "+root+"/usr && exec chroot "+root+
			` "$@"' sh "$@"`)
		e := engine(t, mitogen.Options{})
		for _, target := range []string{"exec:" + enter, "local+exec:" + enter} {
			c := connected(t, e, target, mitogen.ConnectOptions{Options: connect.Options{Python: nil}})
			if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
				t.Errorf("call in %s: got error %v, want none", target, err)
			}
			var out bytes.Buffer
			status, err := c.Exec(t.Context(), mitogen.Command{Args: []string{"echo", "well"}, Stdout: &out})
			if err != nil || status != 0 || out.String() != "well\n" {
				t.Errorf("exec at %s: got %d, %v, %q", target, status, err, out.String())
			}
		}
		if _, err := os.Lstat(filepath.Join(root, "dev", "null")); err == nil {
			t.Error("a file /dev/null was left in the tree")
		}
	}
}
