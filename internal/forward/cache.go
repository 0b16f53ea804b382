package forward

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// cached is how many closures are kept.
const cached = 256

// Program is something that will import modules.
type Program struct {
	Name  string   // that what is learned is remembered under; "": nothing is
	Roots []string // modules that will be imported
	Main  string   // one that is run as a program, as python -m does: its __main__ if it is a package; "": none
	Text  []byte   // a script that is run; nil: none
}

// key is what a closure follows from, besides the modules.
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

// entry is a closure. Its mutex is held while it is made or checked, so that those who want it at the same time share the
// work.
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
	begun, pass := time.Now(), f.finder.Pass()
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
		return &modules.Module{Name: "__main__", Letter: modules.Plain, Source: p.Text, Own: true, Info: info, Scanned: true}
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

func top(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}
