# Does all that makes an interpreter look for code, or for its text.
import os
import subprocess
import sys

from ansible.module_utils.basic import AnsibleModule


def imports():
    for name in sorted(getattr(sys, 'stdlib_module_names', ())):
        if name not in ('antigravity', 'this', 'idlelib', 'turtledemo') and not name.startswith('_'):
            try:
                __import__(name)
            except (Exception, SystemExit) as e:
                if 'planted' in str(e):
                    raise


def no_such_modules():
    for name in ('no_such_module', 'ansible.no_such_module', 'ansible.module_utils.no_such_module', 'ansible.module_utils.common.no_such_module',
                 'ansible_collections.no_such.module', 'ansible.modules.no_such_module'):
        try:
            __import__(name)
        except ImportError:
            pass


def sources():
    import inspect
    import linecache
    for m in list(sys.modules.values()):
        linecache.getlines(getattr(m, '__file__', None) or '?/none', getattr(m, '__dict__', None))
        try:
            inspect.getsource(m)
        except (OSError, TypeError):
            pass


def listings():
    import importlib.metadata
    import pkgutil
    for path in [None] + [getattr(m, '__path__', None) for m in list(sys.modules.values())]:
        try:
            list(pkgutil.iter_modules(path))
        except (TypeError, ValueError, ImportError, OSError):
            pass
    len(list(importlib.metadata.distributions()))


def another_interpreter():
    """As modules start themselves again."""
    path = [os.path.dirname(p) if '.zip/' in p else p for p in sys.path]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path + path))
    subprocess.check_call([sys.executable, '-c', 'import multiprocessing, json, xml.dom.minidom'], env=env, cwd='/')


def other_processes():
    """Which import the main module again: by its name, then by its file. They may fail."""
    import multiprocessing
    for spec in (sys.modules['__main__'].__spec__, None):
        sys.modules['__main__'].__spec__ = spec
        process = multiprocessing.get_context('spawn').Process(target=os.getpid)
        process.start()
        process.join()


LOOKS = [imports, no_such_modules, sources, listings, another_interpreter, other_processes]


def main():
    module = AnsibleModule(dict(look=dict(required=True)))
    {f.__name__: f for f in LOOKS}[module.params['look']]()
    module.exit_json()


if __name__ == '__main__':
    main()
