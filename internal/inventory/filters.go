package inventory

import (
	"os"
	"slices"
	"strings"
	"unicode"
)

// A call is a filter or method with as many arguments as it takes at least and at most.
type call struct {
	least, most int
	do          func(e *evaluation, x any, args []any) any
}

// ofText makes a call of what is done with a text and texts, and with nothing else.
func ofText(least, most int, do func(text string, args []string) any) call {
	return call{least, most, func(e *evaluation, x any, args []any) any {
		var texts []string
		for _, a := range append([]any{x}, args...) {
			text, ok := a.(string)
			if !ok {
				return e.fail("what is done with a text isn't done with others")
			}
			texts = append(texts, text)
		}
		return do(texts[0], texts[1:])
	}}
}

// methods are those of texts and mappings; filters are all but default, which takes what isn't
// known too.
var valueMethods, filters map[string]call

func init() { // not literals, because some refer to what looks at the tables
	valueMethods = map[string]call{
		"lower": ofText(0, 0, func(s string, _ []string) any { return strings.ToLower(s) }),
		"upper": ofText(0, 0, func(s string, _ []string) any { return strings.ToUpper(s) }),
		"strip": ofText(0, 1, func(s string, args []string) any {
			return trim(s, args, true, true)
		}),
		"lstrip": ofText(0, 1, func(s string, args []string) any {
			return trim(s, args, true, false)
		}),
		"rstrip": ofText(0, 1, func(s string, args []string) any {
			return trim(s, args, false, true)
		}),
		"startswith": ofText(1, 1, func(s string, args []string) any {
			return strings.HasPrefix(s, args[0])
		}),
		"endswith": ofText(1, 1, func(s string, args []string) any {
			return strings.HasSuffix(s, args[0])
		}),
		"replace": {2, 2, (*evaluation).replaceText},
		"split":   {0, 1, (*evaluation).split},
		"get": {1, 2, func(e *evaluation, x any, args []any) any {
			switch x.(type) {
			case map[string]any, allGroups, allHosts, ownVars, *Host:
			default:
				return e.fail("get of what is no mapping")
			}
			value := e.member(x, e.text(args[0]), "")
			if _, unknown := value.(undefined); !unknown {
				return value
			}
			return append(args, nil)[1]
		}},
	}
	filters = map[string]call{
		"int": filter("int"), "bool": filter("bool"), "string": filter("string"),
		"lower": filter("lower"), "upper": filter("upper"), "trim": filter("trim"),
		"replace": {2, 2, (*evaluation).replace},
		"split":   valueMethods["split"],
		"basename": ofText(0, 0, func(s string, _ []string) any {
			return s[strings.LastIndexByte(s, '/')+1:]
		}),
		"dirname": ofText(0, 0, dirname),
		"first": {0, 0, func(e *evaluation, x any, _ []any) any {
			return e.element(x, 0, "the first of a list")
		}},
		"last": {0, 0, func(e *evaluation, x any, _ []any) any {
			return e.element(x, -1, "the last of a list")
		}},
		"length": {0, 0, (*evaluation).length},
		"count":  {0, 0, (*evaluation).length},
		"join":   {0, 1, (*evaluation).join},
		"list":   {0, 0, (*evaluation).asList},
		"sort":   {0, 0, (*evaluation).sorted},
		"ternary": {2, 2, func(_ *evaluation, x any, args []any) any {
			return args[map[bool]int{true: 1}[isFalse(x)]]
		}},
		"mandatory": {0, 0, func(_ *evaluation, x any, _ []any) any { return x }},
	}
}

func filter(name string) call {
	return call{0, 0, func(e *evaluation, x any, _ []any) any { return e.r.convert(e.name, name, x) }}
}

func trim(s string, args []string, left, right bool) string {
	cut := isSpace
	if len(args) > 0 {
		cut = func(r rune) bool { return strings.ContainsRune(args[0], r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, cut)
	}
	if right {
		s = strings.TrimRightFunc(s, cut)
	}
	return s
}

// isSpace tells what Python takes for space.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func (e *evaluation) replaced(s, from, to string) any {
	if !e.fits(len(s) + strings.Count(s, from)*(len(to)-len(from))) {
		return nil
	}
	return strings.ReplaceAll(s, from, to)
}

// replaceText is the method.
func (e *evaluation) replaceText(x any, args []any) any {
	replace := ofText(2, 2, func(s string, args []string) any {
		return e.replaced(s, args[0], args[1])
	})
	return replace.do(e, x, args)
}

// replace is the filter, which makes a text of what it is given.
func (e *evaluation) replace(x any, args []any) any {
	return e.replaced(e.text(x), e.text(args[0]), e.text(args[1]))
}

// split cuts a text as Python does.
func (e *evaluation) split(x any, args []any) any {
	s, ok := x.(string)
	if !ok {
		return e.fail("split of what is no text")
	}
	words := strings.FieldsFunc(s, isSpace)
	if len(args) > 0 && args[0] != nil {
		by, ok := args[0].(string)
		if !ok || by == "" {
			return e.fail("split by what is no text, or by an empty one")
		}
		words = strings.Split(s, by)
	}
	all := []any{}
	for _, w := range words {
		all = append(all, w)
	}
	return all
}

func dirname(s string, _ []string) any {
	i := strings.LastIndexByte(s, '/')
	if head := strings.TrimRight(s[:i+1], "/"); head != "" {
		return head
	}
	return s[:i+1]
}

// filter is "|name" or "|name(…)" behind a value.
func (p *jinjaParser) filter(n node) node {
	name := p.token
	if !isName(name) {
		return p.refuse()
	}
	p.next()
	var args []node
	named := map[string]node{}
	if p.take("(") != "" {
		args, named = p.arguments(")")
	}
	if name == "default" || name == "d" {
		return p.otherwise(n, args, named)
	}
	f, known := filters[name]
	if !known || len(named) > 0 || len(args) < f.least || len(args) > f.most {
		return p.refuse()
	}
	return applied(n, args, f.do)
}

// otherwise is the filter default.
func (p *jinjaParser) otherwise(n node, args []node, named map[string]node) node {
	value, always := node(func(*evaluation) any { return "" }), node(func(*evaluation) any {
		return false
	})
	if len(args) > 0 {
		value = args[0]
	}
	if len(args) > 1 {
		always = args[1]
	}
	for name, given := range named {
		switch name {
		case "default_value":
			value = given
		case "boolean":
			always = given
		default:
			return p.refuse()
		}
	}
	if len(args) > 2 {
		return p.refuse()
	}
	return func(e *evaluation) any {
		x := n(e)
		if _, unknown := x.(undefined); unknown || isFalse(x) && !isFalse(always(e)) {
			return value(e)
		}
		return x
	}
}

func (e *evaluation) length(x any, _ []any) any {
	switch x := x.(type) {
	case []any:
		return int64(len(x))
	case unordered:
		return int64(len(x))
	case map[string]any:
		return int64(len(x))
	case string:
		return int64(len([]rune(x)))
	}
	return e.fail("length of what is no list")
}

func (e *evaluation) join(x any, args []any) any {
	all, ok := e.ordered(x, "a list")
	if !ok {
		return e.fail("join of what is no list")
	}
	between := ""
	if len(args) > 0 {
		between = e.text(args[0])
	}
	var words []string
	length := 0
	for _, y := range all {
		words = append(words, e.text(e.nested(y, "a list")))
		if length += len(words[len(words)-1]) + len(between); !e.fits(length - len(between)) {
			return nil
		}
	}
	return strings.Join(words, between)
}

func (e *evaluation) asList(x any, _ []any) any {
	switch x.(type) {
	case []any, unordered:
		return x
	}
	return e.fail("list of what is no list")
}

// sorted sorts texts as Jinja does, which ignores their case.
func (e *evaluation) sorted(x any, _ []any) any {
	all, ok := x.([]any)
	if names, by := x.(unordered); by {
		all, ok = names, true
	}
	var words []any
	for _, y := range all {
		word := e.nested(y, "a list")
		if _, isText := word.(string); !isText && len(all) > 1 {
			ok = false
		}
		words = append(words, word)
	}
	if !ok {
		return e.fail("sort of what is no list of texts")
	}
	lower := func(word any) string { return strings.ToLower(word.(string)) }
	slices.SortStableFunc(words, func(a, b any) int { return strings.Compare(lower(a), lower(b)) })
	return words
}

// lookup is "lookup(…)", of the environment or of variables. A call of anything else is Ansible's.
func (p *jinjaParser) lookup(function string) node {
	args, named := p.arguments(")")
	otherwise := named["default"]
	if delete(named, "default"); function != "lookup" || len(args) != 2 || len(named) > 0 {
		return p.refuse()
	}
	return func(e *evaluation) any {
		plugin, name := e.text(args[0](e)), args[1](e)
		if what, unknown := name.(undefined); unknown {
			return what
		}
		value := any(nil)
		switch strings.TrimPrefix(plugin, "ansible.builtin.") {
		case "env":
			if text, set := os.LookupEnv(e.text(name)); set || otherwise == nil {
				return text
			}
		case "vars":
			if value = e.variable(e.text(name)); otherwise == nil {
				return value
			}
			if _, unknown := value.(undefined); !unknown {
				return value
			}
		default:
			return e.r.onlyAnsible(e.name)
		}
		return otherwise(e)
	}
}
