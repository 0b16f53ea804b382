package hostile_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	api "github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/report"
)

// greedy asks the engine by itself, as an interpreter that is compromised may.
const greedy = `
import os, sys, zlib
import pkg
import _mitogen as core
HERE = os.path.dirname(pkg.__file__)

def all_answered(questions):
    files = sys.modules['_mitogen_files']
    got = [files.ask(*q) for q in questions]
    core.wait(lambda: not [g for g in got if not g])
    return [g[0] for g in got]

def ask(questions):
    result = []
    for kind, data in all_answered(questions):
        if kind == core.DATA and data[:1] == b'x':
            data = zlib.decompress(data)
        result.append([kind == core.DATA, data.decode('utf-8', 'replace')])
    return result

def often(n):
    for i in range(n // 500):
        all_answered([('l', 'pkg', '')] * 500)
    return n

def flood(n):
    files = sys.modules['_mitogen_files']
    for i in range(n):
        files.ask('l', 'pkg', '')

def read(name):
    try:
        f = open(HERE + '/' + name)
        try:
            return f.read()
        finally:
            f.close()
    except EnvironmentError:
        return type(sys.exc_info()[1]).__name__

def huge():
    try:
        open(HERE + '/huge.bin', 'rb')
    except EnvironmentError:
        return [os.path.getsize(HERE + '/huge.bin'), str(sys.exc_info()[1])]
`

// site returns a directory of installed packages, of which only pkg is sent.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret.txt": treasure, "site/pkg/__init__.py": "", "site/pkg/data.txt": "data",
		"site/pkg/sub/__init__.py": "", "site/pkg/sub/more.txt": "more", "site/pkg/.hidden": treasure,
		"site/other/__init__.py": "", "site/other/data.txt": treasure, "site/bare/data.txt": treasure,
		"site/beside.txt": treasure, "site/other-1.dist-info/METADATA": treasure,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pkg := filepath.Join(dir, "site/pkg")
	for link, to := range map[string]string{"out.txt": "../../secret.txt", "next": "../other",
		"abs.txt": filepath.Join(dir, "secret.txt"), "loop": "loop", "zero": "/dev/zero",
		"up": "../..", "hid.txt": ".hidden", "in.txt": "data.txt"} {
		if err := os.Symlink(to, filepath.Join(pkg, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(pkg, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	device := filepath.Join(pkg, "device") // as /dev/zero
	if err := unix.Mknod(device, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))); err != nil {
		t.Log("no device:", err)
	}
	if err := os.WriteFile(pkg+"/huge.bin", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(pkg+"/huge.bin", 2<<30); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "site")
}

// audited collects the events of an engine.
type audited struct {
	mu  sync.Mutex // protects following
	all []report.Event
}

func (a *audited) add(ev report.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, ev)
	return nil
}

// forget drops the test's own memory of what it was told.
func (a *audited) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = nil
}

// refused returns the names of the files that were refused.
func (a *audited) refused() (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ev := range a.all {
		if ev.Kind == "file" && ev.Refused {
			names = append(names, ev.Name)
		}
	}
	return names
}

// greedyContext connects an interpreter that was sent pkg.
func greedyContext(t *testing.T, site string) (*api.Engine, *api.Context, *audited) {
	t.Helper()
	var told audited
	text := []byte(pylink.Translate(boot.Table(), greedy))
	own := fstest.MapFS{"greedy.py": {Data: text}, "own.txt": {Data: []byte(treasure)}}
	e, err := api.New(api.Options{Path: []fs.FS{own}, Packages: []fs.FS{os.DirFS(site)},
		Audit: told.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, local(t, e), &told
}

func local(t *testing.T, e *api.Engine) *api.Context {
	t.Helper()
	c, err := e.Connect(t.Context(), "local", api.ConnectOptions{Options: connect.Options{
		Python: []string{"/usr/bin/python3"}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What isn't of a package that was sent, or isn't a file of it, is refused, counted, and named in
// the audit log.
func TestFilesOfOtherPackages(t *testing.T) {
	_, c, told := greedyContext(t, site(t))
	questions := [][]string{{"r", "other", "data.txt"}, {"s", "other"}, {"l", "other", ""},
		{"r", "bare", "data.txt"}, {"s", "bare"}, {"r", "", "beside.txt"}, {"r", "", "own.txt"},
		{"s", "nowhere"}, {"t", "other-1.dist-info", "METADATA"}}
	for _, name := range []string{"../other/data.txt", "../../secret.txt", "sub/../../other/data.txt",
		"..", ".", "/etc/passwd", ".hidden", "out.txt", "abs.txt", "loop", "zero", "fifo", "device",
		"next/data.txt", "up/secret.txt", "hid.txt", "data.txt/x", "sub", "huge.bin",
		"data.txt\x00", "\u2024hidden"} {
		questions = append(questions, []string{"r", "pkg", name})
	}
	for _, name := range []string{"..", "../other", "next", "up", "/", "sub/../..", "data.txt"} {
		questions = append(questions, []string{"l", "pkg", name})
	}
	for _, name := range []string{"..", "pkg/..", "/etc", "pkg.next", "pkg.up"} {
		questions = append(questions, []string{"s", name})
	}
	got, err := api.Call[[][]any](t.Context(), c, "greedy:ask", questions)
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range got {
		if answer[0] != false {
			t.Errorf("%q was answered with %q", questions[i], answer[1])
		}
	}
	names := told.refused()
	if n := c.Stats().Files; int(n) != len(questions) || len(names) != len(questions) {
		t.Errorf("%d questions were counted and %d refusals told, want %d", n, len(names), len(questions))
	}
	for i, name := range names {
		if words := questions[i]; !strings.Contains(name, strings.Trim(words[1], "\x00")) {
			t.Errorf("refusal %d is called %q, want the name in %q", i, name, words)
		}
	}
	outline, err := api.Call[[][]any](t.Context(), c, "greedy:ask",
		[][]string{{"s", "pkg"}, {"l", "pkg", ""}, {"r", "pkg", "in.txt"}})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(outline)
	for _, name := range []string{"out.txt", "abs.txt", "loop", "zero", "fifo", "device", "next", "up",
		"hid",
		treasure} {
		if strings.Contains(text, name) {
			t.Errorf("%q is in what is given of the package: %q", name, text)
		}
	}
	if !strings.Contains(text, "sub") || !strings.Contains(text, "data") {
		t.Errorf("got %q of the package, want its files", text)
	}
}

// A file larger than what is sent is refused by its size, before anything of it is read.
func TestHugeFile(t *testing.T) {
	_, c, _ := greedyContext(t, site(t))
	got, err := api.Call[[]any](t.Context(), c, "greedy:huge")
	if err != nil || len(got) != 2 || fmt.Sprint(got[0]) != fmt.Sprint(2<<30) ||
		!strings.Contains(fmt.Sprint(got[1]), "2147483648 bytes") {
		t.Errorf("got %v, %v, want the size, and an error that names it", got, err)
	}
}

// live returns the size of all objects that are in use, in bytes.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what has a finalizer goes in the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Listings without number cost the engine no memory and hold up no other context; more questions at
// once than an engine keeps end their context.
func TestManyListings(t *testing.T) {
	n := hostile.Rounds(2000, 20000)
	e, c, told := greedyContext(t, site(t))
	other := local(t, e)
	if _, err := api.Call[int](t.Context(), c, "greedy:often", 500); err != nil {
		t.Fatal(err)
	}
	before := live()
	asking := make(chan error, 1)
	go func() {
		_, err := api.Call[int](t.Context(), c, "greedy:often", n)
		asking <- err
	}()
	for done := false; !done; {
		if _, err := api.Call[int](t.Context(), other, "os:getpid"); err != nil {
			t.Fatal("another context:", err)
		}
		select {
		case err := <-asking:
			if done = true; err != nil {
				t.Error("patient questions:", err)
			}
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got := int(c.Stats().Files); got != n+500 {
		t.Errorf("%d questions were counted, want %d", got, n+500)
	}
	told.forget()
	if grown := live() - before; grown > 512<<10 {
		t.Errorf("%d listings: the engine has %d bytes more, want at most %d", n, grown, 512<<10)
	}
	_, err := api.Call[any](t.Context(), c, "greedy:flood", 200000)
	if err == nil || c.Err() == nil {
		t.Errorf("a flood of questions ended with %v, and its context has %v, want an end", err, c.Err())
	}
	if _, err := api.Call[int](t.Context(), other, "os:getpid"); err != nil {
		t.Error("another context after a flood:", err)
	}
}

// A package that changes while a program runs gives what is there now, or an error, and never what
// its files have become links to.
func TestPackageChanges(t *testing.T) {
	dir := site(t)
	_, c, _ := greedyContext(t, dir)
	reads := func(want string) {
		t.Helper()
		got, err := api.Call[string](t.Context(), c, "greedy:read", "sub/more.txt")
		if err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	file := filepath.Join(dir, "pkg/sub/more.txt")
	put := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	exchange := func(to string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := api.Call[string](t.Context(), c, "greedy:read", "data.txt"); err != nil {
		t.Fatal(err)
	}
	exchange("../../../secret.txt") // after its name is known, before it was read
	reads("FileNotFoundError")
	exchange("../../other/data.txt")
	reads("FileNotFoundError")
	exchange("/dev/zero")
	reads("FileNotFoundError")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	put("grown by far")
	reads("grown by far")
	if err := os.RemoveAll(filepath.Join(dir, "pkg")); err != nil {
		t.Fatal(err)
	}
	got, err := api.Call[string](t.Context(), c, "greedy:read", "huge.bin")
	if err != nil || got == "" || strings.Contains(got, treasure) {
		t.Errorf("of a package that is gone: got %q, %v", got, err)
	}
}
