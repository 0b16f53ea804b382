package forward

import (
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// whole returns names, the packages of which ctx has just said that it lacks them, and with them
// those of the same question that a distribution here has beside a package that ctx lacks. What ctx
// has of that name may be of another version of the distribution, and half of each would meet.
func (f *Forwarder) whole(ctx wire.ContextID, names []string) []string {
	asked, lacked := f.question(ctx)
	var has []string
	for _, name := range asked {
		if slices.Contains(names, name) {
			lacked = append(lacked, name)
		} else {
			has = append(has, name)
		}
	}
	if len(lacked) == 0 || len(has) == 0 {
		return names
	}
	beside := f.finder.Beside(has)
	all := slices.Clip(names)
	for _, name := range has {
		if slices.ContainsFunc(beside[name], func(other string) bool {
			return slices.Contains(lacked, other)
		}) {
			all = append(all, name)
		}
	}
	return all
}

// warmWhole reads the lists that whole needs while an answer is on its way: 10 to 25 ms for 140
// distributions.
func (f *Forwarder) warmWhole(ctx wire.ContextID) {
	time.AfterFunc(warmAfter, func() {
		if f.waits(ctx) {
			f.finder.Beside(nil)
		}
	})
}

// question returns the names in the oldest question that ctx hasn't answered, and those that it is
// known to lack.
func (f *Forwarder) question(ctx wire.ContextID) (asked, lacked []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.book.Question(ctx)
}
