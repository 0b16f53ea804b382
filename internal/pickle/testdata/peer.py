"""The other side of the codec's tests: a line in, a line out.

    dump EXPR         -> for each protocol: protocol, hex
    load EXPR HEX     -> "ok" if the pickle's value is EXPR's, types and sharing included, else what it is
"""
import binascii
import pickle
import sys
import types

PY3 = sys.version_info[0] > 2
if PY3:
    BYTES, TEXT, INTS, LINES = bytes, str, (int,), sys.stdin.buffer
else:
    import cPickle
    BYTES, TEXT, INTS, LINES = str, unicode, (int, long), sys.stdin


class Plain(object):
    def __reduce__(self):
        return type(self), self.args

    def __init__(self, *args):
        self.args = args


class Context(Plain):
    pass


class Sender(Plain):
    pass


class Error(Plain):
    pass


class Secret(TEXT):
    def __reduce__(self):
        return Secret, (TEXT(self),)


class Blob(BYTES):
    def __reduce__(self):
        return Blob, (BYTES(self),)


mitogen = types.ModuleType('mitogen')
sys.modules['mitogen'] = mitogen
for c in (Context, Sender, Error, Secret, Blob):
    c.__module__ = 'mitogen'
    setattr(mitogen, c.__name__, c)


def shape(v, seen):
    """What v is, as text: type and value, and for what can change whether it came before."""
    t = type(v)
    if t in INTS and t is not bool:
        return 'int %d' % v
    if t is TEXT:
        return 'text ' + repr([ord(c) for c in v])
    if t is BYTES or t is bytearray:
        return '%s %s' % (t.__name__, binascii.hexlify(v))
    if t is tuple:
        return '(%s)' % ', '.join([shape(i, seen) for i in v])
    if t in (list, dict, set):
        if id(v) in seen:
            return 'same %d' % seen[id(v)]
        seen[id(v)] = len(seen)
    if t is list:
        return '[%s]' % ', '.join([shape(i, seen) for i in v])
    if t is dict:
        return '{%s}' % ', '.join(sorted([shape(k, seen) + ': ' + shape(v[k], seen) for k in v]))
    if t in (set, frozenset):
        return '%s{%s}' % (t.__name__, ', '.join(sorted([shape(i, seen) for i in v])))
    if isinstance(v, Plain):
        return t.__name__ + shape(v.args, seen)
    if t is Secret:
        return 'Secret ' + shape(TEXT(v), seen)
    if t is Blob:
        return 'Blob ' + shape(BYTES(v), seen)
    return '%s %r' % (t.__name__, v)


def dump(expr):
    out = []
    value = eval(expr)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        made = [pickle.dumps(value, protocol)]
        if not PY3:
            made.append(cPickle.dumps(value, protocol))
        elif hasattr(pickle, '_dumps'):
            made.append(pickle._dumps(value, protocol))     # as where there is none in C
        for b in made:
            out.append('%d %s' % (protocol, binascii.hexlify(b).decode('ascii')))
    return '\t'.join(out)


def load(expr, data):
    data = binascii.unhexlify(data)
    want = shape(eval(expr), {})
    for module in [pickle] + (not PY3 and [cPickle] or []):
        got = shape(module.loads(data), {})
        if got != want:
            return 'got %s, want %s' % (got, want)
    return 'ok'


for line in LINES:
    words = line.decode('ascii').rstrip('\n').split('\t')
    try:
        print({'dump': dump, 'load': load}[words[0]](*words[1:]))
    except Exception:
        print('%s: %s' % (words[0], sys.exc_info()[1]))
