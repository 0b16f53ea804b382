"""Evaluates conditions, one a line of the file that is the argument; what stands above the first empty line is executed before.

Prints what the target is, and then T, F or E (an error) for each.
"""
import os
import platform
import sys
import warnings

warnings.simplefilter('ignore')
with open(sys.argv[1]) as f:
    head, conditions = f.read().split('\n\n', 1)
names = {}
exec(head, names)
print('%d %d %d' % sys.version_info[:3])
print(platform.python_implementation().lower())
print(sys.platform)
print(os.name)
for line in conditions.splitlines():
    try:
        print('T' if eval(line, names) else 'F')
    except Exception:
        print('E')
