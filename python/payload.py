"""The zip file that paths of a module's files lead to. Part of `_mitogen_ansible`.

Modules are imported from memory, but their paths go to other processes too: to another interpreter
that a module starts itself in (respawn), to those of multiprocessing, by PYTHONPATH. On Linux, from
Python 3.8 on, LIB is a file in RAM, open under one number in each module's process. It gets its
contents, and is sealed, when a program is started that may read it, which alone inherits it. No
user can make a file at that path: it is the process's own, and never a directory.

Elsewhere LIB is below /dev/null, which is no directory. What may need more is recognised by words
in the module's files, and has a file in a directory of the account's own, removed at its end.
"""
from _mitogen import (EMPTY, HELD, IMPORTER, MEMBERS, PY3, WARM, contents, errno, fcntl, os, pack,
    sys, zlib)
_posixsubprocess = None
if PY3 and IMPORTER.local('_posixsubprocess', None):    # nothing may be asked for here
    import _posixsubprocess

LIB_FD = max(3, min(200, os.sysconf('SC_OPEN_MAX') - 1))
OPENED = []     # inode and device of the file in RAM, once it has its number
FILLED = []     # once it has its contents
SEAL = 1033, 15     # F_ADD_SEALS: no byte and no length changes any more
WORDS = [w.encode() for w in ('respawn multiprocessing concurrent.futures pkgutil importlib '
         'PYTHONPATH __path__ __file__ sys.path').split()]


def ram_flags():
    """What memfd_create takes: close on exec, sealable, never executable; 0: there is none."""
    for flags in (11, 3):
        try:
            os.close(os.memfd_create('ansible', flags))
            return flags
        except (AttributeError, OSError):
            pass
    return 0


RAM = _posixsubprocess and HELD and ram_flags()
LIB = '/dev/null/ansible_mitogen_payload.zip'
if RAM:
    LIB = '/proc/self/fd/%d' % LIB_FD


def open_lib():
    """Take the file's number, at the start of a module's process.

    The module may close it, and have another file of that number.
    """
    if RAM:
        fd = os.memfd_create('ansible', RAM)
        try:
            os.dup2(fd, LIB_FD, False)
            OPENED[:] = os.fstat(fd)[1:3]
        except OSError:
            # the account may not have so many: no other interpreter finds the modules
            pass
        os.close(fd)


def ours():
    """True if the file has its number. If not, no other interpreter finds the modules."""
    try:
        return OPENED and OPENED == list(os.fstat(LIB_FD)[1:3])
    except OSError:
        return 0


def fill_lib():
    """Give the file its contents. False: it isn't there any more.

    Forks of a module's process share it, and may do that at once.
    """
    if not ours():
        return 0
    if FILLED:
        return 1
    data = zipped(MEMBERS.files, LIB)
    at = 0
    try:
        while at < len(data):
            at += os.pwrite(LIB_FD, data[at:], at)
        fcntl.fcntl(LIB_FD, SEAL[0], SEAL[1])
    except OSError:
        if sys.exc_info()[1].errno != errno.EPERM:  # another one has sealed it
            raise
    FILLED.append(1)
    return 1


def zipped(files, lib):
    """A zip file, not compressed, as the wrapper makes it for programs that find it at lib."""
    all = [(path, contents(files[path])) for path in files]
    all.append(('sitecustomize.py', ('import sys\nsys.path.insert(0, %r)\n' % lib).encode()))
    out, index, at = [], [], 0
    for path, data in all:
        name = path.encode('utf-8')
        crc = zlib.crc32(data) & 0xFFFFFFFF
        size = len(data)
        head = pack('<5H3L2H', 20, 2048, 0, 0, 33, crc, size, size, len(name), 0) + name
        out += ['PK\3\4'.encode() + head, data]
        index.append('PK\1\2'.encode() + pack('<H', 20) + head[:26] + pack('<3H2L', 0, 0, 0, 0, at)
                     + name)
        at += 4 + len(head) + size
    names = EMPTY.join(index)
    end = 'PK\5\6'.encode() + pack('<4H2LH', 0, 0, len(all), len(all), len(names), at, 0)
    return EMPTY.join(out) + names + end


def lend_lib():
    """Have programs inherit the file that may read it."""
    if not RAM:
        return
    start = _posixsubprocess.fork_exec

    def fork_exec(args, programs, close_fds, kept, cwd, env, *rest):
        if may_read_lib(args, programs, env) and fill_lib():
            kept = tuple(sorted(set(kept) | set([LIB_FD])))
        return start(args, programs, close_fds, kept, cwd, env, *rest)

    _posixsubprocess.fork_exec = fork_exec
    subprocess = sys.modules['subprocess']
    subprocess._fork_exec = fork_exec   # where releases from 3.12 on have it
    subprocess._USE_POSIX_SPAWN = False     # which doesn't come by it


def may_read_lib(args, programs, env):
    """True for an interpreter, and for what is told where the file is."""
    name = os.path.basename(programs[-1])
    if 'python'.encode() in name or 'pypy'.encode() in name:
        return 1
    if env is None:
        env = [os.environb.get('PYTHONPATH'.encode(), EMPTY)]
    told = [os.fsencode(a) for a in list(args) + list(env)]
    return [1 for a in told if LIB.encode() in a]


class Listing(object):
    """The finder of a path below LIB. Imports come by MEMBERS, which is asked before."""

    def __init__(self, path):
        if not (path + '/').startswith(LIB + '/'):
            raise ImportError(path)
        self.dir = (path + '/')[len(LIB) + 1:]

    def find_spec(self, name, target=None):
        return MEMBERS.find_spec(self.dir.replace('/', '.') + name.split('.')[-1])

    def find_module(self, name, path=None):
        """For runpy of Python 2, which doesn't look at sys.meta_path for what is in a package."""
        return MEMBERS.find_module(name)

    def iter_modules(self, prefix=''):
        found = {}
        for path in MEMBERS.files:
            names = path[len(self.dir):].split('/')
            if not path.startswith(self.dir):
                continue
            if names[1:] == ['__init__.py']:
                found[names[0]] = True
            elif len(names) == 1 and path.endswith('.py') and names[0] != '__init__.py':
                found[names[0][:-3]] = False
        names = list(found)
        names.sort()
        return [(prefix + name, found[name]) for name in names]


# Without a file in RAM


def needs_file(files):
    """True if what a module doesn't share with all other modules has one of WORDS."""
    if RAM:
        return 0
    common = WARM.values()
    for path in files:
        if files[path] not in common:
            text = contents(files[path])
            if [1 for word in WORDS if word in text]:
                return 1
    return 0


def make_file(fqn, files):
    """Write the zip file, to a directory that is returned, and have all paths lead there."""
    global LIB
    import tempfile
    dir = os.path.realpath(tempfile.mkdtemp('', 'ansible_%s_payload_' % fqn, own_directory()))
    lib = os.path.join(dir, 'ansible_%s_payload.zip' % fqn)
    f = open(lib, 'wb')
    try:
        f.write(zipped(files, lib))
    finally:
        f.close()
    for module in list(sys.modules.values()):
        if getattr(module, '__loader__', None) is MEMBERS:
            module.__file__ = lib + module.__file__[len(LIB):]
            if hasattr(module, '__path__'):
                module.__path__ = [lib + p[len(LIB):] for p in module.__path__]
    LIB = lib
    return dir


def own_directory():
    """A directory where no other user can make a name; None: there is none."""
    for dir in ('/run/user/%d' % os.getuid(), '/run'):
        try:
            st = os.stat(dir)
        except OSError:
            continue
        if st.st_uid == os.geteuid() and not st.st_mode & 18:
            return dir
