"""Serves a connection of Ansible at the other end. Sent as `_mitogen_ansible`.

It goes to a hop and to each account's context below it. It runs in the namespace of core.py, in the
thread that reads; uses tunnel.py and spawn.py. paths.py is in the same module, before it.
docs/protocol.md, section 10, has the operations. File operations are done in the hop, at once and
in the order they come, so that a frame for a context below it finds them done.

Modules run in forks of an account's context, which has no second thread, has imported what all
modules import, and is otherwise as a plain interpreter: it runs nothing itself.
"""
import gc

JOBS = []       # processes that run for a connection
FILES = {}      # name of a set: list of contents
ZIPS = {}       # number: {path: (set, index)}
CODE = {}       # (set, index, path): code object
WARM = {}       # name of an imported module: (set, index)
STRANGE = {}    # number of a zip file: names of WARM, and of others, that it hasn't, or has of another kind
# The directory that __file__ shows. It is below /dev/null, which is no directory: no user can make
# a file there.
LIB = '/dev/null/ansible_mitogen_payload.zip'
# When one of these changes, a new login or become would differ from what is here.
WATCHED = ('/etc/environment', '~/.pam_environment', '/etc/passwd', '/etc/group', '/etc/resolv.conf', '/etc/localtime',
           sys.executable, os.__file__)
TEMPS = {}      # temporary directories that were made here
LENT = []       # uid, gid and groups of the login, once they have been needed
BEFORE = []     # what they were when the first job came


def changes():
    """The state of the files in WATCHED."""
    all = []
    for path in WATCHED:
        try:
            st = os.stat(os.path.expanduser(path))
            all.append((st.st_ino, st.st_size, st.st_mtime))
        except OSError:
            all.append(None)
    return all


class Output:
    """The output of files that are open here, as items whose first byte names the file."""
    full = 0    # no window: not read
    gone = 0
    eof = 1     # of what is fed
    w = None
    late = 0    # the engine looks at it only after its end
    tty = None  # a terminal's master

    def begin(self, key, outs):
        self.key = key
        self.outs = outs
        TUNNELS[key] = self
        FLOWS[key] = WINDOW
        for fd in outs:
            private(fd)
            FDS[fd] = self.reader(fd)
            POLL.register(fd, POLLIN)

    def reader(self, fd):
        def read(ev):
            self.take(fd)
            if not self.late or FLOWS.get(self.key, 0) < WINDOW // 2:
                UP.flush()
        return read

    def take(self, fd):
        """Pass on what is there now, of much a part. True: there may be more."""
        if FLOWS[self.key] <= 0:
            if not self.full:
                self.full = 1
                for fd in self.outs:
                    POLL.unregister(fd)
            return 0
        try:
            data = os.read(fd, 65536)
        except OSError:
            if again(sys.exc_info()[1]):
                return 0
            data = EMPTY    # a terminal that no process has open
        if not data:
            self.shut_out(fd)
            return 0
        FLOWS[self.key] -= len(data) + 1
        UP.put(frame(self.key[0], self.key[1], self.outs[fd] + data, ITEM))
        return 1

    def shut_out(self, fd):
        if not self.full:
            POLL.unregister(fd)
        del FDS[fd]
        del self.outs[fd]
        if fd != self.tty:
            os.close(fd)

    def resume(self):
        if self.full and FLOWS[self.key] > 0:
            self.full = 0
            for fd in self.outs:
                POLL.register(fd, POLLIN)

    def over(self, data):
        for fd in list(self.outs):
            self.shut_out(fd)
        if self.tty is not None:
            os.close(self.tty)
        del TUNNELS[self.key]
        spend(self.key)
        UP.put(frame(self.key[0], self.key[1], data))
        UP.flush()

    def end(self, patience=0):
        self.over(EMPTY)


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

    def resume(self):
        pass

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


class Job(Output):
    """A process that run() is called in, and doesn't return. It has a session of its own, so that what it leaves behind stays."""
    status = None
    eof = 0

    def __init__(self, key, tty, run):
        fds = []
        if tty:
            master, slave = os.openpty()
            stdin, feed, ends, outs = slave, None, [slave, slave], {master: '1'.encode()}
            fds = [master, slave]
            self.tty = master   # closed when the process has ended: that hangs up, also on one that has closed what it had of it
        else:
            stdin, feed = os.pipe()
            out, out_w = os.pipe()
            err, err_w = os.pipe()
            ends, outs = [out_w, err_w], {out: '1'.encode(), err: '2'.encode()}
            fds = [stdin, feed, out, out_w, err, err_w]
        for fd in fds:
            private(fd, 1)
        try:
            self.pid = os.fork()
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        if not self.pid:
            child([stdin] + ends, tty, run)
        for fd in [stdin] + [fd for fd in ends if fd != stdin]:
            os.close(fd)
        self.w = feed
        self.out = deque()
        if feed is not None:
            private(feed)
            FDS[feed] = self.flush
        self.waits = 0
        self.begin(key, outs)
        JOBS.append(self)

    # Input

    def put(self, data):
        self.out.append(data)

    def flush(self, ev=None):
        while self.out and self.w is not None:
            data = self.out.popleft()
            try:
                n = os.write(self.w, data)
            except OSError:
                if not again(sys.exc_info()[1]):
                    self.eof = 1
                    self.shut()     # no process reads it
                    break
                n = 0
            if n < len(data):
                self.out.appendleft(data[n:])
            if n:
                credit(self.key[0], self.key[1], n)
            else:
                if not self.waits:
                    self.waits = 1
                    POLL.register(self.w, POLLOUT)
                return
        if self.waits:
            self.waits = 0
            POLL.unregister(self.w)
        if self.eof and not self.out:
            self.shut()

    def shut(self):
        self.out.clear()
        if self.w is not None:
            if self.waits:
                self.waits = 0
                POLL.unregister(self.w)
            del FDS[self.w]
            os.close(self.w)
            self.w = None

    # Its end

    def reap(self):
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pid, status = self.pid, 0
        if pid:
            JOBS.remove(self)
            self.status = os.WEXITSTATUS(status)
            if os.WIFSIGNALED(status):
                self.status = 128 + os.WTERMSIG(status)
            self.finish()

    def finish(self):
        """Pass on what is left; others may have its output open still."""
        for fd in list(self.outs):
            while fd in self.outs and self.take(fd):
                pass
        if self.full and not self.gone:
            return UP.flush()
        self.shut()
        self.over(str(self.status).encode())

    def resume(self):
        Output.resume(self)
        if self.status is not None and not self.full and self.key in TUNNELS:
            self.finish()

    def end(self, patience=.3):
        """Ends the job: the engine has dropped it."""
        if not self.gone:
            self.gone = 1
            self.kill(signal.SIGTERM)
            after(.3, self.kill)

    def kill(self, sig=9):
        if self in JOBS:
            try:
                os.kill(-self.pid, sig)
            except OSError:
                pass    # no session yet
            try:
                os.kill(self.pid, sig)
            except OSError:
                pass


def job_timers():
    for j in JOBS[:]:
        j.reap()
    return run_timers()


def tidying_die(die=die):
    """The parent is gone: so are jobs, and temporary directories, unless it has told us to end."""
    for j in JOBS:
        j.kill(signal.SIGTERM)
    if TEMPS and not S.stop:
        by_login(LENT, remove_temps)
    die()


def remove_temps():
    for dir in TEMPS:
        if not os.path.exists(dir + '/async_wrapper.py'.encode()):  # or what runs on needs it
            remove(dir)


def see_the_end():
    """Have the end of the parent seen by us, who have something to do then, instead of the kernel."""
    global die
    if die is not tidying_die:
        die = tidying_die
        if ARMED:
            fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0])


def settle_in():
    """Become a context that runs jobs and nothing else: it asks for no modules, and sees its
    parent's end itself."""
    see_the_end()
    restore_os()    # jobs start without a guard: what they leave behind stays
    dumpable(0)
    for hooks, ours in ((sys.meta_path, IMPORTER), (sys.path_hooks, Place)):
        hooks[:] = [h for h in hooks if h is not ours]
    sys.path_importer_cache.clear()
    signal.signal(signal.SIGCHLD, lambda sig, stack: None)
    signal.set_wakeup_fd(WAKE[1])
    DUE[0] = job_timers
    BEFORE.append(changes())


def child(fds, tty, run):
    """The life of a job's process."""
    code = 1
    try:
        try:
            os.setsid()
            dumpable(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for i in range(3):
                os.dup2(fds[i], i)
            if tty:
                import termios
                fcntl.ioctl(0, getattr(termios, 'TIOCSCTTY', 21518), 0)
            if 'faulthandler' in sys.modules:
                sys.modules['faulthandler'].disable()
            close_others()
            code = run()
        except:
            code = uncaught()
    finally:
        os._exit(code)


def uncaught():
    """The exit status of the exception that is being handled, which is shown as an interpreter does."""
    t, e, tb = sys.exc_info()
    if t is SystemExit:
        code = e.code
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 255
        sys.stderr.write('%s\n' % (code,))
    else:
        while tb and tb.tb_next and tb.tb_frame.f_globals is globals():
            tb = tb.tb_next
        if PY3:
            setattr(e, '__traceback__', tb)     # some show that instead
        MEMBERS.files = {}  # the wrapper's zip file is gone by now: no source lines are to be had of it
        sys.excepthook(t, e, tb)
        sys.stderr.flush()
    return 1


# Programs


def execute_job(argv, env):
    program_signals()
    full = dict(getattr(os, 'environb', os.environ))
    if coerced():
        full.pop('LC_CTYPE'.encode(), None)
    full.update(dict([(utf8(k), utf8(v)) for k, v in env.items()]))
    argv = [utf8(a) for a in argv]
    argv[0] = argv[0] or utf8(login_shell())
    try:
        os.execvpe(argv[0], argv, full)
    except OSError:
        e = sys.exc_info()[1]
        os.write(2, argv[0] + (': %s\n' % e.strerror).encode())
        return {errno.ENOENT: 127}.get(e.errno, 126)


def coerced():
    """True if the interpreter has set LC_CTYPE for itself."""
    try:
        f = open('/proc/self/environ', 'rb')
        try:
            return '\0LC_CTYPE='.encode() not in ZERO + f.read()
        finally:
            f.close()
    except (IOError, OSError):
        return 0


def login_shell():
    try:
        import pwd
        return pwd.getpwuid(os.getuid())[6] or '/bin/sh'
    except (ImportError, KeyError):
        return '/bin/sh'


# Modules


class Members(object):
    """Finds and loads what a module's zip file has. In a fork it is that of one module, before that of all that come first."""
    files = {}

    def where(self, name):
        path = name.replace('.', '/')
        for p in (path + '/__init__.py', path + '.py'):
            if p in self.files:
                return p

    def find_spec(self, name, path=None, target=None):
        p = self.where(name)
        if p:
            import _frozen_importlib as b
            spec = b.ModuleSpec(name, self, origin=LIB + '/' + p, is_package=p.endswith('/__init__.py'))
            spec.has_location = True
            if spec.submodule_search_locations is not None:
                spec.submodule_search_locations.append(LIB + '/' + name.replace('.', '/'))
            return spec

    def hook(self, item):
        """For runpy of Python 2, which doesn't look at sys.meta_path for what is in a package."""
        if item.startswith(LIB):
            return self
        raise ImportError(item)

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)

    def find_module(self, name, path=None):
        if self.where(name):
            return self

    def load_module(self, name):
        m = sys.modules[name] = type(sys)(name)
        m.__file__ = self.get_filename(name)
        m.__loader__ = self
        m.__package__ = name
        if self.is_package(name):
            m.__path__ = [LIB + '/' + name.replace('.', '/')]
        else:
            m.__package__ = '.'.join(name.split('.')[:-1])
        try:
            exec(self.get_code(name), m.__dict__)
        except:
            sys.modules.pop(name, None)
            raise
        return sys.modules[name]

    def path(self, name):
        p = self.where(name)
        if not p:
            raise ImportError(name)
        return p

    def get_code(self, name):
        return code_of(self.path(name), self.files)

    def get_source(self, name):
        return contents(self.files[self.path(name)]).decode('utf-8')

    def get_filename(self, name):
        return LIB + '/' + self.path(name)
    _get_filename = get_filename

    def is_package(self, name):
        return self.path(name).endswith('/__init__.py')

    def get_data(self, path):
        if path.startswith(LIB + '/') and path[len(LIB) + 1:] in self.files:
            return contents(self.files[path[len(LIB) + 1:]])
        raise IOError(errno.ENOENT, os.strerror(errno.ENOENT), path)


MEMBERS = Members()


def contents(member):
    name, i = member
    if name not in FILES:
        FILES[name] = loads(zlib.decompress(MODULES[name][2]))
    return FILES[name][i]


def code_of(path, files):
    key = files[path] + (path,)
    if key not in CODE:
        source = contents(files[path])
        if not PY3:
            source = source.replace('\r\n', '\n') + '\n'
        CODE[key] = compile(source, LIB + '/' + path, 'exec', 0, 1)
    return CODE[key]


def learn_zip(number, files):
    """Take the contents of a module's zip file. Of the first one, this imports all that modules
    have in common."""
    ZIPS[number] = files = dict([(native_text(p), (native_text(s), i)) for p, s, i in files])
    for path in files:
        if path.endswith('.py') and path != RARE:
            try:
                code_of(path, files)
            except SyntaxError:
                pass    # may be for another Python; else importing it will tell
    if WARM:
        STRANGE[number] = strange(files)
        return
    STRANGE[number] = []
    MEMBERS.files = files
    sys.meta_path.insert(0, MEMBERS)
    if not PY3:
        sys.path_hooks.insert(0, MEMBERS.hook)
    collects = gc.isenabled()
    if collects:
        gc.collect()
        gc.disable()    # it would look through what is imported again and again
    for name in COMMON:
        try:
            if MEMBERS.where(name) or name.split('.')[0] != 'ansible':
                __import__(name)
        except Exception:
            forget_warm()
    for name in list(sys.modules):
        if getattr(sys.modules[name], '__loader__', None) is MEMBERS:
            WARM[name] = files[MEMBERS.where(name)]
    if 'subprocess' in sys.modules:
        steady(sys.modules['subprocess'].Popen)
    if 'locale' in sys.modules:
        warm_locale(sys.modules['locale'])
    if hasattr(gc, 'freeze'):
        gc.freeze()
    if collects:
        gc.enable()


def warm_locale(locale):
    """Have the C library read the environment's locale, which it keeps: modules set it, and each would read a dozen files."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, '')
    except locale.Error:
        return      # there is none of that name, as modules will find
    locale.setlocale(locale.LC_ALL, before)


def steady(popen):
    """Have poll() not change its mind at once. `run_command` asks twice in a row whether a program has ended, and if that happens in
    between it waits for a second: one in a hundred programs that close their output before they end, which here are that quick."""
    poll = popen.poll

    def steady_poll(self):
        if self.returncode is None and 0 <= now() - self.__dict__.get('_mitogen_asked', -1) < .001:
            return
        code = poll(self)
        if code is None:
            self._mitogen_asked = now()
        return code
    popen.poll = steady_poll


RARE = 'ansible/module_utils/distro/_distro.py'     # large, and not imported where the system has its own
COMMON = ['ansible.module_utils.basic', 'ansible.module_utils._internal._ansiballz._loader',
          'ansible.module_utils._internal._json._profiles._module_legacy_c2m',
          'ansible.module_utils._internal._json._profiles._module_legacy_m2c', 'ansible.modules', 'runpy', 'glob', 'tempfile', 'shutil']


def strange(files):
    """Imported modules that a module's process has to forget: all of Ansible's if one of them is
    not the same in its zip file."""
    MEMBERS.files = files
    lacks = []
    for name in WARM:
        p = MEMBERS.where(name)
        if not p:
            lacks.append(name)
        elif files[p] != WARM[name]:
            return of_ansible()
    return lacks


def of_ansible():
    return [name for name in sys.modules if name.split('.')[0] in ('ansible', 'ansible_collections')]


def forget_warm():
    for name in of_ansible():
        del sys.modules[name]


def run_ansible_module(spec):
    """In a fork: as the module's own wrapper does it. Returns the exit status."""
    getattr(sys, 'exc_clear', int)()    # or a module of Python 2 would show what was handled in our start
    MEMBERS.files = files = ZIPS[spec['zip']]
    for name in STRANGE[spec['zip']]:
        del sys.modules[name]
    for k, v in spec['env'].items():
        os.environ[str(k)] = native(utf8(v))
    try:
        os.getcwd()
    except OSError:
        try:
            os.chdir(os.path.expanduser('~'))
        except OSError:
            os.chdir('/')
    if spec['nofile']:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, spec['nofile']), hard))
        except ValueError:
            pass
    if 'random' in sys.modules:
        sys.modules['random'].seed()
    fqn = native(utf8(spec['module']))
    lib, made, first = LIB, None, []
    if 'ansible/module_utils/common/respawn.py' in files:
        made, lib = real_zip(fqn, files)
        first = [lib]
    if spec['python'][:1] == '/':
        sys.executable = native(utf8(spec['python']))
    sys.path[:] = first + [p for p in sys.path if os.path.isabs(p)]
    try:
        try:
            start_module(spec, fqn, lib)
            code = 0
        except:
            code = uncaught()
        return ended(code)
    finally:
        if made:
            import shutil
            shutil.rmtree(made, True)


def start_module(spec, fqn, lib):
    params = spec['params']
    if spec['loader']:
        from ansible.module_utils._internal._ansiballz import _loader
        _loader.run_module(json_params=params, profile=spec['profile'], module_fqn=fqn, modlib_path=lib, extensions={})
        return
    import runpy
    from ansible.module_utils import basic
    basic._ANSIBLE_ARGS = params
    runpy.run_module(mod_name=fqn, init_globals={'_module_fqn': fqn, '_modlib_path': lib}, run_name='__main__', alter_sys=True)
    sys.stdout.write('{"msg": "New-style module did not handle its own exit", "failed": true}\n')
    sys.exit(1)


def real_zip(fqn, files):
    """The zip file on disk, for a module that may start itself again with another interpreter."""
    import tempfile
    import zipfile
    dir = os.path.realpath(tempfile.mkdtemp(prefix='ansible_%s_payload_' % fqn))
    lib = os.path.join(dir, 'ansible_%s_payload.zip' % fqn)
    z = zipfile.ZipFile(lib, 'w')
    for path in files:
        z.writestr(path, contents(files[path]))
    z.writestr('sitecustomize.py', 'import sys\nsys.path.insert(0, %r)\n' % lib)
    z.close()
    return dir, lib


def ended(code):
    """Do all that an interpreter does at its end, except for freeing its memory."""
    try:
        if 'threading' in sys.modules:
            sys.modules['threading']._shutdown()
        if 'atexit' in sys.modules:
            sys.modules['atexit']._run_exitfuncs()
    except:
        uncaught()
    for f in (sys.stdout, sys.stderr):
        try:
            f.flush()
        except Exception:
            pass
    return code


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


def write_file(path, mode, data):
    fd = writable(path, mode)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def unpack_file(path, mode, name):
    write_file(path, mode, zlib.decompress(MODULES.pop(native(name))[2]))


STEPS = {'unpack': unpack_file, 'mkdir': make_temp, 'chmod': add_modes, 'rm': remove_dir, 'put': write_file}


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


def fresh(key):
    """True if a job may start here. If not, its sender starts another context."""
    if changes() == BEFORE[0]:
        return 1
    refuse(key, 'StaleError', 'what made this context has changed')


def do_exec(key, spec):
    if fresh(key):
        Job(key, spec['tty'], lambda: execute_job(spec['argv'], spec['env']))


def do_module(key, spec):
    if spec['files']:
        learn_zip(spec['zip'], spec['files'])
    if fresh(key):
        j = Job(key, 0, lambda: run_ansible_module(spec))
        j.eof = j.late = 1
        j.flush()


def serve_ansible(key, spec):
    op = spec['op']
    if op in ('exec', 'module') and not BEFORE:
        settle_in()
    OPERATIONS[op](key, spec)


OPERATIONS = {'files': do_files, 'home': do_home, 'pass': do_pass, 'drop': do_drop, 'put': do_put, 'get': do_get, 'exec': do_exec, 'module': do_module}
SERVICES['ansible'] = serve_ansible
