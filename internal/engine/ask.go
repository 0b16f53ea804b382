package engine

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/spawn"
)

// promptKey is the key of a context.Context for the function that is asked about what is started.
type promptKey struct{}

func withPrompt(ctx context.Context, prompt askpass.Func) context.Context {
	return context.WithValue(ctx, promptKey{}, prompt)
}

// prompt returns who is asked about what is started with ctx; nil: nobody.
func (e *Engine) prompt(ctx context.Context) askpass.Func {
	prompt, _ := ctx.Value(promptKey{}).(askpass.Func)
	return prompt
}

// prompt returns who is asked about what is started with co.
func (o *Options) prompt(co ConnectOptions) askpass.Func {
	if co.Prompt != nil {
		return co.Prompt
	}
	return o.Prompt
}

// asker puts questions of sudo and its like, which ask on a terminal, to whoever answers the engine's.
type asker struct {
	prompt askpass.Func
	ctx    context.Context
	hop    string
	where  string // the target up to it
	asking atomic.Int32
}

// asker is for a plan that is to be carried out; nil where nobody can be asked, or there is nothing to ask.
func (e *Engine) asker(ctx context.Context, plan connect.Plan) *asker {
	prompt := e.prompt(ctx)
	if prompt == nil || plan.Method == "ssh" || !unanswered(plan) { // ssh asks by askpass
		return nil
	}
	return &asker{prompt: e.auditAnswers(plan.Name, prompt), ctx: ctx, hop: plan.Name, where: plan.Name}
}

// unanswered tells whether a plan has a prompt without an answer.
func unanswered(plan connect.Plan) bool {
	for _, q := range plan.Prompts {
		if q.Answer == nil {
			return true
		}
	}
	return false
}

func (a *asker) busy() bool { return a != nil && a.asking.Load() > 0 }

// function is ask, nil for no asker.
func (a *asker) function() func() (string, error) {
	if a == nil {
		return nil
	}
	return a.ask
}

func (a *asker) ask() (string, error) {
	a.asking.Add(1)
	defer a.asking.Add(-1)
	return a.prompt(a.ctx, askpass.Prompt{Hop: a.hop, Kind: askpass.Password, Text: "password (" + a.where + "): "})
}

// askPatience is what a connect by a hop may take where a person may be asked.
const askPatience = 5 * time.Minute

// converse makes a plan that a hop carries out one whose dialogue we lead, if somebody may have to be asked. talk is to be called before
// the plan is sent.
func (e *Engine) converse(c *Context, plan *connect.Plan) {
	ctx, cancel := context.WithCancel(withPrompt(e.base, c.prompt))
	a := e.asker(ctx, *plan)
	if a == nil || plan.Talk != connect.TalkPrompts {
		cancel()
		return
	}
	a.where = c.name
	said := make(chan []byte, 64)
	d := spawn.NewDialogue(plan.Prompts)
	plan.Talk, plan.Prompts = connect.TalkTerminal, nil
	if plan.Timeout > 0 {
		plan.Timeout = max(plan.Timeout, askPatience)
	}
	c.talk = func(text []byte) {
		select {
		case said <- text:
		default: // more than a program says that asks for something
		}
	}
	e.jobs.Add(1)
	go func() {
		defer e.jobs.Done()
		defer cancel()
		for {
			select {
			case text := <-said:
				e.reply(c, a, d, text)
			case <-c.ready:
				return
			case <-c.done:
				return
			}
		}
	}()
}

// reply answers what a hop's program has said.
func (e *Engine) reply(c *Context, a *asker, d *spawn.Dialogue, text []byte) {
	answers, problem := d.Feed(text)
	if problem == connect.WhatUnanswered {
		if s, err := a.ask(); err == nil {
			answers, problem = append(answers, []byte(s)), ""
		}
	}
	for _, s := range answers {
		c.Say(append(bytes.Clone(s), '\n'))
	}
	if problem != "" {
		e.lose(c, failure(c, connect.Failure{What: problem}), true)
	}
}
