package forward

import (
	"slices"
	"sync"

	"github.com/mitogen-go/mitogen/internal/modules"
)

// Bounds of what is learned.
const (
	maxPrograms = 512
	maxLearned  = 64 // names for each
)

// lore is what contexts had to ask for alone, by the program that ran. It comes from contexts and may be wrong, which costs
// bytes and nothing else: what nobody imports isn't run.
type lore struct {
	mu    sync.Mutex // protects following
	names map[string][]string
	tries map[string]int // of each program, how often a refused name was looked for
}

// try reports whether a refused name should be looked for, to tell others at once that it is
// nowhere: not for ever, since each costs a look at files.
func (l *lore) try(program, name string) bool {
	if program == "" || !modules.Valid(name) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := slices.BinarySearch(l.names[program], name); known ||
		l.tries[program] >= maxLearned ||
		l.tries[program] == 0 && len(l.tries) >= maxPrograms {
		return false
	}
	if l.tries == nil {
		l.tries = map[string]int{}
	}
	l.tries[program]++
	return true
}

func (l *lore) learn(program, name string) {
	if program == "" || !modules.Valid(name) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.names[program]
	at, ok := slices.BinarySearch(known, name)
	if ok || len(known) >= maxLearned || known == nil && len(l.names) >= maxPrograms {
		return
	}
	if l.names == nil {
		l.names = map[string][]string{}
	}
	next := slices.Insert(slices.Clone(known), at, name) // others may be reading the old one
	l.names[program] = next
}

// of returns the names learned for program, sorted. They are not to be changed.
func (l *lore) of(program string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.names[program]
}
