"""Imports requests when it is imported itself."""
import sys

import requests


def loaded():
    mine = ('requests', 'urllib3', 'idna', 'certifi', 'chardet', 'charset_normalizer')
    return len([name for name in sys.modules if name.split('.')[0] in mine])
