package askpass

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// ErrRefused is the error of a question without an answer.
var ErrRefused = errors.New("question refused")

// An Answerer answers the questions of one ssh process out of options, and the others by asking a person.
type Answerer struct {
	password   string
	passphrase string
	policy     connect.HostKeys
	person     Func // nil: nobody

	mu      sync.Mutex      // protects following
	used    map[string]bool // texts of passphrase prompts, and "" for the password
	problem string          // one of connect.What…, of the first question refused; or empty
	waiting int             // for the person
}

// NewAnswerer returns one for options. person may be nil; it is called for what they don't answer.
func NewAnswerer(opt connect.SSHOptions, person Func) *Answerer {
	return &Answerer{
		password:   string(opt.Password),
		passphrase: string(opt.Passphrase),
		policy:     opt.HostKeys,
		person:     person,
		used:       map[string]bool{},
	}
}

// Answer is the Func to register. A configured password is given once, a configured passphrase once for each key: asked
// again, it was wrong, which asking a person wouldn't make right.
func (a *Answerer) Answer(ctx context.Context, p Prompt) (string, error) {
	switch {
	case p.Kind == Password && a.password != "":
		return a.once("", a.password)
	case p.Kind == Passphrase && a.passphrase != "":
		return a.once(p.Text, a.passphrase)
	case p.Kind == HostKey && a.policy == connect.HostKeysOff:
		return "yes", nil
	case p.Kind == HostKey && a.policy != connect.HostKeysDefault:
		return a.refuse(connect.WhatUnanswered)
	}
	return a.ask(ctx, p)
}

func (a *Answerer) once(key, secret string) (string, error) {
	a.mu.Lock()
	again := a.used[key]
	a.used[key] = true
	a.mu.Unlock()
	if again {
		return a.refuse(connect.WhatRepeated)
	}
	return secret, nil
}

func (a *Answerer) ask(ctx context.Context, p Prompt) (string, error) {
	if a.person == nil {
		if p.Kind == Notice {
			return "", nil // nobody needs to know
		}
		return a.refuse(connect.WhatUnanswered)
	}
	if p.Kind == Notice {
		return a.person(ctx, p)
	}
	a.wait(1)
	defer a.wait(-1)
	text, err := a.person(ctx, p)
	if err != nil {
		return a.refuse(connect.WhatUnanswered)
	}
	if p.Kind == Confirm && !strings.EqualFold(text, "yes") {
		return "", ErrRefused // which is what says no here
	}
	return text, nil
}

func (a *Answerer) wait(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting += n
}

func (a *Answerer) refuse(problem string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.problem == "" {
		a.problem = problem
	}
	return "", ErrRefused
}

// Busy says that a person is being asked something, for spawn.Options.
func (a *Answerer) Busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting > 0
}

// Amend says of ssh's exit what only the Answerer knows: that it had no answer, or a wrong one. ssh itself reports
// permission denied for both.
func (a *Answerer) Amend(f connect.Failure) connect.Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.What == connect.WhatExit && f.Status == 255 && a.problem != "" {
		f.What = a.problem
	}
	return f
}
