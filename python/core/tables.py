"""Who handles what: handles, timers, hooks of the import system, and what runs at the end."""
from _mitogen import (BUNDLE, CALL, CANCEL, CONNECT, CREDIT, Importer, KILL, LOAD_MODULE,
    PATIENCE, PING, Poll, S, SHUTDOWN, STDIN, hook_logging, later, now, on_call, on_cancel,
    on_credit, on_load_module, on_ping, on_shutdown, on_stdin, select, sys)

HANDLERS = {CALL: on_call, CANCEL: on_cancel, CREDIT: on_credit, STDIN: on_stdin,
            LOAD_MODULE: on_load_module, SHUTDOWN: on_shutdown, PING: on_ping}
PASSES = {}     # what is done with frames on their way to a child
for n in (CONNECT, KILL):
    later('_mitogen_spawn', HANDLERS, n)
for n in range(BUNDLE, 14):
    later('_mitogen_forward', HANDLERS, n)
later('_mitogen_tunnel', HANDLERS, 14)      # OPEN
later('_mitogen_session', HANDLERS, 15)     # SESSION
later('_mitogen_values', globals(), 'plain')
later('_mitogen_forward', PASSES, BUNDLE)
HOOKS = {}
HOOKABLE = {'logging': hook_logging}
if sys.version_info[:2] == (3, 9):
    HOOKABLE['importlib._common'] = lambda: __import__('_mitogen_files').hook_resources()
IMPORTER = Importer()
# Modules that the standard library looks for in vain, elsewhere than on Windows and where it isn't
# CPython's.
for n in ('_winapi _winreg winreg msvcrt nt org java vms_lib _sha2 _sha256 _wmi _scproxy _asyncio '
          '_bisect _datetime _decimal _elementtree _functools _heapq _json _pickle _queue _stat '
          '_statistics _typing _uuid _zoneinfo').split():
    IMPORTER.nowhere(n, 'not here')
# Functions that return seconds until something must be done without an event. All are asked in each
# turn of pump.
DUE = [lambda: min(PATIENCE / 4, S.timeout and S.heard + S.timeout - now() or PATIENCE)]
LEAVE = []      # what a hop does before it ends
ARMED = []      # flags of the old stderr before arm()
CAPTURED = {}
EARLY = []      # STDIN frames that no run has taken yet: (reply handle of the run, data)
FEED = []       # the function of a run that takes them
DRAIN = getattr(select, 'poll', Poll)()
