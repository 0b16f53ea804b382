package askpass

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

// Questions for the same passphrase at the same time are one question; no other answer is shared.
func TestTurns(t *testing.T) {
	own := withOwn(context.Background())
	other := context.Background()
	wrong := errors.New("nobody there")
	for name, tt := range map[string]struct {
		ctx   func(i int) context.Context
		ask   func(i int) connect.Prompt
		err   error
		asked int // in all
		most  int // at once
	}{
		"one key": {
			func(int) context.Context { return own },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: fmt.Sprint("h", i), Kind: connect.PromptPassphrase, Text: "key a"}
			},
			nil, 1, 1,
		},
		"two keys": {
			func(int) context.Context { return own },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: "h", Kind: connect.PromptPassphrase, Text: fmt.Sprint("key ", i%2)}
			},
			nil, 2, 2,
		},
		"a refusal is nobody else's": {
			func(int) context.Context { return own },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: fmt.Sprint("h", i), Kind: connect.PromptPassphrase, Text: "key a"}
			},
			wrong, 8, 1,
		},
		"perhaps of a server": {
			func(int) context.Context { return other },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: "h", Kind: connect.PromptPassphrase,
					Text: "key a"}
			},
			nil, 8, 1,
		},
		"perhaps of servers": {
			func(int) context.Context { return other },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: fmt.Sprint("h", i), Kind: connect.PromptPassphrase, Text: "key a"}
			},
			nil, 8, 8,
		},
		"passwords": {
			func(int) context.Context { return own },
			func(i int) connect.Prompt {
				return connect.Prompt{Hop: "h", Kind: connect.PromptPassword,
					Text: "password: "}
			},
			nil, 8, 8,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked, now, most := 0, 0, 0
			var turns Turns
			f := turns.Func(func(_ context.Context, p connect.Prompt) (string, error) {
				mu.Lock()
				asked++
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				return "answer to " + p.Text, tt.err
			})
			for i := range 8 {
				go func() {
					p := tt.ask(i)
					answer, err := f(tt.ctx(i), p)
					if answer != "answer to "+p.Text || err != tt.err {
						t.Errorf("%s: got %q, %v, want the answer to %q, %v", name, answer, err, p.Text, tt.err)
					}
				}()
			}
			time.Sleep(time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if asked != tt.asked || most != tt.most {
				t.Errorf("%s: asked %d, %d at once, want %d, %d", name, asked, most, tt.asked, tt.most)
			}
		})
	}
}

// Who waits for another's question does so for no longer than its ctx.
func TestTurnsHeedTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		f := turns.Func(func(ctx context.Context, _ connect.Prompt) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		p := connect.Prompt{Hop: "h", Kind: connect.PromptPassphrase, Text: "key"}
		first, end := context.WithCancel(withOwn(t.Context()))
		defer end()
		go f(first, p)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(withOwn(t.Context()), time.Second)
		defer cancel()
		if _, err := f(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}
