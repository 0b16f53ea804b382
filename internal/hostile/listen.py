"""Run as the other user: listen.py SOCKET...

Says that it is ready, listens until its stdin ends, and prints the connections as JSON.
"""
import json
import os
import selectors
import socket
import sys

LIMIT = 1 << 16     # bytes that are kept of a connection
heard = []
sel = selectors.DefaultSelector()
sel.register(sys.stdin.buffer.raw, selectors.EVENT_READ, None)


def listen(path):
    try:
        os.unlink(path)
    except OSError:
        pass
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    os.chmod(path, 0o777)
    s.listen(64)
    sel.register(s, selectors.EVENT_READ, lambda: accept(s, path))


def accept(s, path):
    c, _ = s.accept()
    c.setblocking(False)
    record = {'socket': path, 'bytes': ''}
    heard.append(record)
    sel.register(c, selectors.EVENT_READ, lambda: read(c, record))


def read(c, record):
    try:
        data = c.recv(LIMIT)
    except BlockingIOError:
        return
    except OSError:
        data = b''
    record['bytes'] = (record['bytes'] + data.decode('latin-1'))[:LIMIT]
    sel.unregister(c)
    c.close()       # the victim is not to wait for an answer


for path in sys.argv[1:]:
    listen(path)
print('ready', flush=True)
timeout = None
while True:
    events = sel.select(timeout)
    if timeout is not None and not events:
        break       # all that had come has been read
    for key, _ in events:
        if key.data:
            key.data()
        else:
            sel.unregister(key.fileobj)
            timeout = 0
json.dump(heard, sys.stdout)
