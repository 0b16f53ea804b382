package confine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// need skips a test where the kernel has no Landlock.
func need(t *testing.T) State {
	t.Helper()
	s := Look()
	if s.Landlock == 0 {
		t.Skip(s.Missing)
	}
	return s
}

// write makes files below a new directory.
func write(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A Room reads below its places, whichever name leads there, and does nothing else.
func TestRoom(t *testing.T) {
	s := need(t)
	dir := write(t, "in/a/file", "out/file", "single", "other")
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, to := range map[string]string{"in/out": at("out"), "in/up": "../out/file",
		"in/same": "a/file", "to-in": at("in")} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(at("out"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	open := func(name string) func() error {
		return func() error {
			f, err := os.Open(name)
			f.Close()
			return err
		}
	}
	r := newRoom(t, at("in"), at("single"))
	for name, c := range map[string]struct {
		do      func() error
		allowed bool
	}{
		"below":             {open(at("in/a/file")), true},
		"a directory":       {func() error { _, err := os.ReadDir(at("in/a")); return err }, true},
		"a file":            {open(at("single")), true},
		"a link below":      {open(at("in/same")), true},
		"a link to it":      {open(at("to-in/a/file")), true},
		"beside":            {open(at("out/file")), false},
		"beside the file":   {open(at("other")), false},
		"a link out":        {open(at("in/out/file")), false},
		"a relative one":    {open(at("in/up")), false},
		"up":                {open(at("in/../out/file")), false},
		"passwords":         {open("/etc/shadow"), false},
		"another process":   {open("/proc/1/environ"), false},
		"this process":      {open("/proc/self/mem"), false},
		"an open directory": {func() error { _, err := root.Open("file"); return err }, false},
		"a list elsewhere":  {func() error { _, err := os.ReadDir(at("out")); return err }, false},
		"writing":           {func() error { return os.WriteFile(at("in/a/file"), nil, 0o600) }, false},
		"a new file":        {func() error { return os.WriteFile(at("in/new"), nil, 0o600) }, false},
		"a new directory":   {func() error { return os.Mkdir(at("in/new"), 0o700) }, false},
		"a link":            {func() error { return os.Symlink("x", at("in/new")) }, false},
		"removing":          {func() error { return os.Remove(at("in/a/file")) }, false},
		"renaming":          {func() error { return os.Rename(at("in/a/file"), at("in/b")) }, false},
		"truncating":        {func() error { return os.Truncate(at("in/a/file"), 0) }, s.Landlock < 3},
		"a program":         {func() error { return exec.Command("/bin/true").Run() }, false},
		"mode":              {func() error { return os.Chmod(at("in/a/file"), 0o777) }, !s.Seccomp},
		"owner":             {func() error { return os.Chown(at("in/a/file"), 0, 0) }, !s.Seccomp},
		"times": {func() error {
			return syscall.UtimesNano(at("in/a/file"), make([]syscall.Timespec, 2))
		}, !s.Seccomp},
		"a connection": {func() error { _, err := net.Dial("udp", "127.0.0.1:9"); return err },
			!s.Seccomp},
		"a file system": {func() error { return syscall.Mount("none", at("in/a"), "tmpfs", 0, "") },
			false},
		"this process's pid": {func() error { return syscall.PtraceAttach(os.Getppid()) }, false},
	} {
		var err error
		if failed := r.Do(func() { err = c.do() }); failed != nil {
			t.Fatal(failed)
		}
		switch {
		case c.allowed && err != nil:
			t.Errorf("%s: got %v, want it allowed", name, err)
		case !c.allowed && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EXDEV):
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	if b, err := os.ReadFile(at("in/a/file")); err != nil || string(b) != "in/a/file" {
		t.Errorf("afterwards the file holds %q, %v, want it as it was", b, err)
	}
}

// The restrictions of a Room stay on its thread. All other threads start programs that may gain
// rights, and write, while and after it works.
func TestRoomIsAlone(t *testing.T) {
	need(t)
	dir := write(t, "file")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			r, err := NewRoom(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for j := range 10 {
				if err := r.Do(func() {
					b, err := os.ReadFile(filepath.Join(dir, "file"))
					if err != nil || len(b) == 0 {
						t.Errorf("in the room: %v", err)
					}
					for range 4 {
						go runtime.Gosched() // which may start threads
					}
				}); err != nil {
					t.Error(err)
				}
				out, err := exec.Command("/bin/cat", "/proc/self/status").Output()
				if err != nil || !strings.Contains(string(out), "NoNewPrivs:\t0") ||
					!strings.Contains(string(out), "Seccomp:\t0") {
					t.Errorf("a program that was started outside of the room is restricted: %v\n%s", err, out)
					return
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("new", i, j)), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// A Room for what isn't there is an error, not no restriction; a closed one calls nothing.
func TestRoomRefuses(t *testing.T) {
	need(t)
	called := false
	if _, err := NewRoom(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a place that is missing: got %v, want an error that says so", err)
	}
	for _, used := range []bool{false, true} {
		r := newRoom(t, t.TempDir())
		if used {
			if err := r.Do(func() {}); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		r.Close()
		if err := r.Do(func() { called = true }); !errors.Is(err, ErrClosed) || called {
			t.Errorf("closed, used before: %v: got %v, called %v, want ErrClosed and no call", used, err,
				called)
		}
	}
}

// newRoom makes a Room that is closed with the test.
func newRoom(t *testing.T, places ...string) *Room {
	t.Helper()
	r, err := NewRoom(places...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// asProcess has the test binary restrict itself, and try.
const asProcess = "MITOGEN_TEST_NOTHING"

func TestMain(m *testing.M) {
	switch os.Getenv(asProcess) {
	case "":
		os.Exit(m.Run())
	case "without":
		without()
	default:
		giveUp()
	}
	os.Exit(0)
}

// without has the kernel refuse Landlock, and looks what is left.
func without() {
	refused = []uint32{unix.SYS_LANDLOCK_CREATE_RULESET}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
	}
	if err := filter(unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
		fmt.Println(err)
	}
	called := false
	r, err := NewRoom("/no/such/place")
	if err == nil {
		err = r.Do(func() { called = true })
	}
	unused, _ := NewRoom("/no/such/place")
	unused.Close()
	_, stdin := os.Stdin.Stat() // no other file was closed
	fmt.Println(Look().Landlock, Look().Missing != "", err, called, stdin)
}

// A kernel that has no Landlock is no reason not to work.
func TestWithout(t *testing.T) {
	if s := need(t); !s.Seccomp {
		t.Skip(s.Missing)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProcess+"=without")
	out, err := cmd.CombinedOutput()
	if want := "0 true <nil> true <nil>\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// giveUp has this process restrict itself, and tries what is left.
func giveUp() {
	kept, err := os.Open(os.Args[0])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("nothing:", Nothing())
	var tried sync.WaitGroup
	for range 8 { // on several threads
		tried.Go(func() {
			runtime.LockOSThread()
			_, opened := os.Open("/etc/passwd")
			_, dialled := net.Dial("unix", "/no/such/socket")
			started := exec.Command("/bin/true").Run()
			_, read := kept.Read(make([]byte, 10))
			fmt.Println(errors.Is(opened, os.ErrPermission), errors.Is(dialled, os.ErrPermission),
				errors.Is(started, os.ErrPermission), read)
		})
	}
	tried.Wait()
}

// A process that has given everything up keeps what is open.
func TestNothing(t *testing.T) {
	s := need(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProcess+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run the confined process: %v; output:\n%s", err, out)
	}
	first, rest, _ := strings.Cut(string(out), "\n")
	if strings.Contains(first, "operation not supported") {
		t.Skip("a program with C can't restrict all of its threads: " + first)
	}
	want := strings.Repeat(fmt.Sprintln(true, s.Seccomp, true, nil), 8)
	if first != "nothing: <nil>" || rest != want {
		t.Errorf("got\n%s\nwant\nnothing: <nil>\n%s", out, want)
	}
}

// The filter is for this machine, and can be loaded.
func TestProgram(t *testing.T) {
	p := program()
	if n := 7 + 2*len(refused); len(p) != n || n > 4096 {
		t.Errorf("got %d instructions, want %d", len(p), n)
	}
	seen := map[uint32]bool{}
	for _, n := range refused {
		if seen[n] || n >= x32 {
			t.Errorf("system call %d is listed twice, or is none", n)
		}
		seen[n] = true
	}
	if goarch := runtime.GOARCH; (goarch == "amd64" || goarch == "arm64") != (machine != 0) {
		t.Errorf("machine of %s: got %#x", goarch, machine)
	}
}
