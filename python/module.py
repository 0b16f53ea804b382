"""Runs Ansible's modules in forks of an account's context. Part of `_mitogen_ansible`."""
from _mitogen import (LIB, Listing, MODULES, PY3, ended, errno, fill_lib, gc, lend_lib, loads,
    make_file, native, native_text, needs_file, now, open_lib, os, sys, uncaught, utf8, zlib)
FILES = {}      # name of a set: list of contents
ZIPS = {}       # number: {path: (set, index)}
CODE = {}       # (set, index, path): code object
WARM = {}       # name of an imported module: (set, index)
# number of a zip file: names, of WARM and elsewhere, that it hasn't, or has of another kind
STRANGE = {}
ALONE = {}      # number of a zip file: true if a module needs it as a file


class Members(object):
    """Finds and loads what a module's zip file has. In a fork it is the zip file of one module,
    before the files of all that come first."""
    files = {}

    def where(self, name):
        path = name.replace('.', '/')
        for p in (path + '/__init__.py', path + '.py'):
            if p in self.files:
                return p

    def find_spec(self, name, path=None, target=None):
        p = self.where(name)
        if p:
            import _frozen_importlib as b   # subset: ok, from 3.4 on
            spec = b.ModuleSpec(name, self, origin=LIB + '/' + p,
                                is_package=p.endswith('/__init__.py'))
            spec.has_location = True
            if spec.submodule_search_locations is not None:
                spec.submodule_search_locations.append(LIB + '/' + name.replace('.', '/'))
            return spec

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)

    def find_module(self, name, path=None):
        if self.where(name):
            return self

    def load_module(self, name):
        m = sys.modules[name] = type(sys)(name)
        m.__file__ = self.get_filename(name)
        m.__loader__ = self
        m.__package__ = name
        if self.is_package(name):
            m.__path__ = [LIB + '/' + name.replace('.', '/')]
        else:
            m.__package__ = '.'.join(name.split('.')[:-1])
        try:
            exec(self.get_code(name), m.__dict__)
        except:
            sys.modules.pop(name, None)
            raise
        return sys.modules[name]

    def path(self, name):
        p = self.where(name)
        if not p:
            raise ImportError(name)
        return p

    def get_code(self, name):
        return code_of(self.path(name), self.files)

    def get_source(self, name):
        return contents(self.files[self.path(name)]).decode('utf-8')

    def get_filename(self, name):
        return LIB + '/' + self.path(name)
    _get_filename = get_filename

    def is_package(self, name):
        return self.path(name).endswith('/__init__.py')

    def get_resource_reader(self, name):
        if fill_lib():
            import zipimport
            above = os.path.dirname(LIB + '/' + name.replace('.', '/'))
            return zipimport.zipimporter(above).get_resource_reader(name)

    def get_data(self, path):
        if path.startswith(LIB + '/') and path[len(LIB) + 1:] in self.files:
            return contents(self.files[path[len(LIB) + 1:]])
        raise IOError(errno.ENOENT, os.strerror(errno.ENOENT), path)


MEMBERS = Members()


def contents(member):
    name, i = member
    if name not in FILES:
        FILES[name] = loads(zlib.decompress(MODULES[name][2]))
    return FILES[name][i]


def code_of(path, files):
    key = files[path] + (path,)
    if key not in CODE:
        source = contents(files[path])
        if not PY3:
            source = source.replace('\r\n', '\n') + '\n'
        CODE[key] = compile(source, LIB + '/' + path, 'exec', 0, 1)
    return CODE[key]


def learn_zip(number, files):
    """Take the contents of a module's zip file."""
    ZIPS[number] = files = dict([(native_text(p), (native_text(s), i)) for p, s, i in files])
    for path in files:
        if path.endswith('.py') and path != RARE:
            try:
                code_of(path, files)
            except SyntaxError:
                pass    # may be for another Python; else importing it will tell
    if WARM:
        STRANGE[number] = strange(files)
    else:
        STRANGE[number] = []
        warm_up(files)
    ALONE[number] = needs_file(files)


def warm_up(files):
    """Import what modules have in common."""
    MEMBERS.files = files
    sys.meta_path.insert(0, MEMBERS)
    sys.path_hooks.insert(0, Listing)
    collects = gc.isenabled()
    if collects:
        gc.collect()
        gc.disable()    # it would look through what is imported again and again
    for name in COMMON:
        try:
            if MEMBERS.where(name) or name.split('.')[0] != 'ansible':
                __import__(name)
        except Exception:
            forget_warm()
    for name in list(sys.modules):
        if getattr(sys.modules[name], '__loader__', None) is MEMBERS:
            WARM[name] = files[MEMBERS.where(name)]
    if 'subprocess' in sys.modules:
        steady(sys.modules['subprocess'].Popen)
        lend_lib()
    if 'locale' in sys.modules:
        warm_locale(sys.modules['locale'])
    if hasattr(gc, 'freeze'):
        gc.freeze()
    if collects:
        gc.enable()


def warm_locale(locale):
    """Have the C library read the environment's locale, which it keeps: modules set it, and each
    would read a dozen files."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, '')
    except locale.Error:
        return      # there is none of that name, as modules will find
    locale.setlocale(locale.LC_ALL, before)


def steady(popen):
    """Have poll() not change its mind at once. `run_command` asks twice in a row whether a program
    has ended, and if that happens in between it waits for a second: one in a hundred programs that
    close their output before they end, which here are that quick."""
    poll = popen.poll

    def steady_poll(self):
        if self.returncode is None and 0 <= now() - self.__dict__.get('_mitogen_asked', -1) < .001:
            return
        code = poll(self)
        if code is None:
            self._mitogen_asked = now()
        return code
    popen.poll = steady_poll


# large, and not imported where the system has its own
RARE = 'ansible/module_utils/distro/_distro.py'
COMMON = ['ansible.module_utils.basic', 'ansible.module_utils._internal._ansiballz._loader',
          'ansible.module_utils._internal._json._profiles._module_legacy_c2m',
          'ansible.module_utils._internal._json._profiles._module_legacy_m2c', 'ansible.modules',
          'runpy', 'glob', 'tempfile', 'shutil']


def strange(files):
    """Imported modules that a module's process has to forget: all of Ansible's if one of them is
    not the same in its zip file."""
    MEMBERS.files = files
    lacks = []
    for name in WARM:
        p = MEMBERS.where(name)
        if not p:
            lacks.append(name)
        elif files[p] != WARM[name]:
            return of_ansible()
    return lacks


def of_ansible():
    return [name for name in sys.modules
            if name.split('.')[0] in ('ansible', 'ansible_collections')]


def forget_warm():
    for name in of_ansible():
        del sys.modules[name]


def run_ansible_module(spec):
    """In a fork: as the module's own wrapper does it. Returns the exit status."""
    # or a module of Python 2 would show what was handled in our start
    getattr(sys, 'exc_clear', int)()
    MEMBERS.files = files = ZIPS[spec['zip']]
    for name in STRANGE[spec['zip']]:
        del sys.modules[name]
    for k, v in spec['env'].items():
        os.environ[str(k)] = native(utf8(v))
    try:
        os.getcwd()
    except OSError:
        try:
            os.chdir(os.path.expanduser('~'))
        except OSError:
            os.chdir('/')
    open_lib()      # before a limit below its number
    if spec['nofile']:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, spec['nofile']), hard))
        except ValueError:
            pass
    if 'random' in sys.modules:
        sys.modules['random'].seed()
    fqn = native(utf8(spec['module']))
    made = None
    before = dict.fromkeys(sys.modules)
    if ALONE[spec['zip']]:
        made = make_file(fqn, files)
    if spec['python'][:1] == '/':
        sys.executable = native(utf8(spec['python']))
    sys.path[:] = [LIB] + [p for p in sys.path if os.path.isabs(p)]
    try:
        try:
            start_module(spec, fqn)
            code = 0
        except:
            code = uncaught()
        return ended(code, before)
    finally:
        if made:
            import shutil
            shutil.rmtree(made, True)


def start_module(spec, fqn):
    params = spec['params']
    if spec['loader']:
        from ansible.module_utils._internal._ansiballz import _loader
        kw = {'json_params': params, 'profile': spec['profile'], 'module_fqn': fqn,
              'modlib_path': LIB, 'extensions': {}}
        for name, text in spec['passed'].items():
            kw[name] = eval(text, {'__builtins__': {'frozenset': frozenset}})
        _loader.run_module(**kw)
        return
    import runpy
    from ansible.module_utils import basic
    basic._ANSIBLE_ARGS = params
    runpy.run_module(mod_name=fqn, init_globals={'_module_fqn': fqn, '_modlib_path': LIB},
                     run_name='__main__', alter_sys=True)
    sys.stdout.write('{"msg": "New-style module did not handle its own exit", "failed": true}\n')
    sys.exit(1)
