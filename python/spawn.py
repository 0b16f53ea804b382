"""Makes a context a hop, which starts other contexts and carries their frames. Sent as
`_mitogen_spawn`, of which this is the last part.

Runs in the namespace of the core, in the thread that reads (the holder of R); core's names
are used as they are. Uses child.py, child_start.py, process.py and execute.py.
"""
from _mitogen import (ABOVE_LIMIT, CALL, CONNECT, Child, DUE, EMPTY, ERROR, FRAME_COST, HANDLERS,
    ITEM, KILL, LEAVE, MODULES, PASSES, PATIENCE, PROTO, ROUTES, S, SHUTDOWN, SIZES, TABLES, UP,
    USES, WRITE, ZERO, dead, dumpable, dumps, frame, later, loads, now, os, poke, register, send,
    sys, text, unpack, wait, zlib)

CHILDREN = {}       # id: Child
QUEUE = []          # those that are not started yet
ABREAST = 4         # how many processes of this machine start at a time, for each processor
TIMERS = []         # [when, function]
TUNNEL, SESSION = 14, 15        # handles of OPEN and SESSION
CAUSE = [None]          # the child whose bytes are handled now
HELD_BACK = []          # children that are not read
WORK_LIMIT = 10000      # entries of WORK; what is beyond may be taken for idle
# (src, reply) of what was passed on and is not answered: the context that runs it
WORK = {}
USES.append(WORK)
TABLES += TIMERS, HELD_BACK, QUEUE, CHILDREN, WORK


def after(seconds, fn):
    TIMERS.append([now() + seconds, fn])


def run_timers():
    """Run what is due; returns seconds until the next is."""
    since = now()
    first = since + PATIENCE
    for t in TIMERS:
        first = min(first, t[0])
    if HELD_BACK:
        for c in HELD_BACK[:]:
            if c.above() < ABOVE_LIMIT // 2:
                c.read_on()
    if first > since:
        return first - since
    for t in [t for t in TIMERS if t[0] <= since]:
        TIMERS.remove(t)
        t[1]()
    return 0        # a thread may wait for the result


DUE.append(run_timers)


# Frames that children have caused wait in UP as pairs of child and frame.


def charged(data):
    """An element of UP.out."""
    c = CAUSE[0]
    if not c:
        return data
    c.caused += len(data) + FRAME_COST
    return c, data


def put_up(data):
    UP.out.append(charged(data))


def put_up_first(dst, handle, data):
    UP.out.appendleft(charged(frame(dst, handle, data)))
    UP.flush()


def fill_up():
    """As Stream.fill; the caller holds WRITE."""
    size = len(UP.rest)
    take = size and [UP.rest] or []
    while size < 65536 and UP.out:
        f = UP.out.popleft()
        if type(f) is tuple:
            c, f = f
            c.carried += len(f) + FRAME_COST
            if HELD_BACK and c in HELD_BACK and c.above() < ABOVE_LIMIT // 2:
                poke()      # this may not be the thread that reads
        take.append(f)
        size += len(f)
    UP.rest = EMPTY.join(take)


WRITE.acquire()     # another thread may be in the old ones
UP.fill, UP.put = fill_up, put_up
WRITE.release()
globals()['urgent'] = put_up_first


def on_connect(src, reply, kind, data):
    id = unpack('>L', data[:4])[0]
    if kind == ITEM:
        return said_to(CHILDREN.get(id), data[4:])
    if id in ROUTES:
        return dead(src, reply, 'context %d exists' % id)
    try:
        plan = loads(data[4:])
        plan = dict([(native_text(k), v) for k, v in plan.items()])
        Child(id, src, reply, plan)
    except Exception:
        return not_started(src, reply)
    start_some()


def not_started(src, reply):
    """Answer a CONNECT whose program couldn't be started, because of the exception
    that is handled."""
    send(src, reply, dumps(('exec', None, text(sys.exc_info()[1]), 0), PROTO), ERROR)


def load_asking():
    """Load what knows whether a program asks, into the namespace of the core. It is sent with the
    first plan that has secrets."""
    if 'asking' in globals():
        return
    exec(compile(zlib.decompress(MODULES['_mitogen_asking'][2]), '<_mitogen_asking>', 'exec'),
         globals())


def said_to(child, data):
    """Take the text of a dialogue that comes from our parent."""
    if child and child.launched and child.listens():
        dumpable(0)
        if child.plan['dialogue'] == 'questions':       # of an ssh, whose terminal is its own
            tell(child.tty, data)
        else:
            load_asking()
            child.type(data)


def tell(fd, data):
    """Write to a program, which may have ended: that is reported."""
    try:
        os.write(fd, data)
    except OSError:
        pass


def processors():
    try:
        return max(1, os.sysconf('SC_NPROCESSORS_ONLN'))
    except Exception:
        return 1


def start_some():
    """Start those that wait, as many as this machine can do at a time; what is elsewhere
    doesn't count."""
    busy = len([1 for c in CHILDREN.values() if c.launched and not c.up and c.plan.get('near')])
    for c in QUEUE[:]:
        if c.plan.get('near'):
            if busy >= ABREAST * processors():
                continue
            busy += 1
        QUEUE.remove(c)
        try:
            c.launch()
        except Exception:
            del CHILDREN[c.id]
            del ROUTES[c.id]
            not_started(c.src, c.reply)


def native_text(k):
    return str(k)


def utf8(s):
    """Text as the system's calls take it, whatever the locale is."""
    return s.encode('utf-8')


def on_kill(src, reply, kind, data):
    c = CHILDREN.get(unpack('>L', data)[0])
    if c:
        c.leaving = 1
        c.end('killed')


def dismiss(dst, raw):
    """Note a SHUTDOWN on its way to a child."""
    c = CHILDREN.get(dst)
    if c:
        c.leaving = 1


def on_pong(src, reply, kind, data):
    pass


def leave_children():
    """They have been told to end, or see the end of their streams."""
    end = now() + 0.9
    for c in list(CHILDREN.values()):
        after(0.7, lambda c=c: c.end('killed'))
    wait(lambda: not CHILDREN or now() > end)


def learn(dst, raw):
    ROUTES[unpack('>L', raw[28:32])[0]] = ROUTES[dst]


def begin_work(dst, raw):
    """Note a CALL, or the first frame of an OPEN or SESSION, on its way to a child."""
    src, auth, handle, reply, size = unpack('>5L', raw[8:28])
    if reply and size and raw[3:4] == ZERO:
        if len(WORK) < WORK_LIMIT:
            WORK[src, reply] = dst
        if handle == TUNNEL:
            try:
                allow_silence(loads(raw[28:-2]))
            except Exception:
                pass        # whom it is for will say so
        S.timeout = BUSY_TIMEOUT


def allow_silence(spec):
    """Take the timeout of an OPEN, which is another engine's, for which it starts something."""
    global BUSY_TIMEOUT
    if BUSY_TIMEOUT:    # 0: any silence is allowed
        BUSY_TIMEOUT = max(BUSY_TIMEOUT, spec.get('heartbeat', 0))


def end_work(gone):
    """Forget what contexts run that are gone."""
    for key in [k for k in WORK if WORK[k] in gone]:
        del WORK[key]


LEAVE.append(leave_children)
PASSES[CONNECT] = learn
PASSES[SHUTDOWN] = dismiss
PASSES[CALL] = PASSES[TUNNEL] = PASSES[SESSION] = begin_work
PONG = register(on_pong)
HANDLERS[CONNECT] = on_connect
HANDLERS[KILL] = on_kill
later('_mitogen_fan', HANDLERS, 28)
SIZES[KILL] = 4
