package mitogen_test

import (
	"archive/zip"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

func local(t *testing.T, e *mitogen.Engine) *mitogen.Context {
	t.Helper()
	c, err := e.Connect(patient(t), "local", mitogen.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must is the value of a call that may not fail.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// call is mitogen.Call within the test's patience.
func call[T any](t *testing.T, c *mitogen.Context, function string, args ...any) (T, error) {
	return mitogen.Call[T](patient(t), c, function, args...)
}

// mailbox opens a receiver in c.
func mailbox(t *testing.T, c *mitogen.Context) pyvalue.Sender {
	t.Helper()
	return must[pyvalue.Sender](t)(call[pyvalue.Sender](t, c, "values:open_mailbox"))
}

// refusals are the ways in which a value goes to a context; each returns its error.
func refusals(t *testing.T, e *mitogen.Engine, c *mitogen.Context,
	to pyvalue.Sender) map[string]func(v any) error {
	return map[string]func(v any) error{
		"Call": func(v any) error {
			_, err := call[any](t, c, "values:echo", 1, v)
			return err
		},
		"Kwargs": func(v any) error {
			_, err := call[any](t, c, "values:echo", mitogen.Kwargs{"v": v})
			return err
		},
		"Go": func(v any) error {
			_, err := mitogen.Wait[any](patient(t), c.Go("values:echo", v))
			return err
		},
		"Stream": func(v any) error {
			for _, err := range mitogen.Stream[any](patient(t), c, "values:echo", v) {
				return err
			}
			return nil
		},
		"Each": func(v any) error {
			all := []*mitogen.Context{c}
			for _, r := range mitogen.Each[any](patient(t), all, "values:echo", v) {
				return r.Err
			}
			return nil
		},
		"Send": func(v any) error { return e.Send(patient(t), to, v) },
	}
}

// What refers to itself is refused with its place, whatever it is made of and whichever way it
// goes.
func TestCyclicValues(t *testing.T) {
	type ring struct {
		Next *ring
		Any  any
	}
	list, dict, named := []any{0, nil}, map[string]any{}, mitogen.Kwargs{}
	list[1], dict["self"], named["self"] = list, dict, named
	tuple, shared := pyvalue.Tuple{nil}, &pyvalue.List{Items: []any{1, nil}}
	tuple[0], shared.Items[1] = tuple, shared
	loop, mixed := &ring{}, &ring{}
	loop.Next, mixed.Any = loop, map[int]any{1: []any{pyvalue.Tuple{mixed}}}
	var pointer any
	pointer = &pointer

	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	to := mailbox(t, c)
	for name, v := range map[string]struct {
		v     any
		place string
	}{
		"[]any":         {list, "[1][1][1]"},
		"map":           {dict, "self.self.self"},
		"Kwargs inside": {[]any{named}, "self.self"},
		"Tuple":         {tuple, "[0][0]"},
		"*List":         {shared, "[1]: refers to itself"},
		"pointers":      {pointer, "refers to itself"},
		"structs":       {loop, "next.next.next"},
		"mixed":         {mixed, "any[1][0][0].any[1]"},
	} {
		for way, refuse := range refusals(t, e, c, to) {
			err := refuse(v.v)
			var where *pyvalue.Error
			if !errors.As(err, &where) || !strings.Contains(err.Error(), v.place) ||
				len(err.Error()) > 500 {
				t.Errorf("%s of %s: got %v, want the place %s", way, name, err, v.place)
			}
		}
	}
	_, err := call[any](t, c, "values:echo", named)
	if err == nil || !strings.Contains(err.Error(), "kwargs.self") {
		t.Errorf("keyword arguments: got %v", err)
	}
	if n, err := call[int](t, c, "values:size", "abc"); n != 3 || err != nil {
		t.Errorf("a call after those: got %d, %v", n, err)
	}
}

// A Sender lets the context that gets it send, wherever in a value it is.
func TestSendersAnywhere(t *testing.T) {
	type output struct {
		Name string
		Out  pyvalue.Sender
	}
	type sender pyvalue.Sender
	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	for name, wrap := range map[string]func(s pyvalue.Sender) any{
		"argument":   func(s pyvalue.Sender) any { return s },
		"[]any":      func(s pyvalue.Sender) any { return []any{s} },
		"[]Sender":   func(s pyvalue.Sender) any { return []pyvalue.Sender{s, s} },
		"struct":     func(s pyvalue.Sender) any { return output{"a", s} },
		"map":        func(s pyvalue.Sender) any { return map[string]pyvalue.Sender{"a": s} },
		"Tuple":      func(s pyvalue.Sender) any { return pyvalue.Tuple{1, s} },
		"*List":      func(s pyvalue.Sender) any { return &pyvalue.List{Items: []any{s}} },
		"map[any]":   func(s pyvalue.Sender) any { return map[any]any{1: map[any]any{2: s}} },
		"*Sender":    func(s pyvalue.Sender) any { return &s },
		"other name": func(s pyvalue.Sender) any { return []sender{sender(s)} },
		"*struct":    func(s pyvalue.Sender) any { return []*output{{"a", s}} },
	} {
		for _, way := range []string{"args", "kwargs"} {
			r := e.Receiver()
			args := []any{wrap(r.Sender()), 7}
			if way == "kwargs" {
				args = []any{mitogen.Kwargs{"sender": wrap(r.Sender())}}
			}
			if n, err := call[int](t, c, "values:first", args...); n == 0 || err != nil {
				t.Errorf("%s in %s: got %d, %v", name, way, n, err)
			} else if way == "args" {
				if m, err := r.Get(patient(t)); err != nil || m.From != c {
					t.Errorf("%s: got %v, %v", name, m, err)
				}
			}
			r.Close()
		}
	}
}

// What is another engine's is refused everywhere.
func TestOtherEngine(t *testing.T) {
	a, b := newEngine(t, mitogen.Options{}), newEngine(t, mitogen.Options{})
	ca, cb := local(t, a), local(t, b)
	ra, rb := a.Receiver(), b.Receiver()
	if ra.Sender() == rb.Sender() {
		t.Error("two engines give out the same Sender")
	}
	boxA := mailbox(t, ca)
	boxB := mailbox(t, cb)
	ref := must[pyvalue.Ref](t)(call[pyvalue.Ref](t, ca, "values:give", ca))
	raised := must[*pyvalue.List](t)(call[*pyvalue.List](t, ca, "values:give", []any{boxA}))
	old := newEngine(t, mitogen.Options{})
	kept := old.Receiver().Sender()
	old.Close()

	type holder struct{ S pyvalue.Sender }
	foreign := map[string]any{
		"Sender":              ra.Sender(),
		"Context":             ca,
		"Ref":                 ref,
		"Sender of a context": boxA,
		"inside of a result":  raised,
		"[]Sender":            []pyvalue.Sender{rb.Sender(), ra.Sender()},
		"struct":              &holder{ra.Sender()},
		"map":                 map[string]*mitogen.Context{"c": ca},
		"Tuple":               pyvalue.Tuple{ca},
		"kept over a restart": kept,
		"made by hand":        pyvalue.Sender{Handle: 1000},
		"no Sender":           pyvalue.Sender{},
		"Ref by hand":         pyvalue.Ref{ID: 1, Name: "local"},
	}
	for name, v := range foreign {
		for way, refuse := range refusals(t, b, cb, boxB) {
			var where *pyvalue.Error
			if err := refuse(v); !errors.Is(err, mitogen.ErrOtherEngine) || !errors.As(err, &where) {
				t.Errorf("%s of %s: got %v", way, name, err)
			}
		}
	}
	byHand := pyvalue.Sender{Context: 1, Handle: 1000}
	for name, err := range map[string]error{
		"Allow from":   b.Allow(ca, cb),
		"Allow to":     b.Allow(cb, ca),
		"Allow both":   b.Allow(ca, ca),
		"Admit":        rb.Admit(ca),
		"Send":         b.Send(patient(t), boxA, 1),
		"Send kept":    b.Send(patient(t), kept, 1),
		"Send by hand": b.Send(patient(t), byHand, 1),
	} {
		if !errors.Is(err, mitogen.ErrOtherEngine) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := b.Connect(patient(t), "local", mitogen.ConnectOptions{Via: ca})
	if !errors.Is(err, mitogen.ErrOtherEngine) {
		t.Errorf("Via: got %v", err)
	}
	if _, err := call[any](t, cb, "values:first", []any{rb.Sender(), boxB, cb}, 5); err != nil {
		t.Errorf("those of its own: %v", err)
	}
	if m, err := rb.Get(patient(t)); err != nil || m.From != cb {
		t.Errorf("got %v, %v", m.From, err)
	}
}

// Nil pointers are None, nil contexts errors.
func TestNilPointers(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	var none *mitogen.Context
	for name, v := range map[string]any{
		"Context":  none,
		"Sender":   (*pyvalue.Sender)(nil),
		"Receiver": (*mitogen.Receiver)(nil),
		"Secret":   (*secret.Secret)(nil),
		"List":     (*pyvalue.List)(nil),
		"int":      (*int)(nil),
		"error":    error(nil),
	} {
		for _, args := range [][]any{{v}, {[]any{v}}, {struct{ V any }{v}}, {mitogen.Kwargs{"v": v}}} {
			if _, err := call[any](t, c, "values:echo", args...); err != nil {
				t.Errorf("nil %s: got %v", name, err)
			}
		}
		got, err := call[[]any](t, c, "values:give", []any{v})
		if err != nil || len(got) != 1 || got[0] != nil {
			t.Errorf("nil %s: got %v, %v", name, got, err)
		}
	}
	contexts := []*mitogen.Context{nil}
	_, err := call[any](t, c, "values:echo", contexts, map[string]*mitogen.Context{"a": nil})
	if err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"Call": func() error { _, err := call[any](t, none, "values:echo"); return err }(),
		"Go": func() error {
			p := none.Go("values:echo")
			p.Cancel()
			_, err := mitogen.Wait[any](patient(t), p)
			return err
		}(),
		"Allow": e.Allow(none, c), "Allow to": e.Allow(c, nil), "Admit": e.Receiver().Admit(nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "nil Context") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, r := range mitogen.Each[any](patient(t), contexts, "values:echo") {
		if r.Err == nil {
			t.Error("Each with a nil Context: no error")
		}
	}
}

// New refuses what could not work later.
func TestNewRefuses(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := fstest.MapFS{}
	for want, o := range map[string]mitogen.Options{
		"Path[0]: nil":               {Path: []fs.FS{nil}},
		"Path[1]: nil":               {Path: []fs.FS{good, (*zip.Reader)(nil)}},
		"Packages[0]: nil":           {Packages: []fs.FS{nil}},
		"Path[0]: stat /nonexistent": {Path: []fs.FS{os.DirFS("/nonexistent")}},
		"Path[0]: open " + file:      {Path: []fs.FS{os.DirFS(file)}},
		"Packages[1]: stat":          {Packages: []fs.FS{good, os.DirFS("/nonexistent")}},
		"MaxMessage: got 1 ":         {MaxMessage: 1},
		"MaxMessage: got 1000 ":      {MaxMessage: 1000},
		"MaxMessage: got 131071 ":    {MaxMessage: 131071},
		"MaxMemory: got 5 ":          {MaxMemory: 5}, "negative": {MaxMessage: -1},
	} {
		if _, err := mitogen.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := mitogen.New(mitogen.Options{Path: []fs.FS{os.DirFS("/nonexistent")}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// The words of Call's documentation about results.
func TestResults(t *testing.T) {
	type config struct {
		Timeout int
		Retries int
		Hosts   []string
		Next    *config
	}
	e := newEngine(t, mitogen.Options{})
	c := local(t, e)
	text, err := call[string](t, c, "values:surrogate")
	if err != nil || text != "a\xed\xa0\x80b" {
		t.Errorf("got %q, %v", text, err)
	}
	if back, err := call[string](t, c, "values:give", text); back != text || err != nil {
		t.Errorf("sent back: got %q, %v", back, err)
	}
	given := mitogen.Kwargs{"value": map[string]any{"timeout": 30, "retrys": 3, "hosts": nil,
		"next": nil}}
	got, err := call[config](t, c, "values:give", given)
	if err != nil || got.Timeout != 30 || got.Retries != 0 || got.Hosts != nil || got.Next != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	for place, err := range map[string]error{
		"timeout: 30 ": second(call[struct{ Timeout time.Duration }](t, c, "values:give", given)),
		"retrys: 3 ":   second(call[struct{ Retrys string }](t, c, "values:give", given)),
		"None ":        second(call[int](t, c, "values:give", nil)),
		"[1]: 300 ":    second(call[[]uint8](t, c, "values:give", []int{1, 300})),
	} {
		var where *pyvalue.Error
		if !errors.As(err, &where) || !strings.HasPrefix(where.Error(), place) {
			t.Errorf("got %v, want the place %s", err, place)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Results of other types than the built-in ones fit Go's types by their plain forms.
func TestResultsOfOtherTypes(t *testing.T) {
	type uname struct{ Sysname, Machine string }
	type stat struct {
		Mode int64 `py:"st_mode"`
		Size int64 `py:"st_size"`
	}
	for _, target := range []string{"local", "local+local"} {
		e := newEngine(t, mitogen.Options{})
		c, err := e.Connect(patient(t), target, mitogen.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if u, err := call[uname](t, c, "os:uname"); err != nil || u.Sysname == "" || u.Machine == "" {
			t.Errorf("%s: got %+v, %v", target, u, err)
		}
		if s, err := call[stat](t, c, "os:stat", "/"); err != nil || s.Mode&0o40000 == 0 {
			t.Errorf("%s: got %+v, %v", target, s, err)
		}
		if s, err := call[string](t, c, "uuid:uuid4"); err != nil || len(s) != 36 {
			t.Errorf("%s: got %q, %v", target, s, err)
		}
		if m, err := call[map[string]string](t, c, "collections:OrderedDict",
			mitogen.Kwargs{"a": "b"}); err != nil || m["a"] != "b" {
			t.Errorf("%s: got %v, %v", target, m, err)
		}
		n := 0
		for v, err := range mitogen.Stream[[]int](patient(t), c, "values:ranges", 3) {
			if err != nil || len(v) != n {
				t.Errorf("%s: got %v, %v, want %d items", target, v, err, n)
			}
			n++
		}
		var failed *report.CallError
		_, err = call[any](t, c, "builtins:open", "/dev/null")
		if !errors.As(err, &failed) || failed.Type != "TypeError" ||
			!strings.Contains(failed.Text, "TextIOWrapper has no plain form") {
			t.Errorf("%s: got %v", target, err)
		}
	}
}
