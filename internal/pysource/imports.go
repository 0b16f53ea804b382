package pysource

import "bytes"

// Scan returns what src says about imports. The error, a *SyntaxError or ErrCoding, means that src
// wasn't understood, and nothing is known about it.
func Scan(src []byte) (Info, error) {
	var info Info
	err := withTokens(src, func(toks []Token) (err error) {
		info, err = scan(src, toks, look(src, toks))
		return err
	})
	return info, err
}

// Read is Scan and Minify for the price of one reading.
func Read(src []byte, o Options) (Info, []byte, error) {
	info, min := Info{}, src
	err := withTokens(src, func(toks []Token) (err error) {
		m := look(src, toks)
		if info, err = scan(src, toks, m); err == nil {
			min, err = minify(src, toks, m, o)
		}
		return err
	})
	return info, min, err
}

// marks are names that change how a whole source is read.
type marks struct {
	doc   bool // __doc__
	lazy  bool // what Info.Lazy says
	path  bool // what Info.Path says
	calls bool // functions that import
}

func look(src []byte, toks []Token) (m marks) {
	for _, t := range toks {
		if t.Kind == String {
			m.doc = m.doc || quotesDoc(t.Text(src))
		}
		if t.Kind != Name {
			continue
		}
		switch string(t.Text(src)) {
		case "__doc__":
			m.doc = true
		case "set_lazy_imports", "__lazy_modules__":
			m.lazy = true
		case "__path__", "extend_path", "declare_namespace":
			m.path = true
		case "__import__", "import_module":
			m.calls = true
		}
	}
	return m
}

// quotesDoc reports whether text is an f-string that mentions __doc__.
func quotesDoc(text []byte) bool {
	return prefixOf(text[:bytes.IndexAny(text, `'"`)])&formatted != 0 &&
		bytes.Contains(text, []byte("__doc__"))
}

// scanner walks over the statements of a module. It keeps the suites that are open, not a tree.
type scanner struct {
	src     []byte
	toks    []Token
	i       int // the next token
	info    Info
	depths  []int // for each import the functions that it is in
	suites  []suite
	tests   []test // of each open suite's last if, one suite's after the other's
	next    suite  // opened by the head that has just been read
	tries   int    // finished ones that catch ImportError
	names   names
	dynamic bool // the source mentions a function that imports
	lazy    bool // the statement is a lazy import
}

// suite is a block of statements.
type suite struct {
	where Where
	try   int // Import.Try of what stands in it, but for a try whose body hasn't ended
	catch int // Import.Catch of what stands in it
	depth int // functions around it
	tests int // index of the first test of an if in it
	// it follows this clause of an if: number of tests it depends on; 0 if it is no such clause
	clause  int
	negated bool     // the last of these must fail too
	guard   int      // index of the first token of its test, if it is a main guard; 0 if it is none
	loop    loop     // the innermost for around it
	known   bool     // when and placed are set
	when    []Cond   // of all suites around too
	placed  Where    // what when says about places
	last    compound // the compound statement in it that further clauses may belong to
}

// loop is a for over literal texts.
type loop struct {
	name  string // that stands for each of texts, "" if it is another for
	texts []string
}

// compound is a statement of several clauses.
type compound struct {
	kind        compoundKind
	from, until int // imports in the body of a try
	try         int // number of a try that catches ImportError, else 0
}

type compoundKind uint8

const (
	otherStatement compoundKind = iota
	ifStatement
	tryStatement
)

// test is the condition of an if or elif. It is read at its first use.
type test struct {
	at             span
	read           bool
	holds, fails   *Cond // nil if nothing is known
	placed, denied Where // what they say about places
}

// span is a range of tokens.
type span struct{ start, end int }

func scan(src []byte, toks []Token, m marks) (Info, error) {
	s := scanner{src: src, toks: toks, suites: make([]suite, 1, 16), dynamic: m.calls}
	s.info.Doc, s.info.Lazy, s.info.Path = m.doc, m.lazy, m.path
	for s.tok().Kind != EOF {
		if err := s.step(); err != nil {
			return Info{}, err
		}
	}
	return s.info, nil
}

func (s *scanner) tok() Token { return s.toks[s.i] }

func (s *scanner) is(i int, text string) bool { return s.toks[i].Is(s.src, text) }

func (s *scanner) text(i int) []byte { return s.toks[i].Text(s.src) }

func (s *scanner) top() *suite { return &s.suites[len(s.suites)-1] }

func (s *scanner) step() error {
	switch s.tok().Kind {
	case Newline:
		s.i++
	case Indent:
		s.push()
		s.i++
	case Dedent:
		s.pop()
		s.i++
	default:
		return s.line()
	}
	return nil
}

func (s *scanner) push() {
	s.next.tests = len(s.tests)
	s.suites = append(s.suites, s.next)
	s.next = s.inner()
}

// pop leaves a suite, after its last token but Dedents.
func (s *scanner) pop() {
	done := s.top()
	guard := done.guard
	s.tests = s.tests[:done.tests]
	s.suites = s.suites[:len(s.suites)-1]
	if last := &s.top().last; last.until < 0 {
		last.until = len(s.info.Imports)
	}
	if guard > 0 {
		s.addGuard(s.toks[guard-1])
	}
	s.next = s.inner()
}

// addGuard notes the main guard from head to the last token.
func (s *scanner) addGuard(head Token) {
	end := s.i - 1
	for s.toks[end].Kind == Dedent || s.toks[end].Kind == Newline {
		end--
	}
	last := s.toks[end]
	s.info.Guards = append(s.info.Guards, Span{
		Line: int(head.Line), Last: int(last.Line) + countLines(last.Text(s.src)),
		Start: int(head.Start), End: int(last.End),
	})
}

// inner returns a suite within the current suite that says nothing new.
func (s *scanner) inner() suite {
	t := s.top()
	return suite{where: t.where, try: t.try, catch: t.catch, depth: t.depth, loop: t.loop}
}

// line reads a logical line: simple statements, or a head with or without its suite.
func (s *scanner) line() error {
	if body := s.head(); body >= 0 {
		s.calls(s.i, body)
		s.i = body
		if s.tok().Kind == Newline {
			return nil
		}
		s.push()
		err := s.simple()
		s.pop()
		return err
	}
	return s.simple()
}

// simple reads statements up to the end of the line.
func (s *scanner) simple() error {
	for s.tok().Kind != Newline {
		start := s.i
		if err := s.statement(); err != nil {
			return err
		}
		s.i = s.statementEnd(s.i)
		s.calls(start, s.i)
		if s.tok().Kind != Newline {
			s.i++
		}
	}
	return nil
}

// statementEnd returns the index of the Newline or semicolon after the simple statement in which i
// lies.
func (s *scanner) statementEnd(i int) int {
	for ; s.toks[i].Kind != Newline; i++ {
		if t := s.toks[i]; t.Kind == Op && s.src[t.Start] == ';' {
			break
		}
	}
	return i
}

// statement reads what matters of a simple statement.
func (s *scanner) statement() error {
	if s.tok().Kind != Name {
		return nil
	}
	if s.is(s.i, "lazy") && (s.is(s.i+1, "import") || s.is(s.i+1, "from")) {
		s.i++
		s.lazy = true
		defer func() { s.lazy = false }()
	}
	switch string(s.text(s.i)) {
	case "import":
		return s.importModules()
	case "from":
		return s.importNames()
	case "global":
		for s.i++; s.tok().Kind == Name || s.is(s.i, ","); s.i++ {
			s.names.bind(s.text(s.i), nil)
		}
	default:
		if s.toks[s.i+1].Kind == Op && s.top().depth == 0 {
			s.assign()
		}
	}
	return nil
}

func (s *scanner) fail(msg string) error { return &SyntaxError{int(s.tok().Line), msg} }

// importModules reads `import a.b as c, d`.
func (s *scanner) importModules() error {
	line := int(s.tok().Line)
	for {
		s.i++
		name := s.dotted()
		if name == "" {
			return s.fail("import without a name")
		}
		s.add(Import{Line: line, Module: name})
		s.bindImport(knownExpr(name))
		if !s.is(s.i, ",") {
			return s.endOfImport()
		}
	}
}

// importNames reads `from ..a import (b as c, d)`.
func (s *scanner) importNames() error {
	imp := Import{Line: int(s.tok().Line)}
	for s.i++; s.tok().Kind == Op && s.src[s.tok().Start] == '.'; s.i++ {
		imp.Level += len(s.text(s.i))
	}
	imp.Module = s.dotted()
	if !s.is(s.i, "import") || imp.Level == 0 && imp.Module == "" {
		return s.fail("from without import")
	}
	s.i++
	brackets := s.is(s.i, "(")
	if brackets {
		s.i++
	}
	imp.Names = s.imported(imp)
	if brackets {
		if !s.is(s.i, ")") {
			return s.fail("import of something that isn't a name")
		}
		s.i++
	}
	if len(imp.Names) == 0 {
		return s.fail("import without a name")
	}
	s.add(imp)
	return s.endOfImport()
}

// imported reads the names of a from-import.
func (s *scanner) imported(imp Import) []string {
	if s.is(s.i, "*") {
		s.i++
		return []string{"*"}
	}
	count := 1
	for i := s.i; s.toks[i].Kind == Name || s.is(i, ","); i++ {
		if s.toks[i].Kind == Op {
			count++
		}
	}
	out := make([]string, 0, count)
	for s.tok().Kind == Name {
		name := string(s.text(s.i))
		out = append(out, name)
		s.i++
		s.bindImport(member(imp, name))
		if !s.is(s.i, ",") {
			break
		}
		s.i++
	}
	return out
}

// bindImport reads `as other`, if that comes, and notes what the name stands for that the import
// binds: the one before s.i or other.
func (s *scanner) bindImport(e *expr) {
	if s.is(s.i, "as") && s.toks[s.i+1].Kind == Name {
		s.i += 2
	}
	if s.top().depth == 0 {
		s.names.bind(s.text(s.i-1), e)
	}
}

// dotted reads `a.b.c`, "" if no name is there.
func (s *scanner) dotted() string {
	start := s.i
	for s.tok().Kind == Name && !s.is(s.i, "import") {
		s.i++
		if !s.is(s.i, ".") {
			break
		}
		s.i++
	}
	if s.i == start || s.is(s.i-1, ".") {
		return ""
	}
	first, last := s.toks[start], s.toks[s.i-1]
	text := s.src[first.Start:last.End]
	if bytes.ContainsAny(text, " \t\f\\") {
		text = bytes.Join(bytes.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == '\\' }), nil)
	}
	return string(text)
}

func (s *scanner) endOfImport() error {
	if t := s.tok(); t.Kind != Newline && !s.is(s.i, ";") {
		return s.fail("import followed by something else")
	}
	return nil
}

// add notes an import in the current suite.
func (s *scanner) add(imp Import) {
	t := s.top()
	s.place(len(s.suites) - 1)
	imp.Where |= t.where | t.placed
	imp.Try, imp.Catch, imp.When, imp.Lazy = t.try, t.catch, t.when, s.lazy
	s.info.Imports = append(s.info.Imports, imp)
	s.depths = append(s.depths, t.depth)
}
