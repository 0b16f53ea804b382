package packages

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
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

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// Programs of PyPI, and scripts that use libraries: each is executed by plain Python beside its
// packages and by `mitogen run --venv` in a directory tree that can't see them, and has to do the
// same there.

// programTable lists them.
//
//go:embed testdata/programs.txt
var programTable string

// programPins are the distributions that they are made of, all of them pinned.
//
//go:embed testdata/programs-pins.txt
var programPins string

// A row of the table is a program: "== NAME", lines of a word and its value, and a script behind a
// line "--".
type row struct {
	name   string
	args   []string       // of Python or mitogen run: -m MODULE ARG...; of the script, if there is one
	script string         // "": none
	stdin  string         // "": none
	ignore *regexp.Regexp // parts of the output that differ from run to run; nil: none
	fails  string         // why it does something else; "": it doesn't
	trips  int            // the most round trips; 0: any number
}

// rows reads the table.
func rows(table string) (all []row, err error) {
	for i, part := range strings.Split("\n"+table, "\n== ") {
		if i == 0 {
			continue // what is said about the table
		}
		head, script, _ := strings.Cut(part, "\n--\n")
		lines := strings.Split(strings.TrimSpace(head), "\n")
		r := row{name: lines[0], script: script}
		for _, line := range lines[1:] {
			if err := r.set(line); err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
		}
		if r.script == "" && r.args == nil {
			return nil, fmt.Errorf("%s: nothing to run", r.name)
		}
		all = append(all, r)
	}
	return all, nil
}

func (r *row) set(line string) (err error) {
	word, value, _ := strings.Cut(line, " ")
	switch word {
	case "args":
		r.args = strings.Fields(value)
	case "stdin":
		r.stdin = value + "\n"
	case "ignore":
		r.ignore, err = regexp.Compile(value)
	case "fails":
		r.fails = value
	case "trips":
		_, err = fmt.Sscan(value, &r.trips)
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	return err
}

func TestTable(t *testing.T) {
	all, err := rows(programTable)
	if err != nil || len(all) < 40 {
		t.Errorf("got %d programs, %v, want at least 40", len(all), err)
	}
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.name] {
			t.Errorf("%s stands there twice", r.name)
		}
		seen[r.name] = true
	}
	for line := range strings.Lines(programPins) {
		if line[0] != '#' && !strings.Contains(line, "==") {
			t.Errorf("%q isn't pinned", line)
		}
	}
}

// TestPrograms executes all of them (make test-packages). MITOGEN_PROGRAMS is a regular expression
// for their names.
func TestPrograms(t *testing.T) {
	pattern := os.Getenv("MITOGEN_PROGRAMS")
	if pattern == "" {
		t.Skip("installs many packages: make test-packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("a directory tree to enter needs root")
	}
	want := regexp.MustCompile(pattern)
	all, err := rows(programTable)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "programs", programPins)
	for _, r := range all {
		if want.MatchString(r.name) {
			t.Run(r.name, func(t *testing.T) { b.compare(t, r) })
		}
	}
}

// bench holds the environment that the programs run in.
type bench struct {
	mitogen string // the command
	tree    string // the root that they see
	python  string // interpreter there, and here
	site    string // directory with the packages, here
	venv    string // that it belongs to
}

// newBench installs the distributions of pinned, which are called name together.
func newBench(t *testing.T, name, pinned string) *bench {
	b := &bench{mitogen: filepath.Join(t.TempDir(), "mitogen"), tree: t.TempDir()}
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", b.mitogen,
		"../../cmd/mitogen").CombinedOutput(); err != nil {
		t.Fatalf("build mitogen: %v; output:\n%s", err, out)
	}
	for _, p := range testpython.Find() {
		if p.Name() == "cpython3.13" {
			b.python = p.Path
		}
	}
	if b.python == "" {
		t.Skip("no CPython 3.13")
	}
	var pins []string
	for line := range strings.Lines(pinned) {
		if line[0] != '#' {
			pins = append(pins, strings.TrimSpace(line))
		}
	}
	dir, err := installPins(name, "3.13", pins, b.python)
	if err != nil {
		t.Fatal(err)
	}
	// What is installed was compiled then. Warnings of the compiler are pip's to suppress.
	if out, err := exec.Command(b.python, "-W", "ignore", "-m", "compileall", "-q",
		dir).CombinedOutput(); err != nil {
		t.Logf("compile: %v\n%s", err, out)
	}
	// A virtual environment, as far as mitogen is concerned.
	b.venv = dir + "-venv"
	b.site = filepath.Join(b.venv, "lib/python3.13/site-packages")
	if err := os.MkdirAll(filepath.Dir(b.site), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, b.site); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	for _, name := range []string{"usr", "etc", "proc", "dev", "tmp", b.prefix(), b.site} {
		if err := os.MkdirAll(filepath.Join(b.tree, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(b.tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// prefix is the directory that the interpreter is installed in.
func (b *bench) prefix() string { return filepath.Dir(filepath.Dir(b.python)) }

// mounting runs a command where the tree holds a system, and if packages is set the packages, until
// it ends.
const mounting = `set -e; tree=$1 prefix=$2 packages=$3 tmp=$4; shift 4
for d in /usr /etc /dev /proc "$prefix" $packages; do mount --bind "$d" "$tree$d"; done
mount --bind "$tmp" "$tree/tmp"
exec "$@"`

// outcome holds the effects of a program.
type outcome struct {
	stdout, stderr string
	status         int
	files          string // that it has written, with their contents
	trips          int    // round trips
	bytes          int    // that went down
}

func (b *bench) run(t *testing.T, r row, packages string, argv ...string) (o outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tmp := t.TempDir()
	words := []string{"--mount", "--propagation", "private", "sh", "-c", mounting, "sh", b.tree,
		b.prefix(), packages, tmp}
	cmd := exec.CommandContext(ctx, "unshare", append(words, argv...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(r.stdin), &stdout, &stderr
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME=/tmp", "LANG=C.UTF-8",
		"PYTHONDONTWRITEBYTECODE=1",
		"XDG_CACHE_HOME=/tmp/none"}
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("run %v: got %v, want an end in time; stderr:\n%s", argv, err, stderr.String())
	}
	o = outcome{stdout: stdout.String(), stderr: stderr.String(), status: cmd.ProcessState.ExitCode(),
		files: written(t, tmp)}
	if r.ignore != nil {
		o.stdout, o.stderr = r.ignore.ReplaceAllString(o.stdout, ""), r.ignore.ReplaceAllString(o.stderr,
			"")
	}
	return o
}

// written returns the files below dir with their contents.
func written(t *testing.T, dir string) string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s: %q", strings.TrimPrefix(path, dir), text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// compare runs r both ways, and returns what came of mitogen run.
func (b *bench) compare(t *testing.T, r row) outcome {
	script := filepath.Join(t.TempDir(), "script.py")
	what := r.args
	plainArgs := r.args
	if r.script != "" {
		if err := os.WriteFile(script, []byte(r.script), 0o644); err != nil {
			t.Fatal(err)
		}
		what = append([]string{script}, r.args...)
		plainArgs = append([]string{"/tmp/script.py"}, r.args...)
	}
	plain := b.plain(t, r, plainArgs)
	stats := filepath.Join(t.TempDir(), "stats")
	argv := []string{b.mitogen, "run", "--stats", stats, "--learned", "", "--venv", b.venv, "--python",
		b.python, "-t", "chroot:" + b.tree}
	if i := slices.Index(what, "-m"); i == 0 {
		what = append([]string{"-m", what[1], "--"}, what[2:]...)
	}
	ours := b.run(t, r, "", append(argv, what...)...)
	ours.count(t, stats)
	if r.script != "" {
		ours.stderr = strings.ReplaceAll(ours.stderr, script, "/tmp/script.py")
		ours.stdout = strings.ReplaceAll(ours.stdout, script, "/tmp/script.py")
	}
	t.Logf("%d round trips, %d kB", ours.trips, (ours.bytes+500)/1000)
	differs := differences(plain, ours)
	switch {
	case r.fails != "" && differs == "":
		t.Errorf("does the same, though it is said not to: %s", r.fails)
	case r.fails == "" && differs != "":
		t.Error(differs)
	case r.trips > 0 && ours.trips > r.trips:
		t.Errorf("got %d round trips, want at most %d", ours.trips, r.trips)
	}
	return ours
}

// plain runs r in plain Python, where the packages are. Its script lies in /tmp there.
func (b *bench) plain(t *testing.T, r row, args []string) outcome {
	argv := append([]string{"chroot", b.tree, "env", "PYTHONPATH=" + b.site, b.python}, args...)
	if r.script != "" {
		argv = append([]string{"sh", "-c", `printf %s "$1" >"$2/tmp/script.py"; shift 2; exec "$@"`, "sh",
			r.script, b.tree}, argv...)
	}
	o := b.run(t, r, b.site, argv...)
	lines := slices.DeleteFunc(strings.Split(o.files, "\n"),
		func(line string) bool { return strings.HasPrefix(line, "/script.py: ") })
	o.files = strings.Join(lines, "\n")
	return o
}

// count takes the numbers of --stats.
func (o *outcome) count(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("no numbers: %v", err)
		return
	}
	var profile struct {
		Contexts []struct {
			Trips int `json:"round_trips"`
			Bytes int `json:"bytes_down"`
		} `json:"contexts"`
	}
	if err := json.Unmarshal(text, &profile); err != nil {
		t.Fatal(err)
	}
	for _, c := range profile.Contexts {
		o.trips, o.bytes = o.trips+c.Trips, o.bytes+c.Bytes
	}
}

// differences says in what ours isn't plain; "": in nothing.
func differences(plain, ours outcome) string {
	var b strings.Builder
	if plain.status != ours.status {
		fmt.Fprintf(&b, "status: got %d, want %d\n", ours.status, plain.status)
	}
	for _, part := range []struct{ name, got, want string }{
		{"stdout", ours.stdout, plain.stdout}, {"stderr", ours.stderr, plain.stderr},
		{"files", ours.files, plain.files},
	} {
		if part.got != part.want {
			got, want := firstDifference(part.got, part.want)
			fmt.Fprintf(&b, "%s: got %s\nwant %s\n", part.name, got, want)
		}
	}
	return b.String()
}

// firstDifference returns some lines of both from the first one on that differs.
func firstDifference(a, b string) (string, string) {
	got, want := strings.Split(a, "\n"), strings.Split(b, "\n")
	for len(got) > 0 && len(want) > 0 && got[0] == want[0] {
		got, want = got[1:], want[1:]
	}
	some := func(lines []string) string {
		return fmt.Sprintf("%.2000q", strings.Join(lines[:min(len(lines), 8)], "\n"))
	}
	return some(got), some(want)
}
