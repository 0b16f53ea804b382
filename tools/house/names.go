package main

import (
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// keywords of all Pythons. print and exec are functions in the runtime.
var keywords = strings.Fields(`
	False None True and as assert async await break class continue def del
	elif else except finally for from global if import in is lambda nonlocal not or pass raise
	return try while with yield`)

// builtins of all Pythons, and what a module has from its birth.
var builtins = strings.Fields(`ArithmeticError AssertionError AttributeError BaseException
	BaseExceptionGroup BlockingIOError BrokenPipeError BufferError BytesWarning ChildProcessError
	ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError
	DeprecationWarning EOFError Ellipsis EnvironmentError Exception ExceptionGroup FileExistsError
	FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
	IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt
	LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError NotImplemented
	NotImplementedError OSError OverflowError PermissionError ProcessLookupError RecursionError
	ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration
	SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError TypeError
	UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError
	UnicodeWarning UserWarning ValueError Warning ZeroDivisionError __debug__ __doc__ __file__
	__import__ __loader__ __name__ __package__ __path__ __spec__ abs all any apply ascii basestring
	bin bool buffer bytearray bytes callable chr classmethod cmp compile complex delattr dict dir
	divmod enumerate eval exec execfile exit file filter float format frozenset getattr globals
	hasattr hash help hex id input int intern isinstance issubclass iter len list locals long map max
	memoryview min next object oct open ord pow print property quit range raw_input reduce reload repr
	reversed round set setattr slice sorted staticmethod str sum super tuple type unichr unicode vars
	xrange zip`)

// use is the first place of a name in a file.
type use struct {
	name string
	line int
}

// bracket is an open bracket, or a lambda before its colon.
type bracket struct {
	kind string // "def", "lambda", "call" for a call or subscript, or ""
}

// names collects the names that a file binds and uses. Scopes are not told apart: a name that is
// bound anywhere in the file counts as bound.
type names struct {
	*pythonFile
	bound map[string]bool
	uses  []use
	open  []bracket
}

// unbound returns the names that a file uses and neither binds nor imports, each once.
func (f *pythonFile) unbound() (all []use) {
	n := &names{pythonFile: f, bound: map[string]bool{}}
	for i := 0; i < len(f.toks); {
		i = n.statement(i)
	}
	seen := map[string]bool{}
	for _, u := range n.uses {
		if !seen[u.name] && !n.bound[u.name] && !slices.Contains(builtins, u.name) {
			all = append(all, u)
		}
		seen[u.name] = true
	}
	return all
}

// statement reads the statement at token i, and returns the first token of the next. What stands
// behind the colon of a compound statement belongs to it.
func (n *names) statement(i int) int {
	end := i
	for end < len(n.toks) && n.toks[end].Kind != pysource.Newline && n.toks[end].Kind != pysource.EOF {
		end++
	}
	for i < end && slices.Contains(layout, n.toks[i].Kind) {
		i++
	}
	if n.is(i, "import", "from") {
		n.imports(i, end)
		return end + 1
	}
	assigned := n.lastAssignment(i, end)
	if colon := n.annotation(i, end); colon > 0 {
		assigned = colon
	}
	n.open = n.open[:0]
	for ; i < end; i++ {
		n.token(i, i < assigned)
	}
	return end + 1
}

// imports binds what an import statement brings.
func (n *names) imports(i, end int) {
	from := n.is(i, "from")
	for i++; i < end && from && !n.is(i, "import"); i++ {
	}
	for ; i < end; i++ {
		passing := n.is(i, "as", "import") || n.is(i-1, ".") || n.is(i+1, "as")
		if n.toks[i].Kind == pysource.Name && !passing {
			n.bound[n.text(i)] = true
		}
	}
}

// lastAssignment returns the index of the last `=` outside of brackets, -1 if there is none.
func (n *names) lastAssignment(i, end int) int {
	depth, last := 0, -1
	for ; i < end; i++ {
		switch {
		case n.is(i, "(", "[", "{"):
			depth++
		case n.is(i, ")", "]", "}"):
			depth--
		case n.is(i, "lambda"):
			return last // its defaults aren't assignments
		case depth == 0 && n.is(i, "="):
			last = i
		}
	}
	return last
}

// annotation returns the index of the colon between a variable and its type, 0 if there is none.
func (n *names) annotation(i, end int) int {
	if n.toks[i].Kind != pysource.Name || slices.Contains(keywords, n.text(i)) {
		return 0
	}
	for depth := 0; i < end; i++ {
		switch {
		case n.is(i, "(", "[", "{"):
			depth++
		case n.is(i, ")", "]", "}"):
			depth--
		case n.is(i, "lambda", "="):
			return 0
		case depth == 0 && n.is(i, ":"):
			return i
		}
	}
	return 0
}

func (n *names) inner() string {
	if len(n.open) == 0 {
		return ""
	}
	return n.open[len(n.open)-1].kind
}

// token looks at one token; target says that an `=` follows outside of brackets.
func (n *names) token(i int, target bool) {
	t := n.toks[i]
	switch {
	case n.is(i, "(", "[", "{"):
		n.open = append(n.open, bracket{n.bracketKind(i)})
	case n.is(i, ")", "]", "}"):
		n.open = n.open[:max(0, len(n.open)-1)]
	case n.is(i, "lambda"):
		n.open = append(n.open, bracket{"lambda"})
	case n.is(i, ":") && n.inner() == "lambda":
		n.open = n.open[:len(n.open)-1]
	case t.Kind != pysource.Name || n.is(i-1, ".") || slices.Contains(keywords, n.text(i)):
	case n.binds(i, target):
		n.bound[n.text(i)] = true
	case n.inner() == "call" && n.is(i+1, "="): // an argument's name
	default:
		n.uses = append(n.uses, use{n.text(i), int(t.Line)})
	}
}

func (n *names) bracketKind(i int) string {
	switch {
	case n.is(i-2, "def"):
		return "def"
	case n.is(i-1, ")", "]", "}") || i > 0 && n.toks[i-1].Kind == pysource.String,
		i > 0 && n.toks[i-1].Kind == pysource.Name && !slices.Contains(keywords, n.text(i-1)):
		return "call"
	}
	return ""
}

// binds reports whether the name at i is bound there.
func (n *names) binds(i int, target bool) bool {
	if n.is(i-1, "def", "class", "as", "for", "global") || n.loopTarget(i) {
		return true
	}
	if inner := n.inner(); inner == "def" || inner == "lambda" {
		return n.is(i-1, "(", ",", "*", "**", "lambda")
	}
	inCall := slices.ContainsFunc(n.open, func(b bracket) bool { return b.kind == "call" })
	return target && !inCall && !n.is(i+1, ".", "(", "[")
}

// loopTarget reports whether the name at i stands between for and in.
func (n *names) loopTarget(i int) bool {
	for i--; i >= 0 && n.toks[i].Kind != pysource.Newline; i-- {
		if n.is(i, "for") {
			return true
		}
		if !n.is(i, ",", "(") && (n.toks[i].Kind != pysource.Name || n.is(i, "in", "if")) {
			return false
		}
	}
	return false
}
