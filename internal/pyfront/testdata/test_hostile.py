"""A context that another user has taken over: it may send any frame, and any pickle."""

import collections
import decimal
import fractions
import io
import ipaddress
import json
import os
import pathlib
import pickle
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import uuid

import lies
import mitogo
import sample
from mitogo import _asking, _call, _engine, _link, _state, _values

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable


class Lie:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Host:
    made = []

    def __init__(self):
        self.made.append(self)


class Deque(collections.deque):
    pass


class Setter:
    @property
    def x(self):
        return 1

    @x.setter
    def x(self, value):
        raise SystemExit


class Adder:
    def append(self, value):
        raise SystemExit


class Taker:
    def __setitem__(self, key, value):
        raise SystemExit


class Pair(collections.namedtuple('Pair', 'a b')):
    def __new__(cls, *args):
        raise SystemExit


def named(module, name):
    """A pickle's beginning, up to where it has what a name stands for."""
    parts = [b'\x8c' + bytes([len(t)]) + t.encode() for t in (module, name)]
    return b'\x80\x04' + b''.join(parts) + b'\x93'


def read(value, allowed=None):
    return _values.load(
        value if isinstance(value, bytes) else pickle.dumps(value, 4),
        allowed or {},
        lambda: ('web1', 'f'),
    )


class Pickles(unittest.TestCase):
    """What is read calls nothing that isn't on the list."""

    def setUp(self):
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        self.mark = os.path.join(d.name, 'mark')

    def test_names(self):
        shell = 'touch ' + self.mark
        lies = [
            Lie(os.system, (shell,)),
            Lie(eval, ('open(%r, "w")' % self.mark,)),
            Lie(exec, ('open(%r, "w")' % self.mark,)),
            Lie(open, (self.mark, 'w')),
            Lie(getattr, ('x', 'upper')),
            Lie(__import__, ('os',)),
            Lie(type, ('X', (), {})),
            Lie(object),
            Lie(print, ('x',)),
            Lie(map, (int, ['1'])),
            Lie(sample.Unknown, ()),
            [1, {'a': Lie(os.system, (shell,))}],
            os.system,
            sample.facts,
            sys.exit,
            Lie(os.kill, (os.getpid(), 0)),
        ]
        for lie in lies:
            if isinstance(lie, Lie) and len(lie.reduced) == 1:
                lie = Lie(object, ())
            with self.assertRaises(TypeError):
                read(lie)
        self.assertFalse(os.path.exists(self.mark))

    def test_attributes_of_what_is_listed(self):
        for module, name in (
            ('datetime', 'datetime.__class__'),
            ('os', 'stat_result.__class__'),
            ('builtins', 'list.__class__'),
            ('mitogo._values', 'os'),
            ('__main__', 'os'),
            ('pathlib', 'os.system'),
            ('time', 'sleep'),
            ('subprocess', 'Popen'),
            ('subprocess', 'run'),
            ('shutil', 'rmtree'),
            ('decimal', 'setcontext'),
        ):
            with self.assertRaises(TypeError):
                read(named(module, name) + b'.')

    def test_memory(self):
        for lie in (
            Lie(bytearray, (1 << 40,)),
            Lie(bytes, (1 << 40,)),
            b'\x80\x04\x8e' + struct.pack('<Q', 1 << 60) + b'x.',
            b'',
            b'\x80\x04',
            b'garbage',
            b'\x80\x04N',
            b'\x80\x04(',
            b'\x80\x06N.',
            b'\x80\x04\x82\x01.',
        ):
            if lie != b'':
                with self.assertRaises(TypeError):
                    read(lie)

    def test_more_than_was_sent(self):
        """Few bytes don't become many, nor a long computation."""
        many, big = range(1 << 20), list(range(1000))
        for lie in [
            Lie(cls, (many,))
            for cls in (list, tuple, set, frozenset, Deque, collections.Counter, os.stat_result)
        ] + [
            Lie(collections.deque, (many, 3)),
            Lie(fractions.Fraction, ('1e3000000',)),
            Lie(fractions.Fraction, ('1' * 5000,)),
            Lie(decimal.Decimal, ('1E+99999999',)),
            Lie(int, ('9' * 5000,)),
            Lie(int, (b'9' * 5000,)),
            Lie(str, (b'x', 'idna')),
            named('mitogen', 'Blob') + b'J' + struct.pack('<i', 1 << 29) + b'\x85R.',
            named('mitogen', 'Secret') + b'J' + struct.pack('<i', 1 << 29) + b'\x85R.',
            [big] + [Lie(list, (big,)) for i in range(1000)],
            b'x' * 100 + b'.',
            b'\x80\x02Nr\0\0\0\x04.',
            b'\x80\x02Np67108864\n.',
            b'\x80\x02Np' + b'9' * 5000 + b'\n.',
            b'\x80\x02L' + b'9' * 5000 + b'L\n.',
            b'\x80\x02I' + b'9' * 5000 + b'\n.',
            b'\x80\x04\x96' + struct.pack('<Q', 1 << 40) + b'x.',
            b'\x80\x04\x8b' + struct.pack('<I', 1 << 30) + b'x.',
        ]:
            with self.assertRaises(TypeError, msg=str(lie)[:100]):
                read(lie, _values.of_types([Deque]))

    def test_what_is_read_is_whole(self):
        d = collections.defaultdict(list, {'a': [1]})
        for v in [range(5), slice(3), d, uuid.UUID(int=5), ipaddress.ip_network('10.0.0.0/8')] + [
            fractions.Fraction(1, 3),
            decimal.Decimal('1E+99'),
            collections.deque([1], 3),
            os.stat('/'),
            [pathlib.PurePosixPath('/' + 'a' * 99, str(i)) for i in range(99)],
            1j,
            sample.library(),
        ]:
            for proto in (3, 4):
                got = read(pickle.dumps([v, v], proto))
                self.assertEqual((got, type(got[0])), ([v, v], type(v)))
        self.assertIs(read(d).default_factory, list)

    def test_the_programs_classes_stay(self):
        """What a pickle sets of a class, a function or a member of an enum is lost with it."""
        allowed = _values.of_types([Host, sample.Colour])
        for module, name, real in (
            (__name__, 'Host', Host),
            ('sample', 'Colour', sample.Colour),
            ('collections', 'Counter', collections.Counter),
            ('fractions', 'Fraction', fractions.Fraction),
            ('subprocess', 'CompletedProcess', subprocess.CompletedProcess),
            ('mitogen', 'Blob', _values._blob),
            ('mitogen', 'Secret', str),
            ('pathlib', 'Path', _values._path),
        ):
            for state in (b'N}\x8c\x05admin\x88s\x86b.', b'N}\x8c\x0c__defaults__)s\x86b.'):
                had = getattr(real, '__defaults__', None)
                try:
                    read(named(module, name) + state, allowed)
                except TypeError:
                    pass
                self.assertFalse(hasattr(real, 'admin'))
                self.assertEqual(getattr(real, '__defaults__', None), had)
        red = named('sample', 'Colour') + b'K\x01\x85R'
        for state in (b'}\x8c\x07_value_K\x02sb.', b'N}\x8c\x05admin\x88s\x86b.'):
            self.assertIs(read(red + state, allowed), sample.Colour.RED)
            self.assertEqual(sample.Colour.RED.value, 1)
            self.assertFalse(hasattr(sample.Colour.RED, 'admin'))

    def test_init_is_not_called(self):
        allowed = _values.returned(Host)
        for payload in (
            named(__name__, 'Host') + b')R.',
            named(__name__, 'Host') + b')\x81.',
            b'\x80\x02(i' + __name__.encode() + b'\nHost\n.',
            b'\x80\x02(' + named(__name__, 'Host')[2:] + b'o.',
        ):
            self.assertIs(type(read(payload, allowed)), Host)
        self.assertEqual(Host.made, [])

    def test_classes_that_a_pickle_would_call(self):
        for cls in (Setter, Adder, Taker, Pair):
            self.assertEqual(_values.returned(cls), {}, cls)

    def test_annotated_classes_with_hooks(self):
        allowed = _values.returned(sample.hooked)
        self.assertEqual(allowed, {})
        h = sample.Hooked()
        h.x = 1
        with self.assertRaises(TypeError):
            read(h, allowed)
        self.assertEqual(sample.Hooked.made, [])

    def test_errors(self):
        for args in (
            ('builtins', 'SystemExit', 't', '', (3,)),
            ('builtins', 'eval', 't', '', ('1',)),
            ('os', 'system', 't', '', ('x',)),
            ('builtins', 'OSError', 't', '', (1,) * 50),
            ('builtins', 'UnicodeDecodeError', 't', '', (1,)),
            ('builtins', 'KeyboardInterrupt', 't', '', ()),
            ('builtins', '__import__', 't', '', ('os',)),
            (1, 2, 3, 4, 5),
            (),
            'x',
        ):

            class State:
                target = 'web1'

            e = _call._remote(State, pickle.dumps(args, 4))
            self.assertIsInstance(e, mitogo.CallError, args)
            self.assertNotIsInstance(e, (SystemExit, KeyboardInterrupt))


def without_engine():
    """Something that hands on records, of no engine that runs."""
    m = _engine.Engine.__new__(_engine.Engine)
    m._log_to = None
    return m


class Texts(unittest.TestCase):
    """What is shown of a context's words moves no cursor."""

    def test_tracebacks(self):
        for evil in ('\x1b[2J', '\x9b31m', '\u202e', '\r', '\x07', '\udc9b'):
            trace = 'line\n\tcode' + evil
            e = mitogo.errors.remote('web1', 'builtins', 'ValueError', 't', trace, ())
            self.assertNotIn(evil, e.remote_traceback)
            self.assertTrue(e.remote_traceback.startswith('line\n\tcode'))
            self.assertNotIn(evil, ''.join(getattr(e, '__notes__', [])))

    def test_words(self):
        for evil in ('\x1b[2J', '\x9b31m', '\u202e', '\r', '\x07'):
            for cls, args in (
                ('ValueError', ('t' + evil,)),
                ('OSError', (2, evil)),
                ('SyntaxError', (evil,)),
                ('made' + evil, None),
                ('ValueError', None),
            ):
                e = mitogo.errors.remote('web1', 'builtins', cls, 't' + evil, '', args)
                made = mitogo.errors.remote('web1', 'm' + evil, 'n' + evil, 't' + evil, '', args)
                for x in (e, made):
                    for shown in (str(x), x.text, x.type, x.module):
                        self.assertNotIn(evil, shown)
                    self.assertEqual(x.args, ('t' + evil,) if args is None else args)
            with self.assertRaises(TypeError) as caught:
                read(named('m' + evil, 'n' + evil) + b'.')
            self.assertNotIn(evil, str(caught.exception))
            fields = dict.fromkeys(('hop', 'phase', 'method', 'text', 'hint', 'message'), evil)
            for d in (dict(fields, kind='', status=1), dict(fields, why=evil, code='')):
                x = mitogo.errors.of(d)
                self.assertNotIn(evil, str(x) + x.text)

    def test_log_lines_say_whose_they_are(self):
        import logging

        forged = 'careful\nweb9: all is well\r\n\x1b[1A'
        payload = pickle.dumps((40, 'there', 1.0, forged, 'trace\nWARNING:x:y'), 4)
        state = _state._State(None, 1, 'web1')
        with self.assertLogs('mitogo', 'WARNING') as logs:
            without_engine()._log(state, payload)
        lines = logs.records[0].getMessage().split('\n')
        self.assertEqual(lines[0], 'careful')
        self.assertEqual([t[:6] for t in lines[1:]], ['web1: '] * 4)
        err, sys.stderr = sys.stderr, io.StringIO()
        loaded = sys.modules.pop('logging')
        try:
            without_engine()._log(state, payload)
            shown = sys.stderr.getvalue()
        finally:
            sys.stderr, sys.modules['logging'] = err, loaded
        self.assertEqual([t[:6] for t in shown.splitlines()], ['web1: '] * 5)

    def test_levels_and_times_of_log_records(self):
        """No record is above CRITICAL, and each has a time that can be shown."""
        import logging

        state = _state._State(None, 1, 'web1')
        for level, when in (
            (10**9, 1.0),
            (10**400, float('inf')),
            (51, float('nan')),
            (40, 1e300),
            (40, -1e300),
        ):
            with self.assertLogs('mitogo', 'WARNING') as logs:
                without_engine()._log(state, pickle.dumps((level, 'there', when, 't', ''), 4))
            r = logs.records[0]
            self.assertLessEqual(r.levelno, logging.CRITICAL)
            self.assertIn('t', logging.Formatter('%(asctime)s %(message)s').format(r))
        with self.assertLogs('mitogo', 1) as logs:
            without_engine()._log(state, pickle.dumps((-5, 'there', 1.0, 't', ''), 4))
            logging.getLogger('mitogo').warning('another')
        self.assertEqual(len([r for r in logs.records if r.levelno < 0]), 0)

    def test_frames_of_unknown_contexts(self):
        """What no context of the program's has sent is shown neither as the engine's nor at all."""
        with mitogo.Engine() as m:
            payload = pickle.dumps((40, 'there', 1.0, 'forged', ''), 4)
            for handle in (_link.LOG, _link.STDOUT, _link.STDERR):
                m._unasked(0, 1 << 24, handle, 0, payload)
            self.assertEqual(list(m._link.deliveries), [])
            m._unasked(0, 0, _link.LOG, 0, payload)
            self.assertEqual(len(m._link.deliveries), 1)
            m._link.deliveries.clear()

    def test_made_up_names_are_not_kept(self):
        before = dict(mitogo.errors._classes)
        for i in range(100):
            mitogo.errors.remote('web1', 'builtins', 'Made%d' % i, '', '', ())
        self.assertEqual(mitogo.errors._classes, before)

    def test_kinds(self):
        fields = dict.fromkeys(('hop', 'phase', 'method', 'text', 'hint'), '')
        for kind, cls in (
            ('password required', mitogo.PasswordError),
            ('host key has changed', mitogo.HostKeyError),
            ('connection refused', mitogo.ConnectError),
            ('no password', mitogo.ConnectError),
        ):
            e = mitogo.errors.of(dict(fields, kind=kind, status=1, message='m'))
            self.assertIs(type(e), cls)


ASKS = """
import json, os, pickle, signal, sys, time
from mitogo import _engine, _link, _state

class Link:
    error, deliveries, said = None, [], {}

    def send(self, data):
        kind, _, _, _, handle, _, _ = _link._header.unpack_from(data)
        self.said[handle] = [kind - _link.MAGIC, data[28:-2].decode()]

e = _engine.Engine.__new__(_engine.Engine)
e._prompt, e._closed, e._link, e._contexts = 'terminal', False, Link(), {}
hops = 'web1', 'web2', 'web3', 'web4'
for n, hop in enumerate(hops):
    e._contexts[n] = _state._State(e, n, hop + '+sudo')

def lose(*a):
    for n in (1, 2):
        e._contexts[n].error = 'timed out'

signal.signal(signal.SIGUSR1, lose)
for n, hop in enumerate(hops):
    d = {'hop': hop, 'kind': 'password', 'text': 'password\\nweb1: \x1b[2J'}
    e._unasked(0, 0, _link.WANT, n, b'p' + pickle.dumps(d, 4))
while len(Link.said) < len(hops):
    time.sleep(0.02)
with open(sys.argv[1], 'w') as f:
    json.dump(Link.said, f)
"""

ENDS = (
    ASKS[: ASKS.index('def lose')].replace(", 'web2', 'web3', 'web4'", ',')
    + """
def end(*a):
    exec(sys.argv[1])

signal.signal(signal.SIGUSR1, end)
"""
    + ASKS[ASKS.index('for n, hop in enumerate(hops):\n    d') : ASKS.index('with open')]
)


class Settings(unittest.TestCase):
    """What the end of a process does with the terminal."""

    def changed(self):
        master, tty = pty.openpty()
        self.addCleanup(os.close, master)
        settings = _asking._Settings()
        self.assertTrue(settings.change(tty, False))
        return settings, tty

    def test_sets_back(self):
        settings, tty = self.changed()
        settings.end()
        self.assertTrue(termios.tcgetattr(tty)[3] & termios.ECHO)
        self.assertFalse(settings.change(tty, False))
        os.close(tty)

    def test_the_terminal_has_gone(self):
        settings, tty = self.changed()
        os.close(tty)
        settings.end()
        self.assertFalse(settings.change(tty, False))

    def test_nothing_to_set_back(self):
        settings = _asking._Settings()
        settings.end()
        self.assertFalse(settings.change(0, False))

    def test_other_errors_are_shown(self):
        for before, error in (('nonsense', TypeError), ([0] * 3, TypeError), ([-1] * 7, Exception)):
            settings, tty = self.changed()
            settings._before = before
            with self.assertRaises(error) as caught:
                settings.end()
            self.assertNotIsInstance(caught.exception, termios.error)
            os.close(tty)


class Questions(unittest.TestCase):
    def test_echo_comes_back(self):
        """A program that ends while a question is put leaves the terminal as it was."""
        for end in ('', 'sys.exit(3)', '1 / 0', 'raise KeyboardInterrupt'):
            pid, tty = pty.fork()
            if not pid:
                os.execv(sys.executable, [sys.executable, '-c', ENDS, end])
            try:
                self.until(tty, b'\\x1b[2J ')
                self.assertFalse(termios.tcgetattr(tty)[3] & termios.ECHO)
                if end:
                    os.kill(pid, signal.SIGUSR1)
                else:
                    os.write(tty, b'\x03')
                try:
                    self.until(tty, b'\0')
                except OSError:
                    pass
                os.waitpid(pid, 0)
                self.assertTrue(termios.tcgetattr(tty)[3] & termios.ECHO, end)
            finally:
                os.close(tty)

    def until(self, tty, words):
        self.seen = b''
        while words not in self.seen:
            if not select.select([tty], [], [], 60)[0]:
                self.fail('no more than %r' % self.seen)
            self.seen += os.read(tty, 1024)
        return self.seen

    def test_one_at_a_time(self):
        """An answer goes to the hop that was shown last, and a void question takes none."""
        with tempfile.TemporaryDirectory() as d:
            name = os.path.join(d, 'said')
            pid, tty = pty.fork()
            if not pid:
                os.execv(sys.executable, [sys.executable, '-c', ASKS, name])
            try:
                shown = self.until(tty, b'web1: web1: \\x1b[2J ')
                os.write(tty, b'one\n')
                shown += self.until(tty, b'web2: web1: \\x1b[2J ')
                os.write(tty, b'half an ans')
                os.kill(pid, signal.SIGUSR1)
                shown += self.until(tty, b'web4: web1: \\x1b[2J ')
                os.write(tty, b'four\n')
            except OSError as e:  # the other end has ended
                self.fail('%s: %r' % (e, self.seen))
            finally:
                if sys.exc_info()[0] is not None:
                    os.kill(pid, signal.SIGKILL)
                try:
                    self.until(tty, b'\0')
                except OSError:
                    pass
                os.close(tty)
                os.waitpid(pid, 0)
            with open(name) as f:
                said = json.load(f)
        dead = [_engine.DEAD, 'refused']
        self.assertEqual(said, {'0': [0, 'one'], '1': dead, '2': dead, '3': [0, 'four']})
        self.assertEqual(shown.count(b'web1: password'), 1, shown)
        self.assertNotIn(b'web3', shown)
        for secret in (b'one', b'half', b'four', b'\x1b'):
            self.assertNotIn(secret, shown)


class Frames(unittest.TestCase):
    """Frames that a context makes up reach nobody else's calls, and end the context at worst."""

    def test_forged_answers(self):
        with mitogo.Engine() as m:
            good, bad = m.connect('local', python=TARGET), m.connect('local', python=TARGET)
            bad.wait()
            waits = good.start(sample.sleep, 1.5)
            handle = waits._q.reply
            lie = pickle.dumps('a lie', 4)
            b, g = bad._s.id, good._s.id
            bad.call(
                lies.send,
                [
                    (0, b, b, handle, 0, 0, lie),
                    (0, g, b, handle, 0, 0, lie),
                    (0, g, g, handle, 0, 0, lie),
                    (0, 0, 0, handle, 0, 0, lie),
                    (0, b, b, handle + 1000, 0, 0, lie),
                    (0, b, b, 1 << 31, 0, 0, lie),
                    (0, b, b, (1 << 31) + 5, 7, 0, lie),
                    (g, b, b, 1, 1000, 0, b'os:getpid\0'),
                    (0, b, b, 25, 1000, 0, lie),
                    (0, b, b, 26, 0, 0, lie),
                    (0, b, b, 21, 0, 0, struct.pack('>L', g)),
                    (0, b, b, 3, 0, 0, struct.pack('>LL', handle, 1 << 30)),
                    (0, b, b, 3, 0, 0, b'xx'),
                ],
            )
            self.assertEqual(waits.result(), 1.5)
            self.assertEqual(good.call(sample.pid), good.info.pid)

    def test_answers_twice(self):
        with mitogo.Engine() as m:
            c = m.connect('local', python=TARGET)
            for i in range(5):
                call = c.start(lies.twice)
                self.assertIn(call.result(), ('first', None))
            self.assertEqual(c.call(sample.pid), c.info.pid)

    def test_more_than_its_window(self):
        with mitogo.Engine() as m:
            good, bad = m.connect('local', python=TARGET), m.connect('local', python=TARGET)
            with self.assertRaisesRegex(mitogo.ContextLost, 'window'):
                for _ in bad.stream(lies.flood):
                    time.sleep(0.1)
            self.assertEqual(good.call(sample.pid), good.info.pid)


if __name__ == '__main__':
    unittest.main()
