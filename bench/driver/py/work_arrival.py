"""Waits until django.db.models has arrived and doesn't import it: its transfer without the computing behind."""
import os
import time

import _mitogen

if os.environ.get('BENCH_IMPORT'):
    import django.db.models


def loaded():
    while 'django.db.models' not in _mitogen.MODULES:
        time.sleep(.01)
    return 1
