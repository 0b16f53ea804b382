package runtimetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// third is a third-party module for a bundle.
func third(name, source string) wire.Module {
	m := module(name, source)
	if m.Form == wire.FormModule {
		m.Form = wire.FormModuleText
	}
	return m
}

func thirdPackage(name, source string) wire.Module {
	return wire.Module{Name: name, Path: "/dev/null/srv/" + name + "/__init__.py",
		Form: wire.FormPackageText,
		Rest: []byte(source)}
}

// bring has modules taken in.
func (l *link) bring(modules ...wire.Module) {
	b := bundled(modules)
	l.coming(first, 0, b)
	l.whole(first, b)
}

// warnings are the categories of all warnings while something is imported.
const warnings = `
import warnings
old = warnings.filters[:]
warnings.simplefilter(%q)
seen, show = [], warnings.showwarning
warnings.showwarning = lambda *a: seen.append(a[1].__name__)
try:
    try:
        %s
    except SyntaxError:
        seen.append('refused')
finally:
    warnings.showwarning = show
    warnings.filters[:] = old
result = ' '.join(seen)`

// smallNative prints the name and the file of a small extension module of the interpreter's.
const smallNative = `
import glob, os, sys
files = []
for p in sys.path:
    if p.endswith('lib-dynload'):
        files = [(os.path.getsize(f), f) for f in glob.glob(p + '/_[bchr]*.so')]
for size, f in sorted(files):
    name = os.path.basename(f).split('.')[0].replace('module', '')
    if name in ('_heapq', '_bisect', '_random', '_crypt', '_contextvars', '_hashlib'):
        print(name + ' ' + f)
        break
`

// nativePackage has one imported that is sent, then a module of it, and has it looked for.
func nativePackage(t *testing.T, l *link) {
	if l.py.Impl != "cpython" || l.py.Major == 2 && l.py.Minor < 7 ||
		l.py.Major == 3 && l.py.Minor < 5 {
		t.Skip("it is sent no extension modules")
	}
	out, err := exec.Command(l.py.Path, "-c", smallNative).Output()
	name, file, found := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || !found {
		t.Skip("it has none of its own that is small, ", err)
	}
	object, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source, _ := boot.Module("_mitogen_native")
	l.provide(wire.Module{Name: "_mitogen_native", Path: "<n>", Form: wire.FormModule,
		Rest: deflate(source)})
	l.push(first, "_mitogen_native")
	l.ask(first, "_mitogen_native")
	l.other(wire.Lacks)
	name = "outer." + name
	path := "/dev/null/srv/" + strings.ReplaceAll(name, ".", "/")
	l.serve(name+".inner", "x = '1'\n")
	b := bundled([]wire.Module{thirdPackage("outer", ""), {Name: name, Path: path + "/__init__.so",
		Form: 'x', Rest: append([]byte{0}, object...)}})
	l.coming(first, 1, b)
	for at := 0; at < len(b.data); at += wire.PieceSize {
		l.piece(first, b, at, min(at+wire.PieceSize, len(b.data)))
	}
	statements := "import sys, NAME.inner\np = sys.modules['NAME']\n" +
		"result = ' '.join([p.__file__] + list(p.__path__) + [p.inner.x])"
	got := l.executing(first, strings.ReplaceAll(statements, "NAME", name)).value()
	equal(t, "package", got, path+"/__init__.so "+path+" 1")
	if l.py.Major > 2 { // else names in the package that are absolute, too
		equal(t, "asked", l.questions(), []string{name + ".inner"})
		found := l.executing(first, "import sys, _mitogen as m\nm.MODULES['alone'] = 'x', "+
			"'/dev/null/srv/alone.abi3.so', b'', 1, 'x', b''\n"+
			"ours = lambda *of: [s.name for s in m.IMPORTER.discover(*of)]\n"+
			"inner = ours(sys.modules['"+name+"'].__spec__)\n"+
			"result = ' '.join(ours(sys.modules['outer'].__spec__) + inner + "+
			"[n for n in ours() if n == 'alone'])\ndel m.MODULES['alone']").value()
		equal(t, "discovered", found, name+" "+name+".inner alone")
	}
	l.lacks(first, name, name)
}

// TestLoaders checks that libraries find a sent module as they expect it.
func TestLoaders(t *testing.T) {
	why, frames := whyNotSent, framesOfImports
	on(t, []test{
		forwardTest("why a module can't be sent", why),
		forwardTest("why a module can't be sent, where files are served", withFiles(why)),
		forwardTest("tracebacks have no frames of the importer", frames),
		forwardTest("tracebacks have no frames of it, where files are served", withFiles(frames)),
		forwardTest("the compiler says nothing about installed modules", func(t *testing.T, l *link) {
			l.bring(third("quiet", "x = '\\S'\n"), thirdPackage("quietly", "x = 1\nassert (x, 'always')\n"),
				third("strict", "x = '\\S'\n"),
				third("speaks", "import warnings\nwarnings.warn('now', UserWarning)\nx = '\\S'\n"),
				module("own", "x = '\\S'\n"))
			for _, c := range []struct{ filter, statement, want string }{
				{"always", "import quiet", ""},
				{"always", "import quietly", ""},
				{"error", "import strict", ""},
				{"always", "import speaks", "UserWarning"},
			} {
				equal(t, c.statement, l.executing(first, fmt.Sprintf(warnings, c.filter, c.statement)).value(),
					c.want)
			}
			if l.py.AtLeast(3, 6) && l.py.Impl == "cpython" {
				got := l.executing(first, fmt.Sprintf(warnings, "always", "import own")).value()
				if got != "DeprecationWarning" && got != "SyntaxWarning" {
					t.Errorf("import own: got %q, want a warning", got)
				}
			}
		}),
		forwardTest("a package in whose place its code has put something else",
			func(t *testing.T, l *link) {
				l.serve("changed.inner", "x = 1\n")
				l.serve("changed.deep", "x = 2\n")
				l.bring(thirdPackage("changed",
					"import sys\nclass Lazy(type(sys)):\n  y = 3\nnew = Lazy(__name__)\n"+
						"new.__file__, new.__path__ = __file__, __path__\nsys.modules[__name__] = new\n"))
				equal(t, "x", l.executing(first,
					"import sys, changed.inner\nresult = sys.modules['changed.inner'].x + changed.y\n").value(),
					int64(4))
				equal(t, "x", l.executing(first,
					"import importlib\nresult = importlib.import_module('changed.deep').x").value(), int64(2))
				if l.py.Major > 2 { // else changed.sys, too
					equal(t, "asked", l.questions(), []string{"changed.deep", "changed.inner"})
				}
			}),
		forwardTest("a package whose __init__ is an extension module", nativePackage),
		{"a namespace of the target's, and no bundles", portions("spread", "closed")},
		forwardTest("a namespace of the target's", portions("strewn", "shut")),
		{"find_spec of what is nowhere", func(t *testing.T, l *link) {
			if l.py.Major > 2 {
				// These may look for modules that some interpreters lack.
				l.call("rt:execute", "import importlib.util, pkgutil").value()
				l.fresh()
				l.imports("import importlib.util\nresult = importlib.util.find_spec('nought') is None", true,
					"nought")
				l.call("rt:evaluate", "__import__('nought')").fails(l.notFound(), "nought",
					"not on the test's path")
				l.imports("import pkgutil\nresult = getattr(pkgutil, 'find_loader', lambda n: None)('nought') "+
					"is None", true)
			}
		}},
		forwardTest("loaders", func(t *testing.T, l *link) {
			if l.py.Major == 2 {
				t.Skip("Python 2 has no such loader")
			}
			l.bring(thirdPackage("loaded", "'''The docstring.'''\n"),
				third("loaded.mod", "def f():\n    'Doc.'  # here\n    return 1\n"))
			for _, expression := range []string{
				"type(loaded.__loader__) is importlib.machinery.SourceFileLoader",
				"loaded.mod.__loader__.name == 'loaded.mod'",
				"loaded.mod.__loader__.path == loaded.mod.__file__ == loaded.mod.__spec__.origin",
				"loaded.mod.__loader__.get_filename() == loaded.mod.__file__",
				"loaded.mod.__loader__.get_source() == inspect.getsource(loaded.mod)",
				"loaded.__loader__.is_package() and not loaded.mod.__loader__.is_package('loaded.mod')",
				"loaded.mod.__loader__.get_code('loaded.mod').co_filename == loaded.mod.__file__",
				"hasattr(loaded.__loader__, 'get_data') and not hasattr(loaded.__loader__, 'archive')",
				"loaded.mod.__spec__.has_location and loaded.mod.__spec__.loader is loaded.mod.__loader__",
				"loaded.mod.__spec__.cached.endswith('.pyc')",
				"loaded.__doc__ == 'The docstring.' and inspect.getdoc(loaded.mod.f) == 'Doc.'",
				"inspect.getsource(loaded.mod.f) == \"def f():\\n    'Doc.'  # here\\n    return 1\\n\"",
				"importlib.reload(loaded.mod) is loaded.mod",
				"[s.name for s in _mitogen.IMPORTER.discover(loaded.__spec__)] == ['loaded.mod']",
				"'loaded' in [s.name for s in _mitogen.IMPORTER.discover()]",
			} {
				statements := "import importlib, importlib.machinery, inspect, loaded.mod, _mitogen\n" +
					"result = bool(" + expression + ")"
				equal(t, expression, l.executing(first, statements).value(), true)
			}
			equal(t, "asked", l.questions(), []string{})
		}),
	})
}

// portions is a test with a namespace package, of which both ends have some, and a package, which
// is whole.
func portions(space, closed string) func(*testing.T, *link) {
	return func(t *testing.T, l *link) {
		dir := t.TempDir()
		for _, name := range []string{space + "/theirs", closed} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name, "__init__.py"), []byte("x = 1\n"),
				0o644); err != nil {
				t.Fatal(err)
			}
		}
		l.serve(space+".ours", "x = 2\n")
		l.serve(closed+".ours", "x = 2\n")
		l.call("rt:execute", fmt.Sprintf("import sys\nsys.path.insert(0, %q)", dir)).value()
		if l.py.Major > 2 {
			l.imports(strings.ReplaceAll("import S.theirs\ndef f():\n  import S.ours\n  return S.ours.x\n"+
				"result = S.theirs.x + f()",
				"S", space), int64(3), space+".ours")
		}
		l.fresh()
		l.call("rt:execute", "import "+closed+".ours").fails(l.notFound(), "ours")
		equal(t, "asked", l.questions(), []string{})
	}
}

// servesFiles tells whether the context's finder is the finder of files.
func (l *link) servesFiles() bool {
	l.t.Helper()
	return l.call("rt:evaluate", "'_mitogen_files' in sys.modules").value() == true
}

// withFiles makes a test run in a context whose finder is the finder of files, too.
func withFiles(run func(t *testing.T, l *link)) func(t *testing.T, l *link) {
	return func(t *testing.T, l *link) {
		l.call("rt:execute", "import _mitogen_files").value()
		l.fresh()
		run(t, l)
	}
}

func whyNotSent(t *testing.T, l *link) {
	const why = "it is an extension module"
	name := "fast"
	if l.servesFiles() { // each reason is told once in a context
		name = "swift"
	}
	in := func(source string) string { return strings.ReplaceAll(source, "fast", name) }
	l.bring(thirdPackage(in("fast"), ""), module(in("fast._ext"), "-"+why),
		module(in("fast._c"), "-"+why),
		third(in("fast.mod"), "from . import _ext\n"),
		third(in("fast.tried"), in("try:\n  from fast import _ext\n")+
			in("except ImportError:\n  try:\n    import fast._c\n  except ImportError:\n    raise\n")),
		third(in("fast.without"), "try:\n  from . import _ext\nexcept ImportError:\n  _ext = None\n"),
		third(in("fast.none"), "from . import nothing\n"),
		module(in("fast.nothing"), "-not in the search path"))
	kind := "ImportError"
	l.executing(first, in("import fast.mod")).fails(kind, in("fast._ext"), why)
	l.executing(first, in("import fast.mod")).fails(kind, in("fast._ext"), why)
	equal(t, "without", l.executing(first,
		in("import fast.without\nresult = fast.without._ext")).value(), nil)
	l.executing(first, in("import fast.tried")).fails(l.notFound(), in("fast._c"), why)
	l.executing(first, in("import fast.none")).fails("ImportError", "cannot import name", "nothing")
	const unfit = "its wheel is for something else"
	l.bring(module(in("fast.unfit"), "-x.so is an extension module, which can't be sent: "+unfit))
	l.executing(first, in("import fast.unfit")).fails(l.notFound(), "x.so is", unfit)
	l.executing(first, in("import fast.unfit")).fails(l.notFound(), unfit)
	if l.py.Major > 2 {
		again := l.executing(first, in("import fast._c")).fails(l.notFound(), in("fast._c"), "not sent")
		if strings.Contains(again.Text, why) {
			t.Errorf("said again: %q", again.Text)
		}
	}
}

func framesOfImports(t *testing.T, l *link) {
	if !l.py.AtLeast(3, 8) || l.py.Impl != "cpython" {
		t.Skip("it can't be left out there")
	}
	l.bring(thirdPackage("wreck", "x = 1\n"), third("wreck.fails", "def f():\n  1 / 0\nf()\n"),
		third("wreck.odd", "x = = 1\n"))
	for statement, want := range map[string]string{
		"import nowhere_else":  "1",
		"import wreck.nothing": "1",
		"import wreck.fails":   "3",
		"import wreck.odd":     "1",
	} {
		source := "import sys\nresult = ''\ntry:\n  " + statement +
			"\nexcept Exception:\n  import traceback\n" +
			"  result = str(len(traceback.extract_tb(sys.exc_info()[2])))\n"
		equal(t, "frames of "+statement, l.executing(first, source).value(), want)
	}
}
