// Package sessions has recorded dialogues of real programs, for tests: what sudo, su, doas and ssh
// show and are told in several languages, from start to end (record.py).
package sessions

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed sessions.txt
var text string

// What the recorded answers were.
const (
	Password   = "PASSWORD"
	Passphrase = "PASSPHRASE"
	Wrong      = "not-it"
)

// A Session is one dialogue.
type Session struct {
	Program, Language string
	// "right" or "wrong", as the answer was; "question": a question that must stay unanswered
	Case   string
	Events []Event
}

// An Event is a text that was shown, or typed.
type Event struct {
	Typed bool
	Text  string // without the newline of what was typed
}

// Name is for subtests.
func (s *Session) Name() string { return s.Program + ", " + s.Language + ", " + s.Case }

// Shown returns what was shown before the answer, and after it.
func (s *Session) Shown() (before, after string) {
	at := &before
	for _, e := range s.Events {
		if e.Typed {
			at = &after
			continue
		}
		*at += e.Text
	}
	return before, after
}

// Load returns all sessions.
func Load() ([]*Session, error) {
	var all []*Session
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		words := strings.Split(rest, ", ")
		switch {
		case mark == "#":
		case mark == "==" && len(words) == 3:
			all = append(all, &Session{Program: words[0], Language: words[1], Case: words[2]})
		case (mark == "<" || mark == ">") && len(all) > 0:
			e := Event{Typed: mark == ">"}
			if err := json.Unmarshal([]byte(rest), &e.Text); err != nil {
				return nil, fmt.Errorf("sessions.txt:%d: %w", n+1, err)
			}
			s := all[len(all)-1]
			s.Events = append(s.Events, e)
		default:
			return nil, fmt.Errorf("sessions.txt:%d: %q", n+1, line)
		}
	}
	return all, nil
}
