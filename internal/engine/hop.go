package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
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

// connectVia has the hop before c start it. CONNECT goes right behind what was sent there before,
// so that no hop waits for another; but secrets wait for the hop's HELLO.
func (e *Engine) connectVia(c *Context, plan methods.Plan, head []byte) {
	defer e.jobs.Done()
	if c.late {
		select {
		case <-c.parent.ready:
		case <-c.done:
			return
		}
	}
	err := e.refused.at(c.place)
	if err == nil {
		err = e.auditConnect(e.base, c, plan, connect.SSHOptions{})
	}
	if err == nil {
		err = e.sendConnect(c, plan, head)
	}
	if err != nil {
		e.lose(c, err, false)
		return
	}
	close(c.sent)
	e.open(c)
	if plan.Timeout == 0 {
		return
	}
	// The hop keeps the time, from when it starts the process. This timer is for a hop that doesn't.
	// It begins when the hop is there itself, which may have many to start before.
	select {
	case <-c.parent.ready:
	case <-c.done:
		return
	}
	t := time.NewTimer(hopFactor*plan.Timeout + hopSlack)
	defer t.Stop()
	select {
	case <-c.ready:
	case <-c.done:
	case <-t.C:
		e.lose(c, failure(c, methods.Failure{What: methods.WhatTimeout}), true)
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
func (e *Engine) sendConnect(c *Context, plan methods.Plan, head []byte) error {
	p := c.parent
	if err := p.pushing.take(e.base, p, nil); err != nil {
		return err
	}
	defer p.pushing.leave()
	modules := slices.Concat([]string{spawnModule}, c.brings)
	if types(plan) {
		modules = append(modules, askingModule)
	}
	if plan.Fork {
		modules = append(modules, forkModule)
	}
	for _, name := range modules {
		if err := p.push(e.base, name); err != nil {
			return err
		}
	}
	e.mu.Lock()
	mode := p.mode
	e.mu.Unlock()
	room := make([]byte, 0, connectRoom+len(head))
	payload, err := pickle.Append(wire.AppendConnect(room, c.id, nil),
		connectDict(plan, head, c.with()), mode)
	if c.late {
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
	c.connect = h
	for f := range (wire.Frame{Dst: p.id, Handle: wire.Connect, Reply: h, Payload: payload,
		Public: !c.late, Secret: c.late}).Split() {
		e.putLocked(p, &f)
	}
	c.count.phases.Spawn = time.Since(c.began)
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
	if c.err != nil || c.up {
		return
	}
	if a.Frame.Kind == wire.Item {
		if c.talk != nil {
			c.talk(append([]byte(nil), a.Frame.Payload...))
		}
		return
	}
	if a.Frame.Kind != wire.Error {
		e.loseLocked(c, &report.LostError{Reason: "not started: " + oneLine(string(a.Frame.Payload))},
			false)
		return
	}
	payload := append([]byte(nil), a.Frame.Payload...)
	e.afterLocked(func() { e.lose(c, q.failure(payload), false) })
}

// failure returns the error that the ERROR that answers CONNECT describes.
func (q *connecting) failure(payload []byte) error {
	c := q.c
	f, err := parseFailure(payload)
	if err != nil {
		f = methods.Failure{What: methods.WhatForeign, Text: err.Error()}
	}
	if c.answerer != nil {
		f = c.answerer.Amend(f)
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
