package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// tester returns a test of names: "~" and a Python regular expression for their begin, or a glob
// for the whole.
func (v *Inventory) tester(pattern string) (func(name string) bool, error) {
	if text, ok := strings.CutPrefix(pattern, "~"); ok {
		re, err := pythonRegexp(text, v.ascii())
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	tokens := globTokens(pattern)
	return func(name string) bool { return globMatch(tokens, name) }, nil
}

func (v *Inventory) ascii() bool {
	for _, name := range v.Names() {
		if strings.ContainsFunc(name, func(c rune) bool { return c > 127 }) {
			return false
		}
	}
	return true
}

// goOnly are forms that Python's regular expressions lack or understand otherwise.
var goOnly = lazyregexp.New(`\[\[?:|\\[QEpPCz]|\{,|\(\?[a-zA-Z]*U|.\(\?[a-zA-Z]+\)|(?:\\[bBAZ]|` +
	`(?:^|[^\\\[])[\^$])(?:[*+?]|\{[0-9])`)

// unicodeOnly are escapes that Python applies to all scripts, and Go to ASCII.
var unicodeOnly = lazyregexp.New(`\\[wWdDsSbB]`)

// pythonRegexp compiles an expression that means the same in Python and Go, to match at a name's
// begin. ascii says that all names are ASCII.
func pythonRegexp(text string, ascii bool) (*regexp.Regexp, error) {
	form := goOnly.FindString(text)
	if form == "" && !ascii {
		form = unicodeOnly.FindString(text)
	}
	if form != "" {
		return nil, fmt.Errorf("%q isn't supported here, because Python's regular expressions differ",
			form)
	}
	text = endOfText.ReplaceAllString(text, `${1}\z`)
	re, err := regexp.Compile(text) // by itself, so that the brackets below complete nothing
	if err == nil {
		re, err = regexp.Compile(`^(?:` + text + `)`)
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: ") +
			" (Python's lookaround and backreferences aren't supported)")
	}
	return re, nil
}

// endOfText is Python's \Z, which is Go's \z.
var endOfText = lazyregexp.New(`((?:^|[^\\])(?:\\\\)*)\\Z`)

// A globToken is "*", or a set of characters for one place.
type globToken struct {
	star   bool
	negate bool
	set    []globRange
}

type globRange struct{ from, to rune }

// globTokens parses Python's fnmatch: "*", "?", "[set]" and "[!set]". A bracket without its end is
// a character.
func globTokens(pattern string) []globToken {
	var all []globToken
	chars := []rune(pattern)
	for i := 0; i < len(chars); i++ {
		switch c := chars[i]; c {
		case '*':
			all = append(all, globToken{star: true})
		case '?':
			all = append(all, globToken{negate: true})
		case '[':
			if end := setEnd(chars[i+1:]); end >= 0 {
				all = append(all, globSet(chars[i+1:i+1+end]))
				i += end + 1
				continue
			}
			fallthrough
		default:
			all = append(all, globToken{set: []globRange{{c, c}}})
		}
	}
	return all
}

// setEnd is the index of the bracket that ends a set, -1 if there is none. One at the begin is a
// member.
func setEnd(chars []rune) int {
	i := 0
	if i < len(chars) && chars[i] == '!' {
		i++
	}
	if i < len(chars) && chars[i] == ']' {
		i++
	}
	for ; i < len(chars); i++ {
		if chars[i] == ']' {
			return i
		}
	}
	return -1
}

func globSet(chars []rune) globToken {
	var t globToken
	if chars[0] == '!' {
		t.negate, chars = true, chars[1:]
	}
	for i := 0; i < len(chars); i++ {
		if i+2 < len(chars) && chars[i+1] == '-' {
			t.set = append(t.set, globRange{chars[i], chars[i+2]})
			i += 2
			continue
		}
		t.set = append(t.set, globRange{chars[i], chars[i]})
	}
	return t
}

func (t globToken) matches(c rune) bool {
	for _, r := range t.set {
		if c >= r.from && c <= r.to {
			return !t.negate
		}
	}
	return t.negate
}

// globMatch matches the whole of name. It goes back to the last star only, which is enough.
func globMatch(tokens []globToken, name string) bool {
	at, star, retry := 0, -1, ""
	for name != "" || at < len(tokens) {
		if at < len(tokens) && tokens[at].star {
			star, retry = at, name
			at++
			continue
		}
		if c, n := utf8.DecodeRuneInString(name); n > 0 && at < len(tokens) && tokens[at].matches(c) {
			name = name[n:]
			at++
			continue
		}
		if star < 0 || retry == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(retry)
		retry = retry[n:]
		at, name = star+1, retry
	}
	return true
}
