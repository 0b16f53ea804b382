package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// convictedFor waits until c is gone and fails unless it was ended for breaking the rule code.
func convictedFor(t *testing.T, c *Context, code string) {
	t.Helper()
	select {
	case <-c.Done():
	case <-within(t).Done():
		t.Fatalf("%s is not ended", c.Name())
	}
	var lost *report.LostError
	if !errors.As(c.Err(), &lost) || lost.Code != code || lost.Hop != c.Name() ||
		!strings.HasPrefix(lost.Reason, "killed: ") {
		t.Errorf("%s ended with %#v, want code %q", c.Name(), c.Err(), code)
	}
}

// serve answers all calls of the engine to a fake, until that ends.
func (f *fake) serve() {
	for {
		select {
		case g := <-f.frames:
			if g.Handle == wire.Call && g.Reply != 0 {
				f.send(wire.Frame{Src: g.Dst, Dst: 0, Handle: g.Reply, Payload: seven})
			}
		case <-f.done:
			return
		}
	}
}

// swallow takes all frames for a fake, until that ends.
func (f *fake) swallow() {
	for {
		select {
		case <-f.frames:
		case <-f.done:
			return
		}
	}
}

var seven = []byte("\x80\x02K\x07.")

// innocent makes calls to a context of its own until stop is called, which fails if one went wrong.
func innocent(t *testing.T, e *Engine, fakes chan *fake) (stop func() (calls int)) {
	t.Helper()
	c, f := connected(t, e, fakes)
	go f.serve()
	ctx, cancel := context.WithCancel(context.Background())
	waiting := within(t)
	var n int
	var wrong error
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil && wrong == nil {
			b, _, err := call(c, "m:f").Result(waiting)
			if n++; err != nil || !bytes.Equal(b, seven) {
				wrong = errors.Join(err, errors.New("got another answer"))
			}
		}
	})
	return func() int {
		cancel()
		wg.Wait()
		if wrong != nil || n == 0 {
			t.Errorf("innocent context: call %d: %v", n, wrong)
		}
		return n
	}
}

// laughs is a pickle whose value has 2^levels parts, all the same.
func laughs(levels int) []byte {
	b := []byte("\x80\x02K\x01q\x00")
	for i := range levels {
		b = append(b, 'h', byte(i), '\x86', 'q', byte(i+1))
	}
	return append(b, '.')
}

// floods are ways of a context to cost the engine something: frames in the name of itself (1) or of
// other contexts.
var floods = []struct {
	name  string
	frame func(c, good *Context, i int) wire.Frame
}{
	{"lost of nobody", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Lost,
			Payload: wire.AppendLost(nil, wire.ContextID(1_000_000+i), "lie")}
	}},
	{"lost of another", func(_, good *Context, _ int) wire.Frame {
		return wire.Frame{Handle: wire.Lost, Payload: wire.AppendLost(nil, good.id, "lie")}
	}},
	{"lost without an id", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Lost}
	}},
	{"hello again", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Hello, Payload: []byte("\x80\x02}.")}
	}},
	{"unknown handle", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Handle(500_000 + i)}
	}},
	{"fixed handle", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Handle(25 + i%900)}
	}},
	{"handle of a context", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Handle(i % 16)}
	}},
	{"kinds that a handle hasn't", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Hello + wire.Handle(i%9), Kind: wire.Dead + wire.Kind(i%4),
			Payload: []byte("x")}
	}},
	{"answer to another's question", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.FirstDynamic + wire.Handle(i%5), Kind: wire.Kind(i % 5),
			Payload: []byte("forged")}
	}},
	{"forged source", func(_, good *Context, _ int) wire.Frame {
		return wire.Frame{Src: good.id, Handle: wire.Log}
	}},
	{"forged engine", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Src: ^wire.ContextID(0), Handle: wire.Log}
	}},
	{"credit of nothing", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Credit, Payload: wire.AppendCredit(nil, 1000, 0)}
	}},
	{"credit for no flow", func(_, _ *Context, i int) wire.Frame {
		return wire.Frame{Handle: wire.Credit, Payload: wire.AppendCredit(nil, wire.Handle(2000+i), 1)}
	}},
	{"malformed credit", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Credit}
	}},
	{"ping", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Ping, Reply: 2000, Payload: []byte("ping")}
	}},
	{"ping without an answer", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Ping}
	}},
	{"dropped", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Dropped, Payload: wire.AppendForward(nil, wire.BundleID{}, 1)}
	}},
	{"malformed dropped", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Dropped}
	}},
	{"lacks", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Lacks, Payload: bytes.Repeat([]byte("a\x00"), 1000)}
	}},
	{"malformed module", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.GetModule, Payload: []byte("a\x00b")}
	}},
	{"malformed file", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.GetFile}
	}},
	{"laughing record", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Handle: wire.Log, Payload: laughs(20)}
	}},
	{"call of another", func(_, good *Context, i int) wire.Frame {
		return wire.Frame{Dst: good.id, Handle: wire.Call, Reply: wire.Handle(1000 + i%3),
			Payload: []byte("os:getpid\x00")}
	}},
	{"call of nobody", func(*Context, *Context, int) wire.Frame {
		return wire.Frame{Dst: 9999, Handle: wire.Call}
	}},
	{"bytes for another", func(_, good *Context, _ int) wire.Frame {
		return wire.Frame{Dst: good.id, Handle: wire.FirstDynamic, Kind: wire.Part,
			Payload: make([]byte, 100)}
	}},
}

// from is the frame that c sends as the i-th of a flood.
func from(c, good *Context, frame func(c, good *Context, i int) wire.Frame, i int) wire.Frame {
	f := frame(c, good, i)
	switch f.Src {
	case 0:
		f.Src = c.id
	case ^wire.ContextID(0):
		f.Src = 0
	}
	return f
}

// Each way of costing the engine something ends the context that uses it, and no other one: all
// calls of another one are answered.
func TestFloodsEndTheFlooder(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	stop := innocent(t, e, fakes)
	good := e.Contexts()[0]
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			c, f := connected(t, e, fakes)
			go f.swallow()
			f.flood(400_000, func(i int) wire.Frame { return from(c, good, flood.frame, i) })
			convictedFor(t, c, report.CodeOffences)
			if n := len(e.Contexts()); n != 1 {
				t.Errorf("%d contexts are left, want 1", n)
			}
		})
	}
	stop()
}

// What honest contexts send too late is no offence, however often it happens one after another.
func TestLateFramesAreHonest(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	// a hop of its own, which is held without good, too
	o := ConnectOptions{LogLevel: slog.LevelDebug}
	owned, good := start(t, e, "local", o), start(t, e, "local+local", o)
	if good.parent != owned {
		t.Fatal("the hop isn't shared")
	}
	hop := <-fakes
	hop.hello(good.parent.id)
	hop.hello(good.id)
	if err := good.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	var handles []wire.Handle
	for range 3000 { // calls that were given up
		h, err := e.router.Request(c.id, 1, &ignored{})
		if err != nil {
			t.Fatal(err)
		}
		e.router.Forget(h, nil)
		handles = append(handles, h)
	}
	e.mu.Unlock()
	e.tree.lose(good, ErrClosed, false)
	go f.swallow()
	go hop.swallow()
	for _, h := range handles {
		for range 10 {
			f.send(wire.Frame{Src: c.id, Handle: h, Kind: wire.Item, Payload: []byte("late")})
		}
		f.send(wire.Frame{Src: c.id, Handle: h})
	}
	// frames that were on their way from a lost context, and word of its loss
	hop.flood(50_000, func(i int) wire.Frame {
		if i%100 == 0 {
			return wire.Frame{Src: good.parent.id, Handle: wire.Lost,
				Payload: wire.AppendLost(nil, good.id, "ended")}
		}
		return wire.Frame{Src: good.id, Handle: wire.Log}
	})
	waitFor(t, "all to be taken", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return c.figures.count.framesUp >= 33_000 && good.parent.stream.Counters().BytesUp >= 49_000*30
	})
	if c.Err() != nil || good.parent.Err() != nil {
		t.Errorf("ended: %v, %v", c.Err(), good.parent.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.conduct.offences != 0 || good.parent.conduct.offences != 0 {
		t.Errorf("%d and %d offences, want none", c.conduct.offences, good.parent.conduct.offences)
	}
}

type ignored struct{}

func (*ignored) deliverLocked(*Engine, *Context, *route.Action) {}

// An account is emptied in time, so that a little for ever is forgiven, and too much at once is
// not.
func TestAccount(t *testing.T) {
	now := time.Unix(1e9, 0)
	var a account
	for range 10_000 {
		now = now.Add(time.Second / 10)
		if a.charge(offence, now) {
			t.Fatal("10 offences a second end a context")
		}
	}
	a = account{}
	for range 20_000 * 90 { // of 20,000 a second half are forgiven
		now = now.Add(time.Second / 20_000)
		if a.charge(lateness, now) {
			t.Fatal("20,000 late frames a second end a context within 90 s")
		}
	}
	n := 1
	for a = (account{}); !a.charge(offence, now); n++ {
	}
	if n != maxOffences/offence {
		t.Errorf("ended after %d offences at once, want %d", n, maxOffences/offence)
	}
	if a.charge(offence, now.Add(time.Hour)) || a.units != offence {
		t.Errorf("after an hour %d units are left", a.units)
	}
	if a.charge(0, now.Add(-time.Hour)) {
		t.Error("a clock that is set back ends a context")
	}
}

// hopWith returns a hop with n contexts behind it, all up, and its fake, which takes what comes.
// Hops of other numbers aren't shared.
func hopWith(t *testing.T, e *Engine, fakes chan *fake, n, number int) (*Context, []*Context,
	*fake) {
	t.Helper()
	var behind []*Context
	for range n {
		behind = append(behind, start(t, e, "local+local", ConnectOptions{LogLevel: slog.Level(number)}))
	}
	hop := behind[0].parent
	f := <-fakes
	f.hello(hop.id)
	go f.swallow()
	for _, c := range behind {
		f.hello(c.id)
		if err := c.Connected(within(t)); err != nil || c.parent != hop {
			t.Fatal(err, c.parent == hop)
		}
	}
	return hop, behind, f
}

// Unfinished values of all that a hop claims to have behind it have one budget, and all hops
// together have one.
func TestMemoryOfManyContexts(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		code      string
		hops, all int
		kind      wire.Kind
	}{
		{string(route.PortMemory), 1, 64 * mib, wire.Part},
		{string(route.PortMemory), 1, 64 * mib, wire.Item},
		{string(route.AllMemory), 3, 12 * mib, wire.Part},
		{string(route.AllMemory), 3, 12 * mib, wire.Item},
	} {
		t.Run(test.code+" "+test.kind.String(), func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{MaxMessage: 4 * mib, MaxMemory: test.all})
			stop := innocent(t, e, fakes)
			var all []*Context
			var senders []*fake
			for i := range test.hops {
				_, behind, f := hopWith(t, e, fakes, 6, i+1)
				all = append(all, behind...)
				for range behind {
					senders = append(senders, f)
				}
			}
			var handles []wire.Handle
			for _, c := range all {
				p := call(c, "m:f")
				e.mu.Lock()
				handles = append(handles, p.handle)
				e.mu.Unlock()
			}
			most := 0
			for round := range 24 {
				for i, c := range all {
					senders[i].send(wire.Frame{Src: c.id, Kind: test.kind, Handle: handles[i],
						Payload: make([]byte, wire.MaxPayload)})
				}
				e.mu.Lock()
				_, held := e.router.Held(0)
				e.mu.Unlock()
				most = max(most, held)
				if slices.ContainsFunc(all, func(c *Context) bool { return c.Err() != nil }) {
					break
				}
				time.Sleep(time.Duration(round) * time.Millisecond)
			}
			var ended *Context
			waitFor(t, "one to be ended", func() bool {
				i := slices.IndexFunc(all, func(c *Context) bool { return c.Err() != nil })
				if i >= 0 {
					ended = all[i]
				}
				return i >= 0
			})
			convictedFor(t, ended, test.code)
			if bound := min(test.all, test.hops*8*mib) + wire.MaxPayload + 1024; most > bound {
				t.Errorf("%d bytes were kept, want at most %d", most, bound)
			}
			stop()
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if _, held := e.router.Held(0); held != 0 || !e.router.Idle() {
				t.Errorf("%d bytes are kept when all are gone", held)
			}
		})
	}
}

// Nothing that comes from a context is decoded under the lock.
func TestDecodingIsOutsideOfTheLock(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c := start(t, e, "local+local", ConnectOptions{})
	<-fakes
	hop := c.parent
	e.mu.Lock()
	defer e.mu.Unlock()
	e.traffic.helloLocked(hop, &wire.Frame{Payload: []byte("no pickle")})
	(&connecting{c}).deliverLocked(e, hop,
		&route.Action{Frame: wire.Frame{Kind: wire.Error, Payload: []byte("no pickle")}})
	if hop.err != nil || c.err != nil || len(e.traffic.takeAfterLocked()) != 2 {
		t.Error("what is no pickle has been read under the lock")
	}
	hop.Supply.requests.asks = 1
	hop.Supply.requests.lacksLocked(bytes.Repeat([]byte("\xff\x00"), 10))
	if n := len(hop.Supply.requests.queue); n > 0 && hop.Supply.requests.queue[n-1].payload == nil {
		t.Error("names were read under the lock")
	}
}

// counting is a log handler that blocks until it is let go, and counts.
type counting struct {
	blocked
	mu      sync.Mutex
	records map[string]int
}

func (h *counting) Handle(ctx context.Context, r slog.Record) error {
	<-h.blocked
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records[r.Message]++
	return nil
}

func (h *counting) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *counting) WithGroup(string) slog.Handler      { return h }

// What a context has logged before it was ended for an offence isn't worked off.
func TestRecordsOfTheConvicted(t *testing.T) {
	h := &counting{blocked: make(blocked), records: map[string]int{}}
	e, fakes := fakeEngine(t, Options{Logger: slog.New(h)})
	c, f := connected(t, e, fakes)
	record := encode(t, pyvalue.Tuple{int64(30), "l", 1.0, "message", ""})
	f.flood(1000, func(int) wire.Frame {
		return wire.Frame{Src: c.id, Handle: wire.Log, Payload: record}
	})
	f.flood(100_000, func(int) wire.Frame { return wire.Frame{Src: c.id, Handle: 500} })
	convictedFor(t, c, report.CodeOffences)
	close(h.blocked)
	waitFor(t, "the queue to be empty", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return !c.outbox.busy
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.records["message"]; n > 1 { // one was being handed over
		t.Errorf("%d records were handed over", n)
	}
}

// If a context's queue fills, the engine ends the context that has filled it, not the context whose
// frame came last.
func TestWhoHasFilledAQueue(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	bad, badFake := connected(t, e, fakes)
	good, goodFake := connected(t, e, fakes)
	deaf, _ := connected(t, e, fakes)
	for _, c := range []*Context{bad, good} {
		if err := e.Allow(c, deaf); err != nil {
			t.Fatal(err)
		}
	}
	badFake.flood(cap(goodFake.frames)+100, func(int) wire.Frame { // which its fake takes
		return wire.Frame{Src: bad.id, Dst: deaf.id, Handle: wire.Call}
	})
	badFake.flood(floodLimit/(100<<10), func(int) wire.Frame {
		return wire.Frame{Src: bad.id, Dst: deaf.id, Handle: wire.Call, Payload: make([]byte, 100<<10)}
	})
	badFake.quiet(bad.id)
	for bad.Err() == nil {
		goodFake.send(wire.Frame{Src: good.id, Dst: deaf.id, Handle: wire.Call,
			Payload: make([]byte, 64<<10)})
	}
	convictedFor(t, bad, report.CodeFlood)
	works(t, good, goodFake)
}

// Two senders that end in turn end once each.
func TestEndsOfReceivers(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	a, fa := connected(t, e, fakes)
	b, fb := connected(t, e, fakes)
	r := e.Receiver()
	r.Admit(a)
	r.Admit(b)
	for range 100 {
		fa.send(wire.Frame{Src: a.id, Handle: r.handle})
		fb.send(wire.Frame{Src: b.id, Handle: r.handle})
	}
	fa.quiet(a.id)
	fb.quiet(b.id)
	r.mu.Lock()
	n := len(r.queue)
	r.mu.Unlock()
	if n != 2 {
		t.Errorf("%d ends are queued, want 2", n)
	}
	r.Admit(a) // its sender was passed to it again
	fa.send(wire.Frame{Src: a.id, Kind: wire.Item, Handle: r.handle, Payload: seven})
	fa.quiet(a.id)
	for _, want := range []string{"", "", string(seven)} {
		m, err := r.Get(within(t))
		if (err == io.EOF) != (want == "") || string(m.Value) != want {
			t.Errorf("got %q, %v, want %q", m.Value, err, want)
		}
	}
}
