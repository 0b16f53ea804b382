"""Runs cells in a real Jupyter kernel, each of which says what it has to print."""
import sys

import nbformat
from nbclient import NotebookClient

CELLS = []


def cell(want, text):
    """A cell, and what its output has in it; 'raises NAME' first: what it raises."""
    CELLS.append((want, text.strip('\n')))


cell([], '''
import mitogo, os, sys
from dataclasses import dataclass
from typing import List
m = mitogo.Engine()
c = m.connect('local')
FACTOR = 2
''')
# Functions of cells, with the functions, classes and variables of other cells that they name.
cell([], '''
def twice(n):
    return n * FACTOR
''')
cell(['42 False'], '''
def work(n):
    return twice(n), os.getpid()

n, pid = c.call(work, 21)
print(n, pid == os.getpid())
''')
# What is defined again is seen, whether it is the function, one that it names, or a variable.
cell(['63'], '''
FACTOR = 3
print(c.call(work, 21)[0])
''')
cell(['121'], '''
def twice(n):
    return n * 100 + 21

print(c.call(work, 1)[0])
''')
cell(['new 5'], '''
def work(n):
    return 'new %d' % n

print(c.call(work, 5))
''')
# Classes of cells come back, and go there: as an argument that no function names, too.
cell(["Facts(host='there', sizes=[1, 2])", '6'], '''
@dataclass
class Facts:
    host: str
    sizes: List[int]

    def total(self):
        return sum(self.sizes) * 2

def facts() -> Facts:
    return Facts('there', [1, 2])

got = c.call(facts)
print(got)

def total(thing):
    return thing.total()

print(c.call(total, got))
''')
cell(['__main__.Facts', "Colour.RED 1", "Point(x=1, y=2)", 'none'], '''
import enum
from typing import NamedTuple, Optional, Tuple

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Point(NamedTuple):
    x: int
    y: int

def name_of(thing):
    return '%s.%s' % (type(thing).__module__, type(thing).__name__)

def picked(which: Colour) -> Tuple[Colour, Point]:
    return which, Point(1, 2)

def nothing() -> Optional[Facts]:
    pass

print(c.call(name_of, got))
colour, point = c.call(picked, Colour.RED)
print(colour, colour.value, point, colour is Colour.RED)
print(c.call(nothing) or 'none')
''')
# A class without a method, defined again, and once more as it was first.
ONLY = '''
@dataclass
class Only:
    a: int = %d

def only() -> Only:
    return Only()

print(c.call(only), 'of', c.call(repr, Only()))
'''
cell(['Only(a=1) of Only(a=1)'], ONLY % 1)
cell(['Only(a=2) of Only(a=2)'], ONLY % 2)
cell(['Only(a=1) of Only(a=1)'], ONLY % 1)
cell(['7 7'], '''
class Sized:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

print(c.call(len, Sized(7)), c.call('operator:length_hint', Sized(7)))
''')
cell(['8'], '''
class Sized:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n + 1

print(c.call(len, Sized(7)))
''')
# A function that is an argument; a decorator; a default; a method of a class.
cell(['[1, 4, 9]', '10', '9', '3'], '''
import functools

def square(n, power=2):
    return n ** power

def mapped(fn, items):
    return [fn(i) for i in items]

print(c.call(mapped, square, [1, 2, 3]))

def more(fn):
    @functools.wraps(fn)
    def called(*args):
        return fn(*args) + 1
    return called

@more
def decorated(n):
    return square(n)

print(c.call(decorated, 3))
print(c.call(functools.partial(square, 3)))

class Tool:
    @classmethod
    def three(cls):
        return 3

print(c.call(Tool.three))
''')
# A magic command and a line for the shell in the cell with the function.
cell(['CPU times', '11'], '''
%matplotlib --list
!true
def plain():
    return 11
%time print(c.call(plain))
''')
# An exception shows the remote traceback, and is one of its class.
cell(['raises ZeroDivisionError', ' by zero', 'In local:', 'in inner', 'in failing', '1 // 0'], '''
def inner():
    return 1 // 0

def failing():
    return inner()

c.call(failing)
''')
cell(['caught 2'], '''
def missing():
    open('/nonexistent/file')

try:
    c.call(missing)
except FileNotFoundError as e:
    print('caught', e.errno)
''')
# What is written there comes out in the cell.
cell(['written there'], '''
def writes():
    print('written there')

c.call(writes)
''')
# A generator.
cell(['[0, 1, 4]'], '''
def squares(n):
    for i in range(n):
        yield square(i)

print(list(c.stream(squares, 3)))
''')
# As another user.
cell(['sudo'], '''
root = m.connect('sudo') if SUDO else None
print('sudo', root.call(work, 6) if root else '')
''')
# What fails as it is defined there fails its own calls, and no later ones.
cell(['raises RuntimeError', 'not there'], '''
HERE = os.getpid()
def only_here(fn):
    if os.getpid() != HERE:
        raise RuntimeError('not there')
    return fn

@only_here
def marked(n):
    return n

c.call(marked, 1)
''')
cell(['12'], '''
print(c.call(square, 3) + 3)
''')
# What can't be sent says what to do.
cell(['raises TypeError', 'handle', 'pass it as an argument'], '''
handle = open('/dev/null')
def uses():
    return handle.name
c.call(uses)
''')
cell(['raises TypeError', 'lambda'], '''
c.call(lambda: 1)
''')
cell([], 'm.close()')
# asyncio, with await at the top level; the engine lives across cells.
cell(['[new 1, new 2]'], '''
import asyncio, mitogo.aio
a = mitogo.aio.Engine()
await a.__aenter__()
here = a.connect('local')
x, y = await asyncio.gather(here.call(work, 1), here.call(work, 2))
print('[%s, %s]' % (x, y))
''')
cell(['0 1 4 .', "local 9"], '''
async for i in here.stream(squares, 3):
    print(i, end=' ')
print('.')
async for r in a.fleet(['local']).each(square, 3):
    print(r.target, r.value)
''')
cell(['late'], '''
import time
def sleeps():
    time.sleep(60)

try:
    await asyncio.wait_for(here.call(sleeps), 0.2)
except asyncio.TimeoutError:
    print('late')
''')
cell(['after 9'], '''
print('after', await here.call(square, 3))
await a.close()
''')


def said(cell):
    text = ''
    for o in cell.outputs:
        text += o.get('text', '') + ''.join(o.get('traceback', ()))
        text += str(o.get('data', {}).get('text/plain', ''))
    return text


def main():
    nb = nbformat.v4.new_notebook()
    texts = [text for _, text in CELLS]
    sudo = 'sudo' in sys.argv
    texts[0] += '\nSUDO = %r' % sudo
    nb.cells = [nbformat.v4.new_code_cell(text) for text in texts]
    client = NotebookClient(nb, timeout=120, allow_errors=True, kernel_name='python3')
    with client.setup_kernel():
        for i, (want, text) in enumerate(CELLS):
            raises = [w for w in want if w.startswith('raises ')]
            client.execute_cell(nb.cells[i], i)
            got = said(nb.cells[i])
            failed = [o.ename for o in nb.cells[i].outputs if o.output_type == 'error']
            if failed != [w[7:] for w in raises] or not all(
                    w in plain(got) for w in want if w not in raises):
                print('cell %d:\n%s\n--- got:\n%s\n--- want %r' % (i, texts[i], plain(got), want))
                if '-k' not in sys.argv:
                    sys.exit(1)
    print('all cells')


def plain(text):
    import re
    return re.sub('\x1b\\[[0-9;]*m', '', text)


if __name__ == '__main__':
    main()
