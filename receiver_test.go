package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// ending is a way in which a sender ends, for TestGetEnds.
type ending struct {
	name string
	end  func(*testing.T, *mitogen.Engine, *mitogen.Context, pyvalue.Sender)
	err  func(err error) bool
	from bool // the error names the context
}

func isLost(err error) bool { var l *report.LostError; return errors.As(err, &l) }
func isEOF(err error) bool  { return err == io.EOF }
func isClosed(err error) bool {
	return errors.Is(err, mitogen.ErrClosed) && !errors.Is(err, mitogen.ErrOtherEngine)
}

// Get returns when nothing can come any more, and first what has come.
func TestGetEnds(t *testing.T) {
	for _, test := range []ending{
		{"sender closed", func(t *testing.T, e *mitogen.Engine, c *mitogen.Context, s pyvalue.Sender) {
			must[any](t)(call[any](t, c, "values:close", s))
			must[any](t)(call[any](t, c, "values:close", s))
			c.Close()
		}, isEOF, true},
		{"context closed", func(_ *testing.T, e *mitogen.Engine, c *mitogen.Context, _ pyvalue.Sender) {
			c.Close()
		}, isEOF, true},
		{"context died", func(t *testing.T, e *mitogen.Engine, c *mitogen.Context, s pyvalue.Sender) {
			if _, err := call[any](t, c, "values:die"); !isLost(err) {
				t.Errorf("got %v", err)
			}
		}, isLost, true},
		{"its hop died", func(t *testing.T, e *mitogen.Engine, c *mitogen.Context, s pyvalue.Sender) {
			for _, hop := range e.Contexts() {
				if hop.Name() == "local" {
					call[any](t, hop, "values:die")
				}
			}
		}, isLost, true},
		{"engine closed", func(_ *testing.T, e *mitogen.Engine, c *mitogen.Context, _ pyvalue.Sender) {
			e.Close()
		}, isEOF, true},
	} {
		e := newEngine(t, mitogen.Options{})
		c, err := e.Connect(patient(t), "local+local", mitogen.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r := e.Receiver()
		must[any](t)(call[any](t, c, "values:first", r.Sender(), 1, 2))
		go test.end(t, e, c, r.Sender())
		var got []int
		for {
			m, err := r.Get(patient(t))
			if err != nil {
				if !test.err(err) || (m.From == c) != test.from {
					t.Errorf("%s: Get: got %v from %v", test.name, err, m.From)
				}
				break
			}
			var n int
			if err := m.Decode(&n); err != nil {
				t.Error(err)
			}
			got = append(got, n)
		}
		if len(got) != 2 || got[0] != 1 || got[1] != 2 {
			t.Errorf("%s: got %v, want what was sent before", test.name, got)
		}
	}
}

// Get ends with its receiver and engine, however many wait and whenever they have begun.
func TestGetEndsWithItsEngine(t *testing.T) {
	for name, test := range map[string]struct {
		end func(e *mitogen.Engine, r *mitogen.Receiver)
		err func(error) bool
	}{
		"engine closed":   {func(e *mitogen.Engine, r *mitogen.Receiver) { e.Close() }, isClosed},
		"receiver closed": {func(e *mitogen.Engine, r *mitogen.Receiver) { r.Close() }, isEOF},
		"both closed":     {func(e *mitogen.Engine, r *mitogen.Receiver) { r.Close(); e.Close() }, isEOF},
	} {
		e := newEngine(t, mitogen.Options{})
		r := e.Receiver()
		errs := make(chan error, 10)
		for range 10 {
			go func() { _, err := r.Get(context.Background()); errs <- err }()
		}
		test.end(e, r)
		for range 10 {
			select {
			case err := <-errs:
				if !test.err(err) {
					t.Errorf("%s: got %v", name, err)
				}
			case <-patient(t).Done():
				t.Fatalf("%s: Get didn't return", name)
			}
		}
		if _, err := r.Get(patient(t)); !test.err(err) {
			t.Errorf("%s: Get after it: %v", name, err)
		}
		e.Close()
		if _, err := e.Receiver().Get(patient(t)); !isClosed(err) {
			t.Errorf("%s: Get of a receiver that was made after it: %v", name, err)
		}
	}
}

// Each context that could send ends once, also where another one still can.
func TestGetTellsEachLoss(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	r := e.Receiver()
	all := map[*mitogen.Context]bool{}
	for range 3 {
		c := local(t, e)
		must[any](t)(call[any](t, c, "values:first", []any{r.Sender(), r.Sender()}))
		all[c] = true
	}
	i := 0
	for c := range all {
		if i++; i == 1 {
			call[any](t, c, "values:die")
		} else {
			c.Close()
		}
	}
	for range 3 {
		m, err := r.Get(patient(t))
		if !all[m.From] || !isLost(err) && err != io.EOF {
			t.Errorf("got %v from %v", err, m.From)
		}
		delete(all, m.From)
	}
	c := local(t, e)
	must[any](t)(call[any](t, c, "values:first", r.Sender(), "again"))
	if m, err := r.Get(patient(t)); err != nil || m.From != c {
		t.Errorf("of a further one: %v", err)
	}
}

// What is larger than MaxMessage is refused where it is made, in both directions.
func TestTooLarge(t *testing.T) {
	for _, limit := range []int{131072, 1<<20 + 1} {
		if testing.Short() && limit > 1<<20 {
			continue // the race detector takes its time
		}
		e := newEngine(t, mitogen.Options{MaxMessage: limit})
		c := local(t, e)
		box := mailbox(t, c)
		for _, size := range []int{limit + 1, 8 * limit} {
			large := make([]byte, size)
			for way, refuse := range refusals(t, e, c, box) {
				for kind, v := range map[string]any{
					"bytes":  large,
					"text":   string(large),
					"inside": []any{map[string][]byte{"a": large}},
				} {
					if err := refuse(v); !errors.Is(err, mitogen.ErrTooLarge) {
						t.Errorf("limit %d: %s of %d %s: got %v", limit, way, size, kind, err)
					}
				}
			}
			source := append([]byte("print(1)\n#"), bytes.Repeat([]byte("x"), size)...)
			_, err := c.Run(patient(t), mitogen.Script{Name: "s.py", Source: source,
				Stdin: strings.NewReader("in"), Stdout: io.Discard})
			if !errors.Is(err, mitogen.ErrTooLarge) {
				t.Errorf("limit %d: Run of %d: got %v", limit, size, err)
			}
			_, err = c.Exec(patient(t), mitogen.Command{Args: []string{"true", string(source)}})
			if !errors.Is(err, mitogen.ErrTooLarge) {
				t.Errorf("limit %d: Exec of %d: got %v", limit, size, err)
			}
		}
		most := limit - 100
		if n, err := call[int](t, c, "values:size", make([]byte, most)); n != most || err != nil {
			t.Errorf("limit %d: a call of %d: got %d, %v", limit, most, n, err)
		}
		if got, err := call[[]byte](t, c, "builtins:bytes", most); len(got) != most || err != nil {
			t.Errorf("limit %d: a result of %d: got %d, %v", limit, most, len(got), err)
		}
		var raised *report.CallError
		_, err := call[[]byte](t, c, "builtins:bytes", limit+1)
		if !errors.As(err, &raised) || raised.Type != "ValueError" {
			t.Errorf("limit %d: a result of %d: got %v", limit, limit+1, err)
		}
		if err := e.Send(patient(t), box, make([]byte, most)); err != nil {
			t.Errorf("limit %d: Send: %v", limit, err)
		}
		if got, err := call[[]byte](t, c, "values:take"); len(got) != most || err != nil {
			t.Errorf("limit %d: what was sent: got %d, %v", limit, len(got), err)
		}
	}
}

// A sender whose values nothing takes hears of it.
func TestSendersHearOfRefusals(t *testing.T) {
	for name, prepare := range map[string]func(e *mitogen.Engine, a, b *mitogen.Context) error{
		"receiver of the engine closed": func(e *mitogen.Engine, a, b *mitogen.Context) error {
			r := e.Receiver()
			_, err := call[any](t, a, "values:keep", r.Sender())
			r.Close()
			return err
		},
		"not given to it": func(e *mitogen.Engine, a, b *mitogen.Context) error {
			_, err := call[any](t, b, "values:pass_on", a, e.Receiver().Sender())
			return err
		},
		"not allowed": func(e *mitogen.Engine, a, b *mitogen.Context) error {
			c := local(t, e)
			_, err := call[any](t, a, "values:keep", mailbox(t, c))
			return err
		},
		"receiver of a context closed": func(e *mitogen.Engine, a, b *mitogen.Context) error {
			_, err := call[any](t, a, "values:keep", mailbox(t, b))
			return errors.Join(err, second(call[any](t, b, "values:close_mailbox")), e.Allow(a, b))
		},
		"its context gone": func(e *mitogen.Engine, a, b *mitogen.Context) error {
			c := local(t, e)
			_, err := call[any](t, a, "values:keep", mailbox(t, c))
			return errors.Join(err, e.Allow(a, c), c.Close())
		},
	} {
		e := newEngine(t, mitogen.Options{})
		a, b := local(t, e), local(t, e)
		if err := errors.Join(e.Allow(b, a), prepare(e, a, b)); err != nil {
			t.Fatalf("%s: prepare the contexts: %v", name, err)
		}
		if n, err := call[int](t, a, "values:send_until_refused", 1000); err != nil {
			t.Errorf("%s: send until refused: got error %v, want none", name, err)
		} else if strings.Contains(name, "engine") && n > 0 {
			t.Errorf("%s: %d values were sent after it was closed", name, n)
		}
		if _, err := call[any](t, a, "values:send_kept", 1); err == nil {
			t.Errorf("%s: sent again", name)
		}
		works := e.Receiver()
		if n, err := call[int](t, a, "values:first", works.Sender(), 5); n != 1 || err != nil {
			t.Errorf("%s: to another receiver: got %d, %v", name, n, err)
		}
		e.Close()
	}
}

// Engine.Send says when nothing takes the value.
func TestSendIsRefused(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	closed := func(err error) bool { return errors.Is(err, mitogen.ErrClosed) }
	for name, test := range map[string]struct {
		before int // values that are sent before it is closed
		bytes  int
	}{"never used": {0, 1}, "used": {1, 1}, "used often": {20, 1}, "large": {0, 3 << 20},
		"full": {9, 200_000}} {
		to := mailbox(t, c)
		sent := make(chan error, test.before)
		for range test.before {
			go func() { sent <- e.Send(patient(t), to, make([]byte, test.bytes)) }()
		}
		for range min(test.before, 5) { // of which the window has room
			if err := <-sent; err != nil {
				t.Errorf("%s: Send: got %v, want no error", name, err)
			}
		}
		must[any](t)(call[any](t, c, "values:close_mailbox"))
		if err := e.Send(patient(t), to, make([]byte, test.bytes)); !closed(err) {
			t.Errorf("%s: Send to a closed receiver: got %v", name, err)
		}
		for range test.before - min(test.before, 5) {
			if err := <-sent; err != nil && !closed(err) {
				t.Errorf("%s: Send that waited: got %v", name, err)
			}
		}
	}
	to := mailbox(t, c)
	if err := e.Send(patient(t), to, 1); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := e.Send(patient(t), to, 1); err == nil {
		t.Error("sent to a context that is gone")
	}
	if err := e.Send(patient(t), e.Receiver().Sender(), 1); err == nil {
		t.Error("sent to a receiver of the engine")
	}
}

// Values that are sent at once don't mix, also where one of them is given up.
func TestSendAtOnce(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	to := mailbox(t, c)
	const senders = 8
	errs := make(chan error, senders)
	for i := range senders {
		go func() {
			ctx, cancel := context.WithCancel(patient(t))
			if i == senders-1 {
				cancel()
			}
			defer cancel()
			errs <- e.Send(ctx, to, bytes.Repeat([]byte{byte(i)}, 400_000))
		}()
	}
	got := 0
	for range senders {
		value, err := call[[]byte](t, c, "values:take")
		if err != nil {
			break // a value that was given up may be missing
		}
		if len(value) != 400_000 || len(bytes.Trim(value, string(value[:1]))) > 0 {
			t.Errorf("got %d bytes of several values", len(value))
		}
		got++
	}
	for range senders {
		if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if got < senders-1 {
		t.Errorf("got %d values, want at least %d", got, senders-1)
	}
}

// All that takes a context, a sender or a receiver says what is gone or closed.
func TestClosedAndLost(t *testing.T) {
	for name, test := range map[string]struct {
		end func(e *mitogen.Engine, c *mitogen.Context)
		err func(error) bool
	}{
		"engine closed":  {func(e *mitogen.Engine, c *mitogen.Context) { e.Close() }, isClosed},
		"context closed": {func(e *mitogen.Engine, c *mitogen.Context) { c.Close() }, isClosed},
		"context lost": {func(e *mitogen.Engine, c *mitogen.Context) { call[any](t, c, "values:die") },
			isLost},
	} {
		e := newEngine(t, mitogen.Options{})
		c, other := local(t, e), local(t, e)
		r, to := e.Receiver(), mailbox(t, c)
		test.end(e, c)
		for method, err := range map[string]error{
			"Call":        second(call[any](t, c, "values:echo")),
			"Call Sender": second(call[any](t, c, "values:echo", r.Sender())),
			"Allow":       e.Allow(other, c),
			"Allow from":  e.Allow(c, other),
			"Admit":       r.Admit(c),
		} {
			if !test.err(err) {
				t.Errorf("%s: %s: got %v", name, method, err)
			}
		}
		if err := e.Send(patient(t), to, 1); !test.err(err) && !isLost(err) {
			t.Errorf("%s: Send: got %v", name, err)
		}
		r.Close()
		if err := r.Admit(other); !isClosed(err) {
			t.Errorf("%s: Admit to a closed receiver: got %v", name, err)
		}
		_, err := call[any](t, other, "values:echo", map[string]any{"to": r.Sender()})
		if !isClosed(err) {
			t.Errorf("%s: Sender of a closed receiver: got %v", name, err)
		}
	}
}
