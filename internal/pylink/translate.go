package pylink

import (
	"cmp"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

var module = lazyregexp.New(`\b_mitogen as (\w+)|(\w+) = sys\.modules\['_mitogen'\]`)

// Translate returns Python source that looks into the runtime, by the names in its sources,
// with those that it has. Behind `import _mitogen as m` that is `m.NAME`, and everywhere the
// names of attributes. In strings with a comment `# names of core` behind them, names are
// translated too. It is for tests.
func Translate(n *boot.Names, src string) string {
	if !strings.Contains(src, "_mitogen") {
		return src
	}
	toks, err := pysource.Tokens([]byte(src))
	if err != nil {
		return src
	}
	core := map[string]bool{"_mitogen": true, "m": strings.Contains(src, "sys.modules['_mitogen']")}
	for _, m := range module.FindAllStringSubmatch(src, -1) {
		core[m[1]+m[2]] = true
	}
	t := &text{src: []byte(src), toks: toks}
	w := &rewriter{text: t}
	for i := range toks {
		if toks[i].Kind == pysource.String && t.marked(i) {
			w.put(i, i, wordPattern.ReplaceAllStringFunc(t.word(i),
				func(name string) string { return cmp.Or(n.Globals[name], name) }))
		}
		if i < 2 {
			continue
		}
		if toks[i].Kind != pysource.Name || !t.is(i-1, ".") {
			continue
		}
		if from := t.objectOf(i, core); from < i {
			if name, ok := n.Globals[t.word(i)]; ok {
				if name[0] < 'A' { // a number
					w.put(from, i, name)
				} else {
					w.put(i, i, name)
				}
			}
			continue
		}
		if name, ok := n.Attributes[t.word(i)]; ok {
			w.put(i, i, name)
		}
	}
	return w.out.String() + src[w.pos:]
}

// objectOf returns where the expression for the runtime's module begins that stands before a
// name; i if there is another one.
func (t *text) objectOf(i int, core map[string]bool) int {
	if t.toks[i-2].Kind == pysource.Name && core[t.word(i-2)] && !t.is(max(0, i-3), ".") {
		return i - 2
	}
	if i >= 7 && t.is(i-2, "]") && t.word(i-3) == "'_mitogen'" && t.is(i-5, "modules") {
		return i - 7 // sys.modules['_mitogen']
	}
	return i
}
