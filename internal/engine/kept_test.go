package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// answerWith answers a call of the engine with a value of n bytes, in frames of a kind.
func (f *fake) answerWith(call wire.Frame, kind wire.Kind, n int) {
	f.t.Helper()
	for ; n > wire.MaxPayload; n -= wire.MaxPayload {
		f.send(wire.Frame{Src: call.Dst, Handle: call.Reply, Kind: kind,
			Payload: make([]byte, wire.MaxPayload)})
	}
	if kind == wire.Item {
		f.send(wire.Frame{Src: call.Dst, Handle: call.Reply, Kind: kind, Payload: make([]byte, n)})
		n = 0
	}
	f.send(wire.Frame{Src: call.Dst, Handle: call.Reply, Payload: make([]byte, n)})
}

// heldNow returns what the router accounts for.
func (e *Engine) heldNow() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, all := e.router.Held(0)
	return all
}

// Answers that are whole have budgets too, until they are taken.
func TestAnswersThatNothingTakes(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name     string
		kind     wire.Kind
		contexts int
		memory   int
		rule     route.Rule
	}{
		{"of one context", wire.Part, 1, 16 * mib, route.PortMemory},
		{"of one context, items", wire.Item, 1, 16 * mib, route.PortMemory},
		{"of many contexts", wire.Part, 4, 16 * mib, route.AllMemory},
		{"of many contexts, items", wire.Item, 4, 16 * mib, route.AllMemory},
	} {
		for _, taken := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, taken %v", test.name, taken), func(t *testing.T) {
				e, fakes := fakeEngine(t, Options{MaxMessage: 4 * mib, MaxMemory: test.memory})
				var all []*Context
				var fs []*fake
				for range test.contexts {
					c, f := connected(t, e, fakes)
					all, fs = append(all, c), append(fs, f)
				}
				var waiting []*Pending
				var ended *Context
				for i := 0; i < 12 && ended == nil; i++ {
					c, f := all[i%test.contexts], fs[i%test.contexts]
					p := call(c, "m:f")
					g := f.next()
					for g.Handle != wire.Call {
						g = f.next()
					}
					f.answerWith(g, test.kind, 3*mib)
					select {
					case <-p.Done():
					case <-within(t).Done():
						t.Fatal("no answer")
					}
					if taken {
						if _, _, err := p.Result(within(t)); err != nil {
							t.Fatal(err)
						}
						p.Taken()
						p.Taken() // harmless
					}
					waiting = append(waiting, p)
					if held := e.heldNow(); taken && held != 0 {
						t.Errorf("%d bytes are accounted for when all is taken", held)
					}
					for _, c := range all {
						if c.Err() != nil {
							ended = c
						}
					}
				}
				switch {
				case taken && ended != nil:
					t.Errorf("ended: %v", ended.Err())
				case !taken && ended == nil:
					t.Error("36 MiB wait, and none is ended")
				case !taken:
					convictedFor(t, ended, string(test.rule))
				}
				runtime.KeepAlive(waiting)
			})
		}
	}
}

// What nothing refers to any more is not accounted for.
func TestAnswersThatAreForgotten(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	func() {
		for range 3 {
			p := call(c, "m:f")
			g := f.next()
			for g.Handle != wire.Call {
				g = f.next()
			}
			f.answerWith(g, wire.Part, 1<<20)
			<-p.Done()
		}
	}()
	waitFor(t, "answers to be forgotten", func() bool {
		runtime.GC()
		return e.heldNow() == 0
	})
	works(t, c, f)
}

// A large answer that comes for a request which was given up, or whose end nothing takes, isn't
// accounted for, though the program still has the request.
func TestAnswersOfGivenUpCalls(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name   string
		answer wire.Kind
		give   func(p *Pending)
		after  func(p *Pending)
	}{
		{"cancelled", wire.Part, (*Pending).Cancel, nil},
		{"cancelled, with an exception", wire.Error, (*Pending).Cancel, nil},
		{"its wait ends", wire.Part, func(p *Pending) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			go p.Result(ctx)
			waitFor(t, "the call to be stopped", func() bool {
				p.answer.mu.Lock()
				defer p.answer.mu.Unlock()
				return p.answer.stopped
			})
		}, nil},
		{"left after its end", wire.Part, nil, (*Pending).Leave},
		{"an exception", wire.Error, nil, func(p *Pending) { p.Result(within(t)) }},
		{"its error is known", wire.Part,
			func(p *Pending) { p.answer.finish(wire.Dead, nil, errors.New("known")) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			p := call(c, "m:f")
			g := f.next()
			for g.Handle != wire.Call {
				g = f.next()
			}
			if tt.give != nil {
				tt.give(p)
			}
			f.answerLarge(g, tt.answer, 2*mib)
			<-p.Done()
			if tt.after != nil {
				tt.after(p)
			}
			works(t, c, f)
			waitFor(t, "the account to be empty", func() bool { return e.heldNow() == 0 })
			runtime.KeepAlive(p)
		})
	}
}

// answerLarge answers a call with a value or, where kind is wire.Error, an exception of n bytes.
func (f *fake) answerLarge(call wire.Frame, kind wire.Kind, n int) {
	if kind != wire.Error {
		f.answerWith(call, kind, n)
		return
	}
	text := strings.Repeat("x", n)
	b := encode(f.t, pyvalue.Tuple{"m", "E", text, "", nil})
	for ; len(b) > wire.MaxPayload; b = b[wire.MaxPayload:] {
		f.send(wire.Frame{Src: call.Dst, Handle: call.Reply, Kind: wire.Part,
			Payload: b[:wire.MaxPayload]})
	}
	f.send(wire.Frame{Src: call.Dst, Handle: call.Reply, Kind: wire.Error, Payload: b})
}

// Small answers are not accounted for: there is one for each call that the program has made.
func TestSmallAnswersCostNothing(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	var all []*Pending
	for range 50 {
		p := call(c, "m:f")
		g := f.next()
		for g.Handle != wire.Call {
			g = f.next()
		}
		f.answerWith(g, wire.Part, 1000)
		<-p.Done()
		all = append(all, p)
	}
	if held := e.heldNow(); held != 0 {
		t.Errorf("%d bytes are accounted for", held)
	}
	runtime.KeepAlive(all)
}

// Large values are made in turn; small ones wait for nothing.
func TestWorkshop(t *testing.T) {
	w := newWorkshop(100)
	var mu sync.Mutex
	used, most := 0, 0
	var wg sync.WaitGroup
	for range 50 {
		for _, n := range []int{10, 40, 60, 1000} {
			wg.Go(func() {
				leave := w.enter(n)
				n := min(n, 100)
				mu.Lock()
				used += n
				most = max(most, used)
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
				used -= n
				mu.Unlock()
				leave()
			})
		}
	}
	soon(t, later(func() error { wg.Wait(); return nil }))
	if used != 0 || most > 100 || w.free != 100 {
		t.Errorf("%d used at once of 100, %d in the end, %d are free", most, used, w.free)
	}

	e, _ := fakeEngine(t, Options{})
	lim := e.Limits()
	asked := 0
	gate := lim.Gate
	lim.Gate = func(n int) func() {
		asked++
		return gate(n)
	}
	for size, want := range map[int]int{10: 0, 2 << 20: 1} {
		asked = 0
		b := encode(t, bytes.Repeat([]byte("x"), size))
		if _, err := pickle.Decode(b, lim); err != nil || asked != want {
			t.Errorf("decode %d bytes: asked %d times, %v", size, asked, err)
		}
		var into []byte
		if err := pickle.Unmarshal(b, lim, &into); err != nil || asked != 2*want {
			t.Errorf("unmarshal %d bytes: asked %d times, %v", size, asked, err)
		}
	}
	if e.workshop.free != e.workshop.most {
		t.Errorf("%d of %d bytes are free, want all", e.workshop.free, e.workshop.most)
	}
}

// spared are floods that an honest context may be the source of, if its program has it or it knows
// no better. 2,000 frames don't end it, but many more do.
var spared = map[string]string{
	"credit of nothing":  "it may have crossed the end of a request",
	"credit for no flow": "it may have crossed the end of a request",
	"call of another":    "its program calls what it may not",
	"call of nobody":     "its program calls what isn't there",
	"bytes for another":  "its program sends where it may not",
}

// 2,000 frames that no honest context sends end their sender.
func TestSmallFloodsEndTheFlooder(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	stop := innocent(t, e, fakes)
	good := e.Contexts()[0]
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			c, f := connected(t, e, fakes)
			go f.swallow()
			f.flood(floodFrames, func(i int) wire.Frame { return from(c, good, flood.frame, i) })
			if spared[flood.name] == "" {
				convictedFor(t, c, report.CodeOffences)
				return
			}
			f.send(wire.Frame{Src: c.id, Handle: wire.Stdout, Payload: []byte("x")})
			waitFor(t, "all frames", func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return c.err != nil || c.figures.count.framesUp >= floodFrames+2
			})
			if c.Err() != nil {
				t.Errorf("ended: %v; %s", c.Err(), spared[flood.name])
			}
			c.Release()
		})
	}
	stop()
}
