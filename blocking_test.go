package mitogen_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// fakeSSH is a program in ssh's place: a key whose passphrase is "right" leads to this machine.
const fakeSSH = `#!/bin/sh
case " $* " in
*" -V "*) echo OpenSSH_9.6p1 >&2; exit 0;;
*" -G "*) printf 'user u\nhostname h\n'; exit 0;;
esac
answer=$("$SSH_ASKPASS" "Enter passphrase for key '/key': ") || exit 255
[ "$answer" = right ] || { echo "u@h: Permission denied (publickey)." >&2; exit 255; }
eval "command=\${$#}"
exec sh -c "$command"
`

// viaSSH are options whose ssh asks for a passphrase.
func viaSSH(t *testing.T, native bool) mitogen.ConnectOptions {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte(fakeSSH), 0o700); err != nil {
		t.Fatal(err)
	}
	return mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{Path: path,
		Native: native}}}
}

// blocker is something of the caller's that blocks until the test is over.
type blocker struct {
	began chan struct{} // closed when it blocks
	free  chan struct{} // closed at the end
	once  sync.Once
}

func newBlocker(t *testing.T) *blocker {
	b := &blocker{began: make(chan struct{}), free: make(chan struct{})}
	t.Cleanup(func() { close(b.free) })
	return b
}

func (b *blocker) block() {
	b.once.Do(func() { close(b.began) })
	<-b.free
}

func (b *blocker) Open(string) (fs.File, error) { b.block(); return nil, fs.ErrNotExist }
func (b *blocker) Write(p []byte) (int, error)  { b.block(); return len(p), nil }

func (b *blocker) Enabled(context.Context, slog.Level) bool  { return true }
func (b *blocker) Handle(context.Context, slog.Record) error { b.block(); return nil }
func (b *blocker) WithAttrs([]slog.Attr) slog.Handler        { return b }
func (b *blocker) WithGroup(string) slog.Handler             { return b }
func (b *blocker) prompt(context.Context, connect.Prompt) (string, error) {
	b.block()
	return "", nil
}

func (b *blocker) secrets(context.Context, secret.Place) (secret.Secret, error) {
	b.block()
	return "", nil
}

func (b *blocker) audit(report.Event) error { b.block(); return nil }

func (b *blocker) rewrite(_, _ string, source []byte) []byte { b.block(); return source }

// modules are the Python modules of these tests.
var modules = fstest.MapFS{"talk.py": {Data: []byte(`
import logging, sys, time
def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()
def log(text):
    logging.getLogger('talk').warning(text)
def sleep(seconds):
    time.sleep(seconds)
def count():
    yield 1
    time.sleep(1000)
def receiver():
    import mitogen
    global box
    box = mitogen.Receiver()
    return box.sender()
def stubborn(seconds):
    end = time.time() + seconds
    while time.time() < end:
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            pass
`)}}

// Whatever of the caller's blocks, what has a ctx ends with it, and Close returns.
func TestNothingBlocksClose(t *testing.T) {
	call := func(ctx context.Context, e *mitogen.Engine, o mitogen.ConnectOptions, function string,
		args ...any) error {
		c, err := e.Connect(ctx, "local", o)
		if err == nil {
			_, err = mitogen.Call[any](ctx, c, function, args...)
		}
		return err
	}
	path := []fs.FS{modules}
	for name, tt := range map[string]struct {
		options func(b *blocker) mitogen.Options
		do      func(ctx context.Context, e *mitogen.Engine, b *blocker) error
	}{
		"prompt": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Prompt: b.prompt} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				_, err := e.Connect(ctx, "h", viaSSH(t, false))
				return err
			},
		},
		"prompt, native": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Prompt: b.prompt} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				_, err := e.Connect(ctx, "h", viaSSH(t, true))
				return err
			},
		},
		"secrets": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Secrets: b.secrets} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				_, err := e.Connect(ctx, "h", viaSSH(t, false))
				return err
			},
		},
		"prompt of Exec": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Prompt: b.prompt} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				_, err := e.Exec(ctx, "h", viaSSH(t, false), mitogen.Command{Args: []string{"true"}})
				return err
			},
		},
		"file system": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Path: []fs.FS{b}} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				return call(ctx, e, mitogen.ConnectOptions{}, "talk:sleep", 0)
			},
		},
		"rewrite": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Path: path, Rewrite: b.rewrite} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				return call(ctx, e, mitogen.ConnectOptions{}, "talk:sleep", 0)
			},
		},
		"logger": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Path: path, Logger: slog.New(b)} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				if err := call(ctx, e, mitogen.ConnectOptions{}, "talk:log", "x"); err != nil {
					return err
				}
				return call(ctx, e, mitogen.ConnectOptions{}, "talk:sleep", 1000)
			},
		},
		"writer": {
			func(*blocker) mitogen.Options { return mitogen.Options{Path: path} },
			func(ctx context.Context, e *mitogen.Engine, b *blocker) error {
				return call(ctx, e, mitogen.ConnectOptions{Stdout: b}, "talk:say", "x")
			},
		},
		"writer of Exec without Python": {
			func(*blocker) mitogen.Options { return mitogen.Options{} },
			func(ctx context.Context, e *mitogen.Engine, b *blocker) error {
				o := mitogen.ConnectOptions{Options: connect.Options{Python: []string{"no-such-python"}}}
				_, err := e.Exec(ctx, "local", o, mitogen.Command{Args: []string{"echo"}, Stdout: b})
				return err
			},
		},
		"audit": {
			func(b *blocker) mitogen.Options { return mitogen.Options{Audit: b.audit} },
			func(ctx context.Context, e *mitogen.Engine, _ *blocker) error {
				return call(ctx, e, mitogen.ConnectOptions{}, "os:getpid")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBlocker(t)
			e, err := mitogen.New(tt.options(b))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-b.began; cancel() }()
			err = soon(t, name, func() error { return tt.do(ctx, e, b) })
			if !errors.Is(err, mitogen.ErrCancelled) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, mitogen.ErrCancelled)
			}
			if errors.Is(err, mitogen.ErrKilled) {
				t.Errorf("got %v, want a context that lives on", err)
			}
			soon(t, "Close", e.Close)
		})
	}
	noneLeft(t)
}

// Close ends what waits for something of the caller's, without a ctx.
func TestCloseFreesWhoIsBlocked(t *testing.T) {
	for name, o := range map[string]func(b *blocker) mitogen.Options{
		"file system": func(b *blocker) mitogen.Options { return mitogen.Options{Path: []fs.FS{b}} },
		"rewrite": func(b *blocker) mitogen.Options {
			return mitogen.Options{Path: []fs.FS{modules}, Rewrite: b.rewrite}
		},
	} {
		b := newBlocker(t)
		e, err := mitogen.New(o(b))
		if err != nil {
			t.Fatal(err)
		}
		c := connected(t, e, mitogen.ConnectOptions{})
		go func() { <-b.began; e.Close() }()
		err = soon(t, name, func() error {
			_, err := mitogen.Call[any](context.Background(), c, "talk:sleep", 0)
			return err
		})
		if !errors.Is(err, mitogen.ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, mitogen.ErrClosed)
		}
	}
}

// A handler of log records may call the library, also the context whose record it is.
func TestLoggerMayCall(t *testing.T) {
	h := &calling{t: t}
	e := newEngine(t, mitogen.Options{Path: []fs.FS{modules}, Logger: slog.New(h)})
	c := connected(t, e, mitogen.ConnectOptions{})
	h.c.Store(c)
	for range 3 {
		err := soon(t, "a call that logs", func() error {
			_, err := mitogen.Call[any](t.Context(), c, "talk:log", "x")
			return err
		})
		if err != nil {
			t.Errorf("got %v, want a call that ends well", err)
		}
	}
	soon(t, "the handler", func() error {
		for h.well.Load() < 3 {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
}

// calling is a handler that calls a context.
type calling struct {
	slog.Handler
	t    *testing.T
	c    atomic.Pointer[mitogen.Context]
	well atomic.Int32
}

func (h *calling) Enabled(context.Context, slog.Level) bool { return true }

func (h *calling) Handle(_ context.Context, r slog.Record) error {
	if c := h.c.Load(); c != nil && r.Message == "x" {
		if _, err := mitogen.Call[int](h.t.Context(), c, "os:getpid"); err == nil {
			h.well.Add(1)
		}
	}
	return nil
}

// Errors of who has the answers are found in the error of the connect.
func TestErrorsOfPrompts(t *testing.T) {
	mine := errors.New("no terminal")
	prompt := func(context.Context, connect.Prompt) (string, error) { return "", mine }
	secrets := func(context.Context, secret.Place) (secret.Secret, error) { return "", mine }
	for name, o := range map[string]mitogen.Options{
		"prompt":  {Prompt: prompt},
		"secrets": {Secrets: secrets},
		"both":    {Prompt: prompt, Secrets: secrets},
	} {
		for _, native := range []bool{false, true} {
			e := newEngine(t, o)
			_, err := e.Connect(t.Context(), "h", viaSSH(t, native))
			failed := (*connect.Error)(nil)
			required := errors.Is(err, connect.ErrPasswordRequired)
			if !errors.Is(err, mine) || !required || !errors.As(err, &failed) {
				t.Errorf("%s, native %v: got %v, want %v", name, native, err, mine)
			}
		}
	}
}

// A wrong passphrase is refused, by whatever client.
func TestWrongPassphrase(t *testing.T) {
	for _, native := range []bool{false, true} {
		for _, answer := range []string{"wrong", "", "Right"} {
			prompt := func(context.Context, connect.Prompt) (string, error) { return answer, nil }
			e := newEngine(t, mitogen.Options{Prompt: prompt})
			_, err := e.Connect(t.Context(), "h", viaSSH(t, native))
			if !errors.Is(err, connect.ErrAuth) {
				t.Errorf("native %v, %q: got %v, want %v", native, answer, err, connect.ErrAuth)
			}
		}
	}
}

// A person is asked for one passphrase of a key at a time.
func TestPassphraseIsAskedForOnceAtATime(t *testing.T) {
	var asking, most, asked atomic.Int32
	e := newEngine(t, mitogen.Options{Prompt: func(_ context.Context, p connect.Prompt) (string,
		error) {
		asked.Add(1)
		most.Store(max(most.Load(), asking.Add(1)))
		defer asking.Add(-1)
		time.Sleep(300 * time.Millisecond)
		return "right", nil
	}})
	o := viaSSH(t, false)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := e.Connect(t.Context(), "h", o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d questions at once, of %d, want 1", most.Load(), asked.Load())
	}
}

// A program that can't be started says why, in values.
func TestErrorsOfTheSystem(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, native := range []bool{false, true} {
		for path, want := range map[string]error{
			file:           fs.ErrPermission,
			file + "/x":    syscall.ENOTDIR,
			"/no/such/ssh": fs.ErrNotExist,
			"no-such-ssh":  exec.ErrNotFound,
		} {
			o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{Path: path,
				Native: native}}}
			_, err := e.Connect(t.Context(), "h", o)
			failed := (*connect.Error)(nil)
			if !errors.As(err, &failed) || !errors.Is(err, want) {
				t.Errorf("native %v, %s: got %v, want %v", native, path, err, want)
			}
		}
	}
}

// Questions have a socket, which finds a place whatever TMPDIR is.
func TestQuestionsInAnyTemp(t *testing.T) {
	prompt := func(context.Context, connect.Prompt) (string, error) { return "right", nil }
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := viaSSH(t, false)
	for _, dir := range []string{"/no/such/directory", file, "/proc"} {
		t.Setenv("TMPDIR", dir)
		e := newEngine(t, mitogen.Options{Prompt: prompt})
		if _, err := e.Connect(t.Context(), "h", o); err != nil {
			t.Errorf("TMPDIR=%s: got %v, want none", dir, err)
		}
	}
}
