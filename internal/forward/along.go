package forward

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// A program that asks for the outline of a third-party package reads files of it. Those that it is
// likely to read go along in a bundle, which needs no window and no question of its own:
//
//   - files without code whose names, with or without the ending, are literals in the code of the
//     package that the context was sent;
//   - all files of a directory without code that has the name of a literal in the user's own code:
//     of a service, language or theme.
//
// So do the modules of packages that such a literal names. The context may have all of that: it is
// of distributions that it was sent.

// What goes with one outline at most, in bytes before they are packed.
const (
	maxSmall    = 64 << 10  // of a file that the package's code names
	maxSmalls   = 256 << 10 // of all these
	maxOfOwn    = 512 << 10 // of directories that the user's own code names
	maxCode     = 2 << 20   // of the package's code, where that is looked through
	maxSameName = 2         // files or directories of one name; with more of them, none goes
)

// along has ctx be sent what it is likely to read or import after its first question for the
// outline of pkg.
func (f *Forwarder) along(ctx wire.ContextID, t pysource.Target, g *grant, during, pkg string) {
	f.mu.Lock()
	x := f.contexts[ctx]
	first := x != nil && x.guesses.first(pkg)
	f.mu.Unlock()
	if !first {
		return
	}
	r := reader{g, f}
	own := map[string]bool{}
	var tops []string
	for _, m := range g.ownCode() {
		if f.finder.Builtin(m.Name) {
			continue
		}
		words(m.Code, "", own)
		for _, imp := range m.Info.Imports {
			if name := top(imp.Module); imp.Level == 0 && !slices.Contains(tops, name) {
				tops = append(tops, name)
			}
		}
	}
	a := ahead{f: f, r: r, with: &closure.Closure{}, room: maxFirst}
	for _, word := range slices.Sorted(maps.Keys(own)) {
		for _, name := range tops {
			a.member(name + "." + word)
		}
	}
	files, err := f.finder.Files(r, pkg)
	if err == nil {
		for _, name := range append(named(files, own), called(files, f.said(g, pkg))...) {
			a.names = append(a.names, pkg+"/"+name)
		}
	}
	slices.Sort(a.names)
	if a.names = slices.Compact(a.names); len(a.names) == 0 {
		return
	}
	p := Program{Roots: a.names}
	f.want(ctx, f.booked(ctx, t, want{c: f.closure(t, p), why: report.SentAsked, p: p}))
	for _, name := range a.names {
		f.lore.learn(during, name, false)
	}
}

// said returns the words that the sent code of a package has as literals, unless that is much.
func (f *Forwarder) said(g *grant, pkg string) map[string]bool {
	found, size := map[string]bool{}, 0
	for _, name := range g.modulesOf(top(pkg)) {
		code := f.finder.Find(name).Code
		if size += len(code); size > maxCode {
			return nil
		}
		words(code, "/", found)
	}
	return found
}

// member adds a module of a third-party package that was sent, with those in it if it is a package.
func (a *ahead) member(name string) {
	if !modules.Valid(name) || !a.r.Sent(top(name)) {
		return
	}
	if m := a.f.finder.Find(name); a.add(name, m) && m.Letter == modules.Package {
		a.within(name, 0)
	}
}

// named returns the files of directories without code whose names are in words.
func named(files []modules.Listed, words map[string]bool) (names []string) {
	dirs := map[string]*directory{}
	same := map[string]int{}
	for _, file := range files {
		dir := outermost(file.Path, words)
		if dir == "" {
			continue
		}
		d := dirs[dir]
		if d == nil {
			d = &directory{}
			dirs[dir] = d
			same[path.Base(dir)]++
		}
		d.size += file.Size
		d.code = d.code || modules.IsCode(file.Path)
		d.files = append(d.files, file.Path)
	}
	room := int64(maxOfOwn)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		d := dirs[dir]
		if !d.code && same[path.Base(dir)] <= maxSameName && d.size <= room {
			room -= d.size
			names = append(names, d.files...)
		}
	}
	return names
}

type directory struct {
	size  int64
	code  bool
	files []string
}

// outermost returns the outermost directory on the way to a file whose name is in words; "": none.
func outermost(file string, words map[string]bool) string {
	for i, c := range file {
		if c == '/' && words[path.Base(file[:i])] {
			return file[:i]
		}
	}
	return ""
}

// called returns small files without code whose names, with or without the ending, are in words.
func called(files []modules.Listed, words map[string]bool) (names []string) {
	same := map[string]int{}
	for _, file := range files {
		same[path.Base(file.Path)]++
	}
	room := int64(maxSmalls)
	for _, file := range files {
		base := path.Base(file.Path)
		stem, _, _ := strings.Cut(base, ".")
		if modules.IsCode(base) || same[base] > maxSameName || !words[base] && !words[stem] ||
			file.Size > min(maxSmall, room) {
			continue
		}
		room -= file.Size
		names = append(names, file.Path)
	}
	return names
}

// Bounds of a word that may be the name of a file.
const (
	leastWord = 2
	mostWord  = 64
)

// words adds to found the words that literals in code are, or end with behind one of the characters
// of before.
func words(code []byte, before string, found map[string]bool) {
	for i, c := range code {
		if c != '"' && c != '\'' {
			continue
		}
		at := i
		for at > 0 && i-at <= mostWord && wordByte(code[at-1]) {
			at--
		}
		n := i - at
		if n < leastWord || n > mostWord || at == 0 || code[at] == '_' && code[at+1] == '_' {
			continue
		}
		if b := code[at-1]; b == c || strings.IndexByte(before, b) >= 0 {
			found[string(code[at:i])] = true
		}
	}
}

func wordByte(c byte) bool {
	return c == '_' || c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
