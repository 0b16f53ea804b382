"""Run as the other user: swap.py A B.

Exchanges two paths until its stdin ends, and leaves them as they were.
"""
import ctypes
import os
import select
import sys

AT_FDCWD, EXCHANGE = -100, 2
a, b = [os.fsencode(p) for p in sys.argv[1:3]]
libc = ctypes.CDLL(None, use_errno=True)


def exchange():
    if libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), sys.argv[1])


exchange()
exchange()
print('ready', flush=True)
while not select.select([0], [], [], 0)[0]:
    exchange()
    exchange()
