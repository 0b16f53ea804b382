# Writes what came of each task as a line of JSON to $MITOGEN_RECORD.
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = '''
name: record
type: notification
short_description: results as JSON
description: One line for each result.
'''

import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'notification'
    CALLBACK_NAME = 'record'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.file = open(os.environ['MITOGEN_RECORD'], 'a')

    def record(self, what, result):
        task = result.task if hasattr(result, 'task') else result._task
        host = result.host if hasattr(result, 'host') else result._host
        value = result.result if hasattr(result, 'result') else result._result
        self.file.write(json.dumps([task.get_name(), host.get_name(), what, value], default=str, sort_keys=True) + '\n')
        self.file.flush()

    def v2_runner_on_ok(self, result):
        self.record('ok', result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.record('failed', result)

    def v2_runner_on_unreachable(self, result):
        self.record('unreachable', result)

    def v2_runner_on_skipped(self, result):
        self.record('skipped', result)

    def v2_on_file_diff(self, result):
        self.record('diff', result)
