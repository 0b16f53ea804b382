package forward

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/modules"
)

// Bounds of what is learned.
const (
	maxPrograms = 512
	maxLearned  = 1024 // names for each
	maxTries    = 64   // looks for refused names, for each
)

// lore is the modules, and files of third-party packages, that contexts had to ask for alone, by
// the program that ran. It comes from contexts and may be wrong. That costs bytes and nothing else:
// a module without an import isn't run.
type lore struct {
	keys sync.Map // string: string; see Forwarder.loreKey

	mu    sync.Mutex          // protects following
	names map[string][]string // by this engine
	tries map[string]int      // of each program, how often a refused name was looked for

	file  string              // keeps names between engines; "": none does
	read  bool                // file was
	old   map[string][]string // that file had
	fresh map[string][]string // that are to be in file: of modules that there are
}

// loreKey returns a key that no other program has, whatever project it is of. The name of a user's
// own module is no such key: __main__ of a directory has many namesakes. Scripts have their hash in
// their name.
func (f *Forwarder) loreKey(program string) string {
	name := strings.TrimPrefix(program, "-m ")
	if !modules.Valid(name) {
		return program
	}
	if key, ok := f.lore.keys.Load(program); ok {
		return key.(string)
	}
	key, sum := program, sha256.New()
	for _, name := range []string{name, name + ".__main__"} {
		if m := f.finder.Find(name); m.Own && m.Letter != modules.Missing {
			sum.Write(m.Key[:])
			key = fmt.Sprintf("%s %x", program, sum.Sum(nil)[:8])
		}
	}
	f.lore.keys.Store(program, key)
	return key
}

// try reports whether a refused name should be looked for, so that other contexts hear at once that
// it is missing. It says so a few times only, since each look reads files.
func (l *lore) try(program, name string) bool {
	if program == "" || !modules.Valid(name) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if has(l.names[program], name) || has(l.old[program], name) ||
		l.tries[program] >= maxTries ||
		l.tries[program] == 0 && len(l.tries) >= maxPrograms {
		return false
	}
	if l.tries == nil {
		l.tries = map[string]int{}
	}
	l.tries[program]++
	return true
}

// learn notes a module that a program had to ask for. A missing module isn't kept in the file: such
// names may be made up.
func (l *lore) learn(program, name string, nowhere bool) {
	if program == "" || !learnable(name) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	if has(l.old[program], name) || !add(&l.names, program, name) {
		return
	}
	if !nowhere {
		add(&l.fresh, program, name)
	}
}

// learnable reports whether a name may belong to a module, to a file in a package (package/path),
// or to a package's outline (package/).
func learnable(name string) bool {
	pkg, path, file := strings.Cut(name, "/")
	return modules.Valid(pkg) && (!file || path == "" || modules.ValidPath(path))
}

func has(sorted []string, name string) bool {
	_, ok := slices.BinarySearch(sorted, name)
	return ok
}

// add notes a name, if there is room and it is new.
func add(all *map[string][]string, program, name string) bool {
	known := (*all)[program]
	at, ok := slices.BinarySearch(known, name)
	if ok || len(known) >= maxLearned || known == nil && len(*all) >= maxPrograms {
		return false
	}
	if *all == nil {
		*all = map[string][]string{}
	}
	(*all)[program] = slices.Insert(slices.Clone(known), at, name) // a reader may have the old slice
	return true
}

// of returns the names learned for program, sorted. They are not to be changed.
func (l *lore) of(program string) []string {
	if program == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	old, names := l.old[program], l.names[program]
	if len(old) == 0 {
		return names
	}
	all := slices.Concat(old, names)
	slices.Sort(all)
	return slices.Compact(all)
}
