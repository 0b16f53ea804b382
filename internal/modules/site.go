package modules

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// SitePackages returns the directories in a virtual environment that packages are installed in, for
// AddSite.
func SitePackages(venv string) ([]string, error) {
	var candidates []string
	for _, lib := range []string{"lib", "lib64"} { // on some systems one is a link to the other
		pythons, _ := os.ReadDir(filepath.Join(venv, lib))
		for _, python := range pythons {
			candidates = append(candidates, filepath.Join(venv, lib, python.Name(), "site-packages"))
		}
	}
	candidates = append(candidates, filepath.Join(venv, "Lib", "site-packages"),
		filepath.Join(venv, "site-packages"))
	var dirs []string
	var known []os.FileInfo
next:
	for _, dir := range candidates {
		st, err := os.Stat(dir)
		if err != nil || !st.IsDir() {
			continue
		}
		for _, k := range known {
			if os.SameFile(k, st) {
				continue next
			}
		}
		known, dirs = append(known, st), append(dirs, dir)
	}
	if dirs == nil {
		return nil, fmt.Errorf("%s is no virtual environment: no site-packages in it", venv)
	}
	return dirs, nil
}

// AddSite adds a directory like site-packages, whose modules are not the user's own, and what its
// .pth files name: other directories and eggs, and the modules of editable installs by setuptools,
// scikit-build-core, and, with the package editables, hatchling and pdm. Other code in .pth files
// is ignored.
func (p *Path) AddSite(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if !p.first(dir) {
		return nil
	}
	if err := p.Add(dir, false); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	editable := mounts{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".pth") && !strings.HasPrefix(e.Name(), ".") {
			p.addPth(dir, e.Name(), editable)
		}
	}
	if len(editable) > 0 { // behind the rest: their finder is Python's last
		p.add(editable, editable, false)
	}
	return nil
}

// first says whether dir has not been added by AddSite.
func (p *Path) first(dir string) bool {
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	known := p.seen[dir]
	p.seen[dir] = true
	return !known
}

var (
	importLine   = lazyregexp.New(`^import[ \t]`)
	editableLine = lazyregexp.New(`^import[ \t]+(__editable___\w+_finder|_editable_impl_\w+|` +
		`_\w+_editable)\b`)

	// mappingLine matches the line with the modules of a finder of setuptools or scikit-build-core.
	mappingLine = lazyregexp.New(`(?m)^(?:MAPPING\b[^=\n]*=[ \t]*|install\([ \t]*)(\{.*)$`)

	// mapCall matches a call that names a module in a redirector of the package editables. hatchling
	// and pdm use that package.
	mapCall = lazyregexp.New(`(?m)^[ \t]*\w+\.map_module\([ \t]*(.*)\)[ \t]*$`)
)

// addPth adds what a .pth file names. As Python does, it passes over what isn't there.
func (p *Path) addPth(dir, name string, editable mounts) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return
	}
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		line = strings.TrimRight(line, " \t\r\n\f\v")
		switch {
		case line == "" || line[0] == '#':
		case importLine.MatchString(line):
			if m := editableLine.FindStringSubmatch(line); m != nil {
				editable.addFinder(filepath.Join(dir, m[1]+".py"))
			}
		default:
			place := filepath.Clean(line)
			if !filepath.IsAbs(place) {
				place = filepath.Join(dir, place)
			}
			if p.first(place) {
				p.Add(place, false)
			}
		}
	}
}

// addFinder adds what a finder of an editable install maps.
func (m mounts) addFinder(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if literal := mappingLine.FindSubmatch(text); literal != nil {
		for name, place := range parseMapping(string(literal[1])) {
			m.addMapped(name, place)
		}
	}
	for _, call := range mapCall.FindAllSubmatch(text, -1) {
		name, rest, ok := cutString(string(call[1]))
		rest, comma := strings.CutPrefix(rest, ",")
		place, _, whole := cutString(strings.TrimLeft(rest, " \t"))
		if ok && comma && whole {
			m.addMapped(name, place)
		}
	}
}

// addMapped adds a module. place is a package's directory, or a file, with or without its suffix.
// What isn't there any more is ignored.
func (m mounts) addMapped(name, place string) {
	if base := filepath.Base(place); base == "__init__.py" {
		place = filepath.Dir(place)
	}
	if check(name) == "" {
		m.add(name, strings.TrimSuffix(place, ".py"))
	}
}

// parseMapping reads Python's repr of a dict of strings. What it doesn't understand is the end.
func parseMapping(s string) map[string]string {
	mapping := map[string]string{}
	s = strings.TrimLeft(s, "{ ")
	for s != "" && s[0] != '}' {
		name, rest, ok := cutString(s)
		if !ok || !strings.HasPrefix(rest, ":") {
			break
		}
		place, rest, ok := cutString(strings.TrimLeft(rest, ": "))
		if !ok {
			break
		}
		mapping[name] = place
		s = strings.TrimLeft(rest, ", ")
	}
	return mapping
}

// cutString takes a string literal off s. The escapes that repr makes are Go's too.
func cutString(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	quote := s[0]
	var b strings.Builder
	for s = s[1:]; s != ""; {
		if s[0] == quote {
			return b.String(), s[1:], true
		}
		r, _, tail, err := strconv.UnquoteChar(s, quote)
		if err != nil {
			return "", "", false
		}
		b.WriteRune(r)
		s = tail
	}
	return "", "", false
}
