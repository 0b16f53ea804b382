package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/report"
)

// ways are those in which a command is executed: in a context, and without Python.
var ways = map[string][]string{
	"context":   nil,
	"no Python": {"no-such-python", "nor-such"},
}

// local returns a context on this machine.
func localWith(t *testing.T, e *mitogen.Engine, o mitogen.ConnectOptions) *mitogen.Context {
	t.Helper()
	c, err := e.Connect(t.Context(), "local", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// limited bounds what must not hang.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var errReset = errors.New("connection reset")

// failing are Readers that fail.
func failing(t *testing.T) map[string]func() (io.Reader, error) {
	return map[string]func() (io.Reader, error){
		"at once": func() (io.Reader, error) { return iotest.ErrReader(errReset), errReset },
		"half way": func() (io.Reader, error) {
			half := strings.NewReader(strings.Repeat("x", 3<<20))
			return io.MultiReader(half, iotest.ErrReader(errReset)), errReset
		},
		"with the last bytes": func() (io.Reader, error) {
			half := strings.NewReader("half")
			return iotest.DataErrReader(io.MultiReader(half, iotest.ErrReader(errReset))), errReset
		},
		"unexpected EOF": func() (io.Reader, error) {
			return iotest.ErrReader(io.ErrUnexpectedEOF), io.ErrUnexpectedEOF
		},
		"a directory": func() (io.Reader, error) {
			f, err := os.Open("/")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f, nil
		},
	}
}

// wantStream demands that err is of stdin, stdout or stderr, and cause.
func wantStream(t *testing.T, err error, op string, cause error) {
	t.Helper()
	var failed *report.StreamError
	if !errors.As(err, &failed) || failed.Op != op || cause != nil && !errors.Is(err, cause) ||
		errors.Is(err, mitogen.ErrCancelled) {
		t.Errorf("error %v, want a StreamError of %q with %v", err, op, cause)
	}
}

// An error of the Reader is the run's, and the program doesn't take what it has for the whole.
func TestStdinFails(t *testing.T) {
	for name, reader := range failing(t) {
		for way, python := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				e := newEngine(t, mitogen.Options{})
				whole := t.TempDir() + "/whole"
				r, cause := reader()
				o := mitogen.ConnectOptions{Options: connect.Options{Python: python}}
				_, err := e.Exec(limited(t), "local", o, mitogen.Command{Stdin: r, Stdout: io.Discard,
					Args: []string{"sh", "-c", `(cat >/dev/null; echo >"$1"); :`, "sh", whole}})
				wantStream(t, err, "read standard input", cause)
				if _, err := os.Stat(whole); err == nil {
					t.Error("the program saw the end of its input")
				}
			})
		}
	}
}

// signal is a Writer that is closed with the first output.
type signal struct {
	once    sync.Once
	written chan struct{}
}

func (s *signal) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.written) })
	return len(b), nil
}

// Read fails once something is written.
func (s *signal) Read([]byte) (int, error) {
	<-s.written
	return 0, errReset
}

// The context lives on, and its next program has its own input. What the failed one has started
// sees no end.
func TestStdinFailsOnce(t *testing.T) {
	c := localWith(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	whole := t.TempDir() + "/whole"
	start := "import subprocess, time\n" +
		"command = 'exec 3<&0; (echo; cat <&3; echo > " + whole + ") & wait'\n" +
		"p = subprocess.Popen(['sh', '-c', command])\n"
	for name, text := range map[string]string{
		"waits":             "p.wait()",
		"does another":      "time.sleep(60)",
		"handles interrupt": "try: p.wait()\nexcept KeyboardInterrupt: pass",
	} {
		child := &signal{written: make(chan struct{})}
		_, err := c.Run(limited(t), mitogen.Script{Name: name, Source: []byte(start + text),
			Stdin: io.MultiReader(strings.NewReader("some"), child), Stdout: child})
		wantStream(t, err, "read standard input", errReset)
		var out bytes.Buffer
		next := mitogen.Command{Args: []string{"cat"}, Stdin: strings.NewReader("next"), Stdout: &out}
		status, err := c.Exec(limited(t), next)
		if status != 0 || err != nil || out.String() != "next" {
			t.Errorf("%s: the next program: status %d, %v, read %q", name, status, err, out.String())
		}
	}
	time.Sleep(100 * time.Millisecond) // in which a child would write
	if _, err := os.Stat(whole); err == nil {
		t.Error("a child saw the end of its input")
	}
}

// quiet are Readers that have no bytes for long, and how to end them.
func quiet(t *testing.T) map[string]func() (r io.Reader, interruptible bool, end func()) {
	return map[string]func() (io.Reader, bool, func()){
		"pipe of Go": func() (io.Reader, bool, func()) {
			r, w := io.Pipe()
			return r, false, func() { w.Close() }
		},
		"file with deadlines": func() (io.Reader, bool, func()) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return r, true, func() { r.Close(); w.Close() }
		},
		"file without": func() (io.Reader, bool, func()) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Fd() // makes it blocking
			return r, true, func() { w.Close(); r.Close() }
		},
	}
}

// A Read in progress is interrupted or waited for, and after WaitDelay the caller is told.
func TestStdinStaysUnread(t *testing.T) {
	for name, reader := range quiet(t) {
		for way, python := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				before := runtime.NumGoroutine()
				e := newEngine(t, mitogen.Options{})
				r, interruptible, end := reader()
				inUse := 0
				delay := 10 * time.Millisecond
				if interruptible { // that takes a moment on a busy machine
					delay = 10 * time.Second
				}
				// A Read may begin after the end of the program: so it may take more runs.
				for i := 0; i < 5 || !interruptible && inUse == 0 && i < 100; i++ {
					o := mitogen.ConnectOptions{Options: connect.Options{Python: python}}
					status, err := e.Exec(limited(t), "local", o, mitogen.Command{
						Args: []string{"sh", "-c", "exit 3"}, Stdin: r, WaitDelay: delay})
					if errors.Is(err, mitogen.ErrStdinInUse) {
						inUse++
						err = nil
					}
					if status != 3 || err != nil {
						t.Errorf("status %d, error %v", status, err)
					}
				}
				if inUse > 0 == interruptible {
					t.Errorf("in use after %d runs", inUse)
				}
				end()
				e.Close()
				settle(t, before+1) // the engine's locked thread
			})
		}
	}
}

// settle waits until there are at most n goroutines.
func settle(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > n; {
		if time.Now().After(end) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want %d\n%s", runtime.NumGoroutine(), n, b[:runtime.Stack(b, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

// A Read that was interrupted has taken nothing: what comes later is the next program's.
func TestStdinOfTheNext(t *testing.T) {
	for name, blocking := range map[string]bool{"file with deadlines": false, "file without": true} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if blocking {
				r.Fd()
			}
			c := localWith(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
			for range 3 {
				if _, err := c.Exec(limited(t), mitogen.Command{Args: []string{"true"}, Stdin: r}); err != nil {
					t.Fatal(err)
				}
			}
			io.WriteString(w, "first line\n")
			w.Close()
			var out bytes.Buffer
			cat := mitogen.Command{Args: []string{"cat"}, Stdin: r, Stdout: &out}
			_, err = c.Exec(limited(t), cat)
			if err != nil || out.String() != "first line\n" {
				t.Errorf("read %q, %v", out.String(), err)
			}
		})
	}
}

// When Run has returned, the Reader is the caller's again; -race sees it if not.
func TestStdinIsFree(t *testing.T) {
	c := localWith(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for range 5 {
		r := bytes.NewReader(make([]byte, 8<<20))
		if _, err := c.Exec(limited(t), mitogen.Command{Args: []string{"true"}, Stdin: r}); err != nil {
			t.Fatal(err)
		}
		r.Reset(nil)
	}
}

// full takes some bytes, and then does what disks and pipes do.
type full struct {
	room int
	err  error // nil: a short write
}

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, f.err
	}
	return n, nil
}

var errFull = errors.New("disk full")

var fullWriters = map[string]struct {
	w    func(t *testing.T) io.Writer
	want error
}{
	"disk full":   {func(*testing.T) io.Writer { return &full{100, errFull} }, errFull},
	"short write": {func(*testing.T) io.Writer { return &full{100, nil} }, io.ErrShortWrite},
	"closed pipe": {func(*testing.T) io.Writer { r, w := io.Pipe(); r.Close(); return w },
		io.ErrClosedPipe},
}

// A Writer that fails ends a program that writes for ever.
func TestWriterFailsOfExec(t *testing.T) {
	for name, full := range fullWriters {
		for way, python := range ways {
			for op, command := range map[string]string{
				"write standard output": "while echo output; do :; done",
				"write standard error":  "while echo output >&2; do :; done",
			} {
				t.Run(name+"/"+way+"/"+op, func(t *testing.T) {
					cmd := mitogen.Command{Args: []string{"sh", "-c", command}}
					cmd.Stdout, cmd.Stderr = io.Discard, full.w(t)
					if op == "write standard output" {
						cmd.Stdout, cmd.Stderr = cmd.Stderr, cmd.Stdout
					}
					o := mitogen.ConnectOptions{Options: connect.Options{Python: python}}
					_, err := newEngine(t, mitogen.Options{}).Exec(limited(t), "local", o, cmd)
					wantStream(t, err, op, full.want)
				})
			}
		}
	}
}

// The context's own Writer ends calls that write, and no other calls; streams too.
func TestWriterFailsOfContext(t *testing.T) {
	for name, full := range fullWriters {
		t.Run(name, func(t *testing.T) {
			o := mitogen.ConnectOptions{Stdout: full.w(t), Stderr: full.w(t)}
			c := localWith(t, newEngine(t, mitogen.Options{}), o)
			ctx := limited(t)
			write := func(fd, n int) *mitogen.Pending { return c.Go("os:write", fd, make([]byte, n)) }
			first, second := write(1, 1000), write(1, 1000)
			for _, p := range []*mitogen.Pending{first, second} {
				_, err := mitogen.Wait[int](ctx, p)
				wantStream(t, err, "write standard output", full.want)
			}
			if _, err := mitogen.Call[int](ctx, c, "os:getpid"); err != nil {
				t.Errorf("a call that writes nothing: %v", err)
			}
			endless := []string{"sh", "-c", "while echo x >&2; do :; done"}
			_, err := mitogen.Call[any](ctx, c, "subprocess:call", endless)
			wantStream(t, err, "write standard error", full.want)
			// where nothing of endless' is on its way
			other := localWith(t, newEngine(t, mitogen.Options{}), o)
			_, err = other.Exec(ctx, mitogen.Command{Args: []string{"yes"}})
			wantStream(t, err, "write standard output", full.want)
			for _, c := range []*mitogen.Context{c, other} {
				if c.Err() != nil {
					t.Errorf("the context is gone: %v", c.Err())
				}
			}
		})
	}
}

// slow takes its time for the first bytes.
type slow struct {
	bytes.Buffer
	once sync.Once
}

func (s *slow) Write(b []byte) (int, error) {
	s.once.Do(func() { time.Sleep(time.Second) })
	return s.Buffer.Write(b)
}

// What a program has written before its end arrives whole, however slow the Writers are.
func TestWriterIsSlow(t *testing.T) {
	for way, python := range ways {
		for command, n := range map[string]int{
			"echo":                              1,
			"head -c 30000 /dev/zero":           30000,
			"sleep 60& head -c 30000 /dev/zero": 30000,
		} {
			t.Run(way+"/"+command, func(t *testing.T) {
				var out slow
				var errs bytes.Buffer
				both := command + "; echo end; echo bad >&2"
				o := mitogen.ConnectOptions{Options: connect.Options{Python: python}}
				status, err := newEngine(t, mitogen.Options{}).Exec(limited(t), "local", o, mitogen.Command{
					Args: []string{"sh", "-c", both}, Stdout: &out, Stderr: &errs})
				if status != 0 || err != nil || out.Len() != n+len("end\n") || errs.String() != "bad\n" {
					t.Errorf("status %d, %v, %d bytes and %q, want %d and bad", status, err, out.Len(),
						errs.String(), n+len("end\n"))
				}
			})
		}
	}
}

// One Writer of several contexts is called by one goroutine at a time; -race and the count see it
// if not.
func TestWriterIsShared(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	var out bytes.Buffer
	const lines = 50
	var all sync.WaitGroup
	for range 4 {
		c := localWith(t, e, mitogen.ConnectOptions{Stdout: &out, Stderr: &out})
		all.Go(func() {
			for i := range lines {
				args := []string{"sh", "-c", "echo line"}
				if i%2 == 1 {
					args[2] += ">&2"
				}
				if _, err := c.Exec(limited(t), mitogen.Command{Args: args, Stdout: &out}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := strings.Count(out.String(), "line\n"); got != 4*lines {
		t.Errorf("%d lines, want %d", got, 4*lines)
	}
}
