package runtimetest

import (
	"bytes"
	"slices"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

func (c *conn) readLoop() {
	s := wire.NewScanner(c.down)
	s.Noise = func(b []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.noise = append(c.noise, b...)
	}
	for {
		f, err := s.Next()
		c.mu.Lock()
		if err != nil {
			c.ended = err
		} else {
			f.Payload = bytes.Clone(f.Payload)
			c.takeLocked(f)
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// takeLocked handles one frame from below.
func (c *conn) takeLocked(f wire.Frame) {
	switch {
	case f.Dst != 0:
		c.relayLocked(f)
	case f.Kind == wire.Part || f.Kind == wire.Item:
		c.consumeLocked(flow{f.Src, f.Handle}, f)
		c.answerLocked(f)
	case f.Handle == wire.Stdout || f.Handle == wire.Stderr:
		k := flow{f.Src, f.Handle}
		if c.output[k] == nil {
			c.output[k] = &bytes.Buffer{}
		}
		c.output[k].Write(f.Payload)
		c.consumeLocked(k, f)
	case c.answers[f.Handle] != nil:
		c.answerLocked(f)
	default:
		c.controlLocked(f)
	}
}

// relayLocked sends on what goes from one context to another, as docs/protocol section 7 has it.
func (c *conn) relayLocked(f wire.Frame) {
	if !c.allowed[[2]wire.ContextID{f.Src, f.Dst}] {
		c.refuseLocked(f)
		return
	}
	if f.Kind == wire.Item {
		c.relayed[flow{f.Src, f.Handle}] += len(f.Payload)
	}
	f.Auth = 0
	c.queue = f.Append(c.queue)
	c.changed.Broadcast()
}

// refuseLocked keeps f for the test to see, and says no.
func (c *conn) refuseLocked(f wire.Frame) {
	c.others = append(c.others, f)
	if f.Reply != 0 && f.Kind == wire.Data {
		no := wire.Frame{Kind: wire.Dead, Dst: f.Src, Src: f.Dst, Handle: f.Reply,
			Payload: []byte("not allowed")}
		c.queue = no.Append(c.queue)
		c.changed.Broadcast()
	}
}

// controlLocked handles what is no answer and no output.
func (c *conn) controlLocked(f wire.Frame) {
	switch f.Handle {
	case wire.Hello:
		v, err := pickle.Decode(f.Payload, pickle.Limits{})
		if d, ok := v.(*pyvalue.Dict); ok && err == nil {
			c.hellos[f.Src] = d
			return
		}
		c.others = append(c.others, f)
	case wire.Log:
		c.logs = append(c.logs, parseRecord(f))
	case wire.Credit:
		k, n, _ := wire.ParseCredit(f.Payload)
		c.granted[flow{f.Src, k}] += int(n)
	case wire.Lost:
		id, why, _ := wire.ParseLost(f.Payload)
		c.lost = append(c.lost, lost{id, why})
	case wire.GetModule:
		c.asked = append(c.asked, ask{f.Src, string(f.Payload)})
		if !c.withheld[string(f.Payload)] {
			c.loadLocked(f.Src, string(f.Payload))
		}
	case wire.Ping:
		c.sendLocked(wire.Frame{Dst: f.Src, Handle: f.Reply, Payload: f.Payload})
	default:
		c.refuseLocked(f)
	}
}

func (c *conn) answerLocked(f wire.Frame) {
	a := c.answers[f.Handle]
	if a == nil {
		c.others = append(c.others, f)
		return
	}
	a.src = f.Src
	if f.Kind == wire.Part {
		a.parts += len(f.Payload)
	}
	f, whole, err := c.parts.Add(f)
	if err != nil || !whole {
		return
	}
	if f.Kind == wire.Item {
		a.items = append(a.items, f.Payload)
		return
	}
	a.kind, a.payload, a.done = f.Kind, f.Payload, true
	a.times++
	a.printed = map[flow]int{}
	for k, b := range c.output {
		a.printed[k] = b.Len()
	}
	c.order++
	a.order = c.order
}

// consumeLocked gives credit for f, unless its flow is held.
func (c *conn) consumeLocked(k flow, f wire.Frame) {
	c.owed[k] += len(f.Payload)
	if !c.held[k] {
		c.payLocked(k)
	}
}

func (c *conn) payLocked(k flow) {
	if n := c.owed[k]; n > 0 {
		c.owed[k] = 0
		c.sendLocked(wire.Frame{Dst: k.src, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, k.handle, uint32(n))})
	}
}

// hold stops giving credit for a flow from l's context until the returned function is called.
func (l *link) hold(h wire.Handle) (release func()) {
	k := flow{first, h}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[k] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, k)
		l.payLocked(k)
	}
}

// sendLocked queues a frame whose authority is its source's.
func (c *conn) sendLocked(f wire.Frame) {
	f.Auth = f.Src
	c.queue = f.Append(c.queue)
	c.changed.Broadcast()
}

// loadLocked answers a question for a module: from serve, from package boot, or with no.
func (c *conn) loadLocked(id wire.ContextID, name string) {
	m, ok := c.modules[name]
	if !ok {
		m = wire.Module{Name: name, Form: wire.FormNone, Rest: []byte("not on the test's path")}
		if src, ok := boot.Module(name); ok {
			m = wire.Module{Name: name, Path: name + ".py", Form: wire.FormModule, Rest: deflate(src)}
		}
	}
	for f := range (wire.Frame{Dst: id, Handle: wire.LoadModule, Payload: m.Append(nil)}).Split() {
		c.sendLocked(f)
	}
}

// stdout returns what the context has written to fd 1 since the last call of it.
func (l *link) stdout() string { return l.take(wire.Stdout) }

func (l *link) stderr() string { return l.take(wire.Stderr) }

func (l *link) take(h wire.Handle) string { return l.outputOf(first, h) }

func (l *link) outputOf(id wire.ContextID, h wire.Handle) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.output[flow{id, h}]
	if b == nil {
		return ""
	}
	s := b.String()
	b.Reset()
	return s
}

// questions returns the names that were asked for, by any context, since the last call of it.
func (l *link) questions() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := []string{}
	for _, a := range l.asked {
		names = append(names, a.name)
	}
	l.asked = nil
	slices.Sort(names)
	return names
}
