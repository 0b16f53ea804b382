"""What has a new context made where it changes. Part of `_mitogen_ansible`."""
from _mitogen import os, sys
WHO = ['/etc/passwd', '/etc/group']     # who there is
# What a login, become or an interpreter takes in only at its start: once it has changed, the next
# job has a context that starts anew, by one login at most. '~' is the account's home; of what ends
# with a slash all files in it count.
WATCHED = WHO + (
    # what they may, and by which password
    '/etc/shadow /etc/sudoers /etc/sudoers.d/ /etc/doas.conf /etc/pam.d/ /etc/security '
    '/etc/security/limits.conf /etc/security/limits.d/ '
    # what is in their environment
    '/etc/environment ~/.pam_environment /etc/security/pam_env.conf /etc/login.defs '
    '/etc/locale.conf /etc/default/locale ~/.ssh/environment ~/.ssh/rc '
    # what their shells execute
    '/etc/profile /etc/profile.d/ /etc/bash.bashrc /etc/bashrc /etc/zshenv /etc/zsh/zshenv '
    '/etc/csh.cshrc /etc/fish/config.fish ~/.profile ~/.bash_profile ~/.bash_login ~/.bashrc '
    '~/.zshenv ~/.cshrc ~/.tcshrc ~/.config/fish/config.fish ~/.config/fish/conf.d/ '
    # what C libraries read once
    '/etc/resolv.conf /etc/hosts /etc/nsswitch.conf /etc/gai.conf /etc/localtime /etc/timezone '
    '/etc/ld.so.cache /etc/ssl/openssl.cnf /etc/pki/tls/openssl.cnf').split()
# The interpreter: WATCHED has them too, and of SITES the files that end with .pth.
WATCHED += [sys.executable, os.__file__,
            os.path.dirname(os.path.dirname(sys.executable)) + '/pyvenv.cfg']
SITES = []      # where site.py looks, whether it is there or not
LISTED = {}      # of directories: when they were changed, and the names that count
STALE = '', ' stale'    # behind a job's status: accounts have changed, and so where ~ is
BEFORE = []     # their state when this began


def find_sites():
    SITES.extend([p for p in sys.path if os.path.isabs(p)])
    name = 'python%d.%d' % sys.version_info[:2]
    for prefix in (sys.prefix, sys.exec_prefix, '/usr/local', '~/.local'):
        for lib in ('lib', 'lib64'):
            for dir in ('site-packages', 'dist-packages'):
                p = '/'.join((prefix, lib, name, dir))
                if p not in SITES:
                    SITES.append(p)


def state(path):
    try:
        st = os.stat(path)
        return st.st_ino, st.st_size, st.st_mtime, st.st_mode
    except OSError:
        return None


def names_in(dir, ending, mtime):
    """The names in a directory that end so. It is looked at again once it has changed."""
    known = LISTED.get(dir)
    if not known or known[0] != mtime:
        try:
            all = [n for n in os.listdir(dir) if n.endswith(ending)]
        except OSError:
            all = []
        all.sort()
        LISTED[dir] = known = mtime, all[:1000]
    return known[1]


def changes():
    """The state of what is in WATCHED and SITES."""
    all = []
    home = os.path.expanduser('~')
    for path, ending in [(p, '') for p in WATCHED] + [(p + '/', '.pth') for p in SITES]:
        if path[0] == '~':
            path = home + path[1:]
        st = state(path)
        if st and path[-1] == '/':
            found = names_in(path, ending, st[2])
            all.append([st[0]] + [state(path + name) for name in found])
        else:
            all.append(st)
    return all


find_sites()
BEFORE.append(changes())
