"""Answers which modules can't be imported here without the engine. Sent as `_mitogen_lacks`
before the first question (ASK); docs/protocol/modules.md, section 12.

Runs in the namespace of the core, after forward.py, in the thread that reads.
"""
from _mitogen import (ASK, HANDLERS, IMPORTER, LACKS, OPEN, PY3, ZERO, imp, native, os, send,
    served, sys, tags, thread)

NATIVE = '_mitogen_native'.encode()     # in an ASK: which extension modules are taken here?


UNANSWERED = []     # names of each ASK, the oldest first, which is being answered
ANSWERING = thread.allocate_lock()      # guards it


def on_ask(src, reply, kind, data):
    names = data.split(ZERO)
    OPEN.append([native(n) for n in names])
    ANSWERING.acquire()
    UNANSWERED.append(names)
    busy = len(UNANSWERED) > 1
    ANSWERING.release()
    if busy:
        return
    if [f for f in sys.meta_path if f is not IMPORTER and
            not str(getattr(f, '__module__', '')).startswith('_frozen_importlib')] and PY3:
        # A program's finder may import, and so wait for us.
        thread.start_new_thread(answer_questions, ())
    else:
        answer_questions()


def answer_questions():
    """Answer in the order of the questions: an answer doesn't say which one it belongs to."""
    while UNANSWERED:
        try:
            answer_names(UNANSWERED[0])
        finally:
            ANSWERING.acquire()
            del UNANSWERED[0]
            over = not UNANSWERED
            ANSWERING.release()
        if over:
            break


def answer_names(names):
    lacks = [n for n in names if not has(native(n))]
    if NATIVE in names:
        try:
            lacks.append(tags())
        except Exception:
            pass    # then it takes none
    send(0, LACKS, ZERO.join(lacks))


def has(name):
    """True if name can be imported without us, as far as can be told without importing anything."""
    path = None
    full = ''
    for part in name.split('.'):
        full += part
        try:    # a program may have put an object into sys.modules whose attributes raise
            m = sys.modules.get(full)
            if m is not None and getattr(m, '__spec__', 1) is not None and not served(m):
                path = getattr(m, '__path__', None)
                full += '.'
                continue
            found, path = locate(full, path)
        except Exception:
            return 0
        if not found:
            return 0
        full += '.'
    return 1


def locate(name, path):
    """Tell if the target has module name on path, and return the path of its own.

    Places of what was sent aren't looked at: this thread reads, and can't ask what is there.
    """
    given = path
    if given is None:
        given = sys.path
    own = [p for p in given if str(p)[:10] != '/dev/null/']
    if len(own) < len(given):
        path = own
    if sys.version_info > (3, 4):
        spec = IMPORTER.local(name, path)
        places = spec and spec.submodule_search_locations
        return spec, places and list(getattr(places, '_path', places))
    tail = name.split('.')[-1]
    if path is None and tail in sys.builtin_module_names:
        return 1, None
    try:
        f, place, kind = imp.find_module(tail, path)
        if f:
            f.close()
        return 1, [place]
    except ImportError:
        return IMPORTER.local(name, path), [os.path.join(p, tail) for p in path or sys.path]


HANDLERS[ASK] = on_ask
