"""Gives what a program was sent to the workers that multiprocessing starts by spawn and forkserver.
Sent as `_mitogen_worker` to a program that starts the first.

A worker is a new interpreter, which takes a pickle from the program before it imports anything. An
object in that pickle has the worker execute the text of this module: there SENT is set, and a
finder serves modules from it. Places of packages are places here too, if they were in the program:
what it knew of them comes along, and for more a worker asks as a fork does. It can ask for no
modules.
"""
import sys
import zlib

SENT = globals().get('SENT')        # in a worker: what collect() returned
CHANNEL = globals().get('CHANNEL')  # in a worker: what has the socket for questions, or None
NATIVE = {}     # in a worker: the namespace of what loads extension modules
MAIN = '_mitogen_main'          # the program's script, as a module
# What `_mitogen_files` knows.
STATE = ('TREE INSIDE TEXTS HEADS HERE PACKAGES GROWN OUTLINED BESIDE DISTS COUNT SEEN KEPT '
         'VENDORED OF_PACKAGES').split()
HOOKABLE = {}       # name of a module of the standard library: imports it and changes it
HOOKED = {}         # name: that module, and its spec


class Importer(object):
    """Finds and loads the modules of SENT."""

    def find_spec(self, name, path=None, target=None, depth=0):     # depth: as the core's
        if name in HOOKABLE:
            HOOKABLE.pop(name)()
            HOOKED[name] = sys.modules[name], sys.modules.pop(name).__spec__
            return self.spec(name, ('m', HOOKED[name][1].origin))
        m = SENT['modules'].get(name)
        if m and m[0] == 'x':
            return NATIVE['native_spec'](name, m[1])     # names of core
        if m and m[0] in 'mpn':
            return self.spec(name, m)

    def spec(self, name, m):
        from importlib.machinery import ModuleSpec
        spec = ModuleSpec(name, self, origin=m[1])
        if m[0] in 'pn':
            spec.submodule_search_locations = [m[1].rsplit('/', m[0] == 'p')[0]]
        spec.has_location = m[0] != 'n'
        return spec

    def create_module(self, spec):
        return HOOKED.get(spec.name, [None])[0]

    def exec_module(self, module):
        name = module.__name__
        if name in HOOKED:
            module.__spec__ = HOOKED[name][1]
        elif SENT['modules'][name][0] != 'n':
            exec(self.get_code(name), module.__dict__)

    def get_code(self, name):
        return compile(self.text(name), self.get_filename(name), 'exec', 0, 1)

    def text(self, name):
        return unpacked(SENT['modules'][name])

    def get_source(self, name):
        from importlib.util import decode_source
        return decode_source(self.text(name))

    def is_package(self, name):
        return SENT['modules'][name][0] in 'pn'

    def get_filename(self, name):
        return SENT['modules'][name][1]


class Place(object):
    """As in the core."""

    def __init__(self, path):
        if path[:10] != '/dev/null/':
            raise ImportError
        self.path = path

    def iter_modules(self, prefix=''):
        return IMPORTER.modules_in(self.path, prefix)


IMPORTER = Importer()


def unpacked(m):
    if m[3:]:
        return m[2]
    return zlib.decompress(m[2])


class Given(object):
    """Is pickled as an order to execute this text."""

    def __reduce__(self):
        from multiprocessing.reduction import DupFd
        names = {'SENT': SENT, '__name__': '_mitogen_worker'}
        fd = open_channel()
        if fd is not None:
            names['CHANNEL'] = DupFd(fd)
        return exec_text, (SENT['text'], names)


exec_text = getattr(sys.modules[object.__module__], 'exec', None)


def open_channel():
    """The socket by which this process, or a process that it is a fork of, has files asked for."""
    files = sys.modules.get('_mitogen_files')
    if files and files.FORKS and files.identity(files.FORKS[0]) == files.FORKS[1]:
        return files.FORKS[0]


def given(data):
    """Add to the data that prepares a worker what its imports need."""
    global SENT
    if not SENT:
        SENT = collect()
    data = dict(data)
    if 'init_main_from_path' in data and MAIN in SENT['modules']:
        del data['init_main_from_path']
        data['init_main_from_name'] = MAIN
    data['mitogen'] = Given()
    return data


def collect():
    """What this program was sent."""
    import _mitogen as core
    modules = {}
    for name, m in list(core.MODULES.items()):
        if m[0] not in '-xl' and name[:8] != '_mitogen':
            modules[name] = m[0], m[1], zlib.compress(core.unpacked(m))
    natives = core.__dict__.get('all_natives', dict)()
    for name in natives:
        modules[name] = core.MODULES[name][:2] + (natives[name], 1)
    main = getattr(sys.modules['__main__'], '__loader__', None)
    if hasattr(main, 'filename') and hasattr(sys.modules['__main__'], '__file__'):
        modules[MAIN] = 'm', sys.modules['__main__'].__file__, \
            zlib.compress(main.text.encode('utf-8'))
    sent = {'text': text_of(core, '_mitogen_worker'), 'modules': modules}
    if '_mitogen_native' in core.MODULES:
        sent['native'] = text_of(core, '_mitogen_native')
    files = sys.modules.get('_mitogen_files')
    if files:
        sent['files'] = text_of(core, '_mitogen_files')
        sent['state'] = dict([(name, getattr(files, name)) for name in STATE])
    return sent


def text_of(core, name):
    return core.native(core.unpacked(core.MODULES[name]))


def native_bytes(name):
    return SENT['modules'][name][2]


def hook(module):
    """Have module multiprocessing.spawn give what there is to give."""
    theirs = module.get_preparation_data
    module.get_preparation_data = lambda name: given(theirs(name))


def hooked(name):
    from importlib import import_module
    return import_module(name)


def have_places():
    """Make places of packages places in this worker, with `_mitogen_files` as it is
    in a program."""
    import _thread
    import os
    import struct
    core = sys.modules['_mitogen'] = type(sys)('_mitogen')
    fd = CHANNEL and CHANNEL.detach()
    if CHANNEL:
        os.set_inheritable(fd, False)
    core.__dict__.update({
        'BUILTINS': sys.modules['builtins'], 'CHANNEL': fd, 'DATA': 0, 'EMPTY': ''.encode(),
        'HOOKABLE': HOOKABLE,
        'IMPORTER': IMPORTER, 'Importer': Importer, 'MODULES': SENT['modules'],
        'PID': -1,      # no process has this number: all ask as forks do
        'PY3': True, 'Place': Place, 'TEXT': str, 'hooked': hooked, 'thread': _thread,
        'pack': struct.pack, 'unpack': struct.unpack, 'unpacked': unpacked,
        'native': lambda b: b.decode('utf-8', 'surrogateescape'), 'native_bytes': native_bytes,
        'register': lambda fn: 0, 'wait': lambda ready: None})
    files = sys.modules['_mitogen_files'] = type(sys)('_mitogen_files')
    eval(compile(SENT['files'], '<_mitogen_files>', 'exec'), files.__dict__)
    for name, known in SENT['state'].items():
        mine = getattr(files, name)
        if type(mine) is list:
            mine[:] = known
        else:
            mine.update(known)
    if sys.version_info[:2] == (3, 9):
        HOOKABLE['importlib._common'] = files.hook_resources


if SENT:
    if 'native' in SENT:
        exec_text(SENT['native'], NATIVE)
        NATIVE['TEXT_OF'].append(native_bytes)  # names of core
    sys.meta_path.insert(0, IMPORTER)
    sys.path_hooks.append(Place)
    sys.modules['_mitogen_worker'] = type(sys)('_mitogen_worker')
    if 'files' in SENT:
        have_places()
    import multiprocessing.spawn
    hook(multiprocessing.spawn)
