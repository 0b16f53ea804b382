"""The finder and loader of modules that are sent, in all generations of the import system."""
from _mitogen import (ASKED, BUILTINS, COMES, GET_MODULE, HOOKABLE, HOOKS, IMPORTER, MODULES,
    PATIENCE, PID, PY3, imp, native, now, os, send, source, sys, unpacked, wait, within)


class Place(object):
    """The finder that a place of a package in its __path__ leads to, for pkgutil and runpy, which
    list and run its modules. Places are below /dev/null, which is no directory: no user can make a
    file there. A relative path would be one below the current directory."""

    def __init__(self, path):
        if path[:10] != '/dev/null/':
            raise ImportError
        self.path = path

    def find_spec(self, name, target=None):
        pass

    def find_module(self, name, path=None):
        if '.' in name:
            return IMPORTER.find_module(name)

    def iter_modules(self, prefix=''):
        return IMPORTER.modules_in(self.path, prefix)


class Importer:
    """Serves modules that LOAD_MODULE brought, and asks for those that the target lacks."""

    def __getattr__(self, name):
        if name not in ('get_data', 'get_resource_reader', 'find_distributions', 'modules_in'):
            raise AttributeError(name)
        __import__('_mitogen_files')
        return getattr(self, name)

    def ours(self, name, path):
        """Entry of MODULES for name, else what the target's own import system has, else None.

        forward.py has another one, for when bundles come.
        """
        m = MODULES.get(name)
        if m and m[0] in 'mp':
            return m
        package = sys.modules.get('.'.join(name.split('.')[:-1]))
        if package and getattr(package, '__loader__', 0) is not self and getattr(
                package, '__file__', 0):
            return None
        if package and not path:
            path = package.__path__     # pkgutil of Python 2 gives none
        spec = name[:8] != '_mitogen' and self.local(name, path)    # ours are never the target's
        if spec:
            return spec
        if name not in MODULES and os.getpid() != PID:
            self.nowhere(name, 'in a fork')
        if name not in MODULES:
            self.ask(name)
        return MODULES[name]

    def ask(self, name):
        if name not in ASKED:
            ASKED[name] = 1
            send(0, GET_MODULE, name.encode('utf-8'))
        end = now() + PATIENCE
        wait(lambda: name in MODULES or COMES or now() > end)
        if COMES:
            COMES[0](name)
        if name not in MODULES:
            self.nowhere(name, 'no answer')

    def nowhere(self, name, why):
        MODULES[name] = '-', '', why.encode()

    def refuse(self, name):
        if MODULES[name][0] == '-':
            e = getattr(BUILTINS, 'ModuleNotFoundError', ImportError)(
                'No module named %r: %s' % (name, native(MODULES[name][2])))
            e.name, e.name_from = name, 0   # or tracebacks of 3.15 look for files that are similar
            raise e

    def find_spec(self, name, path=None, target=None, depth=2):
        if name in HOOKABLE and name not in HOOKS:
            m = HOOKABLE[name]()
            # Or the import system would load it once more, from its first spec.
            del sys.modules[name]
            return self.spec(name, m)
        m = self.ours(name, path)
        if type(m) is tuple:
            # importlib's find_spec only wants to know; an import comes by _find_and_load_unlocked.
            if m[0] == '-' and sys._getframe(depth).f_code.co_name[0] != '_':
                return
            self.refuse(name)
            return self.spec(name, m)
        return m

    def spec(self, name, m):
        import _frozen_importlib as b   # subset: ok, from 3.4 on
        s = b.ModuleSpec(name, self, origin=m[1])
        if m[0] in 'pn':
            s.submodule_search_locations = [within(m)]
        s.has_location = m[0] in 'mp'
        return s

    def local(self, name, path):
        for f in sys.meta_path:
            if f is not self and hasattr(f, 'find_spec'):
                spec = f.find_spec(name, path)
                if spec:
                    return spec

    def create_module(self, spec):
        return HOOKS.get(spec.name)

    def exec_module(self, module):
        name = module.__name__
        if name in HOOKS:
            module.__spec__ = HOOKS[name + '.spec']
        elif MODULES[name][0] != 'n':
            exec(self.get_code(name), module.__dict__)

    def get_code(self, name):
        self.refuse(name)
        m = MODULES[name]
        s = unpacked(m)
        if not PY3:
            s = s.replace('\r\n'.encode(), '\n'.encode()) + '\n'.encode()
        return compile(s, m[1], 'exec', 0, 1)

    def get_source(self, name):
        if name in MODULES:
            return source(MODULES[name])

    def get_filename(self, name):
        return MODULES[name][1]

    def is_package(self, name):
        return MODULES[name][0] in 'pn'

    # Python up to 3.3

    def find_module(self, name, path=None):
        if name in HOOKABLE and name not in HOOKS:
            HOOKABLE[name]()
            return self
        m = self.ours(name, path)
        # A dotted name may be an import that is implicitly relative: what comes next may find it.
        if type(m) is tuple and (m[0] != '-' or '.' not in name):
            return self

    def local2(self, name, path):
        tail = name.split('.')[-1]
        try:
            f = imp.find_module(tail, path)[0]
            if f:
                f.close()
            return 1
        except ImportError:
            for p in path or sys.path:
                for h in sys.path_hooks:
                    try:
                        if h(p).find_module(tail):
                            return 1
                    except Exception:
                        pass

    def load_module(self, name):
        if name in HOOKS:
            return sys.modules[name]
        self.refuse(name)   # here, because Python 2 forgets what find_module raises
        m = MODULES[name]
        mod = sys.modules[name] = type(sys)(name)
        mod.__file__ = m[1]
        mod.__loader__ = self
        mod.__package__ = name
        if m[0] in 'pn':
            mod.__path__ = [within(m)]
        else:
            mod.__package__ = '.'.join(name.split('.')[:-1])
        if m[0] != 'n':
            try:
                exec(self.get_code(name), mod.__dict__)
            except:
                sys.modules.pop(name, None)
                raise
        return sys.modules[name]


if sys.version_info < (3, 4):
    Importer.local = Importer.local2
    del Importer.find_spec
