"""Values: pickles of plain ones alone, and errors as such."""
from _mitogen import BytesIO, EMPTY, PROTO, PY3, Pickler, Unpickler, plain

# The classes of values, by their modules. Of `_codecs` no more is meant than Latin-1.
VALUES = {
    object.__module__: 'set frozenset complex bytearray bytes',
    'mitogen': 'Context Sender Secret Blob Error',
    '_codecs': 'encode'}


def named(module, name):
    if module in ('builtins', '__builtin__'):
        module = object.__module__
    if name not in VALUES.get(module, '').split():
        raise TypeError('%s.%s is not a plain value' % (module, name))
    if name == 'encode':
        return lambda s, coding: s.encode('latin1')
    return getattr(__import__(module), name)


class Strict:
    """Refuses what a pickler asks about that isn't a plain value: by its type, or itself."""

    def get(self, t):
        named(t.__module__, t.__name__)

    def __getitem__(self, t):
        {}[self.get(t)]     # KeyError


# Picklers ask about a type that they have no opcode for, but those of CPython 3.0 to 3.2 and PyPy
# 2: then the engine finds what isn't plain.
if PY3:
    class Loader(Unpickler):
        find_class = staticmethod(named)

    class Dumper(Pickler):
        dispatch_table = Strict()

    def unpickler(f):
        return Loader(f)
else:
    def unpickler(f):
        u = Unpickler(f)
        u.find_global = named
        return u

    def Dumper(f, proto):
        u = Pickler(f, proto)
        u.inst_persistent_id = lambda v: Strict().get(type(v))
        return u


def loads(data, pos=0):
    """The value of the pickle at pos, without a copy of it where that can be."""
    f = BytesIO(data)
    f.seek(pos)
    return unpickler(f).load()


def text(v):
    """v as text, whatever it is."""
    for convert in (TEXT, lambda v: str(v).decode('utf-8', 'replace'), repr):
        try:
            return convert(v)
        except Exception:
            pass
    return ''


TEXT = type(EMPTY.decode())


def strict(v, proto=PROTO, name=0):
    """v pickled. Fails if it isn't plain."""
    f = BytesIO()
    Dumper(f, proto).dump(v)
    return f.getvalue()


def dumped(*args):
    """As strict, but with the plain forms of what has one; name is for errors."""
    try:
        return strict(*args)
    except Exception:
        return plain(*args)


def error(t, v, tb):
    """An exception as (module, type, text, traceback, args)."""
    import traceback
    while tb and str(tb.tb_frame.f_globals.get('__name__'))[:8] == '_mitogen':
        tb = tb.tb_next
    args = getattr(v, 'args', None)
    try:
        strict(args)
    except Exception:
        args = None
    trace = ''
    if tb or isinstance(v, SyntaxError):
        trace = ''.join(traceback.format_exception(t, v, tb))
    return getattr(t, '__module__', ''), getattr(
        t, '__qualname__', getattr(t, '__name__', t)), text(v), text(trace), args
