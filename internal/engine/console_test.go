package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// The question for the password of a console ends with the time that its connect has.
func TestConsolePasswordEnds(t *testing.T) {
	e, _ := fakeEngine(t, Options{})
	plan := methods.Plan{Name: "console:/dev/x", Method: "console", Prompts: []methods.Prompt{{}}}
	waits := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	prompted := withPrompt(t.Context(), func(ctx context.Context, _ connect.Prompt) (string, error) {
		return "", waits(ctx)
	})
	source := func(ctx context.Context, _ secret.Place) (secret.Secret, error) {
		return "", waits(ctx)
	}
	for name, ctx := range map[string]context.Context{
		"person":  prompted,
		"secrets": withSecrets(t.Context(), source, plan.Name),
	} {
		limited, cancel := context.WithCancel(ctx)
		cancel()
		ask := e.starts.consolePassword(ctx, plan)
		if _, err := ask(limited); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
	}
}
