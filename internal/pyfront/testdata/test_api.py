"""The Python interface as its users see it. The Go test beside it runs this on interpreters that
it draws.
"""

import ast
import functools
import gc
import io
import json
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import mitogo
import sample
from mitogo import _pieces

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable
HERE = os.path.dirname(os.path.abspath(__file__))


def program(text, *args, **kwargs):
    """Run a program of its own, and return (status, stdout, stderr)."""
    with tempfile.TemporaryDirectory() as d:
        name = os.path.join(d, 'prog.py')
        with open(name, 'w') as f:
            f.write(text)
        p = subprocess.run(
            [sys.executable, name] + list(args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
            cwd=d,
            **kwargs,
        )
        return p.returncode, p.stdout, p.stderr


class Case(unittest.TestCase):
    def engine(self, **options):
        m = mitogo.Engine(**options)
        self.addCleanup(m.close)
        return m

    def local(self, **options):
        return self.engine(**options).connect('local', python=TARGET)


class Calls(Case):
    @classmethod
    def setUpClass(cls):
        cls.m = mitogo.Engine(output=lambda target, text: cls.output.append(text))
        cls.output = []
        cls.c = cls.m.connect('local', python=TARGET)

    @classmethod
    def tearDownClass(cls):
        cls.m.close()

    def test_functions(self):
        self.assertEqual(self.c.call(os.getpid), self.c.info.pid)
        self.assertNotEqual(self.c.call(sample.pid), os.getpid())
        self.assertEqual(self.c.call('os.path:basename', '/a/b'), 'b')
        self.assertEqual(self.c.call(sample.Kind.name), 'Kind')
        self.assertEqual(self.c.call(sample.Kind.double, 4), 8)
        self.assertEqual(self.c.call(functools.partial(sample.same, 1, a=2), 3), ((1, 3), {'a': 2}))

    def test_empty_generators(self):
        """A generator without items gives an empty list, however it is named; None stays None."""
        for fn, args in (
            (sample.iter_nothing, ()),
            (sample.Empty.items, ()),
            (sample.hides_a_generator, (0,)),
            ('sample:hides_a_generator', (0,)),
            ('sample:count', (0,)),
            (functools.partial(sample.count, 0), ()),
        ):
            self.assertEqual(self.c.call(fn, *args), [], fn)
            self.assertEqual(list(self.c.stream(fn, *args)), [], fn)
        for fn in (sample.Empty.none, 'sample:Empty.none', 'gc:disable', sample.kept):
            self.assertIsNone(self.c.call(fn), fn)
        self.assertEqual(self.c.call(sample.hides_a_generator, 2), [0, 1])
        self.assertEqual(self.c.call(sample.same), ((), {}))

    def test_get_keeps_files_of_others(self):
        """Two that get one file don't disturb each other, and nothing is left behind."""
        with tempfile.TemporaryDirectory() as d:
            with open(d + '/a', 'wb') as f:
                f.write(bytes(3 << 20))
            others = ['b.%d.part' % os.getpid(), 'b.part']
            for name in others:
                with open(os.path.join(d, name), 'w') as f:
                    f.write('of another')
            names = d + '/a', d + '/b'
            threads = [threading.Thread(target=self.c.get, args=names) for _ in '123']
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(os.path.getsize(d + '/b'), 3 << 20)
            self.assertEqual(os.stat(d + '/b').st_mode, os.stat(d + '/a').st_mode)
            with self.assertRaises(FileNotFoundError):
                self.c.get(d + '/none', d + '/c')
            with self.assertRaises(OSError):
                self.c.get(d + '/a', d)
            self.assertEqual(sorted(os.listdir(d)), sorted(['a', 'b'] + others))

    def test_plain_values(self):
        for v in (
            None,
            True,
            1 << 70,
            -1.5,
            'tëxt',
            b'\xff\0',
            [1, [2]],
            (1,),
            {'a': {'b': 1}},
            {1},
            frozenset([2]),
            1j,
            bytearray(b'x'),
        ):
            self.assertEqual(self.c.call(sample.same, v, k=v), ((v,), {'k': v}))

    def test_large_values(self):
        for n in (131072, 131073, 3 << 20):
            self.assertEqual(self.c.call(len, b'x' * n), n)
            self.assertEqual(len(self.c.call(bytes, n)), n)
        big = bytes(range(256)) * 5000
        for args in ((big,), (1, big, 'x' * 300, None, big, 2.5, b'', '\xeb'), ('x' * 70000, big)):
            self.assertEqual(self.c.call(sample.same, *args), (args, {}))

    def test_large_values_of_the_main_module(self):
        text = (
            'import mitogo\ndef size(x):\n    return len(x)\n'
            'if __name__ == "__main__":\n    with mitogo.Engine() as m:\n'
            '        print(m.connect("local").call(size, b"x" * 1000000))\n'
        )
        status, out, err = program(text)
        self.assertEqual((status, out), (0, '1000000\n'), err)

    def test_pieces(self):
        """Large bytes are pickled from where they are, and as any pickle is read."""
        big = b'x' * 70000
        for proto in (3, 4):
            for args in ((big,), (1, big, 'x' * 300, None, True, 2.5, b'', big, '\xeb', -1 << 70)):
                buffers = _pieces.pickled(args, proto)
                self.assertEqual(pickle.loads(b''.join(buffers)), (args, {}))
                self.assertTrue(any(b is big for b in buffers))
        for args, proto in (((big,), 2), ((b'x', 1), 4), ((big, 'x' * 70000), 4), ((), 4)):
            self.assertIsNone(_pieces.pickled(args, proto))
        p = _pieces.Pieces(b'ab', b'', b'cdef', b'g')
        self.assertEqual([b''.join(p.take(n)) for n in (1, 4, 0, 2)], [b'a', b'bcde', b'', b'fg'])
        self.assertEqual(len(p), 0)

    def test_own_classes(self):
        self.assertEqual(self.c.call(sample.facts), sample.facts())
        self.assertEqual(self.c.call(sample.many), {'a': sample.facts()})
        self.assertIs(self.c.call(sample.colour), sample.Colour.RED)
        self.assertEqual(self.c.call(sample.point), sample.Point(1, 2))
        self.assertEqual(self.c.call(sample.host_of, sample.Facts('h', [])), ('h', 'Facts'))

    def test_library_classes(self):
        self.assertEqual(self.c.call(sample.library), sample.library())
        self.assertEqual(self.c.call(sample.same, *sample.library())[0], tuple(sample.library()))

    def test_refused_classes(self):
        for fn, name in ((sample.unknown, 'Unknown'), (sample.hooked, 'Hooked')):
            with self.assertRaises(TypeError) as e:
                self.c.call(fn)
            self.assertIn('annotate it', str(e.exception))
            self.assertIn(name, str(e.exception))
        self.assertEqual(sample.Hooked.made, [])

    def test_declared_classes(self):
        c = self.local(types=[sample.Unknown, sample.Hooked])
        self.assertIsInstance(c.call(sample.unknown), sample.Unknown)
        self.assertIsInstance(c.call(sample.hooked), sample.Hooked)
        del sample.Hooked.made[:]

    def test_exceptions(self):
        for cls, args in (
            (ValueError, ('no',)),
            (FileNotFoundError, (2, 'gone')),
            (KeyError, ('k',)),
            (ZeroDivisionError, ()),
            (UnicodeDecodeError, ('utf-8', b'\xff', 0, 1, 'bad')),
        ):
            with self.assertRaises(cls) as e:
                self.c.call(sample.raises, cls, *args)
            self.assertIsInstance(e.exception, mitogo.CallError)
            self.assertEqual(e.exception.args, args)
            self.assertIn('raise cls(*args)', e.exception.remote_traceback)
            self.assertEqual(e.exception.target, 'local')
        self.assertEqual(e.exception.type, 'UnicodeDecodeError')
        with self.assertRaises(mitogo.CallError) as e:
            self.c.call(json.loads, '{')
        self.assertEqual(
            (e.exception.module, e.exception.type), ('json.decoder', 'JSONDecodeError')
        )
        with self.assertRaises(mitogo.CallError) as e:
            self.c.call(sys.exit, 3)
        self.assertEqual(e.exception.type, 'SystemExit')

    def test_names_of_files(self):
        for fn, args in ((os.listdir, ['/no/such']), (open, ["/no/it's"]), (os.stat, ['/no/"q'])):
            with self.assertRaises(OSError) as e:
                self.c.call(fn, *args)
            self.assertEqual(e.exception.errno, 2)
            if "'" not in args[0]:
                self.assertEqual(e.exception.filename, args[0])
                self.assertIn(args[0], str(e.exception))
        with self.assertRaises(FileNotFoundError) as e:
            self.c.get('/no/such', '/tmp/never')
        self.assertEqual(e.exception.filename, '/no/such')

    def test_remote_traceback_begins_with_the_program(self):
        """It has no lines of the runtime, which a user can do nothing with."""
        for fn, args in (
            (sample.raises, (ValueError, 'no')),
            (sample.fails_later, ()),
            ('os:nope', ()),
            ('no_such_module_here:f', ()),
            (json.loads, ('{',)),
            (int, ('x',)),
        ):
            with self.assertRaises(Exception) as e:
                self.c.call(fn, *args)
            trace = e.exception.remote_traceback
            self.assertNotIn('_mitogen', trace)
            self.assertNotRegex(trace, r'File "[a-z_]+\.py"')
            with self.assertRaises(Exception) as e:
                list(self.c.stream(fn, *args))
            self.assertEqual(e.exception.remote_traceback, trace)

    def test_remote_traceback_is_shown(self):
        status, out, err = program(
            'import mitogo, sample\nwith mitogo.Engine() as m:\n'
            '    m.connect("local").call(sample.raises, ValueError, "no")\n'
        )
        self.assertEqual(status, 1)
        self.assertIn('in raises', err)
        self.assertIn('ValueError: no', err)

    def test_what_cant_be_called(self):
        held = 1
        sock = socket.socket()
        self.addCleanup(sock.close)

        def closure():
            return held

        for fn, words in (
            (lambda: 1, 'lambda'),
            (closure, 'held'),
            (sample.Kind().bound, 'bound to an object'),
            (5, 'want a function'),
            ('nocolon', 'module:function'),
        ):
            with self.assertRaises(TypeError) as e:
                self.c.call(fn)
            self.assertIn(words, str(e.exception))
        for arg in (sock, threading.Lock(), sys.stdin):
            with self.assertRaises(TypeError) as e:
                self.c.call(sample.same, arg)
            self.assertIn('can not be sent', str(e.exception))
        with self.assertRaises(TypeError):
            self.c.call(sample.same, lambda: 1)
        self.assertEqual(self.c.call(sample.same, 1), ((1,), {}))

    def test_streams(self):
        self.assertEqual(self.c.call(sample.count, 5), [0, 1, 2, 3, 4])
        self.assertEqual(self.c.call(sample.count, 0), [])
        self.assertEqual(list(self.c.stream(sample.count, 5000)), list(range(5000)))
        self.assertEqual(list(self.c.stream(sample.pid)), [self.c.info.pid])
        with self.c.stream(sample.endless) as s:
            for i, item in enumerate(s):
                if i == 3000:  # three windows
                    break
        self.assertEqual(self.c.call(sample.pid), self.c.info.pid)

    def test_calls_wait_for_their_context(self):
        """Unanswered calls take a window, and not more, of any size and from any thread."""
        link = self.m._link
        c = self.m.connect('local+local', python=TARGET)
        for size, n in ((60000, 60), (700000, 4), (10, 9000)):
            calls, most = [], 0
            for i in range(n):
                calls.append(c.start(len, b'x' * size))
                most = max(most, link.unanswered.get(c._s.id, 0))
            self.assertLess(most, 1 << 20)
            self.assertGreater(most, 0)
            self.assertEqual([x.result() for x in calls], [size] * n)
            self.assertEqual(link.unanswered, {})
        busy = c.start(sample.sleep, 100)
        late = c.options(timeout=0.3)
        with self.assertRaises(TimeoutError):
            for i in range(3):
                late.start(len, b'x' * 500000)
        busy.cancel()
        self.assertEqual(c.call(len, b'x' * (3 << 20)), 3 << 20)
        self.assertEqual(c.call(len, b'x'), 1)
        c.close()
        self.assertEqual(link.unanswered, {})

    def test_timeout_while_data_is_sent(self):
        c = self.m.connect('local', python=TARGET).wait()
        with tempfile.TemporaryDirectory() as d:
            with open(d + '/file', 'wb') as f:
                f.write(bytes(5 << 20))
            busy = c.start(sample.sleep, 100)
            for use in (
                lambda t: t.put(d + '/file', d + '/b'),
                lambda t: t.get(d + '/file', d + '/c'),
                lambda t: t.call(len, bytes(5 << 20)),
            ):
                with self.assertRaises(TimeoutError):
                    use(c.options(timeout=0.3))
            busy.cancel()
            link = self.m._link
            feed = link.feed

            def full(dst, handle, *args):
                link.flows[dst, handle] = 0
                return feed(dst, handle, *args)

            link.feed = full
            try:
                with self.assertRaises(TimeoutError):
                    c.options(timeout=0.3).put(d + '/file', d + '/b')
            finally:
                del link.feed
            self.assertEqual(sorted(os.listdir(d)), ['file'])
        self.assertEqual(c.call(sample.pid), c.info.pid)

    def test_items_have_a_limit(self):
        """Items of a call are one value, however many and however large they are."""
        c = self.local(max_message=1 << 20)
        for fn, args in (
            (sample.endless, ()),
            (sample.count, (40000,)),
            (sample.blocks, (20, 90000)),
            (sample.blocks, (5, 400000)),
        ):
            with self.assertRaisesRegex(mitogo.Error, 'max_message'):
                c.call(fn, *args)
        self.assertEqual(c.call(sample.count, 2000), list(range(2000)))
        self.assertEqual(len(c.call(sample.blocks, 2, 400000)), 2)
        self.assertEqual(len(list(c.stream(sample.blocks, 20, 400000))), 20)

    def test_streams_wait_for_their_reader(self):
        """A stream runs a window ahead, and not more, whatever its items have."""
        for size, n in ((1000, 5000), (300000, 30), (1 << 20, 9), (3 << 20, 5)):
            with self.c.stream(sample.blocks, n, size) as s:
                q, ahead = s._call._q, 0
                for i, item in enumerate(s):
                    self.assertEqual(item[:10].split()[0], b'%d' % i)
                    if i in (0, n - 3):
                        time.sleep(0.2)
                    ahead = max(ahead, sum(len(p) for p, _ in list(q.items)))
                self.assertEqual(i, n - 1)
            self.assertLess(ahead, (1 << 20) + 2 * size + 131072)

    def test_start_and_callbacks(self):
        calls = [self.c.start(sample.same, i) for i in range(300)]
        self.assertEqual([x.result() for x in calls], [((i,), {}) for i in range(300)])
        done = threading.Event()
        self.c.start(sample.pid).add_done_callback(lambda call: done.set())
        self.assertTrue(done.wait(60))
        self.assertIsInstance(self.c.start(sample.raises, ValueError).exception(), ValueError)

    def test_cancel(self):
        running, waiting = self.c.start(sample.sleep, 100), self.c.start(sample.sleep, 100)
        self.assertTrue(waiting.cancel())
        self.assertTrue(running.cancel())
        for call in (running, waiting):
            with self.assertRaises(mitogo.CallError) as e:
                call.result()
            self.assertEqual(e.exception.type, 'KeyboardInterrupt')
        self.assertFalse(running.cancel())

    def test_timeout(self):
        with self.assertRaises(TimeoutError):
            self.c.options(timeout=0.2).call(sample.sleep, 100)
        self.assertEqual(self.c.call(sample.pid), self.c.info.pid)
        call = self.c.start(sample.sleep, 100)
        with self.assertRaises(TimeoutError):
            call.result(timeout=0.1)
        self.assertFalse(call.done())
        call.cancel()

    def test_wait_ends_though_it_was_woken_for_nothing(self):
        """Another thread wakes the one that reads just when it no longer has to."""
        link = self.c._s.engine._link
        with self.assertRaises(TimeoutError):
            call = self.c.start(sample.sleep, 5)
            link._poke()
            call.result(timeout=0.1)
        self.assertFalse(call.done())
        call.cancel()

    def test_deaf_call_is_killed_with_its_context(self):
        c = self.m.connect('local', python=TARGET)
        with self.assertRaises(TimeoutError):
            c.options(timeout=1).call(sample.deaf, 100)
        with self.assertRaises(mitogo.ContextLost) as e:
            c.call(sample.pid)
        self.assertIn('did not end', str(e.exception))

    def test_output_comes_before_the_answer(self):
        del self.output[:]
        self.assertEqual(self.c.call(sample.says, 'tëxt\n'), 'said')
        self.assertEqual(''.join(self.output), 'tëxt\n')
        n = 3 << 20
        del self.output[:]
        self.c.call(sample.says, 'x' * n)
        self.assertEqual(len(''.join(self.output)), n)

    def test_answer_waits_for_what_another_thread_shows(self):
        """The background thread shows it: nobody waits for the call yet."""
        begun, got, c = threading.Event(), [], None

        def output(target, text):
            begun.set()
            time.sleep(0.3)
            got.append((text, type(c.call(sample.pid))))    # it may call, too

        m = self.engine(output=output)
        c = m.connect('local', python=TARGET).wait()
        call = m.connect('local', python=TARGET).start(sample.says, 'text')
        self.assertTrue(begun.wait(60))
        self.assertEqual((call.result(), got), ('said', [('text', int)]))

    def test_answer_waits_not_for_ever(self):
        """Here the program's code waits for the one who waits for the answer."""
        begun, end = threading.Event(), threading.Event()
        self.addCleanup(end.set)
        m = self.engine(output=lambda target, text: begun.set() or end.wait())
        call = m.connect('local', python=TARGET).start(sample.says, 'text')
        self.assertTrue(begun.wait(60))
        with mock.patch('mitogo._link.PATIENCE', 0.1):
            self.assertEqual(call.result(), 'said')

    def test_what_another_thread_delivers_ends_a_wait(self):
        begun, done = threading.Event(), []

        def ended(call):
            begun.set()
            time.sleep(0.3)     # here somebody begins to read
            done.append(call)

        self.c.start(sample.pid).add_done_callback(ended)
        self.assertTrue(begun.wait(60))
        link = self.c._s.engine._link
        thread = threading.Thread(target=link.wait, args=(lambda: done,), daemon=True)
        thread.start()
        thread.join(60)
        self.assertFalse(thread.is_alive())

    def test_output_harms_no_call(self):
        """What one context writes has no other call fail: it can be shown, or is reported."""
        c, out, hook, reported = self.local(), sys.stdout, sys.excepthook, []
        for coding, want in (('ascii', 't\\xeb\\u20ac'), ('latin-1', 't\xeb\\u20ac')):
            sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding=coding)
            try:
                self.assertEqual(c.call(sample.says, 't\xeb\u20ac'), 'said')
                shown = sys.stdout.buffer.getvalue()
            finally:
                sys.stdout = out
            self.assertEqual(shown.decode(coding), want)
        c = self.local(output=lambda target, text: 1 / 0)
        sys.excepthook = lambda *a: reported.append(a[0])
        try:
            self.assertEqual(c.call(sample.says, 'x'), 'said')
            c.start(sample.pid).add_done_callback(lambda call: 1 / 0)
            self.assertEqual(c.call(sample.pid), c.info.pid)
        finally:
            sys.excepthook = hook
        self.assertEqual(set(reported), {ZeroDivisionError})

    def test_logging(self):
        import logging

        with self.assertLogs('mitogo', 'WARNING') as logs:
            self.c.call(sample.logs, 'careful')
        self.assertEqual([r.getMessage() for r in logs.records], ['careful'])
        self.assertEqual(logs.records[0].target, 'local')

    def test_run(self):
        p = self.c.run(['sh', '-c', 'cat; echo err >&2; exit 3'], input='in')
        self.assertEqual((p.returncode, p.stdout, p.stderr), (3, 'in', 'err\n'))
        with self.assertRaises(subprocess.CalledProcessError):
            self.c.run('exit 4', shell=True, check=True)
        self.assertEqual(
            self.c.run('echo $X; pwd', shell=True, env={'X': 'y'}, cwd='/', text=False).stdout,
            b'y\n/\n',
        )
        with self.assertRaises(FileNotFoundError):
            self.c.run(['/no/such/program'])
        with self.assertRaises(TypeError):
            self.c.run('echo x')
        del self.output[:]
        self.assertIsNone(self.c.run(['echo', 'shown'], capture=False).stdout)
        self.assertEqual(''.join(self.output), 'shown\n')

    def test_put_and_get(self):
        with tempfile.TemporaryDirectory() as d:
            a, b, c = [os.path.join(d, n) for n in 'abc']
            for size in (0, 10, 131000, 3 << 20):
                with open(a, 'wb') as f:
                    f.write(os.urandom(size))
                self.c.put(a, b, mode=0o640)
                self.assertEqual(os.stat(b).st_mode & 0o777, 0o640)
                self.c.get(b, c)
                with open(a, 'rb') as f, open(c, 'rb') as g:
                    self.assertEqual(f.read(), g.read())
            with self.assertRaises(FileNotFoundError):
                self.c.get(os.path.join(d, 'none'), c + '2')
            with self.assertRaises(OSError):
                self.c.put(a, os.path.join(d, 'none', 'x'))
            self.assertEqual(sorted(os.listdir(d)), ['a', 'b', 'c'])

    def test_threads(self):
        contexts = [self.m.connect('local', python=TARGET) for _ in range(3)]
        wrong = []

        def work(c, n):
            for i in range(60):
                if c.call(sample.same, n, i) != ((n, i), {}):
                    wrong.append((n, i))

        threads = [threading.Thread(target=work, args=(contexts[n % 3], n)) for n in range(9)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
        self.assertEqual((wrong, [t for t in threads if t.is_alive()]), ([], []))

    def test_ping_and_info(self):
        self.assertGreaterEqual(self.c.ping(), 0)
        self.assertEqual(self.c.info.uid, os.getuid())
        self.assertEqual(self.c.wait(), self.c) if hasattr(self.c, '__eq__') else None


class Contexts(Case):
    def test_connect_errors(self):
        m = self.engine()
        c = m.connect('local', python='/no/such/python')
        for use in (
            lambda: c.call(os.getpid),
            c.wait,
            lambda: c.info,
            lambda: c.stream(sample.count, 3),
        ):
            with self.assertRaises(mitogo.ConnectError) as e:
                x = use()
                next(x)
            self.assertEqual(e.exception.hop, 'local')
            self.assertTrue(e.exception.hint)
        for target in ('', 'web1++sudo', 'nomethod:x'):
            with self.assertRaises(mitogo.ConnectError):
                m.connect(target).wait()
        with self.assertRaises(TypeError):
            m.connect(5)
        with self.assertRaises(mitogo.EngineError):
            self.engine().connect('local', via=m.connect('local'))

    def test_behind_another(self):
        m = self.engine()
        a = m.connect('local', python=TARGET)
        b = a.connect('local', python=TARGET)
        self.assertEqual(b.target, 'local+local')
        self.assertEqual(b.call(os.getppid), a.info.pid)
        self.assertEqual(m.connect('local+local', python=TARGET).call(sample.Kind.double, 2), 4)

    def test_lost(self):
        m = self.engine()
        c, other = m.connect('local', python=TARGET), m.connect('local', python=TARGET)
        call, later = c.start(os._exit, 3), c.start(os.getpid)
        for x in (call, later):
            with self.assertRaises(mitogo.ContextLost) as e:
                x.result()
            self.assertIn('status 3', str(e.exception))
        with self.assertRaises(mitogo.ContextLost):
            c.call(os.getpid)
        self.assertEqual(other.call(os.getpid), other.info.pid)

    def test_close(self):
        m = self.engine()
        with m.connect('local', python=TARGET) as c:
            pid = c.info.pid
        with self.assertRaises(mitogo.ContextLost):
            c.call(os.getpid)
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        m.close()
        m.close()
        with self.assertRaises(mitogo.EngineLost):
            m.connect('local')

    def test_dropped_stream(self):
        """The collector may find that a stream is dropped while its thread holds any lock."""
        c = self.local()
        link = c._s.engine._link
        for lock in (link._out.lock, link._counts, c._s.lock):
            s = c.stream(sample.endless)
            next(s)
            with lock:
                del s
            self.assertEqual(c.options(timeout=60).call(sample.pid), c.info.pid)

    def test_close_waits_for_the_running_call(self):
        m = self.engine()
        with tempfile.TemporaryDirectory() as d:
            for n, target in enumerate(('local', 'local+local', 'local+local+local')):
                c = m.connect(target, python=TARGET)
                mark = '%s/%d' % (d, n)
                runs, waits = c.start(sample.marked_sleep, mark, 2.2), c.start(sample.sleep, 100)
                while not os.path.exists(mark):
                    time.sleep(0.02)
                c.close()
                self.assertEqual(runs.result(), 2.2)
                with self.assertRaises(mitogo.ContextLost) as e:
                    waits.result()
                self.assertEqual(e.exception.why, 'closed')
        with m.connect('local', python=TARGET) as c:
            items = c.stream(sample.slow_items, 2.2)
            self.assertEqual(next(items), 'first')
        self.assertEqual(list(items), ['last'])

    def test_close_ends_what_was_cancelled(self):
        """A context that is closed without a running call, or whose call was cancelled, ends."""
        m = self.engine()
        c = m.connect('local', python=TARGET).wait()
        call = c.start(sample.sleep, 100)
        c.ping()
        call.cancel()
        c.close()
        self.assertIsNotNone(call.exception())
        for target in ('local', 'local+local'):
            m.connect(target, python=TARGET).close()
            with m.connect(target, python=TARGET) as c:
                c.call(os.getpid)


class Lives(Case):
    """Nothing hangs, and nothing stays behind."""

    def test_nothing_is_left(self):
        before = sorted(os.listdir('/proc/self/fd')), threading.active_count()
        for _ in range(3):
            with mitogo.Engine() as m:
                m.connect('local', python=TARGET).call(os.getpid)
        self.assertEqual((sorted(os.listdir('/proc/self/fd')), threading.active_count()), before)
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def gone(self, pid):
        end = time.time() + 60
        while time.time() < end:
            try:
                with open('/proc/%d/stat' % pid) as f:
                    if f.read().rsplit(')', 1)[1].split()[0] == 'Z':
                        return True
            except OSError:
                return True
            time.sleep(0.02)
        return False

    def test_killed_engine(self):
        m = mitogo.Engine()
        c = m.connect('local', python=TARGET)
        pid, call = c.info.pid, c.start(sample.sleep, 100)
        os.kill(m._pid, signal.SIGKILL)
        with self.assertRaises(mitogo.EngineLost):
            call.result()
        with self.assertRaises(mitogo.EngineLost):
            m.connect('local')
        m.close()
        self.assertTrue(self.gone(pid))

    def test_ends_without_close(self):
        text = (
            'import mitogo, os, sys, sample\nm = mitogo.Engine()\nc = m.connect("local")\n'
            'print(m._pid, c.info.pid, flush=True)\ncall = c.start(sample.sleep, 100)\n'
        )
        for end in (
            '',
            'sys.exit(3)\n',
            '1 / 0\n',
            'os._exit(4)\n',
            'os.kill(os.getpid(), 9)\n',
            'os.abort()\n',
            'del m, c, call\nimport gc; gc.collect()\n',
        ):
            status, out, err = program(text + end)
            pids = [int(n) for n in out.split()]
            self.assertEqual(len(pids), 2, err)
            for pid in pids:
                self.assertTrue(self.gone(pid), end)

    def test_interrupt(self):
        text = (
            'import mitogo, os, sample, signal, threading\nm = mitogo.Engine()\n'
            'c = m.connect("local")\nprint(c.info.pid, flush=True)\n'
            'threading.Timer(.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n'
            'try:\n    c.call(sample.sleep, 100)\nexcept KeyboardInterrupt:\n'
            '    print("interrupted", c.call(sample.pid))\n'
        )
        status, out, err = program(text)
        lines = out.split()
        self.assertEqual((status, lines[1:]), (0, ['interrupted', lines[0]]), err)

    def test_interrupts_at_any_moment(self):
        text = (
            'import mitogo, os, random, sample, signal, sys, threading, time\n'
            'm = mitogo.Engine()\nc = m.connect("local")\nc.wait()\n'
            'rng = random.Random(int(sys.argv[1]))\nstop = []\n'
            'def fire():\n    while not stop:\n        time.sleep(rng.random() * .02)\n'
            '        stop or os.kill(os.getpid(), signal.SIGINT)\n'
            'def handler(*a):\n    if armed:\n        del armed[:]\n'
            '        raise KeyboardInterrupt\narmed = []\nsignal.signal(signal.SIGINT, handler)\n'
            't = threading.Thread(target=fire)\nt.start()\nn = hit = 0\n'
            'end = time.time() + float(sys.argv[2])\n'
            'while time.time() < end:\n    n += 1\n    try:\n        armed.append(1)\n'
            '        v = c.call(sample.same, n)\n        del armed[:]\n'
            '        assert v == ((n,), {}), (v, n)\n    except KeyboardInterrupt:\n'
            '        del armed[:]\n        hit += 1\n'
            'stop.append(1)\nt.join()\ndel armed[:]\nassert c.call(sample.same, 7) == ((7,), {})\n'
            'm.close()\nprint("well", hit > 0)\n'
        )
        seed, seconds = (
            os.environ.get('MITO_TEST_SEED', '1'),
            '20' if os.environ.get('MITOGEN_SOAK') else '2',
        )
        status, out, err = program(text, seed, seconds)
        self.assertEqual((status, out), (0, 'well True\n'), err)

    def test_dropped(self):
        """An engine that nothing refers to ends; one of which a context is in use doesn't."""
        for use in (
            lambda m: m.connect('local', python=TARGET).call(sample.pid),
            lambda m: m.connect('local', python=TARGET).start(sample.sleep, 100) and None,
            lambda m: None,
        ):
            m = mitogo.Engine()
            pid = m._pid
            use(m)
            del m
            gc.collect()
            self.assertTrue(self.gone(pid))
        c = mitogo.Engine().connect('local', python=TARGET)
        gc.collect()
        self.assertEqual(c.call(sample.same, 1), ((1,), {}))
        c._s.engine.close()

    def test_no_standard_descriptors(self):
        """What a program writes to 0, 1 or 2 never comes to the engine's socket."""
        text = (
            'import mitogo, os, sys, sample\nwith mitogo.Engine() as m:\n'
            '    c = m.connect("local")\n    for fd in (0, 1, 2):\n        try:\n'
            '            os.write(fd, b"no frame")\n        except OSError:\n            pass\n'
            '    fds = [m._link.fd, *m._link._wake]\n'
            '    got = c.call(sample.same, 1), min(fds) > 2\n'
            'with open(sys.argv[1], "w") as f:\n    f.write(repr(got))\n'
        )
        with tempfile.TemporaryDirectory() as d:
            for n, closed in enumerate(('<&-', '>&-', '2>&-', '<&- >&-', '<&- >&- 2>&-')):
                out = '%s/%d' % (d, n)
                line = 'exec "$0" "$@" >/dev/null 2>/dev/null ' + closed
                args = ['sh', '-c', line, sys.executable, '-c', text, out]
                subprocess.run(args, timeout=120)
                with open(out) as f:
                    self.assertEqual(f.read(), '(((1,), {}), True)', closed)

    def test_fork(self):
        text = (
            'import mitogo, multiprocessing, os, sample\n'
            'def own(q):\n    with mitogo.Engine() as m:\n'
            '        q.put(m.connect("local").call(sample.Kind.double, 4))\n'
            'def old(q, c):\n    try:\n        c.call(sample.pid)\n'
            '    except mitogo.EngineLost as e:\n        q.put(str(e))\n'
            'if __name__ == "__main__":\n    fork = multiprocessing.get_context("fork")\n'
            '    q = fork.Queue()\n'
            '    with mitogo.Engine() as m:\n        c = m.connect("local")\n'
            '        pid = c.call(sample.pid)\n'
            '        for fn, args in ((own, (q,)), (old, (q, c))):\n'
            '            p = fork.Process(target=fn, args=args)\n'
            '            p.start()\n            print(q.get(timeout=60))\n            p.join(60)\n'
            '        print(c.call(sample.pid) == pid)\n'
        )
        status, out, err = program(text)
        lines = out.splitlines()
        self.assertEqual((status, lines[0], lines[2:]), (0, '8', ['True']), err)
        self.assertIn('forked from', lines[1])
        self.assertIn('make an Engine', lines[1])


class MainModule(Case):
    def test_script(self):
        common = (
            'import os, sample\nfrom dataclasses import dataclass\nimport mitogo\nLIMIT = 3 * 2\n'
            '@dataclass\nclass F:\n    n: int\n'
            'def f(n) -> F:\n    return F(n + LIMIT + sample.Kind.double(1))\ndef g(x):\n'
            '    return type(x).__name__, x.n\n'
        )
        use = (
            'with mitogo.Engine() as m:\n    c = m.connect("local")\n'
            '    print(c.call(f, 1), c.call(g, F(5)))\n'
        )
        for text in (
            common + 'print("once")\n' + use,
            common
            + 'if __name__ == "__main__":\n    print("once")\n'
            + ''.join('    ' + line + '\n' for line in use.splitlines()),
            '# coding: latin-1\n' + common + 'print("once")\n' + use,
        ):
            status, out, err = program(text)
            self.assertEqual((status, out), (0, "once\nF(n=9) ('F', 5)\n"), err)

    def test_package(self):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, 'pkg'))
            for name, text in (
                ('__init__', ''),
                ('other', 'N = 4\n'),
                (
                    'tool',
                    'import mitogo\nfrom . import other\n'
                    'def f():\n    return other.N\nif __name__ == "__main__":\n'
                    '    with mitogo.Engine() as m:\n'
                    '        print(m.connect("local").call(f))\n',
                ),
            ):
                with open(os.path.join(d, 'pkg', name + '.py'), 'w') as f:
                    f.write(text)
            out = subprocess.run(
                [sys.executable, '-m', 'pkg.tool'], cwd=d, stdout=subprocess.PIPE, timeout=120
            )
            self.assertEqual(out.stdout, b'4\n')

    def test_broken_main(self):
        status, out, err = program(
            'import sys\nif "mitogen" in sys.argv[0] or not sys.argv[0]:\n'
            '    import no_such_thing\n'
            'def f():\n    return 1\nif __name__ == "__main__":\n    import mitogo\n'
            '    with mitogo.Engine() as m:\n        m.connect("local").call(f)\n'
        )
        self.assertEqual(status, 1)
        self.assertIn('no_such_thing', err)

    def test_name_that_is_not_there(self):
        """A variable that a statement makes which contexts don't execute is named, with what to do."""
        status, out, err = program(
            'import socket, mitogo\ns = socket.socket()\ndef f():\n    return s.fileno()\n'
            'def g():\n    return nowhere\n'
            'with mitogo.Engine() as m:\n    c = m.connect("local")\n'
            '    for fn in (f, g):\n        try:\n            c.call(fn)\n'
            '        except NameError as e:\n            print(e)\n'
        )
        first, second = out.splitlines()
        self.assertIn("'s' is not defined: of the main module", first)
        self.assertIn('pass s as an argument', first)
        self.assertNotIn('main module', second)

    def test_prompt(self):
        text = (
            'import mitogo\nm = mitogo.Engine()\nc = m.connect("local")\nimport os\n'
            'N = {"a": [1, 2]}\n'
            'def helper(n): return n + len(N["a"])\n\n'
            'def f(n, more=1): return helper(n) + more + len(os.sep)\n\nc.call(f, 1)\n'
            'N = {"a": []}\nc.call(f, 1)\nimport threading\nL = threading.Lock()\n'
            'def g(): return L\n\nc.call(g)\nm.close()\n'
        )
        p = subprocess.run(
            [sys.executable, '-i', '-q'],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
        )
        self.assertEqual(p.stdout.split(), ['5', '3'], p.stderr)
        self.assertIn('the variable L', p.stderr)

    def test_cells(self):
        """A notebook's shell compiles cells under names of its own, and has their text in
        linecache.
        """
        text = (
            'import linecache, sys, types\n'
            'shell = types.ModuleType("IPython")\nshell.get_ipython = lambda: 1\n'
            'sys.modules["IPython"] = shell\n'
            'def cell(n, text):\n    name = "<ipython-input-%d>" % n\n'
            '    linecache.cache[name] = len(text), None, text.splitlines(True), name\n'
            '    exec(compile(text, name, "exec"), globals())\n'
            'cell(1, "import mitogo\\nm = mitogo.Engine()\\n'
            'c = m.connect(\\"local\\")\\nBASE = 10\\n")\n'
            'cell(2, "def f(n):\\n    return BASE + n\\n")\ncell(3, "print(c.call(f, 1))\\n")\n'
            'cell(4, "def f(n):\\n    return BASE * n\\n")\n'
            'cell(5, "print(c.call(f, 2))\\nm.close()\\n")\n'
        )
        status, out, err = program(text)
        self.assertEqual((status, out), (0, '11\n20\n'), err)


class Engines(Case):
    def test_wrong_options(self):
        with mitogo.Engine() as m:
            for options in ({'sudo': 'pw'}, {'ssh': mitogo.Sudo()}, {'su': mitogo.SSH()}):
                with self.assertRaisesRegex(TypeError, 'want a mitogo.S'):
                    m.connect('local', **options)

    def test_no_binary(self):
        for given, words in (('/no/such/mitogen', 'is not there'), (HERE, 'is not there')):
            os.environ['MITOGEN_BINARY'], old = given, os.environ['MITOGEN_BINARY']
            try:
                with self.assertRaises(mitogo.EngineError) as e:
                    mitogo.Engine()
                self.assertIn(words, str(e.exception))
                self.assertIn('MITOGEN_BINARY', str(e.exception))
            finally:
                os.environ['MITOGEN_BINARY'] = old

    def test_other_binaries(self):
        with tempfile.TemporaryDirectory() as d:
            for text in ('#!/bin/sh\nexit 2\n', '#!/bin/sh\necho hello >&3\n'):
                name = os.path.join(d, 'mitogen')
                with open(name, 'w') as f:
                    f.write(text)
                os.chmod(name, 0o755)
                os.environ['MITOGEN_BINARY'], old = name, os.environ['MITOGEN_BINARY']
                try:
                    with self.assertRaises(mitogo.EngineLost) as e:
                        with mitogo.Engine() as m:
                            m.connect('local').call(os.getpid)
                    self.assertIn(name, str(e.exception))
                finally:
                    os.environ['MITOGEN_BINARY'] = old

    def test_prompts(self):
        asked = []
        m = self.engine(prompt=lambda hop, kind, text: asked.append((hop, kind)) or 'x')
        m.connect('local', python=TARGET).call(os.getpid)
        self.assertEqual(asked, [])

    def test_lazy_import(self):
        loaded = subprocess.run(
            [
                sys.executable,
                '-S',
                '-c',
                'import sys; sys.path += %r; import mitogo; print(*sys.modules)'
                % [p for p in sys.path if p],
            ],
            stdout=subprocess.PIPE,
            universal_newlines=True,
            timeout=60,
        ).stdout.split()
        for name in (
            'typing',
            'logging',
            'asyncio',
            'subprocess',
            'inspect',
            'dataclasses',
            'socket',
            'ast',
            'enum',
            'threading',
            'collections',
            'functools',
            'signal',
            '_pickle',
        ):
            self.assertNotIn(name, loaded)


# The package's modules: each imports only those before it.
MODULES = (
    'errors _lazy _primitives _outbox _link _values _pieces _source _options _process _asking'
    ' _state _served _sending _call _context _script _receiver _engine _work _fleet aio'
).split()


def imported(text):
    """The package's modules that a module imports when it is itself imported. What only a type
    checker reads, or a function imports when it is called, doesn't count.
    """
    found, todo = set(), list(ast.parse(text).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and getattr(node.test, 'id', '') == 'TYPE_CHECKING':
            todo += node.orelse
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.update([node.module] if node.module else [a.name for a in node.names])
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            todo += ast.iter_child_nodes(node)
    return found


class Modules(unittest.TestCase):
    """The package's modules import one another one way."""

    def test_imported(self):
        for text, want in (
            ('from . import a, b', {'a', 'b'}),
            ('from .a import f\nimport os\nfrom os import path', {'a'}),
            ('if TYPE_CHECKING:\n    from .a import T\nelse:\n    from .b import T', {'b'}),
            ('if not TYPE_CHECKING:\n    from .a import T', {'a'}),
            ('try:\n    from .a import f\nexcept ImportError:\n    pass', {'a'}),
            ('class C:\n    from .a import f\n    def g(self):\n        from .b import h', {'a'}),
        ):
            self.assertEqual(imported(text), want, text)

    def test_one_way(self):
        there = os.path.dirname(mitogo.__file__)
        names = {n[:-3] for n in os.listdir(there) if n.endswith('.py')} - {'__init__'}
        self.assertEqual(names, set(MODULES), 'MODULES lists the files of the package')
        for i, name in enumerate(MODULES):
            with open(os.path.join(there, name + '.py'), encoding='utf-8') as f:
                back = imported(f.read()) - set(MODULES[:i])
            self.assertEqual(back, set(), '%s imports modules that come after it' % name)


def load_tests(loader, tests, pattern):
    """All cases, but of those that start programs a sample, unless MITOGEN_SOAK is set."""
    quick, slow = [], []
    for cls in (Calls, Contexts, Engines, Lives, MainModule, Modules):
        for t in loader.loadTestsFromTestCase(cls):
            (slow if cls in (Lives, MainModule) else quick).append(t)
    if not os.environ.get('MITOGEN_SOAK'):
        slow = random.Random(int(os.environ.get('MITO_TEST_SEED', '1'))).sample(slow, 5)
    return unittest.TestSuite(quick + slow)


if __name__ == '__main__':
    unittest.main()
