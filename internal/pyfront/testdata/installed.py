"""What a program sees of the package that pip has installed: installed.py PROGRAM VERSION."""
import importlib.util
import os
import subprocess
import sys

import mitogo


def there(n):
    return n + 1, os.getpid()


def main():
    program, version = sys.argv[1:]
    with mitogo.Engine() as m:
        assert m._binary == program, (m._binary, program)
        context = m.connect('local')
        n, pid = context.call(there, 41)
        assert n == 42 and pid != os.getpid()
        assert context.run([sys.executable, '-c', 'print(6 * 7)']).stdout == '42\n'
    package = os.path.dirname(mitogo.__file__)
    assert os.path.exists(os.path.join(package, 'py.typed'))
    assert importlib.util.find_spec('mitogen') is None, 'the package of another project'
    said = subprocess.check_output([program, 'version'], universal_newlines=True)
    assert said.split('\n')[0] == version, said
    carried = subprocess.check_output(
        [program, 'python', '--python', sys.executable, '-c',
         'import mitogo; print(mitogo.__file__)'], universal_newlines=True)
    assert carried.startswith(program + os.sep), carried
    placed()
    print('installed')


def placed():
    """Where the program is looked for: nowhere above a directory that pip doesn't make."""
    from mitogo import _process  # which contexts have not

    for place in ('/tmp/a/b/c', '/home/u/src', '/', '/a/site-packages',
                  '/tmp/x/python3/site-packages'):
        found = _process._installed(place)
        assert found == [os.path.join(place, 'bin', 'mitogen')], (place, found)
    for place in ('/v/lib/python3.8/site-packages', '/v/lib64/python3.13t/site-packages',
                  '/v/lib/python3/dist-packages', '/v/lib/pypy3.10/site-packages'):
        assert _process._installed(place)[1:] == ['/v/bin/mitogen'], place


if __name__ == '__main__':
    main()
