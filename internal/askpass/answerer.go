package askpass

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// ErrRefused is the error of a question without an answer.
var ErrRefused = errors.New("question refused")

// An Answerer answers the questions of one ssh process, and of those that it starts for jump hosts, out of options, and the others
// by asking a person. A secret is given to what it is for: the password once, to the account of the ssh; the passphrase to
// ssh itself. A question of a server that isn't answered ends the ssh, which would send an empty answer.
type Answerer struct {
	password   string
	passphrase string
	policy     connect.HostKeys
	person     Func // nil: nobody
	locate     func(context.Context) (Place, error)

	begun chan struct{} // closed by Begin, which sets the following
	pid   int
	end   func(what string)

	located sync.Once // sets the following
	place   Place
	lost    error

	mu      sync.Mutex      // protects following
	used    map[string]bool // texts of passphrase prompts
	given   bool            // the password was
	problem string          // one of connect.What…, of the first question refused; or empty
	why     string          // what there is to say of it
	waiting int             // for the person
}

// NewAnswerer returns one for options. person may be nil; it is called for what they don't answer. locate is called at most once, if
// the place has to be known.
func NewAnswerer(opt connect.SSHOptions, person Func, locate func(context.Context) (Place, error)) *Answerer {
	return &Answerer{
		password:   string(opt.Password),
		passphrase: string(opt.Passphrase),
		policy:     opt.HostKeys,
		person:     person,
		locate:     locate,
		begun:      make(chan struct{}),
		used:       map[string]bool{},
	}
}

// Begin tells of the ssh that has been started: its process id, 0 where that can't be told from its jump hosts', and what ends it. Questions
// that are to be refused wait for it.
func (a *Answerer) Begin(pid int, end func(what string)) {
	a.pid, a.end = pid, end
	close(a.begun)
}

// Answer is the Func to register. A configured password is given once, a configured passphrase once for each key: asked
// again, it was wrong, which asking a person wouldn't make right.
func (a *Answerer) Answer(ctx context.Context, p Prompt) (string, error) {
	select {
	case <-a.begun:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	jump := a.byJump(ctx)
	switch {
	case p.Kind == HostKey && a.policy == connect.HostKeysOff:
		return "yes", nil
	case p.Kind == HostKey && a.policy != connect.HostKeysDefault:
		return a.refuse(connect.WhatUnanswered, "")
	case p.Kind == Passphrase && a.passphrase != "" && a.local(ctx, jump):
		return a.unlock(p.Text)
	case p.Kind == Password && a.password != "" && !jump && a.asksOwn(ctx, p.Text):
		return a.logIn()
	}
	if jump {
		p.Hop += " (jump host " + or(account(p.Text), a.place.Jump) + ")"
	}
	return a.ask(ctx, p)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// whereabouts returns the place.
func (a *Answerer) whereabouts(ctx context.Context) (Place, error) {
	a.located.Do(func() { a.place, a.lost = a.locate(ctx) })
	return a.place, a.lost
}

// byJump tells whether another ssh than ours asks. Where ours is a script that has started the real one, that has
// another number too: so there must be a jump host as well.
func (a *Answerer) byJump(ctx context.Context) bool {
	asker, _ := ctx.Value(askerKey{}).(string)
	if a.pid != 0 && asker == strconv.Itoa(a.pid) {
		return false
	}
	if a.pid == 0 && a.password == "" && a.passphrase == "" {
		return false // nothing depends on it
	}
	place, err := a.whereabouts(ctx)
	return err != nil || place.Jump != ""
}

// local tells whether a question in ssh's words is ssh's own. Before OpenSSH 8.9 a server can word its questions as it likes.
func (a *Answerer) local(ctx context.Context, jump bool) bool {
	if !jump && a.password == "" && a.person == nil {
		return true // the plan lets no server ask
	}
	place, err := a.whereabouts(ctx)
	return err == nil && place.Knows
}

// asksOwn tells whether text asks for the password that there is.
func (a *Answerer) asksOwn(ctx context.Context, text string) bool {
	place, err := a.whereabouts(ctx)
	return err == nil && place.asksPassword(text)
}

func (a *Answerer) logIn() (string, error) {
	a.mu.Lock()
	again := a.given
	a.given = true
	a.mu.Unlock()
	if again {
		return a.refuse(connect.WhatRepeated, a.refused())
	}
	return a.password, nil
}

// refused returns the text of an error about the password.
func (a *Answerer) refused() string { return a.place.String() + ": password was refused" }

func (a *Answerer) unlock(key string) (string, error) {
	a.mu.Lock()
	again := a.used[key]
	a.used[key] = true
	a.mu.Unlock()
	if again {
		return a.decline(connect.WhatRepeated, "")
	}
	return a.passphrase, nil
}

func (a *Answerer) ask(ctx context.Context, p Prompt) (string, error) {
	if p.Kind == Notice {
		if a.person == nil {
			return "", nil // nobody needs to know
		}
		return a.person(ctx, p)
	}
	if a.person == nil {
		return a.unanswered(p)
	}
	a.wait(1)
	defer a.wait(-1)
	text, err := a.person(ctx, p)
	if err != nil {
		return a.unanswered(p)
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

// unanswered refuses a question. To those of servers ssh would send an empty answer.
func (a *Answerer) unanswered(p Prompt) (string, error) {
	switch p.Kind {
	case Password, Other:
		line := connect.CleanLine(strings.TrimSpace(p.Text[strings.LastIndexByte(p.Text, '\n')+1:]))
		return a.refuse(connect.WhatUnanswered, fmt.Sprintf("%s asks %q, and there is no answer for it", p.Hop, line))
	}
	return a.decline(connect.WhatUnanswered, "")
}

// refuse ends ssh before it gets the refusal.
func (a *Answerer) refuse(problem, why string) (string, error) {
	_, err := a.decline(problem, why)
	if why != "" && a.end != nil {
		a.end(problem)
	}
	return "", err
}

// decline notes the first problem.
func (a *Answerer) decline(problem, why string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.problem == "" || a.why == "" && why != "" {
		a.problem, a.why = problem, why
	}
	return "", ErrRefused
}

// Busy says that a person is being asked something, for spawn.Options.
func (a *Answerer) Busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting > 0
}

// Amend says of ssh's end what only the Answerer knows: that it had no answer, or a wrong one. ssh itself reports
// permission denied for both.
func (a *Answerer) Amend(f connect.Failure) connect.Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.Given = a.given
	why := a.why
	switch {
	case a.problem != "" && (f.What == connect.WhatExit && f.Status == 255 || f.What == a.problem):
		f.What = a.problem
	case a.given && f.What == connect.WhatExit && f.Status == 255 && connect.Denied(f.Text):
		why = a.refused()
	default:
		return f
	}
	if why != "" {
		f.Text = strings.TrimRight(f.Text, "\n") + "\n" + why
	}
	return f
}
