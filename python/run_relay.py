"""Carries what a program and the engine say to each other, in the context. The first part of
`_mitogen_run`, whose parts share one namespace; run.py has the last.

A script or module runs in a copy of the context, a process with a session of its own. The copy ends
as every interpreter does, or as abruptly as it likes: the context reads its output, passes frames
between it and the engine, and reports its status (docs/protocol/bootstrap.md, section 8).
"""
from run_copy import begin, channel
from process import close_all_but, exit_code
import os
import signal
import sys

import _mitogen as core

BUILTINS = core.BUILTINS    # for process.py
# Handles of frames between a context and its program alone.
REGISTERED, MARK = 0xFFFFFF01, 0xFFFFFF02
# Frames of the engine's that a program takes besides those for its own handles.
SHARED = (core.CANCEL, core.CREDIT, core.LOAD_MODULE, core.BUNDLE, core.ASK, core.COMING)
# What a program says that the context has said or says by itself.
KNOWN = (core.LACKS, core.DROPPED)
FLOWS_LIMIT = 10000     # flows of one context to a program for which CREDIT may wait
LINUX = sys.platform[:5] == 'linux'
RUNNING = []        # something while a program runs
core.USES.append(RUNNING)


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
        core.no_input()

    def end(self):
        del core.FEED[:]
        if not self.done and core.S.late == core.S.current:
            self.keep()
        else:
            self.lost()

    def keep(self):
        """Cancelled: what still reads must not take what it has for the whole. The pipe stays open
        until no process reads."""
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


class Peer(core.Stream):
    """One end of the two pipes between a context and its program."""
    gone = 0
    held = 0            # not read, because too much waits for the engine

    def read(self, ev):
        """As Stream.read, but this is not the parent that is heard."""
        try:
            data = os.read(self.r, core.MAX_PAYLOAD)
        except OSError:
            if core.again(sys.exc_info()[1]):
                return
            data = core.EMPTY
        if data:
            self.parse(self.buf + data)
        else:
            self.lost()

    def foreign(self, buf, pos, end):
        self.lost()
        return len(buf)

    def lost(self, grace=0):
        """The other end is gone, or, with grace, reads no more."""
        self.blocked = 0
        self.out.clear()
        self.rest = core.EMPTY
        if not self.gone and not grace:
            self.gone = 1
            core.STREAMS.remove(self)
            if self.waits:
                core.POLL.unregister(self.w)
            if not self.held:
                core.POLL.unregister(self.r)
            del core.FDS[self.w], core.FDS[self.r]


class Program(Peer):
    """A copy of the context in which a program runs. Its attribute pid is 0 in the copy."""
    pid = None
    outputs = None
    old = None          # what was told of signals before
    code = None         # the exit status that a shell would see
    asked = 0           # the program waits for the mark
    forks = 0           # a fork of it asks for files
    interrupted = 0
    watcher = 0

    def __init__(self, fed, keep):
        self.files = []     # of the pipes and sockets, as they were made
        # The context's: those of life, of which the second is the program's too, r, w, and the
        # socket by which forks ask, if there is one.
        self.own = []
        # contexts: {flow: bytes} of CREDIT that waits for a program which doesn't read
        self.credits = {}
        # (sender, flow): bytes that the program was passed and gave no CREDIT for
        self.owed = {}
        try:
            if keep:
                self.outputs = __import__('_mitogen_keep').Outputs()
            for i in range(3):
                self.files.extend(core.posix.pipe())
            self.files.extend(channel())
            # Before the program can end.
            self.old = signal.signal(signal.SIGCHLD, self.wake), wake_by(core.WAKE[1])
            self.pid = core.posix.fork()
            if self.pid:
                self.supervise(fed)
        except:
            self.abandon()
            raise
        if not self.pid:
            begin(self.files[0], self.files[3], self.files[4], self.files[6:7], self.outputs)

    def supervise(self, fed):
        """In the context: have what reads from the program, and what ends it."""
        down, up, life, held = [self.files[i] for i in (1, 2, 4, 5)]
        if not LINUX:
            self.watcher = watcher(self.pid, life)
        if fed:
            core.no_input()
        for fd in [held, life, up, down] + self.files[7:]:
            self.own.append(core.high(fd))
        core.Stream.__init__(self, *self.own[2:4])
        for fd in self.own[4:]:
            core.POLL.register(fd, core.POLLIN)
            core.FDS[fd] = self.fork_asks
        while self.files:
            os.close(self.files.pop())

    def abandon(self):
        """The program could not be started, or not be supervised."""
        if self.pid:
            end_group(self.pid)
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        if self in core.STREAMS:
            Peer.lost(self)
        self.leave_forks()
        if self.watcher:
            self.end_watcher()
        for fd in self.files + self.own + (self.outputs and self.outputs.files() or []):
            os.close(fd)
        if self.old:
            self.restore()

    def leave_forks(self):
        """Take no more questions of forks."""
        for fd in self.own[4:]:
            if core.FDS.pop(fd, None) and not self.forks:
                core.POLL.unregister(fd)

    def wake(self, sig, stack):
        """Have the main thread look whether the program has ended: the signal itself wakes it."""

    def serve(self):
        """Read, in the main thread, until the program has ended."""
        RUNNING.append(1)
        self.apart()
        old = core.interrupt, core.die
        core.interrupt, core.die = self.interrupt, self.die
        core.UP.take = self.from_above
        core.claim()
        core.S.idle = 1
        try:
            if self.outputs:
                self.outputs.read()
            while not self.ended() or self.outputs and self.outputs.old:
                if core.S.interrupt:
                    core.S.interrupt = 0
                    self.interrupt()
                if self.held and len(core.UP.out) < 16 and not self.gone:
                    self.held = 0
                    core.POLL.register(self.r, core.POLLIN)
                if self.asked:
                    self.asked = 0
                    self.apart_from_reading(self.tell_mark)
                if self.forks:
                    self.apart_from_reading(self.answer_forks)
                core.pump()
            self.last_words()
        finally:
            self.close()
            RUNNING.pop()
            del core.UP.take
            core.interrupt, core.die = old
            core.S.idle = 0
            core.R.release()

    def apart_from_reading(self, fn):
        """Call what may have to wait for modules, and so reads for itself."""
        core.R.release()
        try:
            fn()
        finally:
            core.claim()

    def tell_mark(self):
        """Have a guard and tell the program the mark."""
        try:
            for fd in os.pipe():    # this starts the guard
                os.close(fd)
        except OSError:
            pass    # the program is told that there is none
        if not self.gone:
            self.put(core.frame(core.ME, MARK, core.__dict__.get('MARK', '').encode()))
            self.flush()

    def fork_asks(self, ev):
        """The first question of a fork has come: what answers it has to be imported first."""
        core.POLL.unregister(self.own[4])
        self.forks = 1

    def answer_forks(self):
        __import__('_mitogen_files').answer_forks(self.own[4])
        self.forks = 0

    def apart(self):
        """Give out no handle that the program may give out too."""
        self.first = self.last = core.register(None)    # the program has first to last - 1
        del core.HANDLERS[self.first]
        core.NUMBERS = iter(getattr(core.BUILTINS, 'xrange', range)(self.first + 4096, 1 << 30))

    def ended(self):
        if self.code is not None:
            return 1
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = exit_code(status)
            if self.outputs:
                self.outputs.leave(self.own[1])
        return pid

    def last_words(self):
        """Take what the program has sent before its end."""
        p = getattr(core.select, 'poll', core.Poll)()
        p.register(self.r, core.POLLIN)
        while not self.gone and p.poll(0):
            self.read(0)

    def close(self):
        """Forget the program, which is killed if it has not ended."""
        if self.code is None:
            self.code = 137
            end_group(self.pid)
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        self.lost()
        if self.watcher:
            if not self.outputs:
                end_group(self.pid)     # as the watcher would, which may get no processor in time
            self.end_watcher()
        if self.outputs:
            self.outputs.close()
        for key in self.owed:
            if self.owed[key] > 0:
                # what it has not taken is to hold up nothing
                core.credit(key[0], key[1], self.owed[key])
        self.leave_forks()
        for fd in self.own:
            os.close(fd)
        self.restore()

    def end_watcher(self):
        os.kill(self.watcher, 9)
        os.waitpid(self.watcher, 0)
        self.watcher = 0

    def restore(self):
        signal.signal(signal.SIGCHLD, self.old[0] or signal.SIG_DFL)
        wake_by(self.old[1])

    def lost(self, grace=0):
        """As Peer.lost. A program that has closed all files, or become another one, has let go of
        what the kernel would end it by."""
        Peer.lost(self, grace)
        if not grace and not self.watcher:
            for i in range(20):
                if self.ended():
                    return
                core.time.sleep(.001)
            self.watcher = watcher(self.pid, self.own[1])

    def interrupt(self):
        """CANCEL, or a SIGINT to the context, is an interrupt of the program."""
        core.S.cancel = None
        self.interrupted = 1
        if self.code is None:
            os.kill(self.pid, signal.SIGINT)
        elif self.outputs:
            self.outputs.close()    # what else writes is waited for no longer

    def die(self):
        """The parent is gone. What a program has left behind that is to stay isn't ended."""
        try:
            if self.code is None or not self.outputs:
                os.killpg(self.pid, 9)
        finally:
            os.kill(0, 9)

    def from_above(self, dst, src, auth, handle, reply, kind, raw):
        """A frame from the parent."""
        if dst == core.ME and not self.gone:
            if handle == core.CREDIT and kind == core.DATA and len(raw) == 38:
                self.give_credit(src, raw)
            elif (handle in SHARED and auth in core.PARENTS or self.first <= handle < self.last
                  and handle not in core.HANDLERS):
                self.put(raw)
                self.flush()
                if handle >= 1000:
                    self.owe((src, handle), len(raw) - 30, kind == core.PART)
                    return
        core.Stream.take(core.UP, dst, src, auth, handle, reply, kind, raw)
        if dst == core.ME and handle == core.FORWARD and not self.gone:
            for data in core.__dict__.get('KEPT', {}).get(raw[28:44], ()):
                self.put(core.frame(core.ME, core.BUNDLE, data))
            self.flush()

    def owe(self, key, n, counts=1):
        if counts:
            self.owed[key] = self.owed.get(key, 0) + n

    def give_credit(self, src, raw):
        """Pass CREDIT on. Of any number of frames the program, while it doesn't read, is kept one
        for each flow, of flows that it can have."""
        flow, n = core.unpack('>LL', raw[28:36])
        of = self.credits.setdefault(src, {})
        if flow in of or len(of) < FLOWS_LIMIT:
            of[flow] = min(of.get(flow, 0) + n, 0xffffffff)
        self.flush()

    def flush(self, ev=None):
        """As Stream.flush; CREDIT that waits is sent once the program reads."""
        Peer.flush(self)
        if self.credits and not self.blocked and not self.gone:
            for src, of in self.credits.items():
                for flow, n in of.items():
                    self.put(core.pack('>9L', core.MAGIC, core.ME, src, src, core.CREDIT, 0, 8,
                                       flow, n) + core.TRAILER)
            self.credits = {}
            Peer.flush(self)

    def take(self, dst, src, auth, handle, reply, kind, raw):
        """A frame from the program."""
        data = raw[28:-2]
        if handle == core.CREDIT and len(data) == 8:
            flow, n = core.unpack('>LL', data)
            self.owe((dst, flow), -n)
        if handle == REGISTERED:
            self.last = max(self.last, core.unpack('>L', data)[0] + 1)
            for n in core.NUMBERS:
                if n >= self.last - 1:
                    break
        elif handle == MARK:
            self.asked = 1      # serve() answers: the guard may have to wait for modules
        elif src == auth == core.ME and handle not in KNOWN:
            core.settle(0)      # what was written before comes before
            core.UP.put(raw)
            core.UP.flush()
            if len(core.UP.out) > 64 and not self.held:
                self.held = 1
                core.POLL.unregister(self.r)


def wake_by(fd):
    """Have signals write to fd, where Python can do that; returns what they have written to."""
    if hasattr(signal, 'set_wakeup_fd'):
        return signal.set_wakeup_fd(fd)
    return -1


def end_group(pid):
    """Kill the group of a program, if it has one already."""
    try:
        os.killpg(pid, 9)
    except OSError:
        pass


def watcher(pid, life):
    """Start a process that kills a program once the context is gone, where the kernel doesn't."""
    w = core.posix.fork()
    if not w:
        try:
            os.setsid()
            close_all_but((life,))
            os.read(life, 1)
            os.killpg(pid, 9)
        finally:
            os._exit(0)
    return w
