# A connection plugin for Ansible that keeps interpreters warm on the hosts, by way of
# `mitogen daemon`.
#
# It is a subclass of Ansible's own ssh plugin, which does whatever this doesn't: so this file,
# unlike the rest of the project, is under the GNU General Public License, version 3 or later
# (https://www.gnu.org/licenses/gpl-3.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later
DOCUMENTATION = r'''
name: mitogen
short_description: run modules in warm interpreters, over ssh and other ways
author: the Mitogen project
description:
  - Keeps one connection and one interpreter for each account of a host, for as long as the playbook
    runs; a task then costs one round trip and a few milliseconds there. Nothing is installed on the
    host, and nothing stays there.
  - All of I(become), facts, check mode, async and so on work as they do over ssh, with the same
    options and variables. What can't be done this way is left to the ssh plugin.
  - Needs the C(mitogen) program on the machine that runs Ansible.
options:
  mitogen_target:
    description:
      - Where the host is, as C(mitogen) writes it, for instance C(bastion+web1) or
        C(web1+docker:app) or C(local). The default is the host itself, over ssh.
      - In it, C({host}) stands for the host's address.
      - This and the other options that begin with C(mitogen_) can't be facts. A fact of such a name
        is an error.
    type: str
    env: [{name: ANSIBLE_MITOGEN_TARGET}]
    vars: [{name: mitogen_target}, {name: ansible_mitogen_target}]
  mitogen_via:
    description:
      - Name of the host in the inventory, or C([user@]address), through which this one is reached.
        That one may be reached through another in turn.
      - C([method:]user@host), of a host in the inventory, is the account that C(sudo), C(su) or
        C(doas) enters there.
    type: str
    vars: [{name: mitogen_via}, {name: ansible_mitogen_via}]
  mitogen_persist:
    description: Use the user's own daemon, which stays after the playbook, and so do its
      connections, until they have been idle for 10 minutes.
    type: bool
    default: false
    env: [{name: ANSIBLE_MITOGEN_PERSIST}]
    ini: [{section: mitogen, key: persist}]
    vars: [{name: mitogen_persist}, {name: ansible_mitogen_persist}]
  mitogen_native:
    description:
      - Speak SSH in the daemon, without a process of ssh for each host, by what C(ssh -G) says. For
        many hosts. It doesn't compress.
      - What the configuration asks for and can't be done so is left to the ssh program.
    type: bool
    default: false
    env: [{name: ANSIBLE_MITOGEN_NATIVE}]
    ini: [{section: mitogen, key: native}]
    vars: [{name: mitogen_native}, {name: ansible_mitogen_native}]
  mitogen_executable:
    description: The program. The default is the one that has unpacked this plugin, else what is in
      the search path.
    type: str
    env: [{name: ANSIBLE_MITOGEN_EXECUTABLE}]
    ini: [{section: mitogen, key: executable}]
    vars: [{name: mitogen_executable}, {name: ansible_mitogen_executable}]
  mitogen_end_tasks:
    description:
      - End a task's module where the connection is lost, where the playbook is killed, and at the
        task's I(timeout).
      - The default is what the ssh plugin does. The module finishes, and its result is lost.
    type: bool
    default: false
    env: [{name: ANSIBLE_MITOGEN_END_TASKS}]
    ini: [{section: mitogen, key: end_tasks}]
    vars: [{name: mitogen_end_tasks}, {name: ansible_mitogen_end_tasks}]
  pipelining:
    description: Whether modules are run without files. There is no reason to turn that off.
    type: bool
    default: true
    vars: [{name: ansible_mitogen_pipelining}]
  host:
    description: Name or address to connect to.
    type: str
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: ansible_host}, {name: ansible_ssh_host}]
  host_key_checking:
    description: Whether the host's key has to be known.
    type: bool
    default: true
    ini: [{section: defaults, key: host_key_checking},
          {section: ssh_connection, key: host_key_checking}]
    env: [{name: ANSIBLE_HOST_KEY_CHECKING}, {name: ANSIBLE_SSH_HOST_KEY_CHECKING}]
    vars: [{name: ansible_host_key_checking}, {name: ansible_ssh_host_key_checking}]
  password:
    description: Password to log in with. It goes to ssh by an SSH_ASKPASS program; sshpass isn't
      needed.
    type: str
    vars: [{name: ansible_password}, {name: ansible_ssh_pass}, {name: ansible_ssh_password}]
  password_mechanism:
    description: How the ssh plugin gives the password to ssh, where it is left to that.
    type: str
    default: ssh_askpass
    env: [{name: ANSIBLE_SSH_PASSWORD_MECHANISM}]
    ini: [{section: ssh_connection, key: password_mechanism}]
    vars: [{name: ansible_ssh_password_mechanism}]
  sshpass_prompt:
    description: Prompt that sshpass looks for, where the ssh plugin uses that.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: sshpass_prompt}]
    env: [{name: ANSIBLE_SSHPASS_PROMPT}]
    vars: [{name: ansible_sshpass_prompt}]
  ssh_args:
    description: First arguments of ssh. Options about connection sharing don't matter, there is one
      connection.
    type: str
    default: -C -o ControlMaster=auto -o ControlPersist=60s
    ini: [{section: ssh_connection, key: ssh_args}]
    env: [{name: ANSIBLE_SSH_ARGS}]
    vars: [{name: ansible_ssh_args}]
  ssh_common_args:
    description: Further arguments of ssh, sftp and scp.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: ssh_common_args}]
    env: [{name: ANSIBLE_SSH_COMMON_ARGS}]
    vars: [{name: ansible_ssh_common_args}]
    cli: [{name: ssh_common_args}]
  ssh_extra_args:
    description: Last arguments of ssh.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: ssh_extra_args}]
    env: [{name: ANSIBLE_SSH_EXTRA_ARGS}]
    vars: [{name: ansible_ssh_extra_args}]
    cli: [{name: ssh_extra_args}]
  ssh_executable:
    description: The ssh program.
    type: str
    default: ssh
    ini: [{section: ssh_connection, key: ssh_executable}]
    env: [{name: ANSIBLE_SSH_EXECUTABLE}]
    vars: [{name: ansible_ssh_executable}]
  sftp_executable:
    description: The sftp program, for the ssh plugin.
    type: str
    default: sftp
    ini: [{section: ssh_connection, key: sftp_executable}]
    env: [{name: ANSIBLE_SFTP_EXECUTABLE}]
    vars: [{name: ansible_sftp_executable}]
  scp_executable:
    description: The scp program, for the ssh plugin.
    type: str
    default: scp
    ini: [{section: ssh_connection, key: scp_executable}]
    env: [{name: ANSIBLE_SCP_EXECUTABLE}]
    vars: [{name: ansible_scp_executable}]
  scp_extra_args:
    description: Arguments of scp, for the ssh plugin.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: scp_extra_args}]
    env: [{name: ANSIBLE_SCP_EXTRA_ARGS}]
    vars: [{name: ansible_scp_extra_args}]
    cli: [{name: scp_extra_args}]
  sftp_extra_args:
    description: Arguments of sftp, for the ssh plugin.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: sftp_extra_args}]
    env: [{name: ANSIBLE_SFTP_EXTRA_ARGS}]
    vars: [{name: ansible_sftp_extra_args}]
    cli: [{name: sftp_extra_args}]
  reconnection_retries:
    description: How often the ssh plugin tries again to connect.
    type: int
    default: 0
    ini: [{section: connection, key: retries}, {section: ssh_connection, key: retries}]
    env: [{name: ANSIBLE_SSH_RETRIES}]
    vars: [{name: ansible_ssh_retries}]
  port:
    description: Port to connect to.
    type: int
    ini: [{section: defaults, key: remote_port}]
    env: [{name: ANSIBLE_REMOTE_PORT}]
    vars: [{name: ansible_port}, {name: ansible_ssh_port}]
    keyword: [{name: port}]
  remote_user:
    description: User to log in as.
    type: str
    ini: [{section: defaults, key: remote_user}]
    env: [{name: ANSIBLE_REMOTE_USER}]
    vars: [{name: ansible_user}, {name: ansible_ssh_user}]
    cli: [{name: user}]
    keyword: [{name: remote_user}]
  private_key_file:
    description: File of the key to log in with.
    type: path
    ini: [{section: defaults, key: private_key_file}]
    env: [{name: ANSIBLE_PRIVATE_KEY_FILE}]
    vars: [{name: ansible_private_key_file}, {name: ansible_ssh_private_key_file}]
    cli: [{name: private_key_file, option: --private-key}]
  private_key:
    description: Text of the key to log in with. A host that has one is left to the ssh plugin.
    type: str
    env: [{name: ANSIBLE_PRIVATE_KEY}]
    vars: [{name: ansible_private_key}, {name: ansible_ssh_private_key}]
  private_key_passphrase:
    description: Passphrase of the key.
    type: str
    env: [{name: ANSIBLE_PRIVATE_KEY_PASSPHRASE}]
    vars: [{name: ansible_private_key_passphrase}, {name: ansible_ssh_private_key_passphrase}]
  control_path:
    description: Socket for connection sharing, for the ssh plugin.
    type: str
    ini: [{section: ssh_connection, key: control_path}]
    env: [{name: ANSIBLE_SSH_CONTROL_PATH}]
    vars: [{name: ansible_control_path}]
  control_path_dir:
    description: Directory of such sockets, for the ssh plugin.
    type: str
    default: ~/.ansible/cp
    ini: [{section: ssh_connection, key: control_path_dir}]
    env: [{name: ANSIBLE_SSH_CONTROL_PATH_DIR}]
    vars: [{name: ansible_control_path_dir}]
  sftp_batch_mode:
    description: Whether the ssh plugin uses sftp's batch mode.
    type: bool
    default: true
    ini: [{section: ssh_connection, key: sftp_batch_mode}]
    env: [{name: ANSIBLE_SFTP_BATCH_MODE}]
    vars: [{name: ansible_sftp_batch_mode}]
  ssh_transfer_method:
    description: How the ssh plugin transfers files.
    type: str
    ini: [{section: ssh_connection, key: transfer_method}]
    env: [{name: ANSIBLE_SSH_TRANSFER_METHOD}]
    vars: [{name: ansible_ssh_transfer_method}]
  scp_if_ssh:
    description: The same, as old releases have it.
    default: smart
    ini: [{section: ssh_connection, key: scp_if_ssh}]
    env: [{name: ANSIBLE_SCP_IF_SSH}]
    vars: [{name: ansible_scp_if_ssh}]
  use_tty:
    description: Whether commands that nothing is piped into have a terminal.
    type: bool
    default: true
    ini: [{section: ssh_connection, key: usetty}]
    env: [{name: ANSIBLE_SSH_USETTY}]
    vars: [{name: ansible_ssh_use_tty}]
  timeout:
    description: Seconds that connecting may take.
    type: int
    default: 10
    ini: [{section: defaults, key: timeout}, {section: ssh_connection, key: timeout}]
    env: [{name: ANSIBLE_TIMEOUT}, {name: ANSIBLE_SSH_TIMEOUT}]
    vars: [{name: ansible_ssh_timeout}]
    cli: [{name: timeout}]
  pkcs11_provider:
    description: PKCS11 library of a smart card. A host that has one is left to the ssh plugin.
    type: str
    default: ''
    ini: [{section: ssh_connection, key: pkcs11_provider}]
    env: [{name: ANSIBLE_PKCS11_PROVIDER}]
    vars: [{name: ansible_ssh_pkcs11_provider}]
  verbosity:
    description: How much ssh says, where it is the ssh plugin's.
    type: int
    default: 0
    ini: [{section: ssh_connection, key: verbosity}]
    env: [{name: ANSIBLE_SSH_VERBOSITY}]
    vars: [{name: ansible_ssh_verbosity}]
'''

import errno
import hashlib
import json
import mmap
import os
import re
import shlex
import subprocess
import time
import zlib

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.connection import ssh
from ansible.plugins.connection.ssh import Connection as SSHConnection
from ansible.utils.display import Display
from ansible.vars.hostvars import HostVars

from place import PlaceError, dial, socket_directory    # unpackTo puts place.py here

EXECUTABLE = 'mitogen'      # who unpacks this writes its own path here
BOOT = ''                   # and here what starts @PYTHON@ on a host as a context
PROTOCOL = 1                # docs/protocol/ansible.md, section 10
PYTHONS = ['/usr/bin/python3', 'python3', 'python', 'python2.7', 'python2',
           '/usr/libexec/platform-python']
METHODS = ('docker', 'podman', 'buildah', 'kubectl', 'lxc', 'lxd', 'incus', 'jail', 'machinectl',
           'nspawn', 'chroot', 'setns')
# Not compiled by each task's process.
PYTHON = re.compile(r'[\w./+-]+$')
READS_STDIN = re.compile(r' -[A-Za-z]*S')
NEVER_ASKS = re.compile(r'\S*sudo (-[A-Za-z]+ )*-[A-Za-z]*n[A-Za-z]* ')
# a target whose interpreter is the host's own
INSIDE = re.compile(r'(?:ssh|%s):[^+]*$' % '|'.join(METHODS))
ADDRESS = re.compile(r'(?:[^@+\s]+@)?[\w.-]+$')
V6 = re.compile(r'[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+(?:%[\w.-]+)?$|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]$')
PREFIX = re.compile(r'^ansible_')
# Variables that Ansible itself never takes from facts.
CLEANED = re.compile(r'ansible_(?:ssh|become)_|ansible_.*_interpreter$')
# Names that no fact may have, with or without ansible_ before them.
OWN = (tuple('mitogen_' + name
             for name in ('target', 'via', 'persist', 'native', 'executable', 'pipelining',
                          'end_tasks')) + ('inventory_hostname',))
# Mitogen's own
HARMLESS = ('mitogen_ssh_compression', 'mitogen_ssh_debug_level', 'mitogen_ssh_keepalive_count',
            'mitogen_ssh_keepalive_interval')
DECIDING = {}               # plugins' names: what Session.deciding has found
NO_PASSWORD = ['-o', 'KbdInteractiveAuthentication=no', '-o',
               'PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey',
               '-o', 'PasswordAuthentication=no']
# Variables of the environment that decide where programs lead, as all clients of the
# daemon say them.
LEADING = ('PATH', 'HOME', 'LANG', 'SSH_AUTH_SOCK', 'SSH_SK_PROVIDER', 'KRB5CCNAME', 'KRB5_CONFIG',
           'XDG_CONFIG_HOME', 'XDG_RUNTIME_DIR', 'KUBECONFIG')
LEADING_PREFIXES = ('DOCKER_', 'CONTAINER_', 'CONTAINERS_', 'PODMAN_', 'BUILDAH_', 'LXD_', 'INCUS_',
                    'LXC_', 'LC_', 'PYTHON')
NO_TEMP = 'Failed to create temporary directory. In some cases, you may have been able to ' \
    'authenticate and did not have permissions on the target directory. Consider changing the ' \
    'remote tmp path in ansible.cfg to a path rooted in "/tmp", for more error information use ' \
    '-vvv. Failed command was: %s, exited with result 1'
# What the ssh plugin says where ssh's status is 255 and it had input, a module's wrapper.
NOT_SENT = 'Data could not be sent to remote host "%s". ' \
    'Make sure this host can be reached over ssh: %s'
NEW_RELEASE = 'mitogen: modules of this release of Ansible are not recognised, so that each ' \
    'takes the start of an interpreter'
# What ssh says at the end of a command with a terminal, by what `ssh -G` has for
# ControlMaster and the like.
LOUD = ('info', 'verbose', 'debug', 'debug1', 'debug2', 'debug3')
SLOT, SLOTS = 160, 1 << 12
ENDS = mmap.mmap(-1, SLOT * SLOTS)      # shared with tasks' processes: what that is, by place
WARNED = mmap.mmap(-1, 1)               # shared as well: whether NEW_RELEASE has been said
# Short options of rsync that end with the name of its ssh: none before -e has a value.
OWN_SSH = re.compile(r'-[^-BfMT@]*e')
# Short options whose last one has the next word as its value.
WITH_VALUE = re.compile(r'-[^-BefMT@]*[BfMT@]$')
# A path with a host, as rsync sees one.
OTHER_HOST = re.compile(r'((?:[^/:@]+@)?(?:\[[^]/]+\]|[^/:]+)):')
PLAIN = re.compile(r'[\w ./=:@%+,~-]*$', re.ASCII)

MAIN = os.getpid()          # of the playbook, where Ansible loads this before it forks
PATIENCE = 30               # seconds that a daemon, or an interpreter, may take to start
CHUNK = 1 << 19
ONCE = {}                   # what this_process() has found
# shared with tasks' processes: whether a host's connection has been asked for
ASKED = mmap.mmap(-1, 1 << 14)

display = Display()


def orphaned(parent):
    """Whether the playbook has been killed: then the parent of its tasks' processes is another one,
    which would keep a daemon."""
    if os.getpid() == MAIN or parent == MAIN:
        return False
    try:
        os.kill(MAIN, 0)
        with open('/proc/%d/stat' % MAIN) as f:
            # its parent doesn't know yet
            return f.read().rpartition(')')[2].split()[0] == 'Z'
    except OSError as e:
        return e.errno == errno.ESRCH


def names_ssh(options):
    """Whether options of rsync name its ssh: as `synchronize` looks for one, and as rsync does."""
    if any('--rsh' in o for o in options):
        return True
    try:
        words = shlex.split(' '.join(options))  # as `synchronize` has them split
    except ValueError:
        return False
    value = False       # this word is the value of the one before
    for word in words:
        option = not value and word[:2] != '--'
        if option and OWN_SSH.match(word):
            return True
        value = option and bool(WITH_VALUE.match(word))
    return False


def split(text):
    """As shlex.split, which each task's process would need a while for."""
    text = to_native(text or '')
    return text.split() if PLAIN.match(text) else shlex.split(text)


def origin(here):
    """What of this process decides where a request leads: its directory, where relative names
    begin, and its environment."""
    names = LEADING + tuple(n for n in os.environ if n.startswith(LEADING_PREFIXES))
    return {'dir': to_text(here), 'env': dict((n, os.environ.get(n)) for n in names)}


def this_process():
    """What is the same for all requests of this process: where its sockets are, and its origin. The
    playbook's process finds it for its tasks' processes, which have the same directory and
    environment unless something has changed them."""
    # as os.environ keeps it, for a quick comparison
    environment = getattr(os.environ, '_data', None)
    try:
        here = os.getcwd()
    except OSError:
        here = '/'
    if (not ONCE or environment is None or ONCE['here'] != here
            or ONCE['environment'] != environment):
        ONCE.update(here=here, environment=dict(environment or ()), directory=socket_directory(),
                    origin=origin(here))
    return ONCE


class Unusable(Exception):
    """Nothing has been executed: the ssh plugin is to do it."""


class Become:
    """A become plugin, of which it is remembered what it has last made a command of. `su` has
    another name, because old releases don't pipe anything into what has that name."""

    def __init__(self, plugin):
        self.__dict__['plugin'] = plugin
        self.__dict__['made'] = None

    def __getattr__(self, name):
        value = getattr(self.plugin, name)
        if name == 'name' and value == 'su' and not hasattr(SSHConnection, 'is_pipelining_enabled'):
            return 'su by mitogen'
        return value

    def __setattr__(self, name, value):
        setattr(self.plugin, name, value)

    def build_become_command(self, cmd, shell):
        text = self.plugin.build_become_command(cmd, shell)
        self.__dict__['made'] = (text, cmd, shell)
        return text

    def command(self, cmd):
        """The command for cmd, by itself; what the plugin is to look for is that command's then."""
        return self.plugin.build_become_command(cmd, self.made[2])

    def entry(self, python, shell):
        """How to start as the account, if that asks nothing."""
        if self.plugin.name != 'sudo' or self.plugin.get_option('become_pass'):
            return {}
        text = self.plugin.build_become_command(BOOT, shell)
        if not NEVER_ASKS.match(text):
            return {}
        return {'account': self.account(text, BOOT, shell), 'user': self.user(), 'python': python,
                'become': to_text(text.replace('@PYTHON@', python))}

    def user(self):
        return to_text(self.plugin.get_option('become_user') or 'root')

    def state(self, *before):
        """What the plugin looks for; with an argument, what it has been before."""
        for values in before:
            self.plugin.__dict__.update(values)
        return dict((k, v) for k, v in self.plugin.__dict__.items()
                    if k in ('_id', 'success', 'prompt'))

    def account(self, text, cmd, shell):
        """A text that tells an account, and a way to it, from other accounts: the plugin's last
        form of cmd, without cmd."""
        plugin = self.plugin
        parts = text.split(getattr(plugin, 'success', None) or '\0')
        cmd = cmd.replace("'", "'\"'\"'")
        if len(parts) == 2 and cmd in parts[1] and getattr(plugin, '_id', '') not in parts[0]:
            text = parts[0] + '\0' + parts[1].replace(cmd, '', 1)
        else:
            before = self.state()
            text = plugin.build_become_command('mitogen', shell)
            for part in (getattr(plugin, '_id', ''), getattr(plugin, 'success', '')):
                if part:
                    text = text.replace(part, '')
            self.state(before)
        text = plugin.name + '\0' + text
        secret = plugin.get_option('become_pass')
        if secret:  # without OpenSSL, which is slow to begin
            text = hashlib.blake2b(to_bytes(text + '\0' + to_text(secret)),
                                   digest_size=32).hexdigest()
        return to_text(text)


class Wire:
    """A connection to the daemon, which leads to one place and is used for no other."""

    def __init__(self, key, s, opening):
        self.key = key
        self.socket = s
        self.lines = s.makefile('rb')
        self.opening = opening  # what is to be sent first
        self.early = False      # an answer to `connect` is still to come
        self.tidies = False     # temporary directories go with it, unless it says `bye`

    def send(self, message, data=b''):
        if data:
            message = dict(message, size=len(data))
        self.socket.sendall(self.opening + to_bytes(json.dumps(message)) + b'\n' + data)
        self.opening = b''

    def close(self, orderly):
        """End it, if orderly with a word that its temporary directories may still be needed."""
        if orderly and self.tidies and self.key[0] == os.getpid():
            try:
                self.send({'do': 'bye'})
            except OSError:
                pass
        self.lines.close()
        self.socket.close()


OPEN = []       # the Wire of this process, of which there is at most one
MISSING = {}    # path of a socket where no daemon can be had: why; '' once that has been said


def hang_up(orderly=True):
    """Close the Wire of this process, if there is one. Not orderly: as the end of a killed
    process does."""
    while OPEN:
        OPEN.pop().close(orderly)


def ending(argv, host):
    """What an ssh, whose `ssh -G` is argv, prints at the end of a command that has a terminal."""
    try:
        out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, timeout=PATIENCE).stdout
    except (OSError, subprocess.SubprocessError):
        out = b''
    said = dict(line.split(' ', 1) for line in to_text(out).splitlines() if ' ' in line)
    if said.get('loglevel', 'INFO').lower() not in LOUD:
        return ''
    # then the ssh plugin adds a path
    persists = any('controlpersist' in a.lower() for a in argv)
    shares = (persists or said.get('controlpersist', 'no') != 'no'
              and said.get('controlpath', 'none') != 'none')
    return '%s to %s closed.\r\n' % ('Shared connection' if shares else 'Connection',
                                     said.get('hostname', host))


def wrong(host, why):
    return AnsibleConnectionFailure('mitogen: host %s: %s' % (host, why))


class Session:
    """Does a connection's requests. Where a request goes is worked out for each, and compared
    with where the open Wire leads: Ansible may change any option between two, as it does for the
    items of a loop."""

    def __init__(self, connection):
        self.connection = connection
        self.instead = {}       # options as the task has them, where it has its own
        self.pid = connection.mitogen_pid
        # of the host that is connected to, which for a delegated task isn't the task's
        self.vars = {}
        self.name = None        # of that host
        self.delegated = False  # the task is another host's
        self.hops = (None, [])  # the last answer of way(), which takes a while, and for what
        self.checked = False    # vars say nothing that is refused

    def told(self, variables, name=None):
        """Take the variables of the host that is connected to."""
        self.vars = variables
        self.delegated = bool(name)
        self.name = to_text(name or variables.get('inventory_hostname') or '')
        self.hops = (None, [])
        self.checked = False

    # Where to connect, and how

    def option(self, name):
        """An option of the connection, as the task has it."""
        return self.instead[name] if name in self.instead else self.connection.get_option(name)

    def first(self):
        """The first message: where the host is, and what is on the way there."""
        self.check()
        user = self.option('remote_user')
        address = self.address(self.option('host'), user)
        target = self.option('mitogen_target')
        target = to_text(target).replace('{host}', address) if target else address
        options = self.options(self.option, self.known(target),
                               self.option('password') or self.connection._play_context.password)
        return {'op': 'ansible', 'protocol': PROTOCOL,
                'host': self.name or to_text(self.option('host')), 'target': target,
                'options': options,
                'via': self.way(self.option('mitogen_via')), 'origin': this_process()['origin']}

    def check(self):
        """Raise an error for variables that decide how the host is reached, and can't be taken."""
        if not self.checked:
            self.refuse_forged()
            self.refuse(self.name, self.vars)
            self.checked = True

    def refuse(self, name, variables):
        self.refuse_facts(name, variables)
        self.refuse_unknown(name, variables)

    def refuse_unknown(self, name, variables):
        """Raise an error for a variable that is written like those that decide, and is none."""
        known = None
        for variable in variables:
            if (variable.startswith(('ansible_mitogen_', 'mitogen_ssh_'))
                    and variable not in HARMLESS):
                known = known or C.config.get_plugin_vars('connection', self.connection._load_name)
                if variable not in known:
                    raise wrong(name, 'there is no variable %s; docs/ansible.md has those that '
                                'there are' % variable)

    def refuse_forged(self):
        """Raise an error if a fact stands where Ansible's own variables were: the facts that an
        item of a loop brings replace those for the next."""
        if self.delegated and not isinstance(self.vars.get('hostvars'), HostVars):
            raise self.refused(self.name, 'ansible_delegated_vars')
        if 'hostvars' in self.vars and not isinstance(self.vars['hostvars'], HostVars):
            raise self.refused(self.name, 'hostvars')

    def refuse_facts(self, name, variables):
        """Raise an error if a host's facts, which any module's answer and the fact cache can bring,
        name what decides how it's reached."""
        facts = variables.get('ansible_facts')
        if not facts:
            return
        names = [n for n in OWN if n in facts or 'ansible_' + n in facts]
        if C.config.get_config_value('INJECT_FACTS_AS_VARS'):
            # Values don't tell: of the facts X and ansible_X, which are one name among facts and
            # two among variables, the other may be seen.
            names += [n for n in self.deciding()
                      if n in variables and (n in facts or PREFIX.sub('', n) in facts)]
        if names:
            raise self.refused(name, names[0])

    def refused(self, name, variable):
        return wrong(name, '%s is a fact of the host, which must not decide how hosts are reached; '
                     'remove it, and clear the fact cache' % variable)

    def deciding(self):
        """Names of variables that options come from, and which Ansible leaves in facts."""
        plugins = [('connection', self.connection), ('shell', self.connection._shell)]
        if self.connection.become:
            plugins.append(('become', self.connection.become.plugin))
        key = tuple(getattr(plugin, '_load_name', None) for _, plugin in plugins)
        if key not in DECIDING:
            names = set()
            for kind, plugin in plugins:
                if getattr(plugin, '_load_name', None):
                    names.update(C.config.get_plugin_vars(kind, plugin._load_name))
            DECIDING[key] = [n for n in sorted(names)
                             if n not in C.COMMON_CONNECTION_VARS and not CLEANED.match(n)]
        return DECIDING[key]

    def way(self, via):
        """The hops before the host, from here on, each with its own options."""
        if not via:
            return []
        if self.hops[0] != via:
            hops, seen = [], [self.name]
            while via:
                if via in seen:
                    raise wrong(self.name,
                                'mitogen_via leads in a circle: %s' % ', '.join(seen + [via]))
                seen.append(via)
                before, via = self.hop(via)
                hops[:0] = before
            self.hops = (self.option('mitogen_via'), hops)
        return self.hops[1]

    def hop(self, via):
        """The hops that one mitogen_via means, and what is before them."""
        via = to_text(via)
        there, account, name = self.host_vars(via), '', via
        if there is None and '@' in via:
            account, name = via.rsplit('@', 1)
            there = self.host_vars(name)
        if there is None:   # an address
            def value(option):
                if option == 'remote_user':
                    return account
                return (self.option(option)
                        if option in ('ssh_common_args', 'ssh_args', 'ssh_executable',
                                      'host_key_checking', 'timeout') else None)
            return [{'target': self.address(name, account),
                     'options': self.options(value, [])}], None
        self.refuse(name, there)
        value = self.value_there(there)
        hops = [{'target': self.target_there(name, there, value),
                 'options': self.options(value, [there.get('ansible_python_interpreter')])}]
        if account:
            method, _, user = account.rpartition(':')
            method = method or 'sudo'
            if method not in ('sudo', 'su', 'doas') or '+' in user:
                raise wrong(self.name, 'mitogen_via %s: the method is to be sudo, su or doas' % via)
            password = there.get('ansible_become_password') or there.get('ansible_become_pass')
            hops.append({'target': '%s:%s' % (method, user),
                         'options': {method: {'password': to_text(password)}} if password else {}})
        return hops, value('mitogen_via')

    def value_there(self, there):
        """What returns the options of another host of the inventory: its variables, else what
        the configuration says. Users, keys and passwords of the command line are for the
        hosts of the play."""
        plugin = self.connection._load_name

        def value(option):
            definition = C.config.get_configuration_definitions('connection', plugin)[option]
            names = [v['name'] for v in definition.get('vars') or ()]
            variables = dict((n, there[n]) for n in names if n in there)
            got, origin = C.config.get_config_value_and_origin(option, plugin_type='connection',
                                                               plugin_name=plugin,
                                                               variables=variables)
            of_the_play = (option in ('remote_user', 'private_key_file')
                           and to_text(origin).startswith('cli'))
            return None if of_the_play else got
        return value

    def target_there(self, name, there, value):
        """Where another host of the inventory is."""
        target = value('mitogen_target')
        host = to_text(there.get('ansible_host') or there.get('ansible_ssh_host') or name)
        address = self.address(host, value('remote_user'))
        if target:
            return to_text(target).replace('{host}', address)
        method = to_text(there.get('ansible_connection') or 'ssh').split('.')[-1]
        if method in ('ssh', 'smart', 'mitogen', 'paramiko', 'paramiko_ssh'):
            return address
        if method == 'local':
            return 'local'
        if method not in METHODS:
            raise wrong(name, 'ansible_connection %s is none that can be gone through' % method)
        for variable in there:
            if variable.startswith('ansible_%s_' % method):
                raise wrong(name, '%s is not known here, and could change the way: say it by '
                            'mitogen_target' % variable)
        if '+' in host or '@' in host:    # more hops, or another user
            raise wrong(name, 'bad ansible_host %s' % host)
        return method + ':' + host

    def address(self, host, user=None):
        """An address as a target. ssh takes the user from it where no option says another."""
        host = to_text(host)
        if '@' in host and user:
            host = host.rsplit('@', 1)[1]
        if ADDRESS.match(host):
            return 'ssh:' + host
        if V6.match(host):
            return 'ssh:[%s]' % host.strip('[]')
        raise wrong(self.name, 'ansible_host %s is no address' % host)

    def host_vars(self, name):
        """The variables of a host of the inventory, None if there is no such host."""
        hostvars = self.vars.get('hostvars')
        return hostvars[name] if hostvars is not None and name in hostvars else None

    def options(self, value, pythons, password=None):
        """How to connect. value(option) says how a host's options are; pythons are tried first;
        Ansible has this password for the play's hosts."""
        password = password or value('password')
        # In the order of the ssh plugin, as ssh takes the first of two. Each connection is the
        # daemon's, so there is no sharing.
        args = ['-o', 'ControlPersist=no'] + split(value('ssh_args'))
        if value('host_key_checking') is False:
            args += ['-o', 'StrictHostKeyChecking=no']
        if value('port') is not None:
            args += ['-o', 'Port=%s' % value('port')]
        if value('private_key_file'):
            args += ['-o', 'IdentityFile="%s"'
                     % os.path.expanduser(to_native(value('private_key_file')))]
        if not password:
            args += NO_PASSWORD
        if value('remote_user'):
            args += ['-o', 'User="%s"' % to_native(value('remote_user'))]
        args += (['-o', 'ConnectTimeout=%s' % (value('timeout') or 10)]
                 + split(value('ssh_common_args')) + split(value('ssh_extra_args')))
        if password:
            args += ['-o', 'NumberOfPasswordPrompts=1']
        values = {'path': value('ssh_executable'), 'password': password,
                  'passphrase': value('private_key_passphrase')}
        ssh = dict((k, to_text(v)) for k, v in values.items() if v)
        ssh['args'] = [to_text(a) for a in args]
        ssh['connect_timeout'] = float(value('timeout') or 10)
        ssh['native'] = bool(self.option('mitogen_native'))
        return {'ssh': ssh,
                'python': [p for p in pythons if p and PYTHON.match(to_text(p))] + PYTHONS,
                'connect_timeout': ssh['connect_timeout'] + PATIENCE}

    def known(self, target):
        """Interpreters that modules are to have, best first. The host's facts name one, which is
        started in that host alone: never here, nor on the way."""
        facts = self.vars.get('ansible_facts') or {}
        return [self.vars.get('ansible_python_interpreter'),
                facts.get('discovered_interpreter_python') if INSIDE.match(target) else None]

    def python(self):
        """The interpreter that modules are to have, if its path is known."""
        for p in self.known('ssh:'):
            if p:
                return to_text(p) if PYTHON.match(to_text(p)) and p[0] == '/' else None

    # The daemon

    def socket_path(self):
        once = this_process()
        if self.option('mitogen_persist'):
            return (os.environ.get('MITOGEN_SOCKET')
                    or os.path.join(once['directory'], 'daemon.sock'))
        return os.path.join(once['directory'], 'ansible-%d.sock' % self.pid)

    def dial(self, path):
        """A socket of a daemon, which is started if there is none."""
        if orphaned(self.pid):
            raise AnsibleConnectionFailure('the playbook has gone')
        process, end = None, time.time() + PATIENCE
        while True:
            try:
                return dial(path)
            except PlaceError as e:
                raise AnsibleConnectionFailure('mitogen: %s' % e)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                    raise Unusable('%s: %s' % (path, e))
                if process is None:
                    process = self.start_daemon(path)
                elif time.time() > end or process.poll() not in (None, 0, 255, 1):
                    raise self.missing(path, 'daemon at %s: %s' % (path, e))
                else:
                    time.sleep(.002)

    def start_daemon(self, path):
        argv = [self.option('mitogen_executable') or EXECUTABLE, 'daemon', '--socket', path,
                '--quiet']
        if not self.option('mitogen_persist'):
            argv += ['--owner', str(self.pid)]
        try:
            with open(os.devnull, 'r+b') as null:
                return subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, cwd='/',
                                        close_fds=True, start_new_session=True)
        except OSError as e:
            raise self.missing(path, '%s: %s' % (argv[0], e.strerror))

    def missing(self, path, why):
        """The error that no daemon can be had at path: no later request tries."""
        MISSING[path] = why
        return Unusable(why)

    def wire(self):
        """The Wire that leads where this connection's options say now."""
        place = to_bytes(json.dumps(self.first(), sort_keys=True))
        key = (os.getpid(), self.socket_path(), place)
        if not OPEN or OPEN[0].key != key:
            hang_up()
            OPEN.append(Wire(key, self.dial(key[1]), place + b'\n'))
        return OPEN[0]

    def send(self, wire, message, data=b''):
        try:
            wire.send(message, data)
        except OSError as e:
            raise self.lost(e)

    def lost(self, why):
        hang_up(orderly=False)
        return AnsibleConnectionFailure('Connection to the mitogen daemon lost: %s'
                                        % to_native(why))

    def mark(self):
        """A host's place in ASKED; that another may have the same costs that one a little time."""
        return zlib.crc32(to_bytes('%s %s %s'
                                   % (self.option('host'), self.option('remote_user'),
                                      self.option('port')))) % len(ASKED)

    def closing(self):
        """What ssh prints at the end of a command that has a terminal. ssh is asked for that once
        for each place."""
        if self.connection.mitogen_elsewhere():
            return 'Shared connection to %s closed.\r\n' % self.option('host')
        host = to_text(self.option('host'))
        args = self.options(self.option, [],
                            self.option('password')
                            or self.connection._play_context.password)['ssh']['args'][2:]
        argv = [to_text(self.option('ssh_executable') or 'ssh'), '-G'] + args + ['--', host]
        key = hashlib.blake2b(to_bytes(json.dumps(argv)), digest_size=8).digest()
        at = zlib.crc32(key) % SLOTS * SLOT
        known = ENDS[at:at + SLOT]
        text = known[12:].rstrip(b'\0')
        if known[:8] != key or known[8:12] != zlib.crc32(text).to_bytes(4, 'big'):
            text = to_bytes(ending(argv, host))
            if len(text) <= SLOT - 12:
                ENDS[at:at + SLOT] = (key + zlib.crc32(text).to_bytes(4, 'big')
                                      + text.ljust(SLOT - 12, b'\0'))
        return to_text(text)

    def connect(self):
        """Have the host connected to, while the module is made. What comes of it is known later."""
        connection = self.connection
        mark = self.mark()
        if ASKED[mark:mark + 1] == b'1':
            return
        ASKED[mark:mark + 1] = b'1'
        wire = self.wire()
        python = (self.python() if connection.become and not self.option('mitogen_target')
                  and not self.option('mitogen_via') else None)
        how = connection.become.entry(python, connection._shell) if python else {}
        self.send(wire, dict(how, do='connect'))
        wire.early = True

    def read(self, wire):
        try:
            line = wire.lines.readline()
            if not line:
                raise self.lost('it has gone')
            message = json.loads(line.decode('utf-8'))
            data = b''
            if message.get('size'):
                data = wire.lines.read(message['size'])
            return message, data
        except (OSError, ValueError) as e:
            raise self.lost(e)

    def request(self, message, pieces=(), put=False, output=None):
        """Do one request; returns its end. Output goes to the function output(stream, data)."""
        end = None
        wire = self.wire()
        fed = bool(pieces) and message['do'] == 'exec'
        try:
            pieces = iter(pieces)
            self.send(wire, dict(message, eof=True) if not put else message, next(pieces, b''))
            for data in pieces:
                self.send(wire, {}, data)
            if put:
                self.send(wire, {'eof': True})
            end = self.await_end(wire, output)
        finally:
            if end is None:
                # a late answer would be taken for the next request's
                hang_up(orderly=False)
        wire.tidies = wire.tidies or end.get('how') == 'as a file operation'
        if end.get('error'):
            raise self.failure(end['error'], fed)
        return end

    def await_end(self, wire, output):
        said = b''
        answered = False
        while True:
            reply, data = self.read(wire)
            if 'stream' in reply:
                output(reply['stream'], data)
            elif 'boot' in reply:
                self.send(wire, {'become': self.connection.become.command(reply['boot'])})
            elif 'talk' in reply:
                said += data
                answered = self.answer(wire, said, answered)
            elif 'end' in reply:
                end = reply['end'] or {}
                early, wire.early = wire.early, False
                if early and end.get('error'):
                    hang_up(orderly=False)  # the end of the request itself would come too
                if not early or end.get('error'):
                    return end

    def answer(self, wire, said, answered):
        """Answer what entering an account says, as far as it wants to know something."""
        become = self.connection.become
        name = become.plugin.name
        if become.check_incorrect_password(said):
            raise AnsibleError('Incorrect %s password' % name)
        if become.check_missing_password(said):
            raise AnsibleError('Missing %s password' % name)
        # Plugins look for their prompt at the beginning of a line; doas has a return before it.
        if (not answered
                and any(become.check_password_prompt(line) for line in [said] + said.splitlines())):
            password = become.get_option('become_pass')
            if not password:
                raise AnsibleError('Missing %s password' % name)
            self.send(wire, {'answer': to_text(password) + '\n'})
            return True
        return answered

    def failure(self, error, fed):
        """What is to be raised for an error; fed: of a command that had input."""
        kind, text = error.get('kind'), to_native(error.get('text') or '')
        if kind == 'protocol':
            return self.missing(self.socket_path(),
                                'the plugin is of another release than the program: run `mitogen '
                                'ansible config` again')
        if error.get('fallback'):
            return Unusable('%s: %s' % (kind, text))
        if kind == 'temp':  # in Ansible's words, where making a directory fails at once
            if 'No space left on device' not in text:
                text = NO_TEMP % to_native(self.connection.mitogen_mkdir)
            return AnsibleConnectionFailure(text)
        if kind == 'files':
            return AnsibleError('Failed to write a temporary file on the remote host: %s' % text)
        if kind == 'lost':
            return AnsibleConnectionFailure(text)
        if fed:
            return AnsibleConnectionFailure(NOT_SENT % (self.connection.get_option('host'), text))
        return AnsibleConnectionFailure('Failed to connect to the host via ssh: %s' % text.rstrip())


class Lent:
    """The ssh that a `synchronize` finds. The task's rsync is here, and starts that ssh, which has
    the daemon run a command as the task's account."""

    before = {}     # what the environment had before it was changed for the present task

    def __init__(self, connection, variables):
        self.connection = connection
        self.session = connection.mitogen
        self.variables = variables
        omitted = variables.get('omit')     # old releases take such arguments away later
        args = connection.mitogen_task.get('args') or {}
        self.args = dict((k, v) for k, v in args.items() if v is None or v != omitted)

    @classmethod
    def give_back(cls):
        """Have programs find what they found before."""
        for name, value in cls.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        cls.before.clear()

    def begin(self):
        """Have a `synchronize` find the ssh, or the ssh program where the task names another way.
        Return whether the task's rsync is here."""
        connection = self.connection
        connection.mitogen_refusal = ''
        action = to_text(connection.mitogen_task.get('action') or '').split('.')[-1]
        if action != 'synchronize' or self.remote().startswith('rsync://'):
            return False
        if connection.mitogen_delegate:
            self.refuse_delegate()
            return False
        self.session.check()
        try:
            why = self.unwanted() or self.found(self.lent())
        except Unusable as e:
            why = to_native(e)
        if why:
            host = connection.get_option('host')
            display.vvv('mitogen: synchronize uses the ssh program: %s' % why, host=host)
        return True

    def remote(self):
        """The end of the transfer that is at the host."""
        return to_text(self.args.get('src' if self.args.get('mode') == 'pull' else 'dest') or '')

    def lent(self):
        """Return the socket of the ssh."""
        try:
            return self.lend(self.refused())
        except Unusable:
            raise
        except AnsibleError as e:   # the ssh says so, and the task fails as it does where ssh fails
            said = to_text(e).replace('Failed to connect to the host via ssh: ', '', 1).split('\n')
            return self.lend('; '.join(line.strip() for line in said if line.strip()))

    def found(self, socket):
        """Have the task find the ssh."""
        self.connection.transport = 'ssh'
        self.set('PATH', os.path.dirname(socket) + os.pathsep + os.environ.get('PATH', os.defpath))
        self.set('MITOGEN_WITH', socket)
        self.set('MITOGEN_SSH', os.path.join(os.path.dirname(socket), 'ssh'))

    def set(self, name, value):
        self.before[name] = os.environ.get(name)
        os.environ[name] = value

    def unwanted(self):
        """Why the task is to find the ssh program; '': it isn't."""
        if not self.connection.mitogen_wanted():
            return 'mitogen cannot be used for this host'
        options = self.args.get('rsync_opts') or []
        if not isinstance(options, list):
            options = to_text(options).split(',')
        if names_ssh([to_text(o) for o in options]):
            return 'rsync_opts name it'
        environment = self.connection.mitogen_task.get('environment') or []
        if not isinstance(environment, list):
            environment = [environment]
        if any('PATH' in e for e in environment):
            return 'the environment of the task has a PATH'
        host = OTHER_HOST.match(self.remote())
        if host and host.group(1).strip('[]') not in self.names():
            return 'the path names another host'
        return ''

    def refused(self):
        """Take the task's options of ssh in place of the connection's. Return why that can't be
        done; '': it can."""
        instead = {}
        if self.args.get('dest_port') is not None:
            instead['port'] = self.args['dest_port']
        if self.args.get('private_key'):
            instead['private_key_file'] = self.args['private_key']
        if not boolean(self.args.get('set_remote_user', True), strict=False):
            instead['remote_user'] = None
        if boolean(self.args.get('verify_host', False), strict=False):
            instead['host_key_checking'] = True
        option = self.session.option
        instead = dict((n, v) for n, v in instead.items() if to_text(option(n)) != to_text(v))
        if instead and option('mitogen_target'):
            return 'mitogen_target says how the host is reached: ' \
                "dest_port, private_key, set_remote_user and verify_host can't say it otherwise"
        self.session.instead = instead
        return ''

    def lend(self, refused):
        """Ask for the ssh; return the socket that it is to use. If refused isn't '', that is all
        that the ssh says."""
        connection = self.connection
        message = {'do': 'lend', 'names': self.names(), 'refused': refused}
        if connection.become and not refused and not self.args.get('rsync_path'):
            connection.become.build_become_command('rsync', connection._shell)
            message.update(connection.mitogen_account())
        return self.session.request(message)['socket']

    def names(self):
        """What ssh may be told to connect to."""
        session = self.session
        there = session.host_vars(session.name) or {}
        names = []
        for name in (session.option('host'), session.name, there.get('ansible_host')):
            user, _, host = to_text(name or '').rpartition('@')
            user, host = to_text(session.option('remote_user') or user), host.strip('[]')
            if user and host:
                names.append('%s@%s' % (user, host))
            if host:
                names.append(host)
        return names

    def refuse_delegate(self):
        """Refuse a host that would need an ssh of its own to get to the task's host."""
        own = to_text(self.variables.get('inventory_hostname') or '')
        there = self.session.host_vars(own) or {}
        other = self.connection.mitogen_delegate
        if other not in (own, there.get('ansible_host')):
            self.connection.mitogen_refusal = 'mitogen: synchronize by way of %s would need an ' \
                'ssh there that gets to %s: leave delegate_to out, or give that host ' \
                '`ansible_connection: ssh`' % (to_text(other), own)


class Connection(SSHConnection):
    """Does by the daemon what Ansible asks for, else as ssh does it. It is never `connected`, as
    the ssh plugin isn't: so Ansible makes one for each item of a loop, with that item's shell,
    become plugin and options."""

    has_pipelining = True

    def __init__(self, *args, **kwargs):
        self.mitogen_pid = int(kwargs.get('ansible_playbook_pid') or os.getpid())
        self.mitogen_delegate = None
        self.mitogen_task = {}      # what Ansible says of that
        self.mitogen_refusal = ''   # why the task executes nothing at the host
        self.mitogen_mkdir = ''     # the command that has last made a temporary directory
        super().__init__(*args, **kwargs)
        self.mitogen = Session(self)

    # What Ansible tells us

    def set_become_plugin(self, plugin):
        if plugin is not None:
            plugin = Become(plugin)
        super().set_become_plugin(plugin)
        self.mitogen.checked = False

    def is_pipelining_enabled(self, wrap_async=False):
        return self.get_option('pipelining') and not wrap_async and not C.DEFAULT_KEEP_REMOTE_FILES

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self.mitogen_task = task_keys or {}
        self.mitogen_delegate = self.mitogen_task.get('delegate_to')
        # all of a host's, as old releases have it for reset_connection
        if var_options and 'ansible_facts' in var_options:
            self.mitogen.told(var_options)

    def _resolve_option_variables(self, variables, templar):
        self.mitogen.told(variables)    # to recent releases' own
        return super()._resolve_option_variables(variables, templar)

    def update_vars(self, variables):
        Lent.give_back()
        super().update_vars(variables)
        name = self.mitogen_delegate
        self.mitogen.told((variables.get('ansible_delegated_vars') or {}).get(name) or {} if name
                          else variables, name)
        if self.mitogen_elsewhere():
            self.transport = 'mitogen'  # what runs ssh by itself can't get there
        if not Lent(self, variables).begin() and self.mitogen_wanted():
            try:
                self.mitogen.connect()
            except (Unusable, AnsibleConnectionFailure):
                pass    # the first request finds out again

    def mitogen_wanted(self):
        """Whether a daemon can do anything for this host."""
        return (not getattr(self._shell, '_IS_WINDOWS', False)
                and not self.get_option('private_key') and not self.get_option('pkcs11_provider')
                and self.mitogen.socket_path() not in MISSING)

    def mitogen_elsewhere(self):
        """Whether the host is somewhere else than its address says, or behind another."""
        return self.get_option('mitogen_target') or self.get_option('mitogen_via')

    def mitogen_do(self, message, **kwargs):
        """Do a request; None: it has to be left to the ssh plugin."""
        try:
            if self.mitogen_wanted():
                return self.mitogen.request(message, **kwargs)
            why = 'it cannot be used for this host'
            self.mitogen.check()
        except Unusable as e:
            hang_up(orderly=False)
            why = to_native(e)
        path = self.mitogen.socket_path()
        why = MISSING.get(path) or why
        if self.mitogen_elsewhere():    # where the ssh plugin can't get
            raise AnsibleConnectionFailure('mitogen: %s' % why)
        display.vvv('mitogen: left to the ssh plugin: %s' % why, host=self.get_option('host'))
        if MISSING.get(path):
            display.warning('mitogen: left to the ssh plugin: %s' % why)
            MISSING[path] = ''
        return None

    # What Ansible has us do

    def exec_command(self, cmd, in_data=None, sudoable=True):
        tty = bool(not in_data and sudoable and self.get_option('use_tty'))
        message = {'do': 'exec', 'command': to_text(cmd),
                   'shell': getattr(self._shell, 'executable', None) or '/bin/sh', 'tty': tty,
                   'ends': bool(self.get_option('mitogen_end_tasks'))}
        if self.mitogen_refusal:
            raise AnsibleActionFail(self.mitogen_refusal)
        made = self.become.made if sudoable and self.become else None
        state = self.become.state() if made else None
        if (made and (made[0] in cmd or shlex.quote(made[0])[1:-1] in cmd
                      or made[0] in self.mitogen_unquoted(cmd))):
            message.update(self.mitogen_account(), inner=to_text(made[1]))
        in_data = to_bytes(in_data or b'')
        pieces = [in_data[i:i + CHUNK] for i in range(0, len(in_data), CHUNK)]
        out = {'stdout': [], 'stderr': []}
        end = self.mitogen_do(message, pieces=pieces, put=len(pieces) > 1,
                              output=lambda stream, data: out[stream].append(data))
        if end is None:
            if state:
                self.become.state(state)
            return super().exec_command(cmd, in_data=in_data or None, sudoable=sudoable)
        display.vvv('mitogen: %s: %s' % (end.get('how', ''), to_native(cmd)),
                    host=self.get_option('host'))
        if end.get('release') and WARNED[:1] != b'1':
            WARNED[:1] = b'1'
            display.warning(NEW_RELEASE)
        if 'mkdir ' in to_native(cmd):
            self.mitogen_mkdir = self.mitogen_unquoted(cmd).replace(' && sleep 0', '')
        stderr = b''.join(out['stderr'])
        if tty:
            stderr += to_bytes(self.mitogen.closing())
        done = end.get('status', 0), b''.join(out['stdout']), stderr
        # A status of 255 means that ssh has failed, whichever program it comes from.
        if not self.mitogen_elsewhere():
            if done[0] == 255 and in_data:
                said = self.get_option('host'), to_native(stderr)
                raise AnsibleConnectionFailure(NOT_SENT % said)
            ssh._handle_error(0, b'ssh', done, self._play_context.no_log, self.get_option('host'))
        return done

    def mitogen_account(self):
        """What a request says of the account that the last command is to become."""
        made = self.become.made
        return {'account': self.become.account(*made), 'user': self.become.user(),
                'patience': int(self.get_option('timeout') or 10) + 2,
                'stdin': bool(self.become.plugin.name == 'sudo' and READS_STDIN.search(made[0]))}

    def mitogen_unquoted(self, cmd):
        try:
            return shlex.split(to_native(cmd))[-1]
        except (ValueError, IndexError):
            return ''

    def put_file(self, in_path, out_path):
        if not os.path.exists(to_bytes(in_path, errors='surrogate_or_strict')):
            raise AnsibleFileNotFound('file or module does not exist: %s' % to_native(in_path))
        with open(to_bytes(in_path, errors='surrogate_or_strict'), 'rb') as f:
            mode = os.fstat(f.fileno()).st_mode & 0o777
            end = self.mitogen_do({'do': 'put', 'name': to_text(out_path), 'mode': mode},
                                  pieces=iter(lambda: f.read(CHUNK), b''), put=True,
                                  output=lambda stream, data: None)
        if end is None:
            return super().put_file(in_path, out_path)
        return 0, b'', b''

    def fetch_file(self, in_path, out_path):
        with open(to_bytes(out_path, errors='surrogate_or_strict'), 'wb') as f:
            end = self.mitogen_do({'do': 'get', 'name': to_text(in_path)},
                                  output=lambda stream, data: f.write(data))
        if end is None:
            return super().fetch_file(in_path, out_path)
        return 0, b'', b''

    def reset(self):
        """In the main process, of a connection that may be another's."""
        if self.mitogen_wanted() and os.path.exists(self.mitogen.socket_path()):
            self.mitogen_do({'do': 'reset'})
        mark = self.mitogen.mark()
        ASKED[mark:mark + 1] = b'0'
        self.close()

    def close(self):
        hang_up()
        super().close()


this_process()      # before there are tasks' processes
