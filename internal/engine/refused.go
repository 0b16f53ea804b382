package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

// refusalTime is the time in which a refused password isn't tried again at its place. Loops of the
// engine end well within it. A person who has changed something there can wait for it.
const refusalTime = time.Minute

// refusals are passwords that were refused, by what they were for. The zero value is empty.
type refusals struct {
	mu  sync.Mutex // protects following
	all map[string]refusal
}

type refusal struct {
	err  *connect.Error
	when time.Time
}

// note remembers err, if it says that a password was refused.
func (r *refusals) note(place string, err error) {
	var failed *connect.Error
	if place == "" || !errors.As(err, &failed) || !failed.Given || failed.Kind != connect.ErrAuth {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]refusal{}
	}
	for p, old := range r.all {
		if time.Since(old.when) > refusalTime {
			delete(r.all, p)
		}
	}
	r.all[place] = refusal{failed, time.Now()}
}

// at returns the error of a password that was refused lately; nil: none was.
func (r *refusals) at(place string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.all[place]
	if !known || time.Since(old.when) > refusalTime {
		return nil
	}
	again := *old.err
	return &again
}
