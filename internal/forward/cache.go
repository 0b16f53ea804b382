package forward

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// cached limits the closures in the cache.
const cached = 256

// Program is something that will import modules.
type Program struct {
	Name  string   // that what is learned is remembered under; "": nothing is
	Roots []string // modules that will be imported
	// a module that is run as a program, as python -m does: its __main__ if it is a package; "": none
	Main string
	Text []byte // a script that is run; nil: none
}

// key holds the facts that a closure follows from, besides the modules.
type key struct {
	target      pysource.Target
	roots, main string
	text        [sha256.Size]byte
}

// cache holds closures.
type cache struct {
	mu      sync.Mutex // protects following
	clock   uint64     // counts uses
	entries map[key]*entry
}

// entry is a closure. Its mutex is held while it is made or checked, so that those who want it at
// the same time share the work.
type entry struct {
	used uint64 // protected by cache.mu

	mu    sync.Mutex // protects following
	c     *closure.Closure
	begun time.Time // of the check that c passed last
}

func (c *cache) entry(k key) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	e := c.entries[k]
	if e == nil {
		if c.entries == nil {
			c.entries = map[key]*entry{}
		}
		if len(c.entries) >= cached {
			c.evict()
		}
		e = &entry{}
		c.entries[k] = e
	}
	e.used = c.clock
	return e
}

// evict forgets the entry that wasn't used for longest.
func (c *cache) evict() {
	var oldest key
	first := c.clock
	for k, e := range c.entries {
		if e.used < first {
			oldest, first = k, e.used
		}
	}
	delete(c.entries, oldest)
}

// closure returns what p imports on t, as the files were at some time since the call.
func (f *Forwarder) closure(t pysource.Target, p Program) *closure.Closure {
	wanted := time.Now()
	k := key{target: t, roots: strings.Join(p.Roots, "\x00"), main: p.Main}
	if p.Text != nil {
		k.text = sha256.Sum256(p.Text)
	}
	e := f.cache.entry(k)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c != nil && e.begun.After(wanted) {
		return e.c
	}
	begun, pass := time.Now(), f.finder.Pass().For(t.ABI)
	if e.c == nil || !e.c.Fresh(pass) {
		e.c = closure.OfProgram(pass, t, p.module(pass, t), p.Roots)
	}
	e.begun = begun
	return e.c
}

// module returns what is run as a program; nil: nothing is, or its text is not understood.
func (p Program) module(src closure.Source, t pysource.Target) *modules.Module {
	switch {
	case p.Text != nil:
		info, err := pysource.Scan(p.Text)
		if err != nil {
			return nil
		}
		return &modules.Module{Name: "__main__", Letter: modules.Plain, Source: p.Text, Code: p.Text,
			Own:  true,
			Info: info, Scanned: true, Mentions: modules.Mentions(p.Text)}
	case p.Main != "" && !closure.Stdlib(top(p.Main), t):
		m := src.Find(p.Main)
		if m.Letter == modules.Package || m.Letter == modules.Namespace {
			m = src.Find(p.Main + ".__main__")
		}
		if m.Letter != modules.Missing {
			return m
		}
	}
	return nil
}

// required knows what the distributions of closures require.
type required struct {
	mu    sync.Mutex // protects following
	names map[*closure.Closure][]string
}

// of returns the top-level modules of what the foreign distributions in c require. It reads files
// for each closure once.
func (r *required) of(c *closure.Closure, finder *modules.Finder) []string {
	r.mu.Lock()
	names, known := r.names[c]
	r.mu.Unlock()
	if known {
		return names
	}
	names = finder.Required(c.Foreign)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil || len(r.names) >= cached {
		r.names = map[*closure.Closure][]string{}
	}
	r.names[c] = names
	return names
}

// asks reports whether ctx is to be asked about something in c.
func (f *Forwarder) asks(ctx wire.ContextID, c *closure.Closure) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(c.Foreign, func(name string) bool {
		return !f.book.Has(ctx, name) && !f.book.Lacked(ctx, name)
	})
}

func top(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}
