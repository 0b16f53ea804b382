"""An interactive interpreter at a terminal. Sent as `_mitogen_repl`.

A program (run.py) calls main. The interpreter is a copy of that program, in a session and at a
terminal of its own, which asks the engine for modules from then on. The program itself asks nothing
any more: it passes keys from its standard input to the terminal, and from there to its standard
output. Its input has records: a letter, a length of two bytes, and keys (k) or the size of the
terminal (w). The end of the input hangs up, and so does CANCEL.
"""
import os
import select
import sys
import termios
import time

import _mitogen as core
import _mitogen_run as run

LOOK = .5           # seconds between two looks whether the interpreter has ended
PIECE = 4096        # bytes: so many a pipe takes that can be written to
GRACE = .3          # seconds from hanging up to SIGKILL


def main(argv):
    """argv: the terminal's type, its size, and variables of the environment as NAME=VALUE."""
    core.flush_stdio()
    master, slave = os.openpty()
    resize(master, [int(n) for n in argv[1].split(',')])
    life, held = core.posix.pipe()
    pid = core.posix.fork()
    if not pid:
        for fd in (master, held):
            os.close(fd)
        sit_down(slave, life)
        for pair in ['TERM=' + argv[0]] + argv[2:]:
            name, value = pair.split('=', 1)
            os.environ[name] = value
        return interact()
    os.close(slave)
    os.close(life)
    core.private(master)
    core.private(held, 1)
    try:
        carry(master, pid)
    except KeyboardInterrupt:
        pass        # CANCEL
    os.close(master)
    raise SystemExit(end(pid))


def resize(fd, size):
    core.fcntl.ioctl(fd, termios.TIOCSWINSZ, core.pack('4H', *size))


# In the program's process


def carry(master, pid):
    """Pass keys and output on, until the interpreter or the input has ended."""
    records = keys = shown = core.EMPTY
    while 1:
        reads, writes = [], []
        if len(keys) < PIECE:
            reads.append(0)
        if keys:
            writes.append(master)
        if shown:
            writes.append(1)
        else:
            reads.append(master)
        r, w, x = select.select(reads, writes, [], LOOK)
        if 1 in w:
            shown = shown[os.write(1, shown):]
        if master in w:
            keys = keys[put(master, keys):]
        if 0 in r:
            data = os.read(0, 65536)
            if not data:
                return
            records, more = taken(records + data, master)
            keys += more
        if master in r:
            shown = output(master)
            if not shown:
                return
        elif not r and not w and ended(pid):
            return      # something that it left behind has the terminal open


def put(master, keys):
    """Write what the terminal takes."""
    try:
        return os.write(master, keys)
    except OSError:
        if core.again(sys.exc_info()[1]):
            return 0
        return len(keys)    # no process has it open


def output(master):
    """What was written to the terminal; nothing once no process has it open."""
    try:
        return os.read(master, PIECE)
    except OSError:
        return core.EMPTY


def taken(data, master):
    """Take whole records: returns what is left, and keys."""
    keys = core.EMPTY
    while len(data) > 2:
        last = 3 + core.unpack('>H', data[1:3])[0]
        if len(data) < last:
            break
        if core.native(data[:1]) == 'w':
            resize(master, core.unpack('>4H', data[3:last]))
        else:
            keys += data[3:last]
        data = data[last:]
    return data, keys


STATUS = []         # the interpreter's, once it has ended


def ended(pid):
    if not STATUS:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            STATUS.append(run.exit_code(status))
    return STATUS


def end(pid):
    """Wait for the interpreter, whose terminal is gone, and kill it if need be: its status."""
    until = core.now() + GRACE
    while not ended(pid) and core.now() < until:
        time.sleep(.005)
    if not ended(pid):
        run.end_group(pid)
        os.kill(pid, 9)     # it may have no group yet
        STATUS.append(run.exit_code(os.waitpid(pid, 0)[1]))
    return STATUS[0]


# In the interpreter's process


def sit_down(slave, life):
    """Have the terminal, ask the engine in place of the program, and end with it."""
    os.setsid()
    core.PID = os.getpid()
    core.fcntl.ioctl(slave, getattr(termios, 'TIOCSCTTY', 21518), 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    run.arm(run.far(life, 1))
    os.close(life)
    os.close(slave)
    if core.PY3:
        import io
        for fd, name, mode, errors in ((0, 'stdin', 'r', 'surrogateescape'),
                                       (1, 'stdout', 'w', 'surrogateescape'),
                                       (2, 'stderr', 'w', 'backslashreplace')):
            f = io.open(fd, mode, 1, 'utf-8', errors, None, False)
            setattr(sys, name, f)
            setattr(sys, '__%s__' % name, f)


def interact():
    """Be what python is without arguments. Nothing of it is kept in a file."""
    import code
    names = run.main_module().__dict__
    sys.argv[:] = ['']
    completion(names)
    for name in ('exit', 'quit'):
        if not hasattr(core.BUILTINS, name):
            setattr(core.BUILTINS, name, sys.exit)
    more = {}
    if sys.version_info > (3, 6):
        more['exitmsg'] = ''
    console = code.InteractiveConsole(names, '<stdin>')
    console.write = write
    try:
        console.interact('Python %s on %s' % (sys.version, sys.platform), **more)
    except EnvironmentError:
        if os.isatty(0):
            raise
    if not os.isatty(0):
        os.kill(os.getpid(), 1)     # who closes the terminal is hung up, if that comes later, too


def write(text):
    """Print what the console says. Files have the names that they have where they are installed."""
    lines = [line for line in text.splitlines(True) if not run.hidden(line)]
    sys.stderr.write(''.join(lines).replace('File "/dev/null/', 'File "/'))


def completion(names):
    """Edit lines, call them back, and complete names by Tab, where Python can do that."""
    try:
        import locale
        locale.setlocale(locale.LC_CTYPE, '')   # how wide characters are
    except Exception:
        pass
    try:
        import readline
        import rlcompleter
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    key = 'tab: complete'
    if 'libedit' in (readline.__doc__ or ''):
        key = 'bind ^I rl_complete'
    readline.parse_and_bind(key)
