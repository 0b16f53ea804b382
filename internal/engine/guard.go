package engine

import (
	"cmp"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// starting matches source that is likely to start programs.
var starting = lazyregexp.New(`subprocess|multiprocessing|pexpect|popen|\b(fork|forkpty|system|` +
	`spawn\w*|exec[lv]\w*|posix_spawnp?)\(`)

// startsPrograms says whether p is likely to start programs: then what a context needs before the
// first goes along. A context that starts one all the same asks for that, which is a round trip.
func (l *library) startsPrograms(p program) bool {
	switch {
	case p.Name == "subprocess":
		return true
	case p.Text != nil:
		return starting.Match(p.Text)
	}
	name := cmp.Or(p.Main, p.Name)
	if known, ok := l.starters.Load(name); ok {
		return known.(bool)
	}
	likely := starting.Match(l.finder.Find(name).Code)
	l.starters.Store(name, likely)
	return likely
}
