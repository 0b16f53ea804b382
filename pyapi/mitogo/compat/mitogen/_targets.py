"""Connection methods: their options as a target of the engine and its options."""
import os
import sys

import mitogo

COMMON = {
    'name', 'remote_name', 'python_path', 'debug', 'connect_timeout', 'profiling',
    'unidirectional', 'via', 'log_level',
}


class Plan:
    """How to get into a context."""

    def __init__(self, target, name, **options):
        self.target = target
        self.name = name    # if the program gives none; {pid} is the context's
        self.options = options


def plan(method, given):
    """The plan for a method with its options. TypeError: it has no such option, or needs one."""
    known = METHODS.get(method)
    if known is None:
        raise ValueError('there is no connection method %r' % (method,))
    make, required, optional = known
    for name in given:
        if name not in COMMON and name not in required.split() + optional.split():
            raise TypeError('%s: got an unexpected option %r' % (method, name))
    for name in required.split():
        if given.get(name) is None:
            raise TypeError('%s: option %r is missing' % (method, name))
    made = make(method, {k: v for k, v in given.items() if v is not None})
    python = _python(given.get('python_path'))
    if python is None and method in ('local', 'fork'):
        python = [_quoted([sys.executable])] if given.get('via') is None else None
    if python:
        made.options['python'] = python
    made.options['timeout'] = float(given.get('connect_timeout') or 30)
    return made


def _python(path):
    """The command of an interpreter: a name, or a list of words."""
    if not path:
        return None
    return [_quoted([path] if isinstance(path, (str, os.PathLike)) else path)]


def _quoted(words):
    import shlex

    return ' '.join(shlex.quote(os.fspath(w)) for w in words)


def _escaped(name):
    """A name as it stands in a target."""
    text = str(name).replace('\\', '\\\\').replace('+', '\\+')
    return '[%s]' % text if ':' in text else text


def _local(method, given):
    return Plan('local', method + '.{pid}')


def _ssh(method, given):
    args = [os.fspath(a) for a in given.get('ssh_args', ())]
    if given.get('keepalive_enabled', True):
        args += ['-o', 'ServerAliveInterval=%s' % given.get('keepalive_interval', 15)]
        args += ['-o', 'ServerAliveCountMax=%s' % given.get('keepalive_count', 3)]
    if given.get('identity_file') and given.get('identities_only', True):
        args += ['-o', 'IdentitiesOnly=yes']
    if 'compression' in given:
        args += ['-o', 'Compression=%s' % ('yes' if given['compression'] else 'no')]
    port = int(given.get('port', 0))
    name = 'ssh.%s' % given['hostname']
    if port not in (0, 22):
        name += ':%d' % port
    options = mitogo.SSH(
        user=given.get('username', ''), port=port, args=args,
        identity_file=given.get('identity_file', ''), password=given.get('password', ''),
        host_keys={'enforce': 'strict', 'accept': 'accept-new', 'ignore': 'off'}.get(
            given.get('check_host_keys', 'enforce'), 'strict'),
        path='' if given.get('ssh_path', 'ssh') == 'ssh' else given['ssh_path'])
    return Plan(_escaped(given['hostname']), name, ssh=options)


def _become(method, given):
    user = given.get('username', 'root')
    args = [os.fspath(a) for a in given.get('sudo_args', ())]
    if given.get('preserve_env'):
        args.append('-E')
    if given.get('set_home'):
        args.append('-H')
    for name, flag in (('selinux_role', '-r'), ('selinux_type', '-t')):
        if given.get(name):
            args += [flag, given[name]]
    path = given.get(method + '_path', method)
    options = mitogo.Sudo(
        password=given.get('password', ''), login=bool(given.get('login')), args=args,
        path='' if path == method else path)
    return Plan('%s:%s' % (method, _escaped(user)), '%s.%s' % (method, user), **{method: options})


def _container(method, given):
    if given.get(method + '_path', method) != method:
        raise NotImplementedError(
            '%s: option %s_path: the program has to be found by PATH' % (method, method))
    what = given.get('container') or given.get('pod') or given.get('image')
    if not what:
        raise TypeError('%s: option %r is missing' % (method, 'container'))
    user = '%s@' % _escaped(given['username']) if given.get('username') else ''
    word = method + '-run' if given.get('image') else method
    return Plan('%s:%s%s' % (word, user, _escaped(what)), '%s.%s' % (method, what))


def _setns(method, given):
    return Plan(
        'setns:%s/%s' % (_escaped(given['kind']), _escaped(given['container'])),
        'setns.%s' % given['container'])


# Of each: what makes a plan, and the options that it needs and may have.
METHODS = {
    'local': (_local, '', ''),
    'fork': (_local, '', ''),
    'ssh': (
        _ssh,
        'hostname',
        'username ssh_path ssh_args port check_host_keys password identity_file identities_only '
        'compression keepalive_enabled keepalive_count keepalive_interval ssh_debug_level'),
    'sudo': (
        _become,
        '',
        'username sudo_path password preserve_env set_home login sudo_args selinux_role '
        'selinux_type'),
    'su': (_become, '', 'username password su_path password_prompt incorrect_prompts'),
    'doas': (_become, '', 'username password doas_path password_prompt incorrect_prompts'),
    'docker': (_container, '', 'container image username docker_path'),
    'podman': (_container, 'container', 'username podman_path'),
    'buildah': (_container, 'container', 'username buildah_path'),
    'kubectl': (_container, 'pod', 'kubectl_path kubectl_args'),
    'lxc': (_container, 'container', 'lxc_attach_path lxc_path'),
    'lxd': (_container, 'container', 'lxc_path'),
    'incus': (_container, 'container', 'incus_path'),
    'jail': (_container, 'container', 'username jexec_path'),
    'setns': (
        _setns, 'container kind', 'username docker_path lxc_path lxc_info_path machinectl_path'),
}
