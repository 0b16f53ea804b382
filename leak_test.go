package mitogen_test

import (
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// patience limits each step of a test, on a loaded machine too.
const patience = 30 * time.Second

// tests have engines: by *testing.T.
var tests sync.Map

// newEngine returns an engine that the test closes at its end. Then no goroutine of the library may
// be left.
func newEngine(t *testing.T, o mitogen.Options) *mitogen.Engine {
	t.Helper()
	if _, more := tests.LoadOrStore(t, true); !more {
		t.Cleanup(func() { noneLeft(t) }) // runs last
	}
	if o.Path == nil {
		o.Path = python()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := mitogen.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// lasting are functions whose goroutine every program has once, whatever engines it closes: see
// Engine.Close.
var lasting = []string{"internal/process.init.func"}

// noneLeft waits until no goroutine has code of the library in its stack.
func noneLeft(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if left = ours(); len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}

// ours returns the stacks of goroutines that run code of the library, or were started by it.
func ours() (stacks []string) {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	for _, stack := range strings.Split(string(b), "\n\n") {
		ours := strings.Contains(stack, "mitogen-go/mitogen")
		if ours && !strings.Contains(stack, "testing.tRunner") && !isLasting(stack) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func isLasting(stack string) bool {
	for _, name := range lasting {
		if strings.Contains(stack, name) {
			return true
		}
	}
	return false
}

// connected returns a context that the engine has connected.
func connected(t *testing.T, e *mitogen.Engine, o mitogen.ConnectOptions) *mitogen.Context {
	t.Helper()
	c, err := e.Connect(t.Context(), "local", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onEach runs a test on a context of each kind: an interpreter, and a Go program.
func onEach(t *testing.T, o mitogen.Options, test func(t *testing.T, c *mitogen.Context)) {
	t.Run("python", func(t *testing.T) {
		test(t, connected(t, newEngine(t, o), mitogen.ConnectOptions{}))
	})
	t.Run("go", func(t *testing.T) { test(t, goContext(t, newEngine(t, o), nil)) })
}

// soon returns what f returns, which may take a while but not for ever.
func soon(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		b := make([]byte, 1<<20)
		t.Fatalf("%s doesn't end\n%s", what, b[:runtime.Stack(b, true)])
		return nil
	}
}
