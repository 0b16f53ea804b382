package engine

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// An ssh that a hop starts asks on a terminal that the hop gives it. The hop passes on what is
// shown there, and types what we say; what is a question, and who answers it, is decided here, by
// the rules that hold for an ssh of this machine.

// questionPause is the silence of a terminal after which an unfinished line on it is a question.
const questionPause = 50 * time.Millisecond

// questions answers for c, which a hop starts by plan. c isn't being started yet.
func (hs *hopStart) questions(plan *methods.Plan, ssh connect.SSHOptions) {
	c, e := hs.c, hs.c.e
	argv := plan.Argv
	ssh.Passphrase = "" // which never leaves this machine
	a := askpass.NewAnswerer(ssh, c.launch.prompt,
		func(ctx context.Context) (askpass.Place, error) { return c.parent.Tunnels.locate(ctx, argv) })
	a.From(hs.passwords(), c.name)
	a.Begin(0, func(what string) {
		e.tree.lose(c, failure(c, a.Amend(methods.Failure{What: what})), true)
	})
	hs.answerer = a
	if c.launch.prompt != nil && plan.Timeout > 0 {
		plan.Timeout = max(plan.Timeout, askPatience)
	}
	s := &screen{pieces: make(chan []byte, 64)}
	hs.talk = s.show
	hop := plan.Name + ", by ssh on " + c.parent.name
	answers := e.audit.answers(c.name, e.dialogues.concealed(a.Answer))
	e.work.jobs.Go(func() { hs.answerQuestions(s, a, answers, hop) })
}

// passwords returns what has secrets for c's ssh, which its hop starts; nil: there is nothing. A
// passphrase never leaves this machine, whatever the hop shows.
func (hs *hopStart) passwords() secret.Source {
	source := hs.c.launch.secrets
	if source == nil {
		return nil
	}
	return func(ctx context.Context, p secret.Place) (secret.Secret, error) {
		if p.Kind != secret.Password {
			return "", nil
		}
		return source(ctx, p)
	}
}

// A screen is the text that a terminal has shown since the last answer.
type screen struct {
	pieces chan []byte // of what was shown; holds 64, never closed
	lost   atomic.Bool // some didn't fit
	text   string      // the beginning, which says whose question it is
}

// show takes a piece of what is shown. It doesn't block.
func (s *screen) show(text []byte) {
	select {
	case s.pieces <- text:
	default: // more than an ssh says that asks
		s.lost.Store(true)
	}
}

// add adds a piece. What follows a text that is too long isn't kept.
func (s *screen) add(piece []byte) {
	s.text = strings.TrimLeft(s.text+string(piece), "\r\n")
	if len(s.text) > methods.TextLimit {
		s.text = s.text[:methods.TextLimit]
		s.lost.Store(true)
	}
}

// asks tells whether there is an unfinished line, or more than an ssh says.
func (s *screen) asks() bool {
	return s.lost.Load() || s.text != "" && !strings.HasSuffix(s.text, "\n")
}

// clear takes the question away, and returns it. If the question isn't whole, its asker is unknown,
// and so is the asker of the text that follows.
func (s *screen) clear() (text string, whole bool) {
	text, s.text = s.text, ""
	return text, !s.lost.Load()
}

// answerQuestions answers what is shown on a terminal until c is up, or gone.
func (hs *hopStart) answerQuestions(s *screen, a *askpass.Answerer, answers connect.PromptFunc,
	hop string) {
	c := hs.c
	ctx, cancel := context.WithCancel(c.e.work.base)
	defer cancel()
	go c.untilStarted(ctx, cancel)
	var quiet <-chan time.Time
	for {
		select {
		case piece := <-s.pieces:
			s.add(piece)
			quiet = nil
			if s.asks() {
				quiet = time.After(questionPause)
			}
		case <-quiet:
			text, whole := s.clear()
			if !whole {
				a.Refuse(hop + " asks a question that is too long")
				return
			}
			answer := answerTo(ctx, answers, hop, text)
			if c.Err() != nil {
				return // the question has ended ssh, which would send an empty answer to its server
			}
			hs.sayLine(answer)
			quiet = nil
		case <-ctx.Done():
			return
		}
	}
}

// answerTo returns the answer to a question on a terminal. A question without an answer gets no, or
// nothing: that has ssh go on without a key. Other answers have ended ssh.
func answerTo(ctx context.Context, answers connect.PromptFunc, hop, text string) string {
	kind := askpass.KindOf(text)
	answer, err := answers(ctx, connect.Prompt{Hop: hop, Kind: kind, Text: printable.Text(text)})
	if err != nil && kind == connect.PromptHostKey {
		return "no"
	}
	if err != nil {
		return ""
	}
	return answer
}

// locateScript prints what an ssh says of its configuration, and then of itself on stderr.
const locateScript = `"$@"; s=$?; "$1" -V; exit $s`

// locate asks the ssh of c's machine, with a plan's argv, where it leads.
func (ts *tunnels) locate(ctx context.Context, argv []string) (askpass.Place, error) {
	command := append([]string{"sh", "-c", locateScript, "sh", argv[0], "-G"}, argv[1:len(argv)-1]...)
	t, err := ts.tunnel(ctx, map[string]any{"argv": command})
	if err != nil {
		return askpass.Place{}, err
	}
	defer t.Close()
	defer context.AfterFunc(ctx, func() { t.Close() })()
	out, err := io.ReadAll(io.LimitReader(t, 1<<20))
	if err != nil {
		return askpass.Place{}, err
	}
	p := askpass.ReadPlace(out, t.Text())
	if p.User == "" || p.Host == "" {
		return p, errors.New("ssh -G says nothing of a host: " + printable.Line(t.Text()))
	}
	return p, nil
}
