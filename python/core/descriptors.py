"""File descriptors, and what waits for several of them."""
from _mitogen import errno, fcntl, os, select


class Poll:
    """select.poll for where there is none."""

    def __init__(self):
        self.fds = {}

    def register(self, fd, mask):
        self.fds[fd] = mask

    def unregister(self, fd):
        del self.fds[fd]

    def poll(self, ms):
        r = [f for f in self.fds if self.fds[f] == 1]
        r, w, x = select.select(r, [f for f in self.fds if self.fds[f] == 4], [], ms / 1000.0)
        return [(f, 1) for f in r + w]


POLL = getattr(select, 'poll', Poll)()
POLLIN, POLLOUT = 1, 4


def private(fd, blocking=0):
    """Close fd on exec, and set whether its calls block."""
    fcntl.fcntl(fd, fcntl.F_SETFD, 1)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK
    fcntl.fcntl(fd, fcntl.F_SETFL, flags ^ os.O_NONBLOCK * blocking)


def high(fd):
    """A copy of fd above the three that programs know, as private."""
    fd = fcntl.fcntl(fd, fcntl.F_DUPFD, 3)
    private(fd)
    return fd


def again(e):
    return e.args[0] in (errno.EAGAIN, errno.EINTR)
