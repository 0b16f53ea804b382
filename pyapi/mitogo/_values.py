"""Values to and from contexts.

To a context goes whatever can be pickled: it does what this program says anyway. What comes from a
context may be a lie, so it is read by a closed list of classes: plain values, data of the standard
library, and the classes that the called function's return annotation names, or that the Engine was
given (types=).
"""

from __future__ import annotations

import _codecs as codecs
import sys
from io import BytesIO

from ._primitives import deque
from .errors import printable

try:
    from _pickle import Pickler, Unpickler, dumps, loads  # without what module pickle imports
except ImportError:
    from pickle import Pickler, Unpickler, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple, Type

SERVED = '_mitogen_served'  # of the runtime: stands for objects that are served
SIMPLE = frozenset((type(None), bool, int, float, str, bytes))


class Refused(TypeError):
    """A context has sent a class that isn't on the list."""


class TooMuch(ValueError):
    """A context has sent what would become much more than it is, or calls what isn't for that."""


# From a context

# What may be iterated over: what is in it has come in the pickle.
BOUNDED = (list, tuple, set, frozenset, dict, str, bytes, bytearray)
COPIED = BOUNDED + (deque,)
DIGITS = 4300  # of a number that is text; int has the same limit, in newer Pythons
EXPONENT = 5  # characters
NUMBERS = ('decimal', 'fractions')


def _bytes(make: Any) -> Any:
    def convert(value: Any = b'', coding: str = 'latin1') -> Any:
        if isinstance(value, str):
            return make(_encode(value, coding))
        if isinstance(value, int):
            raise TooMuch('a number where bytes were to be')  # it would be as many bytes
        return make(value)

    return convert


def _encode(text: str, coding: str = 'latin1') -> bytes:
    if coding not in ('latin1', 'latin-1', 'utf-8'):
        raise TooMuch('the encoding %.50r' % coding)
    return text.encode(coding, 'surrogateescape')


def _path(*parts: str) -> Any:
    from pathlib import PurePosixPath, PosixPath

    return (PurePosixPath if sys.platform == 'win32' else PosixPath)(*parts)


def _blob(value: Any = b'') -> bytes:
    return value.encode('utf-8', 'surrogateescape') if isinstance(value, str) else _plain(value)


_plain, _array = _bytes(bytes), _bytes(bytearray)


def _error(*args: Any) -> Any:
    from . import errors

    return errors.remote('', *(list(args) + ['', '', '', '', None][len(args) :])[:5])


PLAIN: Dict[Tuple[str, str], Any] = {
    ('builtins', 'set'): set,
    ('builtins', 'frozenset'): frozenset,
    ('builtins', 'complex'): complex,
    ('builtins', 'bytes'): _plain,
    ('builtins', 'bytearray'): _array,
    ('builtins', 'range'): range,
    ('builtins', 'slice'): slice,
    ('_codecs', 'encode'): _encode,
    ('mitogen', 'Secret'): str,
    ('mitogen', 'Blob'): _blob,
    ('mitogen', 'Error'): _error,
}
for _n in ('list', 'dict', 'tuple', 'int', 'str', 'float', 'bool'):  # as defaultdict's factories
    PLAIN['builtins', _n] = getattr(__import__('builtins'), _n)
for _n in ('PosixPath', 'PurePosixPath', 'PurePath', 'Path', 'WindowsPath', 'PureWindowsPath'):
    PLAIN['pathlib', _n] = PLAIN['pathlib._local', _n] = _path

# Data of the standard library: making these runs no code but theirs.
LIBRARY: Dict[str, str] = {
    'datetime': 'date time datetime timedelta timezone',
    'decimal': 'Decimal',
    'fractions': 'Fraction',
    'uuid': 'UUID SafeUUID',
    'ipaddress': 'IPv4Address IPv6Address IPv4Network IPv6Network IPv4Interface IPv6Interface',
    'collections': 'OrderedDict deque Counter defaultdict',
    'subprocess': 'CompletedProcess',
    'os': 'stat_result terminal_size times_result uname_result statvfs_result',
    'posix': 'times_result uname_result',
    'time': 'struct_time',
    'platform': 'uname_result',
    'pwd': 'struct_passwd',
    'grp': 'struct_group',
    'shutil': '_ntuple_diskusage',
    'resource': 'struct_rusage',
    'sys': 'version_info',
}
RENAMED = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}


def _operations() -> List[Any]:
    """By opcode, how long its argument is: bytes, or (bytes of its length,), or lines as text.
    None: no value has it.
    """
    table: List[Any] = [None] * 256
    for size, codes in (
        (0, b'(.012NR)]}abdelostu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x94'),
        (1, b'Khq\x80'),
        (2, b'M'),
        (4, b'Jjr'),
        (8, b'G\x95'),
        ((1,), b'UC\x8a\x8c'),
        ((4,), b'TXB\x8b'),
        ((8,), b'\x8d\x8e\x96'),
        ('1', b'FILSVgp'),
        ('2', b'ci'),
        ('0', b'\x93'),
    ):
        for code in codes:
            table[code] = size
    return table


OPERATIONS = _operations()
_PUT, _LONG_PUT, _STOP, _DECIMAL, _NAMES = ord('p'), ord('r'), ord('.'), b'FIL', b'ci\x93'


def scan(data: bytes) -> bool:
    """Refuse a pickle that would have more memory taken than what it is long: by a length, by a
    place in the memo, or by a number that takes long to convert. Returns whether it names anything.
    """
    pos, end, table, names = 0, len(data), OPERATIONS, False
    while pos < end:
        code = data[pos]
        size = table[code]
        pos += 1
        if size.__class__ is int:
            if code == _LONG_PUT and int.from_bytes(data[pos : pos + 4], 'little') > end:
                raise TooMuch('a place in the memo')
            if code == _STOP:
                return names
            pos += size
        elif size.__class__ is tuple:
            pos += size[0]
            pos += int.from_bytes(data[pos - size[0] : pos], 'little')
        elif size is None:
            raise TooMuch('the opcode %d' % code)
        else:
            names = names or code in _NAMES
            pos = _lines(data, pos, code, int(size))
    raise TooMuch('a pickle that has no end')


def unnamed(data: bytes) -> Any:
    """The value of a pickle that names nothing, by scan."""
    return loads(data, encoding='utf-8', errors='surrogateescape')


def _lines(data: bytes, pos: int, code: int, n: int) -> int:
    """Where the argument of an opcode ends that is n lines."""
    for _ in range(n):
        stop = data.find(b'\n', pos)
        if stop < 0:
            raise TooMuch('a line that has no end')
        if code in _DECIMAL and stop - pos > DIGITS:
            raise TooMuch('a number of %d digits' % (stop - pos))
        if code == _PUT and (stop - pos > 10 or int(data[pos:stop]) > len(data)):
            raise TooMuch('a place in the memo')
        pos = stop + 1
    return pos


class Reader(Unpickler):
    """Reads one value of a context's.

    A pickle can call what a name stands for, and set attributes of it. So it gets stand-ins of its
    own: nothing that it does to them reaches the program's classes and functions.
    """

    used = False  # find_class was called

    def __init__(self, payload: bytes, allowed: Dict[Tuple[str, str], Any]) -> None:
        super().__init__(BytesIO(payload), encoding='utf-8', errors='surrogateescape')
        self.allowed = allowed
        self.left = len(payload) + 64  # elements that may still be copied

    def _begin(self) -> None:
        """Make what most values don't need."""
        self.used = True
        self.stand_ins: Dict[Tuple[str, str], Any] = {}
        self.real: Dict[int, Any] = {}  # by the id of a stand-in
        self.members: List[Tuple[Any, Dict[str, Any]]] = []  # of enums, with what they had

    def find_class(self, module: str, name: str) -> Any:
        if not self.used:
            self._begin()
        key = RENAMED.get(module, module), name
        found = self.stand_ins.get(key)
        if found is None:
            real = PLAIN.get(key)
            if real is not None:
                found = (
                    self._class(real, True) if isinstance(real, type) else self._function(real)
                )
            elif key in self.allowed:
                real = self.allowed[key]
                found = self._class(real, _reduces(real))
            elif name in LIBRARY.get(key[0], '').split():
                real = getattr(__import__(key[0]), name, None)
                found = None if real is None else self._class(real, True)
            if found is None:
                raise Refused('%s.%s' % key)
            self.stand_ins[key] = found
            self.real[id(found)] = real
        return found

    def _function(self, make: Any) -> Any:
        def call(*args: Any) -> Any:
            self._check(make, args)
            return make(*args)

        return call

    def _class(self, real: Any, called: bool) -> Any:
        """A class that makes objects of real: without __init__, unless it may be called."""

        def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
            self._check(real, args + tuple(kwargs.values()))
            return self._noted(real.__new__(real, *args, **kwargs))

        def call(cls: Any, *args: Any) -> Any:
            self._check(real, args)
            if real.__name__ == 'defaultdict' and args and args[0] is not None:
                args = (self._factory(args[0]),) + args[1:]
            return self._noted(real(*args))

        meta = type('type', (type,), {'__call__': call}) if called else type
        return meta(real.__name__, (), {'__new__': new, '__slots__': ()})

    def _factory(self, stand_in: Any) -> Any:
        if id(stand_in) not in self.real:
            raise TooMuch('a factory of class %s' % type(stand_in).__name__)
        return self.real[id(stand_in)]

    def _check(self, make: Any, args: Tuple[Any, ...]) -> None:
        """Refuse arguments that would have more made than has come."""
        bases = getattr(make, '__mro__', ())
        copies = make in (_plain, _array, _encode, _blob) or any(b in COPIED for b in bases)
        if hasattr(make, '_fields'):
            copies = False  # a namedtuple holds its arguments
        if make is str and not (len(args) <= 1 and all(isinstance(a, str) for a in args)):
            raise TooMuch('what is no text where text was to be')
        number = any(b is int or b.__module__ in NUMBERS for b in bases)
        for a in args:
            if isinstance(a, BOUNDED):
                self.left -= len(a) if copies else 0
            elif hasattr(type(a), '__iter__'):
                raise TooMuch('%s of %s' % (getattr(make, '__name__', ''), type(a).__name__))
            elif isinstance(a, int) and (bytes in bases or bytearray in bases):
                raise TooMuch('a number where bytes were to be')
            elif isinstance(a, int) and number and a.bit_length() > DIGITS * 3:
                raise TooMuch('a number of %d bits' % a.bit_length())
            if number and isinstance(a, (str, bytes, bytearray)):
                _short(a if isinstance(a, str) else a.decode('latin1'))
        if self.left < 0:
            raise TooMuch('copies of what it has sent once')

    def _noted(self, made: Any) -> Any:
        enum = sys.modules.get('enum')
        if enum is not None and isinstance(made, enum.Enum):
            self.members.append((made, dict(made.__dict__)))  # the program's: it has no other
        return made

    def end(self) -> None:
        """Take back what the pickle has set of members of enums, and free the stand-ins."""
        if not self.used:
            return
        self.stand_ins.clear()
        self.real.clear()
        for member, had in reversed(self.members):
            for name in list(member.__dict__):
                if name not in had:
                    del member.__dict__[name]
            member.__dict__.update(had)


def _short(number: str) -> None:
    """Refuse a number that takes long to make of its text, or to work with."""
    exponent = number.lower().partition('e')[2]
    if len(number) > DIGITS or len(exponent) > EXPONENT:
        raise TooMuch('the number %.20s… of %d characters' % (number, len(number)))


def _reduces(cls: Any) -> bool:
    """Whether objects of cls are pickled as a call, as the class says itself: Engine(types=) alone
    takes such classes.
    """
    return any(
        ('__reduce__' in b.__dict__ or '__reduce_ex__' in b.__dict__)
        for b in cls.__mro__
        if b.__module__ not in ('builtins', 'enum')
    )


class NotListed(TypeError):
    """A context has sent an object of a class that isn't on the list."""

    def __init__(self, message: str, module: str, name: str) -> None:
        super().__init__(message)
        self.module, self.name = module, name


def load(
    payload: bytes, allowed: Dict[Tuple[str, str], Any], what: Callable[[], Tuple[str, str]]
) -> Any:
    """The value of a pickle. what() names the target and the function, for an error."""
    if not payload:
        return None
    reader = Reader(payload, allowed)
    try:
        scan(payload)
        return reader.load()
    except Refused as e:
        target, function = what()
        name = printable(str(e))
        short = name.rsplit('.', 1)[-1]
        raise NotListed(
            '%s: %s returned a value of class %s, which is not on the list: '
            'annotate it `-> %s`, give '
            'Engine(types=[%s]), or return plain values' % (target, function, name, short, short),
            name.rpartition('.')[0],
            short,
        ) from None
    except Exception as e:
        target, function = what()
        raise TypeError(
            '%s: %s returned what can not be read: %s: %s'
            % (target, function, type(e).__name__, printable(str(e)))
        ) from None
    finally:
        reader.end()


# What annotations allow

_results: Dict[Any, Dict[Tuple[str, str], Any]] = {}
_HOOKS = (
    '__reduce__',
    '__reduce_ex__',
    '__setstate__',
    '__new__',
    '__getattribute__',
    '__getattr__',
    '__setattr__',
    '__del__',
    '__setitem__',  # a pickle adds elements by this and the next ones
    'append',
    'extend',
    'add',
)


def safe(cls: Any) -> bool:
    """Whether making an object of cls from a pickle runs no code of the program's beyond what
    data has.
    """
    from enum import Enum

    if issubclass(cls, Enum):
        return not any('_missing_' in b.__dict__ for b in cls.__mro__ if b.__module__ != 'enum')
    for b in cls.__mro__:
        if b.__module__ in ('builtins', 'typing', 'collections', 'abc'):
            continue
        own: Tuple[str, ...] = ()  # that Python has written
        if '__dataclass_fields__' in b.__dict__:
            own = '__setattr__', '__setstate__'
        elif issubclass(b, tuple) and '_fields' in b.__dict__:
            own = ('__new__',)  # a namedtuple
        if any(n in b.__dict__ and n not in own for n in _HOOKS):
            return False
        if any(isinstance(v, property) and v.fset is not None for v in b.__dict__.values()):
            return False
    return not issubclass(cls, (type, BaseException)) and not cls.__module__ == 'builtins'


def _collect(hint: Any, found: Dict[Tuple[str, str], Any], seen: Set[int]) -> None:
    """Put the classes that an annotation names into found, and those that their fields name."""
    import typing

    if id(hint) in seen:
        return
    seen.add(id(hint))
    for arg in getattr(hint, '__args__', None) or ():
        _collect(arg, found, seen)
    origin = getattr(hint, '__origin__', None)
    cls = origin if isinstance(origin, type) else hint
    if not isinstance(cls, type) or cls.__module__ in (
        'builtins',
        'typing',
        'collections.abc',
        'collections',
    ):
        return
    if safe(cls):
        found[cls.__module__, cls.__qualname__] = cls
        found[served_as(cls.__module__), cls.__qualname__] = cls
        try:
            hints = typing.get_type_hints(cls)
        except Exception:
            hints = {}
        for h in list(hints.values()) + list(getattr(cls, '__orig_bases__', ())):
            _collect(h, found, seen)


def served_as(module: str) -> str:
    """The name that a context knows a module of the program's by."""
    if module == '__main__':
        spec = getattr(sys.modules.get('__main__'), '__spec__', None)
        if spec is not None:
            return str(spec.name)
    return module


def of_types(types: Iterable[Any]) -> Dict[Tuple[str, str], Any]:
    """The list that Engine(types=) is. The program says so itself, so that classes with hooks
    are taken.
    """
    found: Dict[Tuple[str, str], Any] = {}
    for cls in types:
        if not isinstance(cls, type):
            raise TypeError('types: got %r, want classes' % (cls,))
        _collect(cls, found, set())
        found[cls.__module__, cls.__qualname__] = found[
            served_as(cls.__module__), cls.__qualname__
        ] = cls
    return found


def returned(fn: Any) -> Dict[Tuple[str, str], Any]:
    """The classes that fn's return annotation names."""
    known = _results.get(fn)
    if known is None:
        known = {}
        if isinstance(fn, type):
            _collect(fn, known, set())
        elif 'return' in getattr(fn, '__annotations__', ()):
            import typing

            try:
                hint = typing.get_type_hints(fn).get('return')
            except Exception:  # a name that only type checkers know: Engine(types=) has it
                hint = None
            _collect(hint, known, set())
        _results[fn] = known
    return known


def named_by(hint: Any) -> Dict[Tuple[str, str], Any]:
    """The classes that a hint names, as a return annotation would."""
    found: Dict[Tuple[str, str], Any] = {}
    _collect(hint, found, set())
    return found


def taken(method: Any) -> Dict[Tuple[str, str], Any]:
    """The classes that the annotations of a served method's parameters name."""
    import typing

    found: Dict[Tuple[str, str], Any] = {}
    try:
        hints = typing.get_type_hints(getattr(method, '__func__', method))
    except Exception:  # a name that only type checkers know: Engine(types=) has it
        hints = {}
    for name, hint in hints.items():
        if name != 'return':
            _collect(hint, found, set())
    return found


# To a context


class Writer(Pickler):
    """Pickles arguments, and notes the modules of what isn't plain, and what the main module
    calls those of its own.
    """

    modules: Set[str]
    main: Set[str]
    served: List[Any]
    senders: List[Any]

    def reducer_override(self, obj: Any) -> Any:
        if id(obj) in _PLAIN_GLOBALS or type(obj) in _PLAIN_TYPES:
            return NotImplemented
        if type(obj) is _Name:
            return getattr, (_Module(obj.module), obj.name)
        if type(obj) is _Module:
            return __import__, (obj.name,)
        if '_mitogo_served' in type(obj).__dict__:
            self.modules.add(SERVED)
            self.served.append(obj)
            names = tuple(sorted(obj._methods))
            return _Name(SERVED, 'served'), (len(self.served) - 1, names)
        receiver = sys.modules.get('mitogo._receiver')
        if receiver is not None and isinstance(obj, receiver.Sender):
            self.modules.add('mitogo')
            self.senders.append(obj)
            return _Name('mitogo', 'Sender'), (obj._context, obj._handle)
        pathlib = sys.modules.get('pathlib')
        if pathlib is not None and isinstance(obj, pathlib.PurePath):
            self.modules.add('pathlib')
            return _Name('pathlib', 'PosixPath'), (
                str(obj),
            )  # the class itself is elsewhere in 3.13
        named = obj if hasattr(obj, '__qualname__') else type(obj)
        module = getattr(named, '__module__', None) or 'builtins'
        self.modules.add(module)
        if module == '__main__':
            self.main.add(named.__qualname__.partition('.')[0])
        return NotImplemented


class _Module:
    """Is pickled as the import of a module."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Name:
    """Is pickled as what a module calls so."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *args: Any) -> Any:
        raise TypeError('only the name counts')


_PLAIN_TYPES = (set, frozenset, complex, bytearray)
_PLAIN_GLOBALS = frozenset(map(id, (set, frozenset, complex, bytearray, bytes, codecs.encode)))


class Pickled:
    """A value pickled, the modules that the other side needs for it (none if it is plain), what
    the main module calls those of its own, the objects in it that are served, and the senders.
    """

    def __init__(
        self,
        payload: Any,  # bytes, or buffers one behind the other
        modules: Set[str],
        main: Set[str],
        served: List[Any],
        senders: List[Any],
    ) -> None:
        self.payload, self.modules, self.main = payload, modules, main
        self.served, self.senders = served, senders


def plain(payload: Any) -> Pickled:
    """What needs nothing."""
    return Pickled(payload, set(), set(), [], [])


def dump(value: Any, proto: int) -> Pickled:
    """Pickle a value for a context. TypeError: it can't be pickled."""
    out = BytesIO()
    w = Writer(out, proto)
    w.modules, w.main, w.served, w.senders = set(), set(), [], []
    try:
        w.dump(value)
    except Exception as e:
        raise TypeError('an argument can not be sent: %s' % e) from None
    return Pickled(out.getvalue(), w.modules, w.main, w.served, w.senders)


def pickled(value: Any, proto: int) -> bytes:
    """A plain value of this package's own, pickled."""
    return bytes(dumps(value, proto))
