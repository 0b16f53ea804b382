"""Run as the other user: plant.py KIND SPRUNG, with a list of names as JSON on stdin.

The kind "remove" removes the names that belong to that user.
"""
import json
import os
import shutil
import sys
import zipfile

kind, sprung = sys.argv[1:3]
names = json.load(sys.stdin)
TRAP = '''import os, sys
try:
    f = open(%r, 'a')
    f.write('%%s executed by uid %%d in process %%d\\n' %% (%r, os.geteuid(), os.getpid()))
    f.close()
except Exception:
    pass
raise SystemExit('a planted file was executed')
'''
# What an interpreter imports: the modules that aren't built in, its start, and
# Ansible's own packages.
modules = sorted(set(sys.stdlib_module_names) - set(sys.builtin_module_names))
modules += ['sitecustomize', 'usercustomize', 'ansible', 'ansible_collections', '__main__']
members = [m + '.py' for m in modules]
members += ['ansible/__init__.py', 'ansible/module_utils/__init__.py',
            'ansible/module_utils/basic.py', 'x.pth']
made, planted, refused = [], [], []


def first(path):
    """The first part of a path that is missing, or this user's own."""
    parts = path.split('/')
    for i in range(2, len(parts) + 1):
        p = '/'.join(parts[:i])
        if not os.path.lexists(p) or os.lstat(p).st_uid == os.getuid():
            return p
    return path


def own(path):
    return os.path.lexists(path) and os.lstat(path).st_uid == os.getuid()


def clear(path):
    """Make way for a file; remains of an interrupted test are in the way, too."""
    top = first(path)
    if os.path.lexists(top) and not own(top):
        return False
    if top not in made:
        remove(top)
        made.append(top)
    os.makedirs(os.path.dirname(path), 0o755, True)
    remove(path)
    return not os.path.lexists(path)


def remove(path):
    if own(path):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def write(path, text):
    if clear(path):
        if kind == 'pipe':
            os.mkfifo(path, 0o644)
        else:
            with open(path, 'w') as f:
                f.write(text)
        planted.append(path)


def archive(path):
    if path not in planted and clear(path):
        with zipfile.ZipFile(path, 'w') as z:
            for m in members:
                z.writestr(m, TRAP % (sprung, path + '/' + m))
        planted.append(path)


def plant(path):
    if '.zip' in path and kind == 'zip':
        return archive(path[:path.index('.zip') + 4])
    if os.path.splitext(path)[1] in ('.py', '.pyc', '.so', '.pth'):
        return write(path, TRAP % (sprung, path))
    for m in members:
        write(os.path.join(path, m), TRAP % (sprung, os.path.join(path, m)))


if kind == 'remove':
    for name in names:
        remove(name)
    sys.exit()
os.umask(0o022)
for name in sorted(set(names)):
    if not os.path.isabs(name):
        continue
    before = len(planted)
    try:
        plant(name)
    except OSError:
        pass
    if len(planted) == before and not any(name.startswith(p) for p in planted):
        refused.append(name)
json.dump({'planted': planted, 'refused': refused, 'made': made}, sys.stdout)
