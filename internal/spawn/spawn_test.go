package spawn

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// TestMain sees to it that the tests leave no goroutine, fd or child.
func TestMain(m *testing.M) {
	if os.Getenv(ignoredVar) != "" {
		showIgnored()
		return
	}
	forkNothing()
	before := census()
	code := lab.Main(m)
	if code == 0 && !fuzzing() {
		code = leaks(before)
	}
	os.Exit(code)
}

// fuzzing says whether this process fuzzes, or has other processes do that, whose pipes are no
// leaks.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}

// forkNothing starts what stays: the thread that forks, the poller. Fds that we were started with
// aren't ours to judge.
func forkNothing() {
	for fd := 3; fd < 1024; fd++ {
		syscall.CloseOnExec(fd)
	}
	p, err := Start(context.Background(), methods.Plan{Argv: []string{"true"}}, Options{})
	if err != nil {
		panic(err)
	}
	p.Close()
}

type counts struct{ goroutines, fds, children int }

func census() counts {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	var children []byte
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		children = append(children, b...)
	}
	return counts{runtime.NumGoroutine(), len(fds), len(bytes.Fields(children))}
}

func leaks(before counts) int {
	for range 100 { // goroutines that have said that they are done may not be quite
		if now := census(); now.goroutines <= before.goroutines && now.fds <= before.fds &&
			now.children <= before.children {
			return 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "left behind: before %+v, after %+v\n", before, census())
	buf := make([]byte, 1<<16)
	os.Stderr.Write(buf[:runtime.Stack(buf, true)])
	return 1
}

func sh(script string) methods.Plan {
	return methods.Plan{Name: "local", Method: "local", Argv: []string{"sh", "-c", script}}
}

func run(t *testing.T, plan methods.Plan, opt Options) *Process {
	t.Helper()
	p, err := Start(t.Context(), plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestPipes(t *testing.T) {
	p := run(t, sh("cat; echo done >&2; exit 3"), Options{})
	io.WriteString(p.Stdin, "hello")
	p.Stdin.Close()
	if got := readAll(t, p.Stdout); got != "hello" {
		t.Errorf("stdout %q", got)
	}
	if p.Wait() != 3 || p.Text() != "done\n" {
		t.Errorf("status %d, text %q", p.Status(), p.Text())
	}
	if f := p.Failure(); f != (methods.Failure{What: methods.WhatExit, Status: 3, Text: "done\n"}) {
		t.Errorf("failure %+v", f)
	}
}

// The child must have fds 0 to 2 and no other fds, blocking, in a session of its own.
func TestChildSees(t *testing.T) {
	const script = `
import fcntl, os, stat
fds = [fd for fd in map(int, os.listdir('/proc/self/fd'))
       if os.path.exists('/proc/self/fd/%d' % fd)]
modes = [os.fstat(fd).st_mode for fd in (0, 1, 2)]
print(fds, [m and stat.S_IFMT(m) for m in modes] == [stat.S_IFIFO, stat.S_IFIFO, stat.S_IFSOCK],
      [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in (0, 1, 2)],
      os.getsid(0) == os.getpid() == os.getpgid(0), os.environ['A'], os.environ['PATH'] != '')
`
	p := run(t, methods.Plan{Argv: []string{"python3", "-c", script}, Env: []string{"A=1", "A=2"}},
		Options{})
	if got := readAll(t, p.Stdout); got != "[0, 1, 2] True [0, 0, 0] True 2 True\n" {
		t.Errorf("the child's surroundings: got %s%s, want fds 0 to 2, its own session and A=2",
			got, p.Text())
	}
}

func TestTerminal(t *testing.T) {
	plan := sh(`test -t 0 && exit 9; exec 3<&-; stty -echo </dev/tty; printf 'Your PASS' >/dev/tty; ` +
		`sleep 0.05; printf 'word: ' >/dev/tty; read a </dev/tty; echo "[$a]"; tty </dev/tty >&2; ps ` +
		`-o tpgid=,pgid= -p $$`)
	plan.TTY = true
	plan.Prompts = []methods.Prompt{{Needle: []byte("password:"), Answer: []byte("sesame")}}
	p := run(t, plan, Options{asking: always})
	out := strings.Fields(readAll(t, p.Stdout))
	if len(out) != 3 || out[0] != "[sesame]" || out[1] != out[2] {
		t.Errorf("stdout %q", out)
	}
	if p.Wait() != 0 || !strings.HasPrefix(p.Text(), "Your PASSword: /dev/") ||
		strings.Contains(p.Text(), "sesame") {
		t.Errorf("status %d, text %q", p.Status(), p.Text())
	}
}

// always is for programs of tests, which are not setuid.
func always() asking { return asks }

func TestTerminalAsStdin(t *testing.T) {
	plan := sh(`stty raw; printf MITO-EC0; head -c 3`)
	plan.TTY, plan.Wait = true, true
	p := run(t, plan, Options{})
	buf := make([]byte, 8)
	if _, err := io.ReadFull(p.Stdout, buf); err != nil || string(buf) != "MITO-EC0" {
		t.Fatalf("first output: got %q, %v, text %q; want MITO-EC0", buf, err, p.Text())
	}
	io.WriteString(p.Stdin, "\x00\x03\x04")
	if got := readAll(t, p.Stdout); got != "\x00\x03\x04" {
		t.Errorf("control characters through the terminal: got %q, want them as sent", got)
	}
}

func TestDialogueFailures(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		answer       []byte
		want         string
	}{
		{"repeated", `printf 'password: ' >/dev/tty; read a </dev/tty; printf 'password: ' >/dev/tty; ` +
			`sleep 60`, []byte("pw"), methods.WhatRepeated},
		{"unanswered", `printf 'password: ' >/dev/tty; sleep 60`, nil, methods.WhatUnanswered},
		{"gives up", `printf 'password: ' >/dev/tty; read a </dev/tty; echo no >&2; exit 1`, []byte("pw"),
			methods.WhatExit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := sh(tt.script)
			plan.TTY = true
			plan.Prompts = []methods.Prompt{{Needle: []byte("password:"), Answer: tt.answer}}
			p := run(t, plan, Options{asking: always})
			<-p.Done()
			if f := p.Failure(); f.What != tt.want || !strings.Contains(f.Text, "password: ") {
				t.Errorf("failure: got %+v, want %v after the question", f, tt.want)
			}
		})
	}
}

func TestExecFailure(t *testing.T) {
	for _, argv := range [][]string{{"/nonexistent/x"}, {"mito-nonexistent"}, {"/"}} {
		p, err := Start(t.Context(), methods.Plan{Name: "h", Method: "ssh", Argv: argv}, Options{})
		var e *connect.Error
		if p != nil || !errors.As(err, &e) || e.Hop != "h" || e.Phase != connect.PhaseStart ||
			e.Text == "" {
			t.Errorf("start %q: got %v, want a connect.Error of hop h at the start", argv, err)
		}
		if argv[0] != "/" && !errors.Is(err, connect.ErrNoCommand) {
			t.Errorf("start %q: got %v, want ErrNoCommand", argv, err)
		}
	}
}

func TestConnectEnds(t *testing.T) {
	t.Run("timeout", func(t *testing.T) {
		plan := sh("echo waiting >&2; exec sleep 60")
		plan.Timeout = 100 * time.Millisecond
		p := run(t, plan, Options{})
		<-p.Done()
		if f := p.Failure(); f.What != methods.WhatTimeout || !errors.Is(p.Err(), connect.ErrTimeout) {
			t.Errorf("timeout: got %+v, %v; want ErrTimeout", f, p.Err())
		}
	})
	t.Run("timeout while a person is asked", func(t *testing.T) {
		plan := sh("exec sleep 60")
		plan.Timeout = time.Millisecond
		asked := 0
		p := run(t, plan, Options{Busy: func() bool { asked++; return asked < 5 }})
		<-p.Done()
		if asked != 5 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := Start(ctx, sh("exec sleep 60"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		cancel()
		<-p.Done()
		if !errors.Is(p.Err(), connect.ErrCancelled) {
			t.Error(p.Err())
		}
		if _, err := Start(ctx, sh("true"), Options{}); !errors.Is(err, connect.ErrCancelled) {
			t.Error(err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		p, err := Start(ctx, sh("exec sleep 60"), Options{})
		if err == nil {
			defer p.Close()
			<-p.Done()
			err = p.Err()
		}
		if !errors.Is(err, connect.ErrTimeout) {
			t.Error(err)
		}
	})
	t.Run("not after Connected", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		plan := sh("read x; exit 4")
		plan.Timeout = time.Hour
		p, err := Start(ctx, plan, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		p.Connected()
		cancel()
		p.Fail(methods.WhatTimeout)
		p.Stdin.Close()
		if p.Wait() != 4 {
			t.Errorf("status %d", p.Status())
		}
	})
}

func TestCancelAtAnyMoment(t *testing.T) {
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*250*time.Microsecond)
		plan := sh("sleep 60 & sleep 60")
		plan.TTY = i%2 == 0
		p, err := Start(ctx, plan, Options{})
		if err == nil {
			<-p.Done()
			err = p.Err()
			if cerr := p.Close(); cerr != nil {
				t.Error(cerr)
			}
		}
		cancel()
		if !errors.Is(err, connect.ErrTimeout) {
			t.Fatal(err)
		}
	}
}

// Whatever state the child is in, Close ends it and all of its group.
func TestCloseLadder(t *testing.T) {
	for name, script := range map[string]string{
		"reads stdin":      "echo; exec cat",
		"ignores stdin":    "echo; exec sleep 60",
		"ignores signals":  "trap '' HUP INT TERM; echo; while :; do sleep 1; done",
		"stopped":          "echo; kill -STOP $$",
		"closed stdout":    "echo; exec >&-; sleep 60",
		"closed all":       "echo; exec <&- >&- 2>&-; sleep 60",
		"with descendants": "sleep 60 & (sleep 60 & sleep 60) & echo; sleep 60",
	} {
		for _, tty := range []bool{false, true} {
			t.Run(fmt.Sprint(name, tty), func(t *testing.T) {
				t.Parallel()
				plan := sh(script)
				plan.TTY = tty
				p := run(t, plan, Options{})
				p.Stdout.Read(make([]byte, 1))
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				if err := syscall.Kill(-p.Pid(), 0); err != syscall.ESRCH {
					for range 100 { // killed, and not yet reaped by their new parent
						if err = syscall.Kill(-p.Pid(), 0); err == syscall.ESRCH {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
					if err != syscall.ESRCH && !onlyZombies(p.Pid()) {
						t.Errorf("group %d lives: %v", p.Pid(), err)
					}
				}
			})
		}
	}
}

// onlyZombies: if process 1 doesn't reap, the killed stay visible.
func onlyZombies(pgid int) bool {
	out, _ := exec.Command("ps", "-eo", "pgid=,state=").Output()
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if f[0] == fmt.Sprint(pgid) && f[1] != "Z" {
			return false
		}
	}
	return true
}

func TestWriterAndReaderAreWoken(t *testing.T) {
	p := run(t, sh("exec sleep 60"), Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := p.Stdin.Write(make([]byte, 1<<20)); err == nil {
			t.Error("1 MiB written to a child that doesn't read")
		}
	})
	wg.Go(func() {
		if n, err := p.Stdout.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("read from a child that doesn't write")
		}
	})
	if err := p.Stdout.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	p.Close()
	wg.Wait()
}

// A descendant that has left the group and holds stderr, stdout and terminal must not keep us
// waiting, nor lose us text.
func TestEscapedDescendant(t *testing.T) {
	plan := sh("setsid sh -c 'echo $$; exec sleep 60' </dev/tty & sleep 0.2; echo last >/dev/tty; " +
		"echo words >&2")
	plan.TTY = true
	p := run(t, plan, Options{Background: true})
	var pid int
	if _, err := fmt.Fscan(p.Stdout, &pid); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	p.Wait()
	if text := p.Text(); !strings.Contains(text, "last") || !strings.Contains(text, "words") {
		t.Errorf("text: got %q, want the last words", text)
	}
}

func TestBackground(t *testing.T) {
	for _, background := range []bool{true, false} {
		p := run(t, sh("sleep 60 >/dev/null 2>&1 & echo $!"), Options{Background: background})
		var pid int
		if _, err := fmt.Fscan(p.Stdout, &pid); err != nil {
			t.Fatal(err)
		}
		p.Wait()
		lives := alive(pid)
		for range 100 {
			if lives == background {
				break
			}
			time.Sleep(10 * time.Millisecond)
			lives = alive(pid)
		}
		if lives != background {
			t.Errorf("background %v: lives %v", background, lives)
		}
		if background {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestLines(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	plan := sh(`echo before >&2; echo; read x; printf 'a\033[m\nb' >&2; printf 'c\r\n%05000d\nend' ` +
		`7 >&2; exec sleep 60 2>/dev/null`)
	p := run(t, plan, Options{Line: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, s)
	}})
	p.Stdout.Read(make([]byte, 1))
	for p.Text() != "before\n" {
		time.Sleep(time.Millisecond)
	}
	p.Connected()
	io.WriteString(p.Stdin, "\n")
	p.Close()
	want := []string{`a\x1b[m`, "bc", strings.Repeat("0", methods.TextLimit), "end"}
	if !slices.Equal(lines, want) {
		t.Errorf("lines: got %.100q, want %.100q", lines, want)
	}
}

// The caller's own files and stderr, byte for byte: a command that isn't ours.
func TestPlainCommand(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(in, []byte("input"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	var stderr bytes.Buffer
	p := run(t, sh(`cat; head -c 100000 /dev/zero >&2; exit 5`),
		Options{Stdin: stdin, Stdout: stdout, Stderr: &stderr})
	if p.Stdin != nil || p.Stdout != nil {
		t.Error("pipes besides the caller's files")
	}
	if p.Wait() != 5 || !bytes.Equal(stderr.Bytes(), make([]byte, 100000)) {
		t.Errorf("status %d, %d bytes of stderr", p.Status(), stderr.Len())
	}
	if b, _ := os.ReadFile(out); string(b) != "input" {
		t.Errorf("stdout %q", b)
	}
}

func TestStopped(t *testing.T) {
	p := run(t, sh("echo; exec sleep 60"), Options{})
	p.Stdout.Read(make([]byte, 1))
	if p.Stopped() {
		t.Error("stopped")
	}
	syscall.Kill(p.Pid(), syscall.SIGSTOP)
	for !p.Stopped() {
		time.Sleep(time.Millisecond)
	}
	p.Close()
	if p.Stopped() {
		t.Error("stopped after its end")
	}
	if p.Status() != -9 {
		t.Errorf("status %d", p.Status())
	}
}

func TestNoteAndLongText(t *testing.T) {
	p := run(t, sh("head -c 100000 /dev/zero >&2; echo end >&2"), Options{})
	p.Wait()
	p.Note([]byte("noise"))
	if text := p.Text(); len(text) != methods.TextLimit || !strings.HasSuffix(text, "end\nnoise") {
		t.Errorf("%d bytes, …%q", len(text), text[len(text)-20:])
	}
}

func TestMany(t *testing.T) {
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := Start(t.Context(), sh("cat; echo $$ >&2"), Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			p.Stdin.Close()
			if p.Wait() != 0 || strings.TrimSpace(p.Text()) != fmt.Sprint(p.Pid()) {
				t.Errorf("status %d, text %q", p.Status(), p.Text())
			}
		})
	}
	wg.Wait()
}

// Killing us must kill clients like ssh: the helper is this test binary, which starts a child and
// waits to be killed.
func TestDiesWithUs(t *testing.T) {
	if os.Getenv("MITO_SPAWN_HELPER") != "" {
		plan := sh("trap '' HUP TERM; while :; do sleep 1; done")
		plan.Alone = true
		p, err := Start(context.Background(), plan, Options{})
		if err != nil {
			panic(err)
		}
		fmt.Println("pid", p.Pid())
		select {}
	}
	helper := exec.Command(os.Args[0], "-test.run=^TestDiesWithUs$")
	helper.Env = append(os.Environ(), "MITO_SPAWN_HELPER=1")
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "pid %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	helper.Process.Kill()
	helper.Wait()
	for range 500 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	t.Error("child outlives us")
}
