"""What a call names, and the source of functions of the main module, which no import finds
there.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

LITERALS = (type(None), bool, int, float, complex, str, bytes)


class Text:
    """Source that stands for the main module, or for a part of it that was typed."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.key = hash((path, source))


def unwrapped(
    fn: Any, args: Tuple[Any, ...], kwargs: Dict[str, Any]
) -> Tuple[Any, Tuple[Any, ...], Dict[str, Any]]:
    """A function and its arguments, with those that functools.partial has bound."""
    partial = getattr(sys.modules.get('functools'), 'partial', None)
    while partial is not None and type(fn) is partial:
        fn, args, kwargs = fn.func, fn.args + args, dict(fn.keywords, **kwargs)
    return fn, args, kwargs


def name(fn: Any) -> Tuple[str, str]:
    """(module, qualified name) of what is called, or a TypeError that says what to do."""
    if isinstance(fn, str):
        name, _, called = fn.partition(':')
        if not (name and called):
            raise TypeError('call: got the text %r, want "module:function"' % fn)
        return name, called
    if not callable(fn):
        raise TypeError('call: got %r, want a function' % (fn,))
    bound = getattr(fn, '__self__', None)
    module: Any = getattr(fn, '__module__', None)
    path: str = getattr(fn, '__qualname__', '')
    if bound is not None and not isinstance(bound, (type, type(sys))):
        raise TypeError(
            'call: %s is bound to an object, which a context has not: '
            'write a function that takes the object '
            'as an argument' % path
        )
    if isinstance(bound, type):
        module = bound.__module__
        path = '%s.%s' % (bound.__qualname__, fn.__name__)
    if '<lambda>' in path:
        raise TypeError(
            'call: a lambda has no name that a context could call it by: '
            'write it as a function with def'
        )
    if '<locals>' in path:
        held = ', '.join(getattr(getattr(fn, '__code__', None), 'co_freevars', ()))
        raise TypeError(
            'call: %s is defined inside another function%s: '
            'define it at the top level of its module, and pass what '
            'it needs as arguments' % (path, ', and uses %s of it' % held if held else '')
        )
    if not module or not path:
        raise TypeError(
            'call: %r is no function of a module: define it with def at the top level of a module'
            % (fn,)
        )
    return module, path


def main_text(fn: Any, path: str, more: Set[str]) -> Optional[Text]:
    """The text that fn of the main module needs, and what more names of that module stand for.
    None: its module has a name that can be imported. Without a path only the names count.
    """
    main = sys.modules['__main__']
    if getattr(main, '__spec__', None) is not None:
        return None  # python -m
    file = getattr(main, '__file__', None)
    inner = fn
    while hasattr(inner, '__wrapped__'):  # which functools.wraps leaves of what was decorated
        inner = inner.__wrapped__
    code = getattr(inner, '__code__', None)
    written = getattr(code, 'co_filename', None)
    if file and (written is None or written == file) and not _shells():
        return _script(file)
    return _typed(fn, main, path, more)


def _shells() -> bool:
    """Whether the main module is a shell's, such as a notebook's."""
    ipython = sys.modules.get('IPython')
    return bool(ipython is not None and ipython.get_ipython() is not None)


_scripts: Dict[str, Text] = {}


def _script(file: str) -> Text:
    known = _scripts.get(file)
    if known is None:
        import os
        import tokenize

        try:
            with tokenize.open(file) as f:
                text = f.read()
        except OSError as e:
            raise TypeError(
                'call: the source of the program, %s, is gone: %s' % (file, e)
            ) from None
        known = _scripts[file] = Text(os.path.abspath(file), _utf8(definitions(text)))
    return known


def _utf8(text: str) -> bytes:
    """Source as bytes that Python 2 and 3 read alike."""
    if text.isascii():
        return text.encode('ascii')
    lines = text.split('\n', 2)
    for i in range(min(2, len(lines))):
        if 'coding' in lines[i] and lines[i].lstrip().startswith('#'):
            lines[i] = '#'
    return b'\xef\xbb\xbf' + '\n'.join(lines).encode('utf-8')


def definitions(text: str) -> str:
    """A script without what it does when it is run, each line in its place.

    With a guard (`if __name__ == '__main__':`) that is the guard. Without one, only imports,
    functions, classes and assignments of constants stay.
    """
    import ast

    tree = ast.parse(text)
    guarded = any(_is_guard(n) for n in tree.body)
    lines = text.splitlines(True)
    kept: Set[int] = set()
    gone: Set[int] = set()
    for n in tree.body:
        stays = not _is_guard(n) and (guarded or _defines(n))
        first = min([n.lineno] + [d.lineno for d in getattr(n, 'decorator_list', ())])
        (kept if stays else gone).update(range(first, (n.end_lineno or n.lineno) + 1))
    for i in gone - kept:
        lines[i - 1] = '\n'
    return ''.join(lines)


def _is_guard(n: Any) -> bool:
    import ast

    if not isinstance(n, ast.If) or not isinstance(n.test, ast.Compare) or len(n.test.ops) != 1:
        return False
    sides = [n.test.left, n.test.comparators[0]]
    names = [s.id for s in sides if isinstance(s, ast.Name)]
    values = [s.value for s in sides if isinstance(s, ast.Constant)]
    return isinstance(n.test.ops[0], ast.Eq) and names == ['__name__'] and values == ['__main__']


def _defines(n: Any) -> bool:
    import ast

    if isinstance(
        n, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    ):
        return True
    if isinstance(n, ast.Try):
        return all(
            _defines(x) or isinstance(x, ast.Pass)
            for x in n.body + n.orelse + n.finalbody + [x for h in n.handlers for x in h.body]
        )
    if isinstance(n, ast.If):
        return all(_defines(x) or isinstance(x, ast.Pass) for x in n.body + n.orelse)
    if isinstance(n, (ast.Assign, ast.AnnAssign)):
        return n.value is None or _constant(n.value)
    return False


def _constant(value: Any) -> bool:
    """Whether an expression calls nothing that isn't part of it."""
    import ast

    allowed = (
        ast.Constant,
        ast.Tuple,
        ast.List,
        ast.Set,
        ast.Dict,
        ast.UnaryOp,
        ast.BinOp,
        ast.Name,
        ast.Load,
        ast.operator,
        ast.unaryop,
        ast.Attribute,
        ast.Subscript,
        ast.JoinedStr,
        ast.FormattedValue,
        ast.BoolOp,
        ast.boolop,
    )
    return all(
        isinstance(
            n, allowed + ((ast.Index, ast.Slice) if sys.version_info < (3, 9) else (ast.Slice,))
        )
        for n in ast.walk(value)
    )


# What was typed


def _typed(fn: Any, main: Any, path: str, more: Set[str]) -> Text:
    """fn, what it needs of the main module, and what names stand for there, as text."""
    parts: Dict[str, str] = {}
    name = path.partition('.')[0]
    if name:
        top = getattr(main, name, fn) if '.' in path else fn
        _gather(name, top, main.__dict__, parts)
    for name in sorted(more):
        if name in main.__dict__:  # else what is pickled doesn't name it
            _gather(name, main.__dict__[name], main.__dict__, parts)
    import zlib

    text = _utf8('\n'.join(parts.values()))
    return Text('<typed %08x>' % zlib.crc32(text), text)


def _gather(called: str, value: Any, names: Dict[str, Any], parts: Dict[str, str]) -> None:
    """Put the text that defines a name into parts, behind what it needs."""
    import ast

    if called in parts:
        return
    if isinstance(value, type(sys)):
        parts[called] = (
            'import %s as %s' % (value.__name__, called)
            if value.__name__ != called
            else 'import ' + called
        )
        return
    own = getattr(value, '__module__', None) == '__main__' and hasattr(value, '__qualname__')
    if not own and hasattr(value, '__qualname__') and callable(value):
        top = value.__qualname__.split('.')[0]
        parts[called] = 'from %s import %s as %s' % (value.__module__, top, called)
        return
    if not own:
        parts[called] = '%s = %s' % (called, _literal(called, value))
        return
    text = _text_of(value)
    parts[called] = ''  # while it is looked at: it may name itself
    if text is None:
        needs, text = _code_names(value), _marshalled(value)
        attributes: Set[Tuple[str, ...]] = {(a, b) for a in needs for b in needs}
    else:
        tree = ast.parse(text)
        needs = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        attributes = {_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for n in sorted(needs):
        if n in names and n != called:
            _gather(n, names[n], names, parts)
            if isinstance(names[n], type(sys)):
                _submodules(names[n], {a[1:] for a in attributes if a[:1] == (n,)}, parts)
    del parts[called]
    parts[called] = (
        text if value.__name__ == called else '%s\n%s = %s' % (text, called, value.__name__)
    )


def _dotted(n: Any) -> Tuple[str, ...]:
    """The names of `a.b.c`; none if it begins with something else than a name."""
    import ast

    names: List[str] = []
    while isinstance(n, ast.Attribute):
        names.insert(0, n.attr)
        n = n.value
    return (n.id, *names) if isinstance(n, ast.Name) else ()


def _submodules(module: Any, attributes: Set[Tuple[str, ...]], parts: Dict[str, str]) -> None:
    """Import what is used as an attribute of a package, and has to be imported for that."""
    for path in sorted(attributes):
        name = module.__name__
        for step in path:
            name = '%s.%s' % (name, step)
            if name not in sys.modules:
                break
            parts['import ' + name] = 'import ' + name


def _literal(called: str, value: Any) -> str:
    """Text that makes an equal value."""
    if _plain(value, 20):
        return repr(value)
    raise TypeError(
        'call: the function uses the variable %s, a %s, which can not be sent: '
        'pass it as an argument, or make it '
        'inside the function' % (called, type(value).__name__)
    )


def _plain(value: Any, depth: int) -> bool:
    if type(value) in LITERALS:
        return value == value and value not in (float('inf'), float('-inf'))
    if depth == 0 or type(value) not in (list, tuple, set, dict):
        return False
    if type(value) is dict:
        return all(_plain(k, depth - 1) and _plain(v, depth - 1) for k, v in value.items())
    return bool(value or type(value) is not set) and all(_plain(v, depth - 1) for v in value)


def _text_of(value: Any) -> Optional[str]:
    """The source of a function or class that was typed, None if the shell keeps none."""
    import inspect
    import textwrap

    if isinstance(value, type):
        return _class_text(value)
    try:
        text = textwrap.dedent(inspect.getsource(value))
        compile(text, '<typed>', 'exec')
        return text
    except (OSError, TypeError, SyntaxError):
        return None


def _class_text(cls: Any) -> str:
    """The source of a class that was typed, which module inspect doesn't find: the main module of
    a shell is no file.
    """
    for texts in (_written(cls), _typed_before()):
        for text in texts:
            found = _class_in(text, cls)
            if found:
                return found
    raise TypeError(
        'call: the source of class %s is gone, since this shell keeps none: '
        'put it in a file, or use IPython' % cls.__qualname__
    )


def _written(cls: Any) -> Iterator[str]:
    """What the methods of a class were compiled from."""
    import linecache

    for member in cls.__dict__.values():
        member = getattr(member, '__func__', getattr(member, 'fget', member))
        code = getattr(member, '__code__', None)
        if code is not None:
            yield ''.join(linecache.getlines(code.co_filename))


def _typed_before() -> Iterator[str]:
    """What was typed, the last first."""
    import linecache
    import os

    ipython = sys.modules.get('IPython')
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        for cell in reversed(shell.user_ns.get('In', [])):
            yield shell.transform_cell(cell)
    for name, entry in reversed(list(linecache.cache.items())):
        if len(entry) > 1 and not os.path.exists(name):
            yield ''.join(linecache.getlines(name))


def _class_in(text: str, cls: Any) -> str:
    """The last definition of a class in a text, with its decorators; '': it has none."""
    import ast
    import textwrap

    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return ''
    line = cls.__dict__.get('__firstlineno__')  # from 3.13 on
    for n in sorted(
        (n for n in nodes if isinstance(n, ast.ClassDef) and n.name == cls.__name__),
        key=lambda n: -n.lineno,
    ):
        first = min([n.lineno] + [d.lineno for d in n.decorator_list])
        if line in (None, first):
            lines = text.splitlines(True)[first - 1 : n.end_lineno]
            return textwrap.dedent(''.join(lines))
    return ''


def _code_names(fn: Any) -> Set[str]:
    found: Set[str] = set()
    todo = [fn.__code__]
    while todo:
        code = todo.pop()
        found.update(code.co_names)
        todo += [c for c in code.co_consts if hasattr(c, 'co_names')]
    return found


def _marshalled(fn: Any) -> str:
    """Text that makes a function of its code, which needs a target with the same Python."""
    import marshal

    if fn.__closure__:
        raise TypeError(
            'call: %s uses variables of the function that it was made in' % fn.__qualname__
        )
    defaults = _literal(fn.__name__ + "'s defaults", fn.__defaults__)
    words = _literal(fn.__name__ + "'s defaults", fn.__kwdefaults__)
    return (
        'import marshal, sys, types\n'
        'if sys.version_info[:2] != %r:\n'
        '    raise ImportError("the source of %s is gone, and its code is of Python %%d.%%d: '
        'put it in a file, or use IPython" %% %r)\n'
        '%s = types.FunctionType(marshal.loads(%r), globals(), %r, %s)\n%s.__kwdefaults__ = %s\n'
        % (
            sys.version_info[:2],
            fn.__name__,
            sys.version_info[:2],
            fn.__name__,
            marshal.dumps(fn.__code__),
            fn.__name__,
            defaults,
            fn.__name__,
            words,
        )
    )


def search_path() -> Tuple[List[str], List[str]]:
    """(own, packages) of sys.path: what is the user's, and what was installed. The standard
    library is neither.
    """
    import os

    stdlib = os.path.dirname(os.path.realpath(os.__file__))
    here = os.path.realpath(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    own: List[str] = []
    packages: List[str] = []
    for place in sys.path:
        place = os.path.abspath(place or os.getcwd())
        real = os.path.realpath(place)
        if not os.path.exists(place) or real == here:
            continue
        if 'site-packages' in place or 'dist-packages' in place:
            packages.append(place)
        elif not (
            real == stdlib
            or real.startswith(stdlib + os.sep)
            or os.path.basename(real).startswith('python')
            and real.endswith('.zip')
        ):
            own.append(place)
    return own, packages
