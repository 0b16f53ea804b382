package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/secret"
)

// questions are a client's open questions. An answer is used for its own question, and for no
// other. If its question is over, it is thrown away.
type questions struct {
	asking sync.Mutex // held while one is asked: a client has one at a time

	mu   sync.Mutex // protects following
	last int
	open []*question // the oldest first, those that are over too
}

// question is one of these.
type question struct {
	id     int
	answer chan *daemonclient.Message // holds one
}

// maxOpen bounds the questions that a client leaves unanswered.
const maxOpen = 32

var errNoAnswers = errors.New("the client doesn't answer")

// begin notes a question.
func (q *questions) begin() (*question, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) >= maxOpen {
		return nil, errNoAnswers
	}
	q.last++
	x := &question{q.last, make(chan *daemonclient.Message, 1)}
	q.open = append(q.open, x)
	return x, nil
}

// take gives an answer to its question. If a client answers in order and without the question's id,
// the answer is for the oldest.
func (q *questions) take(m *daemonclient.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := 0
	if m.AnswerTo != 0 {
		at = slices.IndexFunc(q.open, func(x *question) bool { return x.id == m.AnswerTo })
	}
	if at < 0 || at >= len(q.open) {
		return
	}
	q.open[at].answer <- m
	q.open = slices.Delete(q.open, at, at+1)
}

// prompt returns what asks the client of a session about what is started for it; nil: it can't be
// asked.
func (s *Server) prompt(c *session) connect.PromptFunc {
	if !c.canAsk {
		return nil
	}
	return func(ctx context.Context, p connect.Prompt) (string, error) {
		answer, err := s.ask(ctx, c, daemonclient.QuestionOf(p))
		return string(answer), err
	}
}

// secrets returns what asks the client of a session for its secrets; nil: it has none.
func (s *Server) secrets(c *session) secret.Source {
	if !c.hasSecrets {
		return nil
	}
	return func(ctx context.Context, p secret.Place) (secret.Secret, error) {
		kind := connect.PromptPassword
		if p.Kind == secret.Passphrase {
			kind = connect.PromptPassphrase
		}
		at := daemonclient.Place(p)
		return s.ask(ctx, c, &daemonclient.Question{Hop: p.Target, Kind: int(kind),
			Text:  fmt.Sprintf("%s: ", p),
			Place: &at})
	}
}

// whoFor returns c, or, when that has gone, another client that waits for the same context, and can
// answer p; nil: none.
func (s *Server) whoFor(c *session, p *daemonclient.Question) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c] {
		return c
	}
	for other := range s.sessions {
		able := other.canAsk
		if p.Place != nil {
			able = other.hasSecrets
		}
		if able && other.context != nil && other.context == c.context {
			return other
		}
	}
	return nil
}

// ask passes a question to a client.
func (s *Server) ask(ctx context.Context, c *session, p *daemonclient.Question) (secret.Secret,
	error) {
	who := s.whoFor(c, p)
	if who == nil {
		return "", errors.New("no client of the daemon can be asked")
	}
	who.questions.asking.Lock()
	defer who.questions.asking.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	q, err := who.questions.begin()
	if err != nil {
		return "", err
	}
	p.ID, p.Target = q.id, c.target
	if err := who.ch.Send(&daemonclient.Message{Prompt: p}); err != nil {
		return "", err
	}
	select {
	case m := <-q.answer:
		if m.Answer == nil {
			return "", errors.New(m.Refuse)
		}
		return secret.Secret(*m.Answer), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
