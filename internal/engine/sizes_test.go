package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// What isn't a program's value has a bound of its own.
func TestAnswersAreAsLargeAsAsked(t *testing.T) {
	for name, ask := range map[string]func(c *Context){
		"ping": func(c *Context) { c.Calls.Ping(context.Background()) },
		"run": func(c *Context) {
			c.Calls.Go(context.Background(), runModule+"script", nil, nil, false)
		},
		"fork":  func(c *Context) { c.Tunnels.Fork(context.Background(), nil) },
		"beats": func(c *Context) { c.e.mu.Lock(); c.figures.pingLocked(&beatPing{c}); c.e.unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			go ask(c)
			var g wire.Frame
			for g.Reply == 0 {
				g = f.next()
			}
			f.flood(maxOwn/wire.MaxPayload+2, func(int) wire.Frame {
				return wire.Frame{Src: c.id, Handle: g.Reply, Kind: wire.Part,
					Payload: make([]byte, wire.MaxPayload)}
			})
			convictedFor(t, c, string(route.ValueSize))
		})
	}
}

// The answer to a CONNECT is one frame, with few values in it, and is read outside of the lock.
func TestAnswerToConnect(t *testing.T) {
	for name, test := range map[string]struct {
		kind    wire.Kind
		payload []byte
		ends    bool // the hop
	}{
		"parts":  {wire.Part, make([]byte, wire.MaxPayload), true},
		"laughs": {wire.Error, laughs(20), false},
		"values": {wire.Error, encode(t,
			pyvalue.Tuple{"exit", int64(1), "x", pyvalue.NewList(make([]any, 1000)...)}), false},
		"long": {wire.Error, make([]byte, wire.MaxPayload), false},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c := start(t, e, "local+local", ConnectOptions{})
			f := <-fakes
			f.hello(1)
			g := f.connect(1)
			f.flood(3, func(int) wire.Frame {
				return wire.Frame{Src: 1, Handle: g.Reply, Kind: test.kind, Payload: test.payload}
			})
			if test.ends {
				convictedFor(t, c.parent, string(route.ValueSize))
				return
			}
			if err := c.Connected(within(t)); err == nil ||
				!strings.Contains(err.Error(), "answer to CONNECT") {
				t.Errorf("connect: got error %v, want one about the answer to CONNECT", err)
			}
			if c.parent.Err() != nil {
				t.Error(c.parent.Err())
			}
		})
	}
}

func TestHelloIsSmall(t *testing.T) {
	good := map[string]any{"version": pyvalue.Tuple{int64(3), int64(11), int64(7), "final", int64(0)},
		"implementation": "cpython",
		"platform":       "linux", "uid": 1000, "hostname": strings.Repeat("h", 1000), "pid": 4242,
		"executable": strings.Repeat("x", 4096), "pickle": 5}
	if _, err := parseHello(encode(t, good)); err != nil {
		t.Error(err)
	}
	long := pyvalue.NewList(make([]any, 100)...)
	for name, b := range map[string][]byte{
		"laughs": laughs(20), "long": append(encode(t, good), make([]byte, maxHello)...), "empty": nil,
		"no dict": seven,
		"values":  encode(t, map[string]any{"version": long}),
		"short":   encode(t, map[string]any{"version": pyvalue.Tuple{int64(3)}}),
	} {
		if _, err := parseHello(b); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}
