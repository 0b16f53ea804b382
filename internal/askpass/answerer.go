package askpass

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// ErrRefused is the error of a question without an answer.
var ErrRefused = errors.New("question refused")

// An Answerer answers the questions of one ssh process, and of the ssh processes that it starts for
// jump hosts. It answers from options first, then by asking a person. It gives the password once,
// to the account that the ssh logs in to, and the passphrase to ssh itself. If it has no answer to
// a question of a server, it ends the ssh, which would send an empty answer.
type Answerer struct {
	password   secret.Secret
	passphrase secret.Secret
	source     secret.Source // of further secrets; nil: there is none
	target     string        // the hops up to the ssh's, for source
	policy     connect.HostKeys
	person     connect.PromptFunc // nil: there is no person to ask
	here       bool               // the ssh is one of this machine
	locate     func(context.Context) (Place, error)

	begun chan struct{} // closed by Begin, which sets the following
	pid   int
	end   func(what string)

	located sync.Once // sets the following
	place   Place
	lost    error

	mu      sync.Mutex      // protects following
	used    map[string]bool // texts of passphrase prompts
	given   map[string]bool // accounts whose password was
	last    string          // of these
	asked   int             // questions of servers that went to the person
	problem string          // one of connect.What…, of the first question refused; or empty
	why     string          // what there is to say of it
	cause   error           // the first error of the source, or of the person
	waiting int             // for the person
}

// NewAnswerer returns one for options. person may be nil; it is called for what they don't answer.
// locate is called at most once, if the place has to be known.
func NewAnswerer(opt connect.SSHOptions, person connect.PromptFunc,
	locate func(context.Context) (Place, error)) *Answerer {
	return &Answerer{
		password:   opt.Password,
		passphrase: opt.Passphrase,
		policy:     opt.HostKeys,
		person:     person,
		locate:     locate,
		begun:      make(chan struct{}),
		used:       map[string]bool{},
		given:      map[string]bool{},
	}
}

// From has the Answerer find secrets that the options don't have. target names the hops up to the
// ssh's own. It is called before Begin.
func (a *Answerer) From(source secret.Source, target string) { a.source, a.target = source, target }

// Local says that the ssh runs on this machine, whose keys other ssh processes of this machine use
// too. It is called before Begin.
func (a *Answerer) Local() { a.here = true }

// Begin tells of the ssh that has been started: its process id, 0 where that can't be told from its
// jump hosts', and what ends it. Questions that are to be refused wait for it.
func (a *Answerer) Begin(pid int, end func(what string)) {
	a.pid, a.end = pid, end
	close(a.begun)
}

// Answer is the Func to register. A configured password is given once, a configured passphrase once
// for each key: asked again, it was wrong, which asking a person wouldn't make right.
func (a *Answerer) Answer(ctx context.Context, p connect.Prompt) (string, error) {
	select {
	case <-a.begun:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	jump := a.byJump(ctx)
	switch {
	case p.Kind == connect.PromptHostKey && a.policy == connect.HostKeysOff:
		return "yes", nil
	case p.Kind == connect.PromptHostKey && a.policy != connect.HostKeysDefault:
		return a.refuse(methods.WhatUnanswered, "")
	case p.Kind == connect.PromptPassphrase && a.local(ctx, jump):
		if answer, err := a.unlock(ctx, p.Text); answer != "" || err != nil {
			return answer, err
		}
	case p.Kind == connect.PromptPassword && !jump && a.has(a.password) && a.asksOwn(ctx, p.Text):
		if answer, err := a.logIn(ctx, a.place.String(), a.password); answer != "" || err != nil {
			return answer, err
		}
	case p.Kind == connect.PromptPassword && jump && a.source != nil && a.jumpNames(ctx) &&
		account(p.Text) != "":
		if answer, err := a.logIn(ctx, account(p.Text), ""); answer != "" || err != nil {
			return answer, err
		}
	}
	if p.Kind == connect.PromptPassphrase && a.person != nil && a.here && a.ownWords(ctx, jump) {
		ctx = withOwn(ctx)
	}
	return a.ask(ctx, a.named(ctx, p, jump))
}

// ownWords tells whether a question in ssh's words about a key is known to be ssh's own, and no
// server's.
func (a *Answerer) ownWords(ctx context.Context, jump bool) bool {
	if jump {
		return a.jumpNames(ctx)
	}
	place, err := a.whereabouts(ctx)
	return err == nil && place.Knows
}

// has tells whether there is, or may be, a secret besides those that a person knows.
func (a *Answerer) has(s secret.Secret) bool { return s != "" || a.source != nil }

// named has a question say whose it is, on each of its lines: a server words its questions as it
// likes, but not so that a line can be taken for one of ssh, or of another server.
func (a *Answerer) named(ctx context.Context, p connect.Prompt, jump bool) connect.Prompt {
	if jump {
		p.Hop += " (jump host " + or(account(p.Text), a.place.Jump) + ")"
	}
	if (p.Kind == connect.PromptPassphrase || p.Kind == connect.PromptPIN) && a.person != nil {
		if place, err := a.whereabouts(ctx); err != nil || !place.Knows {
			p.Text = "(asked by ssh, or by a server that plays it) " + p.Text
		}
		return p
	}
	if p.Kind != connect.PromptPassword && p.Kind != connect.PromptOther ||
		ownQuestion.MatchString(p.Text) {
		return p
	}
	prefix := serverPrefix.FindString(p.Text)
	if prefix == "" && !jump && a.person != nil {
		if place, err := a.whereabouts(ctx); err == nil {
			prefix = "(" + place.String() + ") "
			p.Text = prefix + p.Text
		}
	}
	p.Text = strings.ReplaceAll(strings.TrimRight(p.Text, "\n"), "\n", "\n"+prefix)
	return p
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

// byJump tells whether another ssh than ours asks. Where ours is a script that has started the real
// one, that has another number too: so there must be a jump host as well.
func (a *Answerer) byJump(ctx context.Context) bool {
	asker, _ := ctx.Value(askerKey{}).(string)
	if a.pid != 0 && asker == strconv.Itoa(a.pid) {
		return false
	}
	if a.pid == 0 && !a.has(a.password) && !a.has(a.passphrase) {
		return false // nothing depends on it
	}
	place, err := a.whereabouts(ctx)
	return err != nil || place.Jump != ""
}

// local tells whether a question in ssh's words about a key can be answered: there may be a
// passphrase, and the question is ssh's own. Before OpenSSH 8.9 a server can word its questions as
// it likes.
func (a *Answerer) local(ctx context.Context, jump bool) bool {
	switch {
	case !a.has(a.passphrase):
		return false
	case jump:
		return a.ownWords(ctx, jump)
	case !a.has(a.password) && a.person == nil:
		return true // the plan lets no server ask
	}
	return a.ownWords(ctx, jump)
}

// jumpNames tells whether the process that asks for a jump host is an ssh that names the account
// before each question of a server. A ProxyCommand may start any program.
func (a *Answerer) jumpNames(ctx context.Context) bool {
	asker, _ := ctx.Value(askerKey{}).(string)
	if program, err := os.Readlink("/proc/" + asker + "/exe"); err == nil &&
		filepath.Base(program) == "ssh" {
		return knows(versionOf(program))
	}
	place, err := a.whereabouts(ctx)
	return err == nil && place.Knows && !place.byCommand()
}

// asksOwn tells whether text asks for the password that there is.
func (a *Answerer) asksOwn(ctx context.Context, text string) bool {
	place, err := a.whereabouts(ctx)
	return err == nil && place.asksPassword(text)
}

// logIn returns the password of an account: s, or what the source has. It is given once. "": there
// is none.
func (a *Answerer) logIn(ctx context.Context, account string, s secret.Secret) (string, error) {
	if a.twice(a.given, account) {
		return a.refuse(methods.WhatRepeated, refused(account))
	}
	if s == "" {
		user, host := cutAccount(account)
		var err error
		if s, err = a.find(ctx, secret.Place{Kind: secret.Password, Host: host, User: user}); err != nil {
			a.blame(err)
			return a.refuse(methods.WhatUnanswered, printable.Line(err.Error()))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == "" {
		delete(a.given, account) // a person may be asked
		return "", nil
	}
	a.last = account
	return string(s), nil
}

// twice tells whether something was noted before, and notes it.
func (a *Answerer) twice(noted map[string]bool, what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	again := noted[what]
	noted[what] = true
	return again
}

// find asks the source, if there is one.
func (a *Answerer) find(ctx context.Context, p secret.Place) (secret.Secret, error) {
	if a.source == nil {
		return "", nil
	}
	p.Method, p.Target = "ssh", a.target
	a.wait(1) // the source may ask a person
	defer a.wait(-1)
	return a.source(ctx, p)
}

// cutAccount cuts "user@host" at its last @: users may have one in their name.
func cutAccount(account string) (user, host string) {
	at := strings.LastIndexByte(account, '@')
	return account[:max(at, 0)], account[at+1:]
}

// refused returns the text of an error about a password.
func refused(account string) string { return account + ": password was refused" }

// unlock returns the passphrase that a question asks for; "": there is none.
func (a *Answerer) unlock(ctx context.Context, question string) (string, error) {
	if a.twice(a.used, question) {
		return a.decline(methods.WhatRepeated, "")
	}
	if a.passphrase != "" {
		return string(a.passphrase), nil
	}
	s, err := a.find(ctx, secret.Place{Kind: secret.Passphrase, Key: keyOf(question)})
	if err != nil {
		a.blame(err)
		return a.decline(methods.WhatUnanswered, printable.Line(err.Error()))
	}
	if s == "" {
		a.mu.Lock()
		delete(a.used, question) // a person may be asked again
		a.mu.Unlock()
	}
	return string(s), nil
}

// keyOf returns the file that a question for a passphrase names.
func keyOf(question string) string {
	return strings.TrimSuffix(strings.TrimPrefix(question, passphraseBegin), passphraseEnd)
}

func (a *Answerer) ask(ctx context.Context, p connect.Prompt) (string, error) {
	if p.Kind == connect.PromptNotice {
		if a.person == nil {
			return "", nil // a notice needs no answer
		}
		return a.person(ctx, p)
	}
	if a.person == nil {
		return a.unanswered(p)
	}
	if a.tooMany(p) {
		return a.refuse(methods.WhatUnanswered,
			fmt.Sprintf("%s asks more than %d questions", p.Hop, maxQuestions))
	}
	a.wait(1)
	defer a.wait(-1)
	text, err := a.person(ctx, p)
	if err != nil {
		a.blame(err)
		return a.unanswered(p)
	}
	if p.Kind == connect.PromptConfirm && !strings.EqualFold(text, "yes") {
		return "", ErrRefused // ssh takes a failed program for "no"
	}
	return text, nil
}

// maxQuestions bounds what a person is asked in the name of servers, for one connection.
const maxQuestions = 20

func (a *Answerer) tooMany(p connect.Prompt) bool {
	if p.Kind != connect.PromptPassword && p.Kind != connect.PromptOther {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.asked > maxQuestions
}

func (a *Answerer) wait(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting += n
}

// unanswered refuses a question. To those of servers ssh would send an empty answer.
func (a *Answerer) unanswered(p connect.Prompt) (string, error) {
	switch p.Kind {
	case connect.PromptPassword, connect.PromptOther:
		line := printable.Line(strings.TrimSpace(p.Text[strings.LastIndexByte(p.Text, '\n')+1:]))
		return a.refuse(methods.WhatUnanswered,
			fmt.Sprintf("%s asks %q, and there is no answer for it", p.Hop, line))
	}
	return a.decline(methods.WhatUnanswered, "")
}

// Refuse ends ssh because of a question that can't be answered. why says what there is to say of
// it.
func (a *Answerer) Refuse(why string) { a.refuse(methods.WhatUnanswered, why) }

// refuse ends ssh before it gets the refusal.
func (a *Answerer) refuse(problem, why string) (string, error) {
	_, err := a.decline(problem, why)
	if why != "" && a.end != nil {
		a.end(problem)
	}
	return "", err
}

// blame notes the first error of who has the answers.
func (a *Answerer) blame(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cause == nil {
		a.cause = err
	}
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

// Amend says of ssh's end what only the Answerer knows: that it had no answer, or a wrong one. ssh
// itself reports permission denied for both.
func (a *Answerer) Amend(f methods.Failure) methods.Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.Given = a.last != ""
	why := a.why
	switch {
	case a.problem != "" && (f.What == methods.WhatExit && f.Status == 255 || f.What == a.problem):
		f.What, f.Err = a.problem, a.cause
	case a.last != "" && f.What == methods.WhatExit && f.Status == 255 && methods.Denied(f.Text):
		why = refused(a.last)
	default:
		return f
	}
	if why != "" {
		f.Text = strings.TrimRight(f.Text, "\n") + "\n" + why
	}
	return f
}
