package pysource

import (
	"strconv"
	"strings"
)

// Cond is a condition that depends on the Python that a module is for.
type Cond struct{ e *expr }

// Holds says whether the condition holds on t.
func (c Cond) Holds(t Target) Truth { return c.e.eval(&world{Target: t}).truth() }

// world holds the facts that expressions are evaluated with.
type world struct {
	Target
	main     Truth // whether the module is run as a program
	checking bool  // nothing is known about TYPE_CHECKING, which is false otherwise
}

// places returns what a condition says about places.
func (c Cond) places() (w Where) {
	here := func(w world) Truth { return c.e.eval(&w).truth() }
	usual := here(world{})
	if usual == No && here(world{checking: true}) != No {
		w |= TypeChecking
	}
	main, other := here(world{main: Yes}), here(world{main: No})
	if other == No && main != No {
		w |= Main
	}
	if main == No && other != No {
		w |= Imported
	}
	return w
}

// expr is an expression as far as it is understood; nil: it isn't.
type expr struct {
	op   opcode
	args []*expr
	cmp  []string // between args
	name string   // of what is known about the target
	val  value
	from int // index or slice
	to   int
}

type opcode uint8

const (
	opConst opcode = iota
	opKnown        // sys.platform and so on
	opTuple
	opIndex
	opSlice
	opStarts
	opEnds
	opCompare
	opNot
	opAnd
	opOr
)

func (e *expr) eval(w *world) value {
	if e == nil {
		return value{}
	}
	switch e.op {
	case opConst:
		return e.val
	case opKnown:
		if fact := facts[e.name]; fact != nil {
			return fact(w)
		}
		return value{}
	case opTuple:
		return e.tuple(w)
	case opIndex:
		return e.args[0].eval(w).index(e.from)
	case opSlice:
		return e.args[0].eval(w).slice(e.from, e.to)
	case opStarts:
		return boolean(e.args[0].eval(w).starts(e.args[1].eval(w)))
	case opEnds:
		return boolean(e.args[0].eval(w).ends(e.args[1].eval(w)))
	case opCompare:
		return boolean(e.compare(w))
	case opNot:
		return boolean(-e.args[0].eval(w).truth())
	}
	return boolean(e.logic(w))
}

func (e *expr) tuple(w *world) value {
	v := value{kind: e.val.kind, elems: make([]value, len(e.args))}
	for i, a := range e.args {
		v.elems[i] = a.eval(w)
	}
	return v
}

func (e *expr) compare(w *world) Truth {
	all := Yes
	left := e.args[0].eval(w)
	for i, op := range e.cmp {
		right := e.args[i+1].eval(w)
		all = min(all, relate(op, left, right))
		left = right
	}
	return all
}

// logic evaluates and, or.
func (e *expr) logic(w *world) Truth {
	sum := e.args[0].eval(w).truth()
	for _, a := range e.args[1:] {
		if t := a.eval(w).truth(); e.op == opAnd {
			sum = min(sum, t)
		} else {
			sum = max(sum, t)
		}
	}
	return sum
}

const (
	checking = "TYPE_CHECKING"
	pypy     = "is PyPy" // stands for several ways to ask
	sni      = "ssl.HAS_SNI"
)

// facts are the expressions whose values depend on the target. Calls end in ().
var facts = map[string]func(*world) value{
	"sys.version_info":        versionInfo,
	"sys.version":             versionText,
	"sys.hexversion":          versionHex,
	"sys.platform":            func(w *world) value { return known(w.Platform) },
	"os.name":                 func(w *world) value { return known(w.OSName) },
	"sys.implementation.name": func(w *world) value { return known(w.Implementation) },
	"platform.python_implementation()": func(w *world) value {
		return known(implementations[w.Implementation])
	},
	"platform.system()": system,
	pypy:                isPyPy,
	sni:                 hasSNI,
	"__name__":          moduleName,
	checking:            typeChecking,
	"six.PY2":           func(w *world) value { return major(w, 2) },
	"six.PY3":           func(w *world) value { return major(w, 3) },
}

var implementations = map[string]string{"cpython": "CPython", "pypy": "PyPy", "jython": "Jython",
	"ironpython": "IronPython"}

func known(s string) value {
	if s == "" {
		return value{}
	}
	return value{kind: text, s: s}
}

func versionInfo(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	v := value{kind: tuple, elems: make([]value, 5)}
	for i, n := range w.Version {
		v.elems[i] = value{kind: number, n: n}
	}
	return v
}

func versionText(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	var parts [3]string
	for i, n := range w.Version {
		parts[i] = strconv.Itoa(n)
	}
	s := strings.Join(parts[:], ".")
	return value{kind: textFrom, s: strings.TrimSuffix(s, ".0")} // 2.7's first release said 2.7
}

func versionHex(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	return value{kind: hexversion, n: w.Version[0]<<16 | w.Version[1]<<8 | w.Version[2]}
}

func major(w *world, n int) value {
	if w.Version[0] == 0 {
		return value{}
	}
	return boolean(truth(w.Version[0] == n))
}

func isPyPy(w *world) value {
	if w.Implementation == "" {
		return value{}
	}
	return boolean(truth(w.Implementation == "pypy"))
}

// hasSNI is true since 2.7.9 and 3.2, with any OpenSSL that these can be built with today: so it is
// if the version isn't known.
func hasSNI(w *world) value {
	v := w.Version
	if v[0] == 2 && (v[1] < 7 || v[1] == 7 && v[2] < 9) || v[0] == 3 && v[1] < 2 {
		return value{}
	}
	return boolean(Yes)
}

func system(w *world) value {
	switch {
	case strings.HasPrefix(w.Platform, "linux"):
		return known("Linux")
	case w.Platform == "darwin":
		return known("Darwin")
	case w.Platform == "win32":
		return known("Windows")
	}
	return value{}
}

func moduleName(w *world) value {
	switch w.main {
	case Yes:
		return known("__main__")
	case No:
		return value{kind: notMain}
	}
	return value{}
}

func typeChecking(w *world) value {
	if w.checking {
		return value{}
	}
	return boolean(No)
}

// knownExpr returns the expression for a dotted name, nil if we know nothing by it.
func knownExpr(name string) *expr {
	if facts[name] != nil || namespaces[name] {
		return &expr{op: opKnown, name: name}
	}
	return nil
}

// namespaces are the names that facts lie in, and sys.builtin_module_names.
var namespaces = func() map[string]bool {
	m := map[string]bool{"sys.builtin_module_names": true}
	for name := range facts {
		for i, c := range name {
			if c == '.' || c == '(' {
				m[name[:i]] = true
			}
		}
	}
	return m
}()
