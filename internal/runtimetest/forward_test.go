package runtimetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// bundle is modules on their way in bulk.
type bundle struct {
	id   wire.BundleID
	data []byte
}

// module is one for a bundle: source of a plain module, or "-reason".
func module(name, source string) wire.Module {
	if why, negative := strings.CutPrefix(source, "-"); negative {
		return wire.Module{Name: name, Form: wire.FormNone, Rest: []byte(why)}
	}
	return wire.Module{Name: name, Path: "/dev/null/srv/" + name + ".py", Form: wire.FormModule,
		Rest: []byte(source)}
}

// bundled packs groups of modules.
func bundled(groups ...[]wire.Module) bundle {
	var text []byte
	for _, g := range groups {
		var group []byte
		for _, m := range g {
			one := m.Append(nil)
			group = append(binary.BigEndian.AppendUint32(group, uint32(len(one))), one...)
		}
		text = append(binary.BigEndian.AppendUint32(text, uint32(len(group))), group...)
	}
	sum := sha256.Sum256(text)
	b := bundle{data: deflate(text)}
	copy(b.id[:], sum[:])
	return b
}

// single is a bundle of one module.
func single(name, source string) bundle { return bundled([]wire.Module{module(name, source)}) }

// forwarding gives contexts what they need to take bundles.
func (l *link) forwarding(ids ...wire.ContextID) {
	source, ok := boot.Module("_mitogen_forward")
	if !ok {
		l.t.Fatal("no forwarder")
	}
	l.provide(wire.Module{Name: "_mitogen_forward", Path: "<f>", Form: wire.FormModule,
		Rest: deflate(source)})
	for _, id := range ids {
		l.push(id, "_mitogen_forward")
		l.push(id, "_mitogen_lacks")
	}
}

// coming announces bundles to dst and says how many LACKS that answers.
func (l *link) coming(dst wire.ContextID, answers uint32, bundles ...bundle) {
	payload := binary.BigEndian.AppendUint32(nil, answers)
	for _, b := range bundles {
		payload = append(payload, b.id[:]...)
	}
	l.send(wire.Frame{Dst: dst, Handle: wire.Coming, Payload: payload})
}

// piece sends the bytes of a bundle from one offset to another.
func (l *link) piece(dst wire.ContextID, b bundle, from, to int) {
	payload := binary.BigEndian.AppendUint32(bytes.Clone(b.id[:]), uint32(len(b.data)))
	payload = binary.BigEndian.AppendUint32(payload, uint32(from))
	l.send(wire.Frame{Dst: dst, Handle: wire.BundlePiece,
		Payload: append(payload, b.data[from:to]...)})
}

func (l *link) whole(dst wire.ContextID, b bundle) { l.piece(dst, b, 0, len(b.data)) }

// forward has a hop send what it keeps.
func (l *link) forward(hop wire.ContextID, b bundle, to wire.ContextID) {
	l.send(wire.Frame{Dst: hop, Handle: wire.Forward,
		Payload: binary.BigEndian.AppendUint32(bytes.Clone(b.id[:]), uint32(to))})
}

func (l *link) ask(dst wire.ContextID, names ...string) {
	l.send(wire.Frame{Dst: dst, Handle: wire.Ask, Payload: []byte(strings.Join(names, "\x00"))})
}

// other waits for a frame that the test has to see itself, and takes it.
func (l *link) other(h wire.Handle) (found wire.Frame) {
	l.t.Helper()
	l.await(h.String(), func() bool {
		for i, f := range l.others {
			if f.Handle == h {
				found = f
				l.others = append(l.others[:i:i], l.others[i+1:]...)
				return true
			}
		}
		return false
	})
	return found
}

// lacks asks, and demands the answer.
func (l *link) lacks(dst wire.ContextID, want string, names ...string) {
	l.t.Helper()
	l.ask(dst, names...)
	equal(l.t, fmt.Sprint("lacked of ", names),
		strings.ReplaceAll(string(l.other(wire.Lacks).Payload), "\x00", " "), want)
}

// executing begins to execute statements.
func (l *link) executing(dst wire.ContextID, source string) *pending {
	return l.callAt(dst, "rt:execute", source)
}

// forwardTest is a test in a context that takes bundles and has asked for nothing.
func forwardTest(name string, run func(t *testing.T, l *link)) test {
	return test{name, func(t *testing.T, l *link) {
		l.forwarding(first)
		l.fresh()
		run(t, l)
	}}
}

func TestBundles(t *testing.T) {
	on(t, []test{
		forwardTest("piece by piece while an import waits", func(t *testing.T, l *link) {
			b := single("b_slow", "name = 'slow'\n"+strings.Repeat("# x\n", 100))
			l.coming(first, 0, b)
			p := l.executing(first, "import b_slow\nresult = b_slow.name")
			for i := range b.data {
				l.call("rt:nothing") // its answer comes after p's
				if p.come() {
					t.Fatal("imported what hasn't come")
				}
				l.piece(first, b, i, i+1)
			}
			equal(t, "name", p.value(), "slow")
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("the last piece comes while an import unpacks", func(t *testing.T, l *link) {
			b := single("b_lost", "name = 'found'\n"+strings.Repeat("# x\n", 100))
			l.coming(first, 0, b)
			l.piece(first, b, 0, len(b.data)/2)
			here := filepath.Join(t.TempDir(), "here")
			p := l.executing(first, "import time, _mitogen as m\nm.PATIENCE, old = 5, m.exclusively\n"+
				"def slow(f):\n  old(f)\n  open('"+here+"', 'w').close()\n"+
				"  while m.ANNOUNCED and not m.COMPLETE: time.sleep(.01)\n"+
				"m.exclusively = slow\ntry:\n  import b_lost\nfinally:\n"+
				"  m.exclusively, m.PATIENCE = old, 60\nresult = b_lost.name")
			for _, err := os.Stat(here); err != nil && !p.come(); _, err = os.Stat(here) {
				time.Sleep(time.Millisecond)
			}
			l.piece(first, b, len(b.data)/2, len(b.data))
			equal(t, "name", p.value(), "found")
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("the last bundle doesn't bring it", func(t *testing.T, l *link) {
			b := single("b_other", "")
			l.serve("b_alone", "name = 'alone'")
			l.coming(first, 0, b)
			here := filepath.Join(t.TempDir(), "here")
			p := l.executing(first, "import time, _mitogen as m\nm.PATIENCE, old = 5, m.install\n"+
				"def slow():\n  old()\n  open('"+here+"', 'w').close()\n"+
				"  while m.ANNOUNCED and not m.COMPLETE: time.sleep(.01)\n  m.install = old\n"+
				"def first():\n  m.install = slow\n"+ // before it is looked for here
				"m.install = first\ntry:\n  import b_alone\nfinally:\n"+
				"  m.PATIENCE = 60\nresult = b_alone.name")
			for _, err := os.Stat(here); err != nil && !p.come(); _, err = os.Stat(here) {
				time.Sleep(time.Millisecond)
			}
			l.whole(first, b)
			equal(t, "name", p.value(), "alone")
			equal(t, "asked", l.questions(), []string{"b_alone"})
		}),
		forwardTest("a broken beginning, and more", func(t *testing.T, l *link) {
			b := single("b_bent", "name = 'bent'\n"+strings.Repeat("# x\n", 100))
			b.data[0] ^= 0xff
			l.serve("b_bent", "name = 'alone'")
			l.coming(first, 0, b)
			p := l.executing(first, "import b_bent\nresult = b_bent.name")
			for i := range b.data {
				l.call("rt:nothing")
				l.piece(first, b, i, i+1)
			}
			equal(t, "name", p.value(), "alone")
			equal(t, "asked", l.questions(), []string{"b_bent"})
			l.record("a bundle is broken")
		}),
		forwardTest("in the order of announcement", func(t *testing.T, l *link) {
			one, two := single("o_one", "x = 1"), single("o_two", "import o_one\nx = o_one.x + 1")
			l.coming(first, 0, one, two)
			l.whole(first, two)
			p := l.executing(first, "import o_two\nresult = o_two.x")
			equal(t, "echo", string(l.ping(first, "between").wait().payload), "between")
			if p.come() {
				t.Error("imported before what it needs has come")
			}
			l.whole(first, one)
			equal(t, "x", p.value(), int64(2))
		}),
		forwardTest("cycles", func(t *testing.T, l *link) {
			b := bundled([]wire.Module{module("c_a", "import c_b\nx = 1\ndef f(): return c_b.y"),
				module("c_b", "import c_a\ny = 2")})
			l.coming(first, 0, b)
			l.whole(first, b)
			equal(t, "y", l.executing(first, "import c_a\nresult = c_a.f()").value(), int64(2))
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("negative answers", func(t *testing.T, l *link) {
			b := bundled([]wire.Module{module("n_a",
				"try:\n import n_gone\nexcept ImportError:\n  import sys\n  why = str(sys.exc_info()[1])"),
				module("n_gone", "-it is an extension module")})
			l.coming(first, 0, b)
			l.whole(first, b)
			contains(t, "reason", l.executing(first, "import n_a\nresult = n_a.why").value().(string),
				"n_gone", "it is an extension module")
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("broken ones are asked for alone", func(t *testing.T, l *link) {
			for i, spoil := range []func(*bundle){
				func(b *bundle) { b.id[0] ^= 1 },
				func(b *bundle) { b.data[5] ^= 0xff },
				func(b *bundle) { b.data = b.data[:len(b.data)/2] },
			} {
				name := fmt.Sprintf("broken%d", i)
				l.serve(name, "name = 'alone'")
				b := single(name, "name = 'spoilt'")
				spoil(&b)
				l.coming(first, 0, b)
				l.whole(first, b)
				equal(t, "name", l.executing(first, "import "+name+"\nresult = "+name+".name").value(), "alone")
				equal(t, "asked", l.questions(), []string{name})
				l.record("a bundle is broken")
			}
		}),
		forwardTest("not announced", func(t *testing.T, l *link) {
			b := single("stray", "name = 'stray'")
			l.serve("stray", "name = 'asked'")
			l.whole(first, b)
			equal(t, "name", l.executing(first, "import stray\nresult = stray.name").value(), "asked")
			equal(t, "asked", l.questions(), []string{"stray"})
		}),
		forwardTest("what is lacked", func(t *testing.T, l *link) {
			l.lacks(first, "nowhere_a os.nowhere", "os", "nowhere_a", "os.path", "os.nowhere", "sys")
			l.coming(first, 1)
			l.lacks(first, "", "os", "xml.dom")
			l.lacks(first, "nowhere_b", "nowhere_b")
			l.coming(first, 2)
		}),
		forwardTest("objects that raise are no reason not to answer", func(t *testing.T, l *link) {
			l.executing(first, "import sys\nclass Lazy(object):\n  def __getattr__(self, name):\n"+
				"    raise RuntimeError(name)\nclass Finder(object):\n  __module__ = None\n"+
				"  def find_spec(self, *a): pass\n  find_module = find_spec\n"+
				"sys.modules['lazy_a'] = Lazy()\nsys.meta_path.append(Finder())\nresult = 0").value()
			l.lacks(first, "lazy_a lazy_a.b nowhere_c", "lazy_a", "lazy_a.b", "os", "nowhere_c")
			l.coming(first, 1)
			l.executing(first, "import sys\n"+
				"del sys.modules['lazy_a'], sys.meta_path[-1]\nresult = 0").value()
		}),
		forwardTest("answers come in the order of the questions", func(t *testing.T, l *link) {
			l.executing(first, "import sys, time\nclass Finder(object):\n"+
				"  def find_spec(self, name, *a):\n    if name == 'slow_a': time.sleep(.3)\n"+
				"  find_module = find_spec\nsys.meta_path.append(Finder())\nresult = 0").value()
			l.ask(first, "slow_a", "os")
			l.ask(first, "quick_b")
			l.ask(first, "os", "quick_c")
			for _, want := range []string{"slow_a", "quick_b", "quick_c"} {
				equal(t, "lacked", string(l.other(wire.Lacks).Payload), want)
			}
			l.coming(first, 3)
			l.executing(first, "import sys\ndel sys.meta_path[-1]\nresult = 0").value()
		}),
		forwardTest("announced twice", func(t *testing.T, l *link) {
			one, two := single("again", "x = 1"), single("again", "x = 2")
			end := len(one.data)
			for i, last := range []func(){
				func() { l.whole(first, one) },
				func() { l.forward(first, one, first) },
				func() { l.piece(first, one, 0, end/2) }, // the rest comes behind the import
				func() {},
			} {
				l.coming(first, 0, one)
				l.whole(first, one)
				l.coming(first, 0, two, one)
				l.whole(first, two)
				last()
				l.executing(first, "import sys\nsys.modules.pop('again', 0)\nresult = 0").value()
				equal(t, fmt.Sprint("x ", i),
					l.executing(first, "import again\nresult = again.x").value(), int64(1))
				l.piece(first, one, end/2, end)
				equal(t, fmt.Sprint("left ", i), l.executing(first, "import _mitogen as m\n"+
					"result = repr([m.PASSAGES, m.ANNOUNCED, m.COMPLETE])").value(), "[{}, [], {}]")
			}
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("an import waits for an answer", func(t *testing.T, l *link) {
			l.lacks(first, "wanted", "wanted")
			b := single("wanted", "x = 3")
			p := l.executing(first, "import wanted\nresult = wanted.x")
			equal(t, "echo", string(l.ping(first, "between").wait().payload), "between")
			l.coming(first, 1, b)
			l.whole(first, b)
			equal(t, "x", p.value(), int64(3))
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("an import that waits lends the lock of all imports", func(t *testing.T, l *link) {
			l.lacks(first, "lent", "lent")
			b := single("lent", "x = 3")
			p := l.executing(first, "import sys, threading\nm, imp, got = sys.modules['_mitogen'], "+
				"sys.modules.get('_imp'), []\n"+
				"def f():\n  import lent\n  got.append(lent.x)\nm.of_test = t, got = "+
				"threading.Thread(target=f), got\nt.start()\n"+
				"def waits(f):\n"+
				"  return f and (f.f_code.co_name == 'bring' or waits(f.f_back)) # names of core\n"+
				"while imp and not [f for f in list(sys._current_frames().values()) if waits(f)]: pass\n"+
				"if imp:\n  imp.acquire_lock()\n  imp.release_lock()\nresult = 'free'")
			equal(t, "lock", p.value(), any("free"))
			l.coming(first, 1, b)
			l.whole(first, b)
			p = l.executing(first, "import sys\nm = sys.modules['_mitogen']\nm.of_test[0].join()\nresult = "+
				"m.of_test[1][0]")
			equal(t, "x", p.value(), int64(3))
			equal(t, "asked", l.questions(), []string{})
		}),
		forwardTest("an answer without it", func(t *testing.T, l *link) {
			l.serve("late", "x = 4")
			l.lacks(first, "late", "late")
			p := l.executing(first, "import late\nresult = late.x")
			l.coming(first, 1)
			equal(t, "x", p.value(), int64(4))
			equal(t, "asked", l.questions(), []string{"late"})
		}),
		forwardTest("threads ask once", func(t *testing.T, l *link) {
			l.serve("shared", "x = 5")
			l.lacks(first, "shared", "shared")
			p := l.executing(first, "import threading\nresult = []\ndef f():\n  import shared\n  "+
				"result.append(shared.x)\n"+
				"ts = [threading.Thread(target=f) for i in range(5)]\nfor t in ts: t.start()\nfor t in ts: "+
				"t.join()\nresult = sum(result)")
			l.coming(first, 1)
			equal(t, "sum", p.value(), int64(25))
			equal(t, "asked", l.questions(), []string{"shared"})
		}),
		forwardTest("waiting ends", func(t *testing.T, l *link) {
			l.executing(first, "import _mitogen as m\nm.PATIENCE, result = .2, 0").wait()
			b := single("never", "")
			l.coming(first, 0, b)
			l.executing(first, "import never").fails(l.notFound(), "never", "nothing that may bring it came")
			l.executing(first, "import _mitogen as m\nm.PATIENCE = 60\n"+
				"m.ANNOUNCED.remove(m.ANNOUNCED[0])\nm.MODULES.pop('never')\nresult = 0").value()
		}),
		forwardTest("what serves files is loaded once", func(t *testing.T, l *link) {
			l.executing(first, "import _mitogen_files\nresult = 0").value() // asked for
			const count = "import sys\nf = sys.modules['_mitogen_files']\nresult = len([1 for h in " +
				"sys.modules['_mitogen'].HANDLERS.values() if h.__name__ == 'answered'])"
			equal(t, "handlers", l.executing(first, count).value(), int64(1))
		}),
		forwardTest("a file may come after all", func(t *testing.T, l *link) {
			patience := func(seconds string) {
				set := "import _mitogen as m, _mitogen_files\nm.PATIENCE, result = " + seconds + ", 0"
				l.executing(first, set).value()
			}
			get := func(name string) *pending {
				return l.executing(first, "import sys\nf = sys.modules['_mitogen_files']\n"+
					"try:\n  result = f.bundled('"+name+"').decode('ascii')\n"+
					"except IOError:\n  result = sys.exc_info()[1].errno")
			}
			for _, name := range []string{"late/a.txt", "late/", "./a.txt", "late/b/c.py"} {
				text := "is " + name
				b := bundled([]wire.Module{{Name: name, Path: "/dev/null/srv/" + name, Form: 'd',
					Rest: []byte(text)}})
				patience(".2")
				l.coming(first, 0, b)
				equal(t, "before", get(name).value(), int64(syscall.EIO))
				l.executing(first, "import _mitogen as m\nm.PATIENCE, result = 60, 0").value()
				p := get(name)
				l.whole(first, b)
				equal(t, "after", p.value(), text)
			}
			b := bundled([]wire.Module{module("late/gone", "-it is gone")})
			l.coming(first, 0, b)
			l.whole(first, b)
			equal(t, "denied", get("late/gone").value(), int64(syscall.EIO))
		}),
		forwardTest("a fork is told that nobody answers", func(t *testing.T, l *link) {
			l.executing(first, "import _mitogen_files\nresult = 0").value()
			const ask = `
import os, signal, socket, sys
f = sys.modules['_mitogen_files']
result = 0
if f.FORKS:
    kept = list(f.FORKS)
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    f.FORKS[:] = [a.fileno(), f.identity(a.fileno()), gone]
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        try:
            f.ask_by_parent('rp'.encode())
        except OSError:
            os._exit(sys.exc_info()[1].errno - f.errno.EIO)
        os._exit(99)
    result = os.waitpid(pid, 0)[1]
    f.FORKS[:] = kept
`
			equal(t, "status", l.executing(first, ask).value(), int64(0))
		}),
		forwardTest("what is fetched ahead", func(t *testing.T, l *link) {
			l.executing(first, "import _mitogen_files\nresult = 0").value()
			const fetch = `
import sys
f = sys.modules['_mitogen_files']
top = '/dev/null/twins'
f.PACKAGES[top + '/p'] = 'p'
for place, size in (('/p/dir/a', None), ('/nowhere/a', 3), ('/p', None), ('/p/a', 3), ('/p/b', 5)):
    f.add(top + place, size, 0)
twins = [top + '/p/dir/a', top + '/nowhere/a', top, top + '/p/a', top + '/p', top + '/p/b']
f.fetch(twins, 7)
result = ' '.join(f.PENDING)
f.PENDING.clear()
del f.PACKAGES[top + '/p']
`
			equal(t, "fetched", l.executing(first, fetch).value(), "/dev/null/twins/p/a")
		}),
		forwardTest("a call that waits is ended", func(t *testing.T, l *link) {
			b := single("endless", "x = 6")
			l.coming(first, 0, b)
			p := l.executing(first, "print('waiting')\nimport sys\nsys.stdout.flush()\nimport endless")
			l.await("the call", func() bool { return l.printedLocked("waiting") })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			l.whole(first, b)
			equal(t, "x", l.executing(first, "import endless\nresult = endless.x").value(), int64(6))
		}),
		forwardTest("forks don't wait", func(t *testing.T, l *link) {
			b := single("forked", "x = 7")
			l.coming(first, 0, b)
			equal(t, "status", l.executing(first,
				"import os\npid = os.fork()\nif not pid:\n  try:\n    import forked\n  except ImportError:\n  "+
					"  os._exit(3)\n"+
					"  os._exit(4)\nresult = os.waitpid(pid, 0)[1] >> 8").value(), int64(3))
			l.whole(first, b)
			equal(t, "x", l.executing(first, "import forked\nresult = forked.x").value(), int64(7))
		}),
		forwardTest("random graphs in random pieces", randomGraph),
		forwardTest("nothing is left", func(t *testing.T, l *link) {
			equal(t, "left", l.executing(first,
				"import _mitogen as m\n"+
					"result = repr([m.PASSAGES, m.ANNOUNCED, m.COMPLETE, m.OPEN, m.BUSY])").value(),
				"[{}, [], {}, [], {}]")
		}),
	})
}

// randomGraph has threads import modules that need each other while these come in pieces.
func randomGraph(t *testing.T, l *link) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	const n = 60
	name := func(i int) string { return fmt.Sprintf("g%x_%d", seed&0xfffff, i) }
	var bundles []bundle
	for from := 0; from < n; {
		var groups [][]wire.Module
		for end := from + 1 + r.IntN(10); from < min(end, n); from++ {
			source := "x = 1\n"
			for range 3 {
				if from > 0 {
					other := name(r.IntN(from))
					source += "import " + other + "\nx += " + other + ".x % 7\n"
				}
			}
			groups = append(groups, []wire.Module{module(name(from), source)})
		}
		bundles = append(bundles, bundled(groups...))
	}
	l.coming(first, 0, bundles...)
	p := l.executing(first, fmt.Sprintf("import threading\nresult = []\ndef f(k):\n  for i in "+
		"range(k, %d, 4): result.append(__import__('g%x_%%d' %% i).x)\n"+
		"ts = [threading.Thread(target=f, args=(k,)) for k in range(4)]\nfor t in ts: t.start()\nfor t "+
		"in ts: t.join()\nresult = len(result)", n, seed&0xfffff))
	at := make([]int, len(bundles))
	for open := len(bundles); open > 0; {
		i := r.IntN(len(bundles))
		if at[i] == len(bundles[i].data) {
			continue
		}
		to := min(at[i]+1+r.IntN(200), len(bundles[i].data))
		l.piece(first, bundles[i], at[i], to)
		if at[i] = to; to == len(bundles[i].data) {
			open--
		}
	}
	equal(t, "imported", p.value(), int64(n))
	equal(t, "asked", l.questions(), []string{})
}
