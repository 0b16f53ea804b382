package pysource

// Info describes the needs of a module, as its source states them.
type Info struct {
	Imports []Import
	// `if __name__ == "__main__":` at module level: head and body, not what `else` adds
	Guards []Span
	// the literal part of __all__: what `from m import *` imports of a package's submodules
	All []string
	Doc bool // __doc__ is mentioned: docstrings must be kept
	// set_lazy_imports or __lazy_modules__ is mentioned: imports may be put off until their use
	Lazy bool
	// __path__, extend_path or declare_namespace is mentioned: a package may have more portions
	Path bool
}

// Span is a piece of a source.
type Span struct {
	Line, Last int // first and last line, from 1
	Start, End int // byte offsets
}

// Import is one module named in an import statement.
type Import struct {
	Line   int      // of the statement, from 1
	Level  int      // leading dots; Python 2's implicit relative imports have none
	Module string   // "" in `from . import x`
	Names  []string // that a from-import names, "*" included; nil in `import a`
	Where  Where
	// the innermost try or suppress that makes it Optional, a number from 1; 0 if none does
	Try   int
	Catch int    // the innermost try whose Handler or Else it stands in; 0 if there is none
	When  []Cond // all must hold
	Lazy  bool   // `lazy import`, `lazy from`: executed when what it binds is used
}

// Where is a set of what else is known about the place of an import.
type Where uint8

// The kinds of places. A place of none of these kinds is on module level, in classes, loops and
// `with` there too.
const (
	InFunction   Where = 1 << iota // not executed when the module is imported
	TypeChecking                   // never executed
	// in the body of a try that survives ImportError, or in suppress(ImportError)
	Optional
	// in a handler that catches ImportError: executed if an import whose Try is this Catch fails
	Handler
	Else     // in the else clause of such a try: executed if none fails
	Main     // executed only if the module is run as a program
	Imported // executed only if it isn't
	Dynamic  // __import__ or importlib.import_module with a literal name
)

var whereNames = [...]string{"function", "typing", "optional", "handler", "else", "main",
	"imported", "dynamic"}

func (w Where) String() string {
	text := ""
	for i, name := range whereNames {
		if w>>i&1 == 0 {
			continue
		}
		if text != "" {
			text += ","
		}
		text += name
	}
	return text
}

// Target is the Python that a module is for. Zero fields are unknown.
type Target struct {
	Version        [3]int // sys.version_info[:3] there
	Implementation string // sys.implementation.name there, which Python 2 lacks: "cpython", "pypy"
	Platform       string // sys.platform there
	OSName         string // os.name there

	// ABI describes the extension modules that the interpreter takes, in the form of package modules.
	// "": the context hasn't been asked.
	ABI string
}

// Taken reports whether the import's conditions can all hold on t: an unknown condition holds. The
// place of the import says nothing here, except that an import for type checkers only is never
// taken.
func (i Import) Taken(t Target) bool {
	for _, c := range i.When {
		if c.Holds(t) == No {
			return false
		}
	}
	return true
}
