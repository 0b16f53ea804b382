package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// carrier is a package with data, and its metadata.
func carrier() fstest.MapFS {
	return mapFS(map[string]string{
		"carrier/__init__.py":      "VALUE = 1\n",
		"carrier/mod.py":           "# comment\n\ndef f():\n    return 1\n",
		"carrier/top.txt":          "grüß\n",
		"carrier/data/a.bin":       "\x00\xff",
		"carrier/data/deep/b.txt":  "b",
		"carrier/data/notes":       "n",
		"carrier/big.bin":          strings.Repeat("0123456789abcdef", 1<<17), // more than a window
		"carrier/sub/__init__.py":  "",
		"carrier/sub/c.txt":        "c",
		"carrier/sub/inner.py":     "",
		"carrier/plain/x.txt":      "x",
		"carrier/hidden/secret.py": "x = 1",
		"carrier/hidden/secret.md": "secret",
		"space/part/__init__.py":   "",
		"space/part/d.txt":         "d",
		"outside.txt":              "outside",
		"denied/__init__.py":       "",
		"denied/secret.txt":        "secret",

		"Carrier_Thing-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: Carrier.Thing\n" +
			"Version: 1.2\nRequires-Dist: other\n\nText\n",
		"Carrier_Thing-1.2.dist-info/entry_points.txt": "[console_scripts]\ncarry = carrier.mod:f\n\n" +
			"[carrier.plugins]\none = carrier:VALUE\n",
		"Carrier_Thing-1.2.dist-info/RECORD": "carrier/__init__.py,,\ncarrier/top.txt,,\n",
		"denied-3.dist-info/METADATA":        "Metadata-Version: 2.1\nName: denied\nVersion: 3\n",
	})
}

// fileUser uses it. Each function returns what must be true.
const fileUser = `
import errno, inspect, linecache, os, pkgutil, sys
import carrier.mod, carrier.sub, space.part
import _mitogen as core

def fails(f, *args):
    try:
        f(*args)
    except IOError:
        return sys.exc_info()[1].errno in (errno.ENOENT, errno.EISDIR)
    return False

def get_data():
    big = pkgutil.get_data('carrier', 'big.bin')
    return [pkgutil.get_data('carrier', 'top.txt').decode('utf-8') == u'gr\xfc\xdf\n',
            pkgutil.get_data('carrier', 'data/a.bin') == b'\0\xff',
            pkgutil.get_data('carrier.sub', 'c.txt') == b'c',
            pkgutil.get_data('space.part', 'd.txt') == b'd',
            len(big) == 2 ** 21 and big[-16:] == b'0123456789abcdef',
            pkgutil.get_data('carrier', 'mod.py') == b'# comment\n\ndef f():\n    return 1\n',
            fails(pkgutil.get_data, 'carrier', 'data/none'),
            fails(pkgutil.get_data, 'carrier', 'data'),
            fails(carrier.__loader__.get_data, '/etc/passwd')]

def policy():
    files = sys.modules['_mitogen_files']
    def read(package, path):
        return files.answer(files.ask('r', package, path), path)
    return [fails(read, *a) for a in [
        ('denied', 'secret.txt'), ('carrier', 'hidden/secret.md'), ('carrier', 'hidden'),
        ('carrier.hidden', 'secret.md'), ('carrier', '../outside.txt'),
        ('carrier', '../denied/secret.txt'), ('carrier', '/etc/passwd'), ('carrier', ''),
        ('carrier', '.'), ('carrier', 'data/../top.txt'),
        ('carrier', 'data//a.bin'), ('carrier', 'data\\a.bin'), ('carrier', 'top.txt\0x'),
        ('', 'outside.txt'), ('.', 'outside.txt'), ('..', 'x'), ('carrier/..', 'outside.txt'),
        ('nowhere', 'x'), ('mitogen', 'x'), ('carrier', 'x' * 5000)] if a[1] != 'x' * 5000]

def source():
    lines = inspect.getsource(carrier.mod.f)
    return [lines == 'def f():\n    return 1\n',
            linecache.getline(carrier.mod.__file__, 4) == '    return 1\n',
            inspect.getsourcefile(carrier.mod) == carrier.mod.__file__,
            pkgutil.find_loader('carrier.mod').get_source('carrier.mod').count('\n') >= 4
            if hasattr(pkgutil, 'find_loader') else True]

def modules():
    return [[m[1:] for m in pkgutil.iter_modules(carrier.__path__, 'carrier.')] ==
            [('carrier.mod', False), ('carrier.sub', True)],
            sorted(m[1] for m in pkgutil.walk_packages(carrier.__path__, 'carrier.')) ==
            ['carrier.mod', 'carrier.sub', 'carrier.sub.inner'],
            [m[1] for m in pkgutil.iter_modules(space.__path__)] == ['part']]

def old_resources():
    if sys.version_info < (3, 7):
        return []
    import warnings
    warnings.simplefilter('ignore')
    import importlib.resources as r
    with r.path('carrier', 'top.txt') as p:
        text = open(str(p), encoding='utf-8').read()
    result = [r.read_text('carrier', 'top.txt') == u'gr\xfc\xdf\n',
              r.read_binary('carrier.sub', 'c.txt') == b'c', text == u'gr\xfc\xdf\n',
              sys.version_info < (3, 9) or not os.path.exists(str(p)),
              r.open_binary(carrier, 'top.txt').read(2) == b'gr',
              r.open_text('carrier', 'top.txt').read(2) == 'gr',
              r.is_resource('carrier', 'top.txt'), not r.is_resource('carrier', 'data'),
              not r.is_resource('carrier', 'none')]
    return result + ['top.txt' in list(r.contents('carrier')),
                     'data' in list(r.contents('carrier')),
                     'hidden' not in list(r.contents('carrier'))]

def new_resources():
    if sys.version_info < (3, 9):
        return []
    import importlib.resources as r
    root = r.files('carrier')
    with r.as_file(root / 'data' / 'a.bin') as p:
        data = open(str(p), 'rb').read()
    result = [root.joinpath('top.txt').read_text('utf-8') == u'gr\xfc\xdf\n',
              (root / 'data' / 'deep' / 'b.txt').read_bytes() == b'b', data == b'\0\xff',
              sorted(p.name for p in (root / 'data').iterdir()) == ['a.bin', 'deep', 'notes'],
              (root / 'data').is_dir(), not (root / 'data').is_file(),
              (root / 'top.txt').is_file(), not (root / 'none').is_file(),
              not (root / 'none').is_dir(), fails((root / 'none').read_bytes),
              r.files('space.part').joinpath('d.txt').read_text() == 'd',
              r.files(carrier.sub).joinpath('c.txt').open('rb').read() == b'c',
              (root / 'top.txt').name == 'top.txt']
    if sys.version_info >= (3, 12):
        with r.as_file(root / 'data') as p:
            result.append(open(str(p / 'deep' / 'b.txt')).read() == 'b')
    if sys.version_info >= (3, 10):
        result.append(r.files('space').joinpath('part').joinpath('d.txt').read_text() == 'd')
    return result

def metadata():
    if sys.version_info < (3, 8):
        return []
    import importlib.metadata as m
    def none(name):
        try:
            m.version(name)
        except m.PackageNotFoundError:
            return True
    points = m.entry_points()
    if hasattr(points, 'select'):
        plugins = list(points.select(group='carrier.plugins'))
    else:
        plugins = list(points['carrier.plugins'])
    return [m.version('carrier.thing') == '1.2', m.version('Carrier-Thing') == '1.2',
            m.metadata('carrier-thing')['Name'] == 'Carrier.Thing',
            m.requires('carrier_thing') == ['other'],
            [str(f) for f in m.files('carrier-thing')] ==
            ['carrier/__init__.py', 'carrier/top.txt'],
            len(plugins) == 1 and plugins[0].load() == 1,
            none('denied'), none('not-there'), none('../carrier'),
            m.files('carrier-thing')[1].read_text() == u'gr\xfc\xdf\n',
            'Carrier.Thing' in [d.metadata['Name'] for d in m.distributions()]]

def forked():
    core.IMPORTER.get_data
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                os.write(w, pkgutil.get_data('carrier', 'top.txt'))
            except EnvironmentError:
                os.write(w, str(sys.exc_info()[1]).encode())
        finally:
            os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    return [os.read(r, 1000) in (b'gr\xc3\xbc\xc3\x9f\n',
                                 b'[Errno 95] a fork cannot ask for files here')]
`

// What packages have beside modules is to be had too, and nothing else.
func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		user := pylink.Translate(boot.Table(), fileUser)
		e := engine(t, mitogen.Options{
			Path:     []fs.FS{mapFS(map[string]string{"fileuser.py": user})},
			Packages: []fs.FS{carrier()}, Deny: []string{"denied", "carrier.hidden"}})
		c := connected(t, e, "local", o)
		defer func() {
			if s := c.Stats(); s.Files < 20 {
				t.Errorf("%d requests for files", s.Files)
			}
		}()
		for _, function := range []string{"get_data", "policy", "source", "modules", "old_resources",
			"new_resources", "metadata", "forked"} {
			got, err := mitogen.Call[[]bool](t.Context(), c, "fileuser:"+function)
			if err != nil {
				t.Errorf("call fileuser:%s: got error %v, want none", function, err)
			}
			for i, ok := range got {
				if !ok {
					t.Errorf("%s: %d is not so", function, i)
				}
			}
		}
	})
}

// What a package reads when it is imported goes along with it.
func TestFilesGoAlong(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"app.py": "import holder\n" +
			"def f(): return holder.DATA\n"})},
			Packages: []fs.FS{mapFS(map[string]string{"holder/data/a.txt": "4711",
				"holder/__init__.py": "import pkgutil\nDATA = int(pkgutil.get_data('holder', 'data/a.txt'))\n" +
					"try:\n    from importlib.resources import as_file, files\nexcept ImportError:\n    pass\n" +
					"else:\n    with as_file(files('holder').joinpath('data/a.txt')) as p: DATA = " +
					"int(open(str(p)).read())\n"})}})
		c := connected(t, e, "local", o)
		if n := ask(t, c, "app:f", 4711); n != 2 {
			t.Error(n, "round trips")
		}
		if s := c.Stats(); s.Files != 0 || s.Asked != 0 {
			t.Errorf("%d requests for files, %d for modules", s.Files, s.Asked)
		}
	})
}

// Links are followed while they stay in the package. The target sees none of the files.
func TestLinkedFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"secret.txt": "secret", "site/pkg/__init__.py": "",
		"site/pkg/data/a.txt": "a", "site/other/x.txt": "x"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"site/pkg/in.txt": "data/a.txt", "site/pkg/data/up": "..",
		"site/pkg/out.txt": "../../secret.txt", "site/pkg/next": "../other",
		"site/pkg/abs": filepath.Join(dir, "secret.txt"), "site/pkg/loop": "loop",
		"site/pkg/outdir": "../.."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	const user = "import pkgutil, pkg\ndef get(path):\n    try:\n" +
		"        return pkgutil.get_data('pkg', path).decode()\n    except IOError:\n        return ''\n"
	e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"user.py": user})},
		Packages: []fs.FS{os.DirFS(filepath.Join(dir, "site"))}})
	c := connected(t, e, "local", mitogen.ConnectOptions{Options: connect.Options{Python: []string{
		testpython.Blind(t, dir) +
			"python3"}}})
	for path, want := range map[string]string{"data/a.txt": "a", "in.txt": "a",
		"data/up/data/a.txt": "", "out.txt": "", "next/x.txt": "", "abs": "", "loop": "",
		"outdir/secret.txt": "", "data/up/out.txt": "", "data/up/../secret.txt": ""} {
		if got, err := mitogen.Call[string](t.Context(), c, "user:get", path); err != nil || got != want {
			t.Errorf("get %s: got %q, %v; want %q", path, got, err, want)
		}
	}
}
