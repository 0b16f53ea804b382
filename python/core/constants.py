"""Numbers of the wire (docs/protocol/wire.md), the configuration, and facts about this process."""
from _mitogen import C, os, struct, sys, thread, time

BUILTINS = sys.modules[object.__module__]
PY3 = sys.version_info[0] > 2
EMPTY = ''.encode()
ZERO = '\0'.encode()
MAGIC = 0xF14D4700
TRAILER = struct.pack('>H', 0x47F1)
MAX_PAYLOAD = 131072
WINDOW = 1048576
DATA, DEAD, ERROR, ITEM, PART = range(5)
(CALL, CANCEL, CREDIT, STDIN, LOAD_MODULE, CONNECT, SHUTDOWN, PING, KILL, BUNDLE, FORWARD, ASK,
 COMING) = range(1, 14)
(HELLO, STDOUT, STDERR, LOG, GET_MODULE, LOST, LACKS, DROPPED) = range(16, 24)

ME, PARENTS, NAME, LIMIT, HEARTBEAT, BUSY_TIMEOUT, LEVEL = C
LARGE = 'message is larger than %d bytes' % LIMIT
SIZES = {CANCEL: 4, CREDIT: 8}  # length of a payload
PID = os.getpid()
MAIN = thread.get_ident()
PROTO = 2 + PY3 + (sys.version_info > (3, 4))

pack = struct.pack
unpack = struct.unpack
now = getattr(time, 'monotonic', None) or (lambda: os.times()[4])
