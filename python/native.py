"""Tells which extension modules this interpreter takes, and loads them from memory. Sent as
`_mitogen_native`.

Runs in the namespace of the core, after forward.py, and in one of its own in workers (worker.py). A
module's bytes are put in a file that has no name, and loaded by the name of its descriptor: nothing
is written to a disk.
"""
from _mitogen import (EMPTY, Importer, KEPT, MODULES, NO_NAME, PY3, imp, memory_file, unpack_bundle,
    unpacked)
import os
import sys

TEXT_OF = []        # the function that returns the bytes of an extension module or library
LIBRARIES = {}      # name: library, once it is loaded
NATIVE_PATHS = {}   # name of a module: path that it was loaded from
PATHS_MADE = [0]


def tags():
    """What extension modules have to fit, in the words of docs/protocol/wire.md, section 3."""
    implementation = getattr(getattr(sys, 'implementation', None), 'name', None)
    if not implementation:
        implementation = hasattr(sys, 'pypy_version_info') and 'pypy' or 'cpython'
    wide = sys.maxunicode > 65535 and 'wide' or 'narrow'
    bits = getattr(sys, 'maxsize', 0) > 1 << 32 and '64' or '32'
    words = [sys.platform, implementation, '%d.%d' % sys.version_info[:2], wide, os.uname()[4],
             bits]
    words.extend(c_library())
    words.append(','.join(extension_suffixes()))
    return ('=' + ' '.join(words)).encode()


def extension_suffixes():
    if '_imp' in sys.modules:
        return sys.modules['_imp'].extension_suffixes()
    return [s[0] for s in __import__('imp').get_suffixes() if s[2] == 3]


def c_library():
    """Name and version of the C library."""
    try:
        # CS_GNU_LIBC_VERSION, which Python 2 has no name of
        name, version = os.confstr(2).split()[:2]
        if name == 'glibc':
            return name, version
    except (AttributeError, ValueError, OSError):
        pass
    try:
        return 'musl', musl_version()
    except (IOError, OSError, IndexError):
        return '-', '-'


def musl_version():
    """The version that stands in musl's loader."""
    f = open('/proc/self/maps', 'rb')
    try:
        loader = [l.split()[-1] for l in f.readlines() if '/ld-musl-'.encode() in l][0]
    finally:
        f.close()
    f = open(loader, 'rb')
    try:
        words = f.read().decode('latin-1').split('\0')
    finally:
        f.close()
    return [w for w in words if w[:2] == '1.' and len(w) < 9 and w.replace('.', '').isdigit()][0]


# Memory


def in_memory(data, pos=0):
    """A descriptor of a file without a name that has data, from pos on."""
    fd = unnamed()
    try:
        while pos < len(data):
            pos += os.write(fd, data[pos:pos + 1048576])
    except:
        os.close(fd)
        raise
    return fd


def unnamed():
    wrong = []
    for create in (memfd, shared_memory):
        try:
            return create()
        except (OSError, IOError, AttributeError, KeyError, ImportError):
            wrong.append(str(sys.exc_info()[1]))
    raise ImportError('no file in memory can be made here: ' + '; '.join(wrong))


def memfd():
    # MFD_CLOEXEC, MFD_NOEXEC_SEAL: it won't be executed as a program; the latter from Linux 6.3 on
    return memory_file((9, 1))


def shared_memory():
    """Where the kernel makes no memfd: /dev/shm, if that is memory and may be executed from."""
    f = open('/proc/self/mounts', 'rb')
    try:
        mounts = [l.decode('latin-1').split() for l in f.readlines()]
    finally:
        f.close()
    mine = [m for m in mounts if m[1] == '/dev/shm'][-1:]
    if not mine or mine[0][2] != 'tmpfs' or 'noexec' in mine[0][3].split(','):
        raise OSError('/dev/shm is no memory to execute from')
    return os.open('/dev/shm', NO_NAME | os.O_RDWR | getattr(os, 'O_CLOEXEC', 0), 384)


def path_of(fd):
    """A path of fd that none was loaded from before: the dynamic loader knows files by their paths,
    and the numbers of descriptors come again."""
    n = PATHS_MADE[0] = PATHS_MADE[0] + 1
    unique = ''
    while n:
        unique += ('/.', '//.')[n & 1]
        n = n >> 1
    return '/proc/self/fd%s/%d' % (unique, fd)


def let_go(fd):
    """Close what is loaded, where the loader finds it again without opening it."""
    if c_library()[0] == 'glibc':
        os.close(fd)


# Loading


def text_of(name):
    try:
        return TEXT_OF[0](name)
    except KeyError:
        raise ImportError('%s cannot be loaded: its bytes are not here, or not any more' % name)


def load_library(name):
    if name not in LIBRARIES:
        import ctypes
        fd = in_memory(text_of(name))
        path = path_of(fd)
        try:
            LIBRARIES[name] = ctypes.CDLL(path)
        except OSError:
            os.close(fd)
            raise not_loaded(name.lstrip('/'), path)
        let_go(fd)


def not_loaded(shown, path):
    """The error for what the dynamic loader has just refused."""
    why = str(sys.exc_info()[1]).replace(path, '').lstrip(': ')
    return ImportError('%s cannot be loaded from memory: %s' % (shown, why))


def is_mapped(fd):
    """True if the dynamic loader has taken a file."""
    st = os.fstat(fd)
    device = os.major(st.st_dev), os.minor(st.st_dev)   # subset: ok, these are old
    mark = '%02x:%02x %d ' % (device + (st.st_ino,))
    f = open('/proc/self/maps', 'rb')
    try:
        return mark.encode() in f.read()
    finally:
        f.close()


def load_native(name, shown, load):
    """The value of load(path), with path leading to extension module name, which errors call
    shown."""
    if name in NATIVE_PATHS:
        return load(NATIVE_PATHS[name])     # imported again: the loader has it
    data = text_of(name)
    start = data.index('\0'.encode())
    for n in data[:start].decode().split('\n'):
        if n:
            load_library(n)
    fd = in_memory(data, start + 1)
    del data
    path = NATIVE_PATHS[name] = path_of(fd)
    try:
        module = load(path)
    except:
        if is_mapped(fd):       # it is the module's own code that has failed
            let_go(fd)
            raise
        del NATIVE_PATHS[name]  # nothing was loaded from there
        os.close(fd)
        if isinstance(sys.exc_info()[1], ImportError):
            raise not_loaded(shown, path)
        raise
    let_go(fd)
    return module


class NativeLoader(getattr(sys.modules.get('_frozen_importlib_external'), 'ExtensionFileLoader',
                           object)):
    """Loads one extension module. path is its place, below /dev/null."""

    def create_module(self, spec):
        def create(path):
            spec.origin = path
            try:
                return sys.modules['_imp'].create_dynamic(spec)
            finally:
                spec.origin = self.path
        return load_native(self.name, self.path, create)    # spec may have another name for it

    def exec_module(self, module):
        module.__file__ = self.path
        sys.modules['_imp'].exec_dynamic(module)


def native_package(path):
    """The directory of the package that an extension module is, or None."""
    if os.path.basename(path)[:9] == '__init__.':
        return os.path.dirname(path)


def native_spec(name, path):
    import _frozen_importlib as b   # subset: ok, from 3.4 on
    spec = b.ModuleSpec(name, NativeLoader(name, path), origin=path)
    if native_package(path):
        spec.submodule_search_locations = [native_package(path)]
    spec.has_location = True
    return spec


# In a context


def native_bytes(name):
    """The bytes that came. They aren't held twice: where their bundle is kept, they are in that
    alone from now on."""
    m = MODULES[name]
    data = unpacked(m) or kept_natives(m[5])[name]
    if m[5:] and m[5] in KEPT:
        MODULES[name] = m[:2] + (EMPTY,) + m[3:]
    return data


def kept_natives(id):
    """{name: bytes} of what is in a bundle, if that is kept."""
    found = {}
    for g in unpack_bundle(id, KEPT[id]):
        for name in g:
            found[name] = g[name][2]
    return found


def all_natives():
    """{name: bytes} of all extension modules and libraries whose bytes are here."""
    found = {}
    lacking = {}    # id of a bundle: names
    for name, m in list(MODULES.items()):
        if m[0] in 'xl':
            found[name] = unpacked(m)
            if not found[name]:
                del found[name]
                lacking.setdefault(m[5], []).append(name)
    for id in lacking:
        try:
            texts = kept_natives(id)
        except KeyError:
            continue    # the bundle isn't kept any more
        for name in lacking[id]:
            found[name] = texts[name]
    return found


def load_module_native(self, name):     # Python 2
    if name in sys.modules or MODULES.get(name, '-')[0] != 'x':
        return old_load_module(self, name)
    module = load_native(name, MODULES[name][1], lambda path: imp.load_dynamic(name, path))
    module.__file__ = MODULES[name][1]
    module.__loader__ = self
    if native_package(module.__file__):
        module.__path__ = [native_package(module.__file__)]
    return module


if 'MODULES' in globals():
    TEXT_OF.append(native_bytes)
    if not PY3:
        old_load_module = Importer.load_module
        Importer.load_module = load_module_native
