"""Runs scripts, modules and trees of files as programs. The last part of `_mitogen_run`; uses
run_copy.py and run_relay.py.

Each function ends with the exit status that a shell would see.
"""
from run_relay import Input, Program, core, sys
from run_copy import status


def main_program(fn, stdin, keep, *args):
    """Call fn in a process of its own, as a main program; returns its exit status. fd 0 is fed
    from STDIN frames if stdin. With keep, what it leaves behind stays."""
    fed = p = None
    if keep:
        __import__('_mitogen_keep').prepare()
    try:
        if stdin:
            fed = Input(core.S.current[1])
        core.flush_stdio()
        core.settle(1)
        p = core.atomic(supervised, fed, keep)
    finally:
        if fed and (p is None or p.pid):
            fed.close()
    if not p.pid:
        return program(fn, args)
    if p.interrupted and p.code == 130 and core.S.late == core.S.current:
        raise KeyboardInterrupt
    return p.code


def supervised(fed, keep):
    p = Program(fed, keep)
    if p.pid:
        p.serve()
    return p


def program(fn, args):
    """Run in the copy. What called us is left by SystemExit, so that the
    interpreter really ends."""
    code = [130]

    def leave():
        if code[0] is KeyboardInterrupt:    # of a fork, which the interpreter ends by the signal
            sys.excepthook = lambda *args: None
            raise KeyboardInterrupt
        raise SystemExit(code[0])
    code[0] = status(fn, args)
    # What core calls next. Set here, because a guard that the program's first fork
    # loads sets it too.
    core.flush_stdio = leave


class Source:
    """The loader of a script that is on no disk here. Module linecache has its lines."""

    def __init__(self, text, filename):
        self.text = text
        self.filename = filename
        if 'linecache' in sys.modules:
            self.hook(sys.modules['linecache'])
        else:
            core.HOOKABLE['linecache'] = self.hook

    def hook(self, module=None):
        module = module or core.hooked('linecache')
        module.cache[self.filename] = (len(self.text), None, self.text.splitlines(True),
                                       self.filename)
        return 'm', getattr(module, '__file__', None)

    def get_source(self, name=None):
        return self.text


def word(s):
    """Text of the engine's as sys.argv has it, whatever the locale is."""
    if core.PY3:
        return raw(s).decode(sys.getfilesystemencoding(), 'surrogateescape')
    return raw(s)


def raw(s):
    """Text as the system's calls take it, whatever the locale is. What isn't UTF-8 comes as the
    surrogates that Python has for it."""
    if core.PY3:
        return s.encode('utf-8', 'surrogateescape')
    s = s.encode('utf-8')
    if '\xed' in s:
        for n in range(128, 256):
            s = s.replace(('\\udc%02x' % n).decode('unicode_escape').encode('utf-8'), chr(n))
    return s


def script(source, filename, argv, place='', stdin=False, keep=False):
    """Run source (bytes) as `__main__`, with argv as sys.argv. place is its __file__, if
    there is one."""
    return main_program(execute, stdin, keep, source, filename, argv, place)


def main_module():
    """A fresh module `__main__`, in its place."""
    main = sys.modules['__main__'] = type(sys)('__main__')
    main.__builtins__ = core.BUILTINS
    if (3, 6) < sys.version_info < (3, 14):
        main.__annotations__ = {}
    return main


def execute(source, filename, argv, place=''):
    sys.argv[:] = [word(a) for a in argv]
    main = main_module()
    shown = sys.argv[0]
    if sys.version_info > (3, 9):
        shown = word(filename)      # as an absolute path
    main.__file__ = shown
    if place:
        main.__file__ = word(place)
        __import__('_mitogen_files').add_script(main.__file__, source)
    if not core.PY3:
        source = source.replace('\r\n', '\n') + '\n'
    main.__loader__ = Source(decoded(source, shown), shown)
    if core.PY3:
        main.__cached__ = None
    if not source.strip():
        return
    exec(compile(source, shown, 'exec', 0, 1), main.__dict__)


def decoded(source, filename):
    """The text of a script. Where its bytes are in no encoding that it declares, this fails as the
    interpreter does with a file."""
    wrong = line = None
    try:
        if not core.PY3:
            source.decode('ascii')
        return core.source(('m', '', core.zlib.compress(source)))
    except SyntaxError:
        words = str(sys.exc_info()[1]).split('unknown encoding: ')
        if words[1:]:
            wrong, line = 'encoding problem: ' + words[1], 1
    except UnicodeError:
        if not declares(source):
            wrong, line = undeclared(source, filename)
    if wrong and not hasattr(sys, 'pypy_version_info'):
        e = SyntaxError(wrong)
        if sys.version_info < (3, 9):
            e = SyntaxError(wrong, (filename, line, None, None))
        raise e
    return ''       # compile() fails and says more


def declares(source):
    """True if one of the first two lines names an encoding, or source begins as UTF-8 may."""
    import re
    declaration = re.compile('^[ \\t\\f]*(#.*?coding[:=].*|#.*)?$'.encode())
    for line in source.split('\n'.encode())[:2]:
        m = declaration.match(line)
        if not m:
            break
        if m.group(1) and 'coding'.encode() in m.group(1):
            return 1
    return source[:3] == core.pack('3B', 239, 187, 191)


def undeclared(source, filename):
    """What is wrong with the first byte that isn't of the encoding that there is without a
    declaration, and its line."""
    coding, kind = 'ascii', 'ASCII character'
    if core.PY3:
        coding, kind = 'utf-8', 'UTF-8 code starting with'
    where = 'http://python.org/dev/peps/pep-0263/'
    if sys.version_info > (3, 11):
        where = 'https://peps.python.org/pep-0263/'
    elif sys.version_info > (3, 9):
        where = 'https://python.org/dev/peps/pep-0263/'
    lines = source.split('\n'.encode())
    for n in range(len(lines)):
        try:
            lines[n].decode(coding)
        except UnicodeError:
            byte = ord(lines[n][sys.exc_info()[1].start:][:1].decode('latin-1'))
            return ("Non-%s '\\x%02x' in file %s on line %d, but no encoding declared; "
                    "see %s for details" % (kind, byte, filename, n + 1, where)), n + 1


def module(name, argv, stdin=False, keep=False):
    """As `python -m name`."""
    return main_program(run_module, stdin, keep, name, argv)


def run_module(name, argv):
    import runpy
    sys.argv[:] = [word(a) for a in [name] + argv]
    run_as_main = getattr(runpy, '_run_module_as_main', None)
    if not run_as_main:     # before Python 2.6
        return runpy.run_module(sys.argv[0], None, '__main__', True)
    main_module()
    run_as_main(sys.argv[0])


def tree(argv, stdin=False, keep=False):
    """As `python DIRECTORY`, or the name of a zip file: module __main__ of it."""
    return main_program(run_tree, stdin, keep, argv)


def run_tree(argv):
    import runpy
    sys.argv[:] = [word(a) for a in argv]
    runpy._run_module_as_main('__main__', False)
