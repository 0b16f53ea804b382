"""Running whole programs in a context: a script, a module, a command. Served as `_mitogen_run`.

Each function ends with the exit status that a shell would see.
"""
import os
import signal
import sys

import _mitogen as core


class Input(core.Stream):
    """The pipe behind fd 0, fed from the STDIN frames of one run."""

    def __init__(self, reply):
        self.reply = reply
        self.eof = self.done = 0
        core.atomic(core.alone, self.open)

    def open(self):
        r, w = core.posix.pipe()    # no program is started
        core.Stream.__init__(self, None, core.high(w))
        os.close(w)
        os.dup2(r, 0)
        os.close(r)
        core.FEED.append(self.feed)
        self.feed()

    def feed(self):
        """Take what has come for this run; what came for an earlier one is dropped."""
        later = []
        while core.EARLY:
            reply, data = core.EARLY.pop(0)
            if reply == self.reply:
                self.put(data)
                self.eof = self.eof or not data
            elif reply > self.reply:
                later.append((reply, data))
        core.EARLY.extend(later)
        self.flush()

    def written(self, n):
        core.UP.out.appendleft(core.frame(0, core.CREDIT, core.pack('>LL', core.STDIN, n)))

    def flush(self, ev=None):
        if not self.done:
            core.Stream.flush(self)
            core.UP.flush()
            if self.eof and not self.rest and not self.out:
                self.lost()

    def lost(self, grace=0):
        if not self.done:
            self.done = 1
            self.blocked = 0
            core.STREAMS.remove(self)
            if self.waits:
                core.POLL.unregister(self.w)
            del core.FDS[self.w]
            os.close(self.w)

    def close(self):
        core.atomic(core.alone, self.end)
        fd = os.open('/dev/null', os.O_RDONLY)
        os.dup2(fd, 0)
        os.close(fd)

    def end(self):
        del core.FEED[:]
        if not self.done and core.S.late == core.S.current:
            self.keep()
        else:
            self.lost()

    def keep(self):
        """Cancelled: what still reads must not take what it has for the whole. The pipe stays open until nobody reads."""
        self.done = 1
        core.STREAMS.remove(self)
        if self.waits:
            core.POLL.unregister(self.w)
        core.FDS[self.w] = self.unread
        core.POLL.register(self.w, 0)

    def unread(self, ev):
        core.POLL.unregister(self.w)
        del core.FDS[self.w]
        os.close(self.w)


def status(fn, *args):
    """Call fn as the interpreter runs a main program; returns the exit status."""
    try:
        fn(*args)
        return 0
    except SystemExit:
        code = sys.exc_info()[1].code
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 255
        sys.stderr.write('%s\n' % (code,))
    except KeyboardInterrupt:
        if core.S.late == core.S.current:
            raise       # by CANCEL, and not by the program itself
        report()
        return 130
    except:
        report()
    return 1


def report():
    """Print the exception that is handled as the interpreter does at its end."""
    t, v, tb = sys.exc_info()
    while tb and tb.tb_frame.f_globals is globals():
        tb = tb.tb_next
    if sys.excepthook is sys.__excepthook__:
        # The interpreter's own looks for source lines on disk only.
        import traceback
        sys.stderr.write(''.join(traceback.format_exception(t, v, tb)))
    else:
        sys.excepthook(t, v, tb)


def threads():
    """The threads that threading knows to run, without the main thread and daemons."""
    if 'threading' not in sys.modules:
        return []
    return [t for t in sys.modules['threading'].enumerate()
            if t.__class__.__name__ != '_MainThread' and not getattr(t, 'daemon', None)]


def end(before):
    """Do all that an interpreter does at its end, which waits for the threads that were not there
    before."""
    pool = sys.modules.get('concurrent.futures.thread')
    if pool:
        pool._python_exit()
    for t in threads():
        if t not in before:
            t.join()
    if 'atexit' in sys.modules:
        sys.modules['atexit']._run_exitfuncs()
    if pool:
        pool._shutdown = False      # for the next program


def main_program(fn, stdin, *args):
    """As status; then what an interpreter does at its end. fd 0 is fed from STDIN frames if stdin."""
    fed = None
    if stdin:
        fed = Input(core.S.current[1])
    before = threads()
    old = sys.stdin
    try:
        sys.stdin = reader(old)
        code = status(fn, *args)
        status(end, before)
        return code
    finally:
        sys.stdin = old
        if fed:
            fed.close()


def reader(old):
    """A fresh file object on fd 0."""
    if not core.PY3:
        return os.fdopen(os.dup(0))
    import io
    return io.open(0, 'r', -1, old.encoding, old.errors, None, False)


class Source:
    """A loader that linecache asks for the lines of a script that is on no disk here."""

    def __init__(self, text):
        self.text = text

    def get_source(self, name=None):
        return self.text


def word(s):
    """Text as sys.argv has it."""
    if core.PY3:
        return s
    return s.encode('utf-8')


def raw(s):
    """Text as the system's calls take it, whatever the locale is."""
    if core.PY3:
        return s.encode('utf-8', 'surrogateescape')
    return s.encode('utf-8')


def script(source, filename, argv, stdin=False):
    """Run source (bytes) as `__main__`, with argv as sys.argv."""
    return main_program(execute, stdin, source, filename, argv)


def execute(source, filename, argv):
    sys.argv[:] = [word(a) for a in argv]
    main = sys.modules['__main__'] = type(sys)('__main__')
    main.__file__ = word(filename)
    main.__builtins__ = core.BUILTINS
    if 'linecache' in sys.modules:
        sys.modules['linecache'].cache.pop(main.__file__, None)     # an earlier script's
    if not core.PY3:
        source = source.replace('\r\n', '\n') + '\n'
    main.__loader__ = Source(core.source(('m', '', core.zlib.compress(source))))
    if not source.strip():
        return
    exec(compile(source, main.__file__, 'exec', 0, 1), main.__dict__)


def module(name, argv, stdin=False):
    """As `python -m name`."""
    return main_program(run_module, stdin, name, argv)


def run_module(name, argv):
    import runpy
    sys.argv[:] = [word(a) for a in [name] + argv]
    runpy.run_module(sys.argv[0], None, '__main__', True)


def command(argv, env=None, cwd=None, stdin=False):
    """Run a program with this context's fds 0, 1 and 2. env is added to the environment."""
    import errno
    import subprocess
    fed = None
    if stdin:
        fed = Input(core.S.current[1])
    full = dict(getattr(os, 'environb', os.environ))
    full.update([(raw(k), raw(v)) for k, v in (env or {}).items()])
    if cwd is not None:
        cwd = raw(cwd)
    started = []
    try:
        try:
            core.atomic(lambda: started.append(
                subprocess.Popen([raw(a) for a in argv], env=full, cwd=cwd, preexec_fn=default_signals)))
            code = started[0].wait()
        except OSError:
            e = sys.exc_info()[1]
            what = argv[0]
            if cwd and not os.path.isdir(cwd):
                what = 'cd ' + core.native(cwd)
            os.write(2, raw('mitogen: %s: %s\n' % (what, e.strerror or e)))
            return {errno.ENOENT: 127}.get(e.errno, 126)
        except KeyboardInterrupt:
            for p in started:
                if p.returncode is None:
                    os.kill(p.pid, signal.SIGTERM)
                    p.wait()
            raise
    finally:
        if fed:
            fed.close()
    if code < 0:
        code = 128 - code
    return code


def default_signals():
    """What Python ignores and programs don't."""
    for name in ('SIGPIPE', 'SIGXFSZ'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
