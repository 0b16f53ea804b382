package pylink

import (
	"cmp"
	"maps"
	"slices"
)

// The letters of names, in the order in which they are given out. Of several orders these
// packed best: names are made of letters that keywords and builtins have anyway, names of one
// letter that locals have seldom are for globals, and each function's locals begin with the
// same letters.
const (
	globalLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZjzkxqvwyhgbufmdpl" // alone
	globalFirst   = "etaosinrdlc"                                 // of two
	globalSecond  = "etaosinrdlcupmfghbwyvkxzqjETAOSINRDLCUPMFGHBWYVKXZQJ"
	localLetters  = "seatornicldpfmubghwvyxkzjq"
	attrLetters   = "seatonicldpfmubghvyxkzjqABCDEFGHIJKLMNOPQRSTUVWXYZ"
	attrFirst     = "etaosinrdlc"
	attrSecond    = "etaosinrdlcupmfghbwyvkxzqj"
)

// generator yields names of one letter, then of two.
type generator struct {
	one, first, then string
	n                int
	taken            func(string) bool
}

func (g *generator) next() string {
	for {
		n := g.n
		g.n++
		var name string
		if n < len(g.one) {
			name = g.one[n : n+1]
		} else {
			n -= len(g.one)
			name = g.first[n/len(g.then):n/len(g.then)+1] + g.then[n%len(g.then):n%len(g.then)+1]
		}
		if !keywords[name] && !g.taken(name) {
			return name
		}
	}
}

// nameGlobals gives the shortest names to what is written most.
func (l *linker) nameGlobals() {
	all := slices.Collect(maps.Keys(l.globals))
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(l.weights[b]-l.weights[a], cmp.Compare(a, b))
	})
	taken := func(s string) bool { return l.taken[s] || l.globals[s] }
	g := &generator{one: globalLetters, first: globalFirst, then: globalSecond, taken: taken}
	for _, name := range all {
		if _, ok := l.constants[name]; !ok {
			l.names[name] = g.next()
		}
	}
}

// localNames returns the new names of what functions of t have, by their scopes.
func (l *linker) localNames(t *text, shared bool) map[*scope]map[string]string {
	uses := map[*scope][]outer{} // names that a function, or a function in it, takes from outside
	for i := range t.toks {
		if t.uses[i] != variable {
			continue
		}
		name := t.word(i)
		owner := t.scopes[i].owner(name)
		for s := t.scopes[i]; s != owner && s != nil; s = s.parent {
			uses[s] = append(uses[s], outer{name, owner})
		}
	}
	found := map[*scope]map[string]string{}
	var name func(s *scope)
	name = func(s *scope) {
		if s == nil || found[s] != nil {
			return
		}
		name(s.parent)
		found[s] = map[string]string{}
		if s.kind != functionScope {
			return
		}
		avoid := map[string]bool{}
		for _, u := range uses[s] {
			avoid[l.outside(t, u, found, shared)] = true
		}
		keep := map[string]bool{}
		for _, n := range s.order {
			if l.keepsLocal(s, n, shared) {
				keep[n], avoid[n] = true, true
			}
		}
		taken := func(s string) bool { return avoid[s] }
		g := &generator{one: localLetters, first: localLetters, then: localLetters, taken: taken}
		for _, n := range s.order {
			if !keep[n] {
				found[s][n] = g.next()
			}
		}
	}
	for _, s := range allScopes(t) {
		name(s)
	}
	return found
}

// An outer name is used in a function that doesn't bind it.
type outer struct {
	name  string
	owner *scope
}

// outside returns what an outer name is written as.
func (l *linker) outside(t *text, u outer, found map[*scope]map[string]string, shared bool) string {
	if n, ok := found[u.owner][u.name]; ok {
		return n
	}
	if u.owner == t.module && shared && l.globals[u.name] {
		return l.written(u.name)
	}
	return u.name
}

// keepsLocal tells whether a function's own name stays.
func (l *linker) keepsLocal(s *scope, name string, shared bool) bool {
	if s.fixed[name] {
		return true
	}
	if !s.params[name] || name == "self" && !s.takesAny {
		return false
	}
	if s.takesAny {
		return true
	}
	return !shared || l.keywords[name] || slices.Contains(l.Methods, s.name)
}

// nameAttributes gives the shortest names to those attributes that are written most.
func (l *linker) nameAttributes() {
	used, taken := map[string]int{}, map[string]bool{}
	for _, t := range l.texts {
		for i := range t.toks {
			if t.uses[i] == attribute || t.uses[i] == variable && l.inClass(t, i) {
				used[t.word(i)]++
				taken[t.word(i)] = true
			}
		}
	}
	all := slices.Clone(l.Attributes)
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(used[b]-used[a], cmp.Compare(a, b)) })
	hidden := l.hidden()
	for _, a := range all {
		g := &generator{one: attrLetters, first: attrFirst, then: attrSecond,
			taken: func(s string) bool { return taken[s] || hidden[a][s] }}
		l.attrs[a] = g.next()
		taken[l.attrs[a]] = true
	}
}

// hidden returns, for each name that class bodies bind, the names which it would hide: those that
// the bodies take from outside, as they are written.
func (l *linker) hidden() map[string]map[string]bool {
	found := map[string]map[string]bool{}
	for _, shared := range []bool{true, false} {
		l.each(shared, func(t *text) {
			for i := range t.toks {
				if t.uses[i] != variable || t.scopes[i].kind != classScope || l.inClass(t, i) {
					continue
				}
				name := t.word(i)
				if l.isGlobal(t, i, shared) {
					name = l.written(name)
				}
				for bound := range t.scopes[i].bound {
					if found[bound] == nil {
						found[bound] = map[string]bool{}
					}
					found[bound][name] = true
				}
			}
		})
	}
	return found
}
