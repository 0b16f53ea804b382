"""Compares minified files with their originals, by this interpreter's own tokenize and ast.

Argument: a file of lines `original TAB minified TAB tokens TAB 1 if lines must agree else 0`; tokens holds our lexer's tokens
of the original, a line each: kind, start, end, or is `-` and why there are none. Prints one line a difference, and last `checked N skipped M`.
"""
import ast
import io
import sys
import tokenize
import warnings

warnings.simplefilter('ignore')
sys.setrecursionlimit(20000)
sys.dont_write_bytecode = True
KINDS = ('NAME', 'NUMBER', 'STRING', 'OP', 'NEWLINE', 'INDENT', 'DEDENT')
BODIES = ('Module', 'FunctionDef', 'AsyncFunctionDef', 'ClassDef')


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def is_text(stmt):
    if type(stmt).__name__ != 'Expr':
        return False
    v = stmt.value
    return type(v).__name__ in ('Str', 'Bytes') or \
        type(v).__name__ == 'Constant' and isinstance(v.value, (str, bytes))


def statements(node):
    """The body of a function, class or module without the strings it begins with; a lone pass is nothing."""
    body = list(node.body)
    while body and is_text(body[0]):
        del body[0]
    if len(body) == 1 and type(body[0]).__name__ == 'Pass':
        return []
    return body


def children(node):
    for name in node._fields:
        if name == 'docstring':     # 3.7's betas only
            continue
        if name == 'body' and type(node).__name__ in BODIES:
            yield statements(node)
        else:
            yield getattr(node, name, None)


def difference(a, b, lines):
    """Where two trees differ first, or None."""
    todo = [(a, b, 1)]
    while todo:
        a, b, line = todo.pop()
        if type(a) is not type(b):
            return 'line %s: %r became %r' % (line, a, b)
        if isinstance(a, list):
            if len(a) != len(b):
                return 'line %s: %d items became %d' % (line, len(a), len(b))
            todo.extend([(x, y, line) for x, y in zip(a, b)])
        elif isinstance(a, ast.AST):
            line = getattr(a, 'lineno', line)
            if lines and getattr(b, 'lineno', line) != line:
                return 'line %s: moved to line %s' % (line, b.lineno)
            todo.extend([(x, y, line) for x, y in zip(children(a), children(b))])
        elif repr(a) != repr(b):
            return 'line %s: %r became %r' % (line, a, b)


def visible(tokens):
    """Operators one character at a time, and no end of line behind the last visible token."""
    out = []
    for kind, text in tokens:
        if kind == 'OP':
            out.extend([(kind, c) for c in text])
        else:
            out.append((kind, text))
    tail = []
    while out and out[-1][0] in ('NEWLINE', 'DEDENT'):
        tail.append(out.pop())
    return out + [t for t in tail if t[0] == 'DEDENT']


def theirs(data):
    """(kind, text) as tokenize sees them, an f-string as one STRING."""
    if sys.version_info[0] == 2:
        stream = tokenize.generate_tokens(io.BytesIO(data).readline)
    else:
        stream = tokenize.tokenize(io.BytesIO(data).readline)
    lines = data.decode(encoding(data)).splitlines(True) if sys.version_info[0] > 2 else None
    depth = 0
    for tok in stream:
        kind = tokenize.tok_name[tok[0]]
        if kind in ('FSTRING_START', 'TSTRING_START'):
            if not depth:
                start = tok[2]
            depth += 1
        elif kind in ('FSTRING_END', 'TSTRING_END'):
            depth -= 1
            if not depth:
                yield 'STRING', span(lines, start, tok[3])
        elif depth:
            pass
        elif kind in ('ASYNC', 'AWAIT'):
            yield 'NAME', tok[1]
        elif kind == 'ERRORTOKEN' and tok[1].strip():
            raise SyntaxError('ERRORTOKEN %r' % tok[1])
        elif kind in KINDS:
            yield kind, tok[1] if kind in ('NAME', 'NUMBER', 'STRING', 'OP') else ''


def span(lines, start, end):
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1]:end[1]]
    return ''.join([lines[start[0] - 1][start[1]:]] + lines[start[0]:end[0] - 1] + [lines[end[0] - 1][:end[1]]])


def encoding(data):
    return tokenize.detect_encoding(io.BytesIO(data).readline)[0]


def ours(data, path):
    name = None
    if sys.version_info[0] > 2:
        name = encoding(data)
    for line in read(path).decode('ascii').splitlines():
        kind, start, end = line.split()
        text = data[int(start):int(end)]
        if name:
            text = text.decode(name)
        yield str(kind), text if kind in ('NAME', 'NUMBER', 'STRING', 'OP') else ''


def tokens_differ(data, path):
    if b'\r' in data or b'\f' in data:
        return None     # splitlines and tokenize disagree about these
    try:
        a = visible(theirs(data))
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return None
    b = visible(ours(data, path))
    for x, y in zip(a, b):
        if x != y:
            return 'tokens: %r read as %r' % (x, y)
    if len(a) != len(b):
        return 'tokens: %d read as %d' % (len(a), len(b))


def check(original, minified, tokens, lines):
    """A difference, None, or False where this interpreter doesn't take the original."""
    data = read(original)
    try:
        before = compile(data, original, 'exec', ast.PyCF_ONLY_AST, 1)
    except (SyntaxError, ValueError, TypeError, MemoryError, RuntimeError):
        return False
    if tokens[0] == '-':
        return 'not understood: ' + tokens[1:]
    if lines:
        found = tokens_differ(data, tokens)
        if found:
            return found
    try:
        after = compile(read(minified), minified, 'exec', ast.PyCF_ONLY_AST, 1)
    except (SyntaxError, ValueError) as e:
        return 'does not compile: %s' % e
    return difference(before, after, lines)


def main():
    checked = skipped = 0
    for line in io.open(sys.argv[1], encoding='utf-8'):
        original, minified, tokens, lines = line.rstrip('\n').split('\t')
        found = check(original, minified, tokens, lines == '1')
        if found is False:
            skipped += 1
            continue
        checked += 1
        if found:
            print('%s: %s' % (original, found))
    print('checked %d skipped %d' % (checked, skipped))


main()
