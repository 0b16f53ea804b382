package spawn

import (
	"errors"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/sessions"
	"github.com/mitogen-go/mitogen/secret"
)

// Recorded dialogues of real programs, cut at every byte: the answer is typed once, at the end of
// the question, and how it ended is understood.
func TestSessions(t *testing.T) {
	all, err := sessions.Load()
	if err != nil || len(all) < 50 {
		t.Fatal(len(all), err)
	}
	for _, s := range all {
		t.Run(s.Name(), func(t *testing.T) {
			plan, password := recordedPlan(t, s)
			before, after := s.Shown()
			if plan.Method == "ssh" { // a hop passes its questions on: see package askpass
				if f := (methods.Failure{What: methods.WhatExit, Status: 255,
					Text: before + after}); s.Case == "wrong" && !methods.Denied(f.Text) {
					t.Errorf("%q isn't understood as permission denied", f.Text)
				}
				return
			}
			for cut := range len(before) {
				d := NewDialogue(plan.Prompts)
				d.Feed([]byte(before[:cut]))
				d.Feed([]byte(before[cut:]))
				typed, problem := d.Answer()
				if s.Case == "question" {
					if problem != methods.WhatUnanswered {
						t.Fatalf("cut at %d: %q", cut, problem)
					}
					continue
				}
				if problem != "" || string(typed) != password || d.Asked() {
					t.Fatalf("cut at %d: typed %q, %q", cut, typed, problem)
				}
			}
			for cut := range len(after) {
				d := NewDialogue(plan.Prompts)
				d.Feed([]byte(before))
				d.Answer()
				d.Feed([]byte(after[:cut]))
				d.Feed([]byte(after[cut:]))
				_, problem := d.Answer()
				if again := s.Program == "sudo" && s.Case == "wrong"; s.Case != "question" &&
					(problem == methods.WhatRepeated) != again {
					t.Fatalf("cut at %d of the end: %q", cut, problem)
				}
			}
			// Plans have programs speak English, as far as these can be told to.
			if s.Case == "wrong" && s.Language == "en" && s.Program != "sudo" {
				f := methods.Failure{What: methods.WhatExit, Status: 1, Text: before + after}
				if err := methods.Classify(plan.Method, f); !errors.Is(err, connect.ErrAuth) {
					t.Errorf("wrong password: got %v, want ErrAuth", err)
				}
			}
		})
	}
}

// recordedPlan is the plan of a hop that would have the session's dialogue, and the answer that it
// has.
func recordedPlan(t *testing.T, s *sessions.Session) (methods.Plan, string) {
	t.Helper()
	target := map[string]string{"sudo": "sudo", "su": "su:alice", "doas": "doas"}[s.Program]
	if target == "" {
		target = "ssh:alice@web1"
	}
	password := map[string]string{"right": sessions.Password, "wrong": sessions.Wrong,
		"question": sessions.Password}[s.Case]
	p := secret.Secret(password)
	o := connect.Options{Su: connect.SuOptions{Password: p}, Sudo: connect.SudoOptions{Password: p},
		Doas: connect.DoasOptions{Password: p}, SSH: connect.SSHOptions{Password: p}}
	if s.Program == "ssh key" {
		if s.Case == "right" {
			password = sessions.Passphrase
		}
		o.SSH = connect.SSHOptions{Passphrase: secret.Secret(password)}
	}
	hop, err := methods.ParseHop(target)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := hop.Plan([]string{"true"}, o, false)
	if err != nil {
		t.Fatal(err)
	}
	return plan, password
}
