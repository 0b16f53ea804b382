package pysource

// names gives the values of a module's global names, as far as conditions need them. A nil value
// belongs to a name that may stand for anything.
type names map[string]*expr

// lookup returns nil for what isn't known.
func (n names) lookup(name string, local bool) *expr {
	e, ok := n[name]
	if !ok {
		return knownExpr(name)
	}
	if local && e != nil && e.op != opKnown {
		return nil
	}
	return e
}

// bind notes that a name stands for e, for anything if that is nil. It binds nothing to
// TYPE_CHECKING: a module that can't import that name assigns False.
func (n *names) bind(name []byte, e *expr) {
	if e == nil {
		if _, ok := (*n)[string(name)]; !ok && facts[string(name)] == nil && !namespaces[string(name)] {
			return
		}
	}
	if string(name) == checking {
		return
	}
	if *n == nil {
		*n = names{}
	}
	(*n)[string(name)] = e
}

// member returns what `from imp.Module import name` imports, nil if we know nothing about it.
func member(imp Import, name string) *expr {
	if imp.Level > 0 || !namespaces[imp.Module] {
		return nil
	}
	return knownExpr(imp.Module + "." + name)
}

// maxAssigned limits the tokens of an assignment that the scanner reads.
const maxAssigned = 64

// maxStored is the largest expression that a name may stand for: it is evaluated wherever the name
// occurs.
const maxStored = 32

// assign reads a statement at module level that begins with a name and an operator.
func (s *scanner) assign() {
	switch op := s.text(s.i + 1); {
	case s.is(s.i, "__all__") && (string(op) == "=" || string(op) == "+="):
		s.all()
	case len(op) == 1 && (op[0] == '=' || op[0] == ':' || op[0] == ','):
		s.bind(s.i)
	case op[len(op)-1] == '=':
		s.names.bind(s.text(s.i), nil)
	}
}

// bind notes what the names stand for that the statement at start assigns.
func (s *scanner) bind(start int) {
	value, end := s.assigned(start)
	var e *expr
	if len(s.suites) == 1 && end-start < maxAssigned &&
		(s.toks[value].Kind == Name || s.is(value, "(")) {
		e = s.condition(span{value, end})
	}
	if e.size(maxStored) >= maxStored {
		e = nil
	}
	for i := start; i < value; i++ {
		if s.toks[i].Kind != Name {
			continue
		}
		switch {
		case s.is(i+1, "=") && (i == start || !s.is(i-1, ",")), i == start && s.is(i+1, ":"):
			s.names.bind(s.text(i), e)
		case s.is(i+1, ","), s.is(i+1, "="):
			s.names.bind(s.text(i), nil)
		}
	}
}

// assigned returns the indices of the value that a statement assigns and of its end; start if it
// has no value.
func (s *scanner) assigned(start int) (value, end int) {
	depth := 0
	value, end = start, start
	for ; end-start < maxAssigned && s.toks[end].Kind != Newline && !s.is(end, ";"); end++ {
		if s.toks[end].Kind == Op {
			depth += nesting[s.src[s.toks[end].Start]]
		}
		if depth == 0 && s.is(end, "=") {
			value = end + 1
		}
	}
	return value, end
}

// size returns the number of nodes, or limit if there are more.
func (e *expr) size(limit int) int {
	if e == nil {
		return 0
	}
	n := 1
	for _, a := range e.args {
		if n >= limit {
			return limit
		}
		n += a.size(limit - n)
	}
	return n
}

// all reads the literals that an assignment to __all__ begins with.
func (s *scanner) all() {
	s.i += 2
	if !s.is(s.i, "[") && !s.is(s.i, "(") {
		return
	}
	s.i++
	for s.tok().Kind == String {
		if name, ok := s.literal(&s.i); ok {
			s.info.All = append(s.info.All, string(name))
		}
		if !s.is(s.i, ",") {
			return
		}
		s.i++
	}
}
