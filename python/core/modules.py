"""The table of modules that were sent here."""
from _mitogen import PY3, ZERO, zlib

MODULES = {}    # name: (letter, path, rest); with a fourth element rest is not compressed
ASKED = {}
# What takes bundles in, once there are any: function(name), waits for what may still bring name.
COMES = []
PATIENCE = 60   # seconds that an import waits


def on_load_module(src, reply, kind, data):
    name, path, rest = data.split(ZERO, 2)
    letter = native(rest[:1])
    rest = rest[1:]
    if letter in 'MP':
        rest = zlib.compress(rest)
    MODULES[native(name)] = (letter.lower(), native(path), rest)


def native(b):
    if PY3:
        return b.decode('utf-8', 'surrogateescape')
    return b


def source(m):
    """Source text of an entry of MODULES: bytes, on Python 3 decoded as its coding line says."""
    if m[0] not in 'mp':
        return ''
    s = unpacked(m)
    if PY3:
        try:
            import _frozen_importlib_external as b  # subset: ok
        except ImportError:
            import _frozen_importlib as b   # subset: ok, and 3.2 has no source
        s = b.decode_source(s)
    return s


def within(m):
    """The directory that a package is."""
    return m[1].rsplit('/', m[0] == 'p')[0]


def unpacked(m):
    if m[3:]:
        return m[2]
    return zlib.decompress(m[2])
