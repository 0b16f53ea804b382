# Reports each name that this process knows of where code comes from.
import gc
import os
import sys
import types

from ansible.module_utils.basic import AnsibleModule


def of_module(m):
    """Pairs of a kind and a name: 'directory' is searched, 'file' is read."""
    spec = getattr(m, '__spec__', None)
    loader = getattr(m, '__loader__', None)
    for path in list(getattr(m, '__path__', None) or []) + list(getattr(spec, 'submodule_search_locations', None) or []):
        yield 'directory', path
    for o, names in ((m, ('__file__', '__cached__')), (spec, ('origin', 'cached')), (loader, ('path', 'archive'))):
        for name in names:
            yield 'file', getattr(o, name, None)
    if callable(getattr(loader, 'get_filename', None)):
        try:
            yield 'file', loader.get_filename(m.__name__)
        except (ImportError, AttributeError, TypeError):
            pass


def names():
    for path in sys.path + list(sys.path_importer_cache):
        yield 'directory', path
    for m in list(sys.modules.values()):
        if isinstance(m, types.ModuleType):
            for pair in of_module(m):
                yield pair
    for o in gc.get_objects():
        if isinstance(o, types.FunctionType):
            yield 'code', o.__code__.co_filename
    main = sys.modules['__main__'].__dict__
    for path in (sys.executable, sys.argv[0], main.get('_modlib_path')):
        yield 'file', path
    for path in (sys.prefix, sys.exec_prefix, os.getcwd()):
        yield 'directory', path


def main():
    module = AnsibleModule({}, supports_check_mode=True)
    found = {}
    for kind, name in names():
        if isinstance(name, str) and name not in ('', 'built-in', 'frozen', 'namespace') and not (name[:1] == '<' and name[-1:] == '>'):
            found.setdefault(kind, set()).add(name)
    module.exit_json(pid=os.getpid(), uid=os.geteuid(), cwd=os.getcwd(), names=dict((k, sorted(v)) for k, v in found.items()))


if __name__ == '__main__':
    main()
