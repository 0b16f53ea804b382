package mitogen_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// A place has what a method is called on.
type place struct {
	e      *mitogen.Engine
	up     *mitogen.Context
	coming *mitogen.Context // doesn't get up
	slow   mitogen.ConnectOptions
	sender pyvalue.Sender // of a receiver in up
}

// newPlace returns a place whose engine is the test's to close.
func newPlace(t *testing.T) *place {
	t.Helper()
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := &place{slow: mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		Path: ssh}}}}
	p.e = newEngine(t, mitogen.Options{Path: []fs.FS{modules}})
	p.up = connected(t, p.e, mitogen.ConnectOptions{})
	if _, err := p.up.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.coming, err = p.e.Start("h", p.slow); err != nil {
		t.Fatal(err)
	}
	if p.sender, err = mitogen.Call[pyvalue.Sender](t.Context(), p.up, "talk:receiver"); err != nil {
		t.Fatal(err)
	}
	return p
}

const forever = 1000 // seconds

// A column of the table.
type column int

const (
	cancelled column = 1 << iota
	closed           // the engine
	lost             // the context
	all       = cancelled | closed | lost
)

// blocking are the public methods that block, each as a call that doesn't end by itself, and the
// event that ends it. The tests of Get and Send cover their end by engine and context.
var blocking = map[string]struct {
	do   func(ctx context.Context, p *place) error
	ends column
}{
	"Connect": {func(ctx context.Context, p *place) error {
		_, err := p.e.Connect(ctx, "other", p.slow)
		return err
	}, cancelled | closed},
	"Connect via": {func(ctx context.Context, p *place) error {
		o := mitogen.ConnectOptions{Via: p.up, Options: connect.Options{Python: []string{"sleep 1000 #"}}}
		_, err := p.e.Connect(ctx, "local", o)
		return err
	}, all},
	"Info": {func(ctx context.Context, p *place) error {
		_, err := p.coming.Info(ctx)
		return err
	}, cancelled | closed},
	"Ping": {func(ctx context.Context, p *place) error {
		_, err := p.coming.Ping(ctx)
		return err
	}, cancelled | closed},
	"Call": {func(ctx context.Context, p *place) error {
		_, err := mitogen.Call[any](ctx, p.up, "talk:sleep", forever)
		return err
	}, all},
	"Call of one coming up": {func(ctx context.Context, p *place) error {
		_, err := mitogen.Call[any](ctx, p.coming, "talk:sleep", forever)
		return err
	}, cancelled | closed},
	"Wait": {func(ctx context.Context, p *place) error {
		_, err := mitogen.Wait[any](ctx, p.up.Go("talk:sleep", forever))
		return err
	}, all},
	"Stream": {func(ctx context.Context, p *place) error {
		for _, err := range mitogen.Stream[int](ctx, p.up, "talk:count") {
			if err != nil {
				return err
			}
		}
		return nil
	}, all},
	"Each": {func(ctx context.Context, p *place) error {
		contexts := []*mitogen.Context{p.up, p.coming}
		for c, r := range mitogen.Each[any](ctx, contexts, "talk:sleep", forever) {
			if c == p.up {
				return r.Err
			}
		}
		return nil
	}, all},
	"Run": {func(ctx context.Context, p *place) error {
		script := mitogen.Script{Name: "s", Source: []byte("import time; time.sleep(1000)")}
		_, err := p.up.Run(ctx, script)
		return err
	}, all},
	"Exec": {func(ctx context.Context, p *place) error {
		_, err := p.up.Exec(ctx, mitogen.Command{Args: []string{"sleep", "1000"}})
		return err
	}, all},
	"Engine.Exec": {func(ctx context.Context, p *place) error {
		command := mitogen.Command{Args: []string{"sleep", "1000"}}
		_, err := p.e.Exec(ctx, "local", mitogen.ConnectOptions{}, command)
		return err
	}, cancelled | closed},
	"Engine.Exec without Python": {func(ctx context.Context, p *place) error {
		o := mitogen.ConnectOptions{Options: connect.Options{Python: []string{"no-such-python"}}}
		_, err := p.e.Exec(ctx, "local", o, mitogen.Command{Args: []string{"sleep", "1000"}})
		return err
	}, cancelled | closed},
	"Receiver.Get": {func(ctx context.Context, p *place) error {
		_, err := p.e.Receiver().Get(ctx)
		return err
	}, cancelled},
	"Send": {func(ctx context.Context, p *place) error {
		for {
			if err := p.e.Send(ctx, p.sender, make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}, cancelled},
}

// Each method that blocks ends with its ctx, before it begins and while it blocks. The error is
// ErrCancelled, the Err of ctx and its Cause.
func TestCancelledContext(t *testing.T) {
	p := newPlace(t)
	cause := errors.New("cause")
	for name, m := range blocking {
		for when, delay := range map[string]time.Duration{"before": 0, "while": 100 * time.Millisecond} {
			for _, deadline := range []bool{false, true} {
				ctx, cancel := context.WithCancelCause(context.Background())
				want := context.Canceled
				if deadline {
					var stop func()
					ctx, stop = context.WithTimeoutCause(context.Background(), delay, cause)
					defer stop()
					want = context.DeadlineExceeded
				} else if delay == 0 {
					cancel(cause)
				} else {
					time.AfterFunc(delay, func() { cancel(cause) })
				}
				err := soon(t, name, func() error { return m.do(ctx, p) })
				for _, want := range []error{mitogen.ErrCancelled, cause, want} {
					if !errors.Is(err, want) {
						t.Errorf("%s, cancelled %s: got %v, want it to be %v", name, when, err, want)
					}
				}
				cancel(nil)
			}
		}
	}
	if p.up.Err() != nil {
		t.Errorf("the context is gone: %v", p.up.Err())
	}
}

// Each method that blocks ends with what it waits for, and fails once that has ended.
func TestEndOfEngineAndContext(t *testing.T) {
	for name, tt := range map[string]struct {
		column column
		end    func(p *place) error
		right  func(error) bool
	}{
		"closed engine": {closed, func(p *place) error { return p.e.Close() }, func(err error) bool {
			return errors.Is(err, mitogen.ErrClosed)
		}},
		"lost context": {lost, func(p *place) error {
			info, err := p.up.Info(context.Background())
			if err == nil {
				err = syscall.Kill(info.PID, syscall.SIGKILL)
			}
			<-p.up.Done()
			return err
		}, func(err error) bool {
			gone := (*report.LostError)(nil)
			return errors.As(err, &gone)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			results := map[string]chan error{}
			for name, m := range blocking {
				if m.ends&tt.column != 0 {
					result := make(chan error, 1)
					results[name] = result
					go func() { result <- m.do(context.Background(), p) }()
				}
			}
			time.Sleep(300 * time.Millisecond)
			if err := soon(t, "the end", func() error { return tt.end(p) }); err != nil {
				t.Fatal(err)
			}
			for name, result := range results {
				if err := soon(t, name, func() error { return <-result }); !tt.right(err) {
					t.Errorf("%s, blocked: got %v (%T)", name, err, err)
				}
				again := func() error { return blocking[name].do(context.Background(), p) }
				if err := soon(t, name, again); !tt.right(err) {
					t.Errorf("%s, later: got %v (%T)", name, err, err)
				}
			}
		})
	}
}
