"""Log records of what runs here, sent up."""
from _mitogen import HOOKS, LEVEL, LOG, MAX_PAYLOAD, PROTO, dumps, send, text, time


def log(level, logger, message, trace='', when=None):
    """Send one log record, cut to fit a frame."""
    n = 65536
    data = None
    while not data or len(data) > MAX_PAYLOAD:
        n = n // 2
        data = dumps((level, logger[:n], when or time.time(), message[:n], trace[-n:]), PROTO)
    send(0, LOG, data)


def hooked(name):
    """Import a module whose place in sys.modules an entry for spec() takes then."""
    HOOKS[name] = 1
    try:
        module = __import__(name, None, None, ['x'])
    finally:
        del HOOKS[name]
    HOOKS[name] = module
    HOOKS[name + '.spec'] = getattr(module, '__spec__', None)
    return module


def hook_logging():
    """Import logging and put our handler on its root, where basicConfig doesn't see it.

    Returns an entry for spec().
    """
    module = hooked('logging')

    class Handler(module.Handler):
        def emit(self, r):
            trace = ''
            if r.exc_info:
                trace = module.Formatter().formatException(r.exc_info)
            try:
                log(r.levelno, text(r.name), text(r.getMessage()), text(trace), r.created)
            except Exception:
                if not module.root.handlers[1:]:    # a fork of user code can't send
                    module.StreamHandler().emit(r)

    ours = Handler()

    def configure(theirs=module.basicConfig, **kw):     # a default, which run_copy.py restores
        module.root.removeHandler(ours)
        try:
            theirs(**kw)
        finally:
            module.root.addHandler(ours)

    module.basicConfig = configure
    module.root.addHandler(ours)
    module.root.setLevel(LEVEL)
    return 'm', module.__file__
