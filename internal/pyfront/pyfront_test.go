package pyfront

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// patience limits one run of Python's tests, on a loaded machine too.
const patience = 5 * time.Minute

// built is the program with the package appended to it, made once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pyfront")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "mitogen")
	for _, args := range [][]string{
		{"build", "-ldflags", "-s -w", "-o", program, "github.com/mitogen-go/mitogen/cmd/mitogen"},
		{"run", "github.com/mitogen-go/mitogen/tools/pyzip", "../../pyapi", program},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, &failed{err, string(out)}
		}
	}
	return dir, nil
})

type failed struct {
	err error
	out string
}

func (f *failed) Error() string { return f.err.Error() + ": " + f.out }

func TestMain(m *testing.M) {
	status := m.Run()
	if dir, _ := built(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// program returns the program under test.
func program(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "mitogen")
}

// python runs an interpreter on the package's sources.
func python(t *testing.T, path, target string, args ...string) ([]byte, error) {
	t.Helper()
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	api, err := filepath.Abs("../../pyapi")
	if err != nil {
		t.Fatal(err)
	}
	dir := translated(t, filepath.Join(here, "core", "lies.py"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = here
	cmd.Env = append(os.Environ(), "PYTHONPATH="+api+":"+dir+":"+here, "MITOGEN_BINARY="+program(t),
		"MITO_TEST_TARGET="+target, "PYTHONDONTWRITEBYTECODE=1",
		"MITO_TEST_SEED="+strconv.FormatUint(testpython.Seed(), 10))
	return cmd.CombinedOutput()
}

// translated returns a directory with a module that looks into the runtime, by the names that
// this has in a context.
func translated(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text = []byte(pylink.Translate(boot.Table(), string(text)))
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pairs returns interpreters for programs, each with one for targets: some that are drawn, or,
// where all are asked for, all.
func pairs(t *testing.T) (all [][2]testpython.Interp) {
	t.Helper()
	found := testpython.Find()
	var programs []testpython.Interp
	for _, p := range found {
		if p.AtLeast(3, 8) && p.Impl == "cpython" {
			programs = append(programs, p)
		}
	}
	if len(programs) == 0 {
		t.Skip("no Python 3.8 or later")
	}
	rng := testpython.Draw(t.Name())
	for _, p := range programs {
		for _, target := range found {
			if testpython.All() {
				all = append(all, [2]testpython.Interp{p, target})
			}
		}
	}
	if len(all) == 0 {
		p, target := programs[rng.IntN(len(programs))], found[rng.IntN(len(found))]
		all = append(all, [2]testpython.Interp{p, target})
	}
	return all
}

// TestAPI runs the cases of testdata/test_api.py: with one interpreter that is drawn, or with all.
func TestAPI(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range pairs(t) {
		if seen[p[0].Path] {
			continue
		}
		seen[p[0].Path] = true
		out, err := python(t, p[0].Path, p[0].Path, "test_api.py")
		if err != nil {
			t.Errorf("test_api.py by %s: got %v, want success; output:\n%s", p[0].Name(), err, out)
		}
	}
}

// TestTargets has a program call what there is on any interpreter.
func TestTargets(t *testing.T) {
	for _, p := range pairs(t) {
		out, err := python(t, p[0].Path, p[1].Path, "test_targets.py")
		if err != nil {
			t.Errorf("program %s, target %s: %v\n%s", p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestFleet runs the cases of testdata/test_fleet.py: many contexts at once, and asyncio.
func TestFleet(t *testing.T) {
	p := pairs(t)[0][0]
	if out, err := python(t, p.Path, p.Path, "test_fleet.py"); err != nil {
		t.Errorf("test_fleet.py by %s: got %v, want success; output:\n%s", p.Name(), err, out)
	}
}

// TestCompat runs the cases of testdata/test_compat.py, the API of Mitogen: with one interpreter
// that is drawn, or with all, each with targets from 2.7 on.
func TestCompat(t *testing.T) {
	for _, p := range pairs(t) {
		if !p[1].AtLeast(2, 7) {
			p[1] = p[0]
		}
		out, err := python(t, p[0].Path, p[1].Path, "test_compat.py")
		if err != nil {
			t.Errorf("program %s, target %s: %v\n%s", p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestTable runs the cases of testdata/test_table.py: each name of the API of Mitogen is there, or
// raises a sentence.
func TestTable(t *testing.T) {
	for _, p := range pairs(t) {
		if !p[1].AtLeast(2, 7) {
			p[1] = p[0]
		}
		out, err := python(t, p[0].Path, p[1].Path, "test_table.py")
		if err != nil {
			t.Errorf("program %s, target %s: got %v, want no failure\n%s",
				p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestNeeds runs the cases of testdata/test_needs.py: what ten programs that were written for
// Mitogen need of it.
func TestNeeds(t *testing.T) {
	for _, p := range pairs(t) {
		if !p[1].AtLeast(2, 7) {
			p[1] = p[0]
		}
		out, err := python(t, p[0].Path, p[1].Path, "test_needs.py")
		if err != nil {
			t.Errorf("program %s, target %s: got %v, want no failure\n%s",
				p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestHostile has contexts that lie to the program.
func TestHostile(t *testing.T) {
	p := pairs(t)[0][0]
	if out, err := python(t, p.Path, p.Path, "test_hostile.py"); err != nil {
		t.Errorf("test_hostile.py by %s: got %v, want success; output:\n%s", p.Name(), err, out)
	}
}

// TestPythonCommand runs a program by `mitogen python`, which has the package in it.
func TestPythonCommand(t *testing.T) {
	interp := pairs(t)[0][0]
	dir := t.TempDir()
	script := filepath.Join(dir, "prog.py")
	text := "import mitogo, os, sys\ndef f(n):\n    return n + 1\n" +
		"with mitogo.Engine() as m:\n    c = m.connect('local')\n" +
		"    print(c.call(f, int(sys.argv[1])), mitogo.__file__)\nsys.exit(7)\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		cmd := exec.Command(program(t), append([]string{"python", "--python", interp.Path}, args...)...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if got, status := run(script, "41"); status != 7 || !strings.HasPrefix(got, "42 "+program(t)) {
		t.Errorf("got %q, status %d, want 42, the package in the program, and status 7", got, status)
	}
	got, status := run("-c", "import mitogo; print(mitogo.Engine.__name__)")
	if status != 0 || got != "Engine\n" {
		t.Errorf("-c: got %q, status %d, want Engine", got, status)
	}
	bare := filepath.Join(dir, "bare")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", bare,
		"github.com/mitogen-go/mitogen/cmd/mitogen")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build mitogen: %v; output: %s", err, out)
	}
	out, err := exec.Command(bare, "python", script).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "make build") {
		t.Errorf("without the package: got %q, %v, want an error that says what to do", out, err)
	}
}

// TestTalking runs the cases of testdata/test_talking.py: receivers, scripts and inventories, and
// whether asyncio has the same names.
func TestTalking(t *testing.T) {
	for _, p := range pairs(t) {
		out, err := python(t, p[0].Path, p[1].Path, "test_talking.py")
		if err != nil {
			t.Errorf("program %s, target %s: got %v, want no failure\n%s",
				p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestKills kills programs and engines at random moments: 200 times, or a few times where not all
// is asked for. Nothing may be left: no process, thread, descriptor or file.
func TestKills(t *testing.T) {
	p := pairs(t)[0][0]
	rounds, times := 3, 1
	if testpython.All() {
		rounds, times = 25, 8
	}
	for i := range uint64(times) {
		seed := strconv.FormatUint(testpython.Seed()+i, 10)
		out, err := python(t, p.Path, p.Path, "kills.py", strconv.Itoa(rounds), seed)
		if err != nil {
			t.Errorf("%s, seed %s: got %v, want nothing left\n%s", p.Name(), seed, err, out)
		}
	}
}

// TestServed runs the cases of testdata/test_served.py: objects of the program that contexts call.
func TestServed(t *testing.T) {
	for _, p := range pairs(t) {
		out, err := python(t, p[0].Path, p[1].Path, "test_served.py")
		if err != nil {
			t.Errorf("program %s, target %s: got %v, want no failure\n%s",
				p[0].Name(), p[1].Name(), err, out)
		}
	}
}

// TestQueued runs the cases of testdata/test_queued.py: calls that leave in one write.
func TestQueued(t *testing.T) {
	for _, p := range pairs(t) {
		out, err := python(t, p[0].Path, p[0].Path, "test_queued.py")
		if err != nil {
			t.Errorf("test_queued.py by %s: got %v, want success; output:\n%s", p[0].Name(), err, out)
		}
	}
}
