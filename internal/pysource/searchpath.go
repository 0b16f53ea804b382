package pysource

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// A SearchPath has the directories that a program puts on sys.path, relative to its own, with
// slashes: "lib", "..". Before are those that it puts first.
type SearchPath struct{ Before, Behind []string }

// Bounds of what is read of a source: alternatives of a value, and directories.
const (
	maxAlternatives = 16
	maxDirectories  = 32
)

// ReadSearchPath finds what src does with sys.path and site.addsitedir, where that is an expression
// of __file__, sys.argv[0] or sys.path[0], the functions of os.path, or those of pathlib. All that
// a name or a function's result may be counts; what isn't known is left out.
func ReadSearchPath(src []byte) (p SearchPath) {
	toks, err := Tokens(src)
	if err != nil {
		toks = append(toks, Token{Kind: EOF}) // readers go as far as that
	}
	r := pathReader{src: src, toks: toks, names: map[string][]pathValue{}}
	for r.i < len(toks) && toks[r.i].Kind != EOF {
		r.statement(&p)
	}
	return p
}

// A pathValue is a text, or, with place, a path that begins at the program's directory.
type pathValue struct {
	text  string
	place bool
}

// ownFile stands for the program's own file.
const ownFile = "__file__"

// pathReader reads the statements of a source one after another.
type pathReader struct {
	src   []byte
	toks  []Token
	i     int
	names map[string][]pathValue // "f()": what a function returns
	def   string                 // the last function that has begun
	path  bool                   // sys.path was imported as path
}

func (r *pathReader) is(s string) bool { return r.i < len(r.toks) && r.toks[r.i].Is(r.src, s) }

// accept reads s if it comes next.
func (r *pathReader) accept(s string) bool {
	ok := r.is(s)
	if ok {
		r.i++
	}
	return ok
}

func (r *pathReader) kind() Kind {
	if r.i < len(r.toks) {
		return r.toks[r.i].Kind
	}
	return EOF
}

func (r *pathReader) text() string { return string(r.toks[r.i].Text(r.src)) }

// ends reports whether a statement ends here. A colon counts, so that what stands behind `if x:` is
// one.
func (r *pathReader) ends() bool {
	k := r.kind()
	return k == EOF || k == Newline || k == Indent || k == Dedent || r.is(";") || r.is(":")
}

func (r *pathReader) statement(p *SearchPath) {
	start := r.i
	switch {
	case r.accept("for"):
		r.loop()
	case r.accept("def"):
		r.def = r.name()
	case r.accept("from"):
		r.imported()
	case r.accept("return"):
		r.comprehensions()
		r.bind(r.def+"()", r.expr())
	case r.kind() == Name:
		r.comprehensions()
		if name := r.assigned(); name != "" {
			r.bind(name, r.expr())
			break
		}
		r.i = start
		if r.changesPath() {
			r.added(p)
		}
	}
	for !r.ends() {
		r.i++
	}
	r.i++
}

// name reads a name, "" if there is none.
func (r *pathReader) name() (name string) {
	if r.kind() == Name {
		name = r.text()
		r.i++
	}
	return name
}

// assigned reads `name =`, or `name: annotation =`, and returns the name; "": it is none of these.
func (r *pathReader) assigned() string {
	name := r.name()
	if r.is(":") && name != "else" && name != "try" && name != "finally" {
		for k := r.kind(); k != EOF && k != Newline && !r.is("=") && !r.is(";"); k = r.kind() {
			r.i++
		}
	}
	if !r.accept("=") {
		return ""
	}
	return name
}

// imported reads `sys import` and names, behind "from".
func (r *pathReader) imported() {
	sys := r.accept("sys")
	for !r.ends() {
		r.path = r.path || sys && r.is("path")
		r.i++
	}
}

// comprehensions binds the names of the loops within a statement, which are behind what uses them.
func (r *pathReader) comprehensions() {
	start := r.i
	for r.kind() != EOF && r.kind() != Newline {
		if r.accept("for") {
			r.loop()
		} else {
			r.i++
		}
	}
	r.i = start
}

func (r *pathReader) loop() {
	name := r.name()
	if r.accept("in") {
		r.bind(name, r.expr())
	}
}

func (r *pathReader) bind(name string, values []pathValue) {
	r.names[name] = bounded(append(r.names[name], values...))
}

func bounded(values []pathValue) []pathValue {
	return values[:min(len(values), maxAlternatives)]
}

// changesPath reports whether a statement begins like a change of the search path. It reads the
// beginning.
func (r *pathReader) changesPath() bool {
	for _, words := range [][]string{{"sys", ".", "path"}, {"site", ".", "addsitedir"},
		{"addsitedir"}} {
		start := r.i
		ok := true
		for _, w := range words {
			ok = ok && r.accept(w)
		}
		if ok {
			return true
		}
		r.i = start
	}
	return r.path && r.accept("path")
}

// added takes each path that the rest of the statement has.
func (r *pathReader) added(p *SearchPath) {
	into := &p.Behind
	if r.is(".") && r.i+1 < len(r.toks) && r.toks[r.i+1].Is(r.src, "insert") || r.is("[") ||
		r.is("=") {
		into = &p.Before
	}
	if r.accept(".") {
		r.i++ // a method's name
	}
	for !r.ends() || r.is(":") {
		if r.kind() != Name && r.kind() != String {
			r.i++
			continue
		}
		before := r.i
		for _, v := range r.expr() {
			if v.place && v.text != ownFile && !slices.Contains(*into, v.text) &&
				len(*into) < maxDirectories {
				*into = append(*into, v.text)
			}
		}
		r.i = max(r.i, before+1)
	}
}

// expr reads sums with "or" between them, or a condition.
func (r *pathReader) expr() []pathValue {
	all := r.sum()
	for r.accept("or") || r.otherwise() {
		all = bounded(append(all, r.sum()...))
	}
	return all
}

// otherwise reads a condition from "if" to "else", if it has that.
func (r *pathReader) otherwise() bool {
	start := r.i
	if !r.accept("if") {
		return false
	}
	for depth := 0; r.kind() != EOF && r.kind() != Newline && depth >= 0; r.i++ {
		if depth == 0 && r.accept("else") {
			return true
		}
		depth += r.nesting()
	}
	r.i = start
	return false
}

// nesting is 1 at an opening bracket, -1 at a closing one.
func (r *pathReader) nesting() int {
	if r.kind() != Op {
		return 0
	}
	return nesting[r.src[r.toks[r.i].Start]]
}

// sum reads operands with / + and % between them.
func (r *pathReader) sum() []pathValue {
	left := r.operand()
	for {
		switch {
		case r.accept("/"):
			left = combine(left, r.operand(), joined)
		case r.accept("+"):
			left = combine(left, r.operand(), concatenated)
		case r.accept("%"):
			left = filled(left, "%s", r.values())
		default:
			return left
		}
	}
}

// values reads what a format is given: one operand, or each element of a tuple.
func (r *pathReader) values() [][]pathValue {
	if r.is("(") {
		return r.arguments()
	}
	return [][]pathValue{r.operand()}
}

// filled is a format with values in the places of its marks.
func filled(formats []pathValue, mark string, values [][]pathValue) (all []pathValue) {
	for _, f := range formats {
		parts := strings.Split(f.text, mark)
		if f.place || len(parts) != len(values)+1 {
			continue
		}
		pieces := [][]pathValue{{{parts[0], false}}}
		for i, v := range values {
			pieces = append(pieces, v, []pathValue{{parts[i+1], false}})
		}
		all = append(all, together(pieces)...)
	}
	return bounded(all)
}

// together has each of pieces behind the one before it. A path can be the first only.
func together(pieces [][]pathValue) []pathValue {
	all := []pathValue{{}}
	for _, piece := range pieces {
		all = combine(all, piece, func(a, b pathValue) (pathValue, bool) {
			if b.place {
				return pathValue{b.text + "\x00", true}, a == pathValue{}
			}
			return pathValue{a.text + b.text, a.place}, true
		})
	}
	return slices.DeleteFunc(each(all, settled), func(v pathValue) bool { return v.text == "" })
}

// settled is a value of together, "" if what stands behind a path isn't below it.
func settled(v pathValue) pathValue {
	dir, rest, _ := strings.Cut(v.text, "\x00")
	if !v.place {
		return v
	}
	v.text = ""
	if rest == "" {
		v.text = dir
	} else if strings.HasPrefix(rest, "/") {
		v.text = path.Join(dir, rest)
	}
	return v
}

func combine(a, b []pathValue, f func(a, b pathValue) (pathValue, bool)) (all []pathValue) {
	for _, x := range a {
		for _, y := range b {
			if v, ok := f(x, y); ok {
				all = append(all, v)
			}
		}
	}
	return bounded(all)
}

// joined is as os.path.join.
func joined(a, b pathValue) (pathValue, bool) {
	if b.place {
		return b, true
	}
	return pathValue{path.Join(a.text, b.text), a.place}, !path.IsAbs(b.text)
}

func concatenated(a, b pathValue) (pathValue, bool) {
	if a.place && !strings.HasPrefix(b.text, "/") {
		return a, false
	}
	return pathValue{path.Clean(a.text + b.text), a.place}, !b.place
}

// operand reads a name, a string or what is in brackets, with all that follows it: attributes,
// calls, indices.
func (r *pathReader) operand() []pathValue {
	var name string // of an attribute or function, the last part
	var whole string
	var values []pathValue
	switch {
	case r.is("(") || r.is("["):
		values = r.list()
	case r.kind() == String:
		values = r.literals()
	case r.kind() == Name:
		name = r.text()
		whole = name
		values = r.named(name)
		r.i++
	default:
		return nil
	}
	for {
		switch {
		case r.accept("."):
			if r.kind() != Name {
				return nil
			}
			name = r.text()
			whole += "." + name
			r.i++
			if name == "parent" {
				values = each(values, parent)
			} else if v, ok := constants[whole]; ok {
				values = []pathValue{v}
			}
		case r.is("("):
			args := r.arguments()
			if result, ok := r.names[whole+"()"]; ok {
				values = result
			} else {
				values = called(name, values, args)
			}
		case r.accept("["):
			index := r.index()
			values = indexed(whole, name, values, index)
			name = ""
		default:
			return values
		}
	}
}

func (r *pathReader) named(name string) []pathValue {
	if name == ownFile {
		return []pathValue{{ownFile, true}}
	}
	return r.names[name]
}

var constants = map[string]pathValue{
	"os.pardir": {"..", false}, "os.curdir": {".", false}, "os.sep": {"/", false},
	"os.path.sep": {"/", false},
}

func (r *pathReader) literals() []pathValue {
	s := scanner{src: r.src, toks: r.toks}
	text, ok := s.literal(&r.i)
	if !ok && r.kind() == String {
		if values, ok := r.template(); ok {
			return values
		}
	}
	if !ok {
		for r.kind() == String {
			r.i++
		}
		return nil
	}
	return []pathValue{{string(text), false}}
}

// template reads an f-string whose expressions it understands.
func (r *pathReader) template() (values []pathValue, ok bool) {
	b := r.toks[r.i].Text(r.src)
	q := bytes.IndexAny(b, `'"`)
	size := quoteLen(b, q)
	body := string(b[q+size : len(b)-size])
	if prefixOf(b[:q])&formatted == 0 || strings.Contains(body, `\`) || strings.Contains(body, "{{") {
		return nil, false
	}
	var pieces [][]pathValue
	for body != "" {
		text, rest, inside := strings.Cut(body, "{")
		pieces = append(pieces, []pathValue{{text, false}})
		code, rest, closed := strings.Cut(rest, "}")
		if inside {
			pieces = append(pieces, r.within(code))
		}
		if inside != closed {
			return nil, false
		}
		body = rest
	}
	r.i++
	return together(pieces), r.kind() != String
}

// within is the value of an expression in an f-string.
func (r *pathReader) within(code string) []pathValue {
	toks, err := Tokens([]byte(code))
	if err != nil {
		return nil
	}
	inner := pathReader{src: []byte(code), toks: toks, names: r.names}
	values := inner.expr()
	if !inner.ends() {
		return nil
	}
	return values
}

// list reads what stands in brackets: all of its elements, as alternatives.
func (r *pathReader) list() (values []pathValue) {
	for _, a := range r.arguments() {
		values = append(values, a...)
	}
	return bounded(values)
}

// arguments reads from an opening bracket to the closing bracket.
func (r *pathReader) arguments() (args [][]pathValue) {
	r.i++
	for r.kind() != EOF && r.kind() != Newline {
		if r.accept(")") || r.accept("]") {
			return args
		}
		start := r.i
		args = append(args, r.expr())
		loops := r.is("for")
		for depth := 0; r.kind() != EOF && (depth > 0 || !r.is(",") && !r.is(")") && !r.is("]")); r.i++ {
			depth += r.nesting()
			if !loops {
				args[len(args)-1] = nil // there is more to it than is understood
			}
		}
		r.accept(",")
		if r.i == start {
			return args
		}
	}
	return args
}

// index reads to the closing bracket and returns what is before it if that is one number.
func (r *pathReader) index() string {
	text := ""
	for r.kind() != EOF && r.kind() != Newline && !r.accept("]") {
		text += r.text()
		r.i++
	}
	return text
}

func indexed(whole, name string, values []pathValue, index string) []pathValue {
	switch {
	case whole == "sys.argv" && index == "0":
		return []pathValue{{ownFile, true}}
	case whole == "sys.path" && index == "0":
		return []pathValue{{".", true}}
	case name == "split" && index == "0":
		return each(values, parent)
	case name == "parents" && len(index) == 1 && index >= "0" && index <= "9":
		for range int(index[0]-'0') + 1 {
			values = each(values, parent)
		}
		return values
	}
	return nil
}

// called is the result of a function or method of what values has.
func called(name string, values []pathValue, args [][]pathValue) []pathValue {
	var first []pathValue
	if len(args) > 0 {
		first = args[0]
	}
	switch name {
	case "dirname":
		return each(first, parent)
	case "get", "getenv": // of the environment, with what counts without it
		if len(args) == 2 {
			return args[1]
		}
	case "format":
		return filled(values, "{}", args)
	case "join", "joinpath":
		all := values
		if name == "join" {
			all, args = first, args[min(1, len(args)):]
		}
		for _, a := range args {
			all = combine(all, a, joined)
		}
		return all
	case "abspath", "realpath", "normpath", "fspath", "fsdecode", "str", "Path", "PurePath",
		"PosixPath", "split":
		for _, a := range args[min(1, len(args)):] {
			first = combine(first, a, joined)
		}
		return first
	case "getfile", "getsourcefile", "getabsfile":
		return []pathValue{{ownFile, true}}
	case "resolve", "absolute", "as_posix", "expanduser", "__str__":
		return values
	}
	return nil
}

func each(values []pathValue, f func(pathValue) pathValue) (all []pathValue) {
	for _, v := range values {
		all = append(all, f(v))
	}
	return all
}

// parent is as os.path.dirname of a path that is absolute.
func parent(v pathValue) pathValue {
	switch {
	case v.place && (v.text == "." || v.text == ".." || strings.HasSuffix(v.text, "/..")):
		v.text = path.Join(v.text, "..")
	default:
		v.text = path.Dir(v.text)
	}
	return v
}
