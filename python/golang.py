"""Takes the binary of a Go program in, for a context that is to be started beside this one. Sent as
`_mitogen_go`; docs/protocol/golang.md.

Runs in the namespace of the core. What comes is unpacked by a thread of its own, which nothing here
waits for.
"""
from _mitogen import (AWAITED, ITEM, KEPT, LARGEST, MODULES, NO_NAME, PID, PROTO, SERVICES, SHA256,
    TUNNELS, after, credit, dumps, memory_file, os, poke, private, remove_program, send, sha256,
    sys, text, thread, unpack, use, zlib)
if 'KEPT' not in globals():
    SOURCE = zlib.decompress(MODULES['_mitogen_forward'][2])
    exec(compile(SOURCE, '<_mitogen_forward>', 'exec'), globals())

EXECUTABLES = {}    # id of a binary: path of an open file without a name


class Binary:
    """An OPEN that asks for a program to be ready: from the question to the start."""
    eof = 0
    made = None     # a directory to be removed, with the file in it

    def __init__(self, key, spec):
        self.key = key
        TUNNELS[key] = self
        system = os.uname()
        self.say('platform', system[0], system[4])

    def say(self, *words):
        send(self.key[0], self.key[1], dumps(words, PROTO), ITEM)

    def put(self, data):
        """Take the id of a binary, and the path of the loader that it needs."""
        credit(self.key[0], self.key[1], len(data))
        id, loader = data[:16], data[16:].decode('utf-8')
        if loader and not os.path.exists(loader):
            return self.say('failed', 'it needs %s, which is not there: '
                            'build it with CGO_ENABLED=0' % loader)
        if id in EXECUTABLES:
            return self.say('ready', EXECUTABLES[id], '')
        if id in KEPT:
            use(id)
            return self.take(id, KEPT[id])
        AWAITED.setdefault(id, []).append(self)
        self.say('want')

    def take(self, id, payloads):
        """Make a file of a binary that is complete."""
        try:
            thread.start_new_thread(self.make, (id, payloads))
        except Exception:
            self.say('failed', text(sys.exc_info()[1]))

    def make(self, id, payloads):
        answer = ['failed', '']
        try:
            if not SHA256:
                SHA256.append(sha256())     # an import, for which the reader must not wait
            answer = ['ready'] + self.executable(id, payloads)
        except Exception:
            answer[1] = text(sys.exc_info()[1])
        after(0, lambda: self.say(*answer))
        poke()

    def executable(self, id, payloads):
        """[path, directory to be removed once it is started, or '']."""
        wrong = []
        for open_file, where in routes():
            try:
                EXECUTABLES[id] = path = nameless(open_file(where), id, payloads)
                return [path, '']
            except ValueError:
                raise       # it is the binary that is wrong
            except Exception:
                wrong.append('%s: %s' % (where or 'memory', text(sys.exc_info()[1])))
        for where in places():
            try:
                return self.named(where, id, payloads)
            except (OSError, IOError):
                self.remove()
                wrong.append('%s: %s' % (where, text(sys.exc_info()[1])))
        raise OSError('no place to execute a program from: ' + '; '.join(wrong))

    def named(self, where, id, payloads):
        """As executable, with a name: where there is no /proc."""
        if not is_private(where):
            raise OSError('others may write there')
        random = unpack('>Q', os.urandom(8))[0]
        made = os.path.join(where, '.mitogen-%d-%x' % (PID, random))
        os.mkdir(made, 448)
        self.made = made
        path = os.path.join(made, 'go')
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 448)
        try:
            fill_file(fd, id, payloads)
        finally:
            os.close(fd)
        if not os.access(path, os.X_OK):
            raise OSError('not to be executed from')
        return [path, made]

    def remove(self):
        if self.made:
            remove_program(self.made)
            self.made = None

    def flush(self):
        pass

    def end(self, patience=0):
        TUNNELS.pop(self.key, 0)
        for waiting in AWAITED.values():
            if self in waiting:
                waiting.remove(self)
        self.remove()


def routes():
    """Ways to make a file without a name, the best first: functions, and what they take."""
    flags = lambda where: memory_file((17, 1))      # MFD_EXEC, from Linux 6.3 on; MFD_CLOEXEC
    nameless = lambda where: os.open(where, NO_NAME | os.O_RDWR | getattr(os, 'O_CLOEXEC', 0), 448)
    if 'linux' not in sys.platform:
        return []
    return [(flags, '')] + [(nameless, d) for d in places()]


def places():
    """Directories that a file may be made in."""
    all = ['/dev/shm'] + [os.environ.get(n, '') for n in ('XDG_RUNTIME_DIR', 'TMPDIR')]
    all += ['/tmp', '/var/tmp', os.environ.get('HOME', '')]
    found = []
    for d in all:
        if d[:1] == '/' and d not in found and os.path.isdir(d):
            found.append(d)
    return found


def is_private(where):
    """True if no other account can replace what is made in a directory."""
    st = os.stat(where)
    return st.st_uid in (0, os.getuid()) and (not st.st_mode & 18 or st.st_mode & 512)


def nameless(fd, id, payloads):
    """The path of an open file that has a binary. fd is one without a name; it is closed."""
    try:
        fill_file(fd, id, payloads)
        reader = os.open('/proc/self/fd/%d' % fd, os.O_RDONLY)
    finally:
        os.close(fd)    # what is open for writing can't be executed
    private(reader, 1)
    path = '/proc/self/fd/%d' % reader
    if not os.access(path, os.X_OK):
        os.close(reader)
        raise OSError('not to be executed from')
    return path


def fill_file(fd, id, payloads):
    """Write the binary that is in BUNDLE frames."""
    z = zlib.decompressobj()
    size = 0
    sum = SHA256[0] and SHA256[0]('go program'.encode())
    for d in payloads:
        data = z.decompress(d[24:])
        size += len(data)
        if size > LARGEST:
            raise ValueError('it is too large')
        if sum:
            sum.update(data)
        while data:
            data = data[os.write(fd, data):]
    if z.flush() or sum and sum.digest()[:16] != id:
        raise ValueError('it is not what it is called')


SERVICES['go'] = Binary
