"""Objects of the program that contexts call, and contexts that call what they may not."""

import asyncio
import os
import sys
import threading
import time
import unittest

import lies
import mitogo
import mitogo.aio
import sample
import serving

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable


class Base:
    def inherited(self):
        return 'inherited'


class Adder(Base):
    constant = 7

    def __init__(self):
        self.seen = []
        self.instance = lambda *a: self.seen.append('instance')

    def add(self, n):
        self.seen.append(n)
        return n + 1

    def echo(self, value):
        return value * 2

    def wrong(self):
        raise FileNotFoundError(2, 'not there', 'name')

    def key(self):
        raise KeyError('k')

    def own(self):
        raise Own('own')

    def leaves(self):
        raise SystemExit('leaves')

    def mute(self):
        raise Mute()

    def lambdas(self):
        return lambda: 1

    @classmethod
    def made(cls, n):
        return cls.__name__

    @staticmethod
    def static(n):
        return n

    @property
    def secret(self):
        self.seen.append('secret')
        return 'secret'

    def _private(self, *args):
        self.seen.append('private')

    def __call__(self, *args):
        self.seen.append('called')

    def __len__(self):
        self.seen.append('len')
        return 1


class Own(Exception):
    pass


class Mute(Exception):
    def __str__(self):
        raise ValueError


class Typed:
    def take(self, facts: sample.Facts, colour: sample.Colour) -> str:
        return '%s %s' % (facts.host, colour)

    def loose(self, facts):
        return type(facts).__name__


def fails(name):
    return 'AttributeError', 'the object serves no method %r' % name


class Served(unittest.TestCase):
    def setUp(self):
        self.m = mitogo.Engine()
        self.addCleanup(self.m.close)
        self.c = self.m.connect('local', python=TARGET).options(timeout=60)
        self.adder = Adder()

    def given(self, *args, **kwargs):
        return self.m.serve(self.adder, *args, **kwargs)

    def test_methods(self):
        c, s = self.c, self.given()
        self.assertEqual(c.call(serving.many, s, 3), [1, 2, 3])
        self.assertEqual(self.adder.seen, [0, 1, 2])
        self.assertEqual(list(c.stream(serving.items, s, 3)), [1, 2, 3])
        self.assertEqual(c.call(serving.use, s, 'inherited'), 'inherited')
        self.assertEqual(c.call(serving.use, s, 'made', 1), 'Adder')
        self.assertEqual(c.call(serving.use, s, 'static', 5), 5)
        self.assertEqual(c.call(serving.called, self.m.serve(len), 'abc'), 3)
        self.assertEqual(c.call(serving.called, self.m.serve(lambda v: [v]), 1), [1])
        self.assertEqual(c.call(serving.in_threads, s, 5), 5)
        self.assertEqual(s.add(1), 2)  # here as there
        two = c.call(serving.use, self.m.serve(Adder()), 'add', 1), c.call(serving.use, s, 'add', 2)
        self.assertEqual(two, (2, 3))

    def test_sizes(self):
        s = self.given()
        for n in (0, 1, 60000, 131000, 200000, 3000000):
            self.assertEqual(self.c.call(serving.sizes, s, n), 2 * n)

    def test_errors(self):
        c, s = self.c, self.given()
        name, text = c.call(serving.failing, s, 'wrong')
        self.assertIn(name, ('FileNotFoundError', 'RuntimeError'))  # Python 2 has no such class
        self.assertIn('not there', text)
        self.assertEqual(c.call(serving.failing, s, 'key'), ('KeyError', "'k'"))
        name, text = c.call(serving.failing, s, 'own')
        self.assertEqual((name, text), ('RuntimeError', '__main__.Own: own'))
        for name in ('leaves', 'mute'):
            self.assertEqual(c.call(serving.failing, s, name)[0], 'RuntimeError')
        self.assertEqual(c.call(serving.failing, s, 'lambdas')[0], 'TypeError')
        self.assertEqual(c.call(serving.failing, s, 'add')[0], 'TypeError')  # an argument lacks

    def test_what_cannot_be(self):
        c, s = self.c, self.given()
        for only in ([], ['_private'], ['__call__'], ['none'], ['constant'], 'add', [3]):
            with self.assertRaises((ValueError, TypeError)):
                self.given(only=only)
        for thing in (1, 'text', object(), [1], None):
            with self.assertRaises(ValueError):
                self.m.serve(thing)
        for fn in (serving.pass_on, serving.given_back):
            with self.assertRaises(TypeError):
                c.call(fn, s)
        with mitogo.Engine() as other:
            with self.assertRaises(TypeError):
                other.connect('local').call(serving.many, s, 1)
        with self.assertRaises(TypeError):
            self.m.withdraw(self.adder)

    def test_a_method_that_calls(self):
        other = self.m.connect('local')

        def ask(n):
            return other.call(os.path.basename, '/a/%d' % n)

        def same(n):
            return self.c.call(os.getpid)

        self.assertEqual(self.c.call(serving.called, self.m.serve(ask), 7), '7')
        with self.assertRaisesRegex(Exception, 'no call begins before'):
            self.c.call(serving.called, self.m.serve(same), 7)

    def test_cancelled(self):
        begun, end = threading.Event(), threading.Event()

        def slow(n):
            begun.set()
            end.wait(60)

        call = self.c.start(serving.called, self.m.serve(slow), 1)
        begun.wait(60)
        call.cancel()
        with self.assertRaisesRegex(mitogo.CallError, 'KeyboardInterrupt'):
            call.result(60)
        end.set()
        self.assertEqual(self.c.call(serving.many, self.given(), 1), [1])

    def test_asyncio(self):
        async def main():
            async def later(n):
                await asyncio.sleep(0)
                return n + 1

            async with mitogo.aio.Engine() as m:
                c = m.connect('local', python=TARGET)
                self.assertEqual(await c.call(serving.called, m.serve(later), 1), 2)
                self.assertEqual(await c.call(serving.many, m.serve(Adder()), 2), [1, 2])
                got = [i async for i in c.stream(serving.items, m.serve(Adder()), 2)]
                self.assertEqual(got, [1, 2])

        asyncio.run(main())

    # What an attacker's context sends

    def refused(self, answers, what):
        self.assertTrue(answers, what)
        for kind, text in answers:
            self.assertEqual(kind, 2, (what, text))  # ERROR
        self.assertEqual(self.adder.seen, [], what)

    def test_names(self):
        c, s = self.c, self.given()
        for name in ('_private', '__call__', '__init__', '__class__', '__len__', '__reduce__',
                     'secret', 'seen', 'constant', 'instance', 'add.__globals__', 'add.__self__',
                     '', '*', ' add', 'Add', 'seen.append', 'add\0', '_methods', '_engine',
                     'withdraw', 'mro'):
            self.refused(c.call(lies.ask_with, s, 0, name), name)
        only = self.given(only=['echo'])
        for name in ('add', 'inherited', 'made'):
            self.refused(c.call(lies.ask_with, only, 0, name), name)
        self.assertEqual(c.call(serving.failing, only, 'add'), fails('add'))

    def test_objects_that_were_not_given(self):
        c, s = self.c, self.given()
        for number in (1, 2, 255, 1 << 31, (1 << 32) - 1):
            self.refused(c.call(lies.ask_with, s, number, 'add', (1,)), number)
        with self.assertRaises(TypeError):  # a call without any: the request is no value
            c.call(lies.ask_served, 0, 'add', (1,), False, 1000)
        self.assertEqual(self.adder.seen, [])

    def test_withdrawn(self):
        c, s = self.c, self.given()
        self.m.withdraw(s)
        self.refused(c.call(lies.ask_with, s, 0, 'add', (1,)), 'withdrawn before')
        both = self.given()

        def end(n):
            self.m.withdraw(both)

        with self.assertRaises(Exception):
            c.call(serving.withdrawn_within, both, self.m.serve(end))
        self.assertEqual(self.adder.seen, [])

    def test_after_the_call(self):
        c, s = self.c, self.given()
        c.call(serving.keep, s)
        for other in (None, self.m.serve(Adder())):
            with self.assertRaisesRegex(Exception, 'has ended'):
                c.call(serving.kept, 'add', other)
        reply = c.call(lies.reply_of)
        c.call(lies.ask_other, self.m.serve(Adder()), 0, reply)  # within a call that has ended
        self.assertEqual(c.call(serving.many, self.m.serve(Adder()), 1), [1])
        self.assertEqual(self.adder.seen, [])

    def test_another_context(self):
        begun, end = threading.Event(), threading.Event()

        def slow(n):
            begun.set()
            end.wait(60)

        call = self.c.start(serving.called, self.m.serve(slow), 1)
        running = self.c.start(serving.many, self.given(), 0)
        begun.wait(60)
        for q in (call._q, running._q):
            other = self.m.connect('local', python=TARGET).options(timeout=60)
            for id in (0, self.c._s.id):
                try:
                    other.call(lies.ask_other, 1, id, q.reply)
                except mitogo.Error:
                    pass  # the engine may end what lies
        end.set()
        self.assertIsNone(call.result(60))
        self.assertEqual(running.result(60), [])
        self.assertEqual(self.adder.seen, [])

    def test_handles(self):
        c, s = self.c, self.given()
        for handle in (0, 1, 2, 3, 7, 999, 1 << 31, (1 << 32) - 1):
            c.call(lies.ask_with, s, 0, 'add', (1,), False, handle)
        self.assertEqual(self.adder.seen, [])
        self.assertEqual(c.call(serving.many, s, 1), [1])

    def test_arguments(self):
        c, s = self.c, self.given()
        for tail in (b'', b'\0', b'cos\nsystem\n(S"true"\ntR.', b'\x80\x02)}\x86.\x80'[:4],
                     b'\x80\x02K\x01.', b'\x80\x02].', b'\x80\x02' + b'(' * 1000):
            self.refused(c.call(lies.ask_with, s, 0, 'add', (), True, 0, 1, tail), tail)
        t = self.m.serve(Typed())
        if c.info.version >= (3, 7):
            self.refused(c.call(lies.ask_with, s, 0, 'add', (sample.Unknown,)), 'a class')
            self.assertEqual(c.call(typed, t, 'take'), 'there Colour.RED')
            with self.assertRaises(TypeError):
                c.call(typed, t, 'loose')

    def test_flood(self):
        from mitogo._served import MOST

        end = threading.Event()

        def slow(n):
            end.wait(60)
            return n

        served = self.m.serve(slow)
        call = self.c.start(lies.ask_with, served, 0, '__call__', (1,), True, 0, 3000)
        waiting = call._q.grant.__self__._requests
        while len(waiting) < MOST:
            time.sleep(0.01)
        time.sleep(0.3)  # for more to come
        self.assertEqual(len(waiting), MOST)
        running = [t for t in threading.enumerate() if t.name == 'mitogo served']
        self.assertEqual(len(running), 1)
        end.set()
        kinds = [k for k, _ in call.result(60)]
        self.assertEqual((len(kinds), set(kinds)), (3000, {2, 3}))


def typed(served, name):
    return getattr(served, name)(sample.facts(), sample.Colour.RED)


if __name__ == '__main__':
    unittest.main()
