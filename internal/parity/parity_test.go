// Package parity compares `mitogen run` with `ssh host python3 prog.py`, where the files lie: what
// a program prints, how it ends and what it leaves behind is the same, or the difference stands in
// docs/differences.md.
//
// `go test` tries a sample on some interpreters, of -parity.seed; `make test-run` tries all
// programs on all of them.
package parity

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

var (
	seed = flag.Uint64("parity.seed", testpython.Seed(), "what decides which programs a sample has")
	only = flag.String("parity.only", "",
		"a pattern of the programs to try, named INTERPRETER/PROGRAM")
)

// allVar has all programs tried on all interpreters.
const allVar = "MITOGEN_RUN"

// sample is the number of programs that `go test` tries.
const sample = 16

// patience bounds one run of a program: reaching it is a failure.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(lab.Main(m))
}

// A program is one of testdata/programs.txt.
type program struct {
	name   string
	fields map[string]string
	files  []file // prog.py first, if it has that
}

// A file is one beside a program: a text, a link to another name, or a zip file of a directory.
type file struct{ name, text, link, zip string }

var (
	heading = regexp.MustCompile(`^=== ([^\[]+?)(?: \[(.*)\])?$`)
	escaped = regexp.MustCompile(`<([0-9A-F]{2}|CR)>`)
)

func programs(t *testing.T) (all []program) {
	t.Helper()
	text, err := os.ReadFile("testdata/programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	var into *string
	for line := range strings.Lines(string(text)) {
		head := heading.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		rest, isFile := strings.CutPrefix(line, "--- ")
		switch {
		case head != nil:
			all = append(all, program{head[1], parseFields(head[2]), []file{{name: "prog.py"}}})
			into = &all[len(all)-1].files[0].text
		case len(all) == 0: // the introduction
		case isFile:
			p := &all[len(all)-1]
			p.files = append(p.files, parseFile(strings.TrimSpace(rest)))
			into = &p.files[len(p.files)-1].text
		default:
			*into += escaped.ReplaceAllStringFunc(line, unescape)
		}
	}
	return all
}

func parseFields(text string) map[string]string {
	fields := map[string]string{}
	for f := range strings.SplitSeq(text, "; ") {
		name, value, _ := strings.Cut(f, ":")
		fields[name] = value
	}
	return fields
}

func parseFile(text string) file {
	if name, dir, ok := strings.Cut(text, " = "); ok {
		return file{name: name, zip: dir}
	}
	name, link, _ := strings.Cut(text, " -> ")
	return file{name: name, link: link}
}

func unescape(s string) string {
	if s == "<CR>" {
		return "\r"
	}
	b, _ := strconv.ParseUint(s[1:3], 16, 8)
	return string([]byte{byte(b)})
}

// plain replaces the escapes of a field.
func plain(s string) string {
	if text, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`); err == nil {
		return text
	}
	return s
}

// list is a field whose elements have | between.
func (p *program) list(name string) (words []string) {
	if text, ok := p.fields[name]; ok {
		for w := range strings.SplitSeq(text, "|") {
			words = append(words, plain(w))
		}
	}
	return words
}

// what returns the arguments of python that say what to run.
func (p *program) what() []string {
	run := p.fields["run"]
	for _, option := range []string{"-m ", "-c "} {
		if rest, ok := strings.CutPrefix(run, option); ok {
			return []string{option[:2], plain(rest)}
		}
	}
	if run == "" {
		run = "prog.py"
	}
	return []string{run}
}

// fits reports whether p is for py.
func (p *program) fits(py testpython.Interp) bool {
	for field := range p.fields {
		least, ok := strings.CutPrefix(field, "py")
		if !ok {
			continue
		}
		var major, minor int
		fmt.Sscanf(strings.TrimPrefix(least, ">="), "%d.%d", &major, &minor)
		if !py.AtLeast(major, minor) {
			return false
		}
	}
	return true
}

func (p *program) write(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range p.files {
		name := filepath.Join(dir, f.name)
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		switch {
		case f.link != "":
			must(os.Symlink(f.link, name))
		case f.zip != "":
			must(os.WriteFile(name, p.zipped(t, f.zip+"/"), 0o644))
		case f.name != "prog.py" || f.text != "" || len(p.files) == 1:
			must(os.WriteFile(name, []byte(f.text), 0o644))
		}
	}
}

// zipped is a zip file of the program's files below dir, as zipapp makes it.
func (p *program) zipped(t *testing.T, dir string) []byte {
	var b bytes.Buffer
	b.WriteString("#!/usr/bin/env python3\n")
	z := zip.NewWriter(&b)
	z.SetOffset(int64(b.Len()))
	for _, f := range p.files {
		if name, ok := strings.CutPrefix(f.name, dir); ok {
			w, err := z.Create(name)
			if err == nil {
				_, err = w.Write([]byte(f.text))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An outcome holds the visible effects of a run.
type outcome map[string]string

var outcomeFields = []string{"stdout", "stderr", "status", "left"}

// A side is one of the two ways to run a program.
type side struct {
	files, cwd string // directories: of the program's files, and of the run
	mark       string // in the environment of all that runs
	argv, env  []string
	stdin      string
	own        []file // what was there before
}

func (s *side) run(t *testing.T) outcome {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	cmd.Dir = s.files
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(s.stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Errorf("%q: %v, %v\nstdout %.2000s\nstderr %.2000s", s.argv, err, ctx.Err(), out.Bytes(),
			errs.Bytes())
	}
	return outcome{
		"stdout": s.common(out.String()),
		"stderr": s.common(errs.String()),
		"status": fmt.Sprint(cmd.ProcessState.ExitCode()),
		"left":   s.left(t),
	}
}

var (
	// a login shell's
	shims    = regexp.MustCompile(`(?m)^.*(/\.pyenv/shims|pyenv: cannot rehash).*\n`)
	address  = regexp.MustCompile(`0x[0-9a-f]{6,}`)
	pidValue = regexp.MustCompile(`(pid=|process |\[)\d{3,}`)
)

// common replaces what differs from run to run.
func (s *side) common(text string) string {
	for _, dir := range []string{s.files, s.cwd} {
		text = strings.ReplaceAll(text, dir, "DIR")
	}
	text = shims.ReplaceAllString(text, "")
	return pidValue.ReplaceAllString(address.ReplaceAllString(text, "0xADDRESS"), "${1}PID")
}

// left describes the files that a program has made, and says whether processes live on, which it
// ends.
func (s *side) left(t *testing.T) string {
	var found []string
	filepath.WalkDir(s.cwd, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !s.had(path) && !strings.Contains(path, "__pycache__") &&
			!strings.HasSuffix(path, ".pyc") {
			text, _ := os.ReadFile(path)
			found = append(found, fmt.Sprintf("%s %q", strings.TrimPrefix(path, s.cwd), text))
		}
		return nil
	})
	var pids []int
	for range 40 {
		if pids = marked(s.mark); len(pids) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if len(pids) > 0 {
		found = append(found, "processes")
	}
	return strings.Join(found, "\n")
}

func (s *side) had(path string) bool {
	return slices.ContainsFunc(s.own,
		func(f file) bool { return filepath.Join(s.files, f.name) == path })
}

// marked returns processes that have mark in their environment.
func marked(mark string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range all {
		if env, err := os.ReadFile(name); err == nil && bytes.Contains(env, []byte(mark)) {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = quote(w)
	}
	return strings.Join(all, " ")
}

// A harness has what all comparisons share.
type harness struct {
	lab     *lab.Lab
	mitogen string // the program
	serial  func() int
}

// bySSH is `ssh host python3 prog.py`, in a directory with the files.
func (h *harness) bySSH(t *testing.T, p *program, py testpython.Interp) *side {
	s := &side{mark: h.mark(), own: p.files}
	s.files = filepath.Join(t.TempDir(), "w")
	s.cwd = s.files
	p.write(t, s.files)
	words := append([]string{"env"}, h.environment(p, s)...)
	words = append(append(append(words, py.Path), p.what()...), p.list("args")...)
	s.argv = []string{"ssh", "-F", h.lab.Config, "-o", "BatchMode=yes", "-o",
		"ControlPath=" + h.control(), "root", "cd " + quote(s.files) + " && exec " + quoted(words)}
	s.stdin = plain(p.fields["stdin"])
	return s
}

// byRun is `mitogen run`, from a directory that its target can't see.
func (h *harness) byRun(t *testing.T, p *program, py testpython.Interp) *side {
	s := &side{mark: h.mark()}
	here := t.TempDir()
	s.files, s.cwd = filepath.Join(here, "engine", "w"), filepath.Join(here, "target", "w")
	p.write(t, s.files)
	if err := os.MkdirAll(s.cwd, 0o755); err != nil {
		t.Fatal(err)
	}
	hidden := fmt.Sprintf("mount -t tmpfs none %s && cd %s && exec %s \"$@\"",
		quote(filepath.Dir(s.files)), quote(s.cwd),
		quoted(append(append([]string{"env"}, h.environment(p, s)...), py.Path)))
	python := filepath.Join(here, "python")
	if err := os.WriteFile(python,
		[]byte("#!/bin/sh\nexec unshare -m sh -c "+quote(hidden)+" sh \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.argv = []string{h.mitogen, "run", "-t", "chroot:/", "--python", python}
	s.env = []string{"HOME=/root", "LOGNAME=root", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"SHELL=/bin/sh", "USER=root"}
	if _, ok := p.fields["keep"]; ok {
		s.argv = append(s.argv, "--keep")
	}
	what := p.what()
	s.argv = append(append(s.argv, what...), args(len(what) > 1, p.list("args"))...)
	s.stdin = plain(p.fields["stdin"])
	return s
}

// args puts -- before arguments where mitogen needs it.
func args(option bool, args []string) []string {
	if option && len(args) > 0 {
		return append([]string{"--"}, args...)
	}
	return args
}

// control is the socket of an ssh whose connection further ssh processes use.
func (h *harness) control() string { return filepath.Join(filepath.Dir(h.mitogen), "ssh") }

// connect starts that ssh.
func (h *harness) connect(t *testing.T) {
	master := exec.Command("ssh", "-F", h.lab.Config, "-o", "BatchMode=yes", "-M", "-N", "-o",
		"ControlPath="+h.control(), "root")
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Process.Kill(); master.Wait() })
	for range 500 {
		if _, err := os.Stat(h.control()); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("ssh doesn't connect")
}

func (h *harness) mark() string {
	return fmt.Sprintf("MITO_PARITY=%d.%d.", os.Getpid(), h.serial())
}

func (h *harness) environment(p *program, s *side) []string {
	return append([]string{s.mark}, p.list("env")...)
}

// differences returns where two outcomes differ, and how.
func (p *program) differences(ssh, run outcome) (found []string) {
	known, _, _ := strings.Cut(p.fields["differs"], " ")
	for _, f := range outcomeFields {
		same := ssh[f] == run[f]
		if !same && f != known {
			found = append(found, fmt.Sprintf("%s: by ssh\n\t%.3000q\nby run\n\t%.3000q", f, ssh[f], run[f]))
		}
	}
	return found
}

func newHarness(t *testing.T) *harness {
	h := &harness{lab: lab.Need(t), mitogen: filepath.Join(t.TempDir(), "mitogen")}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount namespaces here: %s", out)
	}
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", h.mitogen,
		"../../cmd/mitogen").CombinedOutput(); err != nil {
		t.Fatalf("build mitogen: %v; output: %s", err, out)
	}
	h.connect(t)
	var mu sync.Mutex
	n := 0
	h.serial = func() int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n
	}
	return h
}

// A trial is a program on an interpreter.
type trial struct {
	p  *program
	py testpython.Interp
}

// trials are all that fit, those that match -parity.only, or a sample.
func trials(t *testing.T) (chosen []trial) {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	all := programs(t)
	for _, py := range testpython.Find() {
		for i := range all {
			if all[i].fits(py) && pattern.MatchString(py.Name()+"/"+all[i].name) {
				chosen = append(chosen, trial{&all[i], py})
			}
		}
	}
	if os.Getenv(allVar) == "" && *only == "" {
		t.Logf("seed %d", *seed)
		rnd := rand.New(rand.NewPCG(*seed, 0))
		rnd.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:min(sample, len(chosen))]
	}
	return chosen
}

func TestRunIsARun(t *testing.T) {
	h := newHarness(t)
	slots := make(chan struct{}, 3)
	t.Run("programs", func(t *testing.T) {
		for _, x := range trials(t) {
			t.Run(x.py.Name()+"/"+strings.ReplaceAll(x.p.name, " ", "-"), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				ssh, run := h.bySSH(t, x.p, x.py).run(t), h.byRun(t, x.p, x.py).run(t)
				for _, d := range x.p.differences(ssh, run) {
					t.Error(d)
				}
			})
		}
	})
}

// Each difference that is known is told.
func TestDifferencesAreTold(t *testing.T) {
	text, err := os.ReadFile("../../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range programs(t) {
		if names[p.name] {
			t.Errorf("two programs are called %q", p.name)
		}
		names[p.name] = true
		differs, ok := p.fields["differs"]
		if !ok {
			continue
		}
		field, key, _ := strings.Cut(differs, " ")
		if !slices.Contains(outcomeFields, field) || !bytes.Contains(text, []byte("(`"+key+"`)")) {
			t.Errorf("%s: docs/differences.md has no (`%s`)", p.name, key)
		}
	}
	if len(names) < 200 {
		t.Errorf("got %d programs", len(names))
	}
}
