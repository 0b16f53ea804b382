package modules

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// What an extension module imports stands in it as text.

// Bounds of what is looked for.
const (
	leastMention = 3   // bytes of a name
	maxMentions  = 256 // modules
)

// mentioned returns modules that an extension module is likely to import: those of its own
// distribution and of the ones that this needs whose names stand in it.
func (p Pass) mentioned(t *tree, from *brought, data []byte) (names []string) {
	for _, top := range t.topsNear(from) {
		for _, dotted := range dottedNames(data, top) {
			if len(names) < 64*maxMentions {
				names = append(names, p.longest(dotted))
			}
		}
	}
	return names
}

// mentionedBeside returns the modules in an extension module's directory whose names stand in it.
func (p Pass) mentionedBeside(t *tree, file string, data []byte) (names []string) {
	dir := path.Dir(file)
	siblings, err := t.list(dir, p.n)
	if err != nil || dir == "." {
		return nil
	}
	texts(data, func(text []byte) {
		if _, known := siblings[string(text)]; known && len(names) < 64*maxMentions {
			names = append(names, p.longest(strings.ReplaceAll(dir, "/", ".")+"."+string(text)))
		}
	})
	return names
}

// someOf returns names sorted, each once, without the empty one, and no more than maxMentions.
func someOf(names []string) []string {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
	return names[:min(len(names), maxMentions)]
}

// texts calls do with what stands between zero bytes, as far as it may be a name. do may not keep
// it.
func texts(data []byte, do func([]byte)) {
	for len(data) > 0 {
		if data[0] == 0 {
			data = data[1:]
			continue
		}
		end := bytes.IndexByte(data, 0)
		if end < 0 {
			return // each text has a zero byte at its end
		}
		if end >= leastMention && end <= MaxName {
			do(data[:end])
		}
		data = data[end:]
	}
}

// dottedNames returns the names in data that begin with top.
func dottedNames(data []byte, top string) (names []string) {
	seen := map[string]bool{}
	for len(top) >= leastMention {
		i := bytes.Index(data, []byte(top))
		if i < 0 {
			break
		}
		end := i
		for end < len(data) && end < i+MaxName && nameByte(data[end]) {
			end++
		}
		if name := string(data[i:end]); !seen[name] && len(seen) < 64*maxMentions {
			seen[name] = true
			names = append(names, name)
		}
		data = data[i+len(top):]
	}
	return names
}

func nameByte(c byte) bool {
	return c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// longest returns the module that the beginning of a dotted name is. In what Rust's compiler
// makes, texts stand without anything between them.
func (p Pass) longest(dotted string) (name string) {
	for part := range strings.SplitSeq(dotted, ".") {
		next := strings.TrimPrefix(name+"."+part, ".")
		if at := p.locate(next); part == "" || at.letter == 0 {
			return p.begun(name, part)
		}
		name = next
	}
	return name
}

// begun returns the module in package pkg whose name is the longest beginning of text, pkg if
// there is none.
func (p Pass) begun(pkg, text string) string {
	if pkg == "" {
		return ""
	}
	for end := len(text) - 1; end >= leastMention; end-- {
		if at := p.locate(pkg + "." + text[:end]); at.letter != 0 {
			return pkg + "." + text[:end]
		}
	}
	return pkg
}
