package runtimetest

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Hops keep bundles that pass, and send them on.
func TestKeptBundles(t *testing.T) {
	on(t, []test{
		hopTest("one copy", func(t *testing.T, l *link) {
			a, b := l.takers()
			m := single("kept_one", "x = 1"+strings.Repeat("\n# long", 1000))
			l.coming(a, 0, m)
			l.whole(a, m)
			equal(t, "x", l.executing(a, "import kept_one\nresult = kept_one.x").value(), int64(1))
			l.coming(b, 0, m)
			l.forward(first, m, b)
			equal(t, "x", l.executing(b, "import kept_one\nresult = kept_one.x").value(), int64(1))
			l.coming(first, 0, m)
			l.forward(first, m, first) // the hop itself
			equal(t, "x", l.executing(first, "import kept_one\nresult = kept_one.x").value(), int64(1))
			equal(t, "asked", l.questions(), []string{})
		}),
		hopTest("while it is still coming", func(t *testing.T, l *link) {
			a, b := l.takers()
			// A child starts to import while its hop still receives: from the first bundle, while the second
			// is on its way.
			early, late := single("early", "x = 1"), bundled([]wire.Module{module("late_a", "x = 2")},
				[]wire.Module{module("late_b", "x = 3")})
			half := len(late.data) / 2
			l.coming(a, 0, early, late)
			l.whole(a, early)
			l.piece(a, late, 0, half)
			l.coming(b, 0, early, late)
			l.forward(first, early, b)
			l.forward(first, late, b)
			equal(t, "x", l.executing(b, "import early\nresult = early.x").value(), int64(1))
			p := l.executing(b, "import late_a\nresult = late_a.x")
			l.piece(a, late, half, len(late.data))
			equal(t, "x", p.value(), int64(2))
			equal(t, "x", l.executing(a, "import late_b\nresult = late_b.x").value(), int64(3))
			equal(t, "asked", l.questions(), []string{})
		}),
		hopTest("not kept", func(t *testing.T, l *link) {
			a, _ := l.takers()
			m := single("not_kept", "x = 1")
			l.forward(first, m, a)
			l.dropped(m, a)
		}),
		hopTest("too much to keep", func(t *testing.T, l *link) {
			a, _ := l.takers()
			first0, second, third := single("kept_a", "x = 1"), single("kept_b", "x = 2"), single("kept_c",
				"x = 3")
			l.coming(a, 0, first0, second, third)
			l.executing(first, "import _mitogen as m\nm.KEPT.clear()\ndel m.USED[:]").value()
			l.whole(a, first0)
			l.whole(a, second)
			l.executing(first, "import _mitogen as m # there is room for two\nm.KEEP = sum([len(d) for k "+
				"in m.KEPT.values() for d in k])").value()
			l.forward(first, first0, a) // now the second is the longest unused
			l.whole(a, third)
			equal(t, "x", l.executing(a, "import kept_c\nresult = kept_c.x").value(), int64(3))
			l.forward(first, second, a)
			l.dropped(second, a)
			l.executing(first, "import _mitogen as m\nm.KEEP = 2 ** 26").value()
		}),
		hopTest("cut off", func(t *testing.T, l *link) {
			a, b := l.takers()
			m := single("cut", "x = 1"+strings.Repeat("\n# long", 1000))
			l.coming(a, 0, m)
			l.piece(a, m, 0, 10)
			l.coming(b, 0, m)
			l.forward(first, m, b)
			l.kill(first, a)
			l.dropped(m, b)
			l.whole(b, m)
			equal(t, "x", l.executing(b, "import cut\nresult = cut.x").value(), int64(1))
		}),
	})
}

// takers are two children that take bundles and have what tests call.
func (l *link) takers() (a, b wire.ContextID) {
	a, b = l.child(first, l.py), l.child(first, l.py)
	l.forwarding(first, a, b)
	l.callAt(a, "rt:nothing").wait()
	l.callAt(b, "rt:nothing").wait()
	l.fresh()
	return a, b
}

// dropped demands that a hop says that it can't forward a bundle.
func (l *link) dropped(b bundle, to wire.ContextID) {
	l.t.Helper()
	want := string(binary.BigEndian.AppendUint32(b.id[:], uint32(to)))
	equal(l.t, "dropped", string(l.other(wire.Dropped).Payload), want)
}
