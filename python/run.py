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


def lines_of(text):
    """The lines of a file with this text, as linecache has them. str.splitlines would end lines at
    form feeds too."""
    lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    if not lines[-1]:
        del lines[-1]
    return [l + '\n' for l in lines]


def has_lines(text=None, filename=None):
    """Have module linecache show the lines of modules that came, and this text."""
    def hook(module=None):
        module = module or core.hooked('linecache')
        real = module.updatecache

        def keep(text, filename):
            module.cache[filename] = len(text), None, lines_of(text), filename
            return module.cache[filename][2]

        def updatecache(filename, *args):
            if filename[:10] == '/dev/null/':
                for m in list(core.MODULES.values()):
                    if m[1] == filename and m[0] in 'mp':
                        return keep(core.source(m), filename)
            return real(filename, *args)
        module.updatecache = updatecache
        if filename:
            keep(text, filename)
        return 'm', getattr(module, '__file__', None)
    if 'linecache' in sys.modules:
        hook(sys.modules['linecache'])
    else:
        core.HOOKABLE['linecache'] = hook
    if core.PY3:
        import warnings     # for whose lines linecache is asked
        name = '_formatwarnmsg_impl'
        if not hasattr(warnings, name):
            name = 'formatwarning'
        form = getattr(warnings, name)
        # with places as where what was sent is installed
        setattr(warnings, name,
                lambda *args, **kwargs: form(*args, **kwargs).replace('/dev/null/', '/', 1))


class Source:
    """The loader of a script that is on no disk here."""

    def __init__(self, text, filename):
        self.text = text
        self.filename = filename
        # Of what is in no file Python shows no lines, but of -c from 3.13 on.
        if filename[0] != '<' or filename == '<string>' and sys.version_info > (3, 13):
            has_lines(text, filename)
        else:
            has_lines()

    def get_source(self, name=None):
        return self.text


def word(s):
    """Text of the engine's as sys.argv has it, whatever the locale is."""
    if core.PY3:
        coding = sys.getfilesystemencoding()
        if getattr(sys.flags, 'utf8_mode', 0):
            coding = 'utf-8'    # PyPy says something else
        return raw(s).decode(coding, 'surrogateescape')
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


def begun_with(words, source=None):
    """Have sys.orig_argv as of an interpreter that has these words for the program."""
    if hasattr(sys, 'orig_argv'):
        if words == ['-c']:
            words = ['-c', source[:-1].decode('utf-8', 'surrogateescape')]
        sys.orig_argv[:] = [sys.executable] + words + sys.argv[1:]


# what tracebacks call a program that is in no file, by what python's argument for it is
UNNAMED = {'-c': '<string>', '-': '<stdin>'}


def main_module():
    """A fresh module `__main__`, in its place."""
    main = sys.modules['__main__'] = type(sys)('__main__')
    main.__builtins__ = core.BUILTINS
    main.__package__ = None
    if (3, 6) < sys.version_info < (3, 14):
        main.__annotations__ = {}
    return main


def execute(source, filename, argv, place=''):
    sys.argv[:] = [word(a) for a in argv]
    begun_with([sys.argv[0]], source)
    main = main_module()
    shown = sys.argv[0]
    if sys.version_info > (3, 9):
        shown = word(filename)      # as an absolute path
    shown = UNNAMED.get(filename, shown)
    if filename != '-c':
        main.__file__ = shown
    if place:
        main.__file__ = word(place)
        __import__('_mitogen_files').add_script(main.__file__, source)
    if not core.PY3:
        source = source.replace('\r\n', '\n') + '\n'
    if core.ZERO in source:
        source = zeros_read(source, shown)
    main.__loader__ = Source(decoded(source, shown), shown)
    if core.PY3 and filename != '-c':
        main.__cached__ = None
    if not source.strip():
        return
    try:
        exec(compiled(source, shown), main.__dict__)
    finally:
        if core.PY3 and filename != '-c':
            flush_behind()


def flush_behind():
    """Flush as the interpreter does behind a file's code, before exit handlers."""
    for f in (sys.stderr, sys.stdout):
        try:
            f.flush()
        except Exception:
            pass


def compiled(source, filename):
    try:
        return compile(source, filename, 'exec', 0, 1)
    except SyntaxError:
        e = sys.exc_info()[1]
        if hasattr(sys, 'pypy_version_info') and e.lineno == 0 and not e.text:
            # PyPy shows the first line, if it is a file with text.
            text = source.decode('utf-8', 'replace')
            if core.pack('3B', 239, 191, 189).decode('utf-8') not in text:
                e.text = text.split('\n')[0]
        raise


def zeros_read(source, filename):
    """What the interpreter reads of a file with zero bytes, which compile() doesn't take at all: of
    a line what is before the first. From Python 3.11 on they are an error."""
    end = '\n'.encode()
    if hasattr(sys, 'pypy_version_info'):   # takes them, in its files
        return source.replace(core.ZERO, '\\x00'.encode())
    cut, kept = [], []      # without the end of such a line, and with it
    lines = source.split(end)
    for n in range(len(lines)):
        before = lines[n].split(core.ZERO)[0]
        if before != lines[n] and sys.version_info > (3, 11):
            raise SyntaxError('source code cannot contain null bytes',
                              (filename, n + 1, None, before.decode('utf-8', 'replace')))
        kept.append(before + end)
        cut.append(before + end[before != lines[n] or n + 1 == len(lines):])
    cut, kept = core.EMPTY.join(cut), core.EMPTY.join(kept)
    try:
        if sys.version_info[:2] == (3, 9):  # its errors show no more of the line
            compile(cut, filename, 'exec', 0, 1)
    except SyntaxError:
        return kept
    return cut


def decoded(source, filename):
    """The text of a script. Where its bytes are in no encoding that it declares, this fails as the
    interpreter does with a file."""
    text = wrong = None
    try:
        text = core.source(('m', '', core.zlib.compress(source)))
    except (SyntaxError, UnicodeError):
        pass
    if (text is None or not core.PY3) and not hasattr(sys, 'pypy_version_info'):
        wrong, line = misread(source, filename)
    if wrong:
        e = SyntaxError(wrong)
        if sys.version_info < (3, 9):
            e = SyntaxError(wrong, (filename, line, None, None))
        raise e
    return text or ''       # compile() fails and says more


def misread(source, filename):
    """What the interpreter says of bytes that it can't decode, and the line; (None, 0) if that is
    what compile() says, or nothing."""
    import codecs
    marked = source[:3] == core.pack('3B', 239, 187, 191)
    name, declared = declaration(source)
    if not name:
        return not marked and undeclared(source, filename) or (None, 0)
    problem = 'encoding problem: ' + name
    if marked and name != 'utf-8':
        return problem + ' with BOM', 1
    try:
        codecs.lookup(name)
    except LookupError:
        return problem, declared
    if name in ('utf-8', 'iso-8859-1'):
        return None, 0
    lines = source.split('\n'.encode())
    for n in range(len(lines)):
        try:
            lines[n].decode(name)
        except UnicodeError:
            if core.PY3:
                return problem, declared
            return str(sys.exc_info()[1]), n + 1
    return None, 0


def declaration(source):
    """The encoding that one of the first two lines names, in the interpreter's words, and the
    number of that line; (None, 0) if none does."""
    import re
    pattern = re.compile('^[ \\t\\f]*(#.*?coding[:=][ \\t]*([-_.a-zA-Z0-9]+).*|#.*)?\\r?$'.encode())
    lines = source[:4096].split('\n'.encode())[:2]
    for n in range(len(lines)):
        m = pattern.match(lines[n].lstrip(core.pack('3B', 239, 187, 191)))
        if not m:
            break
        if m.group(2):
            name = core.native(m.group(2))
            short = name[:12].lower().replace('_', '-') + '-'
            for normal, others in (('utf-8', ['utf-8-']),
                                   ('iso-8859-1', ['latin-1-', 'iso-8859-1-', 'iso-latin-1-'])):
                if [o for o in others if short.startswith(o)]:
                    name = normal
            return name, n + 1
    return None, 0


def undeclared(source, filename):
    """What is wrong with the first byte that isn't of the encoding that there is without a
    declaration, and its line; None if all are."""
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
    name = sys.argv[0]
    begun_with(['-m', name])
    has_lines()
    try:
        run_as_main(name)
    except SystemExit:
        code = sys.exc_info()[1].code
        text = '%s: No module named ' % sys.executable
        if not core.PY3 and str(code).startswith('%s%r: ' % (text, name)):
            raise SystemExit(text + name)   # without the engine's reason, as on Python 3
        raise


def tree(argv, stdin=False, keep=False):
    """As `python DIRECTORY`, or the name of a zip file: module __main__ of it."""
    return main_program(run_tree, stdin, keep, argv)


def run_tree(argv):
    import runpy
    sys.argv[:] = [word(a) for a in argv]
    begun_with(sys.argv[:1])
    has_lines()
    runpy._run_module_as_main('__main__', False)
