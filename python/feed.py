"""Bytes of frames on their way to a file. Part of `_mitogen_tunnel` and of `_mitogen_session`.

Runs in the namespace of the core, and twice where both modules are used.
"""
from _mitogen import CREDIT, EMPTY, FDS, POLL, STREAMS, Stream, UP, WINDOW, frame, os, pack


class Fed(Stream):
    """A file that is fed with the frames of one (src, reply): self.key."""
    eof = 0     # nothing more is fed
    owed = 0    # bytes that were written, and not given back yet

    def written(self, n):
        """Give them back in bulk: a pipe that is nearly full takes few at a time."""
        self.owed += n
        if self.owed >= WINDOW // 4 or self.eof:
            UP.out.appendleft(frame(self.key[0], CREDIT, pack('>LL', self.key[1], self.owed)))
            self.owed = 0

    def flush(self, ev=None):
        if self.w is not None:
            Stream.flush(self)
            UP.flush()
        if self.eof and self.w is not None and not self.rest and not self.out:
            self.shut()

    def shut(self):
        """Nothing more is written."""
        if self.waits:
            POLL.unregister(self.w)
            self.waits = 0
        self.blocked = 0
        del FDS[self.w]
        os.close(self.w)
        self.w = None
        STREAMS.remove(self)

    def lost(self, grace=0):
        """Nothing reads the file any more. flush, which has called this, closes it."""
        dropped = len(self.rest) + sum([len(data) for data in self.out])
        self.out.clear()
        self.rest = EMPTY
        self.eof = 1
        self.written(dropped)

    def unwritable(self):
        self.out.clear()
        self.rest = EMPTY
        self.eof = 1
        if self.w is not None:
            self.shut()
