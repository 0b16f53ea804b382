package engine

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/connect"
)

// An ssh that a hop starts asks on a terminal that the hop gives it. The hop passes on what is shown there, and types what we say; what
// is a question, and who answers it, is decided here, by the rules that hold for an ssh of this machine.

// questionPause is how long a terminal has to be silent before an unfinished line on it is a question.
const questionPause = 50 * time.Millisecond

// questions answers for c, which a hop starts by plan. c isn't being started yet.
func (e *Engine) questions(c *Context, plan *connect.Plan, ssh connect.SSHOptions) {
	argv := plan.Argv
	a := askpass.NewAnswerer(ssh, c.prompt, func(ctx context.Context) (askpass.Place, error) { return c.parent.locate(ctx, argv) })
	a.Begin(0, func(what string) { e.lose(c, failure(c, a.Amend(connect.Failure{What: what})), true) })
	c.answerer = a
	if c.prompt != nil && plan.Timeout > 0 {
		plan.Timeout = max(plan.Timeout, askPatience)
	}
	shown := make(chan []byte, 64)
	c.talk = func(text []byte) {
		select {
		case shown <- text:
		default: // more than an ssh says that asks
		}
	}
	e.jobs.Go(func() { c.answerQuestions(shown, e.auditAnswers(c.name, a.Answer), plan.Name) })
}

// answerQuestions answers what is shown on a terminal until c is up, or gone.
func (c *Context) answerQuestions(shown <-chan []byte, answers askpass.Func, hop string) {
	ctx, cancel := context.WithCancel(c.e.base)
	defer cancel()
	go func() {
		select {
		case <-c.ready:
		case <-c.done:
		case <-ctx.Done():
		}
		cancel()
	}()
	screen := ""
	var quiet <-chan time.Time
	for {
		select {
		case text := <-shown:
			screen += string(text)
			screen = strings.TrimLeft(screen[max(0, len(screen)-connect.TextLimit):], "\r\n")
			quiet = nil
			if screen != "" && !strings.HasSuffix(screen, "\n") {
				quiet = time.After(questionPause)
			}
		case <-quiet:
			answer := answerTo(ctx, answers, hop, screen)
			if c.Err() != nil {
				return // the question has ended ssh, which would send an empty answer to its server
			}
			c.Say([]byte(answer + "\n"))
			screen, quiet = "", nil
		case <-ctx.Done():
			return
		}
	}
}

// answerTo returns the answer to a question on a terminal. What isn't answered is answered with no, or with nothing: that has ssh go on without
// a key. The others have ended ssh.
func answerTo(ctx context.Context, answers askpass.Func, hop, text string) string {
	kind := askpass.KindOf(text)
	answer, err := answers(ctx, askpass.Prompt{Hop: hop, Kind: kind, Text: connect.Clean(text)})
	if err != nil && kind == askpass.HostKey {
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
func (c *Context) locate(ctx context.Context, argv []string) (askpass.Place, error) {
	command := append([]string{"sh", "-c", locateScript, "sh", argv[0], "-G"}, argv[1:len(argv)-1]...)
	t, err := c.tunnel(ctx, map[string]any{"argv": command})
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
		return p, errors.New("ssh -G says nothing of a host: " + connect.CleanLine(t.Text()))
	}
	return p, nil
}
