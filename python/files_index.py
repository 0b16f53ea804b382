"""Finds things among the files of packages that were sent. Part of `_mitogen_files`; uses
files_ask.py.
"""
from files_ask import (BESIDE, COUNT, GROWN, HEADS, HERE, INSIDE, LISTED, OUTLINED, PACKAGES, PLACE,
    ROOT, SEEN, TEXTS, TREE, answer, core, errno, os, queue,
    send_questions, sys)
from files_content import OF_PACKAGES, VENDORED


def add(place, size, time):
    """Note a file or directory, and the directories that it is in."""
    TREE[place] = size, time
    if size is None:
        INSIDE.setdefault(place, {})
    while len(place) > len(ROOT):
        above, name = place.rsplit('/', 1)
        if name in INSIDE.setdefault(above, {}):
            break
        INSIDE[above][name] = 1
        TREE.setdefault(above, (None, 0))
        place = above


def index():
    """Note the places of modules that have come since."""
    if COUNT[0] == len(core.MODULES):
        return
    mine = INDEXING.acquire(os.getpid() == core.PID)    # a fork may have it locked for ever
    try:
        n = len(core.MODULES)
        for name, m in list(core.MODULES.items()):
            if name not in SEEN and m[1][:10] == PLACE:
                note(name, m)
                SEEN[name] = 1
        COUNT[0] = n
    finally:
        if mine:
            INDEXING.release()


INDEXING = core.thread.allocate_lock()


def note(name, m):
    """Note the place of a module or file."""
    place = m[1]
    if name[-1:] == '/':
        OUTLINED[name[:-1]] = learn(core.unpacked(m))[0]
        return
    if is_package(name, m):
        OF_PACKAGES[directory(m)] = name
        if directory(m) not in VENDORED:
            package(name, m)
    if m[0] == 'n':
        return add(place, None, 0)
    if place not in TREE:
        add(place, -1, 0)
    HERE[place] = name
    if '.' not in name and '/' not in name:
        COUNT[1] += 1
        if '' not in OUTLINED:
            BESIDE[directory(m).rsplit('/', is_package(name, m))[0]] = 1
    GROWN[root_of(place)] = len(core.MODULES)


def add_script(place, source):
    """Note a script, and that there may be files beside it."""
    add(place, len(source), 0)
    TEXTS[place] = source
    BESIDE[place.rsplit('/', 1)[0]] = 1
    OUTLINED.pop('', None)


def is_package(name, m):
    return '/' not in name and (m[0] in 'pn' or m[0] == 'x' and '/__init__.' in m[1])


def directory(m):
    """The directory that a module's file is in, or that a package is."""
    return m[1].rsplit('/', m[0] != 'n')[0]


def package(name, m):
    """Note a package that is in no other one of its kind, or elsewhere than this."""
    above = core.MODULES.get(name[:max(0, name.rfind('.'))])
    here = directory(m)
    if (not above or (above[0] == 'n') != (m[0] == 'n')
            or directory(above) != here.rsplit('/', 1)[0]):
        PACKAGES[here] = name


def root_of(path):
    """The innermost of PACKAGES that path is or is in, or None."""
    while len(path) > len(ROOT):
        if path in PACKAGES:
            return path
        path = path.rsplit('/', 1)[0]


LACKING = {}    # directories that have more than the engine gives: 'lacks', or only 'modules' more


def learn(data):
    """Take in an outline; returns the directories in it."""
    n = core.unpack('>L', data[:4])[0] + 4
    lines = core.native(data[4:n]).split('\n')
    found = []
    here, above = '', 0
    for line in lines[1:]:
        f = line.split('\0')
        if line[:1] == '/':
            here, above = f[0], int(f[1])
            add(here, None, above)
            found.append(here)
            LACKING.pop(here, 0)
            if f[2:]:
                LACKING[here] = f[2]
        elif line:
            size, time, place = int(f[1]), above, here + '/' + f[0]
            if len(f) > 2 and f[2]:
                time = int(f[2])
            add(place, size, time)
            if len(f) > 3:
                text = data[n:n + int(f[3])]
                n += len(text)
                if len(text) == size:
                    TEXTS[place] = text
                else:
                    HEADS[place] = text
    if lines[0] == 'whole':
        return -1, found
    return COUNT[0], found


def outline(name):
    """Ask for the outline of a package, or of what is beside modules, if it may have more
    than is known."""
    asked = OUTLINES.get(name)
    if not asked or asked[2] != os.getpid():
        asked = ask_outlines([name] + likely())[name]
    got, known = asked[:2]
    found = []
    try:
        whole, found = learn(answer(got, name, name + '/'))
        if whole < 0:
            known = -1
    except IOError:
        pass
    if not name and found:      # what else is beside modules is none of the user's own
        BESIDE.clear()
        BESIDE.update(dict([(d, 1) for d in found
                            if not [a for a in found if d.startswith(a + '/')]]))
    OUTLINED[name] = known
    OUTLINES.pop(name, 0)


def ask_outlines(names):
    asked = {}
    for name in names:
        asked[name] = OUTLINES[name] = queue('s', name), len(core.MODULES), os.getpid()
    send_questions()
    return asked


# package: the list that gets the answer, how many modules were here when it was asked
# for, and by whom
OUTLINES = {}


def likely():
    """Packages whose outlines are likely to be wanted too: their code mentions its place."""
    found = []
    word = '__file__'.encode()
    for place, name in list(PACKAGES.items()):
        if (name not in OUTLINED and name not in OUTLINES and len(found) < 16
                and os.getpid() == core.PID):
            if [1 for n, m in list(core.MODULES.items())
                    if n.startswith(name) and m[0] in 'mp' and m[3:] and word in m[2]]:
                found.append(name)
    return found


def look(path):
    """Size and time of what is at a place, or an error."""
    index()
    if path not in TREE:
        complete(path)
    if path in TREE:
        return TREE[path]
    above = path.rsplit('/', 1)[0]
    if TREE.get(above, (None, 0))[0] is not None:
        raise failure(errno.ENOTDIR, path)
    raise failure(errno.ENOENT, path)


def complete(path):
    """Make sure that what the engine has of the directory that path is in is known."""
    root = root_of(path)
    name = PACKAGES.get(root, '')
    if not root and not [d for d in BESIDE if path.startswith(d + '/') or path == d]:
        return
    known = OUTLINED.get(name)
    if known is None or -1 < known < GROWN.get(root, 0):
        outline(name)


def failure(code, path, text=None):
    return OSError(code, text or os.strerror(code), path)


def is_dir(path):
    return TREE.get(path, (0, 0))[0] is None


def listing(path, some=None):
    """The names in a directory. some is called with path if modules are missing there."""
    if look(path)[0] is not None:
        raise failure(errno.ENOTDIR, path)
    complete(path)
    lacks = LACKING.get(path)
    if lacks == 'modules':
        (some or tell_modules)(path)
    elif lacks and not root_of(path):
        raise withheld(path)
    LISTED.setdefault(path, {})
    return list(INSIDE[path])


def withheld(path):
    """The error for listing a directory of which only a part is here. os.walk, glob and pathlib
    pass over errors of the system, unless they are given a function for them: what they get is
    another one."""
    text = 'of this directory the engine gives only what the code names: '
    if path in BESIDE:
        text += 'what is listed has to be in a directory that --serve names'
    else:
        text += '--serve %s gives all' % path.rsplit('/', 1)[1]
    error = failure(errno.EACCES, path, text)
    f = sys._getframe(1)
    while f.f_back and f.f_globals.get('__name__') == __name__:
        f = f.f_back
    code = f.f_code.co_name
    if (f.f_globals.get('__name__', '').split('.')[0] in ('os', 'glob', 'pathlib')
            and code != 'iterdir' and not f.f_locals.get('onerror', f.f_locals.get('on_error'))):
        error = RuntimeError(str(error))
    return error


def tell_modules(path, told={}):
    """Have the user told that a directory was listed that has more modules."""
    if path not in told and os.getpid() == core.PID:
        told[path] = 1
        core.log(30, 'mitogen', 'a program lists %s, where the engine gives only modules that the '
                 'code names: --serve gives more' % path)


def lacks(name, path):
    """True if outlines tell that a package with this __path__ has no module of this name."""
    index()
    tail = name.split('.')[-1]
    for place in path or ('',):
        if place not in INSIDE or OUTLINED.get(PACKAGES.get(root_of(place))) != -1:
            return
        if [n for n in INSIDE[place] if n.split('.')[0] == tail]:
            return
    return 1
