package closure

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

//go:embed stdlib.txt
var stdlibText string

// version is major and minor.
type version [2]int

func (v version) less(w version) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

var (
	// sure is the first version that counts where nothing is known of the target.
	sure = version{2, 7}
	// still is the last version in stdlibText: what it has, later ones have too.
	still = version{3, 15}
)

// span is the versions that have a name, both ends included.
type span struct{ first, last version }

func (s span) holds(v version) bool {
	return !v.less(s.first) && (!s.last.less(v) || s.last == still)
}

var stdlib = sync.OnceValue(func() map[string]span {
	table := map[string]span{}
	var s span
	for line := range strings.Lines(stdlibText) {
		names := strings.Fields(line)
		if line[0] == '#' {
			continue
		}
		if line[0] != '\t' {
			s = span{parseVersion(names[0]), parseVersion(names[1])}
			names = names[2:]
		}
		for _, name := range names {
			table[name] = s
		}
	}
	return table
})

func parseVersion(s string) (v version) {
	if _, err := fmt.Sscanf(s, "%d.%d", &v[0], &v[1]); err != nil {
		panic(fmt.Sprintf("closure: version %q in stdlib.txt", s))
	}
	return v
}

// windows are the names that POSIX systems lack; programs try them all the same.
var windows = map[string]bool{"msvcrt": true, "winreg": true, "_winreg": true, "winsound": true,
	"nt": true, "_winapi": true,
	"msilib": true, "_msi": true, "_overlapped": true, "_wmi": true, "_subprocess": true}

// Stdlib reports whether t's standard library has the top-level module name. For an unknown version
// it has what all of them from 2.7 on have.
func Stdlib(name string, t pysource.Target) bool {
	s, ok := stdlib()[name]
	if !ok || windows[name] && t.Platform != "" && t.Platform != "win32" && t.Platform != "cygwin" {
		return false
	}
	return s.on(t)
}

// stdlibHas is Stdlib for dotted names: a module of a package that is there is there too, unless
// the table knows better.
func stdlibHas(name string, t pysource.Target) bool {
	if s, ok := stdlib()[name]; ok && !s.on(t) {
		return false
	}
	top, _, _ := strings.Cut(name, ".")
	return Stdlib(top, t)
}

func (s span) on(t pysource.Target) bool {
	if t.Version[0] == 0 {
		return !sure.less(s.first) && s.last == still
	}
	return s.holds(version{t.Version[0], t.Version[1]})
}
