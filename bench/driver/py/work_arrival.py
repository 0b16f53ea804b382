"""Waits until what django.db.models needs has arrived and doesn't import it: its transfer without
the computing behind."""
import os
import time

import _mitogen

if os.environ.get('BENCH_IMPORT'):
    import django.db.models


def loaded():
    while (_mitogen.OPEN or not _mitogen.ANNOUNCED
           or [i for i in _mitogen.ANNOUNCED if i not in _mitogen.COMPLETE]):
        time.sleep(.01)
    return 1
