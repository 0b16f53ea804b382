"""Tells whether a program that asks for a password still waits for it. Sent as `_mitogen_asking`.

Runs in the namespace of the core; uses spawn.py and its other parts.
"""
from _mitogen import (Child, EMPTY, ITEM, after, close_others, now, os, posix, program_signals,
    send, sys, tell)

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
    """The state of a program that may ask: of process pid, or of a process that it has started
    with our own rights.

    The program is the only process with root's rights, bears one of names (None: any) and has no
    children.
    """
    found = ABSENT
    look = process
    if not os.path.exists('/proc/self/stat'):
        look = listed().get
    tree = [pid]
    for p in tree:
        if len(tree) > 64:      # as the engine's maxTree
            return BEGUN
        q = look(p)
        if not q and exists(p):
            q = look(p)     # it may have begun meanwhile
            if not q and exists(p):
                return HIDDEN
        name, own, root, ended, children, waited, reads, passes = q or GONE
        if ended:
            if p == pid:
                return BEGUN
        elif own:
            tree.extend(children)
        elif not root or found != ABSENT or children:
            return BEGUN
        elif names is not None and name not in [n[:15] for n in names]:
            return BEGUN
        elif waited and not reads and passes:       # its command has ended, and it hasn't yet
            return BEGUN
        elif waited and not reads:
            found = PERHAPS
        else:
            found = ASKS
    return found


GONE = ('', 0, 0, 1, [], 1, 0, 0)       # the result of process() after its end


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


def rights(us, it, setuid):
    """(own, root) of a process with an identity, seen from ours.

    An identity is (real user, effective user, real group, supplementary groups). own: it has our
    rights. root: it has root's from a setuid file that we have started: it keeps our real user, or
    makes itself root wholly; then our groups are left. What the entered account starts, to be told
    our password, has that account's, and is neither.
    """
    ours = us[0] and it[0] == us[0]
    if not ours:
        ours = it[0] in (0, us[0]) and it[2:] == us[2:]
    root = ours and it[1] == 0 and (us[1] or setuid)
    return ours and not root and it[1] == us[1], root


def parse_status(text):
    """(identity, reads, passes) of a process, from its status.

    reads: its signals are those of a reader of passwords, which catches SIGTTIN and SIGTTOU
    (readpassphrase, sudo) or blocks SIGTSTP alone (libpam_misc, for su). passes: it catches
    SIGTERM. While sudo, su and doas wait for their command, and end its session, they do that
    alone.
    """
    lines = dict([l.split(':', 1) for l in text.splitlines() if ':' in l])
    real, effective = lines['Uid'].split()[:2]
    groups = ' '.join(lines['Groups'].split())
    caught, blocked = [int(lines.get(n, '0'), 16) for n in ('SigCgt', 'SigBlk')]
    identity = int(real), int(effective), int(lines['Gid'].split()[0]), groups
    return identity, caught >> 20 & 3 == 3 or blocked == 1 << 19, caught >> 14 & 1


def examine(pid):
    """(name, own, root, ended, children, waited, reads, passes) of a process.

    own, root: see rights(). waited: processes that it had started have ended. reads, passes: see
    parse_status().
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
    us = parse_status(slurp('/proc/self/status'))[0]
    it, reads, passes = parse_status(slurp(dir + '/status'))
    own, root = rights(us, it, not us[1] and is_setuid(dir + '/exe'))
    children = [int(c) for c in children]
    name, ended, waited = stat[stat.index('(') + 1:end], rest[0] in 'ZX', rest[8] != '0'
    return name, own, root, ended, children, waited, reads, passes


def is_setuid(path):
    """True if a file gives root's rights to those who execute it."""
    try:
        st = os.stat(path)
    except OSError:         # its process has ended
        return 0
    return st.st_uid == 0 and st.st_mode & int('4000', 8)


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


# What ps may be asked for: not every one knows real users and groups. The last two are no numbers.
COLUMNS = [l.split() for l in ('pid ppid uid ruid rgid state comm', 'pid ppid uid state comm')]


def ps_output(columns):
    """The text that ps prints of all processes; empty if there is no ps, or none with columns.

    It is started without a shell, by its full name and with an environment of its own: the search
    path may lead to another program.
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
            run_ps(columns)
        finally:
            os._exit(127)
    os.close(w)
    f = os.fdopen(r, 'rb')
    try:
        text = f.read().decode('latin-1')
    finally:
        f.close()
        status = os.waitpid(pid, 0)[1]
    if status:      # some print what they know of the columns, and fail
        return ''
    return text


def run_ps(columns):
    argv = ['ps', '-A']
    for c in columns:
        argv += ['-o', c + '=']
    for path in ('/bin/ps', '/usr/bin/ps'):
        try:
            posix.execve(path, argv, {'LC_ALL': 'C'})
        except OSError:
            pass    # try the next one


def listed():
    """The results of process() for all processes, by their numbers, where there is no /proc."""
    us = os.getuid(), os.geteuid(), os.getgid(), ''
    for columns in COLUMNS:
        table = parse_ps(ps_output(columns), columns, us)
        if table:
            break
    return table


def parse_ps(text, columns, us):
    """The table in what ps prints. It can't tell whose file a process of root's executes, so that
    nothing counts as a program that asks where we are root, nor which supplementary groups there
    are: a process has ours, and what else there is no column for.
    """
    n = len(columns) - 2
    rows = [l.split(None, n + 1) for l in text.splitlines()]
    rows = [r for r in rows if len(r) == n + 2]
    table = {}
    for row in rows:
        it = {'ruid': us[0], 'rgid': us[2]}
        it.update(dict(zip(columns, [int(v) for v in row[:n]])))
        own, root = rights(us, (it['ruid'], it['uid'], it['rgid'], us[3]), 0)
        name = os.path.basename(row[-1].strip())
        table[it['pid']] = name, own, root, row[n][0] == 'Z', [], 1, 0, 0
    for row in rows:
        if int(row[1]) in table:
            table[int(row[1])][4].append(int(row[0]))
    return table


class Asked:
    """Methods of Child, for a program that may ask."""

    def reply_to(self, needle, answer):
        """Type the answer to a prompt that was found on the last line."""
        if self.typing or not self.is_asking():
            return
        self.screen = EMPTY
        if answer is None:
            send(self.src, self.reply, needle, ITEM)
        elif hash(answer) in self.answered:
            self.end('repeated')
        else:
            self.answered[hash(answer)] = 1
            tell(self.tty, answer + '\n'.encode())

    def is_asking(self):
        """True if the program waits for an answer now. If not, it is looked at again later."""
        # by Ansible's plugin, for whatever program it has
        led = self.plan.get('dialogue') in ('stdin', 'terminal')
        names = None
        if not led:
            names = ASKERS + [os.path.basename(self.plan['argv'][0])]
        state = asking(self.pid, names)
        if state == HIDDEN:
            self.end('hidden')
            return 0
        if state in (BEGUN, ABSENT) or not led and echoes(self.tty):
            self.since = 0
        else:
            self.since = self.since or now()
            if state != PERHAPS or now() - self.since >= LASTING:
                return 1
        if not self.pause:
            self.pause = 0.002
            if state == BEGUN or self.since:
                self.pause = 0.02
            after(self.pause, self.look)
        return 0

    def look(self):
        self.pause = 0
        if self.up or self.gone:
            self.typing = EMPTY
        elif self.typing:
            self.type(EMPTY)
        else:
            self.question()

    def type(self, data):
        """Type what our parent says, while the program waits for it."""
        self.typing += data
        if not self.is_asking():
            return
        data = self.typing
        self.typing = EMPTY
        fd = self.tty
        if self.plan.get('dialogue') == 'stdin':
            fd = self.w
        tell(fd, data)


for n in 'reply_to is_asking look type'.split():
    setattr(Child, n, Asked.__dict__[n])
