package pylink

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/mitogen-go/mitogen/internal/boot"
)

// A Registry is a global of the core into which sources put what is theirs: a table, each key of
// which has one owner, or a list, each entry of which has one. Sources declare no more than the
// statements that put it there:
//
//	TABLE[key] = function       LIST.append(function)
//	TABLE.update({key: fn})     LIST += name, name
//
// A key is a number, a text, or a name of a number. A source may replace the entry of another if
// a comment behind the statement names the owner's file: `# instead of core/tables.py`.
type Registry struct {
	Name  string
	Table bool

	// Giver is a function that gives out keys from First to Last: no source may choose one of
	// these.
	Giver       string
	First, Last int64
}

// A claim says that a source has a key of a table or an entry of a list.
type claim struct {
	file    string
	line    int
	key     string
	dynamic bool   // made by a function, when it is called
	loads   string // the module that a loader stands for
	instead string // the file of the owner that it replaces
}

func (c claim) String() string { return fmt.Sprintf("%s:%d", c.file, c.line) }

// claims are those of one registry.
type claims struct {
	Registry
	made    []claim // where the global itself is assigned
	all     []claim
	removed []claim
	over    []claim // of what may be anyone's entries: key is the code that changes them
	wrong   []error
}

func (c *claims) refuse(at claim, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf("%s: "+format, append([]any{at}, args...)...))
}

// entry returns the name of an entry in errors.
func (c *claims) entry(key string) string {
	if c.Table {
		return c.Name + "[" + key + "]"
	}
	return "the entry " + key + " of " + c.Name
}

// checkRegistries refuses two owners of one entry of a registry.
func (l *linker) checkRegistries() error {
	wrong := append(l.checkNames(), l.checkFunctions()...)
	numbers := l.numbers()
	for _, r := range l.Registries {
		c := &claims{Registry: r}
		l.inOrder(func(t *text, shared bool) {
			s := &claimReader{text: t, claims: c, shared: shared, numbers: numbers}
			for i := range t.toks {
				if s.names(i) {
					s.claim(i)
				}
			}
		})
		c.checkMade()
		c.checkOwners()
		c.checkReplacements()
		c.checkRemovals()
		c.checkLoaders(l.modules)
		c.checkShared(l.modules)
		c.checkGiven(l.defined(c.Giver))
		wrong = append(wrong, c.wrong...)
	}
	return errors.Join(wrong...)
}

// inOrder calls f for each source, in the order of the modules.
func (l *linker) inOrder(f func(t *text, shared bool)) {
	seen := map[string]bool{}
	for _, m := range l.modules {
		for _, s := range m.Sources {
			if k := key(s, m); !seen[k] {
				seen[k] = true
				f(l.texts[k], m.Shared)
			}
		}
	}
}

// numbers returns the values of the core's names that are assigned once, and are numbers.
func (l *linker) numbers() map[string]string {
	values, times := map[string]string{}, map[string]int{}
	l.each(true, func(t *text) {
		for _, a := range t.assignments() {
			for j, name := range a.names {
				if times[name]++; j < len(a.values) {
					values[name] = a.values[j]
				}
			}
		}
	})
	maps.DeleteFunc(values, func(name, _ string) bool { return times[name] > 1 })
	return values
}

// defined returns where the core defines a function.
func (l *linker) defined(name string) (at claim) {
	l.each(true, func(t *text) {
		for _, f := range t.functions {
			if f.Name == name && t.module.bound[name] {
				at = claim{file: t.name, line: f.Line}
			}
		}
	})
	return at
}

// checkNames refuses that two sources in the core's namespace define functions, classes or
// variables of one name on module level: the later one would replace the other. Where that is
// meant, a comment on the line names the owner's file, as for registries.
func (l *linker) checkNames() (wrong []error) {
	owners, registries := map[string]claim{}, map[string]bool{}
	for _, r := range l.Registries {
		registries[r.Name] = true
	}
	l.inOrder(func(t *text, shared bool) {
		if !shared {
			return
		}
		defined := slices.Clip(t.tops)
		for _, a := range t.assignments() {
			for _, name := range a.names {
				defined = append(defined, boot.Function{Line: int(t.toks[a.from].Line), Name: name})
			}
		}
		for _, f := range defined {
			at := claim{file: t.name, line: f.Line}
			other, taken := owners[f.Name]
			if registries[f.Name] {
				continue // which are looked at by their entries
			}
			if taken && other.file != at.file && t.instead(f.Line) != other.file {
				wrong = append(wrong, fmt.Errorf("%s: the name %s is taken: %s has it", at, f.Name, other))
			}
			owners[f.Name] = at
		}
	})
	return wrong
}

// checkFunctions refuses that two modules replace one function of the core.
func (l *linker) checkFunctions() (wrong []error) {
	owners := map[string]claim{}
	l.inOrder(func(t *text, shared bool) {
		for i := range t.toks {
			if shared || !t.ofCore(i) || t.is(i+1, ".") || !t.assigned(i) ||
				l.defined(t.word(i)).line == 0 {
				continue
			}
			name, at := t.word(i), claim{file: t.name, line: int(t.toks[i].Line)}
			if other, taken := owners[name]; taken && other.file != at.file {
				wrong = append(wrong, fmt.Errorf("%s: %s() of the core is taken: %s replaces it, too",
					at, name, other))
			}
			owners[name] = at
		}
	})
	return wrong
}

// checkMade refuses a second assignment to the registry itself, and changes of any entry.
func (c *claims) checkMade() {
	if len(c.made) == 0 {
		for _, k := range append(c.all, c.over...) {
			c.refuse(k, "%s: no source makes this registry", c.Name)
		}
		return
	}
	for _, m := range c.made[1:] {
		c.refuse(m, "%s is assigned, but %s has made it%s", c.Name, c.made[0], c.also(m))
	}
	for _, o := range c.over {
		c.refuse(o, "%s changes what %s has put there%s", o.key, c.made[0], c.also(o))
	}
}

// also lists the owners of entries, but for those in a claim's file.
func (c *claims) also(than claim) string {
	text := ""
	for _, o := range c.all {
		if o.file != than.file && o.file != c.made[0].file && !o.dynamic {
			text += ", and " + o.String()
		}
	}
	return text
}

// owner returns who has a key, loaders and replacements left aside.
func (c *claims) owner(key string) (claim, bool) {
	i := slices.IndexFunc(c.all, func(o claim) bool {
		return o.key == key && o.loads == "" && o.instead == ""
	})
	if i < 0 {
		return claim{}, false
	}
	return c.all[i], true
}

// checkOwners refuses two claims of one key. Functions of one source may share one.
func (c *claims) checkOwners() {
	for _, k := range c.all {
		if k.loads != "" || k.instead != "" {
			continue
		}
		o, _ := c.owner(k.key)
		if o != k && (o.file != k.file || !o.dynamic && !k.dynamic) {
			c.refuse(k, "%s is taken: %s has it", c.entry(k.key), o)
		}
	}
}

// checkReplacements refuses those of what another source has than they say, and two of one entry.
func (c *claims) checkReplacements() {
	first := map[string]claim{}
	for _, k := range c.all {
		if k.instead == "" {
			continue
		}
		if o, ok := c.owner(k.key); !ok || o.file != k.instead {
			c.refuse(k, "%s is not %s's: got owner %s", c.entry(k.key), k.instead, o)
		}
		if other, taken := first[k.key]; taken && other.file != k.file {
			c.refuse(k, "%s is taken: %s replaces it, too", c.entry(k.key), other)
		}
		first[k.key] = k
	}
}

// checkRemovals refuses those of another source's entries.
func (c *claims) checkRemovals() {
	for _, k := range c.removed {
		if o, ok := c.owner(k.key); ok && o.file != k.file && o.file != k.instead {
			c.refuse(k, "%s is removed, but %s has it", c.entry(k.key), o)
		}
	}
}

// checkLoaders refuses a loader of a module that doesn't take what the loader stands for.
func (c *claims) checkLoaders(modules []Module) {
	for _, k := range c.all {
		if k.loads == "" {
			continue
		}
		var bring []string
		for _, m := range modules {
			if m.Name == k.loads {
				bring = m.Sources
			}
		}
		if !slices.ContainsFunc(c.all, func(o claim) bool {
			return o.key == k.key && slices.Contains(bring, o.file)
		}) {
			o, _ := c.owner(k.key)
			c.refuse(k, "%s loads %s, which doesn't take it: got owner %s", c.entry(k.key), k.loads,
				cmp.Or(o, claim{file: "none"}))
		}
	}
}

// checkShared refuses claims of a source that several modules bring: each would be an owner.
func (c *claims) checkShared(modules []Module) {
	for _, k := range c.all {
		var bring []string
		for _, m := range modules {
			if slices.Contains(m.Sources, k.file) {
				bring = append(bring, m.Name)
			}
		}
		if len(bring) > 1 && !k.dynamic {
			c.refuse(k, "%s has two owners: %s and %s bring this file", c.entry(k.key), bring[0],
				bring[1])
		}
	}
}

// checkGiven refuses keys that sources choose, of those that a function gives out.
func (c *claims) checkGiven(giver claim) {
	for _, k := range c.all {
		n, err := strconv.ParseInt(k.key, 10, 64)
		if c.Giver != "" && err == nil && n >= c.First && n <= c.Last {
			c.refuse(k, "%s is taken: %s() of %s gives out %d to %d", c.entry(k.key), c.Giver, giver,
				c.First, c.Last)
		}
	}
}
