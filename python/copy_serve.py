"""Runs what a copy asks for: the end of `_mitogen_put`, `_mitogen_get`, `_mitogen_syncput` and
`_mitogen_syncget`.
"""
from copy_records import FAILURES, OUT, SERVE, os, record, report, say, unpack
(kind, data) = record()
try:
    SERVE[kind](unpack('>L', data[:4])[0], data[4:])
except FAILURES:
    report(data[4:])
say('.')
OUT.flush()
os._exit(0)
