package pylink

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A shownImport is for readers: the source has these names anyway, because it runs in the core's
// namespace, or in one namespace with the other sources of its module.
type shownImport struct {
	text  string // of which source: a key of linker.texts
	from  string // "_mitogen" or the file of another source
	names []string
	in    Module
	alien bool // from is a source of other modules
}

// imports are those of a source's first level, that may be shown ones.
var imports = lazyregexp.New(`(?m)^from (\w+) import (\([^)]*\)|[^(\n]*)$`)

// withoutImports returns a module's source on the same lines, without the imports that are for
// readers.
func (l *linker) withoutImports(src []byte, source string, m Module) []byte {
	shared := slices.ContainsFunc(l.modules, func(m Module) bool {
		return m.Shared && slices.Contains(m.Sources, source)
	})
	return []byte(imports.ReplaceAllStringFunc(string(src), func(lines string) string {
		words := imports.FindStringSubmatch(lines)
		i := shownImport{text: key(source, m), from: words[1], in: m,
			names: wordPattern.FindAllString(words[2], -1)}
		if i.from != "_mitogen" {
			i.from += ".py"
		}
		i.alien = !slices.Contains(m.Sources, i.from)
		if i.from == "_mitogen" && !shared || i.from != "_mitogen" && i.alien && !l.isPart(i.from) {
			return lines
		}
		l.shown = append(l.shown, i)
		return strings.Repeat("\n", strings.Count(lines, "\n"))
	}))
}

// isPart tells whether a file is one of several that a module is made of, so that nothing can
// import it by its name.
func (l *linker) isPart(file string) bool {
	return slices.ContainsFunc(l.modules, func(m Module) bool {
		return slices.Contains(m.Sources, file) && m.Name+".py" != file
	})
}

// checkImports refuses imports for readers of names that are not there, or that nothing uses.
func (l *linker) checkImports() (wrong []error) {
	for _, i := range l.shown {
		t := l.texts[i.text]
		if i.from != "_mitogen" && i.alien {
			wrong = append(wrong, fmt.Errorf("%s: imports from %s, which is no part of %s", t.name,
				i.from, i.in.Name))
			continue
		}
		for _, name := range i.names {
			if !l.has(i, name) {
				wrong = append(wrong, fmt.Errorf("%s: imports %s, which %s doesn't have", t.name,
					name, i.from))
			}
			used := false
			for j := range t.toks {
				used = used || t.uses[j] == variable && t.word(j) == name
			}
			if !used {
				wrong = append(wrong, fmt.Errorf("%s: imports %s, and doesn't use it", t.name, name))
			}
		}
	}
	return wrong
}

// has tells whether a name is one of what it is imported from: the core's namespace, or a source.
func (l *linker) has(i shownImport, name string) (found bool) {
	if i.from != "_mitogen" {
		return l.texts[key(i.from, i.in)].module.bound[name]
	}
	l.each(true, func(t *text) {
		found = found || t.module.bound[name]
	})
	return found || l.globals[name] || slices.Contains(l.Keep, name)
}
