"""What the threads share: the state, the locks, and the tables that the modules of the runtime
fill."""
from _mitogen import HEARTBEAT, deque, thread


class S:
    """The state that the threads share: who reads, interrupts, the end. Only the thread named
    behind a name writes to it; the reader is the thread that holds R.
    """

    # Who reads (serving.py, claim() in reader.py). A call that takes no more than some ms costs no
    # hand-over; a hop (ROUTES) has the second thread read during all calls.
    #
    #   main     idle = 1, holds R, reads
    #              | a call is in Q
    #            idle = 0, R is free, calls; start_watch() wakes the second thread
    #              | Q is empty: claim()
    #            R was free: idle = 1. Else want = 1 until the second thread has let R go
    #
    #   second   watch = 0, sleeps on GATE
    #              | start_watch()
    #            watch = 1, looks every 5 ms
    #              | R is free, and one call runs since the last look (calls is the same), or ROUTES
    #            holds R, reads
    #              | want: lets R go, looks again; idle: watch = 0, sleeps
    #
    #   any      wait(): R is free, and no want: takes it for one turn. Else sleeps on a lock in
    #            WAITERS, until the reader has read
    idle = 1        # main: reads, nothing is called
    calls = 0       # main: calls started
    started = 0     # main: the second thread exists
    watch = 0       # both: the second thread does not sleep on GATE
    want = 0        # main: wants R back

    # Interrupts (handlers.py, atomic.py, pump() in reader.py).
    #
    #   CANCEL of a call in Q: taken out, and answered
    #   CANCEL of any other call: late = the call; main looks at it before it starts one
    #   CANCEL of the current one, too: cancel = the call, SIGINT
    #       | on_interrupt(): cancel = None
    #       +- crit = 0: KeyboardInterrupt
    #       +- crit > 0: interrupt = 1 | crit = 0: interrupt = 0, KeyboardInterrupt
    #       +- another call is the current one, or none: nothing
    #       | no on_interrupt() in 1 s, because a system call has begun just then:
    #         again = 1, SIGINT once more
    #           | on_interrupt() without cancel: again = 0, it was the second of two
    #   SIGINT from elsewhere (cancel = None, again = 0): as for the current call
    current = None  # main: (src, reply) of the running call
    late = None     # reader: the call cancelled last that did not wait any more
    cancel = None   # reader, and main to None: the call that an interrupt is meant for
    again = 0       # reader, and main to 0: an interrupt was sent once more
    crit = 0        # main: inside runtime code that must not be interrupted
    interrupt = 0   # main: an interrupt waits for crit to end

    # The end (ending.py, Stream.lost() in streams.py, pump() in reader.py).
    #
    #   runs     -- the parent's stream ends or has a broken frame,
    #               or nothing was heard for timeout s (0: however long): die()
    #     | SHUTDOWN
    #   stop = 1 -- the same: die()
    #     | the current call has ended, and main is idle
    #   leaving = 1, in leave() -- after 1 s: SIGALRM ends it
    #     |                     -- the stream ends: what waits to be sent is dropped
    #   die()
    stop = 0        # reader: SHUTDOWN has come
    leaving = 0     # main: in leave()
    heard = 0       # reader: when the parent was last heard
    timeout = HEARTBEAT     # reader: seconds after that when it is gone


def lock():
    """A lock that is held."""
    l = thread.allocate_lock()
    l.acquire()
    return l


R = lock()                     # the right to read
GATE = lock()                  # the second thread sleeps on it
WRITE = thread.allocate_lock()
OUTPUT = thread.allocate_lock()
WAITERS = []                   # locks of threads that wait for something the reader brings
Q = deque()                    # calls: (src, reply, payload)
USES = [Q]                     # tables with entries while something runs here, or behind us
TABLES = []     # of modules; a program's process begins with them empty (run_copy.py)
ANSWERS = []                   # frames that wait for the output written before them
PARTS = {}                     # (src, handle, reply): [size, BytesIO]
FLOWS = {}                     # (dst, flow): bytes that may still be sent
ROUTES = {}                    # context id: the Stream it is behind
STREAMS = []
FDS = {}                       # fd: function(events), called by the reader
