package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
)

// placeUser does with the places of package carrier what it does with a directory that really
// holds the package: look(DIR) returns what is seen below DIR, by all the ways that there are.
const placeUser = `
import errno, glob, io, os, pkgutil, shutil, sys, tempfile, zipfile
import carrier.sub, space.part

def error(f, *args, **kw):
    try:
        f(*args, **kw)
    except EnvironmentError:
        e = sys.exc_info()[1]
        return type(e).__name__, e.errno, os.path.basename(str(getattr(e, 'filename', '')))
    except ValueError:
        return 'ValueError'
    return 'none'

def names(found):
    return sorted([n for n in found if n != '__pycache__'])

def pathlibs(root):
    try:
        import pathlib
    except ImportError:
        return []
    p = pathlib.Path(root)
    q = p / 'data' / 'a.bin'
    return [q.exists(), q.is_file(), q.is_dir(), (p / 'data').is_dir(), (p / 'none').exists(),
            q.read_bytes().hex(), (p / 'top.txt').read_text('utf-8'),
            names([x.name for x in p.iterdir()]),
            sorted([str(x)[len(root):] for x in p.glob('data/*')]),
            sorted([str(x)[len(root):] for x in p.rglob('*.txt')]),
            q.stat().st_size, q.open('rb').read(1).hex(), error((p / 'none').read_bytes),
            str((p / 'data' / '..' / 'top.txt').resolve())[len(os.path.realpath(root)):],
            p.joinpath('data').samefile(p / 'data')]

def walked(root):
    return sorted([(d[len(root):], names(dirs), names(files))
                   for d, dirs, files in os.walk(root) if '__pycache__' not in d])

def entries(root):
    if not hasattr(os, 'scandir'):
        return []
    it = os.scandir(root)
    return sorted([(e.name, e.is_dir(), e.is_file(), e.is_symlink(), e.stat().st_size * e.is_file(),
                    e.path[len(root):], os.fspath(e)[len(root):])
                   for e in it if e.name != '__pycache__'])

def copied(root):
    dir = tempfile.mkdtemp()
    try:
        shutil.copytree(root, dir + '/all', ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(root + '/top.txt', dir)
        shutil.copyfile(root + '/data/a.bin', dir + '/b')
        f = open(dir + '/all/data/more', 'w')
        f.close()
        os.remove(dir + '/all/data/more')
        z = zipfile.ZipFile(dir + '/z.zip', 'w')
        z.write(root + '/top.txt', 'top.txt')
        z.close()
        return (walked(dir + '/all'),
                os.path.getsize(dir + '/top.txt'), os.path.getsize(dir + '/b'),
                zipfile.ZipFile(dir + '/z.zip').read('top.txt').decode('utf-8'))
    finally:
        shutil.rmtree(dir)

def read(path, *args, **kw):
    f = open(path, *args, **kw)
    try:
        return f.read()
    finally:
        f.close()

def opened(root):
    fd = os.open(root + '/data/a.bin', os.O_RDONLY)
    data = os.read(fd, 100)
    os.close(fd)
    f = io.open(root + '/data/deep/b.txt')
    result = [data == b'\0\xff', f.read(), f.name[len(root):], os.fstat(f.fileno()).st_size]
    f.close()
    f = io.open(root + '/top.txt', 'rb', 0)
    result += [f.read(2), f.seek(0), len(f.read())]
    f.close()
    return result

def look(root):
    join = os.path.join
    result = [names(os.listdir(root)), walked(root), entries(root), copied(root), pathlibs(root)]
    result += [os.path.exists(join(root, n))
               for n in ('top.txt', 'none', 'data', 'data/none', 'top.txt/x')]
    result += [os.path.isfile(join(root, n)) for n in ('top.txt', 'none', 'data')]
    result += [os.path.isdir(join(root, n)) for n in ('top.txt', 'none', 'data', 'data/')]
    result += [os.path.getsize(join(root, n)) for n in ('data/a.bin', 'big.bin', '__init__.py')]
    result += [os.path.islink(join(root, 'data'))]
    result += [os.access(join(root, 'data'), os.R_OK), os.access(join(root, 'none'), os.R_OK),
               os.access(join(root, 'data'), os.X_OK)]
    result += [error(os.stat, join(root, 'none')), error(os.lstat, join(root, 'top.txt/x')),
               error(os.listdir, join(root, 'none')), error(os.listdir, join(root, 'top.txt'))]
    result += [error(open, join(root, 'none')), error(open, join(root, 'data')),
               error(os.readlink, join(root, 'top.txt')), error(os.mkdir, join(root, 'data'))]
    result += [read(join(root, 'top.txt'), 'rb'), read(join(root, 'data/../data/deep/b.txt')),
               len(read(join(root, 'big.bin'), 'rb'))]
    result += [names([p[len(root):] for p in glob.glob(join(root, '*.txt')) +
                      glob.glob(join(root, 'd*/*'))]),
               opened(root) if sys.version_info > (3,) else 0]
    result += [sorted([m[1:] for m in pkgutil.iter_modules([root])]),
               sorted([m[1:] for m in pkgutil.iter_modules([join(root, 'sub')])])]
    result += [os.path.samefile(root, join(root, 'data', '..')),
               os.stat(join(root, 'top.txt')).st_mode & 0xf1ff]
    return result

def both(real):
    place = os.path.dirname(carrier.__file__)
    a, b = look(place), look(real)
    return [place == carrier.__path__[0], place.startswith('/dev/null/'),
            carrier.sub.__file__.startswith(place),
            a == b and 'same' or [(x, y) for x, y in zip(a, b) if x != y]]

def refused():
    root = os.path.dirname(carrier.__file__)
    def code(f, *args):
        got = error(f, *args)
        return got[1] if isinstance(got, tuple) else got
    import subprocess
    return [code(open, root + '/new', 'w') == errno.EROFS,
            code(os.remove, root + '/top.txt') == errno.EROFS,
            code(os.rename, '/tmp/x', root + '/x') == errno.EROFS,
            code(os.mkdir, root + '/x') == errno.EROFS, code(os.chdir, root) == errno.EOPNOTSUPP,
            sys.version_info < (3, 4) or
            code(subprocess.call, ['cat', root + '/top.txt']) == errno.EOPNOTSUPP,
            code(open, root + '/../denied/secret.txt') == errno.ENOENT,
            code(open, root + '/../outside.txt') == errno.ENOENT,
            code(open, root + '/hidden/secret.md') == errno.ENOENT,
            'hidden' not in os.listdir(root),
            code(open, '/dev/null/etc/passwd') in (errno.ENOENT, errno.ENOTDIR),
            code(os.listdir, os.path.dirname(root)) == errno.EACCES,
            not os.path.isdir('/dev/null')]

def forked():
    root = os.path.dirname(carrier.__file__)
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                text = read(root + '/top.txt', 'rb')
                text += str(sorted(os.listdir(root + '/data'))).encode()
                text += str(os.path.exists(root + '/none')).encode()
                os.write(w, text)
            except BaseException:
                os.write(w, repr(sys.exc_info()[1]).encode())
        finally:
            os._exit(0)
    os.close(w)
    got = b''
    while 1:
        piece = os.read(r, 1000)
        if not piece:
            break
        got += piece
    os.waitpid(pid, 0)
    os.close(r)
    return got.decode('utf-8')

def threads():
    import threading
    root = os.path.dirname(carrier.__file__)
    got = []
    def one():
        got.append((len(os.listdir(root)) > 5, os.path.exists(root + '/none'),
                    len(read(root + '/big.bin', 'rb'))))
    all = [threading.Thread(target=one) for i in range(8)]
    for t in all: t.start()
    for t in all: t.join()
    return got == [(True, False, 2 ** 21)] * 8
`

// onDisk writes carrier to a directory, and returns the directory of its package.
func onDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range carrier() {
		if !strings.HasPrefix(name, "carrier/") || strings.HasPrefix(name, "carrier/hidden/") {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir + "/carrier"
}

// Programs find in the places of packages what they find in a directory, by whatever way they look.
func TestPlaces(t *testing.T) {
	real := onDisk(t)
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"placeuser.py": placeUser})},
			Packages: []fs.FS{carrier()}, Deny: []string{"denied", "carrier.hidden"}})
		c := connected(t, e, "local", o)
		text := mustCall[string](t, c, "placeuser:forked")
		if want := "grüß\n['a.bin', 'deep', 'notes']False"; text != want &&
			!strings.Contains(text, "a fork cannot ask") {
			t.Errorf("a fork sees %q, want %q", text, want)
		}
		got := mustCall[[]any](t, c, "placeuser:both", real)
		if fmt.Sprint(got) != "[true true true same]" {
			t.Errorf("here, and in a directory: %v", got)
		}
		for i, ok := range mustCall[[]bool](t, c, "placeuser:refused") {
			if !ok {
				t.Errorf("refused: %d is not so", i)
			}
		}
		if !mustCall[bool](t, c, "placeuser:threads") {
			t.Error("threads see something else")
		}
		before := c.Stats().RoundTrips
		mustCall[[]any](t, c, "placeuser:both", real)
		if n := c.Stats().RoundTrips - before; n > 1 {
			t.Errorf("%d round trips for what is known, want 1", n)
		}
	})
}

func mustCall[T any](t *testing.T, c *mitogen.Context, function string, args ...any) T {
	t.Helper()
	got, err := mitogen.Call[T](t.Context(), c, function, args...)
	if err != nil {
		t.Errorf("call %s: got error %v, want none", function, err)
	}
	return got
}

// lists has a script list its own directory, of which it is given a part, also by what passes over
// errors of the system. listsRefused is its output.
const (
	lists = `
import glob
def walk():
    for d in os.walk(here): print(d)
def told():
    def tell(e): sys.stdout.write(type(e).__name__[-5:] + ' is told\n')
    for d in os.walk(here, onerror=tell): print(d)
def globbed(): print(glob.glob(os.path.join(here, '*.json')))
def by_pathlib():
    import pathlib
    print(list(pathlib.Path(here).glob('*')))
all = [lambda: os.listdir(here), walk, told, globbed]
for f in all + [by_pathlib] * (sys.version_info > (3, 6)):
    try:
        f()
    except (OSError, RuntimeError):
        e = sys.exc_info()[1]
        sys.stdout.write('%s ' % (isinstance(e, OSError) and 'os' or 'other'))
        sys.stdout.write('%s\n' % ('in a directory that --serve names' in str(e)))
if sys.version_info < (3, 6): print('other True')
`
	listsRefused = "os True\nother True\nError is told\nother True\nother True\n"
)

// A script reads files beside it, by the names that it has for them.
func TestScriptPlace(t *testing.T) {
	const script = "import os, sys\nhere = os.path.dirname(os.path.abspath(__file__))\n" +
		"print(open(os.path.join(here, 'data.json')).read(), open(here + '/conf/app.ini').read(), " +
		"os.path.exists(os.path.join(here, 'none')),\n" +
		"      open(__file__).read().count('here') > 3)\n" +
		"for n in ('sec' + 'ret', '../x', '.env'):\n    print(os.path.exists(os.path.join(here, n)))\n" +
		"try:\n    os.listdir(os.path.join(here, 'more'))\n" +
		"except OSError:\n    print(sys.exc_info()[1].strerror[-22:])\n" + lists
	e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"script.py": script,
		"data.json":    "{}",
		"conf/app.ini": "[x]", "more/x.txt": "x", "secret": "secret", ".env": "secret"})}})
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		c := connected(t, e, "local", o)
		var out, errs strings.Builder
		status, err := c.Run(t.Context(),
			mitogen.Script{Name: "script.py", Source: []byte(script), Stdout: &out, Stderr: &errs})
		want := "{} [x] False True\nFalse\nFalse\nFalse\n--serve more gives all\n" + listsRefused
		if py2 := "('{}', '[x]', False, True)\nFalse\nFalse\nFalse\n--serve more gives all\n" +
			listsRefused; err != nil || status != 0 ||
			out.String() != want && out.String() != py2 {
			t.Errorf("status %d, %v\n%s%swant %s", status, err, out.String(), errs.String(), want)
		}
	})
}

// The modules of an own package can't be listed if the engine gives only some. A directory's names
// can, with a warning; and where all modules came, both can.
func TestOwnModulesListed(t *testing.T) {
	const script = "import os, pkgutil, sys, plugins, whole.one\n" +
		"print(sorted([n for n in os.listdir(plugins.__path__[0]) if n[-4:] == '.txt']))\n" +
		"print([m[1] for m in pkgutil.iter_modules(whole.__path__)])\n" +
		"try:\n    print(list(pkgutil.iter_modules(plugins.__path__)))\n" +
		"except OSError:\n    print(sys.exc_info()[1].strerror[-25:])\n"
	e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"script.py": script,
		"plugins/__init__.py": "", "plugins/a.txt": "", "plugins/one.py": "",
		"whole/__init__.py": "", "whole/one.py": ""})}})
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		c := connected(t, e, "local", o)
		var out, errs strings.Builder
		status, err := c.Run(t.Context(),
			mitogen.Script{Name: "script.py", Source: []byte(script), Stdout: &out, Stderr: &errs})
		const want = "['a.txt']\n['one']\n--serve plugins gives all\n"
		if got := out.String(); err != nil || status != 0 || got != want {
			t.Errorf("status %d, %v\n%s%swant %s", status, err, got, errs.String(), want)
		}
	})
}

// What uses no place costs nothing; what uses one is hooked before it runs.
func TestPlacesCostNothing(t *testing.T) {
	const plain = "import os\ndef f(): return os.stat.__module__\n"
	e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"plain.py": plain,
		"user.py": plain + "x = __file__\n"})}})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	if got := mustCall[string](t, c, "plain:f"); got != "posix" {
		t.Errorf("os.stat is of %s, want Python's own", got)
	}
	if got := mustCall[string](t, c, "user:f"); got == "posix" {
		t.Error("os.stat is Python's own in a program that mentions its __file__")
	}
	if s := c.Stats(); s.Files != 0 || s.Asked != 0 {
		t.Errorf("%d questions for files, %d for modules, want none", s.Files, s.Asked)
	}
}

// placeProgram prints what its threads, forks and workers see of packages that nothing has looked
// at.
const placeProgram = `
import os, sys, threading
import carrier.sub, space.part

def look(module, name):
    root = os.path.dirname(module.__file__)
    f = open(os.path.join(root, name), 'rb')
    size = len(f.read())
    f.close()
    names = [n for n in sorted(os.listdir(root)) if n[-4:] in ('.txt', '.bin')]
    return names, size, os.path.exists(root + '/none')

def sub(_=0): return look(carrier.sub, 'c.txt')
def big(_=0): return look(carrier, 'big.bin')
def part(_=0): return look(space.part, 'd.txt')

def forked(f):
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                os.write(w, str(f()).encode())
            except EnvironmentError:
                os.write(w, sys.exc_info()[1].strerror.encode())
        finally:
            os._exit(0)
    os.close(w)
    got = ''
    while 1:
        piece = os.read(r, 9999).decode()
        if not piece:
            break
        got += piece
    os.close(r)
    os.waitpid(pid, 0)
    return got

def say(name, value):
    sys.stdout.write('%s %s\n' % (name, value))
    sys.stdout.flush()

if __name__ == '__main__':
    say('fork', forked(part))
    say('of a fork', forked(lambda: forked(big)))
    got = []
    threads = [threading.Thread(target=lambda: got.append(sub())) for i in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    say('threads', got == [sub()] * 4 and sub())
    say('program', big())
    if sys.version_info > (3, 4):
        import multiprocessing
        for way in sys.argv[1:]:
            with multiprocessing.get_context(way).Pool(2) as pool:
                say(way, pool.map(sub, [0])[0])
                say(way, pool.map(big, [0])[0])
                say(way, pool.map(part, [0])[0])
`

// placed is a virtual environment's packages and a program of the user's own.
func placed(t *testing.T, program string) *mitogen.Engine {
	return engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"program.py": program})},
		Packages: []fs.FS{carrier()}})
}

// runs runs a script, and returns what it has written.
func runs(t *testing.T, c *mitogen.Context, script string, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	status, err := c.Run(t.Context(), mitogen.Script{Name: "program.py", Args: args,
		Source: []byte(script), Stdout: &out, Stderr: &errs})
	if err != nil || status != 0 {
		t.Errorf("status %d, %v\n%s", status, err, errs.String())
	}
	return out.String()
}

// A program, its threads, its forks and the workers that it starts see the same places, whichever
// asks first.
func TestPlacesInPrograms(t *testing.T) {
	const sub, big, part = "(['c.txt'], 1, False)", "(['big.bin', 'top.txt'], 2097152, False)",
		"(['d.txt'], 1, False)"
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		c := connected(t, placed(t, placeProgram), "local", o)
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v := info.Version
		forks := fmt.Sprintf("fork %s\nof a fork %s\n", part, big)
		if v[0] == 2 {
			const cannot = "a fork cannot ask for files here"
			forks = fmt.Sprintf("fork %s\nof a fork %[1]s\n", cannot)
		}
		want := fmt.Sprintf("%sthreads %s\nprogram %s\n", forks, sub, big)
		ways := []string{"fork", "spawn", "forkserver"}
		for _, way := range ways {
			if v[0] > 2 {
				want += fmt.Sprintf("%s %s\n%[1]s %[3]s\n%[1]s %[4]s\n", way, sub, big, part)
			}
		}
		if got := runs(t, c, placeProgram, ways...); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// A program that ends while an answer is on its way holds up nothing that comes after it.
func TestProgramEndsBeforeAnswers(t *testing.T) {
	const early = "import os, sys, carrier\nsize = " +
		"os.path.getsize(os.path.dirname(carrier.__file__) + '/big.bin')\n" +
		"files = sys.modules['_mitogen_files']\nfor i in range(3):\n" +
		"    files.ask('r', 'carrier', 'big.bin')\nos._exit(0)\n"
	const late = "import os, carrier\nprint(len(open(os.path.dirname(carrier.__file__) + " +
		"'/big.bin', 'rb').read()))\n"
	c := connected(t, placed(t, late), "local", mitogen.ConnectOptions{})
	for range 2 {
		runs(t, c, early)
		if got := runs(t, c, late); got != "2097152\n" {
			t.Errorf("got %q, want the size of the file", got)
		}
	}
}

// A program that looks for many modules which a package lacks learns that from the package's
// outline.
func TestOutlineTellsWhatIsMissing(t *testing.T) {
	const seeker = "import importlib, many\nx = many.__file__\ndef f(pkg, n):\n    missing = 0\n" +
		"    for i in range(n):\n        try:\n            importlib.import_module('%s.x%d' % (pkg, " +
		"i))\n        except ImportError:\n            missing += 1\n    return missing\n"
	files := map[string]string{"many/__init__.py": "", "many/x3.py": "", "many/x5/__init__.py": "",
		"many/sub/__init__.py": "", "many/sub/x1.py": ""}
	e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"seeker.py": seeker})},
		Packages: []fs.FS{mapFS(files)}})
	c := connected(t, e, "local", mitogen.ConnectOptions{})
	for pkg, want := range map[string]int{"many": 38, "many.sub": 39} {
		if got := mustCall[int](t, c, "seeker:f", pkg, 40); got != want {
			t.Errorf("%s: %d modules are missing, want %d", pkg, got, want)
		}
	}
	if n := c.Stats().Asked; n > 10 { // of 80: some are asked before the outline comes
		t.Errorf("%d questions, want few", n)
	}
}
