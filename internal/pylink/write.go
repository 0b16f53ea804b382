package pylink

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// smallest leaves what an interpreter needs.
var smallest = pysource.Options{Reindent: true, Tight: true}

func (l *linker) write() (*Linked, error) {
	out := &Linked{Texts: map[string][]byte{}, Names: boot.Names{Globals: map[string]string{},
		Attributes: l.attrs, Parts: map[string][]boot.Part{}, Functions: map[string][]boot.Function{}}}
	for name := range l.globals {
		out.Names.Globals[name] = l.written(name)
	}
	for _, m := range l.modules {
		for _, s := range m.Sources {
			t := l.texts[key(s, m)]
			renamed := l.rename(t, m.Shared)
			small, lines, err := pysource.MinifyLines(renamed, smallest)
			if err != nil {
				return nil, fmt.Errorf("minify %s: %w", s, err)
			}
			if bytes.Count(small, []byte("\n")) != len(lines) {
				return nil, fmt.Errorf("link %s: a string has several lines", s)
			}
			small, lines = join(small, lines)
			out.Texts[m.Name] = append(out.Texts[m.Name], small...)
			out.Names.Parts[m.Name] = append(out.Names.Parts[m.Name], boot.Part{Source: s, Lines: lines})
			out.Names.Functions[s] = t.functions
		}
	}
	return out, nil
}

// written returns what stands for a global's name.
func (l *linker) written(name string) string {
	if value, ok := l.constants[name]; ok {
		return value
	}
	if short, ok := l.names[name]; ok {
		return short
	}
	return name
}

// A rewriter writes a source with other words in the place of some.
type rewriter struct {
	*text
	out bytes.Buffer
	pos int32 // in the source, of what isn't written yet
}

// put writes words in the place of tokens from one to another, which is included.
func (w *rewriter) put(from, to int, words string) {
	start, end := w.toks[from].Start, w.toks[to].End
	w.out.Write(w.src[w.pos:start])
	w.out.WriteString(words)
	w.out.WriteString(strings.Repeat("\n", bytes.Count(w.src[start:end], []byte("\n"))))
	w.pos = end
}

// rename returns a source with its new names, on the same lines.
func (l *linker) rename(t *text, shared bool) []byte {
	locals := l.localNames(t, shared)
	shrunk := map[int]assignment{}
	for _, a := range t.assignments() {
		if shared && l.hasConstant(a) {
			shrunk[a.from] = a
		}
	}
	w := &rewriter{text: t}
	for i := 0; i < len(t.toks); i++ {
		if a, ok := shrunk[i]; ok {
			w.put(a.from, a.to-1, l.shrunk(a))
			i = a.to - 1
			continue
		}
		word := t.word(i)
		switch {
		case l.isGlobal(t, i, shared):
			from := i
			if l.constants[word] != "" && !shared {
				from = i - 2 // `core.`, too
			}
			w.replace(from, i, l.written(word))
		case t.uses[i] == variable && l.inClass(t, i) || t.uses[i] == attribute && !t.ofCore(i):
			w.replace(i, i, l.attrs[word])
		case t.uses[i] == variable:
			w.replace(i, i, locals[t.scopes[i].owner(word)][word])
		case t.toks[i].Kind == pysource.String:
			w.replace(i, i, l.inString(t, i, shared))
		}
	}
	return append(w.out.Bytes(), t.src[w.pos:]...)
}

// replace is put; with no words the token stays as it is.
func (w *rewriter) replace(from, to int, words string) {
	if words == "" || from == to && words == w.word(to) {
		return
	}
	if from < to { // has the tokens before been written already?
		w.out.Truncate(w.out.Len() - max(0, int(w.pos-w.toks[from].Start)))
		w.pos = min(w.pos, w.toks[from].Start)
	}
	w.put(from, to, words)
}

// inClass tells whether the token is a name that the body of a class around it binds.
func (l *linker) inClass(t *text, i int) bool {
	s := t.scopes[i]
	return s.kind == classScope && s.bound[t.word(i)]
}
