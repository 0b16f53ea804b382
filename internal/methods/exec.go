package methods

import (
	"fmt"
	"path"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// exec is any command line: "exec:docker compose exec -T app sh". It ends in a Python interpreter
// or a shell, or else in what takes a further command as its arguments. It is read as a shell's:
// blanks separate words, quotes and backslashes keep them together; nothing is expanded.
var execMethod = method{
	parse: func(args string, given bool) (Hop, error) {
		w, err := splitWords(strings.ReplaceAll(args, `\+`, "+"))
		if !given || err == nil && len(w) == 0 {
			err = fmt.Errorf("needs a command: exec:COMMAND")
		}
		if err != nil {
			return Hop{}, fmt.Errorf("exec: %w", err)
		}
		return Hop{Method: "exec", Host: joinWords(w)}, nil
	},
	format: func(h Hop) string { return "exec:" + strings.ReplaceAll(h.Host, "+", `\+`) },
	quotes: true,
	near:   true,
	session: []symptom{
		{text: "…", kind: connect.ErrDied, refines: true, hint: "the command prints what is put " +
			"behind it: take one that runs it, as env and nice do, or ends in a shell or Python"},
	},
	remote: true, // it may be a program that goes anywhere
	plan: func(h Hop, boot []string, _ connect.Options, _ bool) (Plan, error) {
		w, err := splitWords(h.Host)
		if err != nil || len(w) == 0 {
			return Plan{}, fmt.Errorf("no command")
		}
		last := path.Base(w[len(w)-1])
		switch {
		case shells.MatchString(last):
			w = append(w, "-c", `exec "$@"`, last)
		// package boot's: code comes last
		case pythons.MatchString(last) && len(boot) == 4 && boot[0] == "sh" && boot[1] == "-c":
			w, boot = append(w, "-c"), boot[3:]
		case pythons.MatchString(last):
			w = append(w, "-c", "import sys;p=sys.path;p[:not p[0]]=[];import "+
				"os;os.execvp(sys.argv[1],sys.argv[1:])")
		}
		return Plan{Argv: append(w, boot...)}, nil
	},
}

var (
	shells  = lazyregexp.New(`^(ba|da|a|k|mk|z)?sh$`)
	pythons = lazyregexp.New(`^(python|pypy)[\d.]*$`)
)

// SplitWords reads a command line as a shell does: blanks separate words, quotes and backslashes
// keep them together, and nothing is expanded.
func SplitWords(line string) ([]string, error) { return splitWords(line) }

// splitWords reads a command line.
func splitWords(line string) ([]string, error) {
	var all []string
	var word strings.Builder
	begun, quoted := false, byte(0)
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("control character in %q", line)
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted == 0 && c == ' ':
			if begun {
				all = append(all, word.String())
				word.Reset()
			}
			begun = false
		case c == quoted:
			quoted = 0
		case quoted == 0 && (c == '\'' || c == '"'):
			quoted, begun = c, true
		case c == '\\' && quoted != '\'':
			if i++; i == len(line) {
				return nil, fmt.Errorf("%q ends in a backslash", line)
			}
			word.WriteByte(line[i])
			begun = true
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quoted != 0 {
		return nil, fmt.Errorf("%q has a quote without its end", line)
	}
	if begun {
		all = append(all, word.String())
	}
	return all, nil
}

// joinWords writes what splitWords reads, plain where that can be.
func joinWords(all []string) string {
	var b strings.Builder
	for i, w := range all {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w == "" || strings.ContainsAny(w, ` '"\`) {
			quote(&b, w)
		} else {
			b.WriteString(w)
		}
	}
	return b.String()
}
