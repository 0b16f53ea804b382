"""Serves a connection of Ansible at the other end. The last part of `_mitogen_ansible`.

That goes to a hop and to each account's context below it, or to the context of an account that
ssh enters without a hop. It runs in the namespace of the core, in the thread that reads, but for
what is forked; uses tunnel.py, spawn.py and process.py. docs/protocol/ansible.md has the
operations. File operations are done in the hop, or by root's account for the login, at once and
in the order they come, so that a frame for a context below it finds them done.

Modules run in forks of an account's context, which has no second thread, has imported what all
modules import, and is otherwise as a plain interpreter: it runs nothing itself.
"""
from _mitogen import (BEFORE, EMPTY, ERROR, Job, MODULES, Output, PROTO, PY3, ROUTES, SERVICES,
    SETTLED, TEXT, TUNNELS, add_mode, changes, credit, dumps, execute_job, learn_zip, make_dir,
    native, os, passed, private, readable, remove, run_ansible_module, see_the_end, send, settle_in,
    sys, text, tidy_dir, utf8, writable, zlib)
TEMPS = {}      # temporary directories that were made here
LENT = []       # uid, gid and groups of the login, once they have been needed


class Download(Output):
    """A file, until its end."""

    def shut_out(self, fd):
        Output.shut_out(self, fd)
        if not self.gone:
            self.gone = 1
            self.over(EMPTY)


class Upload:
    """A file that is written as it comes."""
    eof = 0

    def __init__(self, key, path, mode):
        self.key = key
        self.failed = None
        self.fd = writable(utf8(path), mode)
        private(self.fd, 1)
        TUNNELS[key] = self

    def put(self, data):
        credit(self.key[0], self.key[1], len(data))
        try:
            while data and not self.failed:
                data = data[os.write(self.fd, data):]
        except OSError:
            self.failed = sys.exc_info()[1]

    def flush(self):
        if self.eof:
            self.end()

    def end(self, patience=0):
        if self.key in TUNNELS:
            del TUNNELS[self.key]
            os.close(self.fd)
            if self.failed:
                refuse(self.key, 'OSError', self.failed)
            else:
                send(self.key[0], self.key[1])


def refuse(key, kind, e):
    send(key[0], key[1], dumps(('builtins', kind, text(e), '', None), PROTO), ERROR)


# Files


def make_temp(dir):
    see_the_end()
    old = os.umask(int('77', 8))
    try:
        make_dir(dir)
        TEMPS[dir] = 1
    finally:
        os.umask(old)


def add_modes(bits, paths):
    for path in paths:
        add_mode(bits, path)


def remove_dir(dir):
    TEMPS.pop(dir, 0)
    remove(dir)


def keep_dir(dir):
    """Leave a directory to the job that uses it, which removes it at its end."""
    TEMPS.pop(dir, 0)


def write_file(path, mode, data):
    fd = writable(path, mode)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def unpack_file(path, mode, name):
    write_file(path, mode, zlib.decompress(MODULES.pop(native(name))[2]))


STEPS = {'unpack': unpack_file, 'mkdir': make_temp, 'chmod': add_modes, 'rm': remove_dir,
         'tidy': tidy_dir, 'keep': keep_dir, 'put': write_file}


def encoded(v):
    if type(v) is TEXT:
        return utf8(v)
    if type(v) in (list, tuple):
        return [encoded(x) for x in v]
    return v


def by_login(yes, do):
    """Call do, if yes with the rights of the login, who has called sudo."""
    if not yes:
        return do()
    if not LENT:
        uid, gid = [int(os.environ[name]) for name in ('SUDO_UID', 'SUDO_GID')]
        LENT.extend((uid, gid, groups_of(uid, gid)))
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups(LENT[2])
        os.setegid(LENT[1])
        os.seteuid(LENT[0])
        return do()
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def groups_of(uid, gid):
    import grp
    import pwd
    name = pwd.getpwuid(uid)[0]
    if hasattr(os, 'getgrouplist'):
        return os.getgrouplist(name, gid)
    return [gid] + [g[2] for g in grp.getgrall() if name in g[3]]


# Operations


def do_files(key, spec):
    def do():
        for step in spec['steps']:
            STEPS[step[0]](*encoded(step[1:]))
    by_login(spec['login'], do)
    send(key[0], key[1])


def do_home(key, spec):
    """Answer with the directory that a shell of the login's has for ~ or ~user."""
    import pwd
    user = native(utf8(spec['user']))
    try:
        if user:
            home = pwd.getpwnam(user)[5]
        else:
            home = pwd.getpwuid(int(os.environ['SUDO_UID']))[5]
    except KeyError:
        home = '~' + user
    by_login(1, lambda: 0)      # or ERROR says that it can't be done
    if PY3:
        home = home.encode('utf-8', 'surrogateescape')
    send(key[0], key[1], home)


def do_pass(key, spec):
    """Give a context below what came here for it."""
    to = ROUTES.get(spec['to'])
    if to:
        for name in spec['names']:
            to.put(passed(spec['to'], native(utf8(name))))
        to.flush()
    send(key[0], key[1])


def do_drop(key, spec):
    for name in spec['names']:
        MODULES.pop(native(utf8(name)), 0)
    send(key[0], key[1])


def do_put(key, spec):
    by_login(spec['login'], lambda: Upload(key, spec['path'], spec['mode']))


def do_get(key, spec):
    fd = by_login(spec['login'], lambda: readable(utf8(spec['path'])))
    Download().begin(key, {fd: '1'.encode()})


def fresh(key, spec):
    """True if a job may start here. If not, its sender starts another context, and takes
    that as it is."""
    if spec['as_is'] or changes() == BEFORE[0]:
        return 1
    refuse(key, 'StaleError', 'what made this context has changed')


def do_exec(key, spec):
    if fresh(key, spec):
        Job(key, spec['tty'], lambda: execute_job(spec['argv'], spec['env'], spec['temps']),
            spec['ends'], spec['apart'], spec['temps'])


def do_module(key, spec):
    if spec['files']:
        learn_zip(spec['zip'], spec['files'])
    if fresh(key, spec):
        j = Job(key, 0, lambda: run_ansible_module(spec), spec['ends'], 1, spec['temps'])
        j.eof = j.late = 1
        j.flush()


def serve_ansible(key, spec):
    op = spec['op']
    if op in ('exec', 'module') and not SETTLED:
        settle_in()
    OPERATIONS[op](key, spec)


OPERATIONS = {'files': do_files, 'home': do_home, 'pass': do_pass, 'drop': do_drop, 'put': do_put,
              'get': do_get, 'exec': do_exec, 'module': do_module}
SERVICES['ansible'] = serve_ansible
