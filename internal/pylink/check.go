package pylink

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// check returns what could mean something else once names are other ones.
func (l *linker) check() error {
	wrong := l.checkImports()
	for _, shared := range []bool{true, false} {
		l.each(shared, func(t *text) {
			for i, tok := range t.toks {
				if tok.Kind == pysource.String {
					wrong = append(wrong, l.checkString(t, i, shared))
				}
			}
		})
	}
	l.each(false, func(t *text) {
		for _, a := range l.Attributes {
			if t.module.bound[a] {
				wrong = append(wrong, fmt.Errorf("%s: %s is a name of this module, want no attribute",
					t.name, a))
			}
		}
	})
	return errors.Join(wrong...)
}

// mayBeGlobal tells whether a string is written as a global that has another name.
func (l *linker) mayBeGlobal(word string) bool {
	upper := len(word) > 1 && word == strings.ToUpper(word)
	return upper && l.names[word] != "" && !slices.Contains(l.Strings, word)
}

// wordsOnly matches strings that are names, one or several.
var wordsOnly = lazyregexp.New(`^.[\w ]+.$`)

// harmless reports whether a word in a string is no global's name, as far as its letters tell.
func (l *linker) harmless(word string) bool { return !l.mayBeGlobal(word) }

// attributeOfCore tells whether a string is the second argument of getattr(core, …) and the like.
func (t *text) attributeOfCore(i int) bool {
	if i < 4 || !t.is(i-1, ",") || !t.is(i-2, "core") || !t.is(i-3, "(") {
		return false
	}
	return t.is(i-4, "getattr") || t.is(i-4, "setattr") || t.is(i-4, "hasattr")
}

// checkString refuses a string that may name a global or an attribute that has another name now.
func (l *linker) checkString(t *text, i int, shared bool) error {
	words := wordPattern.FindAllString(t.word(i), -1)
	at := fmt.Sprintf("%s:%d: %s", t.name, t.toks[i].Line, t.word(i))
	if t.marked(i) {
		for _, w := range words {
			if l.names[w] == "" {
				return fmt.Errorf("%s: %s is no global of the core", at, w)
			}
		}
		return nil
	}
	if len(words) > 0 && !slices.ContainsFunc(words, l.harmless) && !t.namespace(i, shared) {
		return fmt.Errorf("%s names a global: mark it with `# names of core`, or add it to Strings", at)
	}
	if len(words) == 1 && l.names[words[0]] != "" && t.attributeOfCore(i) {
		return fmt.Errorf("%s names a global: use core.__dict__", at)
	}
	if !wordsOnly.MatchString(t.word(i)) {
		return nil
	}
	from, to := t.line(i)
	for j := from; j < to; j++ {
		if !t.is(j, "getattr") && !t.is(j, "setattr") && !t.is(j, "hasattr") && !t.is(j, "split") {
			continue
		}
		for _, w := range words {
			if l.attrs[w] != "" && !slices.Contains(l.Strings, w) {
				return fmt.Errorf("%s may name the attribute %s: add it to Strings if it doesn't", at, w)
			}
		}
	}
	return nil
}
