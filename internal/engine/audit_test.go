package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// listener keeps events, and refuses the nth and all that come after; 0: none.
type listener struct {
	mu     sync.Mutex // protects following
	all    []report.Event
	refuse int
}

var errFull = errors.New("full")

func (a *listener) tell(ev report.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse > 0 && len(a.all)+1 >= a.refuse {
		return errFull
	}
	a.all = append(a.all, ev)
	return nil
}

// lines are the events in short.
func (a *listener) lines() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, ev := range a.all {
		all = append(
			all,
			fmt.Sprintf("%s %d %s %s %s", ev.Kind, ev.ID, ev.Host, ev.Name, ev.Outcome),
		)
	}
	return all
}

func TestAuditTellsInOrder(t *testing.T) {
	a := &listener{}
	e, fakes := fakeEngine(t, Options{Audit: a.tell})
	c, f := connected(t, e, fakes)
	p := call(c, "m:f")
	for {
		if g := f.next(); g.Handle == wire.Call {
			f.reply(g, wire.Data, nil)
			break
		}
	}
	if _, err := result(t, p); err != nil {
		t.Fatal(err)
	}
	f.send(wire.Frame{Src: c.id, Handle: 77})
	f.quiet(c.id)
	e.Close()
	want := []string{
		"connect 1   ",
		"up 1 host1  ",
		"call 1  m:f ",
		"end 1  m:f well",
		"refused 1  frame refused ",
		"gone 1   closed",
	}
	if got := a.lines(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Each engine of a process has a number of its own.
func TestAuditNumbersEngines(t *testing.T) {
	numbers := map[uint32]bool{}
	for range 2 {
		a := &listener{}
		e, fakes := fakeEngine(t, Options{Audit: a.tell})
		connected(t, e, fakes)
		a.mu.Lock()
		for _, ev := range a.all {
			numbers[ev.Engine] = true
		}
		a.mu.Unlock()
	}
	if len(numbers) != 2 || numbers[0] {
		t.Errorf("got numbers %v, want two, without 0", numbers)
	}
}

// What is to be told before and can't be doesn't happen, and ends what is there: whichever event it
// is.
func TestAuditFails(t *testing.T) {
	for n := 1; n <= 4; n++ {
		a := &listener{refuse: n}
		e, fakes := fakeEngine(t, Options{Audit: a.tell})
		c, err := e.Start("local", ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n > 1 {
			f := <-fakes
			f.hello(c.id)
			if n > 3 {
				go func() {
					for g := range f.frames {
						if g.Handle == wire.Call {
							f.reply(g, wire.Data, nil)
							return
						}
					}
				}()
			}
		}
		_, err = result(t, call(c, "m:f"))
		if n < 4 && !errors.Is(err, ErrAudit) {
			t.Errorf("event %d refused: call got %v, want %v", n, err, ErrAudit)
		}
		waitFor(t, "the end of the context", func() bool { return c.Err() != nil })
		if err := c.Err(); !errors.Is(err, ErrAudit) || !errors.Is(err, errFull) {
			t.Errorf("event %d refused: context got %v, want %v", n, err, ErrAudit)
		}
		if _, err := e.Start("local", ConnectOptions{}); err == nil {
			waitFor(t, "the end of a second context", func() bool { return len(e.Contexts()) == 0 })
		}
		if len(fakes) > 0 {
			t.Errorf("event %d refused: a process was started", n)
		}
		if err := e.Close(); !errors.Is(err, ErrAudit) {
			t.Errorf("event %d refused: close got %v, want %v", n, err, ErrAudit)
		}
	}
}

// Text of events is short and safe.
func TestAuditTextIsSafe(t *testing.T) {
	a := &listener{}
	e, fakes := fakeEngine(t, Options{Audit: a.tell})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := <-fakes
	f.send(wire.Frame{Src: c.id, Handle: wire.Hello, Payload: encode(t, map[string]any{
		"version": pyvalue.Tuple{
			int64(3),
			int64(11),
			int64(7),
		}, "hostname": "a\x1b\n\u202e" + string(make([]byte, 10000))})})
	if err := c.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	e.Close()
	for _, ev := range a.all {
		if ev.Kind == report.EventUp && (len(ev.Host) > maxText || ev.Host[:12] != `a\x1b\x0a\u2`) {
			t.Errorf("got %q", ev.Host)
		}
	}
}

// Answers to questions of sudo and its like are told, whatever their source. An answer that can't
// be told isn't given.
func TestAuditOfAnswers(t *testing.T) {
	plan := methods.Plan{
		Method:  "sudo",
		Name:    "sudo",
		Prompts: []methods.Prompt{{Needle: []byte("password:")}},
	}
	person := func(context.Context, connect.Prompt) (string, error) { return "typed", nil }
	kept := func(context.Context, secret.Place) (secret.Secret, error) { return "kept", nil }
	nobody := func(context.Context, connect.Prompt) (string, error) { return "", errFull }
	for name, c := range map[string]struct {
		prompt  connect.PromptFunc
		secrets secret.Source
		refuse  int
		answer  string
		events  []string
	}{
		"person":  {person, nil, 0, "typed", []string{"prompt 0 sudo password answered"}},
		"source":  {nil, kept, 0, "kept", []string{"prompt 0 sudo password answered"}},
		"nobody":  {nobody, nil, 0, "", []string{"prompt 0 sudo password refused"}},
		"no room": {person, kept, 1, "", nil},
	} {
		a := &listener{refuse: c.refuse}
		e, _ := fakeEngine(t, Options{Audit: a.tell})
		ctx := withSecrets(withPrompt(t.Context(), c.prompt), c.secrets, "web1+sudo")
		answer, err := e.dialogues.asker(ctx, plan).ask()
		if answer != c.answer || (err == nil) != (c.answer != "") ||
			!slices.Equal(a.lines(), c.events) {
			t.Errorf(
				"%s: got %q, %v, events %q; want %q, %q",
				name,
				answer,
				err,
				a.lines(),
				c.answer,
				c.events,
			)
		}
		for _, ev := range a.all {
			if ev.Context != "web1+sudo" {
				t.Errorf("%s: got context %q, want web1+sudo", name, ev.Context)
			}
		}
	}
}
