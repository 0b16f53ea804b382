"""Tells whether a program that asks for a password still waits for it. Sent as `_mitogen_asking`.

Runs in the namespace of core.py; uses spawn.py.
"""
# How far a program has got that may ask for a password.
ABSENT = 1          # no program that could ask has started
BEGUN = 2           # the entered account runs, or the program has ended
PERHAPS = 3         # it asks, or what it started has ended; if this lasts, it asks
ASKS = 4            # it has started nothing yet
HIDDEN = 5          # the process table doesn't show it

LASTING = 0.5       # seconds that PERHAPS has to last
# Besides a plan's own program, which may be a script that becomes one of them.
ASKERS = ['sudo', 'su', 'doas', 'sudo-rs', 'su-rs', 'busybox', 'toybox']


def echoes(tty):
    import termios
    try:
        return termios.tcgetattr(tty)[3] & termios.ECHO
    except termios.error:
        return 1


def asking(pid, names):
    """The state of a program that may ask: of process pid, or of one that it has started with our
    own rights.

    The program is the only process with root's rights, bears one of names (None: any) and has no
    children.
    """
    found = ABSENT
    look = process
    if not os.path.exists('/proc/self/stat'):
        look = listed().get
    tree = [pid]
    for p in tree:
        q = look(p)
        if not q and exists(p):
            q = look(p)     # it may have begun meanwhile
            if not q and exists(p):
                return HIDDEN
        name, own, root, ended, children, waited, reads = q or GONE
        if ended:
            if p == pid:
                return BEGUN
        elif own:
            tree.extend(children)
        elif not root or found != ABSENT or children:
            return BEGUN
        elif names is not None and name not in [n[:15] for n in names]:
            return BEGUN
        elif waited and not reads:
            found = PERHAPS
        else:
            found = ASKS
    return found


GONE = ('', 0, 0, 1, [], 1, 0)      # the result of process() for one that has ended


def exists(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return sys.exc_info()[1].args[0] != 3      # ESRCH
    return 1


def slurp(path):
    f = open(path, 'rb')
    try:
        return f.read().decode('latin-1')
    finally:
        f.close()


def process(pid):
    """The result of examine(), or None if the process can't be seen."""
    try:
        return examine(pid)
    except (IOError, OSError, LookupError, ValueError):
        return None


def examine(pid):
    """(name, own, root, ended, children, waited, reads) of a process.

    own: it has our rights. root: it has root's from a setuid file. waited: processes that it had
    started have ended. reads: it catches the signals that a reader of passwords catches.
    """
    dir = '/proc/%d' % pid
    children = []       # before stat: a child that ends in between is counted there
    for task in os.listdir(dir + '/task'):
        try:
            children.extend(slurp('%s/task/%s/children' % (dir, task)).split())
        except IOError:         # the kernel has been built without
            children = below(pid)
            break
    stat = slurp(dir + '/stat')
    end = stat.rindex(')')
    rest = stat[end + 1:].split()
    status = dict([l.split(':', 1) for l in slurp(dir + '/status').splitlines() if ':' in l])
    uid = int(status['Uid'].split()[1])
    us = os.geteuid()
    root = uid == 0
    if root and not us:
        try:
            st = os.stat(dir + '/exe')
            root = st.st_uid == 0 and st.st_mode & int('4000', 8)
        except OSError:         # it has ended
            root = 0
    reads = int(status.get('SigCgt', '0'), 16) >> 20 & 3 == 3    # SIGTTIN and SIGTTOU
    children = [int(c) for c in children]
    own = uid == us and not root
    return stat[stat.index('(') + 1:end], own, root, rest[0] in 'ZX', children, rest[8] != '0', reads


def below(pid):
    """Children of a process, by the process table."""
    found = []
    for p in os.listdir('/proc'):
        if p.isdigit():
            try:
                if slurp('/proc/%s/stat' % p).split(')')[-1].split()[1] == str(pid):
                    found.append(p)
            except IOError:
                pass
    return found


def ps_output():
    """The text that ps prints of all processes; empty if there is no ps.

    It is started without a shell, by its full name and with an environment of its own: the search path
    may lead to another program.
    """
    r, w = posix.pipe()
    try:
        pid = posix.fork()
    except OSError:
        os.close(r)
        os.close(w)
        raise
    if not pid:
        try:
            null = os.open('/dev/null', os.O_RDWR)
            for fd, number in ((null, 0), (w, 1), (null, 2)):
                os.dup2(fd, number)
            close_others()
            program_signals()
            run_ps()
        finally:
            os._exit(127)
    os.close(w)
    f = os.fdopen(r, 'rb')
    try:
        return f.read().decode('latin-1')
    finally:
        f.close()
        os.waitpid(pid, 0)


def run_ps():
    argv = 'ps -A -o pid= -o ppid= -o uid= -o state= -o comm='.split()
    for path in ('/bin/ps', '/usr/bin/ps'):
        try:
            posix.execve(path, argv, {'LC_ALL': 'C'})
        except OSError:
            pass    # try the next one


def listed():
    """The results of process() for all processes, by their numbers, where there is no /proc.

    Nothing counts as a program that asks where we are root.
    """
    rows = [l.split(None, 4) for l in ps_output().splitlines()]
    us = os.geteuid()
    table = {}
    for pid, parent, uid, state, name in [r for r in rows if len(r) == 5]:
        name, uid = os.path.basename(name.strip()), int(uid)
        table[int(pid)] = (name, uid == us, uid == 0 and us, state[0] == 'Z', [], 1, 0)
    for pid, parent in [r[:2] for r in rows if len(r) == 5]:
        if int(parent) in table:
            table[int(parent)][4].append(int(pid))
    return table
