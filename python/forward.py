"""Modules in bulk: takes bundles in, says what can't be imported here, and as a hop keeps and
sends on what passes.

Sent as `_mitogen_forward`; docs/protocol/modules.md, section 12. Runs in the namespace of the core;
core's names are used as they are. Handlers run in the thread that reads, and only put aside what
comes: it is unpacked by the thread whose import wants it, which may import what that takes.
"""
from _mitogen import (ASK, ASKED, BUILTINS, BUNDLE, COMES, COMING, DROPPED, DUE, EMPTY, FORWARD,
    HANDLERS, HOOKS, IMPORTER, Importer, MAGIC, ME, MODULES, PASSES, PATIENCE, PID, PY3, ROUTES,
    TRAILER, ZERO, atomic, later, log, native, native_spec, now, os, pack, poke, send, sys, thread,
    unpack, unpacked, wait, zlib)
KEEP = 67108864     # bytes of bundles that are kept
# bytes of a bundle: what a program is made of has no part in LIMIT, which is for values
LARGEST = 134217728

PASSAGES = {}       # (id, dst): Passage, on its way
KEPT = {}           # id: payloads of its BUNDLE frames
USED = []           # ids of KEPT, the longest unused first
ANNOUNCED = []      # ids that are for this context and not taken in yet, in their order
COMPLETE = {}       # id: payloads, of those that are
AWAITED = {}        # id: objects that take() a bundle which has no modules (golang.py)
FORK_PATIENCE = 2   # seconds
FILE_SERVER = '_mitogen_files'
OPEN = []           # names of each ASK that COMING hasn't answered
UNPACKING = {}      # id: Unpacking, while payloads come
PROGRESS = [0, 0]   # frames that brought imports nearer, when the last one came
INSTALLING = thread.allocate_lock()
BZIP2 = 'BZh'.encode()
BUSY = {}           # threads in install()
SHA256 = []


class Passage:
    def __init__(self):
        self.payloads = []
        self.got = 0
        self.waits = []     # contexts that it is forwarded to


def passing(dst, data):
    """Take note of a piece for dst; returns its bundle if that is complete now."""
    id = data[:16]
    total, offset = unpack('>LL', data[16:24])
    p = PASSAGES.get((id, dst))
    if not offset:
        if p:
            drop(id, dst)
        p = PASSAGES[id, dst] = Passage()
    if not p or offset != p.got or total > LARGEST:
        return
    p.payloads.append(data)
    p.got += len(data) - 24
    for ctx in p.waits:
        send_piece(ctx, data)
    if p.got >= total:
        del PASSAGES[id, dst]
        keep(id, p.payloads)
        return p.payloads


def keep(id, payloads):
    KEPT[id] = payloads
    use(id)
    while sum([len(d) for k in KEPT.values() for d in k]) > KEEP:
        del KEPT[USED.pop(0)]


def use(id):
    if id in USED:
        USED.remove(id)
    USED.append(id)


def drop(id, dst):
    for ctx in PASSAGES.pop((id, dst)).waits:
        send(0, DROPPED, id + pack('>L', ctx))


def cut_off():      # instead of core/handlers.py
    for id, dst in list(PASSAGES):
        if dst != ME and dst not in ROUTES:
            drop(id, dst)


def send_piece(ctx, data):
    way = ROUTES.get(ctx)
    if way:
        # The data is shared by all who get it.
        way.put((pack('>7L', MAGIC, ctx, ME, ME, BUNDLE, 0, len(data)), data, TRAILER))
        way.flush()


def on_bundle(src, reply, kind, data):
    id = data[:16]
    if id in ANNOUNCED or id in AWAITED or (id, ME) in PASSAGES:
        progress()
        payloads = passing(ME, data)
        if payloads:
            arrives(id, payloads)


def arrives(id, payloads):
    """Note that a bundle is complete, unless take_in needed no second copy of it."""
    for waiting in AWAITED.pop(id, ()):
        waiting.take(id, payloads)
    if id in ANNOUNCED:
        COMPLETE[id] = payloads


def on_forward(src, reply, kind, data):
    id = data[:16]
    ctx = unpack('>L', data[16:20])[0]
    if id in KEPT:
        use(id)
        if ctx == ME:
            arrives(id, KEPT[id])
            return progress()
        for d in KEPT[id]:
            send_piece(ctx, d)
        if ctx in ROUTES:
            return
    for key in PASSAGES:
        if key[0] == id and ctx in ROUTES:
            for d in PASSAGES[key].payloads:
                send_piece(ctx, d)
            return PASSAGES[key].waits.append(ctx)
    send(0, DROPPED, data[:20])


def on_coming(src, reply, kind, data):
    del OPEN[:unpack('>L', data[:4])[0]]
    ANNOUNCED.extend([data[i:i + 16] for i in range(4, len(data), 16)])
    progress()


def progress():
    PROGRESS[:] = [PROGRESS[0] + 1, now()]


def expected(name):
    """True if something that may bring name is still to come."""
    if name in ASKED or ANNOUNCED:
        return 1
    for names in OPEN:
        for n in names:
            if (name + '.').startswith(n + '.') or n.startswith(name + '.'):
                return 1


def bring(name):
    """Take in what has come; wait for what may still bring name, if there is one."""
    install()
    if name is not None and os.getpid() == PID:
        wait_for(name)
    me = thread.get_ident()
    if FILE_SERVER in MODULES and name != FILE_SERVER and me not in BUSY:
        BUSY[me] = 1
        try:
            __import__(FILE_SERVER)    # before code that mentions places runs
        finally:
            del BUSY[me]


def wait_for(name):
    start = now()
    while name not in MODULES and expected(name):
        n = PROGRESS[0]     # what another thread reads from here on isn't waited for
        install()
        exclusively(feed)
        if name in MODULES or PROGRESS[0] != n or not expected(name):
            continue    # what has just been taken in may have been the last
        end = max(start, PROGRESS[1]) + PATIENCE
        wait(lambda: PROGRESS[0] != n or name in MODULES or now() > end)
        if now() > end and PROGRESS[0] == n and name not in MODULES:
            if '/' in name:
                return      # a file may be asked for again
            IMPORTER.nowhere(name, 'nothing that may bring it came within %d s' % PATIENCE)


def arrived():
    """Wait until nothing is on its way, or hasn't come nearer for FORK_PATIENCE: a
    fork can't ask."""
    if os.getpid() != PID:
        return
    start = now()
    soon = lambda: .5
    DUE.append(soon)
    try:
        poke()
        wait(lambda: now() > max(start, PROGRESS[1]) + FORK_PATIENCE
             or not OPEN and not [i for i in ANNOUNCED if i not in COMPLETE])
    finally:
        DUE.remove(soon)
    install()


def install():
    if ANNOUNCED and ANNOUNCED[0] in COMPLETE and os.getpid() == PID:
        exclusively(take_in)


def exclusively(function):
    """Call a function that unpacks, unless this thread is about that."""
    me = thread.get_ident()
    if me in BUSY:
        return
    BUSY[me] = 1
    try:
        if not SHA256:
            SHA256.append(sha256())
        atomic(lambda: one_at_a_time(function))
    finally:
        del BUSY[me]


def one_at_a_time(function):
    INSTALLING.acquire()
    try:
        function()
    finally:
        INSTALLING.release()


def sha256():
    names = ('_sha256', 'hashlib')
    if sys.version_info > (3, 12):
        names = ('_sha2', 'hashlib')
    for module in names:    # only what there is: what isn't would be looked for elsewhere
        try:
            return __import__(module).sha256
        except ImportError:
            pass


def take_in():
    """Make modules of bundles usable, in the order in which these were announced."""
    while ANNOUNCED and ANNOUNCED[0] in COMPLETE:
        id = ANNOUNCED[0]
        payloads = COMPLETE.pop(id)
        try:
            groups = unpack_bundle(id, payloads)
        except Exception:
            log(40, 'mitogen', 'a bundle is broken: %s' % sys.exc_info()[1])
            KEPT.pop(id, 0)
            groups = []
        for g in groups:
            MODULES.update(g)
        ANNOUNCED.remove(id)
        if id in ANNOUNCED:     # a module changed, and is as it was
            COMPLETE.setdefault(id, payloads)


def feed():
    """Unpack the beginning of the next bundle, while its rest is on its way."""
    p = ANNOUNCED and PASSAGES.get((ANNOUNCED[0], ME))
    if not p or BZIP2.startswith(head(p.payloads)):
        return
    u = UNPACKING.get(ANNOUNCED[0])
    if not u or u.payloads is not p.payloads:
        UNPACKING.clear()
        u = UNPACKING[ANNOUNCED[0]] = Unpacking(p.payloads)
    u.feed()


def head(payloads):
    return EMPTY.join([d[24:] for d in payloads[:3]])[:3]


class Unpacking:
    """The text of a bundle, as far as its payloads have come."""

    def __init__(self, payloads):
        self.payloads = payloads
        self.fed = self.size = 0
        self.wrong = None
        self.parts = []
        self.z = zlib.decompressobj()
        self.sum = SHA256[0] and SHA256[0]()

    def feed(self):
        try:
            while self.fed < len(self.payloads) and not self.wrong:
                data = self.payloads[self.fed][24:]
                self.fed += 1
                self.take(self.z.decompress(data, LARGEST + 1 - self.size))
        except Exception:
            self.wrong = sys.exc_info()[1]

    def take(self, text):
        self.size += len(text)
        if self.size > LARGEST:
            raise ValueError('it is too large')
        self.parts.append(text)
        if self.sum:
            self.sum.update(text)

    def finish(self):
        """The whole text and its hash, if that can be made here."""
        self.feed()
        if self.wrong:
            raise self.wrong
        parts, self.parts = self.parts, None
        return EMPTY.join(parts), self.sum and self.sum.digest()[:16]


def unpack_bzip2(payloads):
    z = __import__('_bz2').BZ2Decompressor()
    text = z.decompress(EMPTY.join([d[24:] for d in payloads]), LARGEST)
    if not z.eof:
        raise ValueError('it is too large')
    sha = SHA256[0]
    return text, sha and sha('bz2'.encode() + sha(text).digest()[:16]).digest()[:16]


def unpack_bundle(id, payloads):
    """The groups of modules in a bundle, as dicts like MODULES."""
    u = UNPACKING.pop(id, None)
    if head(payloads) == BZIP2:
        text, name = unpack_bzip2(payloads)
    else:
        if not u or u.payloads is not payloads:
            u = Unpacking(payloads)
        text, name = u.finish()
        del u
    if name and name != id:
        raise ValueError('it is not what it is called')
    groups = []
    pos = 0
    while pos < len(text):
        group = {}
        end = pos + 4 + unpack('>L', text[pos:pos + 4])[0]
        pos += 4
        while pos < end:
            size = unpack('>L', text[pos:pos + 4])[0]
            pos += 4
            at = text.index(ZERO, pos, pos + size)
            rest = text.index(ZERO, at + 1, pos + size) + 1
            name, letter = native(text[pos:at]), native(text[rest:rest + 1])
            pos += size
            if letter in 'mpMPxl' or name not in MODULES:
                path = native(text[at + 1:rest - 1])
                group[name] = letter.lower(), path, text[rest + 1:pos], 1, letter, id
        groups.append(group)
    return groups


# Once bundles come, Importer does these otherwise.


def served(module):
    """True if a module came from here."""
    loader = getattr(module, '__loader__', None)
    natives = globals().get('NativeLoader', ())
    return getattr(loader, 'exec_module', 0) == IMPORTER.exec_module or isinstance(loader, natives)


def is_whole(name):
    """True if a package is the target's own and has all of its modules. A namespace may have more
    of them here."""
    package = sys.modules.get(name)
    if package is None or served(package) or MODULES.get(name, '-')[0] in 'px':
        return 0        # the last: its code has put something else in its place
    return getattr(package, '__file__', None)


def below_plain(name):
    """True if the name is below a module which came and is no package, as six.moves.queue
    is: the engine has nothing there, the module makes it itself."""
    while '.' in name:
        name = '.'.join(name.split('.')[:-1])
        if MODULES.get(name, '-')[0] == 'm':
            return 1


class Bundled:
    """Methods of Importer."""

    def ours(self, name, path):
        if name != FILE_SERVER:   # bring may import it: it would be loaded twice
            bring(None)
        m = MODULES.get(name)
        if m and m[0] in 'mpx':
            return m
        parent = '.'.join(name.split('.')[:-1])
        if parent in sys.modules and not path:
            path = sys.modules[parent].__path__     # pkgutil of Python 2 gives none
        spec = name[:8] != '_mitogen' and self.local(name, path)    # ours are never the target's
        if spec:
            return spec
        if name not in MODULES and os.getpid() != PID:
            self.nowhere(name, 'a fork cannot ask')
        bring(name)
        if name not in MODULES:
            if is_whole(parent):
                return None
            files = sys.modules.get('_mitogen_files')
            if below_plain(name) or files and files.lacks(name, path):
                self.nowhere(name, 'not in the search path of the engine either')
            else:
                self.ask(name)
        return MODULES[name]

    def find_module(self, name, path=None):     # Python 2
        m = old_find_module(self, name, path)
        if m or '.' not in name or MODULES.get(name, 'm')[0] != '-':
            return m
        if native(MODULES[name][2])[:6] not in ('not in', 'not on', 'not se', 'a fork', 'in a f'):
            return self     # load_module says why it can't be sent

    def refuse(self, name):
        """Raise the error of a module that there isn't, if it is one. The whole sentence why one
        can't be sent is told once, later only the reason: who asks first may have passed over it.
        """
        letter, path, why = MODULES[name][:3]
        if letter != '-':
            return
        why = native(why)
        text = 'No module named %r: ' % name
        if why[:6] == 'not in' and served(sys.modules.get('.'.join(name.split('.')[:-1]))):
            text, why = text[:-2], ''       # as the whole package is here, there is no more to say
        kind = getattr(BUILTINS, 'ModuleNotFoundError', ImportError)
        if why[:6] not in ('', 'not in', 'not on'):
            if from_import():
                kind = ImportError      # it would pass over the other
            elif PY3 and name in TOLD:
                reason = why.split(': ', 1)[1:]
                why = 'not sent'
                if reason:
                    why += ': ' + reason[0]
            TOLD[name] = 1
        e = kind(text + why)
        e.name = name
        raise e

    def exec_module(self, module):
        name = module.__name__
        if name in HOOKS or MODULES[name][0] == 'n':
            old_exec_module(self, module)
        else:
            UNSEEN(getattr(BUILTINS, 'exec'), self.get_code(name), module.__dict__)

    def get_code(self, name):
        """The code of a module. The compiler's warnings about installed ones are not shown: they
        were compiled when they were installed."""
        filters = None
        if MODULES[name][4:] and MODULES[name][4] in 'MP':
            filters = getattr(sys.modules.get('warnings', WARNINGS), 'filters', None)
        if filters is None:
            return module_code(self, name)
        hush = 'ignore', None, Warning, Hush(), 0
        filters.insert(0, hush)
        try:
            return module_code(self, name)
        finally:
            if hush in filters:
                filters.remove(hush)

    def discover(self, parent=None):
        """Specs of the modules in a package that are here, for suggestions of what was meant."""
        above = getattr(parent, 'name', '')
        return iter([self.spec(n, m) for n, m in list(MODULES.items())
                     if m[0] in 'mpnx' and '.'.join(n.split('.')[:-1]) == above])

    def spec(self, name, m):
        if m[0] == 'x':
            return native_spec(name, m[1])
        s = old_spec(self, name, m)
        if m[0] in 'mp' and name not in HOOKS and FILE_LOADER:
            s.loader = file_loader(name, m[1])
        return s


TOLD = {}       # names whose reason has been told
FILE_LOADER = getattr(sys.modules.get('_frozen_importlib_external',
                                      sys.modules.get('_frozen_importlib')),
                      'SourceFileLoader', None)
WARNINGS = sys.modules.get('_warnings')
UNSEEN = getattr(sys.modules.get('_frozen_importlib'), '_call_with_frames_removed', None)
old_exec_module = Importer.exec_module
old_find_module = Importer.find_module
old_get_code = Importer.get_code
old_spec = Importer.spec


def from_import():
    """True if refuse() was called because of `from package import name`."""
    f = sys._getframe(3)
    while f and ('_mitogen' in f.f_code.co_filename[:9] or 'importlib' in f.f_code.co_filename):
        if f.f_code.co_name == '_handle_fromlist':
            return 1
        f = f.f_back


class Hush:
    """Stands in a filter of warnings for the pattern of a module, and matches what the thread that
    made it is told."""

    def __init__(self):
        self.thread = thread.get_ident()

    def match(self, text):
        return thread.get_ident() == self.thread


def file_loader(name, path):
    """A loader of one module, of the type that libraries look for. IMPORTER does what it does."""
    loader = FILE_LOADER(name, path)
    methods = loader.__dict__
    methods['create_module'] = IMPORTER.create_module
    methods['exec_module'] = IMPORTER.exec_module
    methods['get_data'] = served_data
    for n in 'get_code get_source get_filename is_package get_resource_reader'.split():
        methods[n] = for_module(n, name)
    return loader


def served_data(path):
    return IMPORTER.get_data(path)


def for_module(method, own):
    def call(name=None):    # by any caller, also with a keyword
        return getattr(IMPORTER, method)(name or own)
    return call


def module_code(self, name):
    if not UNSEEN:
        return old_get_code(self, name)
    self.refuse(name)
    return UNSEEN(compile, unpacked(MODULES[name]), MODULES[name][1], 'exec', 0, 1)


def unseen(function):
    """Have tracebacks leave out a function, as they do those of the import system: programs tell by
    their length whether a module is missing or broken."""
    code = getattr(function, '__code__', None)
    if hasattr(code, 'replace'):    # from 3.8 on
        function.__code__ = code.replace(co_filename='<frozen importlib._bootstrap>')


for n in 'ours find_module refuse exec_module get_code discover spec'.split():
    setattr(Importer, n, Bundled.__dict__[n])
for n in 'find_spec refuse exec_module get_code'.split():
    unseen(Importer.__dict__.get(n))
unseen(module_code)
unseen(getattr(sys.modules.get('_mitogen_files'), 'FIND_SPEC', None))   # Importer's own, then
later('_mitogen_native', globals(), 'tags')
later('_mitogen_lacks', HANDLERS, ASK)
COMES.append(bring)
PASSES[BUNDLE] = lambda dst, raw: passing(dst, raw[28:-2])
HANDLERS.update({BUNDLE: on_bundle, FORWARD: on_forward, COMING: on_coming})
