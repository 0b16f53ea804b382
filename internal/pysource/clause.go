package pysource

// head reads a clause's head and prepares the suite that follows. It returns the index after the
// colon, -1 if the line isn't a head; s.i stays where it is.
func (s *scanner) head() int {
	if s.tok().Kind != Name {
		return -1
	}
	start := s.i
	if s.is(start, "async") && s.toks[start+1].Kind == Name {
		start++
	}
	read := reader(s.text(start))
	if read == nil {
		return -1
	}
	end := s.colon(start + 1)
	if end < 0 {
		return -1
	}
	s.next = s.inner()
	read(s, span{start + 1, end})
	return end + 1
}

// reader returns what reads the rest of a head that begins with word, nil if none does. What is
// missing here, as match, needs a line of its own and says nothing.
func reader(word []byte) func(*scanner, span) {
	switch string(word) {
	case "if":
		return (*scanner).ifHead
	case "elif":
		return (*scanner).elifHead
	case "else":
		return (*scanner).elseHead
	case "try":
		return (*scanner).tryHead
	case "except":
		return (*scanner).exceptHead
	case "def":
		return (*scanner).defHead
	case "with":
		return (*scanner).withHead
	case "for":
		return (*scanner).forHead
	case "class", "while", "case", "finally":
		return (*scanner).otherHead
	}
	return nil
}

// colon returns the index of the colon that ends the head in which i lies, -1 if there is none.
func (s *scanner) colon(i int) int {
	lambdas, depth := 0, 0
	for ; ; i++ {
		switch t := s.toks[i]; t.Kind {
		case Newline, EOF:
			return -1
		case Name:
			if depth == 0 && s.is(i, "lambda") {
				lambdas++
			}
		case Op:
			depth += nesting[s.src[t.Start]]
			if depth > 0 || s.src[t.Start] != ':' || t.End-t.Start > 1 {
				continue
			}
			if lambdas == 0 {
				return i
			}
			lambdas--
		}
	}
}

// nesting gives the change of the depth of brackets by an operator's first byte.
var nesting = [256]int{'(': 1, '[': 1, '{': 1, ')': -1, ']': -1, '}': -1}

func (s *scanner) otherHead(span) { s.top().last = compound{} }

func (s *scanner) defHead(span) {
	s.top().last = compound{}
	s.next.where = InFunction
	s.next.try, s.next.catch = 0, 0
	s.next.depth++
	s.next.loop = loop{}
}

// maxLoop bounds the texts of a for: each may be an import, wherever its name is.
const maxLoop = 64

// forHead reads `for name in "a", "b"`, which is how modules are imported by calls in turn.
func (s *scanner) forHead(at span) {
	s.top().last = compound{}
	s.next.loop = loop{}
	if !s.dynamic || at.end-at.start < 4 || s.toks[at.start].Kind != Name || !s.is(at.start+1, "in") {
		return
	}
	if texts := s.texts(span{at.start + 2, at.end}); len(texts) <= maxLoop {
		s.next.loop = loop{string(s.text(at.start)), texts}
	}
}

// texts returns those of a list or tuple of strings that stand for themselves, nil if it is
// anything else.
func (s *scanner) texts(at span) (texts []string) {
	brackets := s.is(at.start, "[") || s.is(at.start, "(")
	list := s.is(at.start, "[")
	if brackets {
		at.start++
		at.end--
		if c := s.text(at.end)[0]; c != ']' && c != ')' {
			return nil
		}
	}
	i := at.start
	for i < at.end {
		if s.toks[i].Kind != String {
			return nil
		}
		text, ok := s.literal(&i)
		if ok {
			texts = append(texts, string(text))
		}
		for ; i < at.end && s.toks[i].Kind == String; i++ { // the rest of what doesn't
		}
		if i == at.end && !(list || len(texts) > 1) || i < at.end && !s.is(i, ",") {
			return nil
		}
		i++
	}
	return texts
}

func (s *scanner) ifHead(test span) {
	s.top().last = compound{kind: ifStatement}
	s.tests = s.tests[:s.top().tests]
	s.elifHead(test)
}

func (s *scanner) elifHead(at span) {
	s.tests = append(s.tests, test{at: at})
	s.next.clause = len(s.tests) - s.top().tests
	if len(s.suites) == 1 {
		s.guard(at)
	}
}

// guard sets the next suite's guard.
func (s *scanner) guard(test span) {
	for i := test.start; i < test.end; i++ {
		if s.is(i, "__name__") {
			if _, placed := s.clauses(s.tests[s.top().tests:], false); placed&Main != 0 {
				s.next.guard = test.start
			}
			return
		}
	}
}

func (s *scanner) elseHead(span) {
	switch last := &s.top().last; {
	case last.kind == ifStatement:
		s.next.clause, s.next.negated = len(s.tests)-s.top().tests, true
	case last.kind == tryStatement && last.try > 0:
		s.next.where |= Else
		s.next.catch = last.try
	}
}

func (s *scanner) tryHead(span) {
	s.top().last = compound{kind: tryStatement, from: len(s.info.Imports), until: -1}
}

func (s *scanner) exceptHead(types span) {
	last := &s.top().last
	if last.kind != tryStatement || !s.catches(types) {
		return
	}
	if last.try == 0 {
		s.tries++
		last.try = s.tries
		s.markOptional(last.from, last.until, last.try)
	}
	s.next.where |= Handler
	s.next.catch = last.try
}

// catches reports whether a handler of these types gets ImportErrors.
func (s *scanner) catches(types span) bool {
	if types.start == types.end {
		return true
	}
	for i := types.start; i < types.end; i++ {
		if s.toks[i].Kind != Name {
			continue
		}
		switch string(s.text(i)) {
		case "ImportError", "ModuleNotFoundError", "Exception", "StandardError", "BaseException":
			return true
		}
	}
	return false
}

// markOptional marks the imports that have been found since from, but for those in functions.
func (s *scanner) markOptional(from, until, try int) {
	for i := from; i < until; i++ {
		imp := &s.info.Imports[i]
		if s.depths[i] != s.top().depth {
			continue
		}
		imp.Where |= Optional
		if imp.Try == s.top().try { // no try within has set it
			imp.Try = try
		}
	}
}

func (s *scanner) withHead(items span) {
	s.top().last = compound{}
	for i := items.start; i < items.end; i++ {
		if s.is(i, "suppress") && s.catches(span{i, items.end}) {
			s.tries++
			s.next.where |= Optional
			s.next.try = s.tries
			return
		}
	}
}

// maxWhen bounds the conditions of one suite.
const maxWhen = 64

// place sets when and placed of the suite at index i, and of all around it.
func (s *scanner) place(i int) {
	t := &s.suites[i]
	if t.known || i == 0 {
		return
	}
	s.place(i - 1)
	around := &s.suites[i-1]
	t.known = true
	t.when, t.placed = around.when, around.placed
	if t.clause > 0 {
		own, placed := s.clauses(s.tests[around.tests:around.tests+t.clause], t.negated)
		if len(own) > 0 && len(t.when) < maxWhen {
			t.when = append(t.when[:len(t.when):len(t.when)], own...)
		}
		t.placed |= placed
	}
}

// maxClauses bounds how many tests of one statement are looked at for each of its clauses.
const maxClauses = 16

// clauses returns what must hold for a clause of an if statement: that all tests but the last fail,
// and that one too if negated.
func (s *scanner) clauses(tests []test, negated bool) (when []Cond, placed Where) {
	last := len(tests) - 1
	for i := range tests {
		if i >= maxClauses && i < last {
			continue
		}
		t := &tests[i]
		s.readTest(t)
		cond, where := t.holds, t.placed
		if negated || i < last {
			cond, where = t.fails, t.denied
		}
		if cond != nil {
			when = append(when, *cond)
			placed |= where
		}
	}
	return when, placed
}

func (s *scanner) readTest(t *test) {
	if t.read {
		return
	}
	t.read = true
	if e := s.condition(t.at); e != nil {
		t.holds, t.fails = &Cond{e}, &Cond{not(e)}
		t.placed, t.denied = t.holds.places(), t.fails.places()
	}
}
