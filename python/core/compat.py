"""The runtime core: turns a bare interpreter into a context.

It arrives over stdin (docs/protocol/bootstrap.md, section 5) and runs as module `_mitogen` with two
names set: C, the configuration tuple, and IMAGE, its own compressed text, which a hop passes on; a
third, AHEAD, where frames came with it. CPython 2.4 to 3.14 and PyPy, in their common subset;
tools/subset holds it there.

The files of this directory are joined in the order of internal/boot/gen/rules.go to one text, which
runs in one namespace. `from _mitogen import` names what a file uses of the rest of that namespace,
and is for readers: the linker drops it. This file gives one name to what Pythons call differently.

Who reads: the holder of lock R. While nothing is called that is the main thread itself, so that a
short call costs no hand-over between threads. A second thread exists from the first call on; it
looks every few ms whether one call still runs, and then reads in main's place until main asks for R
back. While nothing is called it sleeps on a lock.
"""
import sys
# No import may find anything in the current directory. Relative entries come from PYTHONPATH or a
# .pth file.
sys.path[:] = [p for p in sys.path if p[:1] == '/']
import errno
import fcntl
import os
import posix
import select
import struct
import time
import zlib

try:
    import _thread as thread
except ImportError:
    import thread
try:
    import _signal as signal
except ImportError:
    import signal
try:
    from _collections import deque
except ImportError:
    from collections import deque
try:
    from _pickle import Pickler, Unpickler, dumps
except ImportError:
    try:
        from cPickle import Pickler, Unpickler, dumps
    except ImportError:
        from pickle import Pickler, Unpickler, dumps
if sys.version_info < (3, 4):
    import imp
    import _socket  # for a hop: Python 2 can't import while another thread does
try:
    from io import BytesIO
except ImportError:
    from cStringIO import StringIO as BytesIO
