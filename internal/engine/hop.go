package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// hopSlack is the time that a hop's own timeout has to reach the engine.
const hopSlack = 5 * time.Second

// hopFactor multiplies the connect timeout of a context that a hop starts. The hop may have a
// queue, so the context may wait for its turn before its own connect begins.
const hopFactor = 4

// never is a timeout in seconds for those who want none.
const never = 1e9

// hopStart has a hop start a context: it sends CONNECT, answers what the hop's program asks, and
// holds back what is for the context until CONNECT is on its way.
type hopStart struct {
	c *Context

	// Static, but talk and answerer go when the context is up:
	brings   []string          // modules that go to it with its start
	sent     chan struct{}     // closed when CONNECT is on its way; nil: there is none
	late     bool              // its CONNECT waits for its hop's HELLO
	talk     func([]byte)      // is told what the dialogue of its start says; nil: there is none
	answerer *askpass.Answerer // of the ssh that its hop starts; nil: there is none

	// Protected by Engine.mu:
	gate    *gate       // closed until CONNECT has been sent
	connect wire.Handle // of CONNECT's answer; 0: it wasn't sent
}

// connectVia has the hop before c start it. CONNECT goes right behind what was sent there before,
// so that no hop waits for another; but secrets wait for the hop's HELLO.
func (hs *hopStart) connectVia(plan methods.Plan, head []byte) {
	c, e := hs.c, hs.c.e
	defer e.work.jobs.Done()
	if hs.late {
		select {
		case <-c.parent.hello.ready:
		case <-c.done:
			return
		}
	}
	err := e.starts.refused.at(c.launch.place)
	if err == nil {
		err = e.audit.connect(e.work.base, c, plan, connect.SSHOptions{})
	}
	if err == nil {
		err = hs.sendConnect(plan, head)
	}
	if err != nil {
		e.tree.lose(c, err, false)
		return
	}
	close(hs.sent)
	hs.open()
	if plan.Timeout == 0 {
		return
	}
	// The hop keeps the time, from when it starts the process. This timer is for a hop that doesn't.
	// It begins when the hop is there itself, which may have many to start before.
	select {
	case <-c.parent.hello.ready:
	case <-c.done:
		return
	}
	t := time.NewTimer(hopFactor*plan.Timeout + hopSlack)
	defer t.Stop()
	select {
	case <-c.hello.ready:
	case <-c.done:
	case <-t.C:
		e.tree.lose(c, failure(c, methods.Failure{What: methods.WhatTimeout}), true)
	}
}

func hasSecrets(p methods.Plan) bool {
	for _, q := range p.Prompts {
		if q.Answer != nil {
			return true
		}
	}
	return false
}

// connectRoom is the largest size of a CONNECT without its head, in bytes. A buffer of that size
// never grows, so no copy of its secrets is left behind.
const connectRoom = 16 << 10

// types tells whether a hop may have to type a secret for a plan.
func types(p methods.Plan) bool {
	return hasSecrets(p) || p.Talk == methods.TalkAsk || p.Talk == methods.TalkStdin ||
		p.Talk == methods.TalkTerminal
}

// sendConnect queues CONNECT. c's gate is to be opened then.
func (hs *hopStart) sendConnect(plan methods.Plan, head []byte) error {
	c, e := hs.c, hs.c.e
	p := c.parent
	if err := p.Supply.pushing.take(e.work.base, p, nil); err != nil {
		return err
	}
	defer p.Supply.pushing.leave()
	modules := slices.Concat([]string{spawnModule}, e.library.passedOn, hs.brings)
	if types(plan) {
		modules = append(modules, askingModule)
	}
	if plan.Fork {
		modules = append(modules, forkModule)
	}
	for _, name := range modules {
		if err := p.Supply.push(e.work.base, name); err != nil {
			return err
		}
	}
	e.mu.Lock()
	mode := p.hello.mode
	e.mu.Unlock()
	room := make([]byte, 0, connectRoom+len(head))
	payload, err := pickle.Append(wire.AppendConnect(room, c.id, nil),
		connectDict(plan, head, hs.with()), mode)
	if hs.late {
		defer clear(payload)
	}
	if err != nil {
		return fmt.Errorf("connect %s: %w", c.name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock() // not flushed: there may be frames to come behind it
	if c.err != nil {
		return c.err
	}
	h, err := e.router.Request(p.id, 0, &connecting{c})
	if err != nil {
		return p.err
	}
	e.router.Expect(h, oneFrame, false)
	hs.connect = h
	for f := range (wire.Frame{Dst: p.id, Handle: wire.Connect, Reply: h, Payload: payload,
		Public: !hs.late, Secret: hs.late}).Split() {
		e.traffic.putLocked(p, &f)
	}
	c.figures.count.phases.Spawn = time.Since(c.figures.began)
	return nil
}

// connectDict returns the content of CONNECT. with are modules of the runtime that the hop relays.
func connectDict(p methods.Plan, head []byte, with []string) map[string]any {
	env := map[string]any{}
	for _, s := range p.Env {
		k, v, _ := strings.Cut(s, "=")
		env[k] = v
	}
	prompts := []any{}
	for _, q := range p.Prompts {
		var answer any
		if q.Answer != nil {
			answer = q.Answer
		}
		prompts = append(prompts, pyvalue.Tuple{q.Needle, answer})
	}
	timeout := never
	if p.Timeout > 0 {
		timeout = p.Timeout.Seconds()
	}
	dict := map[string]any{"name": p.Name, "argv": p.Argv, "env": env, "tty": p.TTY, "wait": p.Wait,
		"prompts": prompts,
		"timeout": timeout, "fork": p.Fork, "python": p.Python, "near": p.Near, "head": head,
		"with": with, "dialogue": [...]string{"", "stdin", "terminal", "questions", "ask"}[p.Talk]}
	if p.Bare {
		dict["bare"], dict["remove"] = true, p.Remove
	}
	return dict
}

// connecting is the owner of a CONNECT request. HELLO ends it, or an answer: why there will be no
// HELLO.
type connecting struct{ c *Context }

func (q *connecting) deliverLocked(e *Engine, _ *Context, a *route.Action) {
	c := q.c
	if c.err != nil || c.hello.up {
		return
	}
	if a.Frame.Kind == wire.Item {
		if c.hopStart.talk != nil {
			c.hopStart.talk(append([]byte(nil), a.Frame.Payload...))
		}
		return
	}
	if a.Frame.Kind != wire.Error {
		why := "not started: " + oneLine(string(a.Frame.Payload))
		e.tree.loseLocked(c, &report.LostError{Reason: why}, false)
		return
	}
	payload := append([]byte(nil), a.Frame.Payload...)
	e.traffic.afterLocked(func() { e.tree.lose(c, q.failure(payload), false) })
}

// failure returns the error that the ERROR that answers CONNECT describes.
func (q *connecting) failure(payload []byte) error {
	c := q.c
	f, err := parseFailure(payload)
	if err != nil {
		f = methods.Failure{What: methods.WhatForeign, Text: err.Error()}
	}
	if c.hopStart.answerer != nil {
		f = c.hopStart.answerer.Amend(f)
	}
	return failure(c, f)
}

// parseFailure reads the ERROR that answers CONNECT.
func parseFailure(b []byte) (methods.Failure, error) {
	v, err := pickle.Decode(b, failureLimits)
	if err != nil {
		return methods.Failure{}, fmt.Errorf("read answer to CONNECT: %w", err)
	}
	t, ok := v.(pyvalue.Tuple)
	if !ok || len(t) != 4 {
		return methods.Failure{}, errors.New("read answer to CONNECT: not a tuple of four")
	}
	what, _ := t[0].(string)
	status, _ := t[1].(int64)
	text, _ := t[2].(string)
	reached, _ := t[3].(int64)
	return methods.Failure{What: what, Status: int(status), Text: text,
		LoggedIn: reached >= reachedSession, Started: reached >= reachedPython}, nil
}

// How far a context came that a hop couldn't start (docs/protocol/bootstrap.md section 6).
const (
	reachedSession = 1 // it has printed on its stdout, which is a session's
	reachedPython  = 2 // EC0 was there
)
