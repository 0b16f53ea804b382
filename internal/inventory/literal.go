package inventory

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// literal reads a value of an INI file: a Python literal, or else the text itself.
func literal(text string) (any, error) {
	p := &literalReader{text: strings.TrimLeft(text, " \t")}
	x, err := p.value(0)
	if err == nil {
		x, err = p.tuple(x)
	}
	switch p.skip(); {
	case errors.Is(err, errNamed):
		return nil, err
	case err != nil || p.text != "":
		return text, nil
	}
	return x, nil
}

var (
	errLiteral = errors.New("not a literal")
	errNamed   = errors.New(`a character by its name, \N{…}: write the character itself`)
)

type literalReader struct{ text string }

// skip passes over space and a comment, which ends the text.
func (p *literalReader) skip() {
	if p.text = strings.TrimLeft(p.text, " \t\f"); strings.HasPrefix(p.text, "#") {
		p.text = ""
	}
}

func (p *literalReader) cut(prefix string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.text, prefix)
	if ok {
		p.text = rest
	}
	return ok
}

var (
	pythonInt = lazyregexp.New(`^(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|` +
		`0(?:_?0)*|[1-9](?:_?[0-9])*)`)
	digits    = `[0-9](?:_?[0-9])*`
	exponent  = `(?:[eE][-+]?` + digits + `)`
	pythonNum = lazyregexp.New(`^(?:(?:` + digits + `)?\.` + digits + exponent + `?|` + digits + `\.` +
		exponent + `?|` + digits + exponent + `)`)
	imaginary = lazyregexp.New(`^(?:(?:` + digits + `)?\.` + digits + exponent + `?|` + digits +
		`\.?` + exponent + `?)[jJ]`)
	pythonStr = lazyregexp.New(`^([rR]?[bB]?|[bB][rR]|[uU])('''|"""|'|")`)
	afterNum  = lazyregexp.New(`^[\pL\pN_.]`)
)

// value reads one literal.
func (p *literalReader) value(depth int) (any, error) {
	p.skip()
	if depth > maxDepth {
		return nil, errLiteral
	}
	switch {
	case pythonStr.MatchString(p.text):
		return p.strings()
	case p.text == "":
	case strings.ContainsRune("([{", rune(p.text[0])):
		return p.brackets(depth)
	case strings.ContainsRune("+-.0123456789", rune(p.text[0])):
		return p.number()
	}
	for name, x := range map[string]any{"True": true, "False": false, "None": nil} {
		if rest, ok := strings.CutPrefix(p.text, name); ok && !afterNum.MatchString(rest) {
			p.text = rest
			return x, nil
		}
	}
	return nil, errLiteral
}

// tuple continues x to a tuple if a comma follows.
func (p *literalReader) tuple(x any) (any, error) {
	if !p.cut(",") {
		return x, nil
	}
	all := []any{x}
	for p.skip(); p.text != "" && p.text[0] != ')'; p.skip() {
		next, err := p.value(1)
		if err != nil {
			return nil, err
		}
		if all = append(all, next); !p.cut(",") {
			break
		}
	}
	return all, nil
}

func (p *literalReader) brackets(depth int) (any, error) {
	open := p.text[0]
	p.text = p.text[1:]
	switch {
	case open == '[':
		return p.list(depth, "]")
	case open == '{':
		return p.braces(depth)
	case p.cut(")"):
		return []any{}, nil
	}
	x, err := p.value(depth + 1)
	if err == nil {
		x, err = p.tuple(x)
	}
	if err == nil && !p.cut(")") {
		err = errLiteral
	}
	return x, err
}

func (p *literalReader) list(depth int, shut string) ([]any, error) {
	all := []any{}
	for !p.cut(shut) {
		x, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if all = append(all, x); !p.cut(",") && !strings.HasPrefix(p.text, shut) {
			return nil, errLiteral
		}
	}
	return all, nil
}

// braces reads a dictionary or a set.
func (p *literalReader) braces(depth int) (any, error) {
	all, set := map[string]any{}, []any{}
	for !p.cut("}") {
		key, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.cut(":") {
			value, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			all[pythonText(key)] = value
		} else {
			set = append(set, key)
		}
		if !p.cut(",") && !strings.HasPrefix(p.text, "}") || len(all) > 0 && len(set) > 0 {
			return nil, errLiteral
		}
	}
	if len(set) > 0 {
		return set, nil
	}
	return all, nil
}

// number reads an integer, a real or a complex number.
func (p *literalReader) number() (any, error) {
	if p.cut("...") {
		return "...", nil
	}
	x, im, err := p.signed()
	if err != nil {
		return nil, err
	}
	switch {
	case im && math.Signbit(x.(float64)): // the negative of a number without a real part
		return complexText(math.Copysign(0, -1), x.(float64), true), nil
	case im:
		return complexText(0, x.(float64), false), nil
	}
	if p.skip(); p.text == "" || p.text[0] != '+' && p.text[0] != '-' {
		return x, nil
	}
	minus := p.text[0] == '-'
	p.text = strings.TrimLeft(p.text[1:], " \t")
	if p.text == "" || p.text[0] == '+' || p.text[0] == '-' {
		return nil, errLiteral
	}
	y, im, err := p.signed()
	if err != nil || !im {
		return nil, errLiteral
	}
	return complexText(real64(x), sign(minus, y).(float64), true), nil
}

// signed reads one number with its sign; im says that it is imaginary.
func (p *literalReader) signed() (x any, im bool, err error) {
	minus := p.cut("-")
	if !minus {
		p.cut("+")
	}
	p.skip()
	text := imaginary.FindString(p.text)
	switch im = text != ""; {
	case im:
		x, err = strconv.ParseFloat(strings.ReplaceAll(text[:len(text)-1], "_", ""), 64)
	case pythonNum.MatchString(p.text):
		text = pythonNum.FindString(p.text)
		x, err = strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	case pythonInt.MatchString(p.text):
		text = pythonInt.FindString(p.text)
		x = integer(text)
	default:
		return nil, false, errLiteral
	}
	if errors.Is(err, strconv.ErrRange) { // infinity or zero, as in Python
		err = nil
	}
	p.text = p.text[len(text):]
	if afterNum.MatchString(p.text) {
		err = errLiteral
	}
	return sign(minus, x), im, err
}

// integer converts digits with Go's prefixes, which are Python's.
func integer(text string) any {
	text = strings.ReplaceAll(text, "_", "")
	if strings.Trim(text, "0") == "" {
		return int64(0)
	}
	n, ok := new(big.Int).SetString(text, 0)
	if !ok {
		return text
	}
	return small(n)
}

// small makes an int64 of n where it fits.
func small(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func sign(minus bool, x any) any {
	if !minus {
		return x
	}
	switch x := x.(type) {
	case float64:
		return -x
	case int64:
		return -x
	case *big.Int:
		return small(new(big.Int).Neg(x))
	}
	return x
}

func real64(x any) float64 {
	switch x := x.(type) {
	case float64:
		return x
	case int64:
		return float64(x)
	}
	f, _ := new(big.Float).SetInt(x.(*big.Int)).Float64()
	return f
}

// complexText is Python's text of a complex number, into which Ansible converts one.
func complexText(re, im float64, both bool) string {
	part := func(f float64) string { return strings.TrimSuffix(pythonFloat(f), ".0") }
	if !both {
		return part(im) + "j"
	}
	joint := "+"
	if part(im)[0] == '-' {
		joint = ""
	}
	return fmt.Sprintf("(%s%s%sj)", part(re), joint, part(im))
}

// strings reads string literals, which are joined where several follow each other.
func (p *literalReader) strings() (any, error) {
	var all strings.Builder
	bytes := strings.ContainsAny(pythonStr.FindString(p.text), "bB")
	for m := pythonStr.FindStringSubmatch(p.text); m != nil; m = pythonStr.FindStringSubmatch(p.text) {
		p.text = p.text[len(m[0]):]
		text, err := p.quoted(m[2], strings.ContainsAny(m[1], "rR"), bytes)
		if err == nil && bytes != strings.ContainsAny(m[1], "bB") {
			err = errLiteral // bytes and text aren't joined
		}
		if err != nil {
			return nil, err
		}
		all.WriteString(text)
		p.skip()
	}
	return all.String(), nil
}

// quoted reads up to the closing quote.
func (p *literalReader) quoted(quote string, raw, ascii bool) (string, error) {
	var all strings.Builder
	for !strings.HasPrefix(p.text, quote) {
		c, n := utf8.DecodeRuneInString(p.text)
		switch {
		case n == 0 || ascii && c > 127:
			return "", errLiteral
		case c != '\\':
			all.WriteString(p.text[:n])
			p.text = p.text[n:]
			continue
		}
		if len(p.text) < 2 {
			return "", errLiteral
		}
		if raw {
			_, next := utf8.DecodeRuneInString(p.text[1:])
			all.WriteString(p.text[:1+next])
			p.text = p.text[1+next:]
			continue
		}
		if !ascii && p.text[1] == 'N' {
			return "", errNamed
		}
		text, rest, ok := unescape(p.text[1:], ascii)
		if !ok {
			return "", errLiteral
		}
		all.WriteString(text)
		p.text = rest
	}
	p.text = p.text[len(quote):]
	return all.String(), nil
}

// escapes are Python's escapes of one character.
var escapes = map[byte]string{'\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f",
	'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape reads an escape behind its backslash. An escape that Python doesn't know stands for
// itself.
func unescape(s string, ascii bool) (text, rest string, ok bool) {
	if x, known := escapes[s[0]]; known {
		return x, s[1:], true
	}
	n := 0
	for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	if n > 0 {
		c, err := strconv.ParseUint(s[:n], 8, 32)
		return string(rune(c)), s[n:], err == nil && !(ascii && c > 127)
	}
	width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	switch {
	case ascii && s[0] != 'x' || width == 0:
		return "\\", s, true
	case len(s) <= width:
		return "", "", false
	}
	c, err := strconv.ParseUint(s[1:1+width], 16, 32)
	return string(rune(c)), s[1+width:], err == nil && utf8.ValidRune(rune(c)) && !(ascii && c > 127)
}

// pythonText is the text that Python makes of a value.
func pythonText(x any) string {
	switch x := x.(type) {
	case nil:
		return "None"
	case string:
		return x
	case bool:
		return map[bool]string{true: "True", false: "False"}[x]
	case float64:
		return pythonFloat(x)
	}
	return fmt.Sprint(x)
}

// pythonFloat is Python's shortest text of a float.
func pythonFloat(f float64) string {
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !ok {
		return strings.TrimPrefix(strings.ToLower(s), "+") // inf, nan
	}
	if n, _ := strconv.Atoi(exp); n < -4 || n >= 16 {
		return mantissa + "e" + exp
	}
	if s = strconv.FormatFloat(f, 'f', -1, 64); !slices.Contains([]byte(s), '.') {
		s += ".0"
	}
	return s
}
