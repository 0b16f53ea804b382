package runtimetest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// loading begins a program that has native.py as a worker has it, and bytes of extension modules of
// its own interpreter by name.
const loading = `
import glob, os, re, sys
place = os.path.dirname(sys.argv[1])
SOURCE = '\n'.join([open(os.path.join(place, n)).read() for n in ('memory.py', 'native.py')])
SOURCE = re.sub(r'(?m)^from _mitogen import ([(][^)]*[)]|.*)', '', SOURCE)   # as the linker does
exec(compile(SOURCE, 'native.py', 'exec'))
suffix = [s for s in extension_suffixes()]
import _struct, zlib
places = [p for p in sys.path if p.endswith('lib-dynload')]
files = {}
for f in sorted(glob.glob(places[0] + '/*.so')):
    name = os.path.basename(f).split('.')[0]
    if name.endswith('module'):
        name = name[:-6]
    files[name] = f
names = [n for n in ('_json', '_heapq', '_bisect', '_csv', '_random', 'audioop', '_queue',
                     '_lsprof', '_multiprocessing', '_posixshmem', '_uuid', '_asyncio')
         if n in files][:5]
def text(name):
    return '\0'.encode() + open(files[name], 'rb').read()
TEXT_OF.append(text)
def load(name):
    sys.modules.pop(name, None)
    if sys.version_info < (3,):
        import imp
        m = load_native(name, '/shown/' + name, lambda path: imp.load_dynamic(name, path))
    else:
        import importlib.util
        spec = native_spec(name, '/shown/%s.so' % name)
        m = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(m)
        assert m.__file__ == spec.origin == '/shown/%s.so' % name, (m.__file__, spec.origin)
        assert type(spec.loader).__mro__[1].__name__ == 'ExtensionFileLoader'
    return m
def descriptors():
    links = ['/proc/self/fd/' + n for n in os.listdir('/proc/self/fd')]
    return len([n for n in links if os.path.lexists(n) and 'libffi' not in os.readlink(n)])
`

// inContext goes on with native.py as a context has it, which keeps the bundle of a and b, and not
// the bundle of c.
const inContext = `
calls = []
def unpack_bundle(id, payloads):
    calls.append(id)
    return [dict([(n, ('x', '', ('of ' + n).encode(), 1, 'x', id)) for n in payloads])]
MODULES = {}
for n, letter, id in (('a', 'x', 'kept'), ('b', 'l', 'kept'), ('c', 'x', 'gone')):
    MODULES[n] = letter, '/' + n, ('of ' + n).encode(), 1, letter, id
KEPT = {'kept': ['a', 'b']}
ctx = {'MODULES': MODULES, 'KEPT': KEPT, 'EMPTY': ''.encode(), 'unpacked': lambda m: m[2],
       'unpack_bundle': unpack_bundle, 'PY3': True}
exec(compile(SOURCE, 'native.py', 'exec'), ctx)
`

// TestNativeLoading loads extension modules of the interpreter from memory.
func TestNativeLoading(t *testing.T) {
	for name, tt := range map[string]struct{ program, want string }{
		"several": {`
before = descriptors()
got = [dir(load(n)) for n in names]
print(len(names) > 2 and len(set([str(g) for g in got])) == len(names) and
      descriptors() == before)`, "True"},
		"again and again": {`
first = load(names[0])
before = descriptors()
for i in range(200):
    m = load(names[0])
    assert dir(m) == dir(first), (dir(m), dir(first))
maps = open('/proc/self/maps').read()
print(descriptors() == before and maps.count('memfd:mitogen') < 12)`, "True"},
		"no name anywhere": {`
load(names[0])
mine = [l for l in open('/proc/self/maps') if 'mitogen' in l]
print(str((len(mine) > 0, [l for l in mine if not l.endswith('(deleted)\n')])))`, "(True, [])"},
		"no memfd": {`
def memfd():
    raise OSError(38, 'Function not implemented')
before = descriptors()
m = load(names[0])
print(m is not None and descriptors() == before and '(deleted)' in open('/proc/self/maps').read())`,
			"True"},
		"neither": {`
def memfd():
    raise OSError(38, 'Function not implemented')
def shared_memory():
    raise OSError('/dev/shm is no memory to execute from')
try:
    load(names[0])
except ImportError:
    print(str(sys.exc_info()[1]))`,
			"no file in memory can be made here: [Errno 38] Function not implemented; /dev/shm is no " +
				"memory to execute from"},
		"not executable": {`
def in_memory(data, pos=0):
    return os.open(sys.argv[2], os.O_RDONLY)
try:
    load(names[0])
except ImportError:
    e = str(sys.exc_info()[1])
    print(e.startswith('/shown/') and 'cannot be loaded from memory: ' in e and 'proc' not in e)`,
			"True"},
		"not loaded, twice": {`
def bytes_of(name):
    needing = [n for n in names if 'libc.so.6' in open(files[n], 'rb').read().decode('latin-1')]
    data = open(files[(needing + names)[0]], 'rb').read()
    if name == 'broken':
        data = open(sys.argv[2], 'rb').read()
    elif name == 'short':
        data = data[:200]
    elif name == 'needs':
        data = data.replace('libc.so.6\0'.encode(), 'libq.so.6\0'.encode())
    return '\0'.encode() + data
TEXT_OF[:] = [bytes_of]
before = descriptors()
got = []
for name in ['broken', 'short', 'other'] + ['needs'] * ('libq'.encode() in bytes_of('needs')):
    for again in (0, 1, 2):
        try:
            load(name)
        except ImportError:
            got.append(str(sys.exc_info()[1]))
    assert len(got) == 3 and got[0] == got[1] == got[2], got
    assert 'proc' not in got[0], got
    text = 'dynamic module does not define'
    if name != 'other':
        text = '/shown/%s.so cannot be loaded from memory: ' % name
        if sys.version_info < (3,):
            text = text.replace('.so ', ' ')
    assert got.pop().startswith(text), got
    del got[:]
# The loader has the bytes of the one whose own code has failed, once.
addresses = [l for l in open('/proc/self/maps') if 'mitogen' in l and ' 00000000 ' in l]
print(str((descriptors() - before, len(addresses), sorted(NATIVE_PATHS))))`, "(0, 1, ['other'])"},
		"paths are never used again": {`
before = [path_of(7)]
for name in ('broken', names[0], 'broken', names[1]):
    TEXT_OF[:] = [name == 'broken' and (lambda n: '\0x'.encode()) or text]
    try:
        load(name)
    except ImportError:
        pass
    before.append(path_of(7))
print(len(set(before)) == len(before) == 5)`, "True"},
		"in a fork": {`
load(names[0])
pid = os.fork()
if not pid:
    load(names[0]); load(names[1])
    os._exit(7)
print(os.waitpid(pid, 0)[1] >> 8)`, "7"},
		"by number": {`
memfd_before = memfd
def memfd():
    return memfd_by_number('mitogen', 1)
m = load(names[0])
print('memfd:mitogen' in open('/proc/self/maps').read())`, "True"},
		"no library": {`
files['/d/lib.so'] = sys.argv[2]
TEXT_OF[:] = [lambda name: open(files[name], 'rb').read()]
before = descriptors()
got = []
for name in ('/d/lib.so', '/d/lib.so', '/gone.so'):
    try:
        load_library(name)
    except ImportError:
        got.append(str(sys.exc_info()[1]))
assert descriptors() == before and not LIBRARIES and 'proc' not in str(got), got
print([g.split(':')[0] for g in got])`,
			"['d/lib.so cannot be loaded from memory', 'd/lib.so cannot be loaded from memory', " +
				"'/gone.so cannot be loaded']"},
		"O_TMPFILE": {`
code = SOURCE
got = []
for number in (0, 1):
    os.O_DIRECTORY = int('40000', 8)
    if number:
        os.O_TMPFILE = 7
    elif hasattr(os, 'O_TMPFILE'):
        del os.O_TMPFILE
    g = {}
    exec(compile(code, 'native.py', 'exec'), g)
    got.append(oct(g['NO_NAME']).lstrip('0o'))
print(got)`, "['20040000', '7']"},
		"files with any bytes": {`
import io
place = os.path.dirname(sys.argv[2])
odd = '/home/'.encode() + bytes(bytearray([255]))
def write(name, data):
    f = io.open(place + name, 'wb')
    f.write(data)
    f.close()
write('/ld-musl-x.so', 'x\0001.2.30\000'.encode())
write('/maps', odd + ' 7 r-xp /x.so\n7 r-xp '.encode() + (place + '/ld-musl-x.so\n').encode())
write('/mounts', 'none '.encode() + odd + ' tmpfs rw 0 0\n'.encode())
def open(name, mode='r'):
    if hasattr(name, 'encode') and name[:11] == '/proc/self/':
        return io.open(place + name[10:], mode)
    return io.open(name, mode)
got = [str(musl_version())]
try:
    shared_memory()
except OSError:
    got.append(str(sys.exc_info()[1]))
print(got)`, "['1.2.30', '/dev/shm is no memory to execute from']"},
		"kept bundles": {inContext + `
got = [sorted(ctx['all_natives']().items()), calls]
ctx['TEXT_OF'][0]('a'), ctx['TEXT_OF'][0]('b'), ctx['TEXT_OF'][0]('c')
empty = [n for n in sorted(MODULES) if not MODULES[n][2]]
assert empty == ['a', 'b'], empty
assert ctx['TEXT_OF'][0]('a') == 'of a'.encode() and ctx['TEXT_OF'][0]('c') == 'of c'.encode()
del calls[:]
all = ctx['all_natives']()
assert calls == ['kept'] and sorted(all) == ['a', 'b', 'c'], (all, calls)
assert all['b'] == 'of b'.encode(), all
del KEPT['kept']
all = ctx['all_natives']()
assert sorted(all) == ['c'], all
for do in (ctx['load_library'], lambda name: ctx['load_native'](name, name, None)):
    for name in ('a', 'z'):
        try:
            do(name)
        except ImportError:
            print(str(sys.exc_info()[1]))`,
			"a cannot be loaded: its bytes are not here, or not any more\nz cannot be loaded: its bytes " +
				"are not here, " +
				"or not any more\na cannot be loaded: its bytes are not here, or not any more\nz cannot be " +
				"loaded: its bytes are not here, or not any more"},
		"workers": {inContext + `
core = type(sys)('_mitogen')
core.__dict__.update(ctx)
core.native = lambda b: b.decode()
sys.modules['_mitogen'] = core
w = {'__name__': '_mitogen_worker'}
exec(compile(open(os.path.dirname(sys.argv[1]) + '/worker.py').read(), 'worker.py', 'exec'), w)
w['text_of'] = lambda core, name: ''
first = w['collect']()['modules']
assert not calls and [n for n in MODULES if not MODULES[n][2]] == [], calls
ctx['TEXT_OF'][0]('a')
ctx['TEXT_OF'][0]('b')
assert w['collect']()['modules'] == first and calls == ['kept'], calls
print([(n, first[n][0], first[n][2].decode()) for n in sorted(first)] ==
      [('a', 'x', 'of a'), ('b', 'l', 'of b'), ('c', 'x', 'of c')])`, "True"},
		"words": {`
f = tags().decode().split()
print(len(f) == 9 and f[0][:6] == '=linux' and f[6] in ('glibc', 'musl') and
      f[8].split(',') == suffix)`, "True"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range testpython.Sample(t.Name()) {
				if p.Impl != "cpython" || p.Major == 3 && p.Minor < 5 {
					continue
				}
				noELF := t.TempDir() + "/text"
				if err := os.WriteFile(noELF, []byte("text"), 0o600); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(p.Path, "-c", loading+tt.program, "../../python/native.py",
					noELF).CombinedOutput()
				if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
					t.Errorf("%s: got %v, %s, want %s", p.Name(), err, got, tt.want)
				}
			}
		})
	}
}
