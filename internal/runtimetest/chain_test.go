package runtimetest

import (
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// between is the beginning of a program in which one module of the runtime is loaded while another
// one takes its place in core: at each look at a list or dict of core that both change.
const between = `
import sys, zlib, _mitogen as m

class Loads:
    "What another module is loaded at a look at."
    def __getitem__(self, key):
        value = self.base.__getitem__(self, key)
        meanwhile = m.MEANWHILE
        m.MEANWHILE = []
        for name in meanwhile:
            load(name)
        return value

class DueList(Loads, list):
    base = list

class HandlerDict(Loads, dict):
    base = dict

def load(name):
    if name == 'mitogen':
        import mitogen
    else:
        name = '_mitogen_' + name
        exec(compile(zlib.decompress(m.MODULES[name][2]), name, 'exec'), m.__dict__)

first, second = %q, %q
m.DUE = DueList(m.DUE)
m.HANDLERS = HandlerDict(m.HANDLERS)
m.MEANWHILE = [second]
load(first)
for name in m.MEANWHILE:
    load(name)      # there was no look
`

// TestModulesKeepEachOther: of two modules of the runtime that are loaded at the same time, by two
// threads, none takes its place in core from the other.
func TestModulesKeepEachOther(t *testing.T) {
	const asked = `
import mitogen
def soon(): return min([f() for f in m.DUE])
result = []
m.after(5, lambda: 0)
result.append(soon() <= 5)      # timers of a hop
m.TIMERS[:] = []
result.append(soon() > 10)
mitogen._DEADLINES.append(m.now() + 5)
result.append(soon() <= 5)      # receivers that are waited for
mitogen._DEADLINES[:] = []
m.S.heard, m.S.timeout = m.now(), 7
result.append(soon() <= 7)      # the silence of the parent
m.S.timeout = 0
`
	const credited = `
class Full:
    resumed = 0
    def resume(self):
        self.resumed = 1
        m.FULL.remove(self)
full = Full()
m.FULL.append(full)
m.FLOWS[0, 5000] = 10
m.HANDLERS[m.CREDIT](0, 0, m.DATA, m.pack('>LL', 5000, 90))
soon()
result.append(full.resumed and m.FLOWS[0, 5000] == 100)     # a tunnel that has waited for CREDIT
m.FLOWS[0, 5001] = 10
m.HANDLERS[m.CREDIT](0, 0, m.DATA, m.pack('>LL', 5001, 0))
result.append((0, 5001) in mitogen._REFUSED)        # a receiver that is closed
`
	each(t, func(t *testing.T, py interp) {
		for _, pair := range [][2]string{
			{"mitogen", "spawn"}, {"spawn", "mitogen"}, {"mitogen", "tunnel"}, {"tunnel", "mitogen"},
		} {
			t.Run(fmt.Sprint(pair), func(t *testing.T) {
				l := start(t, py)
				for _, name := range []string{"_mitogen_spawn", "_mitogen_fork", "_mitogen_tunnel"} {
					l.push(first, name)
				}
				source, want := fmt.Sprintf(between, pair[0], pair[1])+asked, []any{true, true, true, true}
				if pair[0] == "tunnel" || pair[1] == "tunnel" {
					source, want = source+credited, append(want, true, true)
				}
				equal(t, "is asked", l.call("rt:execute", source).value().(*pyvalue.List).Items, want)
			})
		}
	})
}

// TestSendersAreForgotten: what a context keeps of the receivers that it has sent to doesn't grow
// with their number.
func TestSendersAreForgotten(t *testing.T) {
	const locks = "import mitogen\nresult = len(mitogen._SENDING)"
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		kept := func() any { return l.call("rt:execute", locks).value() }
		l.call("rt:execute", "import mitogen\nfor i in range(100):\n  mitogen.Sender(0, 5000 + "+
			"i).send(i)").value()
		equal(t, "locks kept of receivers that were sent to", kept(), int64(0))

		l.call("rt:execute", failing("mitogen.Sender(0, 6000).send(lambda: 0)")+"import mitogen").value()
		equal(t, "locks kept of what can't be sent", kept(), int64(0))

		l.call("rt:execute", `import mitogen, _mitogen as m
for i in range(3000):
    m.FLOWS[0, 10000 + i] = 1
    m.HANDLERS[m.CREDIT](0, 0, m.DATA, m.pack('>LL', 10000 + i, 0))
`).value()
		refused := l.call("rt:execute",
			"import mitogen\nresult = [len(mitogen._REFUSED) <= 1000, len(mitogen._ORDER) <= 1000, (0, "+
				"12999) in mitogen._REFUSED]").value()
		equal(t, "the last ones of 3,000 that are closed are remembered", refused.(*pyvalue.List).Items,
			[]any{true, true, true})
		equal(t, "sending to a closed one", l.call("rt:execute", "import mitogen\n"+
			"s = mitogen.Sender(0, 12998)\nmitogen._refuse((0, 12998))\n"+
			failing("s.send(1)")).value().(string)[:9], "DeadError")
		equal(t, "locks kept of a closed one", kept(), int64(0))
	})
}
