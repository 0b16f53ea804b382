"""Has the contents of files of packages that were sent, and finds their modules by places. Part of
`_mitogen_files`; uses files_index.py and files_ask.py.
"""
from files_ask import (BESIDE, DISTS, HERE, INSIDE, KEEP, LARGEST, LISTED, PACKAGES, PENDING, PLACE,
    TEXTS, TREE, answer, core, errno, os, queue, send_questions, sys)
from files_index import complete, failure, index, is_dir, listing, look, root_of


def content(path):
    """The bytes of a file."""
    size = look(path)[0]
    if size is None:
        raise failure(errno.EISDIR, path)
    if path in TEXTS:
        return TEXTS[path]
    data = came(path)
    if data is not None:
        return data
    if size > LARGEST:
        raise failure(errno.EFBIG, path,
                      'it has %d bytes, and a file that is sent at most %d' % (size, LARGEST))
    words = question(path)
    name = '/'.join(words[1:])
    got = None
    if os.getpid() == core.PID:
        got = PENDING.pop(path, None)
        if got is None:
            for come in core.COMES:
                come(name)      # it may have come along with an outline
            index()
            data = came(path)
            if data is not None:
                return data
    if got is None:
        got = queue(*words)
        ahead(path)
        send_questions()
    try:
        data = answer(got, path, name)
    except IOError:
        e = sys.exc_info()[1]
        raise failure(e.errno, path, e.strerror)
    TREE[path] = len(data), TREE[path][1]     # it may have changed since
    if len(data) * 2 < KEEP:
        keep(path, data)
    return data


KEPT = {}


def keep(path, data):
    """Keep the bytes of a file, and forget the earlier ones if these are too many."""
    if sum(KEPT.values()) + len(data) > KEEP:
        for p in list(KEPT):
            TEXTS.pop(p, 0)
        KEPT.clear()
    KEPT[path] = len(data)
    TEXTS[path] = data


def came(path):
    """The bytes of a module or file that came; None if there is none, or it isn't kept."""
    name = HERE.get(path)
    letter = core.MODULES.get(name, '-')[0]
    try:
        if letter == 'x':   # behind the names of its libraries
            return core.native_bytes(name).split('\0'.encode(), 1)[1]
        if letter == 'l':
            return core.native_bytes(name)
    except KeyError:
        return None
    if name:
        return core.unpacked(core.MODULES[name])


def question(path):
    root = root_of(path)
    if root:
        return 'r', PACKAGES[root], path[len(root) + 1:]
    for dist in DISTS:
        if path.startswith(dist + '/'):
            return 't', dist.rsplit('/', 1)[1], path[len(dist) + 1:]
    for dir in BESIDE:
        if path.startswith(dir + '/'):
            return 'r', '', path[len(dir) + 1:]
    raise failure(errno.ENOENT, path)


def ahead(path):
    """Ask for what is likely to be opened next: files of the same directory, if they are few,
    or of the same kind, if they are many, the directory was listed, and this is the
    second file that is opened."""
    above, name = path.rsplit('/', 1)
    kind = name.split('.')[-1]
    files = [(TREE[above + '/' + n][0] or 0, n) for n in INSIDE[above]]
    files = [(size, n) for size, n in files if size > 0 and (n[-3:] != '.py' or kind == 'py')]
    opened = LISTED.get(above, {})
    opened[name] = 1
    room = 327680
    if len(files) > 16:
        room = 1048576
        files = [(size, n) for size, n in files if n.split('.')[-1] == kind]
        if len(opened) != 2:
            files = []
    fetch([above + '/' + n for size, n in sorted(files) if n not in opened], room)
    tail = '/' + '/'.join(path.split('/')[-3:])
    # catalogs of one language, say
    twins = [p for p in list(TREE) if p.endswith(tail) and p != path]
    fetch(twins, 327680)
    named_files(root_of(path))


NAMED = {}      # packages whose code was looked through for names of files
LITERAL = '["\'/]([\\w.-]{3,64})["\']'
SMALL = 65536       # bytes of a file that is fetched because code names it
CODE = 2097152      # bytes of code that are looked through


def named_files(root):
    """Ask for small files that the code of a package names by a literal, with or
    without the ending."""
    name = PACKAGES.get(root)
    if not name or name in NAMED:
        return
    NAMED[name] = 1
    found = {}
    for p in list(TREE):
        if p.startswith(root + '/') and -1 < (TREE[p][0] or -1) <= SMALL and p[-3:] != '.py':
            found.setdefault(p.rsplit('/', 1)[1], []).append(p)
    found = dict([(n, found[n]) for n in found if len(found[n]) < 3])
    code = [m[2] for n, m in list(core.MODULES.items())
            if m[0] in 'mp' and m[3:] and (n + '.').startswith(name + '.')]
    if found and sum([len(c) for c in code]) <= CODE:
        import re
        words = {}
        for c in code:
            words.update([(core.native(w), 1) for w in re.findall(LITERAL.encode(), c)])
        fetch([p for n in found for p in found[n]
               if n in words or n.split('.')[0] in words], 262144)


def fetch(paths, room):
    """Ask for files that are not here, up to so many bytes, with what is written next."""
    for p in paths[:64]:
        if p in TEXTS or p in HERE or p in PENDING or is_dir(p) or os.getpid() != core.PID:
            continue
        try:
            words = question(p)
        except OSError:
            continue    # what it was in isn't asked about any more
        room -= TREE[p][0]
        if room < 0:
            break
        PENDING[p] = queue(*words)


def get_data(self, path):
    """The bytes of a file, by a path below a package's __file__; of a module as it came."""
    path = normal(path)
    if path[:10] != PLACE:
        raise IOError(errno.ENOENT, 'in no package that is here', path)
    try:
        return content(path)
    except OSError:
        e = sys.exc_info()[1]
        raise IOError(e.errno, e.strerror, path)


VENDORED = {}   # directories of packages that were found in a directory of sys.path


def find_in_place(self, name, target=None):
    """The spec of a module in a directory of a package, which code has put into sys.path, or given
    to another package, as setuptools does with distutils."""
    index()
    path = normal(self.path)
    above = name[:max(0, name.rfind('.'))]
    if not root_of(path) or OF_PACKAGES.get(path) == above and path not in VENDORED:
        return None
    complete(path)
    stem = path + '/' + name.split('.')[-1]
    for kind, at in (('p', stem + '/__init__.py'), ('m', stem + '.py'), ('n', stem)):
        if at in TREE and is_dir(at) == (kind == 'n'):
            text = core.EMPTY
            if kind != 'n':
                text = content(at)
            if kind == 'p':
                fetch([p for p in list(TREE) if p.startswith(stem + '/') and p[-3:] == '.py'],
                      1048576)
                send_questions()
            if kind != 'm':
                VENDORED[stem] = 1
            core.MODULES[name] = kind, at, text, 1
            return core.IMPORTER.spec(name, core.MODULES[name])
    for at in path in OF_PACKAGES and INSIDE.get(path) or ():
        if at.split('.')[0] == name.split('.')[-1] and at[-3:] == '.so':
            return native_in_place(name, OF_PACKAGES[path] + '.' + at.split('.')[0])


def native_in_place(name, own):
    """The spec of an extension module whose own name is another one."""
    m = core.IMPORTER.ours(own, None)
    if type(m) is tuple and m[0] == 'x':
        spec = core.native_spec(own, m[1])
        spec.name = name
        return spec


def first_in_place(name):
    """As find_in_place, in those directories of packages that code has put before the standard
    library in sys.path."""
    for dir in sys.path:
        if dir == os.path.dirname(os.__file__):
            break
        if dir[:10] == PLACE:
            try:
                spec = find_in_place(core.Place(dir), name)
            except ImportError:     # a zip file, whose modules the importer has
                continue
            if spec:
                return spec


OF_PACKAGES = {}    # directories of packages that came


def refuse_some(path):
    raise failure(errno.EACCES, path, 'of this package the engine gives only modules that the code '
                  'names: --serve %s gives all' % PACKAGES.get(path, path.rsplit('/', 1)[1]))


def modules_in(self, path, prefix):
    """The modules that pkgutil.iter_modules lists of a package."""
    path = normal(path)
    try:
        found = listing(path, refuse_some)
    except OSError:
        e = sys.exc_info()[1]
        if e.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        found = []      # as pkgutil has it
    name = PACKAGES.get(path)
    m = core.MODULES.get(name)
    if m and m[0] == 'n':   # its portions may be in several directories
        found = found + [n[len(name) + 1:] + '.py' for n in list(core.MODULES)
                         if n.startswith(name + '.') and core.MODULES[n][0] in 'mp']
    done = {}
    for n in sorted(found):
        inner = INSIDE.get(path + '/' + n)
        kind = '.' + n.split('.', 1)[-1]
        stem = n.split('.')[0]
        if (inner is None and kind not in ('.py', '.pyc') and kind[-3:] != '.so'
                or inner is not None and ('.' in n or '__init__.py' not in inner)):
            continue
        if stem != '__init__' and stem not in done:
            done[stem] = 1
            yield prefix + stem, '__init__.py' in INSIDE.get(path + '/' + stem, ())


def normal(path):
    return os.path.normpath(path)
