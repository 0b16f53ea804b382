"""Modules in bulk: takes bundles in, says what can't be imported here, and as a hop keeps and sends on what passes.

Sent as `_mitogen_forward`; docs/protocol.md, section 3. Runs in the namespace of core.py; core's names are used as they
are. Handlers run in the thread that reads, and only put aside what comes: it is unpacked by the thread whose import
wants it, which may import what that takes.
"""
KEEP = 67108864     # bytes of bundles that are kept
LARGEST = 134217728     # bytes of a bundle: what a program is made of has no part in LIMIT, which is for values

PASSAGES = {}       # (id, dst): Passage, on its way
KEPT = {}           # id: payloads of its BUNDLE frames
USED = []           # ids of KEPT, the longest unused first
ANNOUNCED = []      # ids that are for this context and not taken in yet, in their order
COMPLETE = {}       # id: payloads, of those that are
OPEN = []           # names of each ASK that COMING hasn't answered
PROGRESS = [0, 0]   # frames that brought imports nearer, when the last one came
INSTALLING = thread.allocate_lock()
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


def cut_off():
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
    if data[:16] in ANNOUNCED:
        progress()
        payloads = passing(ME, data)
        if payloads:
            COMPLETE[data[:16]] = payloads


def on_forward(src, reply, kind, data):
    id = data[:16]
    ctx = unpack('>L', data[16:20])[0]
    if id in KEPT:
        use(id)
        if ctx == ME:
            COMPLETE[id] = KEPT[id]
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


def on_ask(src, reply, kind, data):
    names = data.split(ZERO)
    OPEN.append([native(n) for n in names])

    def answer():
        send(0, LACKS, ZERO.join([n for n in names if not has(native(n))]))
    if [f for f in sys.meta_path if f is not IMPORTER and
            not getattr(f, '__module__', '').startswith('_frozen_importlib')] and PY3:
        thread.start_new_thread(answer, ())     # a program's finder may import, and so wait for us
    else:
        answer()


def has(name):
    """True if name can be imported without us, as far as can be told without importing anything."""
    path = None
    full = ''
    for part in name.split('.'):
        full += part
        m = sys.modules.get(full)
        if m is not None and getattr(m, '__spec__', 1) is not None and getattr(m, '__loader__', None) is not IMPORTER:
            path = getattr(m, '__path__', None)
            full += '.'
            continue
        try:
            found, path = locate(full, path)
        except Exception:
            return 0
        if not found:
            return 0
        full += '.'
    return 1


def locate(name, path):
    """Tell if the target has module name on path, and return the path of its own."""
    if sys.version_info > (3, 4):
        spec = IMPORTER.local(name, path)
        places = spec and spec.submodule_search_locations
        return spec, places and list(getattr(places, '_path', places))
    tail = name.split('.')[-1]
    if path is None and tail in sys.builtin_module_names:
        return 1, None
    try:
        f, place, kind = imp.find_module(tail, path)
        if f:
            f.close()
        return 1, [place]
    except ImportError:
        return IMPORTER.local(name, path), [os.path.join(p, tail) for p in path or sys.path]


def expected(name):
    """True if something that may bring name is still to come."""
    if name in ASKED or ANNOUNCED:
        return 1
    for names in OPEN:
        for n in names:
            if (name + '.').startswith(n + '.') or n.startswith(name + '.'):
                return 1


def lending(wait):
    """wait, with the lock of all imports lent to others meanwhile. What looks for a module is called under that lock, and the reader may
    have to collect garbage: some of importlib's takes the lock."""
    imp = sys.modules['_imp']

    def lend(ready):
        n = 0
        try:
            while imp.lock_held():
                imp.release_lock()
                n += 1
        except RuntimeError:
            pass    # it is another thread's, or was
        try:
            wait(ready)
        finally:
            for i in range(n):
                imp.acquire_lock()
    return lend


if '_imp' in sys.modules:   # from 3.3 on; before, all of an import has one lock
    wait = lending(wait)


def bring(name):
    """Take in what has come; wait for what may still bring name, if there is one."""
    install()
    if name is None or os.getpid() != PID:
        return
    start = now()
    while name not in MODULES and expected(name):
        n = PROGRESS[0]
        end = max(start, PROGRESS[1]) + PATIENCE
        wait(lambda: PROGRESS[0] != n or name in MODULES or now() > end)
        install()
        if now() > end and PROGRESS[0] == n and name not in MODULES:
            IMPORTER.nowhere(name, 'nothing that may bring it came within %d s' % PATIENCE)


def install():
    me = thread.get_ident()
    if not ANNOUNCED or ANNOUNCED[0] not in COMPLETE or me in BUSY or os.getpid() != PID:
        return
    BUSY[me] = 1
    try:
        if not SHA256:
            SHA256.append(sha256())
        atomic(take_in)
    finally:
        del BUSY[me]


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
    INSTALLING.acquire()
    try:
        while ANNOUNCED and ANNOUNCED[0] in COMPLETE:
            id = ANNOUNCED[0]
            try:
                groups = unpack_bundle(id, COMPLETE[id])
            except Exception:
                log(40, 'mitogen', 'a bundle is broken: %s' % sys.exc_info()[1])
                KEPT.pop(id, 0)
                groups = []
            for g in groups:
                MODULES.update(g)
            del COMPLETE[id]
            ANNOUNCED.remove(id)
    finally:
        INSTALLING.release()


def unpack_bundle(id, payloads):
    """The groups of modules in a bundle, as dicts like MODULES."""
    z = zlib.decompressobj()
    text = z.decompress(EMPTY.join([d[24:] for d in payloads]), LARGEST)
    if z.unconsumed_tail:
        raise ValueError('it is too large')
    if SHA256[0] and SHA256[0](text).digest()[:16] != id:
        raise ValueError('it is not what it is called')
    groups = []
    pos = 0
    while pos < len(text):
        group = {}
        end = pos + 4 + unpack('>L', text[pos:pos + 4])[0]
        pos += 4
        while pos < end:
            size = unpack('>L', text[pos:pos + 4])[0]
            name, path, rest = text[pos + 4:pos + 4 + size].split(ZERO, 2)
            name, letter = native(name), native(rest[:1])
            if letter in 'mp' or name not in MODULES:
                group[name] = letter, native(path), rest[1:], 1
            pos += 4 + size
        groups.append(group)
    return groups


COMES.append(bring)
PASSES[BUNDLE] = lambda dst, raw: passing(dst, raw[28:-2])
HANDLERS.update({BUNDLE: on_bundle, FORWARD: on_forward, ASK: on_ask, COMING: on_coming})
