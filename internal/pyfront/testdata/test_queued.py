"""Calls that are begun one after another, which leave in one write: none is left, whatever happens
to the program before that.
"""

import asyncio
import contextlib
import dis
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import mitogo
import mitogo.aio
import sample
from mitogo import _outbox
from mitogo._link import Link

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable
NEVER = 1e9  # seconds: so long after a write calls are queued
real = os.writev


class Writes:
    """What stands for module os in _outbox: notes what is written, and can go wrong."""

    def __init__(self):
        self.all, self.before = [], lambda fd, data: None

    def writev(self, fd, data):
        n = self.before(fd, data)
        if n is None:
            n = real(fd, data)
        self.all.append(b''.join(data)[:n])
        return n


class Case(unittest.TestCase):
    def setUp(self):
        self.writes = Writes()
        for patch in (
            mock.patch.object(_outbox, 'LAG', NEVER),
            mock.patch.object(_outbox, 'os', self.writes),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        self.path = os.path.join(d.name, 'words')

    def words(self):
        try:
            with open(self.path) as f:
                return f.read().replace(' ', '')
        except OSError:
            return ''

    def has(self, words):
        """Wait until the calls have run, without anything that would write."""
        end = time.time() + 60
        while self.words() != words and time.time() < end:
            time.sleep(0.01)
        self.assertEqual(self.words(), words)


class Threads(Case):
    def setUp(self):
        super().setUp()
        self.m = mitogo.Engine(output=lambda target, text: self.output(text))
        self.addCleanup(self.m.close)
        self.c = self.m.connect('local', python=TARGET).wait()
        self.c.call(sample.append, self.path, '-')
        self.link = self.m._link
        self.output = lambda text: None

    @contextlib.contextmanager
    def held(self):
        """Have nothing written by the background thread."""
        with mock.patch.object(self.link, '_write_over', lambda: None):
            with self.link._out.lock:  # the thread isn't writing any more
                pass
            with mock.patch.object(self.link._out, 'arm', lambda armed: True):
                yield

    def test_one_write(self):
        with self.held():
            self.writes.all.clear()
            calls = [self.c.start(sample.same, n) for n in range(100)]
            self.assertEqual(self.writes.all, [])
            self.assertEqual([x.result() for x in calls], [((n,), {}) for n in range(100)])
            self.assertEqual(len(self.writes.all), 1)

    def test_one_write_in_time(self):
        """A call is written at once if none was shortly before, and the rest if much is queued."""
        with mock.patch.object(_outbox, 'LAG', 0), self.held():
            self.writes.all.clear()
            self.c.start(os.getpid)
            self.assertEqual(len(self.writes.all), 1)
        with self.held():
            self.writes.all.clear()
            calls = [self.c.start(len, 'x' * 1000) for _ in range(_outbox.BOUND // 1000 + 1)]
            self.assertEqual(len(self.writes.all), 1)
            self.assertEqual({x.result() for x in calls}, {1000})

    def test_order(self):
        """Nothing overtakes what was queued before."""
        with self.held():
            for word in 'abc':
                self.c.post(sample.append, self.path, word)
            self.assertEqual(self.words(), '-')
            self.c.call(sample.append, self.path, 'd')
            self.assertEqual(self.words(), '-abcd')
            self.c.post(sample.append, self.path, 'e')
            self.assertEqual(list(self.c.stream(sample.count, 2)), [0, 1])
            self.assertEqual(self.words(), '-abcde')
            large = self.c.start(len, bytes(1 << 20))
            self.c.post(sample.append, self.path, 'f')
            self.assertEqual(large.result(), 1 << 20)
            cancelled = self.c.start(sample.sleep, 100)
            cancelled.cancel()
            self.assertIsInstance(cancelled.exception(), mitogo.CallError)
            self.c.call(os.getpid)
            self.assertEqual(self.words(), '-abcdef')

    def test_left_to_the_thread(self):
        """The program does something else: the background thread writes."""
        for word in 'ab':
            self.c.post(sample.append, self.path, word)
        self.has('-ab')
        time.sleep(0.05)  # so that the thread reads
        self.c.post(sample.append, self.path, 'c')
        self.has('-abc')
        words = '-abc'
        for _ in range(20):
            threads = [
                threading.Thread(target=self.c.post, args=(sample.append, self.path, 'd'))
                for _ in range(5)
            ]
            for t in threads:
                t.start()
            words += 'ddddd'
            self.has(words)

    def test_thread_that_looks_too_early(self):
        """The background thread, which reads, looks before the call that woke it is queued."""
        arm = self.link._out.arm

        def slow(armed):
            done = arm(armed)
            time.sleep(0.05)
            return done

        time.sleep(0.05)  # so that the thread reads
        with mock.patch.object(self.link._out, 'arm', slow):
            self.c.post(sample.append, self.path, 'a')
        self.has('-a')

    def test_thread_that_is_busy(self):
        """The background thread runs code of the program's, which waits for the call."""
        heard, came = threading.Event(), []

        def output(text):
            heard.set()
            end = time.time() + 60
            while 'b' not in self.words() and time.time() < end:
                time.sleep(0.01)
            came.append(self.words())

        self.output = output
        self.c.post(sample.says, 'x')
        self.assertTrue(heard.wait(60))
        self.c.post(sample.append, self.path, 'b')
        self.has('-b')
        self.c.call(os.getpid)
        self.assertEqual(came[:1], ['-b'])

    def test_forked(self):
        """A child that is forked while calls wait doesn't send them too."""
        with self.held():
            self.c.post(sample.append, self.path, 'a')
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    if not self.link._out.waits():
                        self.c.call(os.getpid)
                except mitogo.EngineLost:
                    status = 0
                finally:
                    os._exit(status)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertEqual(self.words(), '-')
            self.c.call(sample.append, self.path, 'b')
        self.assertEqual(self.words(), '-ab')

    def interrupted(self, due, do):
        """Do something with an interrupt in the line of _outbox before which due() is true."""

        def trace(frame, event, arg):
            if frame.f_code.co_filename != _outbox.__file__:
                return None
            if event == 'line' and due():
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            do()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)

    def test_interrupted_writes(self):
        """Interrupts behind writes of a part: no call is lost, or sent twice."""
        rng = random.Random(int(os.environ.get('MITO_TEST_SEED', '1')))
        words = '-'
        for _ in range(30):
            left, written = rng.randrange(1, 4), []

            def before(fd, data):
                nonlocal left
                if not left:
                    return None
                left -= 1
                written.append(True)
                whole = b''.join(data)
                return os.write(fd, whole[: rng.randrange(1, len(whole) + 1)])

            def due():
                return bool(written and written.pop())

            with self.held():
                for word in 'abc':
                    self.c.post(sample.append, self.path, word)
                self.writes.before = before
                self.interrupted(due, self.link.flush)
                self.writes.before = lambda fd, data: None
                self.c.call(os.getpid)
            words += 'abc'
            self.assertEqual(self.words(), words)

    def test_interrupted_anywhere(self):
        """An interrupt between any two lines of what queues and writes."""
        with self.held():
            for n in range(1, 50):
                before, steps, begun = self.words(), n, []

                def due():
                    nonlocal steps
                    steps -= 1
                    return steps == 0

                def do():
                    begun.append(self.c.start(sample.append, self.path, 'b'))
                    self.link.flush()

                self.c.post(sample.append, self.path, 'a')
                self.interrupted(due, do)
                self.c.call(os.getpid)
                got = self.words()[len(before) :]
                self.assertIn(got, ['ab'] if begun else ['a', 'ab'], 'at line %d' % n)

    @unittest.skipIf(sys.version_info[:2] != (3, 11), 'shows no step by step what a call does')
    def test_interrupted_while_a_lock_is_taken(self):
        """An interrupt behind any call that waiting makes itself: no lock stays taken."""
        codes = {f.__code__ for f in (Link.wait, Link.answered, Link.deliver, Link._read)}
        behind = {code: set() for code in codes}
        for code in codes:
            steps = list(dis.get_instructions(code))
            behind[code].update(b.offset for a, b in zip(steps, steps[1:]) if a.opname == 'CALL')
        for n in itertools.count(1):
            left = n

            def trace(frame, event, arg):
                nonlocal left
                if frame.f_code not in codes:
                    return None
                frame.f_trace_opcodes = True
                if event == 'opcode' and frame.f_lasti in behind[frame.f_code]:
                    left -= 1
                    if not left:
                        raise KeyboardInterrupt
                return trace

            sys.settrace(trace)
            try:
                self.c.start(os.getpid).add_done_callback(lambda call: None)
                self.c.call(os.getpid)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            self.assertIsInstance(self.c.options(timeout=30).call(os.getpid), int, n)
            self.assertFalse(self.link._delivering.locked(), n)
            if left > 0:
                break
        self.assertGreater(n, 10)

    def test_killed_engine(self):
        with self.held():
            calls = [self.c.start(os.getpid) for _ in range(3)]
            os.kill(self.m._pid, signal.SIGKILL)
            for call in calls:
                with self.assertRaises(mitogo.EngineLost):
                    call.result()
            with self.assertRaises(mitogo.EngineLost):
                self.c.start(os.getpid)

    def test_killed_engine_behind_the_thread(self):
        os.kill(self.m._pid, signal.SIGKILL)
        told = threading.Event()
        try:
            self.c.start(os.getpid).add_done_callback(lambda call: told.set())
        except mitogo.EngineLost:
            told.set()
        self.assertTrue(told.wait(60), 'a call that was begun ends with the engine')

    def test_close(self):
        """What was begun before the end is sent before the end."""
        with self.held():
            self.c.post(sample.append, self.path, 'a')
            self.writes.all.clear()
            self.m.close()
        self.assertIn(b'sample:append\0', b''.join(self.writes.all))


class Loop(Case):
    def run_async(self, body):
        async def all():
            async with mitogo.aio.Engine() as m:
                c = await m.connect('local', python=TARGET).wait()
                await c.call(sample.append, self.path, '-')
                await body(c)

        asyncio.run(all())

    def test_one_write(self):
        async def body(c):
            self.writes.all.clear()
            calls = [c.start(sample.same, n) for n in range(100)]
            self.assertEqual([await x for x in calls], [((n,), {}) for n in range(100)])
            self.assertEqual(len(self.writes.all), 1)
            c.post(sample.append, self.path, 'a')
            self.assertEqual(len(self.writes.all), 1)
            await asyncio.sleep(0)
            self.assertEqual(len(self.writes.all), 2)
            self.has('-a')

        self.run_async(body)

    def test_threads(self):
        """What other threads begin doesn't wait for the loop."""

        async def body(c):
            c.post(sample.append, self.path, 'a')
            t = threading.Thread(target=c._sync.post, args=(sample.append, self.path, 'b'))
            t.start()
            self.has('-ab')  # in the loop's own thread: nothing else runs there meanwhile
            t.join()

        self.run_async(body)

    def test_order(self):
        async def body(c):
            for word in 'abc':
                c.post(sample.append, self.path, word)
            await c.call(sample.append, self.path, 'd')
            self.assertEqual(self.words(), '-abcd')

        self.run_async(body)

    def test_killed_engine(self):
        async def body(c):
            os.kill(c._engine._engine._pid, signal.SIGKILL)
            with self.assertRaises(mitogo.EngineLost):
                await c.call(os.getpid)

        self.run_async(body)


if __name__ == '__main__':
    unittest.main()
