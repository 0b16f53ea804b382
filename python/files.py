"""Serves data, resources, metadata and the lists of modules of packages. Sent as `_mitogen_files`.

Fetched by the first who wants one of these, core's Importer.__getattr__; what is here becomes methods of Importer. Each
question to the engine is a round trip (GET_FILE; docs/protocol.md, section 3); listings are remembered, data isn't.
"""
import errno
import inspect
import os
import sys

import _mitogen as core

try:
    from io import BytesIO, TextIOWrapper
except ImportError:     # before 2.6, which hasn't what wants the other either
    from cStringIO import StringIO as BytesIO

GET_FILE = 24
OPEN = []           # lists that get the answers, the oldest question's first
ORDER = core.thread.allocate_lock()
LISTS = {}          # (package, directory): names, those of directories with a slash


def answered(src, reply, kind, data):
    if not src and OPEN:
        OPEN.pop(0).append((kind, data))


answered.source = 0
REPLY = core.register(answered)     # of all answers: they come in the order of the questions


def ask(letter, *words):
    """Put a question; answer() waits for what comes."""
    if os.getpid() != core.PID:
        raise OSError(errno.EOPNOTSUPP, 'a fork cannot ask for files')
    got = []

    def put():
        ORDER.acquire()
        OPEN.append(got)
        core.send(0, GET_FILE, (letter + '\0'.join(words)).encode('utf-8'), core.DATA, REPLY)
        ORDER.release()
    core.atomic(put)
    return got


def answer(got, path):
    core.wait(lambda: got)
    kind, data = got[0]
    if kind != core.DATA:
        raise IOError(errno.ENOENT, core.native(data), path)
    return data


def names(data):
    return [core.native(n) for n in data.split(core.ZERO) if n]


def listing(package, *dirs):
    """The contents of directories of a package: lists of names."""
    asked = [(d, ask('l', package, d)) for d in dirs if (package, d) not in LISTS]
    for d, got in asked:
        LISTS[package, d] = names(answer(got, package + '/' + d))
    return [LISTS[package, d] for d in dirs]


def here(package, path):
    """A file that came with the package's modules, or None."""
    m = core.MODULES.get(package + '/' + path)
    return m and m[0] == 'd' and m or None


def read(package, path):
    if here(package, path):
        return core.unpacked(here(package, path))
    return core.zlib.decompress(answer(ask('r', package, path), package + '/' + path))


def place(path):
    """The package that a path is in, and where in it."""
    best = None
    for name, m in list(core.MODULES.items()):
        root = m[1]
        if m[0] == 'p':
            root = os.path.dirname(root)
        if m[0] in 'pn' and path.startswith(root + os.sep) and (not best or len(root) > len(best[1])):
            best = name, root
    if not best:
        raise IOError(errno.ENOENT, 'in no package that is here', path)
    return best[0], path[len(best[1]) + 1:].replace(os.sep, '/')


def get_data(self, path):
    """The bytes of a file, by a path below a package's __file__; of a module as it came."""
    for m in list(core.MODULES.values()):
        if m[0] in 'mp' and m[1] == path:
            return core.unpacked(m)
    return read(*place(path))


def modules_in(self, package, prefix):
    """The modules that pkgutil.iter_modules lists of a package."""
    found = listing(package, '')[0]
    dirs = [n[:-1] for n in found if n[-1] == '/' and '.' not in n]
    inside = dict(zip(dirs, listing(package, *dirs)))
    packages = [d for d in dirs if '__init__.py' in inside[d]]
    modules = [inspect.getmodulename(n) or '' for n in found if n[-1] != '/']
    for n in sorted(set(packages + modules)):
        if n and n != '__init__' and '.' not in n:
            yield prefix + n, n in packages


# Resources


class Resource(object):
    """A file or directory of a package, as importlib.resources.abc.Traversable has it."""

    def __init__(self, package, path=''):
        self.package = package
        self.path = path
        self.name = path.split('/')[-1] or package.split('.')[-1]

    def __repr__(self):
        return 'Resource(%r, %r)' % (self.package, self.path)

    def __str__(self):
        return '/'.join([self.package.replace('.', '/'), self.path]).rstrip('/')

    def __eq__(self, other):
        return isinstance(other, Resource) and (other.package, other.path) == (self.package, self.path)

    def __hash__(self):
        return hash((self.package, self.path))

    def listed(self, mark):
        above, name = os.path.split(self.path)
        try:
            return name + mark in listing(self.package, above)[0]
        except IOError:
            return False

    def is_dir(self):
        return not self.path or not here(self.package, self.path) and self.listed('/')

    def is_file(self):
        return bool(self.path) and (here(self.package, self.path) is not None or self.listed(''))

    def exists(self):
        return self.is_dir() or self.is_file()

    def iterdir(self):
        return iter([self.joinpath(n.rstrip('/')) for n in listing(self.package, self.path)[0]])

    def joinpath(self, *others):
        parts = [p for p in self.path.split('/') if p]
        for other in others:
            parts.extend([p for p in str(other).split('/') if p not in ('', '.')])
        return Resource(self.package, '/'.join(parts))

    def __truediv__(self, other):
        return self.joinpath(other)

    def read_bytes(self):
        return read(self.package, self.path)

    def read_text(self, encoding=None, errors=None):
        return self.open('r', encoding=encoding or 'utf-8', errors=errors).read()

    def open(self, mode='r', *args, **kwargs):
        if mode not in ('r', 'rt', 'rb'):
            raise IOError(errno.EROFS, 'what a package has can only be read', str(self))
        f = BytesIO(self.read_bytes())
        if 'b' not in mode:
            f = TextIOWrapper(f, *args, **kwargs)
        return f


class Reader(object):
    """An importlib.resources.abc.TraversableResources."""

    def __init__(self, package):
        self.root = Resource(package)

    def files(self):
        return self.root

    def open_resource(self, resource):
        return self.root.joinpath(resource).open('rb')

    def resource_path(self, resource):
        raise IOError(errno.ENOENT, 'is in memory only', str(self.root.joinpath(resource)))

    def is_resource(self, name):
        return self.root.joinpath(name).is_file()

    def contents(self):
        return [r.name for r in self.root.iterdir()]


def get_resource_reader(self, name):
    if self.is_package(name):
        return Reader(name)


# Metadata


def normal(name):
    return '_'.join(name.lower().replace('-', '_').replace('.', '_').split('_'))


def distribution(base):
    """Distribution of importlib.metadata, or of what offers the same."""
    class Served(base):
        def __init__(self, dir):
            self.dir = dir

        def read_text(self, filename):
            try:
                return core.zlib.decompress(answer(ask('t', self.dir, str(filename)), str(filename))).decode('utf-8')
            except (IOError, UnicodeDecodeError):
                return None

        def locate_file(self, path):
            parts = str(path).split('/')
            return Resource(parts[0], '/'.join(parts[1:]))

        def _normalized_name(self):
            return normal(os.path.splitext(self.dir)[0].split('-')[0])
        _normalized_name = property(_normalized_name)
    return Served


def find_distributions(self, context=None):
    """Those that the engine has and the target lacks."""
    if context is None:
        import importlib.metadata
        context = importlib.metadata.DistributionFinder.Context()
    if 'path' in vars(context) or os.getpid() != core.PID:
        return iter([])
    theirs = set()
    for f in sys.meta_path:
        if f is not self and hasattr(f, 'find_distributions'):
            theirs.update([normal(d.metadata['Name'] or '') for d in f.find_distributions(context)])
    base = sys.modules[type(context).__module__].Distribution
    served = distribution(base)
    found = [served(d) for d in names(answer(ask('d', context.name or ''), 'distributions'))]
    return iter([d for d in found if d._normalized_name not in theirs])


def hook_resources():
    """Only Python 3.9 doesn't ask loaders for what importlib.resources.files() is to return."""
    module = core.hooked('importlib._common')
    theirs = module.fallback_resources

    def fallback(spec):
        if spec.loader is core.IMPORTER:
            return core.IMPORTER.get_resource_reader(spec.name).files()
        return theirs(spec)
    module.fallback_resources = fallback
    return 'm', module.__file__


for method in (get_data, modules_in, get_resource_reader, find_distributions):
    setattr(core.Importer, method.__name__, method)
