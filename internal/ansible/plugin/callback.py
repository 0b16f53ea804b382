# A callback plugin for Ansible that says, at the end, what `mitogen daemon` has done for each host.
#
# SPDX-License-Identifier: GPL-3.0-or-later
DOCUMENTATION = r'''
name: mitogen
type: aggregate
short_description: what the mitogen connection has done for each host
author: the Mitogen project
description:
  - Prints a line for each host at the end of the playbook, with connections made, requests that had
    to go there and back, modules that ran in a fork of a warm interpreter (each saves the start of
    an interpreter, and the transfer of the module), commands that were executed as they are, file
    operations that nothing waited for, and bytes each way.
  - Is to be enabled, by C(callbacks_enabled = mitogen).
'''

import json
import os

from ansible.plugins.callback import CallbackBase

from place import PlaceError, dial, socket_directory    # unpackTo puts place.py here

LINE = ('%(host)-26s : logins=%(logins)-4d round_trips=%(round_trips)-6d modules=%(modules)-6d '
        'literal=%(literal)-4d files=%(files)-5d up=%(bytes_down)d down=%(bytes_up)d')


def printable(name):
    # A name from an inventory, of which nothing acts on a terminal or is on a line of its own.
    return ''.join([c if c.isprintable() else '\\u%04x' % ord(c) for c in name])


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'aggregate'
    CALLBACK_NAME = 'mitogen'
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_stats(self, stats):
        directory = socket_directory()
        own = os.path.join(directory, 'ansible-%d.sock' % os.getpid())
        shared = os.environ.get('MITOGEN_SOCKET') or os.path.join(directory, 'daemon.sock')
        for path in (own, shared):
            try:
                self.show(self.ask(path))
            except PlaceError as e:
                self._display.warning('mitogen: %s' % e)
                return
            except (OSError, ValueError):
                continue

    def show(self, works):
        if works:
            self._display.banner('MITOGEN')
        for w in works:
            w['host'] = printable(w['host'])
            self._display.display(LINE % w)

    def ask(self, path):
        s = dial(path, timeout=5)
        try:
            s.sendall(b'{"op": "works"}\n')
            lines = s.makefile('rb')
            try:
                return json.loads(lines.readline().decode('utf-8')).get('works') or []
            finally:
                lines.close()
        finally:
            s.close()
