"""Asks the engine what files packages have, also for forks. The first part of
`_mitogen_files`, which serves data, resources, metadata and the lists of modules of packages;
its parts share one namespace.

What was sent has places below PLACE, which no machine can have. docs/protocol/modules.md, section
12, "Places", says what a program finds there. A question to the engine (GET_FILE) is a round trip:
a package's directories and files are one question, and so are the metadata of all distributions;
what was answered is kept. places.py, the last part, has the functions that programs call.
"""
from files_index import OUTLINES
import errno
import os
import sys
import zlib

import _mitogen as core

try:
    from io import BytesIO, TextIOWrapper
except ImportError:     # before 2.6, which hasn't what wants the other either
    from cStringIO import StringIO as BytesIO

GET_FILE = 24
LARGEST = 16777216      # bytes of a file that the engine gives
KEEP = 8388608          # bytes of files that are kept
OPEN = []           # lists that get the answers, the oldest question's first
ORDER = core.thread.allocate_lock()
ROOT = '/dev/null'      # no directory: nothing can be made below it
PLACE = ROOT + '/'

# place: (size, time); size is None of a directory, -1 if a module here is the file
TREE = {}
INSIDE = {}         # place of a directory: {name: 1}
TEXTS = {}          # place: bytes of a file
HEADS = {}          # place of a distribution's metadata: the fields alone
HERE = {}           # place of a module or file that came: its name in core.MODULES
PACKAGES = {}       # place of an outermost package: its name
GROWN = {}          # the same: how many modules were here when one of it was added
OUTLINED = {}       # package: how many modules were here when its outline came, -1 if that is whole
BESIDE = {}         # directories that modules in no package are in
DISTS = {}          # place of a distribution's directory: 1
# modules that are in TREE; top-level ones; of these, when the distributions were asked for
COUNT = [0, 0, 0]
SEEN = {}           # names of modules
LISTED = {}         # directories that a program has listed: names of files that it opened
PENDING = {}        # place: list that gets the answer
FORKS = []          # the socket that forks ask through, its identity, and the process that answers


def answered(src, reply, kind, data):
    if not src and OPEN:
        OPEN.pop(0)((kind, data))


answered.source = 0
REPLY = core.register(answered)     # of all answers: they come in the order of the questions


def send_questions():
    """Send what is queued. A fork's questions have gone to the program already."""
    if os.getpid() == core.PID:
        core.UP.flush()


def ask(letter, *words):
    """Put a question; answer() waits for what comes."""
    got = queue(letter, *words)
    send_questions()
    return got


def queue(letter, *words):
    """ask, but that the question goes with what is written next: several in one piece."""
    question = letter + '\0'.join(words)
    if core.PY3:
        question = question.encode('utf-8', 'surrogateescape')
    if os.getpid() != core.PID:
        return ask_by_parent(question)
    got = []
    core.atomic(put, question, got.append)
    return got


def put(question, take):
    ORDER.acquire()
    OPEN.append(take)
    core.UP.put(core.frame(0, GET_FILE, question, core.DATA, REPLY))
    ORDER.release()


def ask_by_parent(question):
    """Put a question from a fork, which has no stream of its own, and return the answer."""
    if not FORKS or identity(FORKS[0]) != FORKS[1]:
        raise OSError(errno.EOPNOTSUPP, 'a fork cannot ask for files here')
    import _socket
    mine, theirs = _socket.socketpair()
    way = datagrams(FORKS[0])
    passed = core.pack('i', theirs.fileno())
    try:
        way.sendmsg([question], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)])
    finally:
        way.detach()
        theirs.close()
    mine.settimeout(1)
    try:
        pieces = [received(mine)]
        while pieces[-1]:
            pieces.append(received(mine))
    finally:
        mine.close()
    data = core.EMPTY.join(pieces)
    if not data:
        raise OSError(errno.EIO, 'the process that this is a fork of has not answered')
    return [(ord(data[:1]), data[1:])]


def received(sock):
    """Bytes of an answer. Forks have a copy of the other end, so a process may have ended and its
    end stay open."""
    import _socket
    while 1:
        try:
            return sock.recv(65536)
        except _socket.timeout:
            try:
                os.kill(FORKS[2], 0)
            except OSError:
                if sys.exc_info()[1].errno == errno.ESRCH:
                    raise OSError(errno.EIO, 'the process that answers a fork has ended')


def datagrams(fd):
    import _socket
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM, 0, fd)


def identity(fd):
    """Tells whether a number still names the same file."""
    try:
        st = os.fstat(fd)
        return st.st_dev, st.st_ino
    except OSError:
        pass


def asked_by_fork(fd):
    """Pass a question on, and have the answer written to the socket that came with it."""
    import _socket
    way = datagrams(fd)
    to = None
    try:
        question, passed = way.recvmsg(4096, _socket.CMSG_SPACE(4))[:2]
        to = core.unpack('i', passed[0][2][:4])[0]
    except (IndexError, OSError):
        pass
    way.detach()
    if to is None:
        return
    put(question, lambda got: core.thread.start_new_thread(pass_on, (to, question, got)))
    send_questions()


def pass_on(fd, question, got):
    """Give a fork the answer to its question."""
    kind, data = got
    try:
        try:
            if kind == core.DATA and not data:
                data = zlib.compress(bundled(name_of(core.native(question))))
            write_all(fd, core.pack('B', kind) + data)
        finally:
            os.close(fd)
    except OSError:
        pass    # who asked is gone


def write_all(fd, data):
    pos = 0
    while pos < len(data):
        pos += os.write(fd, data[pos:pos + 1048576])


def serve_forks():
    """Have a way for forks to ask: through this process, or, of a program, through its context."""
    import _socket
    fd = core.__dict__.get('CHANNEL', -1)
    pid = os.getppid()
    if fd == -1 and hasattr(_socket.socket, 'recvmsg'):
        fd, ours = [s.detach() for s in _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM)]
        core.private(fd, 1)
        answer_forks(ours)
        pid = os.getpid()
    if fd not in (None, -1):
        FORKS.extend([fd, identity(fd), pid])


def answer_forks(fd):
    core.private(fd)
    core.FDS[fd] = lambda ev: asked_by_fork(fd)
    core.POLL.register(fd, core.POLLIN)
    core.poke()


def begin_again():
    """In the process of a program, which is a copy of its context: nothing has been asked yet."""
    global REPLY, ORDER, INDEXING
    ORDER, INDEXING = core.thread.allocate_lock(), core.thread.allocate_lock()
    for asked in (OPEN, FORKS):
        del asked[:]
    for asked in (OUTLINES, PENDING):
        asked.clear()
    REPLY = core.register(answered)
    serve_forks()


def answer(got, path, name=None):
    """Wait for an answer. name is the key of a file or outline in core.MODULES: an empty answer
    says that it comes there, as it does behind a hop."""
    core.wait(lambda: got)
    kind, data = got[0]
    if kind != core.DATA:
        raise IOError(errno.ENOENT, core.native(data), path)
    if data:
        return zlib.decompress(data)
    return bundled(name)


def name_of(question):
    """The name in core.MODULES of what a question asks for."""
    if question[0] == 's':
        return question[1:] + '/'
    return question[1:].replace('\0', '/')


def bundled(name):
    core.COMES[0](name)
    m = core.MODULES.get(name, '-')
    if m[0] == '-':
        raise IOError(errno.EIO, 'it did not come', name)
    return core.unpacked(m)
