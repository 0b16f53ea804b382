"""Appended to `_mitogen_paths` and run as root: victim.py DIRECTORY ROUNDS.

Does what the runtime does to files below DIRECTORY/sub, which another user exchanges meanwhile for
a link, until each operation has been refused once and carried out once, and ROUNDS times at least.
Prints both numbers for each.
"""
import errno
import os
import sys
import time

from __main__ import SLASH, add_mode, make_dir, remove, replace, writable

top = getattr(os, 'fsencode', str)(sys.argv[1]) + SLASH
rounds = int(sys.argv[2])
DATA = 'written by root'.encode()


def at(name):
    return top + ('sub/' + name).encode()


def fill(fd):
    os.write(fd, DATA)


def make_and_remove():
    try:
        make_dir(at('inner/deep'))
        os.close(writable(at('inner/deep/file'), 384))
    finally:
        remove(at('inner'))


def write():
    fd = writable(at('shadow'), 420)
    os.write(fd, DATA)
    os.close(fd)


OPERATIONS = {
    'write': write,
    'replace': lambda: replace(at('shadow'), 511, fill),
    'keep': lambda: replace(at('shadow'), 0, fill),
    'chmod': lambda: add_mode(511, at('shadow')),
    'chmod-dir': lambda: add_mode(511, at('inner/')),
    'mkdir': lambda: make_dir(at('new-%d/a/b' % count)),
    'remove': make_and_remove,
    'remove-file': lambda: remove(at('shadow')),
}
for name in sorted(OPERATIONS):
    done = refused = count = 0
    end = time.time() + 60
    silent = name[:6] == 'remove'   # says nothing
    while count < rounds or not done or not (refused or silent):
        count += 1
        try:
            OPERATIONS[name]()
            done += 1
        except OSError:
            e = sys.exc_info()[1]
            if e.errno == errno.EPERM:
                refused += 1
            elif e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN,
                                 errno.EEXIST):
                raise
        if time.time() > end:
            break
    print('%s %d %d' % (name, done, refused))
