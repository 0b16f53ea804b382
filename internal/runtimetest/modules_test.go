package runtimetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// notFound is the type that an import of what is nowhere fails with.
func (l *link) notFound() string {
	if l.py.AtLeast(3, 6) {
		return "ModuleNotFoundError"
	}
	return "ImportError"
}

// absolute keeps Python 2 from looking for each module beside the importing one first.
const absolute = "from __future__ import absolute_import\n"

// imports executes statements that set result, and demands it and what was asked for meanwhile.
func (l *link) imports(source string, want any, asked ...string) {
	l.t.Helper()
	l.fresh()
	equal(l.t, source, l.call("rt:execute", source).value(), want)
	equal(l.t, "asked by "+source, l.questions(), append([]string{}, asked...))
}

// fresh forgets what was asked for.
func (l *link) fresh() {
	l.t.Helper()
	l.call("rt:nothing").wait()
	l.questions()
}

func TestImports(t *testing.T) {
	on(t, []test{
		{"one by one", func(t *testing.T, l *link) {
			l.serve("alpha", "import beta\nname = 'alpha ' + beta.name\n")
			l.serve("beta", "name = 'beta'\n")
			l.imports("import alpha\nresult = alpha.name", "alpha beta", "alpha", "beta")
			l.imports("import alpha, beta\nresult = beta.name", "beta")
		}},
		{"package", func(t *testing.T, l *link) {
			l.servePackage("pack", absolute+
				"from pack.inner import leaf\nfrom pack import side\nname = 'pack'\n")
			l.servePackage("pack.inner", absolute+"from pack import side\n")
			l.serve("pack.inner.leaf", "from .. import side\nfrom ..side import name\nfrom . import twig\n")
			l.serve("pack.inner.twig", "name = 'twig'\n")
			l.serve("pack.side", "name = 'side'\n")
			l.imports("import pack.inner.leaf\nresult = pack.inner.leaf.name + pack.side.name + "+
				"pack.leaf.twig.name", "sidesidetwig",
				"pack", "pack.inner", "pack.inner.leaf", "pack.inner.twig", "pack.side")
		}},
		{"package without __init__", func(t *testing.T, l *link) {
			l.provide(wire.Module{Name: "space", Form: wire.FormNamespace})
			l.serve("space.star", "name = __name__\n")
			l.imports("import space.star\nresult = space.star.name + str(hasattr(space, '__path__'))",
				"space.starTrue", "space", "space.star")
		}},
		{"circular", func(t *testing.T, l *link) {
			l.serve("chicken", "import egg\nname = 'chicken'\ndef f(): return egg.name\n")
			l.serve("egg", "import chicken\nname = 'egg'\n")
			l.imports("import chicken\nresult = chicken.f()", "egg", "chicken", "egg")
		}},
		{"module that replaces itself", func(t *testing.T, l *link) {
			l.serve("changeling", "import sys\nclass C(object):\n  name = 'other'\nsys.modules[__name__] = "+
				"C()\n")
			l.imports("import changeling\nresult = changeling.name", "other", "changeling")
		}},
		{"implicitly relative", implicitlyRelative},
		{"larger than a frame", func(t *testing.T, l *link) {
			noise := make([]byte, 400_000)
			for i := range noise {
				noise[i] = 'a' + byte(rand.IntN(26))
			}
			l.serve("large", fmt.Sprintf("text = '%s'\n", noise))
			l.imports("import large\nresult = len(large.text)", int64(len(noise)), "large")
		}},
		{"while nothing is called", func(t *testing.T, l *link) {
			l.serve("late", "name = 'late'\n")
			l.call("rt:execute", "import rt, threading\nevent = threading.Event()\nrt.event = event\ndef "+
				"f():\n  event.wait()\n  import late\n  rt.note(late.name)\n"+
				"rt.thread = threading.Thread(target=f)\nrt.thread.start()").value()
			l.send(wire.Frame{Dst: first, Handle: wire.Call, Payload: l.payload("rt:event.set", nil)})
			l.await("question", func() bool {
				return len(l.asked) > 0 && l.asked[len(l.asked)-1].name == "late"
			})
			equal(t, "notes", l.call("rt:evaluate", "thread.join() or notes()[0]").value(), "late")
		}},
		{"by several threads", byThreads},
		{"again", func(t *testing.T, l *link) {
			l.serve("cached", "name = 'cached'\n")
			l.call("rt:execute", "import importlib\ngetattr(importlib, 'invalidate_caches', int)()").value()
			l.imports("import sys, cached\ndel sys.modules['cached']\nimport cached\nresult = cached.name",
				"cached", "cached")
		}},
	})
}

// implicitlyRelative: Python 2 looks beside the importing module first, and then everywhere.
func implicitlyRelative(t *testing.T, l *link) {
	l.servePackage("family", "")
	l.serve("family.brother", "import sister, os\nname = sister.name + os.sep\n")
	l.serve("family.sister", "name = 'sister'\n")
	if l.py.Major == 2 {
		l.imports("import family.brother\nresult = family.brother.name", "sister/", "family",
			"family.brother", "family.os", "family.sister")
		return
	}
	l.call("rt:evaluate", "__import__('family.brother')").fails(l.notFound(), "sister")
}

// byThreads: a module is asked for once, and every thread that imports it gets the same one.
func byThreads(t *testing.T, l *link) {
	l.serve("shared", "import time\ntime.sleep(.05)\nname = object()\n")
	l.serve("other", "name = 'other'\n")
	l.mu.Lock()
	l.withheld["shared"] = true
	l.mu.Unlock()
	l.fresh()
	p := l.call("rt:execute", `import sys, threading
seen = []
def plain():
    import shared
    seen.append(shared.name)
def spec():
    import importlib.util
    importlib.util.find_spec('shared')
    plain()
started = [threading.Thread(target=f)
           for f in [plain] * 4 + [sys.version_info > (3, 4) and spec or plain] * 4]
for t in started: t.start()
for t in started: t.join()
import other
result = len(seen), len(set(seen))`)
	l.await("question", func() bool { return len(l.asked) > 0 })
	l.ping(first, "").wait() // any further question has had the time to come
	l.push(first, "shared")
	equal(t, "threads and modules", fmt.Sprint(p.value()), "[8 1]")
	equal(t, "asked", l.questions(), []string{"other", "shared"})
	l.mu.Lock()
	delete(l.withheld, "shared")
	l.mu.Unlock()
}

func TestImportsThatFail(t *testing.T) {
	absent := "result = ''\ntry:\n  import %s\nexcept ImportError:\n  import sys\n  e = " +
		"sys.exc_info()[1]\n  result = '%%s: %%s' %% (e.__class__.__name__, e)\n"
	on(t, []test{
		{"reason", func(t *testing.T, l *link) {
			want := fmt.Sprintf("%s: No module named 'nowhere': not on the test's path", l.notFound())
			l.imports(fmt.Sprintf(absent, "nowhere"), want, "nowhere")
			l.imports(fmt.Sprintf(absent, "nowhere"), want)
		}},
		{"name of the module", func(t *testing.T, l *link) {
			l.imports("try:\n  import nameless\nexcept ImportError:\n  import sys\n  result = "+
				"sys.exc_info()[1].name", "nameless", "nameless")
		}},
		{"known beforehand", func(t *testing.T, l *link) {
			l.provide(wire.Module{Name: "refused", Form: wire.FormNone,
				Rest: []byte("an extension module h\u00e9")})
			l.push(first, "refused")
			l.fresh()
			l.call("rt:evaluate", "__import__('refused')").fails(l.notFound(), "refused",
				"an extension module h\u00e9")
			equal(t, "asked", l.questions(), []string{})
		}},
		{"served after all", func(t *testing.T, l *link) {
			l.call("rt:evaluate", "__import__('hesitant')").fails(l.notFound())
			l.serve("hesitant", "name = 'here'\n")
			l.push(first, "hesitant")
			l.imports("import hesitant\nresult = hesitant.name", "here")
		}},
		{"submodule", func(t *testing.T, l *link) {
			l.servePackage("half", "")
			l.fresh()
			e := l.call("rt:execute", "import half.missing").fails(l.notFound())
			contains(t, "text", e.Text, "missing")
			l.call("rt:execute", "from half import missing").fails("ImportError", "missing")
			equal(t, "asked", l.questions(), []string{"half", "half.missing"})
		}},
		{"tracebacks ask for nothing", func(t *testing.T, l *link) {
			// As of 3.15 they look for files of another Python's, in packages too.
			l.servePackage("thin", "")
			l.servePackage("thin.within", "")
			l.fresh()
			from := "0"
			if !l.py.AtLeast(3, 4) {
				from = "None" // Python's own error
			}
			l.imports("import sys, traceback\ntry:\n  import thin.within.gone\nexcept ImportError:\n"+
				"  traceback.format_exc()\n  result = str(getattr(sys.exc_info()[1], 'name_from', None))",
				from, "thin", "thin.within", "thin.within.gone")
			l.fresh()
			l.call("rt:execute", "import thin.gone").fails(l.notFound())
			equal(t, "asked", l.questions(), []string{"thin.gone"})
		}},
		{"of what is no package", func(t *testing.T, l *link) {
			l.serve("single", "")
			l.call("rt:execute", "import single.part").fails(l.notFound(), "part")
		}},
		{"syntax", func(t *testing.T, l *link) {
			l.servePackage("crooked", absolute+"from crooked import line\n")
			l.serve("crooked.line", "def f():\n    return 1\n  x = 3\n")
			for range 2 {
				e := l.call("rt:execute", "import crooked").fails("IndentationError")
				contains(t, "traceback", e.Traceback, `File "/dev/null/srv/crooked/__init__.py", line 2`,
					`File "/dev/null/srv/crooked/line.py", line 3`, "x = 3")
			}
			equal(t, "in sys.modules", l.call("rt:evaluate",
				"[m for m in sys.modules if 'crooked' in m] == []").value(), true)
		}},
		{"while it is imported", func(t *testing.T, l *link) {
			l.servePackage("unlucky", "import unlucky.day\n")
			l.serve("unlucky.day", "import nowhere_else  # what is missing\n")
			e := l.call("rt:execute", "import unlucky").fails(l.notFound(), "nowhere_else",
				"not on the test's path")
			contains(t, "traceback", e.Traceback, `File "/dev/null/srv/unlucky/day.py", line 1`,
				"import nowhere_else  # what is missing")
		}},
		{"odd names", func(t *testing.T, l *link) {
			for _, name := range []string{"with space", "../../etc/passwd",
				"a" + strings.Repeat("b", 3000)} {
				l.call("rt:evaluate", fmt.Sprintf("__import__(%q)", name)).fails(l.notFound())
			}
			// PyPy has ASCII in a C locale
			if l.py.Major > 2 && l.call("rt:evaluate",
				"__import__('sys').getfilesystemencoding()").value() == "utf-8" {
				l.serve("h\u00e9", "name = 'accented'\n")
				l.imports("result = __import__('h\\xe9').name", "accented", "h\u00e9")
			}
		}},
	})
}

func TestWhatTheTargetHas(t *testing.T) {
	installed := func(t *testing.T, l *link, name, source string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name+".py"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		l.call("rt:execute", fmt.Sprintf("import sys\nsys.path.insert(0, %q)", dir)).value()
	}
	on(t, []test{
		{"standard library", func(t *testing.T, l *link) {
			l.serve("colorsys", "name = 'ours'\n")
			l.servePackage("wsgiref", "name = 'ours'\n")
			l.imports("import colorsys, wsgiref.headers\nresult = hasattr(colorsys, 'name') or "+
				"hasattr(wsgiref, 'name')", false)
		}},
		{"installed", func(t *testing.T, l *link) {
			installed(t, l, "both", "name = 'theirs'\n")
			l.serve("both", "name = 'ours'\n")
			l.imports("import both\nresult = both.name", "theirs")
		}},
		{"installed, but ours came unasked", func(t *testing.T, l *link) {
			installed(t, l, "pushed", "name = 'theirs'\n")
			l.serve("pushed", "name = 'ours'\n")
			l.push(first, "pushed")
			l.imports("import pushed\nresult = pushed.name", "ours")
		}},
		{"package of ours with the name of an installed module inside", func(t *testing.T, l *link) {
			installed(t, l, "tool", "name = 'theirs'\n")
			l.servePackage("shed", "")
			l.serve("shed.tool", "name = 'ours'\n")
			l.imports("from shed import tool\nresult = tool.name", "ours", "shed", "shed.tool")
		}},
		{"installed package that lacks a module", func(t *testing.T, l *link) {
			l.serve("wsgiref.nothing", "")
			l.fresh()
			l.call("rt:execute", "import wsgiref.nothing").fails(l.notFound(), "nothing")
			equal(t, "asked", l.questions(), []string{})
		}},
		{"installed module imports one of ours", func(t *testing.T, l *link) {
			installed(t, l, "plugins", "import plugin\nname = plugin.name\n")
			l.serve("plugin", "name = 'ours'\n")
			l.imports("import plugins\nresult = plugins.name", "ours", "plugin")
		}},
	})
}

func TestModuleSource(t *testing.T) {
	// name returns the value that the module m binds to name.
	name := func(l *link, m, source string) any {
		l.serve(m, source)
		return l.call("rt:evaluate", fmt.Sprintf("__import__(%q).name", m)).value()
	}
	on(t, []test{
		{"forms", func(t *testing.T, l *link) {
			for i, tt := range []struct{ source, want string }{
				{"name = 'crlf'\r\nif 1:\r\n    name += '!'\r\n", "crlf!"},
				{"name = 'no newline at the end'  # comment", "no newline at the end"},
				{"if 1:\n    name = 'indented end'", "indented end"},
				{"\xef\xbb\xbfname = 'bom'\n", "bom"},
				{"# coding: latin-1\nname = u'\xe9'\n", "\u00e9"},
				{"#!/usr/bin/python\n# -*- coding: iso-8859-15 -*-\nname = u'\xa4'\n", "\u20ac"},
				{"# coding: utf-8\nname = u'\xc3\xa9'\n", "\u00e9"},
				{"'''docstring'''\nfrom __future__ import division\nname = str(1 / 2)\n", "0.5"},
				{"name = 'form feed'\n\f\nif 1:\n\tname += ' and tab'\n", "form feed and tab"},
			} {
				equal(t, tt.want, name(l, fmt.Sprintf("form%d", i), tt.source), tt.want)
			}
			l.serve("empty", "")
			l.imports("import empty\nresult = empty.__name__", "empty", "empty")
		}},
		{"division is this module's alone", func(t *testing.T, l *link) {
			want := map[bool]string{true: "0.5", false: "0"}[l.py.Major > 2]
			equal(t, "1 / 2", name(l, "old_division", "name = str(1 / 2)\n"), want)
		}},
		{"attributes", moduleAttributes},
		{"in tracebacks", func(t *testing.T, l *link) {
			l.servePackage("deep", "from deep import down\n")
			l.serve("deep.down", "# coding: latin-1\ndef f():\n    return 1 / 0  # \xe9\n")
			e := l.call("deep:down.f").fails("ZeroDivisionError")
			contains(t, "traceback", e.Traceback, `File "/dev/null/srv/deep/down.py", line 3, in f`,
				"return 1 / 0  # ")
		}},
		{"for inspect", func(t *testing.T, l *link) {
			l.serve("seen", "def f():\n    return 'seen'\n\ndef g():\n    pass\n")
			l.imports("import inspect, seen\nresult = inspect.getsource(seen.f) + "+
				"inspect.getsource(seen)[:9]", "def f():\n    return 'seen'\ndef f():\n", "seen")
		}},
	})
}

func moduleAttributes(t *testing.T, l *link) {
	l.servePackage("trait", "")
	l.serve("trait.mod", "")
	l.provide(wire.Module{Name: "trait.space", Form: wire.FormNamespace})
	l.call("rt:execute", "import rt, trait.mod, trait.space\nrt.trait = trait").value()
	table := []struct{ expr, want string }{
		{"trait.__name__", "trait"},
		{"trait.__file__", "/dev/null/srv/trait/__init__.py"},
		{"trait.__package__", "trait"},
		{"trait.__doc__", "None"},
		{"type(trait.__path__).__name__", "list"},
		{"trait.mod.__name__", "trait.mod"},
		{"trait.mod.__file__", "/dev/null/srv/trait/mod.py"},
		{"trait.mod.__package__", "trait"},
		{"hasattr(trait.mod, '__path__')", "False"},
		{"trait.space.__package__", "trait.space"},
		{"trait.mod.__loader__.get_filename('trait.mod')", "/dev/null/srv/trait/mod.py"},
		{"trait.mod.__loader__.is_package('trait')", "True"},
		{"trait.mod.__loader__.is_package('trait.mod')", "False"},
		{"trait.mod.__loader__.get_source('trait.mod') == ''", "True"},
		{"sys.modules['trait.mod'] is trait.mod", "True"},
	}
	if l.py.AtLeast(3, 4) {
		table = append(table, []struct{ expr, want string }{
			{"trait.mod.__spec__.name", "trait.mod"},
			{"trait.mod.__spec__.origin", "/dev/null/srv/trait/mod.py"},
			{"trait.mod.__spec__.parent", "trait"},
			{"trait.mod.__spec__.loader is trait.mod.__loader__", "True"},
			{"trait.mod.__spec__.submodule_search_locations", "None"},
			{"trait.__spec__.submodule_search_locations == trait.__path__", "True"},
			{"trait.__spec__.parent", "trait"},
		}...)
	}
	for _, tt := range table {
		equal(t, tt.expr, l.call("rt:evaluate", "str("+tt.expr+")").value(), tt.want)
	}
}
