"""Many contexts at once, and asyncio."""
import asyncio
import contextlib
import io
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import unittest

import mitogo
import mitogo.aio
import sample

# Targets that lead to the same place, and one that doesn't come up.
GOOD = ['local', 'local+local', 'local+local+local']
BAD = 'exec:/no/such/command'


class Fleets(unittest.TestCase):
    def setUp(self):
        self.m = mitogo.Engine()
        self.addCleanup(self.m.close)

    def test_results(self):
        f = self.m.fleet(GOOD + [BAD] + GOOD)
        self.assertEqual((len(f), f.targets), (4, GOOD + [BAD]))
        r = f.call(sample.facts)
        self.assertEqual(list(r), GOOD + [BAD])
        self.assertEqual(r.values(), {t: sample.facts() for t in GOOD})
        self.assertEqual((list(r.ok), list(r.failed)), (GOOD, [BAD]))
        self.assertIsInstance(r[BAD].error, mitogo.ConnectError)
        with self.assertRaises(mitogo.ConnectError):
            r[BAD].value
        with self.assertRaisesRegex(mitogo.FleetError, '1 of 4') as e:
            r.raise_failed()
        self.assertIs(e.exception.results, r)
        self.assertEqual(self.m.fleet(GOOD).call(sample.pid).raise_failed().failed, {})

    def test_each(self):
        seen = []
        f = self.m.fleet(GOOD + [BAD], forks=2)
        each = f.each(sample.same, 1, progress=lambda *a: seen.append(a), k=2)
        came = {r.target: r for r in each}
        self.assertEqual({t: came[t].value for t in GOOD}, {t: ((1,), {'k': 2}) for t in GOOD})
        self.assertEqual((len(seen), seen[-1]), (4, (4, 1, 4)))
        r = f.call(sample.same, 1, args_for={'local': (5, 6)})
        self.assertEqual((r['local'].value, r['local+local'].value), (((5, 6), {}), ((1,), {})))
        for first in f.each(sample.pid):
            break
        self.assertEqual(len(f.call(sample.pid).ok), 3)

    def test_exceptions_and_timeouts(self):
        f = self.m.fleet(GOOD)
        r = f.call(sample.raises, ValueError, 'no')
        self.assertEqual([type(x.error).__name__ for x in r.failed.values()], ['ValueError'] * 3)
        seconds = {t: (100 if t == 'local' else 0,) for t in GOOD}
        r = f.call(sample.sleep, timeout=3, args_for=seconds)
        self.assertEqual(list(r.failed), ['local'])
        self.assertIsInstance(r['local'].error, TimeoutError)
        self.assertEqual(len(f.call(sample.pid).ok), 3)

    def test_deaf_targets(self):
        """Calls that ignore the interrupt end together, and hold up no other's result."""
        f = self.m.fleet(GOOD)
        f.call(sample.pid)
        killed, kill, wait = [], mitogo.Call._kill, mitogo.Call._wait
        mitogo.Call._kill = lambda c: (killed.append(c._s.target), kill(c))[1]
        mitogo.Call._wait = lambda *a: self.fail('a late call is waited for')
        try:
            seconds = {'local': (0,)}
            r = f.call(sample.deaf, 100, timeout=3, args_for=seconds)
        finally:
            mitogo.Call._kill, mitogo.Call._wait = kill, wait
        self.assertEqual((list(r.ok), sorted(killed)), (['local'], GOOD[1:]))
        self.assertEqual({type(x.error) for x in r.failed.values()}, {TimeoutError})
        self.assertEqual(list(f.call(sample.pid).ok), ['local'])  # the others have ended

    def test_slow_target(self):
        """A target that doesn't come up in time fails alone, and the others connect meanwhile."""
        with tempfile.TemporaryDirectory() as d:
            slow = os.path.join(d, 'slow')
            with open(slow, 'w') as out:
                out.write('#!/bin/sh\nexec sleep 100\n')
            os.chmod(slow, 0o755)
            f = self.m.fleet(['exec:' + slow, BAD] + GOOD, forks=4)
            begin, known = f._begin, []
            f._begin = lambda *a: (known.append(len(f._contexts)), begin(*a))[1]
            r = f.call(len, b'x' * 100000, timeout=5)
            self.assertEqual(list(r.failed), ['exec:' + slow, BAD])
            self.assertIsInstance(r['exec:' + slow].error, TimeoutError)
            self.assertEqual(r.values(), dict.fromkeys(GOOD, 100000))
            self.assertEqual(known[0], 4)

    def test_mistakes(self):
        f = self.m.fleet(GOOD)
        with self.assertRaises(TypeError):
            f.call(lambda: 1)
        with self.assertRaises(TypeError):
            self.m.fleet('local')
        with self.assertRaises(ValueError):
            self.m.fleet(GOOD, forks=0)
        with self.assertRaises(ValueError):
            f.get('/etc/passwd', '/tmp/same')
        with self.assertRaises(KeyError):
            f.context('other')
        self.m.close()
        for use in (
            lambda: f.call(sample.pid),
            lambda: f.start(sample.pid).result(60),
            lambda: list(f.stream(sample.pid)),
            lambda: f.run(['true']),
            lambda: self.m.fleet(GOOD),
        ):
            self.assertRaises(mitogo.EngineLost, use)

    def test_start(self):
        f = self.m.fleet(GOOD + [BAD], forks=2)
        told = queue.Queue()
        call = f.start(sample.same, 1, k=2)
        call.add_done_callback(told.put)
        r = call.result(60)
        self.assertEqual(list(r), GOOD + [BAD])
        self.assertEqual(r.values(), dict.fromkeys(GOOD, ((1,), {'k': 2})))
        self.assertIsInstance(r[BAD].error, mitogo.ConnectError)
        self.assertIs(told.get(timeout=60), call)
        self.assertEqual((call.done(), call.running(), call.cancel()), (True, False, False))
        self.assertEqual((call.cancelled(), call.exception()), (False, None))
        self.assertIn('same on 4 targets, done', repr(call))
        for wrong in (lambda: 1, self.setUp):
            self.assertRaises(TypeError, f.start, wrong)
        self.assertRaises(TypeError, f.start, sample.same, threading.Lock())
        self.assertEqual(self.m.fleet([]).start(sample.pid).result(60).values(), {})

    def test_started_calls_keep_their_order(self):
        f = self.m.fleet(GOOD)
        with tempfile.TemporaryDirectory() as d:
            for t in GOOD:
                os.mkdir(os.path.join(d, t))
            each = {t: (os.path.join(d, t, 'said'),) for t in GOOD}
            f.start(sample.append, args_for=each, word='first')
            f.post(sample.append, args_for=each, word='then')
            f.call(sample.append, args_for=each, word='last').raise_failed()
            for (name,) in each.values():
                with open(name) as said:
                    self.assertEqual(said.read(), 'first then last ')

    def test_cancelled_start(self):
        f = self.m.fleet(GOOD + [BAD], forks=3)
        f.wait()
        call = f.start(sample.sleep, 100)
        with self.assertRaises(TimeoutError):
            call.result(0.01)
        self.assertTrue(call.cancel())
        r = call.result(60)
        self.assertTrue(call.cancelled())
        self.assertEqual({r[t].error.type for t in GOOD}, {'KeyboardInterrupt'})
        self.assertRegex(str(r[BAD].error), 'cancelled before it was begun')
        self.assertEqual(list(f.call(sample.pid).ok), GOOD)
        call = f.start(sample.sleep, 100)
        self.m.close()
        self.assertIsInstance(call.exception(60), (mitogo.EngineLost, type(None)))

    def test_nothing_is_begun_after_cancel(self):
        def cancel(done, failed, of):
            calls.get(timeout=60).cancel()

        f, calls = self.m.fleet(GOOD, forks=1), queue.Queue()
        call = f.start(sample.pid, progress=cancel)
        calls.put(call)
        calls.put(call)
        calls.put(call)
        r = call.result(60)
        self.assertEqual([r[t].ok for t in GOOD], [True, False, False])
        for t in GOOD[1:]:
            self.assertRegex(str(r[t].error), 'cancelled before it was begun')

    def test_a_mistake_ends_what_was_begun(self):
        f = self.m.fleet(GOOD)
        f.wait()
        wrong = {GOOD[1]: (threading.Lock(),)}
        for begin in (f.start, f.post):
            self.assertRaises(TypeError, begin, sample.sleep, 1000, args_for=wrong)
            self.assertEqual(len(f.call(sample.pid, timeout=60).ok), 3)

    def test_post(self):
        records = queue.Queue()
        with mitogo.Engine(log=records.put) as m:
            f = m.fleet(GOOD + [BAD])
            f.post(sample.raises, ValueError, 'unheard')
            said = {}
            while len(said) < 4:
                r = records.get(timeout=60)
                if r.levelname == 'ERROR' and r.getMessage().startswith('raises: '):
                    said[r.target] = r.getMessage()
            self.assertEqual(set(said), set(GOOD + [BAD]))
            self.assertEqual(['unheard' in said[t] for t in GOOD], [True] * 3)
            self.assertRaises(TypeError, f.post, lambda: 1)

    def test_stream(self):
        f = self.m.fleet(GOOD + [BAD], forks=2)
        came = {t: [] for t in GOOD + [BAD]}
        for r in f.stream(sample.count, 3, args_for={'local': (2000,)}):
            came[r.target].append(r.value if r.ok else type(r.error))
        self.assertEqual(came.pop(BAD), [mitogo.ConnectError])
        self.assertEqual(came.pop('local'), list(range(2000)))
        self.assertEqual(list(came.values()), [[0, 1, 2]] * 2)
        one = [(r.value, r.ok) for r in self.m.fleet(['local']).stream(sample.same, 1)]
        self.assertEqual(one, [(((1,), {}), True)])
        with self.assertRaises(TypeError):
            next(f.stream(lambda: 1))

    def test_streams_without_end(self):
        """More run than connect at once; leaving the loop ends them there."""
        f = self.m.fleet(GOOD, forks=1)
        seen, last = set(), {}
        stream = f.stream(sample.ticks)
        for r in stream:
            seen.add(r.target)
            self.assertGreater(r.value, last.get(r.target, -1))
            last[r.target] = r.value
            if seen == set(GOOD):
                break
        stream.close()
        self.assertEqual(len(f.call(sample.pid).ok), 3)
        r = list(f.stream(sample.sleep, 100, timeout=3, args_for={'local': (0,)}))
        self.assertEqual(sorted(x.target for x in r if not x.ok), GOOD[1:])
        self.assertEqual({type(x.error) for x in r if not x.ok}, {TimeoutError})

    def test_stream_that_fails(self):
        f = self.m.fleet(GOOD)
        got = [(r.target, r.ok) for r in f.stream(sample.breaks_after, 2)]
        want = [(t, ok) for t in GOOD for ok in (False, True, True)]
        self.assertEqual(sorted(got), sorted(want))

    def test_items_before_a_timeout(self):
        """What came before the time was up is no failure, however late the program takes it."""
        f = self.m.fleet(['local'])
        f.wait()
        got = []
        for r in f.stream(sample.counts_and_sleeps, 3, 100, timeout=2):
            got.append(r.value if r.ok else type(r.error))
            if len(got) == 1:
                time.sleep(3)
        self.assertEqual(got, [0, 1, 2, TimeoutError])

    def test_progress_line(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        for stream, want in ((Terminal(), r'\r1 of 3 .*\r3 of 3 done, 0 failed\x1b\[K\n\Z'), (io.StringIO(), r'\Z')):
            with contextlib.redirect_stderr(stream):
                self.m.fleet(GOOD).call(sample.pid, progress=True)
            self.assertRegex(stream.getvalue(), r'(?s)\A' + want)

    def test_progress_that_raises(self):
        """It ends what is done, in whatever thread it is called."""
        def progress(done, failed, of):
            raise ArithmeticError('%d of %d' % (done, of))

        f = self.m.fleet(GOOD, forks=1)
        for use in (
            lambda: f.run(['true'], progress=progress),
            lambda: f.call(sample.pid, progress=progress),
            lambda: f.start(sample.pid, progress=progress).result(60),
        ):
            self.assertRaisesRegex(ArithmeticError, '1 of 3', use)

    def test_run_put_get(self):
        f = self.m.fleet(GOOD + [BAD])
        r = f.run(['echo', 'x'])
        self.assertEqual({t: x.value.stdout for t, x in r.ok.items()}, {t: 'x\n' for t in GOOD})
        with tempfile.TemporaryDirectory() as d:
            with open(d + '/a', 'w') as out:
                out.write('text')
            self.assertEqual(list(f.put(d + '/a', d + '/b').ok), GOOD)
            f.get(d + '/b', d + '/c-{target}')
            self.assertEqual(sorted(os.listdir(d)), ['a', 'b'] + ['c-' + t for t in GOOD])


class Asyncio(unittest.TestCase):
    def run_async(self, body, **options):
        async def main():
            async with mitogo.aio.Engine(**options) as m:
                return await asyncio.wait_for(body(m), 60)
        return asyncio.run(main())

    def test_calls(self):
        async def body(m):
            c = m.connect('local')
            self.assertEqual(await c.call(sample.facts), sample.facts())
            got = await asyncio.gather(*[c.call(sample.same, i) for i in range(500)])
            self.assertEqual(got, [((i,), {}) for i in range(500)])
            with self.assertRaises(ZeroDivisionError):
                await c.call(sample.raises, ZeroDivisionError)
            self.assertEqual((await c.run(['echo', 'x'])).stdout, 'x\n')
            self.assertEqual([i async for i in c.stream(sample.count, 300)], list(range(300)))
            b = c.connect('local')
            self.assertNotEqual(await b.call(sample.pid), await c.call(sample.pid))
            await b.close()
            with self.assertRaises(mitogo.ConnectError):
                await m.connect(BAD).wait()
        self.run_async(body)

    def test_cancel(self):
        async def body(m):
            c = await m.connect('local').wait()
            for seconds in (.1, .3):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(c.call(sample.sleep, 100), seconds)
            async for item in c.stream(sample.ticks):
                break
            self.assertGreater(await c.call(sample.pid), 0)
        self.run_async(body)

    def test_fleet(self):
        async def body(m):
            r = await m.fleet(GOOD + [BAD]).call(sample.facts)
            self.assertEqual((list(r.ok), list(r.failed)), (GOOD, [BAD]))
        self.run_async(body)

    def test_start_post_and_stream_of_a_fleet(self):
        records = queue.Queue()

        async def body(m):
            f = m.fleet(GOOD + [BAD], forks=2)
            started = f.start(sample.same, 1)
            f.post(sample.raises, ValueError, 'unheard')
            self.assertIsInstance(started, asyncio.Task)
            r = await started
            self.assertEqual((list(r), list(r.failed)), (GOOD + [BAD], [BAD]))
            came = {t: [] for t in GOOD + [BAD]}
            async for r in f.stream(sample.count, 3, args_for={'local': (500,)}):
                came[r.target].append(r.value if r.ok else type(r.error))
            self.assertEqual(came.pop(BAD), [mitogo.ConnectError])
            self.assertEqual(came.pop('local'), list(range(500)))
            self.assertEqual(list(came.values()), [[0, 1, 2]] * 2)
            f = m.fleet(GOOD, forks=1)
            endless = f.stream(sample.ticks)
            seen = set()
            async for r in endless:
                seen.add(r.target)
                if seen == set(GOOD):
                    break
            await endless.aclose()
            self.assertEqual(len((await f.call(sample.pid)).ok), 3)
            r = [x async for x in f.stream(sample.sleep, 100, timeout=2)]
            self.assertEqual([type(x.error) for x in r], [TimeoutError] * 3)
            slow = f.start(sample.sleep, 100)
            await asyncio.sleep(0.1)
            slow.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await slow
            for begin in (f.each, f.start, f.post, f.stream):
                self.assertRaises(TypeError, begin, lambda: 1)
            said = set()
            while len(said) < 4:
                r = records.get_nowait()
                if r.getMessage().startswith('raises: '):
                    said.add(r.target)
            self.assertEqual(said, set(GOOD + [BAD]))

        self.run_async(body, log=records.put)

    def test_fleet_of_a_lost_engine(self):
        async def body(m):
            f = m.fleet(GOOD)
            await f.wait()
            running, items = f.start(sample.sleep, 100), f.stream(sample.ticks)
            await items.__anext__()
            os.kill(m._engine._pid, signal.SIGKILL)
            with self.assertRaises(mitogo.EngineLost):
                await running
            with self.assertRaises(mitogo.EngineLost):
                async for _ in items:
                    pass

        self.run_async(body)

    def test_large_calls_wait_outside_the_loop(self):
        wait, blocked = mitogo.Context.wait, []

        def spy(c, *args):
            q = c._s.connecting
            blocked.append(q is not None and q.kind is None)
            return wait(c, *args)

        async def body(m):
            r = await m.fleet(GOOD).call(len, b'x' * 100000)
            self.assertEqual(r.values(), dict.fromkeys(GOOD, 100000))

        mitogo.Context.wait = spy
        try:
            self.run_async(body)
        finally:
            mitogo.Context.wait = wait
        self.assertEqual(set(blocked), {False})

    def test_nothing_to_read(self):
        """The loop goes on if another thread was quicker to read."""
        async def body(m):
            c = await m.connect('local').wait()
            timer = threading.Timer(20, c._sync.start, (sample.pid,))
            timer.start()
            m._readable()
            self.assertTrue(timer.is_alive())
            timer.cancel()
        self.run_async(body)

    def test_read_by_another_thread(self):
        """What another thread reads resolves the futures of the loop."""
        async def body(m):
            a, b = m.connect('local'), m.connect('local')
            await asyncio.gather(a.wait(), b.wait())
            m._loop.remove_reader(m._engine._link.fd)  # so that the thread is always quicker
            slow = a._sync.start(sample.sleep, 100)
            thread = m._loop.run_in_executor(None, slow.exception)
            self.assertGreater(await b.call(sample.pid), 0)
            self.assertEqual([i async for i in b.stream(sample.count, 3)], [0, 1, 2])
            await b.connect('local').wait()
            self.assertEqual((await b.run(['echo', 'x'])).stdout, 'x\n')
            self.assertFalse(slow.done())
            m._loop.add_reader(m._engine._link.fd, m._readable)
            slow.cancel()
            self.assertIsInstance(await thread, mitogo.CallError)
        self.run_async(body)

    def test_closed_in_turn(self):
        async def body(m):
            contexts = [m.connect('local') for _ in range(6)]
            await asyncio.gather(*[c.wait() for c in contexts])
            for i, c in enumerate(contexts):
                await asyncio.gather(c.close(), *[x.call(sample.pid) for x in contexts[i + 1:]])
            for _ in range(10):
                c = m.connect('local')
                await c.call(sample.pid)
                await c.close()
        self.run_async(body)

    def test_killed_engine(self):
        async def body(m):
            c = m.connect('local')
            call = asyncio.ensure_future(c.call(sample.sleep, 100))
            await c.wait()
            os.kill(m._engine._pid, 9)
            with self.assertRaises(mitogo.EngineLost):
                await call
        self.run_async(body)

    def test_not_entered(self):
        with self.assertRaises(mitogo.EngineError):
            mitogo.aio.Engine().connect('local')


if __name__ == '__main__':
    unittest.main()
