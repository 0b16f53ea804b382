"""Imports django.db.models when it is imported itself."""
import sys

import django.db.models


def loaded():
    return len([name for name in sys.modules
                if name.split('.')[0] in ('django', 'asgiref', 'sqlparse', 'pytz')])
