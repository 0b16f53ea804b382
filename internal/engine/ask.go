package engine

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// promptKey is the key of a context.Context for the function that is asked about what is started.
type promptKey struct{}

func withPrompt(ctx context.Context, prompt connect.PromptFunc) context.Context {
	return context.WithValue(ctx, promptKey{}, prompt)
}

// dialogues knows who answers questions of programs that start contexts, and hides the secrets
// that come of it.
type dialogues struct {
	e       *Engine
	turns   askpass.Turns // of questions for passphrases
	askpass askpass.Server
	mask    methods.Mask // of the secrets of the engine's connects
}

// prompt returns the function that answers questions of programs started with ctx; nil: there is
// none.
func (d *dialogues) prompt(ctx context.Context) connect.PromptFunc {
	prompt, _ := ctx.Value(promptKey{}).(connect.PromptFunc)
	return prompt
}

// secretsKey is the key of a context.Context for what has secrets for what is started.
type secretsKey struct{}

// found is a source of secrets, and the target that it is asked for.
type found struct {
	source secret.Source
	target string
}

func withSecrets(ctx context.Context, source secret.Source, target string) context.Context {
	return context.WithValue(ctx, secretsKey{}, found{source, target})
}

// secretsOf returns what has secrets for what is started with ctx; its source may be nil.
func secretsOf(ctx context.Context) found {
	f, _ := ctx.Value(secretsKey{}).(found)
	return f
}

// sources returns what has secrets for what is started with o; nil: there is nothing. It may block:
// its answer is waited for no longer than ctx.
func (d *dialogues) sources(o ConnectOptions) secret.Source {
	e := d.e
	source := o.Secrets
	if source == nil {
		source = e.opt.Secrets
	}
	if source == nil {
		return nil
	}
	return func(ctx context.Context, p secret.Place) (secret.Secret, error) {
		e.work.drains.Add(1)
		return aside.Do(ctx, nil, func() (secret.Secret, error) {
			defer e.work.drains.Done()
			return source(ctx, p)
		})
	}
}

// prompts returns the function that answers questions of programs started with o; nil: there is
// none. It waits for an answer no longer than ctx.
func (d *dialogues) prompts(o ConnectOptions) connect.PromptFunc {
	e := d.e
	prompt := o.Prompt
	if prompt == nil {
		prompt = e.opt.Prompt
	}
	if prompt == nil {
		return nil
	}
	ask := func(ctx context.Context, p connect.Prompt) (string, error) {
		e.work.drains.Add(1)
		return aside.Do(ctx, nil, func() (string, error) {
			defer e.work.drains.Done()
			return prompt(ctx, p)
		})
	}
	if o.Prompt != nil { // who may be another person for each context
		return ask
	}
	return d.turns.Func(ask)
}

// asker puts questions of sudo and its like, which ask on a terminal, to what has secrets, once,
// and to the person who answers the engine's questions.
type asker struct {
	answer  connect.PromptFunc // find, of which the audit log is told
	prompt  connect.PromptFunc // nil: there is no person
	secrets secret.Source      // nil: there is nothing
	place   secret.Place
	ctx     context.Context
	hide    func(secret string) // has it hidden in texts
	hop     string
	where   string // the target up to it
	asking  atomic.Int32

	mu    sync.Mutex // protects following
	given bool       // the secret that was found was typed
	// one of connect.What…, of a question that wasn't answered for another reason than that there was
	// no answer
	what  string
	why   string // what there is to say of it
	cause error  // of the last question that had no answer
}

// asker returns the asker for a plan that is to be carried out. It is nil if nothing can answer, or
// if there is nothing to ask.
func (d *dialogues) asker(ctx context.Context, plan methods.Plan) *asker {
	prompt, from := d.prompt(ctx), secretsOf(ctx)
	// ssh asks by askpass
	if prompt == nil && from.source == nil || plan.Method == "ssh" || !unanswered(plan) {
		return nil
	}
	a := &asker{prompt: prompt, secrets: from.source, hide: d.mask.Add,
		place: placeOf(from.target, plan), ctx: ctx, hop: plan.Name, where: plan.Name}
	a.answer = d.e.audit.answers(cmp.Or(from.target, plan.Name), a.find)
	return a
}

// placeOf returns the place of the password that a plan's program asks for. target leads to it.
func placeOf(target string, plan methods.Plan) secret.Place {
	p := secret.Place{Kind: secret.Password, Method: plan.Method, Target: target, User: "root"}
	if h, err := methods.ParseHop(plan.Name); err == nil && h.User != "" {
		p.User = h.User
	}
	hops, err := methods.ParseTarget(target)
	if err != nil {
		return p
	}
	for _, h := range hops {
		if h.Method == "ssh" || h.IsConsole() {
			p.Host = h.Host
		}
	}
	return p
}

// unanswered tells whether a plan has a prompt without an answer.
func unanswered(plan methods.Plan) bool {
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

func (a *asker) ask() (string, error) { return a.askWithin(a.ctx) }

// askWithin asks until ctx ends, which a.ctx ends too.
func (a *asker) askWithin(ctx context.Context) (string, error) {
	a.asking.Add(1)
	defer a.asking.Add(-1)
	return a.answer(ctx, connect.Prompt{Hop: a.hop, Kind: connect.PromptPassword,
		Text: "password (" + a.where + "): "})
}

// find returns the secret of the place, or what a person types.
func (a *asker) find(ctx context.Context, p connect.Prompt) (string, error) {
	switch s, err := a.kept(ctx); {
	case err != nil:
		return "", err
	case s != "":
		a.hide(string(s))
		return string(s), nil
	case a.prompt == nil:
		return "", errNoSecret
	}
	answer, err := a.prompt(ctx, p)
	a.blame(err)
	return answer, err
}

func (a *asker) blame(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cause = err
}

var (
	errNoSecret = errors.New("no secret for this place")
	errRefused  = errors.New("the secret for this place was refused")
)

// kept returns the secret of the place; "": there is none. It is given once.
func (a *asker) kept(ctx context.Context) (secret.Secret, error) {
	if a.secrets == nil {
		return "", nil
	}
	a.mu.Lock()
	again := a.given
	a.mu.Unlock()
	if again {
		a.note(methods.WhatRepeated, "the "+a.place.String()+" was refused")
		return "", errRefused
	}
	s, err := a.secrets(ctx, a.place)
	if err != nil {
		a.blame(err)
		a.note(methods.WhatUnanswered, printable.Line(err.Error()))
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.given = s != ""
	return s, nil
}

func (a *asker) note(what, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.what, a.why = what, why
}

// amend says of a failed start what only the asker knows. It works for nil.
func (a *asker) amend(f methods.Failure) methods.Failure {
	if a == nil {
		return f
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.What == methods.WhatUnanswered {
		f.Err = a.cause
	}
	if a.why != "" && f.What == methods.WhatUnanswered {
		f.What, f.Text = a.what, strings.TrimRight(f.Text, "\n")+"\n"+a.why
	}
	return f
}

// askPatience limits a connect by a hop if the engine may have to ask a person.
const askPatience = 5 * time.Minute

// converse has the hop that carries out a plan ask us for what the plan has no answer to, if a
// person can be asked. The hop asks when its program is known to wait for the answer. converse is
// to be called before the plan is sent.
func (hs *hopStart) converse(plan *methods.Plan) {
	c, e := hs.c, hs.c.e
	ctx, cancel := context.WithCancel(c.launch.asking())
	a := e.dialogues.asker(ctx, *plan)
	if a == nil || plan.Talk != methods.TalkPrompts {
		cancel()
		return
	}
	a.where = c.name
	asked := make(chan struct{}, 1)
	plan.Talk = methods.TalkAsk
	if plan.Timeout > 0 {
		plan.Timeout = max(plan.Timeout, askPatience)
	}
	hs.talk = func([]byte) {
		select {
		case asked <- struct{}{}:
		default: // it is being answered
		}
	}
	e.work.jobs.Go(func() {
		defer cancel()
		go c.untilStarted(ctx, cancel)
		for {
			select {
			case <-asked:
				hs.reply(a)
			case <-ctx.Done():
				return
			}
		}
	})
}

// untilStarted calls cancel when c is up or gone: then nothing is asked about its start any more.
func (c *Context) untilStarted(ctx context.Context, cancel func()) {
	select {
	case <-c.hello.ready:
	case <-c.done:
	case <-ctx.Done():
	}
	cancel()
}

// reply answers what a hop's program asks.
func (hs *hopStart) reply(a *asker) {
	c := hs.c
	answer, err := a.ask()
	if a.ctx.Err() != nil {
		return // it isn't asked any more
	}
	if err == nil {
		err = methods.CheckAnswer(answer)
	}
	if err != nil {
		c.e.tree.lose(c, failure(c, a.amend(methods.Failure{What: methods.WhatUnanswered})), true)
		return
	}
	hs.sayLine(answer)
}
