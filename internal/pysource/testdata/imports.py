"""Compares our list of a file's imports with that of this interpreter's own ast.

Argument: a file of lines `original TAB list`; a list has one import a line: line, level, module, names, places (- where there are
none, as whereNames says), and last one line of main guards, or is `- why`. Prints one line a difference, and last `checked N skipped M, K imports`.
"""
import ast
import io
import re
import sys
import warnings

warnings.simplefilter('ignore')
sys.setrecursionlimit(20000)
sys.dont_write_bytecode = True
CATCH = ('ImportError', 'ModuleNotFoundError', 'Exception', 'StandardError', 'BaseException')
PLACES = ('function', 'typing', 'optional', 'handler', 'else', 'main', 'imported', 'dynamic')
FUNCTIONS = ('FunctionDef', 'AsyncFunctionDef')
MODULE = re.compile(r'(\.*)([^\W\d]\w*(?:\.[^\W\d]\w*)*)$', re.UNICODE)


def kind(node):
    return type(node).__name__


def literal(node):
    """A text or number, or None."""
    if kind(node) == 'Str':
        return node.s
    if kind(node) == 'Num':
        return node.n
    return getattr(node, 'value', None) if kind(node) in ('Constant', 'NameConstant') else None


def truth(node, main, checking):
    """What is known of a condition: True, False or None."""
    k = kind(node)
    if k == 'UnaryOp' and kind(node.op) == 'Not':
        t = truth(node.operand, main, checking)
        return None if t is None else not t
    if k == 'BoolOp':
        stop = kind(node.op) == 'Or'
        all_ = [truth(v, main, checking) for v in node.values]
        return stop if stop in all_ else None if None in all_ else not stop
    if k == 'Name' and node.id == 'TYPE_CHECKING' or k == 'Attribute' and node.attr == 'TYPE_CHECKING':
        return checking
    if k == 'Name' and node.id in ('True', 'False'):
        return node.id == 'True'
    if k in ('Num', 'Str', 'NameConstant', 'Constant'):
        value = literal(node)
        return bool(value) if value is not Ellipsis and not isinstance(value, (float, complex)) else None
    if k == 'Compare' and len(node.ops) == 1 and kind(node.ops[0]) in ('Eq', 'NotEq'):
        sides = [node.left, node.comparators[0]]
        names = [n for n in sides if kind(n) == 'Name' and n.id == '__name__']
        texts = [literal(n) for n in sides if literal(n) and is_text(literal(n))]
        if names and texts and (main or main is False and texts[0] == '__main__'):
            return (main == (texts[0] == '__main__')) == (kind(node.ops[0]) == 'Eq')
    if k == 'Compare' and len(node.ops) == 1 and kind(node.ops[0]) in ('In', 'NotIn') and main:
        text = literal(node.left)
        if is_text(text) and kind(node.comparators[0]) == 'Name' and node.comparators[0].id == '__name__':
            return (text in '__main__') == (kind(node.ops[0]) == 'In')
    if k == 'Call' and kind(node.func) == 'Attribute' and node.func.attr == 'startswith' and len(node.args) == 1:
        if kind(node.func.value) == 'Name' and node.func.value.id == '__name__' and main and literal(node.args[0]):
            return '__main__'.startswith(literal(node.args[0]))
    return None


def is_text(value):
    return isinstance(value, (type(''), type(u'')))


def places(test, negated):
    def known(main, checking):
        t = truth(test, main, checking)
        return None if t is None else t != negated
    found = set()
    if known(None, False) is False and known(None, None) is not False:
        found.add('typing')
    a, b = known(True, False), known(False, False)
    if b is False and a is not False:
        found.add('main')
    if a is False and b is not False:
        found.add('imported')
    return found


def names_in(node):
    for n in ast.walk(node):
        if kind(n) == 'Name':
            yield n.id
        elif kind(n) == 'Attribute':
            yield n.attr


def catches(handler):
    names = [handler.type, handler.name]
    if handler.type is None:
        return True
    return any(n == c for part in names if isinstance(part, ast.AST) for n in names_in(part) for c in CATCH)


def suppresses(node):
    found = [n for item in getattr(node, 'items', [node]) for n in names_in(item) if kind(item) == 'withitem'] or \
        [n for n in names_in(getattr(node, 'context_expr', ast.Pass()))]
    return 'suppress' in found and any(n in CATCH for n in found)


def loop_of(node):
    """The name and literal texts of a for, (None, ()) if it isn't over such."""
    if kind(node.target) == 'Name' and kind(node.iter) in ('Tuple', 'List'):
        elements = [e for e in node.iter.elts if kind(e) != 'JoinedStr']
        texts = [literal(e) for e in elements]
        if len(texts) <= 64 and all(isinstance(t, (bytes, type(u''))) for t in texts):
            return node.target.id, texts
    return None, ()


class Scan(object):
    def __init__(self):
        self.loop = None, ()
        self.found = []
        self.guards = []

    def add(self, node, level, module, names, where):
        ordered = [p for p in PLACES if p in where]
        self.found.append((node.lineno, level, module or '', ','.join(names or []), ','.join(ordered) or '-'))

    def body(self, nodes, where):
        for n in nodes:
            self.visit(n, where)

    def visit(self, node, where):
        method = getattr(self, 'visit_' + kind(node), None)
        if method:
            method(node, where)
        elif kind(node) not in ('JoinedStr', 'TemplateStr'):
            for child in ast.iter_child_nodes(node):
                self.visit(child, where)

    def visit_Import(self, node, where):
        for a in node.names:
            self.add(node, 0, a.name, None, where)

    def visit_ImportFrom(self, node, where):
        self.add(node, node.level or 0, node.module, [a.name for a in node.names], where)

    def visit_Lambda(self, node, where):
        self.visit(node.args, where)
        self.visit(node.body, where | set(['function']))

    def visit_FunctionDef(self, node, where):
        for name, value in ast.iter_fields(node):
            for n in value if isinstance(value, list) else [value]:
                if isinstance(n, ast.AST) and name != 'body':
                    self.visit(n, where)
        self.within((None, ()), node.body, where - set(['optional', 'handler', 'else']) | set(['function']))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node, where, guards=None):
        self.visit(node.test, where)
        then = places(node.test, False)
        self.body(node.body, where | then)
        self.body(node.orelse, where | places(node.test, True))

    def visit_Try(self, node, where):
        caught = set(['optional']) if any(catches(h) for h in node.handlers) else set()
        self.body(node.body, where | caught)
        caught = False
        for h in node.handlers:
            if h.type is not None:
                self.visit(h.type, where)
            caught = caught or catches(h)
            self.body(h.body, where | set(['handler'] if catches(h) else []))
        self.body(node.orelse, where | set(['else'] if caught else []))
        self.body(getattr(node, 'finalbody', []), where)

    visit_TryExcept = visit_TryStar = visit_Try

    def visit_With(self, node, where):
        for name, value in ast.iter_fields(node):
            for n in value if isinstance(value, list) else [value]:
                if isinstance(n, ast.AST) and name != 'body':
                    self.visit(n, where)
        self.body(node.body, where | set(['optional'] if suppresses(node) else []))

    visit_AsyncWith = visit_With

    def visit_For(self, node, where):
        self.visit(node.target, where)
        self.visit(node.iter, where)
        self.within(loop_of(node), node.body, where)
        self.body(node.orelse, where)

    visit_AsyncFor = visit_For

    def within(self, loop, nodes, where):
        around, self.loop = self.loop, loop
        self.body(nodes, where)
        self.loop = around

    def visit_Call(self, node, where):
        for child in ast.iter_child_nodes(node):
            self.visit(child, where)
        f = node.func
        relative = kind(f) == 'Name' and f.id == 'import_module' or kind(f) == 'Attribute' and f.attr == 'import_module' and \
            kind(f.value) == 'Name' and f.value.id == 'importlib'
        if not relative and not (kind(f) == 'Name' and f.id == '__import__') or not node.args:
            return
        arg = node.args[0]
        for name in self.loop[1] if kind(arg) == 'Name' and arg.id == self.loop[0] else [literal(arg)]:
            self.imported(node, name, relative, where)

    def imported(self, node, name, relative, where):
        if isinstance(name, bytes) and bytes is str:
            name = name.decode('latin-1')
        m = MODULE.match(name) if isinstance(name, type(u'')) else None
        if not m:
            return
        if m.group(1):
            package = (node.args[1:2] + [k.value for k in node.keywords if k.arg == 'package'] + [None])[0]
            if not relative or kind(package) != 'Name' or package.id not in ('__package__', '__name__'):
                return
        self.add(node, len(m.group(1)), m.group(2), None, where | set(['dynamic']))


def last_line(nodes):
    return max([getattr(n, 'end_lineno', None) or 0 for top in nodes for n in ast.walk(top)])


def guards(tree):
    """first-last of each main guard at module level; first only where this Python doesn't know the last line."""
    found = []
    for node in tree.body:
        around = set()
        while kind(node) == 'If':
            around = around | places(node.test, False)
            if 'main' in around:
                found.append('%d-%d' % (node.lineno, last_line(node.body)))
            around = places(node.test, True)
            node = node.orelse[0] if len(node.orelse) == 1 and kind(node.orelse[0]) == 'If' else None
    return ' '.join(found)


def expected(data, path):
    tree = compile(data, path, 'exec', ast.PyCF_ONLY_AST, 1)
    scan = Scan()
    scan.body(tree.body, set())
    return sorted(scan.found), guards(tree)


def ours(path):
    found = []
    lines = io.open(path, encoding='utf-8').read().split('\n')
    for line in lines[:-1]:
        f = line.split('\t')
        found.append((int(f[0]), int(f[1])) + tuple(f[2:]))
    return sorted(found), lines[-1]


def check(original, found):
    with open(original, 'rb') as f:
        data = f.read()
    try:
        want, guard = expected(data, original)
    except (SyntaxError, ValueError, TypeError, MemoryError, RuntimeError):
        return False
    if found[0] == '-':
        return 'not understood: ' + found[1:], 0
    got, got_guard = ours(found)
    if got != want:
        return 'missing %s, not there %s' % ([w for w in want if w not in got], [g for g in got if g not in want]), 0
    if sys.version_info < (3, 8):
        guard = re.sub('-[0-9]+', '', guard)
        got_guard = re.sub('-[0-9]+', '', got_guard)
    if guard != got_guard:
        return 'guards %s, not %s' % (got_guard, guard), 0
    return None, len(want)


def main():
    checked = skipped = imports = 0
    for line in io.open(sys.argv[1], encoding='utf-8'):
        original, found = line.rstrip('\n').split('\t')
        result = check(original, found)
        if result is False:
            skipped += 1
            continue
        checked += 1
        imports += result[1]
        if result[0]:
            print('%s: %s' % (original, result[0]))
    print('checked %d skipped %d, %d imports' % (checked, skipped, imports))


main()
