package mitogen_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// TestMain serves where an engine of a test has started this program as a Go context.
func TestMain(m *testing.M) {
	mitogen.Main()
	os.Exit(m.Run())
}

type goQuery struct {
	Path  string
	Count int
	Raw   []byte
}

type goFacts struct {
	PID  int
	Seen goQuery
	Tags map[string]int
}

type goFailure struct{ Code int }

func (e *goFailure) Error() string { return fmt.Sprint("code ", e.Code) }

var errNoPath = mitogen.Sentinel("no path")

func init() { mitogen.ErrorType[*goFailure]("failure") }

var (
	goCollect = mitogen.Func("collect", func(ctx context.Context, q goQuery) (goFacts, error) {
		if q.Path == "" {
			return goFacts{}, fmt.Errorf("collect: %w", errNoPath)
		}
		return goFacts{os.Getpid(), q, map[string]int{"a": 1}}, nil
	})
	goFail = mitogen.Func("fail", func(ctx context.Context, how string) (int, error) {
		switch how {
		case "type":
			return 0, fmt.Errorf("around: %w", &goFailure{7})
		case "file":
			_, err := os.Open("/nonexistent")
			return 0, err
		case "panic":
			panic("on purpose")
		}
		return 0, errors.New(how)
	})
	goWait = mitogen.Func("wait", func(ctx context.Context, words string) (string, error) {
		fmt.Println(words)
		<-ctx.Done()
		_, limited := ctx.Deadline()
		slog.Info("waited", "limited", limited)
		return "", ctx.Err()
	})
	goCount = mitogen.StreamFunc("count", func(ctx context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					fmt.Fprintln(os.Stderr, "left")
					return
				}
			}
		}
	})
)

var goOut = mitogen.Func("out", func(ctx context.Context, n int) (int, error) {
	fmt.Print(strings.Repeat("x", n))
	slog.Warn("printed", "n", n)
	return n, nil
})

var goEcho = mitogen.Func("echo", func(ctx context.Context, v any) (any, error) { return v, nil })

// goContext returns a Go context whose output goes to out.
func goContext(t *testing.T, eng *mitogen.Engine, out io.Writer) *mitogen.Context {
	t.Helper()
	c, err := eng.ConnectGo(limited(t), mitogen.ConnectOptions{Stdout: out, Stderr: out})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFuncValues(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	c := goContext(t, eng, nil)
	info, err := c.Info(limited(t))
	if err != nil || info.Implementation != "go" || info.Machine != runtime.GOARCH ||
		info.Platform != runtime.GOOS || c.Name() != "go" {
		t.Errorf("%s: got %+v, %v, want a Go program of this platform", c.Name(), info, err)
	}
	q := goQuery{"/etc", 3, []byte{0, 255}}
	facts, err := goCollect.Call(limited(t), c, q)
	want := goFacts{info.PID, q, map[string]int{"a": 1}}
	if err != nil || !reflect.DeepEqual(facts, want) || info.PID == os.Getpid() {
		t.Errorf("collect: got %+v, %v, want %+v", facts, err, want)
	}
	for _, n := range []int{0, 131_000, 131_072, 5 << 20} { // around a frame, and above a window
		text := strings.Repeat("y", n)
		if got, err := goEcho.Call(limited(t), c, text); err != nil || got != text {
			t.Errorf("echo of %d bytes: got %.40v, %v", n, got, err)
		}
	}
	if got, err := goEcho.Call(limited(t), c, nil); got != nil || err != nil {
		t.Errorf("echo of nil: got %v, %v", got, err)
	}
	// As Python code calls it: the fields are keyword arguments.
	fields := mitogen.Kwargs{"path": "/", "count": 4}
	facts, err = mitogen.Call[goFacts](limited(t), c, "go:collect", fields)
	if err != nil || facts.Seen.Path != "/" || facts.Seen.Count != 4 {
		t.Errorf("keyword arguments: got %+v, %v", facts, err)
	}
}

func TestFuncErrors(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	c := goContext(t, eng, nil)
	_, err := goCollect.Call(limited(t), c, goQuery{})
	if !errors.Is(err, errNoPath) || err.Error() != "call collect in go: collect: no path" {
		t.Errorf("sentinel: got %v, want %v", err, errNoPath)
	}
	_, err = goFail.Call(limited(t), c, "type")
	if f := (*goFailure)(nil); !errors.As(err, &f) || f.Code != 7 || errors.Is(err, errNoPath) {
		t.Errorf("registered type: got %v", err)
	}
	_, err = goFail.Call(limited(t), c, "file")
	call := (*report.CallError)(nil)
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || !errors.As(err, &call) ||
		call.Type != "*fs.PathError" {
		t.Errorf("error of the library: got %v", err)
	}
	_, err = goFail.Call(limited(t), c, "panic")
	if !errors.As(err, &call) || call.Type != "panic" || call.Text != "panic: on purpose" ||
		!strings.Contains(call.Traceback, "func_test.go:") {
		t.Errorf("panic: got %v, stack %s", err, call.Traceback)
	}
	_, err = goFail.Call(limited(t), c, "\xff not UTF-8 \x1b[2J")
	if err == nil || strings.Contains(err.Error(), "\x1b") ||
		strings.Contains(err.Error(), "\xff") {
		t.Errorf("text that no terminal should see: got %q", err)
	}
	for target, want := range map[string]string{"go:absent": "NotRegistered", "go:": "NotRegistered",
		"os:getpid": "NoPython"} {
		_, err = mitogen.Call[any](limited(t), c, target)
		if !errors.As(err, &call) || call.Type != want ||
			errors.Is(err, connect.ErrNoPython) != (want == "NoPython") {
			t.Errorf("call %s: got %v, want type %s", target, err, want)
		}
	}
	_, err = mitogen.Call[any](limited(t), c, "go:collect", 1, 2)
	if err == nil || !strings.Contains(err.Error(), "got 2 arguments") {
		t.Errorf("two arguments: got %v", err)
	}
	_, err = mitogen.Call[any](limited(t), c, "go:collect", goFailure{})
	if err == nil { // the keys fit no field: then all are zero
		t.Error("another type: got no error")
	}
	if got, err := goEcho.Call(limited(t), c, "well"); got != "well" || err != nil {
		t.Errorf("after all: got %v, %v", got, err)
	}
}

func TestFuncCancel(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	c := goContext(t, eng, nil)
	ctx, cancel := context.WithCancelCause(limited(t))
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			_, err := goWait.Call(ctx, c, "")
			errs <- err
		}()
	}
	if got, err := goEcho.Call(limited(t), c, 1); err != nil || got != int64(1) {
		t.Errorf("beside others: got %v, %v", got, err)
	}
	why := errors.New("why")
	cancel(why)
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, mitogen.ErrCancelled) || !errors.Is(err, why) ||
			errors.Is(err, mitogen.ErrKilled) {
			t.Errorf("cancelled: got %v", err)
		}
	}
	short, end := context.WithTimeout(limited(t), 50*time.Millisecond)
	defer end()
	if _, err := goWait.Call(short, c, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: got %v", err)
	}
	// The function's own end at the deadline that it was told of.
	_, err := mitogen.Call[any](limited(t), c, "go:wait", "", mitogen.Kwargs{"_timeout": 0.01})
	if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("deadline there: got %v", err)
	}
	for _, odd := range []any{"soon", 1e300, math.NaN()} {
		timeout := mitogen.Kwargs{"_timeout": odd}
		if _, err := mitogen.Call[any](limited(t), c, "go:echo", 1, timeout); err == nil {
			t.Errorf("timeout %v: got no error", odd)
		}
	}
}

func TestFuncOutput(t *testing.T) {
	var out, said printed
	eng := newEngine(t, mitogen.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	c := goContext(t, eng, &out)
	total := 0
	for _, n := range []int{1, 3 << 20, 0, 70_000} {
		if _, err := goOut.Call(limited(t), c, n); err != nil {
			t.Fatal(err)
		}
		if total += n; len(out.String()) != total {
			t.Errorf("output before the answer: got %d bytes, want %d", len(out.String()), total)
		}
		want := fmt.Sprintf(`msg="printed n=%d" context=go logger=go`, n)
		if !strings.Contains(said.String(), want) {
			t.Errorf("log: got %s, want %s", said.String(), want)
		}
	}
}

func TestStreamFunc(t *testing.T) {
	var out printed
	eng := newEngine(t, mitogen.Options{})
	c := goContext(t, eng, &out)
	n := 0
	for v, err := range goCount.Call(limited(t), c, 20_000) {
		if err != nil || v != n {
			t.Fatalf("item %d: got %d, %v", n, v, err)
		}
		n++
	}
	if n != 20_000 {
		t.Errorf("items: got %d, want 20000", n)
	}
	for range goCount.Call(limited(t), c, 1<<30) {
		break // and it leaves its own loop
	}
	end := time.Now().Add(patience)
	for !strings.Contains(out.String(), "left") && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	if got := out.String(); got != "left\n" {
		t.Errorf("output: got %q, want that the loop was left", got)
	}
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	for _, err := range goCount.Call(ctx, c, 1<<30) {
		if cancel(); err != nil {
			if !errors.Is(err, mitogen.ErrCancelled) {
				t.Errorf("cancelled: got %v", err)
			}
			return
		}
	}
	t.Error("the end of ctx was no error")
}

// A program that ends takes its calls with it, and says why.
func TestFuncContextEnds(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	for how, want := range map[string]string{
		"exit": "status 3", "crash": "out of purpose", "kill": "signal 9",
	} {
		c := goContext(t, eng, nil)
		_, err := goEnd.Call(limited(t), c, how)
		lost := (*report.LostError)(nil)
		if !errors.As(err, &lost) || !strings.Contains(lost.Reason+lost.Text, want) {
			t.Errorf("%s: got %v, want %s", how, err, want)
		}
	}
	c := goContext(t, eng, nil)
	waits := make(chan error, 1)
	go func() {
		_, err := goWait.Call(limited(t), c, "")
		waits <- err
	}()
	if _, err := goEcho.Call(limited(t), c, 1); err != nil {
		t.Fatal(err)
	}
	eng.Close()
	if err := <-waits; !errors.Is(err, mitogen.ErrClosed) && err == nil {
		t.Errorf("closed: got %v", err)
	}
}

var goEnd = mitogen.Func("end", func(ctx context.Context, how string) (int, error) {
	switch how {
	case "exit":
		os.Exit(3)
	case "crash":
		go func() { panic("out of purpose") }()
		select {}
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
})

func TestFuncNames(t *testing.T) {
	for _, name := range []string{"collect", "", "a\x00b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a second function %q: got no panic", name)
				}
			}()
			mitogen.Func(name, func(context.Context, int) (int, error) { return 0, nil })
		}()
	}
}

// printed is text that several goroutines write.
type printed struct {
	mu sync.Mutex
	b  strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// TestErrorsFromElsewhere: what a context gives in place of an error's value makes no error.
func TestErrorsFromElsewhere(t *testing.T) {
	packed := func(v any) any {
		b, err := pickle.Append(nil, v, pickle.Proto4)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for what, value := range map[string]any{
		"None": packed(nil), "a text": packed("x"), "nothing": nil, "no bytes": []byte{}, "a number": 1,
		"no pickle": []byte("x"),
	} {
		known := goctx.Known([]any{pyvalue.Tuple{"type failure", value}})
		if len(known) != 0 {
			t.Errorf("%s: got %#v, want no error", what, known)
		}
	}
}
