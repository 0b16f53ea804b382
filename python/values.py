"""Makes plain values of other ones: docs/json.md lists the forms. Sent as `_mitogen_values`.

Runs in the namespace of the core once a value has been met that the other side has no type for.
Classes are known by their names, so that nothing is imported; what isn't loaded has no instances.
"""
from _mitogen import BUILTINS, EMPTY, PROTO, PY3, TEXT, dumps, error, sys, text
MOST_VALUES = 4194304   # as the engine's decoder
MOST_LEVELS = 200

class OldStyle:
    pass


# The type of all instances of Python 2's old-style classes.
INSTANCE = type(OldStyle())
LEAVES = dict.fromkeys([type(x) for x in (None, True, 0, 1 << 99, 1.5, 1j, '', TEXT(), EMPTY)], 1)
# What a step in a place leads to.
ITEM_OF, KEY_OF, ATTRIBUTE, MEMBER = range(4)


def plain(v, proto=PROTO, name='result'):
    """v as a pickle of plain values. An error calls v by name."""
    return dumps(Conversion().value(v, (None, None, name)), proto)


def class_name(t):
    """The name of a class as users know it."""
    name = getattr(t, '__qualname__', None) or getattr(t, '__name__', str(t))
    module = getattr(t, '__module__', None)
    if module in (None, object.__module__, 'exceptions'):
        return text(name)
    return text('%s.%s' % (module, name))


def class_of(v):
    """The type of v, or its old-style class."""
    t = type(v)
    if t is INSTANCE:
        return v.__class__
    return t


def mro_of(t):
    """A class and its bases, nearest first."""
    if hasattr(t, '__mro__'):
        return t.__mro__
    found = [t]
    for b in getattr(t, '__bases__', ()):
        found.extend(mro_of(b))
    return found


def names_of(t):
    """(module, name) of a class and its bases, nearest first; the module of builtins is empty."""
    names = []
    for b in mro_of(t):
        module = getattr(b, '__module__', None)
        if module in (object.__module__, 'exceptions'):
            module = ''
        names.append((module, b.__name__))
    return names


def place_of(at):
    """A place in a value, as one would write it in Python."""
    steps = []
    while at[0]:
        steps.append(step_of(at[1], at[2]))
        at = at[0]
    steps.append(at[2])
    steps.reverse()
    if len(steps) > 24:
        steps[12:-12] = ['...']
    return text('').join([text(s) for s in steps])


def step_of(kind, what):
    if kind == ATTRIBUTE:
        return '.' + what
    if kind == MEMBER:
        return ' (%s)' % what
    if type(what) in (type(''), TEXT):
        what = text(repr(what[:60])).lstrip('u')[1:-1]
        return text('["%s"]') % what.replace('"', '\\"')
    return '[%s]' % text(repr(what))[:60]


class Conversion:
    """One value's, with all that is in it."""

    def __init__(self):
        self.left = MOST_VALUES     # values that may still be met
        self.made = {}      # id: (what may be met again, its plain form)
        self.inside = {}    # id of what is being converted: its place
        self.forms = {}     # class: function that makes its instances' plain form
        self.refusal = None     # the exception that says why there is none

    def value(self, v, at, key=0):
        """The plain form of v. at is its place, key says that it must be hashable."""
        t = class_of(v)
        self.left -= 1
        if self.left < 0:
            self.too_many(at)
        if t in LEAVES or getattr(t, '__module__', 0) == 'mitogen':
            return v
        i = id(v)
        if i in self.inside:
            self.refuse(at, 'refers to %s, which it is part of' % place_of(self.inside[i]))
        if i in self.made and not key:
            return self.made[i][1]
        if len(self.inside) >= MOST_LEVELS:
            self.refuse(at, 'nested more than %d deep' % MOST_LEVELS)
        if t not in self.forms:
            self.forms[t] = form_of(v, t) or no_form
        self.inside[i] = at
        r = self.form(self.forms[t], v, at, key)
        del self.inside[i]
        if not key:
            self.made[i] = v, r
        return r

    def form(self, made_by, v, at, key):
        """What made_by returns. What the methods of v raise is told with its place."""
        try:
            return made_by(self, v, at, key)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except Exception:
            t, e = sys.exc_info()[:2]
            if e is self.refusal:
                raise
            self.refuse(at, '%s has no plain form: %s: %s' % (an(v), class_name(t), text(e)))

    def refuse(self, at, why):
        self.refusal = TypeError('%s: %s' % (place_of(at), why))
        raise self.refusal

    def too_many(self, at):
        self.refuse(at, 'more than %d values' % MOST_VALUES)

    def fits(self, v, at):
        """Refuse at once what has too many items, such as a range."""
        try:
            few = len(v) <= self.left
        except OverflowError:
            few = 0
        if not few:
            self.too_many(at)

    def items(self, v, at, key):
        self.fits(v, at)
        out = []
        for x in v:
            out.append(self.value(x, (at, ITEM_OF, len(out)), key))
        return out

    def members(self, v, at):
        """The items of a set."""
        self.fits(v, at)
        out, n = set(), 0
        for x in v:
            out.add(self.value(x, (at, MEMBER, 'an item'), 1))
            n += 1
            if len(out) < n:
                self.refuse(at, 'two items have the same plain form, %s' % text(repr(x))[:60])
        return out

    def pairs(self, pairs, v, at, key):
        """A dict of pairs, which v has."""
        if key:
            self.refuse(at, '%s has no plain form that can be a key' % an(v))
        out, n = {}, 0
        for k, x in pairs:
            name = k
            k = self.value(k, (at, MEMBER, 'a key'), 1)
            out[k] = self.value(x, (at, ITEM_OF, name), 0)
            n += 1
            if len(out) < n:
                self.refuse(at, 'two keys have the same plain form, %s' % text(repr(k))[:60])
        return out

    def attributes(self, v, at, key, names):
        """A dict of v's attributes, or as a key a tuple."""
        out = []
        for n in names:
            here = at, ATTRIBUTE, n
            try:
                x = getattr(v, n)
            except AttributeError:
                self.refuse(here, 'has no value')
            out.append(self.value(x, here, key))
        if key:
            return tuple(out)
        return dict(zip(names, out))


def an(v):
    name = class_name(getattr(v, '__class__', type(v)))
    if name[:1].lower() in 'aeiou':
        return 'an ' + name
    return 'a ' + name


# Forms: functions of (conversion, value, place, key).


def as_list(c, v, at, key):
    if key:
        return tuple(c.items(v, at, key))
    return c.items(v, at, key)


def as_tuple(c, v, at, key):
    return tuple(c.items(v, at, key))


def as_set(c, v, at, key):
    if key:
        return frozenset(c.members(v, at))
    return c.members(v, at)


def as_frozenset(c, v, at, key):
    return frozenset(c.members(v, at))


def as_dict(c, v, at, key):
    return c.pairs(list(v.items()), v, at, key)


def as_mapping(c, v, at, key):
    """v has keys, but perhaps no items."""
    return c.pairs([(k, v[k]) for k in v.keys()], v, at, key)


def as_text(c, v, at, key):
    try:
        return TEXT(v)
    except UnicodeError:
        if PY3:
            raise
        return str(v).decode('utf-8', 'replace')    # text of Python 2


def as_iso(c, v, at, key):
    return text(v.isoformat())


def as_bytes(c, v, at, key):
    return v.tobytes()


def as_seconds(c, v, at, key):
    return v.days * 86400.0 + v.seconds + v.microseconds / 1e6


def as_key(c, v, at, key):
    if v.key is None:
        no_form(c, v, at, key)
    return c.value(v.key, at, key)


def as_path(c, v, at, key):
    return c.value(class_of(v).__fspath__(v), at, key)


def as_data(c, v, at, key):
    return c.value(v.data, at, key)


def as_member(c, v, at, key):
    """An enum's member is its value."""
    return c.value(v.value, (at, ATTRIBUTE, 'value'), key)


def as_names(c, v, at, key):
    """A namespace is its attributes."""
    return c.attributes(v, at, key, list(v.__dict__))


def as_fields(c, v, at, key):
    return c.attributes(v, at, key, [f.name for f in sys.modules['dataclasses'].fields(v)])


def as_named(c, v, at, key):
    return c.attributes(v, at, key, [str(n) for n in v._fields])


def as_struct(c, v, at, key):
    """What the kernel and libc fill: os.stat_result and the like. Its class tells the names
    of its fields."""
    t = class_of(v)
    names = []
    for n in list(t.__dict__.keys()):
        field = t.__dict__[n]
        if n[:1] != '_' and hasattr(field, '__get__') and not hasattr(field, '__call__'):
            names.append(n)
    return c.attributes(v, at, key, names)


def as_error(c, v, at, key):
    return __import__('mitogen').Error(*error(type(v), v, getattr(v, '__traceback__', None)))


def base_of(name):
    """The form of a subclass of a builtin type that is a leaf."""
    base = getattr(BUILTINS, name)
    if hasattr(base, '__pos__'):
        return lambda c, v, at, key: base.__pos__(v)
    return lambda c, v, at, key: base.__getitem__(v, slice(None))


BASES = {}
for n in 'int long float complex str unicode bytes bytearray'.split():
    if hasattr(BUILTINS, n):
        BASES['', n] = base_of(n)
for n in (('', 'bytearray'), ('', 'bytes')):
    if n in BASES:
        LEAVES[getattr(BUILTINS, n[1])] = 1

FORMS = {
    ('', 'tuple'): as_tuple, ('', 'list'): as_list, ('', 'dict'): as_dict, ('', 'set'): as_set,
    ('', 'frozenset'): as_frozenset, ('', 'range'): as_list, ('', 'xrange'): as_list,
    ('', 'frozendict'): as_dict, ('', 'mappingproxy'): as_dict, ('', 'dictproxy'): as_dict,
    ('', 'dict_keys'): as_list, ('', 'dict_values'): as_list, ('', 'dict_items'): as_list,
    ('', 'memoryview'): as_bytes, ('', 'buffer'): lambda c, v, at, key: str(v),
    ('collections', 'deque'): as_list, ('collections', 'UserString'): as_data,
    ('UserString', 'UserString'): as_data, ('UserDict', 'UserDict'): as_mapping,
    ('array', 'array'): as_list, ('sqlite3', 'Row'): as_mapping, ('_sqlite3', 'Row'): as_mapping,
    ('datetime', 'date'): as_iso, ('datetime', 'time'): as_iso,
    ('datetime', 'timedelta'): as_seconds,
    ('datetime', 'timezone'): as_text, ('zoneinfo', 'ZoneInfo'): as_key,
    ('decimal', 'Decimal'): as_text,
    ('fractions', 'Fraction'): as_text, ('uuid', 'UUID'): as_text,
    ('ipaddress', '_IPAddressBase'): as_text,
    ('pathlib', 'PurePath'): as_text, ('pathlib._local', 'PurePath'): as_text,
    ('types', 'SimpleNamespace'): as_names, ('argparse', 'Namespace'): as_names,
    ('optparse', 'Values'): as_names, ('subprocess', 'CompletedProcess'): as_names,
    ('', 'BaseException'): as_error, ('', 'Exception'): as_error,
}
FORMS.update(BASES)
for n in 'Context Sender Secret Blob Error'.split():
    FORMS['mitogen', n] = lambda c, v, at, key: v   # pickles itself
# Of the abstract classes that a class may be registered with: the first that holds.
ABSTRACT = (('Mapping', as_mapping), ('MappingView', as_list), ('Set', as_set),
            ('Sequence', as_list))


def form_of(v, t):
    """The form of v's type, or None."""
    names = names_of(t)
    if ('enum', 'Enum') in names:
        return as_member
    if ('', 'tuple') in names and hasattr(t, '_fields'):
        return as_named
    if hasattr(t, 'n_sequence_fields'):
        return as_struct
    if hasattr(t, '__dataclass_fields__') and ('', 'BaseException') not in names:
        return as_fields
    for n in names:
        if n in FORMS:
            return FORMS[n]
    if hasattr(t, '__fspath__'):
        return as_path
    abc = sys.modules.get('_collections_abc') or sys.modules.get('_abcoll')
    for n, form in ABSTRACT:
        if abc and isinstance(v, getattr(abc, n)):
            return form


def no_form(c, v, at, key):
    remedy = 'return its parts, or str() of it'
    known = [name for module, name in names_of(class_of(v))]
    for b in mro_of(class_of(v)):
        known += list(b.__dict__)
    for n, r in REMEDIES:
        if n in known:
            remedy = r
            break
    c.refuse(at, '%s has no plain form; %s' % (an(v), remedy))


# What a class is or has, and what to do instead: the first that holds.
REMEDIES = (
    ('module', 'return its name'), ('type', 'return its name'),
    ('sentinel', 'return None, or a text'),
    ('coroutine', 'return asyncio.run() of it'), ('__anext__', 'return a list of its items'),
    ('__await__', 'return asyncio.run() of it'),
    ('readlines', 'return what it reads'), ('__next__', 'return list() of it'),
    ('next', 'return list() of it'),
    ('__call__', 'return its name, or what it returns'), ('recv', 'return what it receives'),
)
