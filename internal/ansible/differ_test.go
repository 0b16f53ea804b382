package ansible_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// small is a playbook of testdata/differ.
type small struct {
	name, tasks string
	options     map[string]string
}

// smallBooks reads testdata/differ.
func smallBooks(t *testing.T) []small {
	t.Helper()
	files, err := filepath.Glob("testdata/differ/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []small
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
			head, tasks, _ := strings.Cut(part, "\n")
			name, options, _ := strings.Cut(head, " | ")
			s := small{strings.TrimSpace(name), tasks, map[string]string{}}
			for _, o := range strings.Fields(options) {
				key, value, _ := strings.Cut(o, "=")
				s.options[key] = value
			}
			all = append(all, s)
		}
	}
	return all
}

// write makes a playbook of it in dir, and returns its name and the program's arguments.
func (b small) write(t *testing.T, dir string) (book string, args []string) {
	t.Helper()
	cases, err := filepath.Abs("testdata/cases")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"files", "templates"} {
		os.Symlink(filepath.Join(cases, name), filepath.Join(dir, name)) // it may be there
	}
	_, become := b.options["become"]
	_, facts := b.options["facts"]
	text := fmt.Sprintf("- hosts: all\n  gather_facts: %t\n  become: %t\n  ignore_errors: true\n  "+
		"ignore_unreachable: true\n", facts, become)
	if free := b.options["free"]; free != "" {
		text += "  strategy: " + free + "\n"
	}
	tasks, handlers, _ := strings.Cut(b.tasks, "\n-- handlers\n")
	begins := regexp.MustCompile(`(?m)^(.)`)
	text += "  tasks:\n" + begins.ReplaceAllString(tasks, "    $1")
	if handlers != "" {
		text += "\n  handlers:\n" + begins.ReplaceAllString(handlers, "    $1")
	}
	book = filepath.Join(dir, "book.yml")
	if err := os.WriteFile(book, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args = []string{"-e", "ansible_python_interpreter=/usr/bin/python3"}
	for _, flag := range []string{"check", "diff"} {
		if _, ok := b.options[flag]; ok {
			args = append(args, "--"+flag)
		}
	}
	return book, args
}

// playSmall runs a playbook of testdata/differ, and returns its results and what is left on the
// host.
func (s *stage) playSmall(b small, plugin string) ([]result, map[string]string) {
	s.t.Helper()
	book, args := b.write(s.t, s.dir)
	s.clear()
	var all []result
	if _, ok := b.options["kill"]; ok {
		s.killed(plugin, book, args)
	} else {
		all, s.printed = s.play(plugin, book, lab.Play, args...)
	}
	return all, s.left()
}

// killed runs a playbook and kills all of it, as the end of a terminal's session does, once its
// task has begun on the host.
func (s *stage) killed(plugin, book string, args []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := s.command(ctx, plugin, book, lab.Play, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for begun := s.target + "-begun"; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(begun); err == nil {
			break
		}
	}
	if ctx.Err() != nil {
		s.t.Errorf("%s: its task didn't begin", book)
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	cmd.Wait()
}

// clear removes what playbooks make.
func (s *stage) clear() {
	names, _ := filepath.Glob(s.target + "*")
	for _, name := range names {
		os.RemoveAll(name)
	}
}

// backedUp is the end of the name of what a module keeps before it writes: a process and a time.
var backedUp = regexp.MustCompile(`\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~`)

// left returns the files on the host, with owner, mode and contents, once all processes of the
// playbook have ended there; and processes that haven't ended in time.
func (s *stage) left() map[string]string {
	s.t.Helper()
	var still []string
	for range 1500 {
		if still = s.running(); len(still) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	all := map[string]string{}
	for _, line := range still {
		all["process "+line] = "runs"
	}
	names, _ := filepath.Glob(s.target + "*")
	more, _ := filepath.Glob("/tmp/mitogen-differ-*")
	home, _ := filepath.Glob(filepath.Join(homeOf(s.t), ".ansible/tmp/*"))
	for _, name := range slices.Concat(names, more, home) {
		filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				name := backedUp.ReplaceAllString(strings.ReplaceAll(path, s.target, "D"), ".BACKUP~")
				all[normal(name).(string)] = describe(path)
			}
			return nil
		})
	}
	return all
}

// running are processes of the host that a playbook has started and that name its directory.
func (s *stage) running() []string {
	var all []string
	for _, line := range processes(s.target) {
		if !strings.Contains(line, "ansible-playbook") {
			all = append(all, line)
		}
	}
	return all
}

// homeOf is the home directory of the user Play.
func homeOf(t *testing.T) string {
	t.Helper()
	u, err := user.Lookup(lab.Play)
	if err != nil {
		t.Fatal(err)
	}
	return u.HomeDir
}

// dated are names of modules as Ansible packs them, with the time of day
// in them, and of a size that varies with it.
var dated = regexp.MustCompile(`^(AnsiballZ_.*|async_wrapper)\.py$`)

// describe says what a file is.
func describe(path string) string {
	st, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	sys := st.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v of %d:%d", st.Mode(), sys.Uid, sys.Gid)
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		to, _ := os.Readlink(path)
		text += " to " + to
	case dated.MatchString(filepath.Base(path)):
		text += fmt.Sprintf(", empty: %t", st.Size() == 0)
	case st.Mode().IsRegular():
		b, _ := os.ReadFile(path)
		text += fmt.Sprintf(", %d bytes, %x", len(b), sha256.Sum256(b))
	}
	return text
}

// passingFacts are facts that differ from one moment to the next, or in an order that sets of
// Python have.
var passingFacts = regexp.MustCompile(`loadavg|mem|swap|mounts|uptime|interfaces|` +
	`virtualization_tech|date_time|env|local_time|entropy|all_ipv|proc_cmdline`)

// steadyFacts is v without passing facts.
func steadyFacts(v map[string]any) map[string]any {
	facts, ok := v["ansible_facts"].(map[string]any)
	if !ok {
		return v
	}
	v = maps.Clone(v)
	steady := map[string]any{}
	for name, value := range facts {
		if !passingFacts.MatchString(name) {
			steady[name] = value
		}
	}
	v["ansible_facts"] = steady
	return v
}

// differSmall compares what the two plugins make of a playbook, task by task, and what is left.
func (s *stage) differSmall(b small) {
	s.t.Helper()
	want, leftWant := s.playSmall(b, "ssh")
	sshPrinted := s.printed
	got, leftGot := s.playSmall(b, "mitogen")
	if len(want) != len(got) {
		s.t.Errorf("results: got %d, want %d. ssh:\n%s\nmitogen:\n%s", len(got), len(want),
			last(sshPrinted), last(s.printed))
	}
	for i := range min(len(want), len(got)) {
		where := fmt.Sprintf("%d %s", i+1, want[i].Task)
		if got[i].Task != want[i].Task || got[i].What != want[i].What {
			s.t.Errorf("%s: got %s %s %v, want %s %v", where, got[i].Task, got[i].What, got[i].Value,
				want[i].What, want[i].Value)
			continue
		}
		s.differ(where, normal(steadyFacts(got[i].Value)), normal(steadyFacts(want[i].Value)))
	}
	for name, text := range leftWant {
		if leftGot[name] != text {
			s.t.Errorf("left: %s: got %q, want %q", name, leftGot[name], text)
		}
	}
	for name, text := range leftGot {
		if leftWant[name] == "" {
			s.t.Errorf("left: %s: got %q, want nothing", name, text)
		}
	}
}

// Small playbooks end with our plugin as with Ansible's own, on the host too: some that are drawn,
// and all in `make test-ansible-diff`, where MITOGEN_DIFFER is a regular expression for their
// names.
func TestSmallPlaybooks(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	books := smallBooks(t)
	if len(books) < 120 {
		t.Errorf("playbooks: got %d, want at least 120", len(books))
	}
	chosen := os.Getenv("MITOGEN_DIFFER")
	if chosen == "" {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(books), func(i, j int) { books[i], books[j] = books[j], books[i] })
		books = books[:2]
	}
	want := regexp.MustCompile(chosen)
	for _, playbook := range playbooks(t) {
		t.Run(release(t, playbook), func(t *testing.T) {
			s := newStage(t, playbook)
			defer s.clear()
			for _, b := range books {
				if want.MatchString(b.name) {
					t.Run(b.name, func(t *testing.T) {
						s.t = t
						s.differSmall(b)
					})
				}
			}
		})
	}
}
