package askpass

import (
	"context"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
)

// Turns has a person asked one question for a passphrase at a time for each key, however many ssh
// processes need it. The zero value is ready.
type Turns struct {
	mu     sync.Mutex // protects following
	asking map[string]*turn
}

// Func returns a function that has questions for passphrases wait for each other. It asks person
// these and all other questions.
func (t *Turns) Func(person connect.PromptFunc) connect.PromptFunc {
	return func(ctx context.Context, p connect.Prompt) (string, error) {
		if p.Kind != connect.PromptPassphrase {
			return person(ctx, p)
		}
		ask := func() (string, error) { return person(ctx, p) }
		own, _ := ctx.Value(ownWordsKey{}).(bool)
		if !own {
			return t.ask(ctx, p.Hop+"\x00"+p.Text, false, ask)
		}
		return t.ask(ctx, p.Text, true, ask)
	}
}

// ownWordsKey is the key of a context.Context that says of a question that it is one of an ssh of
// this machine about a key, and no server's.
type ownWordsKey struct{}

func withOwn(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownWordsKey{}, true)
}

// turn is a question that is being asked.
type turn struct {
	done   chan struct{} // closed when the following are final
	answer string
	err    error
}

// ask has question asked. If it is being asked already, ask waits for that, and the answer is also
// for this one if it is shared.
func (t *Turns) ask(
	ctx context.Context,
	question string,
	shared bool,
	ask func() (string, error),
) (string, error) {
	for {
		mine := &turn{done: make(chan struct{})}
		other := t.begin(question, mine)
		if other == nil {
			mine.answer, mine.err = ask()
			t.end(question, mine)
			return mine.answer, mine.err
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if shared && other.err == nil {
			return other.answer, nil
		}
	}
}

// begin makes it mine's turn and returns nil, or returns whose turn it is.
func (t *Turns) begin(question string, mine *turn) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.asking[question]; other != nil {
		return other
	}
	if t.asking == nil {
		t.asking = map[string]*turn{}
	}
	t.asking[question] = mine
	return nil
}

func (t *Turns) end(question string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.asking, question)
	close(mine.done)
}
