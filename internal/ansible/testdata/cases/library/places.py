#!/usr/bin/python
# Uses the places that its paths lead to: other processes, lists of modules, resources.
import multiprocessing
import os
import pkgutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import ansible.module_utils
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common import collections


def where(x):
    from ansible.module_utils.common.text.converters import to_text
    return to_text(x * 2)


def told(argv, **env):
    env['PYTHONPATH'] = os.pathsep.join(sys.path)
    code = 'import ansible.module_utils.common.collections as c; print(c.is_string("x"))'
    out = subprocess.run(argv + [code], env=dict(os.environ, **env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return out.stdout.decode()


def main():
    module = AnsibleModule(argument_spec={})
    got = {}
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            got[method] = pool.map(where, ['a', 'b'])
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            got[method + ' executor'] = list(pool.map(where, ['c']))
    got['listed'] = sorted(m.name for m in pkgutil.iter_modules(ansible.module_utils.__path__))[:3]
    got['walked'] = 'ansible.module_utils.common.text.converters' in [
        m.name for m in pkgutil.walk_packages(ansible.module_utils.__path__, 'ansible.module_utils.')]
    got['source'] = pkgutil.get_data('ansible.module_utils.common', 'collections.py')[:10].decode()
    got['told'] = told([sys.executable, '-c'])
    got['told by a shell'] = told(['/bin/sh', '-c', 'exec python3 -c "$0"'])
    got['by run_command'] = module.run_command([sys.executable, '-c', 'import ansible.module_utils.basic; print(1)'],
                                               environ_update={'PYTHONPATH': sys.path[0]})[:2]
    got['exists'] = os.path.exists(sys.path[0])
    got['file'] = os.path.basename(collections.__file__)
    try:
        from importlib.resources import files
        got['resources'] = sorted(f.name for f in files('ansible.module_utils').iterdir())[:3]
        got['text'] = files('ansible.module_utils.common').joinpath('collections.py').read_text()[:10]
    except ImportError:
        pass
    module.exit_json(**got)


if __name__ == '__main__':
    main()
