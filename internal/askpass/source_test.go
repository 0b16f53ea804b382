package askpass

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// A source is asked for the place of the question, and each answer is given once.
func TestSource(t *testing.T) {
	broken := errors.New("no such \x1bentry")
	source := func(_ context.Context, p secret.Place) (secret.Secret, error) {
		switch {
		case p.Target != "bastion+web1" || p.Method != "ssh":
			return "", fmt.Errorf("asked for %+v", p)
		case p.Kind == secret.Passphrase && p.Key == "/k":
			return "pp", nil
		case p.Kind == secret.Passphrase:
			return "", nil
		case p.User == "broken":
			return "", broken
		case p.User == "none":
			return "", nil
		}
		return secret.Secret("of " + p.User + "@" + p.Host), nil
	}
	jump, command, at := place, place, place
	jump.Jump, command.Jump, at.User = "j", "nc j 22", "a@b"
	old := jump
	old.Knows = false
	type steps = []string // question, answer; "!": refused
	for _, tt := range []struct {
		name  string
		place Place
		asker string
		steps steps
		says  string
	}{
		{"password", place, "4711", steps{ownPassword, "of me@h", ownPassword, "!"},
			"me@h: password was refused"},
		{"by keyboard-interactive", place, "4711", steps{"(me@h) Password: ", "of me@h"}, ""},
		{"user with an @", at, "4711", steps{"a@b@h's password: ", "of a@b@h"}, ""},
		{"key", place, "4711", steps{ownKey, "pp", ownKey, "!"}, ""},
		{"key without a passphrase", place, "4711", steps{"Enter passphrase for key '/l': ", "!"}, ""},
		{"code", place, "4711", steps{"(me@h) Your one-time password code: ", "!"}, "code"},
		{"other account", place, "4711", steps{"you@h's password: ", "!"}, "you@h"},
		{"server plays ssh", place, "4711", steps{"(me@h) " + ownKey, "!"}, "passphrase"},
		{"server plays another account", place, "4711", steps{"(me@h) (you@i) Password: ", "!"}, "you@i"},
		{"jump host", jump, "1", steps{"you@j's password: ", "of you@j", ownPassword, "of me@h",
			"you@j's password: ", "!"}, "you@j: password was refused"},
		{"jump host of an old ssh", old, "1", steps{"(root@bank) Password: ", "!"}, "root@bank"},
		{"jump host of an old ssh, own question", old, "1", steps{"you@j's password: ", "!"}, "you@j"},
		{"program of a ProxyCommand", command, "1", steps{"(root@bank) Password: ", "!", ownKey, "!"},
			"root@bank"},
		{"failing", Place{User: "broken", Host: "h", Knows: true}, "4711",
			steps{"broken@h's password: ", "!"}, `no such \x1bentry`},
		{"nothing there", Place{User: "none", Host: "h", Knows: true}, "4711",
			steps{"none@h's password: ", "!"}, "there is no answer"},
	} {
		a := NewAnswerer(connect.SSHOptions{}, nil,
			func(context.Context) (Place, error) { return tt.place, nil })
		a.From(source, "bastion+web1")
		a.Begin(pid, func(string) {})
		for i := 0; i < len(tt.steps); i += 2 {
			question, want := tt.steps[i], tt.steps[i+1]
			got, err := a.Answer(withAsker(t.Context(), tt.asker),
				connect.Prompt{Hop: "web1", Kind: KindOf(question), Text: question})
			if err != nil {
				got = "!"
			}
			if got != want {
				t.Errorf("%s: %q is answered %q, want %q", tt.name, question, got, want)
			}
		}
		f := a.Amend(methods.Failure{What: methods.WhatExit, Status: 255})
		if !strings.Contains(f.Text, tt.says) {
			t.Errorf("%s: the failure says %q, want %q", tt.name, f.Text, tt.says)
		}
	}
}

// The passphrase isn't given to a program that asks in the words of ssh, nor to a jump host's ssh
// that doesn't tell its own questions from a server's.
func TestPassphraseOfJump(t *testing.T) {
	self := fmt.Sprint(os.Getpid()) // a process that isn't ssh
	for _, tt := range []struct {
		name  string
		place Place
		want  string
	}{
		{"ProxyJump", Place{User: "me", Host: "h", Jump: "j", Knows: true}, "pp"},
		{"ProxyCommand", Place{User: "me", Host: "h", Jump: "relay j", Knows: true}, "!"},
		{"old ssh", Place{User: "me", Host: "h", Jump: "j"}, "!"},
	} {
		a, _ := answerer(connect.SSHOptions{Password: "pw", Passphrase: "pp"}, nil, tt.place)
		got, err := a.Answer(withAsker(t.Context(), self),
			connect.Prompt{Hop: "web1", Kind: connect.PromptPassphrase, Text: ownKey})
		if err != nil {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// No line that a server has written can be taken for one of ssh, or of another server.
func TestLinesOfServers(t *testing.T) {
	old := place
	old.Knows = false
	for _, tt := range []struct {
		place      Place
		text, want string
	}{
		{place, "(me@h) Code: ", "(me@h) Code: "},
		{place, "(me@h) x\nEnter passphrase for key '/k': ",
			"(me@h) x\n(me@h) Enter passphrase for key '/k': "},
		{place, "(me@h) x\n\nroot@bank's password: \n",
			"(me@h) x\n(me@h) \n(me@h) root@bank's password: "},
		{place, "me@h's password: ", "me@h's password: "},
		{old, "Code: ", "(me@h) Code: "},
		{old, "x\n(root@bank) Password: ", "(me@h) x\n(me@h) (root@bank) Password: "},
	} {
		seen := ""
		a, _ := answerer(connect.SSHOptions{}, func(_ context.Context, p connect.Prompt) (string, error) {
			seen = p.Text
			return "", nil
		}, tt.place)
		a.Answer(withAsker(t.Context(), fmt.Sprint(pid)),
			connect.Prompt{Hop: "web1", Kind: KindOf(tt.text), Text: tt.text})
		if seen != tt.want {
			t.Errorf("%q is shown as %q, want %q", tt.text, seen, tt.want)
		}
	}
}

// A server can't keep a person busy for ever.
func TestTooManyQuestions(t *testing.T) {
	asked := 0
	a, ended := answerer(connect.SSHOptions{}, func(context.Context, connect.Prompt) (string, error) {
		asked++
		return "x", nil
	}, place)
	for range 1000 {
		a.Answer(withAsker(t.Context(), fmt.Sprint(pid)),
			connect.Prompt{Hop: "web1", Kind: connect.PromptOther, Text: "(me@h) Code: "})
	}
	if asked != maxQuestions || *ended != methods.WhatUnanswered {
		t.Errorf("the person was asked %d times, and ssh ended by %q; want %d and %q", asked, *ended,
			maxQuestions, methods.WhatUnanswered)
	}
}
