"""Values between program and contexts while calls run, scripts, inventories, and that asyncio has
the same names.
"""
import asyncio
import inspect
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import mitogo
import mitogo.aio
import sample
import talking
from mitogo import _link, _receiver

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable


class Case(unittest.TestCase):
    def setUp(self):
        self.m = mitogo.Engine()
        self.addCleanup(self.m.close)
        self.a = self.m.connect('local', python=TARGET)


class Receivers(Case):
    def setUp(self):
        super().setUp()
        if self.a.info.version < (2, 7):
            self.skipTest('receivers need Python 2.7')
        self.b = self.m.connect('local')

    def test_values(self):
        with self.m.receiver() as r:
            self.a.start(talking.produce, r.sender, [1, 'tëxt', {'a': [2.5, None]}])
            self.assertEqual(list(r), [1, 'tëxt', {'a': [2.5, None]}])
            self.assertRaises(mitogo.ReceiverClosed, r.get)

    def test_several_contexts(self):
        """The end is when each context has closed each sender that it was given."""
        r = self.m.receiver(int)
        calls = [c.start(talking.produce, r.sender, list(range(500))) for c in (self.a, self.b)]
        calls.append(self.a.start(talking.produce, r.sender, [1, 2]))
        self.assertEqual(sum(r), 2 * sum(range(500)) + 3)
        self.assertEqual([c.result() for c in calls], [None] * 3)
        self.b.call(talking.produce, r.sender, [7])  # given anew
        self.assertEqual(list(r), [7])

    def test_sizes(self):
        numbers = [0, 1, 131071, 131072, 131073, 3 << 20, 5, 1 << 20]
        r = self.m.receiver()
        call = self.a.start(talking.sizes, r.sender, numbers)
        self.assertEqual([len(v) for v in r], numbers)
        call.result()

    def test_a_slow_reader(self):
        """A context is at most a window ahead."""
        r = self.m.receiver()
        call = self.a.start(talking.sends, r.sender, 'x' * 100000, 40)
        self.assertFalse(self.m._link.wait(call.done, time.monotonic() + 1))
        held = sum(len(i) for q in self.m._link.inlets.values() for i, _ in q.items)
        self.assertLess(held, 1300000)
        for _ in range(40):
            self.assertEqual(len(r.get()), 100000)
        call.result()

    def test_too_large(self):
        m = mitogo.Engine(max_message=1 << 20)
        self.addCleanup(m.close)
        r = m.receiver()
        call = m.connect('local').start(talking.sizes, r.sender, [10, 1 << 21, 1 << 21, 10])
        self.assertEqual(len(r.get()), 10)
        self.assertRaises(mitogo.SenderLost, r.get)
        self.assertRaises(mitogo.CallError, call.result)

    def test_own_classes(self):
        r = self.m.receiver(sample.Facts)
        self.b.start(talking.sends, r.sender, sample.facts())
        self.assertEqual(r.get(), sample.facts())
        r = self.m.receiver()
        self.b.start(talking.sends, r.sender, sample.facts())
        self.assertRaisesRegex(TypeError, 'sample.Facts', r.get)

    def test_timeout_and_close(self):
        r = self.m.receiver()
        self.assertRaises(TimeoutError, r.get, 0.05)
        call = self.a.start(talking.until_refused, r.sender)
        self.assertEqual(r.get(60), 0)
        r.close()
        self.assertEqual(call.result(), 'refused')
        self.assertRaises(mitogo.ReceiverClosed, r.get)
        self.assertEqual(list(r), [])
        self.assertEqual(self.m._link.inlets, {})

    def test_close_wakes(self):
        r, got = self.m.receiver(), []
        t = threading.Thread(target=lambda: got.append(list(r)))
        t.start()
        time.sleep(0.1)
        r.close()
        t.join(60)
        self.assertEqual(got, [[]])

    def test_lost(self):
        """What a lost context had sent comes, then why there is no more; others go on."""
        r = self.m.receiver()
        self.a.start(talking.ends, r.sender)
        self.assertEqual(r.get(), 1)
        self.assertRaisesRegex(mitogo.SenderLost, 'local', r.get)
        self.assertEqual(list(r), [])
        self.b.start(talking.produce, r.sender, [2])
        self.assertEqual(list(r), [2])

    def test_failed_call(self):
        """A call that fails sends no more, whether it was to the program or to a context."""
        r = self.m.receiver()
        call = self.a.start(talking.produce, r.sender, 5)
        self.assertRaisesRegex(mitogo.SenderLost, 'failed', r.get)
        self.assertRaises(TypeError, call.result)
        items = self.b.stream(talking.inbox)
        self.a.start(talking.produce, next(items), 5)
        with self.assertRaises(mitogo.CallError) as e:
            next(items)
        self.assertEqual(e.exception.type, 'SenderLost')

    def test_engine_lost(self):
        r = self.m.receiver()
        self.b.start(talking.waits, r.sender, 1)
        self.assertEqual(r.get(), 1)
        os.kill(self.m._pid, 9)
        self.assertRaises(mitogo.EngineLost, r.get)

    def test_calls_of_one_context(self):
        """Each closes the sender that they share, or the last does, or the first."""
        for closing, values in (((1, 1), [1, 2]), ((0, 1), [1, 2]), ((1, 0), [1, 2])):
            inbox = self.m.receiver()
            calls = [
                self.a.start(talking.produce if closes else talking.sends, inbox.sender, value)
                for closes, value in zip(closing, ([1] if closing[0] else 1, [2] if closing[1] else 2))
            ]
            self.assertEqual([inbox.get(60), inbox.get(60)], values, closing)
            with self.assertRaises(mitogo.ReceiverClosed):
                inbox.get(60)
            for call in calls:
                call.result(60)
            self.a.call(talking.produce, inbox.sender, [3])  # anew
            self.assertEqual(list(inbox), [3])
        inbox = self.m.receiver()
        self.a.call(talking.sends, inbox.sender, 1)
        with self.assertRaises(ValueError):
            self.a.call(talking.sends_and_fails, inbox.sender, 2)
        self.assertEqual([inbox.get(60), inbox.get(60)], [1, 2])
        with self.assertRaises(mitogo.SenderLost):
            inbox.get(60)

    def test_sending_on_after_the_end(self):
        """A thread of a call that has ended is told that a later one has closed the sender."""
        inbox = self.m.receiver()
        self.a.call(talking.goes_on, inbox.sender)
        self.a.call(talking.produce, inbox.sender, [])
        for value in inbox:
            self.assertEqual(value, 'on')
        self.assertEqual(self.a.call(talking.went), 'refused')

    def test_nothing_is_kept_of_what_has_ended(self):
        link = self.m._link
        for i in range(3):
            with self.m.connect('local') as c:
                items = c.stream(talking.inbox)
                sender = next(items)
                sender.send(1)
                self.a.call(talking.sends, sender, 2)
                self.assertEqual(sorted([next(items), next(items)]), [1, 2])
                self.assertNotEqual([k for k in link.flows if k[0] == c._s.id], [])
                self.assertIn(c._s.id, [to for to, _ in self.m._permits[self.a._s.id]])
                items.close()
            with self.assertRaises(mitogo.ReceiverClosed):
                sender.send(3)
            for keys in (link.flows, link.refused, link.owed, link.inlets):
                self.assertEqual([k for k in keys if k[0] == c._s.id], [])
            self.assertNotIn(c._s.id, link.known)
            self.assertEqual(self.m._permits[self.a._s.id], {})
        most, _link.MOST = _link.MOST, 2
        try:
            for i in range(4):
                items = self.a.stream(talking.closing)
                sender = next(items)
                sender.send(1)
                self.assertEqual(list(items), ['closed'])
                with self.assertRaises(mitogo.ReceiverClosed):
                    while True:
                        sender.send(2)
                with self.assertRaises(mitogo.ReceiverClosed):
                    sender.send(3)
        finally:
            _link.MOST = most
        self.assertEqual([k for k in link.flows if k[0] == self.a._s.id], [])
        self.assertLessEqual(len(link.refused), 2)
        inbox = self.a.stream(talking.inbox)
        sender = next(inbox)
        sender.close()
        self.assertEqual(list(inbox), [])
        self.assertEqual([k for k in link.flows if k[0] == self.a._s.id], [])

    def test_to_a_context(self):
        items = self.b.stream(talking.inbox)
        out = next(items)
        self.assertIsInstance(out, mitogo.Sender)
        values = [1, {'a': 'x' * 300000}, b'y' * 131072, None, [2] * 10]
        for v in values:
            out.send(v)
        out.close()
        self.assertEqual(list(items), values)
        self.assertRaises(mitogo.ReceiverClosed, out.send, 1)

    def test_between_contexts(self):
        """What passes between two contexts doesn't pass the program."""
        items = self.b.stream(talking.inbox)
        self.a.call(talking.produce, next(items), list(range(1000)))
        self.assertEqual(list(items), list(range(1000)))

    def test_between_contexts_lost(self):
        c = self.m.connect('local')
        items = self.b.stream(talking.inbox)
        c.start(talking.ends, next(items))
        self.assertEqual(next(items), 1)
        with self.assertRaises(mitogo.CallError) as e:
            next(items)
        self.assertEqual(e.exception.type, 'SenderLost')

    def test_in_a_context(self):
        items = self.b.stream(talking.slow_inbox)
        next(items)
        self.assertRaises(TimeoutError, next, items)
        items = self.b.stream(talking.closing)
        out = next(items)
        out.send(1)
        self.assertEqual(next(items), 'closed')
        with self.assertRaises(mitogo.ReceiverClosed):
            for _ in range(10000):
                out.send('x' * 1000)

    def test_nothing_but_what_was_given(self):
        """A context can't name what it was not given, nor have the program name it to others."""
        items = self.b.stream(talking.inbox)
        out = next(items)
        own = out._handle
        for context, handle in ((self.b._s.id, own), (0, 1 << 30), (self.a._s.id, 0), (99, 1000)):
            with self.assertRaisesRegex(TypeError, 'another context'):
                self.a.call(talking.forged, context, handle)
        for context, handle in ((self.b._s.id, own), (0, self.m.receiver()._handle)):
            self.a.call(talking.sends, Forged(context, handle), 'forged')
        out.send('mine')
        self.assertEqual(next(items), 'mine')

    def test_what_is_refused(self):
        r, other = self.m.receiver(), mitogo.Engine()
        self.addCleanup(other.close)
        self.assertRaisesRegex(TypeError, 'for contexts', r.sender.send, 1)
        with self.assertRaisesRegex(TypeError, 'another engine'):
            other.connect('local').call(talking.sends, r.sender, 1)
        items = self.b.stream(talking.inbox)
        out = next(items)
        for v in (sample.facts(), r.sender, object(), self.m.serve(print)):
            self.assertRaises(TypeError, out.send, v)

    def test_asyncio(self):
        async def main():
            async with mitogo.aio.Engine() as m:
                a, b = m.connect('local'), m.connect('local')
                async with m.receiver(int) as r:
                    tasks = [c.start(talking.produce, r.sender, [1, 2, 3]) for c in (a, b)]
                    total = 0
                    async for n in r:
                        total += n
                    await asyncio.gather(*tasks)
                quiet = m.receiver()
                for _ in range(3):
                    with self.assertRaises(TimeoutError):
                        await quiet.get(0.05)
                self.assertEqual(quiet._sync._tells, [])  # nothing is kept of a get that ended
                items = b.stream(talking.inbox)
                await a.call(talking.produce, await items.__anext__(), [4, 5])
                return total, [n async for n in items]

        self.assertEqual(asyncio.run(main()), (12, [4, 5]))


class Forged(mitogo.Sender):
    """Is sent without being given."""

    def __init__(self, context, handle):
        super().__init__(context, handle, None)

    def _grant(self, s, call):
        return b''


class Inlets(unittest.TestCase):
    def test_frames_that_come_again(self):
        """A value that was taken when an interrupt came is not taken twice."""
        link = _link.Link(os.open('/dev/null', os.O_RDWR), 1 << 20)
        self.addCleanup(link.close)
        order = _receiver.deque()
        q = link.inlets[7, 1 << 30] = _link.Inlet(7, 1 << 30, 1 << 20, order)
        for _ in range(2):
            link._other(_link.ITEM, 7, 1 << 30, 0, b'v', 20)
        link._other(_link.ITEM, 8, 1 << 30, 0, b'v', 40)  # of a context that it wasn't given to
        self.assertEqual((len(order), len(q.items)), (1, 1))
        link._other(_link.DATA, 7, 1 << 30, 0, b'', 80)
        link._other(_link.ITEM, 7, 1 << 30, 0, b'v', 120)
        self.assertEqual((len(order), len(q.items), link.inlets), (2, 1, {}))

    def test_a_value_beyond_the_limit(self):
        """A context that sends more than it may is not taken any more, and keeps no memory."""
        link = _link.Link(os.open('/dev/null', os.O_RDWR), 1 << 18)
        self.addCleanup(link.close)
        q = link.inlets[7, 1 << 30] = _link.Inlet(7, 1 << 30, 1 << 18, _receiver.deque())
        for n in range(10):
            link._other(_link.PART, 7, 1 << 30, 0, bytes(1 << 17), 20 + n)
        self.assertEqual((q.kind, q.parts, len(q.items), link.inlets), (_link.DEAD, None, 0, {}))
        self.assertIn('max_message', q.why)


class Scripts(Case):
    def script(self, text):
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        name = os.path.join(d.name, 'script.py')
        with open(name, 'w') as f:
            f.write(text)
        return name

    def test_script(self):
        name = self.script(
            'import sys\ndata = sys.stdin.read()\nsys.stderr.write("err\\n")\n'
            'print("%s %d %s" % (sys.argv[1:], len(data), __name__))\nsys.exit(3)\n'
        )
        for size in (0, 1, 3000000):
            p = self.a.script(name, 'a b', input='x' * size)
            want = "['a b'] %d __main__\n" % size
            self.assertEqual((p.returncode, p.stdout, p.stderr), (3, want, 'err\n'))
        self.assertEqual(self.a.script(name, text=False).stderr, b'err\n')
        with self.assertRaises(subprocess.CalledProcessError) as e:
            self.a.script(name, check=True)
        self.assertEqual((e.exception.returncode, e.exception.stderr), (3, 'err\n'))

    def test_imports_what_is_here(self):
        if self.a.info.version < (3, 7):
            self.skipTest('sample is for Python 3.7')
        p = self.a.script(self.script('import sample\nprint(sample.same(1))\n'))
        self.assertEqual((p.stdout, p.returncode), ('((1,), {})\n', 0), p.stderr)

    def test_traceback(self):
        p = self.a.script(self.script('x = 1\nraise ValueError(x)\n'))
        self.assertEqual(p.returncode, 1)
        self.assertIn('ValueError: 1', p.stderr)
        self.assertIn('line 2', p.stderr)

    def test_input_that_is_not_read(self):
        p = self.a.script(self.script('print(1)\n'), input='x' * 5000000)
        self.assertEqual((p.returncode, p.stdout), (0, '1\n'))
        self.assertEqual(self.a.call(os.getpid), self.a.info.pid)

    def test_timeout(self):
        name = self.script('import time\ntime.sleep(100)\n')
        self.assertRaises(TimeoutError, self.a.options(timeout=1).script, name)


class Programs(Case):
    def test_run_timeout(self):
        with self.assertRaises(subprocess.TimeoutExpired) as e:
            self.a.run(['sleep', '100'], timeout=0.5)
        self.assertEqual((e.exception.cmd, e.exception.timeout), (['sleep', '100'], 0.5))
        self.assertEqual(self.a.run(['echo', '1'], timeout=60).stdout, '1\n')
        with self.assertRaises(OSError):
            self.a.run(['/no/such/program'], timeout=60)

    def test_output(self):
        """Output goes where the call that has written it says, and in its order."""
        shown, own = [], []
        m = mitogo.Engine(output=lambda target, text: shown.append(text))
        self.addCleanup(m.close)
        c = m.connect('local')
        quiet = c.options(output=lambda target, text: own.append((target, text)))
        calls = [x.start(talking.said, t) for x, t in ((c, 'a'), (quiet, 'b'), (c, 'd'), (quiet, 'é'))]
        for call in calls:
            call.result()
        self.assertEqual((''.join(shown), own), ('ad', [('local', 'b'), ('local', 'é')]))
        c.call(os.getpid)
        self.assertIsNone(c._s.taker)

    def test_post(self):
        records = []
        m = mitogo.Engine(log=records.append)
        self.addCleanup(m.close)
        c = m.connect('local')
        c.post(sample.raises, ValueError, 'posted')
        c.post(sample.same, 1)
        c.call(os.getpid)
        records = [r for r in records if r.levelno > logging.INFO]
        self.assertEqual([(r.levelno, r.target) for r in records], [(logging.ERROR, 'local')])
        self.assertIn('posted', records[0].getMessage())

    def test_log(self):
        records = []
        m = mitogo.Engine(log=records.append)
        self.addCleanup(m.close)
        m.connect('local').call(sample.logs, 'a record')
        self.assertTrue([r for r in records if 'a record' in r.getMessage()], records)

    def test_files(self):
        with tempfile.TemporaryDirectory() as d:
            names = [os.path.join(d, n) for n in ('a', 'b', '{target}.c')]
            with open(names[0], 'wb') as f:
                f.write(bytes(300000))
            sent, got = [], []
            self.a.put(names[0], names[1], progress=lambda *n: sent.append(n))
            self.a.get(names[1], names[2], progress=lambda *n: got.append(n))
            self.assertEqual((sent[-1], got[-1]), ((300000, 300000), (300000, 0)))
            self.assertEqual(os.path.getsize(os.path.join(d, 'local.c')), 300000)

    def test_stats(self):
        self.a.call(sample.same if self.a.info.version > (3, 7) else os.getpid)
        mine = [s for s in self.m.stats() if s.id == self.a._s.id]
        self.assertEqual([(s.name, s.parent) for s in mine], [('local', 0)])
        self.assertGreater(mine[0].bytes_down, 1000)
        self.assertGreater(mine[0].calls, 0)

    def test_hops_by_methods(self):
        self.assertEqual(self.a.docker('app').target, 'local+docker:app')
        self.assertEqual(self.a.sudo('deploy').target, 'local+sudo:deploy')
        self.assertEqual(self.a.sudo().connect('web1').target, 'local+sudo+web1')


HOSTS = """
[web]
web1 ansible_connection=local
web2 ansible_connection=local
old ansible_connection=local
[db]
db1 ansible_connection=local
bad ansible_connection=carrier_pigeon
"""


class Daemons(unittest.TestCase):
    def test_kept_contexts(self):
        """Two programs get forks of one context, which a daemon keeps."""
        with tempfile.TemporaryDirectory() as d:
            env = dict(os.environ, MITOGEN_SOCKET=os.path.join(d, 'socket'), XDG_RUNTIME_DIR=d)
            binary = os.environ['MITOGEN_BINARY']
            with open(os.path.join(d, 'prog.py'), 'w') as f:
                f.write(
                    'import mitogo, os\n'
                    'def there(): return os.getpid(), os.getppid()\n'
                    'def items():\n    for n in range(3):\n        yield n\n'
                    'with mitogo.Engine(daemon=True) as m:\n'
                    '    c = m.connect("local", python=%r)\n'
                    '    print(*c.call(there))\n'
                    '    print(c.call(len, b"x" * 300000), list(c.stream(items)))\n' % TARGET
                )
            try:
                said = [
                    subprocess.run(
                        [sys.executable, f.name], env=env, stdout=subprocess.PIPE, timeout=120
                    ).stdout.decode().split('\n')
                    for _ in range(2)
                ]
                tree = subprocess.run(
                    [binary, 'tree', '--json'], env=env, stdout=subprocess.PIPE, timeout=60
                )
                kept = json.loads(tree.stdout)['contexts']
            finally:
                subprocess.run([binary, 'daemon', 'stop'], env=env, timeout=60)
            self.assertEqual(len(kept), 1, kept)
            for first, second, _ in said:
                self.assertEqual(second, '300000 [0, 1, 2]')
            self.assertNotEqual(said[0][0].split()[0], said[1][0].split()[0])


class Inventories(unittest.TestCase):
    def setUp(self):
        self.m = mitogo.Engine()
        self.addCleanup(self.m.close)
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        self.name = os.path.join(d.name, 'hosts')
        with open(self.name, 'w') as f:
            f.write(HOSTS)

    def test_limits(self):
        for limit, want in (
            ('', ['web1', 'web2', 'old', 'db1', 'bad']),
            ('web:!old', ['web1', 'web2']),
            ('web[0],db1', ['web1', 'db1']),
            ('~.*1', ['web1', 'db1']),
        ):
            f = self.m.fleet(inventory=self.name, limit=limit)
            self.assertEqual(f.targets, want, limit)
        self.assertEqual(self.m.fleet(inventory='a1,a2').targets, ['a1', 'a2'])
        self.assertEqual(self.m.fleet(inventory=[self.name, 'a1,'], limit='a1').targets, ['a1'])

    def test_calls(self):
        f = self.m.fleet(inventory=self.name, limit='web1:bad')
        r = f.call(os.getpid)
        self.assertEqual((list(r.ok), list(r.failed)), (['web1'], ['bad']))
        self.assertIn('carrier_pigeon', str(r['bad'].error))
        self.assertEqual(r['web1'].value, f.context('web1').info.pid)
        self.assertEqual(f.context('web1').target, 'web1')

    def test_by_way_of_another(self):
        """Hosts behind one host share the context that leads there."""
        with open(self.name, 'a') as f:
            f.write('[far]\nf1 ansible_connection=local mitogen_via=web1\n')
            f.write('f2 ansible_connection=local mitogen_via=web1\n')
        f = self.m.fleet(inventory=self.name, limit='far')
        parents = f.call(os.getppid).raise_failed().values()
        self.assertEqual(len(set(parents.values())), 1)
        self.assertNotEqual(parents['f1'], self.m._pid)

    def test_what_is_wrong(self):
        for inventory, limit, why in (
            ('/no/such/file', '', '/no/such/file'),
            (self.name, 'nobody', 'nobody'),
            (self.name, 'web:&nobody', 'nobody'),
        ):
            with self.assertRaisesRegex(mitogo.EngineError, why):
                self.m.fleet(inventory=inventory, limit=limit)
        for arguments in (
            {'inventory': '-'},
            {'inventory': []},
        ):
            self.assertRaises(ValueError, self.m.fleet, **arguments)
        self.assertRaises(TypeError, self.m.fleet)
        self.assertRaises(TypeError, self.m.fleet, ['a'], inventory=self.name)
        self.assertRaises(TypeError, self.m.fleet, ['a'], limit='web')

    def test_the_rest_of_a_fleet(self):
        f = self.m.fleet(inventory=self.name, limit='web')
        seen = []
        p = f.run(['echo', 'x'], progress=lambda *a: seen.append(a)).raise_failed()
        self.assertEqual({r.stdout for r in p.values().values()}, {'x\n'})
        self.assertEqual(seen, [(1, 0, 3), (2, 0, 3), (3, 0, 3)])
        with open(self.name + '.py', 'w') as s:
            s.write('import sys\nprint(sys.argv[1])\n')
        p = f.script(self.name + '.py', 'arg').raise_failed()
        self.assertEqual({r.stdout for r in p.values().values()}, {'arg\n'})
        self.assertEqual(list(f.wait().raise_failed().values()), ['web1', 'web2', 'old'])

    def test_asyncio(self):
        async def main():
            async with mitogo.aio.Engine() as m:
                f = m.fleet(inventory=self.name, limit='web:!old')
                self.assertRaises(mitogo.EngineError, len, f)
                came = {r.target async for r in f.each(os.getpid)}
                done = (await f.run(['echo', 'x'])).raise_failed()
                with self.assertRaises(mitogo.EngineError):
                    await m.fleet(inventory='/no/such/file').call(os.getpid)
                return came, [p.stdout for p in done.values().values()], f.targets

        want = {'web1', 'web2'}, ['x\n', 'x\n'], ['web1', 'web2']
        self.assertEqual(asyncio.run(main()), want)


class Asyncio(unittest.TestCase):
    def test_same_names(self):
        """What the synchronous interface has in public, the other one has, with its parameters."""
        rest = {('Engine', 'close'), ('Engine', 'connect')}
        for name in ('Engine', 'Context', 'Fleet', 'Receiver'):
            here, there = getattr(mitogo, name), getattr(mitogo.aio, name)
            public = {n for n in dir(here) if not n.startswith('_')}
            self.assertEqual(public - set(dir(there)), set(), name)
            for n in public:
                a, b = getattr(here, n), getattr(there, n)
                if not inspect.isfunction(a) or (name, n) in rest:
                    continue
                a, b = inspect.signature(a).parameters, inspect.signature(b).parameters
                kinds = [p.kind for p in b.values()]
                missing = [x for x in a if x not in b and inspect.Parameter.VAR_KEYWORD not in kinds]
                self.assertEqual(missing, [], '%s.%s' % (name, n))

    def test_docstrings(self):
        """All that is public says what it does."""
        bare = []
        for module in (mitogo, mitogo.aio):
            names = mitogo.__all__ if module is mitogo else ('Engine', 'Context', 'Fleet', 'Receiver')
            for name in names:
                cls = getattr(module, name)
                members = {n: v for b in cls.__mro__ for n, v in vars(b).items()}
                for n, v in members.items():
                    own = inspect.isfunction(v) or isinstance(v, (property, staticmethod))
                    if own and not n.startswith('_') and not inspect.getdoc(v):
                        bare.append('%s.%s.%s' % (module.__name__, name, n))
                if not cls.__doc__:
                    bare.append('%s.%s' % (module.__name__, name))
        self.assertEqual(bare, [])

    def test_the_rest_of_a_context(self):
        async def main():
            async with mitogo.aio.Engine() as m, m.connect('local') as c:
                with self.assertRaises(mitogo.EngineError):
                    c.info
                await c.wait(60)
                task = c.start(sample.sleep, 100)
                await asyncio.sleep(0.1)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                with self.assertRaises(TimeoutError):
                    await c.options(timeout=0.3).call(sample.sleep, 100)
                with self.assertRaises(subprocess.TimeoutExpired):
                    await c.run(['sleep', '100'], timeout=0.3)
                with tempfile.TemporaryDirectory() as d:
                    await c.put(__file__, d + '/a')
                    await c.get(d + '/a', d + '/{target}')
                    same = os.path.getsize(d + '/local') == os.path.getsize(__file__)
                said = []
                await c.options(output=lambda t, x: said.append(x)).call(talking.said, 'x')
                pid = await c.call(os.getpid)
                return same, said, pid == c.info.pid, await c.ping() > 0, len(await m.stats())

        self.assertEqual(asyncio.run(main()), (True, ['x'], True, True, 1))


def load_tests(loader, tests, pattern):
    """A sample of the cases, unless MITOGEN_SOAK is set: most start several processes."""
    cases = []
    for cls in (Receivers, Scripts, Programs, Daemons, Inventories, Asyncio):
        cases += loader.loadTestsFromTestCase(cls)
    if not os.environ.get('MITOGEN_SOAK'):
        cases = random.Random(int(os.environ.get('MITO_TEST_SEED', '1'))).sample(cases, 14)
    return unittest.TestSuite(cases + list(loader.loadTestsFromTestCase(Inlets)))


if __name__ == '__main__':
    unittest.main()
