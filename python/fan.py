"""Sends the same bytes to several contexts, each over its own link. Sent to hops as `_mitogen_fan`.

Runs in the namespace of the core, in the thread that reads. Only an ancestor can have frames sent
here, and says whom they are for: no context behind this one can.
"""
from _mitogen import (DATA, HANDLERS, ITEM, MAGIC, ME, ROUTES, TABLES, TRAILER, deliver, fcntl,
    pack, unpack)
FAN = 28
FANS = {}       # (src, number): members, each (dst, handle, reply) of the frames that it is sent
TABLES += FANS,
WIDE = 64       # members whose pipes are widened: an account's pipes have a bound together


def on_fan(src, reply, kind, data):
    """ITEM: bytes for all members. DATA: further members. Else: what these are is no member any
    more; none: the fan ends.
    """
    key = src, reply
    if kind == ITEM:
        for member in FANS.get(key, ()):
            fan_out(src, member, data)
        return
    members = [unpack('>3L', data[i:i + 12]) for i in range(0, len(data), 12)]
    if kind == DATA:
        FANS.setdefault(key, []).extend(members)
        for member in members[:WIDE]:
            widen_way(ROUTES.get(member[0]))
    elif members:
        FANS[key] = [m for m in FANS.get(key, ()) if m not in members]
    else:
        FANS.pop(key, 0)


def widen_way(way):
    """Have the pipe to a process of this machine take two frames, instead of half of one: that
    saves turns. Pipes to further machines keep what can't be overtaken small."""
    if way and way.plan.get('near'):
        try:
            fcntl.fcntl(way.w, 1031, 262144)    # F_SETPIPE_SZ of Linux
        except (IOError, ValueError):
            pass    # the system has none, or the account has its share


def fan_out(src, member, data):
    """Send one member what has come. The engine has taken it out of that one's window."""
    dst, handle, reply = member
    if dst == ME:
        return deliver(src, src, handle, reply, ITEM, data)
    way = ROUTES.get(dst)
    if way:
        # The data is shared by all who get it.
        head = pack('>7L', MAGIC + ITEM, dst, src, src, handle, reply, len(data))
        way.put((head, data, TRAILER))
        way.flush()


HANDLERS[FAN] = on_fan
