package ansible

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A payload is the content of an AnsiballZ wrapper, the program that Ansible pipes into an
// interpreter for a module.
type payload struct {
	zip     []byte            // base64
	module  string            // its full name, as ansible.modules.ping
	params  []byte            // JSON
	profile string            // how newer ones are written
	loader  bool              // a newer one: it starts the module through module_utils
	noFile  int               // limit of open files to set, 0: none
	passed  map[string]string // arguments that it passes on to the loader: literals of Python
}

// errUnknown says that a program is no wrapper that is known, so that it has to be run as it is.
var errUnknown = errors.New("no known form of a module's wrapper")

// errRelease is an errUnknown of a wrapper whose release of Ansible isn't known.
var errRelease = fmt.Errorf("%w: that of another release of Ansible", errUnknown)

// parseWrapper reads a wrapper. The rest of its text without the values must be known: only then
// does the wrapper do the work that the daemon does in its place.
func parseWrapper(b []byte) (*payload, error) {
	if bytes.HasPrefix(b, []byte("#!")) { // which names the interpreter
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	if i := bytes.Index(b, newTail); i >= 0 {
		return parseNew(b[:i], b[i+len(newTail):])
	}
	if bytes.HasPrefix(b, oldMark) || bytes.Contains(b[:min(len(b), 512)], oldMark) {
		return parseOld(b)
	}
	return nil, errUnknown
}

// knownCode are the wrappers' texts without values, by the first 16 digits of their sha256, with
// the releases that have them. TestWrapper fails for any other text.
var knownCode = map[string]string{
	"f057818f6de55593": "2.14",
	"511990813c024714": "2.14, with a limit of open files",
	"3c5cadf5df11b393": "2.16 to 2.18",
	"200f3d4c9fb52c1b": "2.16 to 2.18, with a limit of open files",
	"83533b5be83bbafb": "2.19 and 2.20",
	"265f32d0ee4ee34b": "2.21, and 2.22 without what it passes on",
}

func checkCode(h []byte) error {
	if _, ok := knownCode[hex.EncodeToString(h[:8])]; !ok {
		return fmt.Errorf("%w: code %x", errRelease, h[:8])
	}
	return nil
}

// Up to 2.18 values stand in the code.

var (
	oldMark = []byte("_ANSIBALLZ_WRAPPER = True")
	zipLine = []byte("    ZIPDATA = ")
	parLine = []byte("    ANSIBALLZ_PARAMS = ")
	// What differs from module to module and from run to run; what is in parentheses is kept.
	nameLine = lazyregexp.New(`^(\s*runpy\.run_module\(mod_name=')([\w.]+)(', ` +
		`init_globals=dict\(_module_fqn=')([\w.]+)(', _modlib_path=modlib_path\),)$`)
	debugRun = lazyregexp.New(`^(\s*runpy\.run_module\(mod_name=')([\w.]+)(', init_globals=None, ` +
		`run_name='__main__', alter_sys=True\))$`)
	dateLine = lazyregexp.New(`^(\s*zinfo\.date_time = \()[\d, ]+(\))$`)
	tempLine = lazyregexp.New(`^(\s*(?:temp_path|zipped_mod) = .*ansible_)(?:' \+ ')?([\w.]+?)(?:' ` +
		`\+ ')?(_payload.*)$`)
	fileLine = lazyregexp.New(`^(\s*requested_soft = min\(existing_hard, )(\d+)(\))$`)
)

func parseOld(b []byte) (*payload, error) {
	p := &payload{}
	h := sha256.New()
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		switch {
		case bytes.HasPrefix(line, zipLine):
			p.zip = bytes.Trim(line[len(zipLine):], `"'`)
			line = zipLine
		case bytes.HasPrefix(line, parLine):
			s, err := pythonString(string(line[len(parLine):]))
			if err != nil {
				return nil, err
			}
			p.params = []byte(s)
			line = parLine
		case nameLine.Match(line):
			m := nameLine.FindSubmatch(line)
			if !bytes.Equal(m[2], m[4]) {
				return nil, errUnknown
			}
			p.module = string(m[2])
			line = bytes.Join([][]byte{m[1], m[3], m[5]}, nil)
		case fileLine.Match(line):
			m := fileLine.FindSubmatch(line)
			p.noFile, _ = strconv.Atoi(string(m[2]))
			line = bytes.Join([][]byte{m[1], m[3]}, nil)
		default:
			for _, re := range []*lazyregexp.Regexp{debugRun, tempLine} {
				if m := re.FindSubmatch(line); m != nil {
					line = bytes.Join([][]byte{m[1], m[3]}, nil)
				}
			}
			if m := dateLine.FindSubmatch(line); m != nil {
				line = bytes.Join([][]byte{m[1], m[2]}, nil)
			}
		}
		h.Write(line)
		h.Write([]byte("\n"))
	}
	if p.zip == nil || p.params == nil || p.module == "" {
		return nil, errUnknown
	}
	return p, checkCode(h.Sum(nil))
}

// From 2.19 on values are the arguments of a call at the end, one a line.

var newTail = []byte("\nif __name__ == \"__main__\":\n    _ansiballz_main(\n")

func parseNew(code, tail []byte) (*payload, error) {
	p := &payload{loader: true}
	lines := bytes.Split(bytes.TrimRight(tail, "\n"), []byte("\n"))
	last := len(lines) - 1
	if string(lines[last]) != ")" {
		return nil, errUnknown
	}
	for _, line := range lines[:last] {
		key, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte(",")), []byte("="))
		if !ok {
			return nil, errUnknown
		}
		if err := p.set(string(key), value); err != nil {
			return nil, err
		}
	}
	if p.zip == nil || p.params == nil || p.module == "" || p.profile == "" {
		return nil, errUnknown
	}
	code, err := withoutPassed(code, p.passed)
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(code)
	return p, checkCode(h[:])
}

// withoutPassed returns a wrapper's code as it is without some parameters: a release that passes
// one more on to the loader does the same otherwise. It fails if the code does anything else with
// one of them.
func withoutPassed(code []byte, names map[string]string) ([]byte, error) {
	for name := range names {
		declared := regexp.MustCompile(`(?m)^    ` + name + `: [^\n]*,\n`)
		passed := regexp.MustCompile(`(?m)^ +` + name + `=` + name + `,\n`)
		if len(declared.FindAllIndex(code, -1)) != 1 || !passed.Match(code) {
			return nil, fmt.Errorf("%w: argument %.20q", errRelease, name)
		}
		code = passed.ReplaceAll(declared.ReplaceAll(code, nil), nil)
		if regexp.MustCompile(`\b` + name + `\b`).Match(code) {
			return nil, fmt.Errorf("%w: argument %.20q is used", errRelease, name)
		}
	}
	return code, nil
}

// secretive tells whether the arguments that are passed on say anything.
func (p *payload) secretive() bool {
	for _, v := range p.passed {
		if v != "frozenset()" {
			return true
		}
	}
	return false
}

var argumentName = lazyregexp.New(`^[a-z_]+$`)

func (p *payload) set(key string, value []byte) error {
	var err error
	var s string
	switch key {
	case "zip_data":
		p.zip = bytes.Trim(value, `"'`)
	case "params":
		s, err = pythonString(string(value))
		p.params = []byte(s)
	case "module_fqn":
		p.module, err = pythonString(string(value))
	case "profile":
		p.profile, err = pythonString(string(value))
	case "rlimit_nofile":
		p.noFile, err = strconv.Atoi(string(value))
	case "ansible_module", "date_time":
	case "extensions":
		if string(value) != "{}" {
			err = fmt.Errorf("%w: a debugger or coverage", errUnknown)
		}
	default:
		if !argumentName.MatchString(key) || !isLiteral(string(value)) {
			return fmt.Errorf("%w: argument %.20q", errRelease, key)
		}
		if p.passed == nil {
			p.passed = map[string]string{}
		}
		p.passed[key] = string(value)
	}
	return err
}

// parameters finds the literal of a wrapper's parameters. from is -1 if there is none.
func parameters(b []byte) (from, to int) {
	for _, line := range [...][]byte{parLine, []byte("params=")} {
		at := bytes.Index(b, append([]byte("\n"), line...))
		if at < 0 {
			continue
		}
		from = at + 1 + len(line)
		n := bytes.IndexByte(b[from:], '\n')
		if n < 0 {
			break
		}
		return from, from + len(bytes.TrimSuffix(b[from:from+n], []byte(",")))
	}
	return -1, 0
}

// pythonString reads a string literal as Python's repr writes it.
func pythonString(s string) (string, error) {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
		return "", errUnknown
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 && strings.IndexByte(s, quote) < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return "", errUnknown
		case s[i] != '\\':
			b = append(b, s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", errUnknown
		}
		if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]; n > 0 {
			if i+n >= len(s) {
				return "", errUnknown
			}
			r, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
			if err != nil || !utf8.ValidRune(rune(r)) {
				return "", errUnknown
			}
			b = utf8.AppendRune(b, rune(r))
			i += n
			continue
		}
		c, ok := map[byte]byte{'\\': '\\', '\'': '\'', '"': '"', 'n': '\n', 'r': '\r', 't': '\t'}[s[i]]
		if !ok {
			return "", errUnknown
		}
		b = append(b, c)
	}
	return string(b), nil
}

// isLiteral tells whether s has the same value everywhere: it is a literal as Python's repr writes
// it, or calls frozenset, the one name that start_module of python/module.py knows.
func isLiteral(s string) bool {
	rest, ok := cutLiteral(s, maxNested)
	return ok && rest == ""
}

// maxNested bounds how deep a literal is nested; Python's own limit is higher.
const maxNested = 50

var (
	atom = lazyregexp.New(`^(?:None|True|False|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[-+]?\d+)?|` +
		`b?'(?:[^'\\]|` + escaped + `)*'|b?"(?:[^"\\]|` + escaped + `)*")`)
	opening = lazyregexp.New(`^(?:\[|\{|\(|frozenset\()`)
)

const escaped = `\\(?:[\\'"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})`

// cutLiteral returns what follows the literal at the start of s.
func cutLiteral(s string, depth int) (rest string, ok bool) {
	if a := atom.FindString(s); a != "" {
		return s[len(a):], true
	}
	begin := opening.FindString(s)
	if begin == "" || depth == 0 {
		return s, false
	}
	s = s[len(begin):]
	end := map[byte]string{'[': "]", '{': "}", '(': ")"}[begin[len(begin)-1]]
	for more := true; ; s = strings.TrimLeft(s, " ") {
		if rest, ok = strings.CutPrefix(s, end); ok || !more {
			return rest, ok
		}
		if s, ok = cutLiteral(s, depth-1); !ok {
			return s, false
		}
		if value, isDict := strings.CutPrefix(s, ": "); isDict && end == "}" {
			if s, ok = cutLiteral(value, depth-1); !ok {
				return s, false
			}
		}
		s, more = strings.CutPrefix(s, ",")
	}
}

// passedOn is passed as it goes to a context.
func (p *payload) passedOn() map[string]any {
	all := map[string]any{}
	for name, value := range p.passed {
		all[name] = value
	}
	return all
}
