package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// echoes are forms that hosts may give a password. The text around them must stay.
var echoes = []string{"hunter2become", `'hunter2'\''become'`, "hunter2\r\nbecome",
	"h\x1b[0mu\x1b[1mnter2become", `hunter2\x62ecome`}

// lockedBuffer is written by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// shows fails the test if a text has a piece of the password, or has nothing of what is around it.
func shows(t *testing.T, where, text string) {
	t.Helper()
	for _, piece := range []string{"hunter2", "become'", "unter2"} {
		if strings.Contains(text, piece) {
			t.Errorf("%s: %q is shown: %q", where, piece, text)
		}
	}
	if !strings.Contains(text, "kept") {
		t.Errorf("%s: what is around the password is missing: %q", where, text)
	}
}

// No text of a connect shows its secrets: not the answer of a hop, not a reason, not a line of the
// log.
func TestSecretsAreHidden(t *testing.T) {
	for _, echo := range echoes {
		t.Run(fmt.Sprintf("%q", echo), func(t *testing.T) {
			logged := &lockedBuffer{}
			e, fakes := fakeEngine(t, Options{Logger: slog.New(slog.NewTextHandler(logged, nil))})
			var o ConnectOptions
			o.Sudo.Password = "hunter2become"
			start := func() (*Context, *fake, wire.Frame) {
				c := start(t, e, "local+sudo", o)
				f := <-fakes
				f.hello(f.id())
				return c, f, f.connect(f.id())
			}
			said := "kept\n" + echo + " kept"
			for _, what := range []string{"exec", "exit", "timeout", "repeated", "unanswered", "foreign",
				"hidden", echo} {
				c, f, g := start()
				f.reply(g, wire.Error, encode(t, pyvalue.Tuple{what, 1, said, 0}))
				<-c.done
				shows(t, what, c.Err().Error()+fmt.Sprintf(" %+v kept", c.Err()))
				var failed *connect.Error
				if !errors.As(c.Err(), &failed) {
					t.Fatal(c.Err())
				}
				shows(t, what+" text", failed.Text)
				f.exit(methods.Failure{})
			}
			c, f, g := start()
			f.reply(g, wire.Data, []byte("kept "+echo))
			<-c.done
			shows(t, "not an error", c.Err().Error())
			f.exit(methods.Failure{})

			c, f, _ = start()
			f.hello(c.id)
			if err := c.Connected(within(t)); err != nil {
				t.Fatal(err)
			}
			f.send(wire.Frame{Src: f.id(), Auth: f.id(), Handle: wire.Log,
				Payload: encode(t, pyvalue.Tuple{30, echo, 1.0, "kept " + echo, "trace " + echo})})
			waitFor(t, "the record", func() bool { return strings.Contains(logged.String(), "trace") })
			f.send(wire.Frame{Src: f.id(), Auth: f.id(), Handle: wire.Lost,
				Payload: append(wire.AppendU32(nil, uint32(c.id)), "kept "+echo+"\nlast "+echo+" kept"...)})
			<-c.done
			var lost *report.LostError
			if !errors.As(c.Err(), &lost) {
				t.Fatal(c.Err())
			}
			shows(t, "why", lost.Reason+" kept")
			shows(t, "last words", lost.Text)
			shows(t, "log", logged.String())
		})
	}
}

// An error that wraps one with a secret shows neither, and is still known for what it is.
func TestWrappedErrorsAreHidden(t *testing.T) {
	e, _ := fakeEngine(t, Options{})
	e.dialogues.mask.Add("hunter2become")
	inner := methods.Explain(&connect.Error{Kind: connect.ErrAuth, Text: "kept hunter2become"})
	err := e.dialogues.hide(fmt.Errorf("connect: %w: hunter2become", errors.Join(inner, io.EOF)))
	shows(t, "text", err.Error())
	var failed *connect.Error
	if !errors.Is(err, io.EOF) || !errors.Is(err, connect.ErrAuth) || !errors.As(err, &failed) {
		t.Fatalf("%v isn't what it was", err)
	}
	shows(t, "inner", failed.Text)
	shows(t, "quote", failed.Quote)
	if e.dialogues.hide(ErrClosed) != ErrClosed || e.dialogues.hide(nil) != nil {
		t.Error("an error without secrets is another one")
	}
}

// What a person types is hidden as what options say is; yes and no aren't secrets.
func TestTypedAnswersAreHidden(t *testing.T) {
	e, _ := fakeEngine(t, Options{})
	for kind, answer := range map[connect.PromptKind]string{connect.PromptPassword: "typed-password",
		connect.PromptOther: "123456", connect.PromptHostKey: "yes"} {
		ask := e.dialogues.concealed(func(context.Context, connect.Prompt) (string, error) {
			return answer, nil
		})
		if got, err := ask(t.Context(), connect.Prompt{Kind: kind}); got != answer || err != nil {
			t.Errorf("ask for %v: got %q, %v; want %q", kind, got, err, answer)
		}
	}
	if got, want := e.dialogues.mask.Hide("typed-password 123456 yes"), "*** *** yes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
