"""Makes a copy of this process a context that has run nothing but the runtime. Sent as
`_mitogen_fork` before the first CONNECT or OPEN that asks for one.

Runs in the namespace of the core; uses spawn.py and its other parts.
"""
from _mitogen import (BUILTINS, CHILDREN, EC0, IMAGE, IMPORTER, Place, close_others, dumpable,
    os, restore_os, signal, sys, zlib)

def core_of_copies():
    """The runtime's source and code. No copy may write into what the next one is made of."""
    source = zlib.decompress(IMAGE)
    code = compile(source, '<_mitogen>', 'exec')
    dumpable(0)
    return [source, code]


CORE = core_of_copies()     # copies keep more in it


def reborn(failed):
    """Be what the boot command is once it has started: in a process that has run nothing
    but the runtime."""
    os.close(failed)        # as if it had executed something
    dumpable(1)
    restore_os()
    for c in CHILDREN.values():
        c.forget()
    for name in ('SIGPIPE', 'SIGXFSZ'):     # as an interpreter does that starts
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    close_others()
    for hooks, ours in ((sys.meta_path, IMPORTER), (sys.path_hooks, Place)):
        hooks[:] = [h for h in hooks if h is not ours]
    for name in list(sys.modules):
        if name.startswith('_mitogen'):
            del sys.modules[name]
    sys.path_importer_cache.clear()
    os.write(1, EC0)
    f = os.fdopen(0, 'rb', 0)
    CORE.append(f)      # when it is freed it closes fd 0
    exec(f.readline(), {'__builtins__': BUILTINS, '__name__': '__main__', 'f': f, 'os': os,
                        'sys': sys, 'compile': compiled})


def compiled(source, name, kind):
    """compile() for the boot of copies, which knows the runtime already."""
    if source == CORE[0]:
        return CORE[1]
    return compile(source, name, kind)
