"""Serves resources and metadata of packages that were sent. Part of `_mitogen_files`; uses
files_content.py, files_index.py and files_ask.py.
"""
from files_ask import (COUNT, DISTS, HEADS, OUTLINED, PACKAGES, TEXTS, TREE, answer, ask, core,
    errno, os, serve_forks, sys)
from files_index import OUTLINES, ask_outlines, directory, failure, index, learn, listing, look
from files_content import find_in_place, first_in_place, get_data, modules_in, normal
from places import IN_MEMORY, plain_path, spot


class Reader(object):
    """An importlib.resources.abc.TraversableResources."""

    def __init__(self, root):
        self.root = root

    def files(self):
        return spot(self.root)

    def place(self, resource):
        return self.root + '/' + os.fspath(resource)

    def open_resource(self, resource):
        return core.BUILTINS.open(self.place(resource), 'rb')

    def resource_path(self, resource):
        raise failure(errno.ENOENT, self.place(resource), IN_MEMORY)

    def is_resource(self, name):
        return os.path.isfile(self.place(name))

    def contents(self):
        return listing(self.root)


def get_resource_reader(self, name):
    if self.is_package(name):
        return Reader(directory(core.MODULES[name]))


# Metadata


def fields(base):
    """A class for the metadata of a distribution whose fields alone are here; base is the class of
    parsed emails."""
    class Fields(object):
        def __init__(self, dist, head):
            self.__dict__.update({'_dist': dist, '_head': head})

        def _of(self, name):
            if name.lower() == 'description':
                return self._whole()
            return self._head

        def _whole(self):
            if '_all' not in self.__dict__:
                self.__dict__['_all'] = base.metadata.fget(self._dist)
            return self._all

        def __getitem__(self, name):
            return self._of(name)[name]

        def __contains__(self, name):
            return name in self._of(name)

        def get(self, name, *args):
            return self._of(name).get(name, *args)

        def get_all(self, name, *args):
            return self._of(name).get_all(name, *args)

        def __getattr__(self, name):
            return getattr(self._whole(), name)

        def __iter__(self):
            return iter(self._whole())

        def __len__(self):
            return len(self._whole())

        def __str__(self):
            return str(self._whole())
        __class__ = property(lambda self: type(self._head))
    return Fields


SERVED = {}     # class of distributions of the standard library, or of what offers the same: ours


def distribution(base):
    """Distributions that the engine has, as base has those of a directory."""
    if base in SERVED:
        return SERVED[base]

    class Served(base):
        def metadata(self):
            path = str(self._path)
            for name in ('/METADATA', '/PKG-INFO'):
                if path + name in HEADS and path + name not in TEXTS:
                    break
            else:
                return base.metadata.fget(self)
            cut = base.__new__(Head)
            cut.__dict__.update(self.__dict__)
            cut.text = HEADS[path + name].decode('utf-8', 'replace')
            return fields(base)(self, base.metadata.fget(cut))
        metadata = property(metadata)

        def read_text(self, filename):
            every(str(self._path), str(filename))
            return base.read_text(self, filename)

    class Head(base):
        def read_text(self, filename):
            return self.text
    Served.__name__ = base.__name__
    SERVED[base] = Served
    return Served


READ = {}   # name of a file of metadata: the first distribution that it was read of


def every(place, name):
    """At the second distribution of which the same file is read, ask for the file of each."""
    path = place + '/' + name
    if path in TEXTS or path not in TREE or READ.get(name) == place:
        return
    if name not in READ:
        READ[name] = place
    elif READ[name]:
        READ[name] = ''
        got = ask('a', name)
        if name == 'RECORD':
            # Who has the names of files asks whether they exist.
            ask_outlines([n for n in list(PACKAGES.values())
                          if n not in OUTLINED and n not in OUTLINES and os.getpid() == core.PID])
        learn(answer(got, name))


def distributions():
    """The places of the distributions that the engine has. They are asked for again when more
    packages are here."""
    index()
    if COUNT[2] != COUNT[1] + 1:
        got, n = ask('e'), COUNT[1] + 1
        for d in learn(answer(got, 'distributions'))[1]:
            if d.endswith('-info'):
                DISTS[d] = 1
        COUNT[2] = n
    return list(DISTS)


def project(name):
    """A distribution's name as it is compared."""
    return '_'.join([w for w in name.lower().replace('-', '_').replace('.', '_').split('_') if w])


def find_distributions(self, context=None):
    """Those that the engine has and the target lacks."""
    if context is None:
        import importlib.metadata
        context = importlib.metadata.DistributionFinder.Context()
    roots = vars(context).get('path')
    found = [d for d in distributions()
             if roots is None or d.rsplit('/', 1)[0] in [str(r) for r in roots]]
    named = [(project(d.rsplit('/', 1)[1].rsplit('.', 1)[0].split('-')[0]), d) for d in found]
    if context.name:
        named = [(n, d) for n, d in named if n == project(context.name)]
    if not named:
        return iter([])
    theirs = {}
    if roots is None:
        for f in sys.meta_path:
            if f is not self and hasattr(f, 'find_distributions'):
                for d in f.find_distributions(context):
                    theirs[project(getattr(d, '_normalized_name', None) or d.metadata['Name']
                                   or '')] = 1
    served = distribution(sys.modules[type(context).__module__].PathDistribution)
    return iter([served(plain_path(d)) for n, d in named if n not in theirs])


def hook_resources():
    """Only Python 3.9 doesn't ask loaders for what importlib.resources.files() is to return."""
    module = core.hooked('importlib._common')
    theirs = module.fallback_resources

    def fallback(spec):
        if getattr(spec.loader, 'exec_module', 0) == core.IMPORTER.exec_module:
            return core.IMPORTER.get_resource_reader(spec.name).files()
        return theirs(spec)
    module.fallback_resources = fallback
    return 'm', module.__file__


def find_spec(self, name, path=None, target=None):
    """As Importer's own. pkg_resources looks for distributions in sys.path only."""
    if '.' not in name and path is None and name[:8] != '_mitogen':
        spec = first_in_place(name)
        if spec:
            return spec
    if name == 'pkg_resources':
        import importlib.machinery
        for d in distributions():
            root = d.rsplit('/', 1)[0]
            if root not in sys.path:
                sys.path.append(root)
                sys.path_importer_cache[root] = importlib.machinery.FileFinder(root)
    spec = FIND_SPEC(self, name, path, target, 3)
    if spec and name == 'pkg_resources':
        spec.loader = Adapted(spec.loader)
    return spec


class Adapted(object):
    """The loader of pkg_resources, which has to know ours."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        module.register_loader_type(core.Importer, module.DefaultProvider)


def find_place(self, path, begin=core.Place.__init__):
    """As a path hook: what is a file has no modules in it."""
    begin(self, path)
    try:
        if '.' in path.rsplit('/', 1)[1] and look(normal(path))[0] is not None:
            raise ImportError
    except OSError:
        pass


serve_forks()
if sys.version_info > (3, 4):
    FIND_SPEC = core.Importer.find_spec
    core.Importer.find_spec = find_spec
    core.__dict__.get('unseen', str)(find_spec)
    core.Place.find_spec = find_in_place
core.Place.__init__ = find_place
for method in (get_data, modules_in, get_resource_reader, find_distributions):
    setattr(core.Importer, method.__name__, method)
