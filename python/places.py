"""The functions by which programs reach files, for places of what was sent. The last part of
`_mitogen_files`.

Each is put in the place of Python's own, which it calls for all paths that are not
below PLACE. They are put there when this module is imported, which happens when code comes that
mentions such a place.
"""
from files_ask import BytesIO, PLACE, TREE, TextIOWrapper, core, errno, os, sys, write_all, zlib
from files_index import failure, index, listing, look
from files_content import content, normal

REAL = {}       # id of a function: itself, and ours for it
HOOKED = {}     # (module, name): the function there was
BYTES = type(core.EMPTY)
METHOD = type(core.IMPORTER.get_code)
READ_ONLY = 'what was sent can only be read'
IN_MEMORY = 'what was sent is in memory only: importlib.resources.as_file gives a real file'


def ours(path):
    """The place that path is, or None if it is none."""
    if type(path) is not str:
        if isinstance(path, int):
            return None
        if hasattr(path, '__fspath__'):
            path = path.__fspath__()
        elif type(path).__module__.split('.')[0] == 'pathlib':
            path = str(path)
        if core.PY3 and isinstance(path, BYTES):
            path = os.fsdecode(path)
        if not core.PY3 and isinstance(path, core.TEXT):
            path = path.encode('utf-8')
        if not isinstance(path, str):
            return None
    if path[:10] == PLACE:
        path = normal(path)
        if path[:10] == PLACE:
            return path
    return None


# Looking


def status(path):
    size, time = look(path)
    time = time or 315619200    # what can't have been: 1980, which zip files begin with
    mode = int('100644', 8)
    if size is None:
        mode, size = int('40755', 8), 4096
    if size == -1:
        size = len(content(path))
        TREE[path] = size, time
    ino = zlib.crc32(path.encode('utf-8',
                                 core.PY3 and 'surrogateescape' or 'strict')) & 0x7fffffff | 1
    more = {}
    if core.PY3:
        ns = time * 1000000000
        more = {'st_atime_ns': ns, 'st_mtime_ns': ns, 'st_ctime_ns': ns, 'st_blksize': 4096,
                'st_blocks': (size + 511) // 512}
    if hasattr(os.stat_result, 'nsec_mtime'):   # PyPy
        more.update({'nsec_atime': 0, 'nsec_mtime': 0, 'nsec_ctime': 0})
    return os.stat_result((mode, ino, 0x6d69746f, 1, os.getuid(), os.getgid(), size, time, time,
                           time), more)


def os_stat(real):
    def stat(_, path, *args, **kwargs):
        p = ours(path)
        if p is None:
            return real(path, *args, **kwargs)
        return status(p)
    return stat


def os_listdir(real):
    def listdir(_, path='.'):
        p = ours(path)
        if p is None:
            return real(path)
        names = listing(p)
        if core.PY3 and isinstance(path, BYTES):
            return [os.fsencode(n) for n in names]
        return names
    return listdir


class Entry(object):
    """As os.DirEntry."""

    def __init__(self, above, name, place):
        self.name = name
        self.path = os.path.join(above, name)
        self._place = place

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return '<DirEntry %r>' % (self.name,)

    def is_dir(self, follow_symlinks=True):
        return is_dir(self._place)

    def is_file(self, follow_symlinks=True):
        return not is_dir(self._place)

    def is_symlink(self):
        return False
    is_junction = is_symlink

    def stat(self, follow_symlinks=True):
        return status(self._place)

    def inode(self):
        return status(self._place).st_ino


class Entries(object):
    """What os.scandir returns."""

    def __init__(self, entries):
        self.entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        for e in self.entries:
            return e
        raise StopIteration

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def close(self):
        self.entries = iter(())


def os_scandir(real):
    def scandir(_, path='.'):
        p = ours(path)
        if p is None:
            return real(path)
        if isinstance(path, BYTES):
            return Entries([Entry(path, os.fsencode(n), p + '/' + n) for n in listing(p)])
        return Entries([Entry(path, n, p + '/' + n) for n in listing(p)])
    return scandir


def os_access(real):
    def access(_, path, mode, *args, **kwargs):
        p = ours(path)
        if p is None:
            return real(path, mode, *args, **kwargs)
        try:
            look(p)
        except OSError:
            return False
        return not mode & os.W_OK and (not mode & os.X_OK or is_dir(p))
    return access


def os_readlink(real):
    def readlink(_, path, *args, **kwargs):
        p = ours(path)
        if p is None:
            return real(path, *args, **kwargs)
        look(p)
        raise failure(errno.EINVAL, p)
    return readlink


def os_write(real):
    """For what changes a file or directory, one of its first two arguments."""
    def change(_, *args, **kwargs):
        for a in args[:2]:
            p = type(a) is not int and ours(a)
            if p:
                index()
                if real.__name__ == 'mkdir' and p in TREE:
                    raise failure(errno.EEXIST, p)
                raise failure(errno.EROFS, p, READ_ONLY)
        return real(*args, **kwargs)
    return change


def os_enter(real):
    def enter(_, path, *args, **kwargs):
        p = ours(path)
        if p is None:
            return real(path, *args, **kwargs)
        raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
    return enter


# Opening


def descriptor(data):
    """A descriptor of a file in memory with these bytes, or None where there is none to be had."""
    fd = None
    try:
        fd = os.memfd_create('mitogen')
    except (AttributeError, OSError):
        try:
            fd = REAL_OPEN('/dev/shm', os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, int('600', 8))
        except (AttributeError, OSError):
            return None
    write_all(fd, data)
    os.lseek(fd, 0, 0)
    return fd


def os_open(real):
    def open(_, path, flags, *args, **kwargs):
        p = ours(path)
        if p is None:
            return real(path, flags, *args, **kwargs)
        if (flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND) or flags & os.O_CREAT
                and p not in TREE):
            raise failure(errno.EROFS, p, READ_ONLY)
        if look(p)[0] is None:
            raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
        fd = descriptor(content(p))
        if fd is None:
            raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
        return fd
    return open


def io_open(real):
    def open(_, file, mode='r', *args, **kwargs):
        p = None
        if type(file) is not int:
            p = ours(file)
        if p is None:
            return real(file, mode, *args, **kwargs)
        try:
            return opened(real, file, p, mode, *args, **kwargs)
        except OSError:
            e = sys.exc_info()[1]
            if core.PY3:
                raise
            raise IOError(e.errno, e.strerror, p)
    return open


def opened(real, file, place, mode, *args, **kwargs):
    if [c for c in mode if c in 'wxa+']:
        raise failure(errno.EROFS, place, READ_ONLY)
    data = content(place)
    fd = descriptor(data)
    if core.PY3 and fd is not None:
        kwargs['opener'] = lambda path, flags: fd
        return real(file, mode, *args[:5], **kwargs)
    if not core.PY3 and fd is not None:
        return os.fdopen(fd, mode)
    f = BytesIO(data)
    f.name = place
    if core.PY3 and 'b' not in mode:
        f = TextIOWrapper(f, *args[1:], **dict([(k, kwargs[k]) for k in kwargs
                                                if k in ('encoding', 'errors', 'newline')]))
    return f


def open_code(real):
    def open_code(_, path):
        if ours(path) is None:
            return real(path)
        return core.BUILTINS.open(path, 'rb')
    return open_code


def loaded(real):
    """For importlib's loaders of files, which open by themselves."""
    def get_data(self, path):
        p = ours(path)
        if p is None:
            return real(self, path)
        return content(p)
    return get_data


# Real files, for what is not Python


class Held(object):
    """A real file or directory with what is at a place, as long as a with statement runs."""

    def __init__(self, place):
        self.place = place

    def __enter__(self):
        self.path = real_file(self.place)
        import pathlib
        return pathlib.Path(self.path)

    def __exit__(self, *args):
        forget(os.path.dirname(self.path))


REAL_FILES = {}     # directories that are removed at the end: the process that made each


def real_file(path):
    """The path of a real file or directory with what is at a place: in RAM where there is a
    directory in RAM."""
    import shutil
    import tempfile
    look(path)
    base = None
    if os.path.isdir('/dev/shm') and os.access('/dev/shm', os.W_OK | os.X_OK):
        base = '/dev/shm'
    if not REAL_FILES:
        import atexit
        atexit.register(forget_all)
    dir = tempfile.mkdtemp('', 'mitogen-', base)
    REAL_FILES[dir] = os.getpid()
    to = os.path.join(dir, os.path.basename(path))
    if is_dir(path):
        shutil.copytree(path, to)
    else:
        f = core.BUILTINS.open(to, 'wb')
        f.write(content(path))
        f.close()
    return to


def forget(dir):
    import shutil
    if REAL_FILES.pop(dir, 0) == os.getpid():
        shutil.rmtree(dir, True)


def forget_all():
    for dir in list(REAL_FILES):
        forget(dir)


def spot(path):
    """A pathlib.Path of a place, for which as_file gives a real file."""
    import pathlib
    if not SPOT:
        class Spot(type(pathlib.Path())):
            __slots__ = ()
        Spot.__name__ = Spot.__qualname__ = 'PosixPath'
        SPOT.append(Spot)
    for name in ('importlib.resources._common', 'importlib._common', 'importlib_resources._common'):
        as_file = getattr(sys.modules.get(name), 'as_file', None)
        if hasattr(as_file, 'register') and SPOT[0] not in as_file.registry:
            as_file.register(SPOT[0], held)
    return SPOT[0](path)


SPOT = []


def plain_path(path):
    import pathlib
    return pathlib.Path(path)


def held(path):
    p = ours(path)
    if p is None:
        import contextlib
        return contextlib.contextmanager(lambda: iter([path]))()
    return Held(p)


def file_in_memory(path, do):
    """Call do with a path of what is at a place, that other code than Python's can open once."""
    fd = descriptor(content(path))
    if fd is None:
        path = real_file(path)
        try:
            return do(path)
        finally:
            forget(os.path.dirname(path))
    try:
        return do('/proc/self/fd/%d' % fd)
    finally:
        os.close(fd)


LIBRARIES = {}      # place of a library: path that the dynamic loader has it by


def library(place, load, seen=()):
    """The value of load(path), with path leading to the library at a place. What it needs of its
    package is loaded before it."""
    if place in LIBRARIES:
        return load(LIBRARIES[place])
    fd = descriptor(content(place))
    if fd is None:
        raise failure(errno.EOPNOTSUPP, place, IN_MEMORY)
    # The loader knows files by their paths, and the numbers of descriptors come again.
    path = '/proc/self/fd' + '/.' * (len(LIBRARIES) + 1) + '/%d' % fd
    try:
        value = load(path)
    except OSError:
        os.close(fd)
        text = str(sys.exc_info()[1])
        needed = needed_by(place, text.split(': ')[0])
        if not needed or needed in seen or len(seen) > 64:
            raise OSError(text.replace(path, place))
        library(needed, load, seen + (needed,))
        return library(place, load, seen + (needed,))
    LIBRARIES[place] = path     # and fd stays open: a loader may look at it again
    return value


def needed_by(place, name):
    """The place of the library of this name that one at a place needs, or None: right beside it, or
    where wheels have those that they bring."""
    above = os.path.dirname(place)
    dirs = [above]
    while len(above) > 10:
        dirs.append(above + '.libs')
        above = os.path.dirname(above)
    for dir in dirs:
        try:
            if '/' not in name and look(dir + '/' + name)[0] is not None:
                return dir + '/' + name
        except OSError:
            pass


def hook_ctypes(module):
    real = getattr(module, '_dlopen', None)

    def dlopen(name, *args):
        p = ours(name)
        if p:
            return library(p, lambda path: real(path, *args))
        return real(name, *args)
    if real:    # PyPy's has another one
        module._dlopen = dlopen


def hook_cffi(module):
    real = module.load_library

    def load_library(name=None, *args):
        p = ours(name)
        if p:
            return library(p, lambda path: real(path, *args))
        return real(name, *args)
    module.load_library = load_library

    class FFI(module.FFI):
        def dlopen(self, name=None, *args):
            p = ours(name)
            if p:
                return library(p, lambda path: super(FFI, self).dlopen(path, *args))
            return super(FFI, self).dlopen(name, *args)
    module.FFI = FFI


def hook_ssl(module):
    context = module.SSLContext
    verify, chain = context.load_verify_locations, context.load_cert_chain

    def load_verify_locations(self, cafile=None, capath=None, cadata=None):
        p = cafile is not None and ours(cafile)
        if p:
            return file_in_memory(p, lambda real: verify(self, real, capath, cadata))
        return verify(self, cafile, capath, cadata)

    def load_cert_chain(self, certfile, keyfile=None, password=None):
        for p in (ours(certfile), keyfile is not None and ours(keyfile)):
            if p:
                raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
        return chain(self, certfile, keyfile, password)
    context.load_verify_locations = load_verify_locations
    context.load_cert_chain = load_cert_chain


def hook_sqlite3(module):
    real = module.connect

    def connect(database, *args, **kwargs):
        p = ours(database)
        if p:
            raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
        return real(database, *args, **kwargs)
    module.connect = connect
    dbapi = sys.modules.get('sqlite3.dbapi2')
    if dbapi:
        dbapi.connect = connect


def hook_subprocess(module):
    real = module.Popen.__init__

    def __init__(self, args, *rest, **kwargs):
        words = [args]
        if isinstance(args, (list, tuple)):
            words = list(args)
        for word in words + [kwargs.get('cwd'), kwargs.get('executable')]:
            p = ours(word)
            if p:
                raise failure(errno.EOPNOTSUPP, p, IN_MEMORY)
        return real(self, args, *rest, **kwargs)
    module.Popen.__init__ = __init__


LATER = {'ssl': hook_ssl, 'sqlite3': hook_sqlite3, 'subprocess': hook_subprocess,
         'ctypes': hook_ctypes, '_cffi_backend': hook_cffi}


def when_imported(name):
    """Hook a module of the target's now, or when it is imported."""
    def load():
        module = core.hooked(name)
        LATER[name](module)
        return 'm', getattr(module, '__file__', '')
    if name in sys.modules:
        LATER[name](sys.modules[name])
    elif sys.version_info > (3, 4) and name not in core.HOOKABLE:
        core.HOOKABLE[name] = load


# Putting them there


def hook(module, name, make):
    real = getattr(module, name, None)
    if real is None:
        return
    f = make(real)
    f.__name__ = name
    f.__doc__ = real.__doc__
    f = METHOD(f, real)  # in a class it must not be a method, as a function of C isn't
    REAL[id(real)] = real, f
    setattr(module, name, f)


def replace_copies():
    """Other modules may have these functions under names of their own; some classes too."""
    for module in list(sys.modules.values()):
        name = getattr(module, '__name__', '')
        if type(module) is not type(sys) or name in ('posix', 'nt') or name[:8] == '_mitogen':
            continue
        holders = [module]
        if name.split('.')[0] in ('pathlib', 'glob', 'shutil'):
            holders.extend([c for c in vars(module).values()
                            if isinstance(c, type) and c.__module__ == name])
        for holder in holders:
            replace_in(holder)


def replace_in(holder):
    for name, value in list(vars(holder).items()):
        if type(value) is staticmethod:
            value = getattr(value, '__func__', None)
        if id(value) in REAL and REAL[id(value)][0] is value:
            setattr(holder, name, REAL[id(value)][1])


def hook_all():
    for name in ('stat', 'lstat'):
        hook(os, name, os_stat)
    for name in ('mkdir', 'rmdir', 'remove', 'unlink', 'rename', 'replace', 'link', 'symlink',
                 'chmod', 'chown', 'lchown',
                 'utime', 'truncate', 'mkfifo', 'mknod', 'setxattr', 'removexattr'):
        hook(os, name, os_write)
    for name in ('chdir', 'chroot', 'statvfs', 'listxattr', 'getxattr'):
        hook(os, name, os_enter)
    for name, make in (('listdir', os_listdir), ('scandir', os_scandir), ('access', os_access),
                       ('readlink', os_readlink), ('open', os_open)):
        hook(os, name, make)
    hook(core.BUILTINS, 'open', io_open)
    io = sys.modules.get('io')
    if io and not core.PY3:
        hook(io, 'open', io_open)
    if io:
        hook(io, 'open_code', open_code)
    for name in ('_frozen_importlib_external', '_frozen_importlib'):
        loader = getattr(sys.modules.get(name), 'FileLoader', None)
        if loader and 'get_data' in vars(loader):
            loader.get_data = loaded(loader.get_data)
            break
    replace_copies()
    for name in ('supports_follow_symlinks', 'supports_fd', 'supports_dir_fd',
                 'supports_effective_ids'):
        kinds = getattr(os, name, set())
        kinds.update([f for real, f in REAL.values() if real in kinds])
    for name in LATER:
        when_imported(name)


REAL_OPEN = os.open
hook_all()
