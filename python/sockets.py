"""Serves OPENs of sockets: connections, and ports that listen. The last part of `_mitogen_sockets`;
uses sockets_listen.py, sockets_private.py, sockets_stream.py and tunnel.py. Runs in the
namespace of the core.
"""
from _mitogen import (ALARMS, Accepted, DUE, FOUND, LOOKUPS, Listener, PATIENCE, SERVICES,
    SOCKET_LIMIT, Socket, TUNNELS, UNTOLD, _socket, failure, now, pass_on, refuse_socket, sys)


def serve_sockets(key, spec):
    try:
        if len(TUNNELS) >= SOCKET_LIMIT:
            raise failure('EMFILE')
        if 'family' in spec:
            spec['family'] = {4: _socket.AF_INET, 6: _socket.AF_INET6}[spec['family']]
        if spec.get('listen'):
            Listener(key, spec)
        elif 'accept' in spec:
            listener = TUNNELS.get((key[0], spec['accept']))
            if not isinstance(listener, Listener):
                raise failure('EBADF')
            Accepted(key, spec)
            listener.wait(key)
        else:
            Socket(key, spec).dial()
    except Exception:
        if key in TUNNELS:
            TUNNELS[key].refuse(sys.exc_info()[1])
        else:
            refuse_socket(key, sys.exc_info()[1])


def ring():
    """Do what is due; returns seconds until the next may be."""
    while FOUND:
        name, found, failed = FOUND.popleft()
        LOOKUPS.pop(name, 0)
        for t in list(TUNNELS.values()):
            if getattr(t, 'wanted', 0) == name:
                t.failed = failed or t.failed
                t.found_addresses(found)
    for key in [key for key in ALARMS if ALARMS[key] <= now()]:
        del ALARMS[key]
        if key in TUNNELS:      # a fork that becomes a program has none
            TUNNELS[key].alarm()
    pass_on()
    return min([PATIENCE] + [.01 for u in UNTOLD]
               + [max(0, when - now()) for when in ALARMS.values()])


SERVICES['sockets'] = serve_sockets
DUE.append(ring)
