# Writes how Ansible would reach the host of a task: the options of its connection and become plugins, and their commands.
# GNU General Public License, version 3 or later, because it builds on Ansible.

import json
import os
import shlex

from ansible.plugins.action import ActionBase


def options(plugin):
    return dict((k, v) for k, v in plugin.get_options().items() if isinstance(v, (type(None), bool, int, str, list, dict)))


def text(words):
    return [w.decode() if isinstance(w, bytes) else str(w) for w in words]


def command(connection, name):
    """The command of a connection that is a program, up to what it runs."""
    if name == 'ssh':
        argv = text(connection._build_command('ssh', 'ssh'))
        if 'sshpass' in argv[0]:
            argv = argv[2:]
        host = connection.get_option('host') or connection._play_context.remote_addr
        return argv + [str(host)]
    if name == 'docker':
        connection._set_conn_data()
        connection._version = 'dev'
        return text(connection._build_exec_cmd(['BOOT']))
    if name == 'kubectl':
        return text(connection._build_exec_cmd(['BOOT'])[0])
    if name in ('lxd', 'incus'):
        return text(connection._build_command('BOOT'))
    if name in ('podman', 'buildah'):
        return text(getattr(connection, '_build_%s_command' % name)(['exec'], False))
    return []


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        connection = self._connection
        name = connection._load_name.rsplit('.', 1)[-1]
        found = {
            'host': task_vars['inventory_hostname'],
            'connection': name,
            'options': options(connection),
            'place': getattr(connection, '_container_id', None),
            'argv': command(connection, name),
            'password': str(connection.get_options().get('password') or self._play_context.password or ''),
            'python': task_vars.get('ansible_python_interpreter'),
        }
        if connection.become is not None:
            found['become'] = connection.become.name.rsplit('.', 1)[-1]
            found['become_password'] = str(connection.become.get_options().get('become_pass') or '')
            found['become_argv'] = shlex.split(connection.become.build_become_command('BOOT', connection._shell))
        fd = os.open(os.environ['WAY_OUT'], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, (json.dumps(found) + '\n').encode())
        os.close(fd)
        return {'changed': False}
