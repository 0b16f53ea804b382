"""Makes a copy of the context the process of a program. Part of `_mitogen_run`; uses
run_relay.py."""
from run_relay import LINUX, MARK, Peer, REGISTERED, SHARED, core, os, signal, sys
from process import close_all_but


class Parent(Peer):
    """The context, as its program sees it."""

    def __init__(self, r, w):
        Peer.__init__(self, r, w)
        self.place = self.identity()

    def identity(self):
        st = os.fstat(self.w)
        return st.st_dev, st.st_ino

    def flush(self, ev=None):
        """As Stream.flush, but not to a file of the program's that has our number."""
        try:
            if os.getpid() != core.PID or self.identity() != self.place:
                raise OSError()
        except OSError:
            self.out.clear()
            raise OSError(core.errno.EPIPE, 'a forked process, or one that has closed all files, '
                          'can ask the engine for nothing')
        core.Stream.flush(self)

    def lost(self, grace=0):
        Peer.lost(self)
        try:
            if self.identity() == self.place:
                os.kill(0, 9)   # the context is gone
        except OSError:
            pass


def far(fd, blocking):
    """A copy of fd with a number that programs don't take."""
    for least in (900, 200, 3):
        try:
            fd = core.fcntl.fcntl(fd, core.fcntl.F_DUPFD, least)
            break
        except (OSError, IOError, ValueError):
            pass
    core.private(fd, blocking)
    return fd


def channel():
    """Two sockets by which forks of a program may ask for files, if the program may need such."""
    if ('_mitogen_files' in core.MODULES or core.__dict__.get('ANNOUNCED')
            or core.__dict__.get('OPEN')):
        import _socket
        if hasattr(_socket.socket, 'recvmsg'):
            return [s.detach() for s in _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM)]
    return []


def begin(r, w, life, channel, outputs):
    """As become, which can't fail: the context goes on only once."""
    try:
        if outputs:
            outputs.take()
        become(r, w, life, channel)
    except:
        try:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)


def become(r, w, life, channel):
    """Be a program's process: nothing stays of the runtime's threads, files, locks and handlers."""
    os.setsid()
    core.PID = os.getpid()
    core.MAIN = core.thread.get_ident()
    life, r, w = far(life, 1), far(r, 1), far(w, 1)
    arm(life)
    wake = [far(fd, 0) for fd in core.posix.pipe()]
    kept = [far(fd, 1) for fd in channel]
    core.CHANNEL = (kept + [None])[0]
    close_all_but([0, 1, 2, life, r, w] + kept + wake)
    s = core.S
    s.stop = 1
    s.crit = 2      # an interrupt waits for status()
    s.again = s.started = s.timeout = s.leaving = s.idle = 0
    new = core.thread.allocate_lock
    core.R, core.WRITE, core.OUTPUT = new(), new(), new()
    for name in (
            'ANSWERS WAITERS Q FEED EARLY LEAVE STREAMS FDS PARTS ROUTES FLOWS '    # names of core
            'CAPTURED BUSY').split():   # names of core
        empty(core.__dict__.get(name, []))
    for table in core.TABLES:
        empty(table)
    # Another thread may have had them.
    for name in 'INSTALLING GUARDING ANSWERING'.split():    # names of core
        if name in core.__dict__:
            setattr(core, name, new())
    m = sys.modules.get('mitogen')
    if m:
        del m._DEADLINES[:]
        m._GUARD = new()
        m._SENDING.clear()
    core.POLL = getattr(core.select, 'poll', core.Poll)()
    core.WAKE = wake
    core.FDS[wake[0]] = core.woken
    core.POLL.register(wake[0], core.POLLIN)
    core.UP = Parent(r, w)
    handlers()
    plain()
    drop(core.HOOKS[0].__dict__.pop('f', None))     # that the boot has read from


def empty(many):
    if type(many) is list:
        del many[:]
    else:
        many.clear()


def arm(life):
    """On Linux let the kernel kill the program's process group when the context is gone."""
    if LINUX:
        core.fcntl.fcntl(life, 10, 9)   # F_SETSIG
        core.fcntl.fcntl(life, core.fcntl.F_SETOWN, -core.PID)
        flags = core.fcntl.fcntl(life, core.fcntl.F_GETFL)
        core.fcntl.fcntl(life, core.fcntl.F_SETFL, flags | getattr(core.fcntl, 'FASYNC', 8192))
        p = getattr(core.select, 'poll', core.Poll)()
        p.register(life, 16)    # POLLHUP: it may be gone already
        if p.poll(0):
            os._exit(1)


def handlers():
    """Have frames and signals handled as a program needs it."""
    for handle in list(core.HANDLERS):
        if handle not in SHARED:
            del core.HANDLERS[handle]
    core.HANDLERS[core.CANCEL] = cancel     # instead of core/tables.py
    core.settle = settle
    core.ask_mark = ask_mark
    core.register = register
    if hasattr(signal, 'set_wakeup_fd'):
        signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def cancel(src, reply, kind, data):
    core.S.late = src, core.unpack('>L', data)[0]


def settle(block):
    """Send the requests that wait; the context settles the rest."""
    while core.ANSWERS:
        core.UP.put(core.ANSWERS.pop(0))
    core.UP.flush()


def ask_mark():
    """The context's mark, once it has a guard."""
    got = []
    core.HANDLERS[MARK] = lambda src, reply, kind, data: got.append(core.native(data))
    core.send(core.ME, MARK)
    core.wait(lambda: got)
    if not got[0] and LINUX:
        raise OSError(core.errno.EAGAIN, 'the context can start no guard')
    return got[0]


def register(fn, registered=core.register):
    """As core's, and tell the context, which gives out numbers after this program."""
    h = registered(fn)
    core.send(core.ME, REGISTERED, core.pack('>L', h))
    return h


def plain():
    """Leave to the program what the interpreter has, as it has it."""
    if not core.PY3:
        drop(sys.stdout)        # the runtime's
    for name in ('stdin', 'stdout', 'stderr'):
        f = getattr(sys, '__%s__' % name)
        if f is not None:
            setattr(sys, name, f)
    if getattr(sys.stdout, 'line_buffering', False) and hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(line_buffering=False)    # it was a terminal
    faults = sys.modules.get('faulthandler')
    if faults:
        faults.disable()
        if os.environ.get('PYTHONFAULTHANDLER'):
            faults.enable()
    core.HOOKABLE.pop('logging', 0)     # instead of core/tables.py
    if sys.version_info > (3, 4):
        core.HOOKABLE['multiprocessing.spawn'] = hook_spawn
    logging = core.HOOKS.get('logging')
    if logging:
        logging.root.handlers = [h for h in logging.root.handlers
                                 if type(h).__module__ != '_mitogen']
        f = logging.basicConfig
        logging.basicConfig = (getattr(f, '__defaults__', None) or f.func_defaults)[0]
        logging.root.setLevel(logging.WARNING)
    files = sys.modules.get('_mitogen_files')
    if files:
        files.begin_again()


def hook_spawn():
    """Import multiprocessing.spawn; what it starts is given what this program was sent."""
    module = core.hooked('multiprocessing.spawn')
    theirs = module.get_preparation_data
    module.get_preparation_data = lambda name: __import__('_mitogen_worker').given(theirs(name))
    return 'm', module.__file__


def drop(f):
    """Close a file object, which would warn when it is freed, but not its descriptor."""
    if f:
        n = f.fileno()
        fd = os.dup(n)
        f.close()
        os.dup2(fd, n)
        os.close(fd)


def status(fn, args):
    """Call fn as the interpreter runs a main program; returns what SystemExit is to have."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # A signal that came while this process began is forgotten, but the frame before it isn't.
        if core.S.interrupt or cancelled():
            raise KeyboardInterrupt
        fn(*args)
        return 0
    except SystemExit:
        return sys.exc_info()[1].code
    except KeyboardInterrupt:
        code = 1
        if not cancelled():
            code = report()
        if code != 1:
            return code
        if os.getpid() != core.PID:
            return KeyboardInterrupt
        return 130
    except:
        return report()


def cancelled():
    """True if it was CANCEL, and not the program itself."""
    if os.getpid() == core.PID and not core.UP.gone:
        core.alone(lambda: core.react(0))   # another thread may read
    return core.S.late == core.S.current


def report():
    """Print the exception that is handled as the interpreter does at its end; returns what
    SystemExit is to have."""
    t, v, tb = beyond(*sys.exc_info())
    if sys.excepthook is not sys.__excepthook__:
        try:
            sys.excepthook(t, v, tb)
            return 1
        except SystemExit:
            return sys.exc_info()[1].code
        except:
            wrong = beyond(*sys.exc_info())
            if getattr(wrong[1], '__context__', None) is v:
                wrong[1].__context__ = None
            sys.stderr.write('Error in sys.excepthook:\n')
            show(*wrong)
            sys.stderr.write('\nOriginal exception was:\n')
    show(t, v, tb)
    return 1


def beyond(t, v, tb):
    """An exception without the frames of this module."""
    while tb and tb.tb_frame.f_globals is globals():
        tb = tb.tb_next
    return t, v, tb


def show(t, v, tb):
    """Print an exception. The interpreter's own function looks for source lines on disk only."""
    import traceback
    parts = traceback.format_exception(t, v, tb, **as_shown())
    if sys.version_info < (3, 11) and 'PyPy' not in sys.version:
        parts = with_modules(parts, t, v)
    lines = ''.join(parts).splitlines(True)
    if (3, 10) <= sys.version_info < (3, 12):
        offers = offered(lines, t, v, tb)
        lines = [offers.get(l, l) for l in lines]
    if getattr(sys, 'tracebacklimit', 1) < 1:
        lines = [l for l in lines if l.lstrip(' |+') != 'Traceback (most recent call last):\n']
    text = ''.join([l for l in lines if not hidden(l)])
    sys.stderr.write(text.replace('"/dev/null/', '"/'))     # as where it is installed
    if sys.version_info < (3,) or sys.version_info >= (3, 8):   # before, os._exit loses it
        sys.stderr.flush()


def with_modules(parts, t, v):
    """Parts of a traceback with exceptions called as the interpreter does before 3.11, by module
    and name: module traceback omits the module in Python 2, later if it is the main program."""
    if sys.version_info < (3,):
        module = getattr(t, '__module__', 'exceptions')
        if module != 'exceptions':
            parts[-1] = '%s.%s' % (module, parts[-1])
        return parts
    seen, left, shown = {}, [v], {}
    while left:
        v = left.pop()
        if v is not None and id(v) not in seen:
            seen[id(v)] = v
            left += [getattr(v, n, None) for n in ('__cause__', '__context__')]
            t = type(v)
            text = t.__qualname__
            if t.__module__ not in ('__main__', 'builtins'):
                text = '%s.%s' % (t.__module__, text)
            if t.__module__ != 'builtins':
                name = sys.version_info < (3, 9) and t.__name__ or t.__qualname__
                shown[text] = '%s.%s' % (t.__module__, name)
    return [part.replace(old, shown.get(old, old), 1)
            for part, old in [(p, p.split(':')[0].strip()) for p in parts]]


def offered(lines, *exception):
    """What the interpreter makes of those of lines to which it adds a name that may be meant; from
    3.12 on module traceback does."""
    if not [1 for l in lines for name in ('NameError: ', 'AttributeError: ')
            if l.lstrip(' |+').startswith(name)]:
        return {}
    import io
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(*exception)
        text = sys.stderr.getvalue()
    finally:
        sys.stderr = kept
    found = {}
    for line in text.splitlines(True):
        error = line.rsplit('. Did you mean: ', 1)
        if error[1:]:
            found[error[0] + '\n'] = line
    return found


def as_shown():
    """Arguments for module traceback to show what the interpreter would."""
    kinds = {}
    limit = getattr(sys, 'tracebacklimit', None)
    if type(limit) is int and sys.version_info > (3, 5):
        kinds['limit'] = min(0, -limit)     # the innermost frames
    if sys.version_info > (3, 13):
        import _colorize
        kinds['colorize'] = _colorize.can_colorize()
    return kinds


def hidden(line):
    """True for a frame that an import has only here, or that the interpreter leaves out."""
    line = line.replace('\x1b[35m', '').lstrip(' |+')
    return [1 for n in ('mitogen', '_mitogen', 'frozen importlib')
            if line.startswith('File "<' + n)]
