# Becomes somebody by doas, which asks on its terminal. Ansible's own plugin for that is in a collection, community.general.
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = '''
name: mito_doas
short_description: doas
description: For tests.
options:
  become_user: {description: Who., default: root, vars: [{name: ansible_become_user}]}
  become_exe: {description: Program., default: doas, vars: [{name: ansible_become_exe}]}
  become_flags: {description: Flags., default: '', vars: [{name: ansible_become_flags}]}
  become_pass: {description: Password., required: false, vars: [{name: ansible_become_password}]}
'''

from ansible.plugins.become import BecomeBase


class BecomeModule(BecomeBase):
    name = 'mito_doas'
    fail = ('Authentication failed',)

    def check_password_prompt(self, b_output):
        return b_output.startswith(b'doas (')

    def build_become_command(self, cmd, shell):
        super(BecomeModule, self).build_become_command(cmd, shell)
        self.prompt = True
        return 'doas -u %s %s -c %s' % (self.get_option('become_user'), shell.executable, self._build_success_command(cmd, shell, noexe=True))
