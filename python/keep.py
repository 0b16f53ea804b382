"""What a program leaves behind stays, as under ssh. Sent as `_mitogen_keep` for a run
that is to keep it.

The program has pipes of its own for its output, which end when no process has them open: so
the run lasts as long as whatever the program has started still writes there. What it starts has a
mark and a guard of its own, which lets all live once the program has ended: the context's guard
still ends all else.
"""
import os
import sys

import _mitogen as core

LINUX = sys.platform[:5] == 'linux'


def prepare():
    """Have the context's guard, without which there is none for the program."""
    if LINUX:
        for fd in os.pipe():
            os.close(fd)


class Outputs:
    """The output of one program, in place of the context's, and what ends what it starts."""

    def __init__(self):
        self.pipes = {}     # handle: (reading end, writing end)
        self.old = {}       # handle: the context's reading end
        self.lock = ()      # a pipe on which this process has a lock that the guard waits for
        self.mark = ''
        try:
            for handle in (core.STDOUT, core.STDERR):
                self.pipes[handle] = core.posix.pipe()
            if LINUX:
                self.lock = core.posix.pipe()
                self.guard()
        except:
            for fd in self.files():
                os.close(fd)
            raise

    def files(self):
        return [fd for pair in self.pipes.values() for fd in pair] + list(self.lock)

    def guard(self):
        for fd in self.lock:
            core.private(fd)
        core.fcntl.lockf(self.lock[1], 2)
        self.mark = core.new_mark()
        r, w = core.posix.pipe()
        try:
            try:
                pid = core.posix.fork()
                if not pid:
                    self.guard_life(w)
            finally:
                os.close(w)
            os.waitpid(pid, 0)
            if not os.read(r, 1):
                raise OSError(core.errno.EAGAIN, 'the context can start no guard')
        finally:
            os.close(r)

    def guard_life(self, w):
        """As guard_life of guard.py, without the context's mark, which would have its guard kill
        this one. Tells w that it is there."""
        try:
            os.setsid()
            if core.posix.fork():
                return
            core.bear_mark(core.resource_module())
            lock = self.lock[1]
            core.close_all_but((lock, w))
            os.write(w, core.ZERO)
            os.close(w)
            core.fcntl.lockf(lock, 2)
            if not core.fcntl.fcntl(lock, core.fcntl.F_GETFL) & os.O_APPEND:
                core.guard_sweep(self.mark, {str(os.getpid()): 1})
        finally:
            os._exit(0)

    def take(self):
        """In the program's process."""
        os.dup2(self.pipes[core.STDOUT][1], 1)
        os.dup2(self.pipes[core.STDERR][1], 2)
        if self.mark:
            core.MARK = self.mark
            core.bear_mark(core.resource_module(), self.mark)

    def read(self):
        """In the context: read these instead of its own."""
        self.suck = core.suck
        core.suck = self.suck_to_end
        for handle in self.pipes:
            r, w = self.pipes[handle]
            os.close(w)
            fd = core.high(r)
            self.old[handle] = self.swap(handle, fd)
            os.close(r)

    def swap(self, handle, fd):
        old = core.CAPTURED[handle]
        if old in core.FDS:
            del core.FDS[old]
            core.POLL.unregister(old)
        core.DRAIN.unregister(old)
        core.CAPTURED[handle] = fd
        core.DRAIN.register(fd, core.POLLIN)
        core.listen(handle)
        return old

    def suck_to_end(self, handle):
        """As core's suck, but for pipes that may end."""
        if handle not in self.old or core.FLOWS[0, handle] <= 0:
            return self.suck(handle)
        try:
            data = os.read(core.CAPTURED[handle], 65536)
        except OSError:
            return 1
        if data:
            core.FLOWS[0, handle] -= len(data)
            core.UP.put(core.frame(0, handle, data))
        else:
            self.restore(handle)
        return 1

    def restore(self, handle):
        os.close(self.swap(handle, self.old.pop(handle)))

    def close(self):
        """Read the context's own output again. Where leave() wasn't called, the guard ends what the
        program has started."""
        for handle in list(self.old):
            self.restore(handle)
        core.suck = self.suck
        self.unlock()

    def unlock(self):
        for fd in self.lock:
            os.close(fd)
        self.lock = ()

    def leave(self, life):
        """The program has ended: neither the kernel nor the guard is to end what it has left."""
        core.fcntl.fcntl(life, core.fcntl.F_SETFL, 0)
        if self.lock:
            flags = core.fcntl.fcntl(self.lock[1], core.fcntl.F_GETFL)
            core.fcntl.fcntl(self.lock[1], core.fcntl.F_SETFL, flags | os.O_APPEND)
            self.unlock()
