"""The API of Mitogen, as programs that were written for it use it. Cases are of what the API does, one
for each row of its table, and of what programs in public need.
"""

import collections
import importlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import mitogo.compat

mitogo.compat.install()

import mitogen  # noqa: E402
import mitogen.core  # noqa: E402
import mitogen.master  # noqa: E402
import mitogen.parent  # noqa: E402
import mitogen.select  # noqa: E402
import mitogen.service  # noqa: E402
import mitogen.ssh  # noqa: E402
import mitogen.sudo  # noqa: E402
import mitogen.utils  # noqa: E402
import splits  # noqa: E402

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable
HERE = os.path.dirname(os.path.abspath(__file__))
CONTEXT_GONE = 'the respondent Context has disconnected'


def program(text, *args, how=('-m', 'mitogo.compat')):
    """Run a program of its own, and return (status, stdout, stderr)."""
    with tempfile.TemporaryDirectory() as d:
        name = os.path.join(d, 'prog.py')
        with open(name, 'w') as f:
            f.write(text)
        p = subprocess.run(
            [sys.executable, *how, name, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=120,
            cwd=d,
        )
        return p.returncode, p.stdout, p.stderr


def fds():
    return sorted(os.listdir('/proc/self/fd'))


def children():
    with open('/proc/self/task/%d/children' % threading.main_thread().native_id) as f:
        return f.read().split()


class Case(unittest.TestCase):
    """Cases that share a router, and contexts unless they spoil them."""

    @classmethod
    def setUpClass(cls):
        cls.broker = mitogen.master.Broker()
        cls.router = mitogen.master.Router(cls.broker)
        cls.shared = []

    @classmethod
    def tearDownClass(cls):
        cls.broker.shutdown()
        cls.broker.join()

    def fresh(self, **options):
        return self.router.local(python_path=TARGET, **options)

    def local(self, number=0):
        while len(self.shared) <= number:
            self.shared.append(self.fresh())
        return self.shared[number]

    def raises(self, cls, fn, *args, **kwargs):
        with self.assertRaises(cls) as e:
            fn(*args, **kwargs)
        return str(e.exception)


class Calls(Case):
    def test_call(self):
        c = self.local()
        self.assertEqual(c.call(splits.add, 1), 2)
        self.assertEqual(c.call(splits.add, 'a', b='b'), 'ab')
        self.assertEqual(c.call(splits.Held.who), 'Held')
        self.assertNotEqual(c.call(os.getpid), os.getpid())
        self.assertEqual(c.call(len, [1, 2]), 2)
        self.assertEqual(c.call(splits.kinds, mitogen.core.Blob(b'x')), 'Blob')
        self.assertEqual(c.call(splits.kinds, None), 'NoneType')

    def test_what_is_raised(self):
        c = self.local()
        text = self.raises(mitogen.core.CallError, c.call, splits.fail, 'why: this')
        self.assertEqual(text.split('\n')[0], 'splits.Failure: why: this')
        self.assertIn('in fail\n', text)
        text = self.raises(mitogen.core.CallError, c.call, splits.lookup, 'k')
        self.assertRegex(text, r"\A(builtins|exceptions)\.KeyError: u?'k'\n")
        self.assertIn('cannot unpickle', self.raises(mitogen.core.StreamError, c.call, splits.odd))
        self.assertIn("'splits'/'Odd'", self.raises(mitogen.core.StreamError, c.call, splits.odd))
        text = self.raises(mitogen.core.CallError, c.call, splits.leave)
        self.assertIn('SystemExit', text)
        self.assertEqual(c.call(splits.add, 1), 2)  # it lives

    def test_long_errors(self):
        text = self.raises(mitogen.core.CallError, self.local().call, splits.fail, 'x' * 20000)
        self.assertIn('x' * 20000, text)

    def test_what_can_not_be_called(self):
        c, chain = self.local(), mitogen.parent.CallChain
        captured = self

        def closure():
            return captured

        for fn, want in (
            (lambda: 1, chain.lambda_msg),
            (closure, chain.closures_msg),
            (self.setUp, chain.method_msg),
        ):
            self.assertEqual(self.raises(TypeError, c.call, fn), want)

    def test_call_async(self):
        c = self.local()
        receiver = c.call_async(splits.add, 20, b=22)
        self.assertIsInstance(receiver, mitogen.core.Receiver)
        message = receiver.get()
        self.assertIsInstance(message, mitogen.core.Message)
        self.assertEqual(message.unpickle(), 42)
        self.assertEqual((message.src_id, message.is_dead), (c.context_id, False))
        self.assertIs(message.receiver, receiver)
        failed = c.call_async(splits.fail, 'late').get()
        self.assertIsInstance(failed.unpickle(throw=False), mitogen.core.CallError)
        self.raises(mitogen.core.CallError, failed.unpickle)

    def test_timeout(self):
        receiver = self.fresh().call_async(splits.nap, 30)
        self.raises(mitogen.core.TimeoutError, receiver.get, timeout=0.05)
        self.raises(mitogen.core.TimeoutError, receiver.get, block=False)

    def test_no_reply(self):
        c = self.local()
        with self.assertLogs('mitogen', 'ERROR') as logged:
            c.call_no_reply(splits.fail, 'unheard')
            c.call(splits.add, 1)
            deadline = time.monotonic() + 60
            while not logged.output and time.monotonic() < deadline:
                time.sleep(0.01)
        self.assertIn('unheard', logged.output[0])

    def test_chain(self):
        with mitogen.parent.CallChain(self.local(), pipelined=True) as chain:
            all = [chain.call_async(splits.fail, 'first'), chain.call_async(splits.add, 1)]
            said = [self.raises(mitogen.core.CallError, r.get().unpickle) for r in all]
            self.assertEqual([s.split('\n')[0] for s in said], ['splits.Failure: first'] * 2)
            chain.reset()
            self.assertEqual(chain.call(splits.add, 1), 2)
        plain = mitogen.parent.CallChain(self.local())
        self.raises(mitogen.core.CallError, plain.call, splits.fail, 'x')
        self.assertEqual(plain.call(splits.add, 1), 2)

    def test_own_objects(self):
        c = self.local()
        self.assertEqual(c.call(splits.kinds, splits.Odd()), 'Odd')
        self.assertEqual(c.call(splits.kinds, splits.add), 'function')


class Contexts(Case):
    def test_identity(self):
        a = self.local()
        b = self.fresh(via=a, name='second')
        first, second = a.context_id, b.context_id
        self.assertEqual(a.call(splits.identity), [False, first, 0, [0], 'mitogen'])
        self.assertEqual(b.call(splits.identity), [False, second, first, [first, 0], 'mitogen'])
        self.assertEqual((mitogen.is_master, mitogen.context_id), (True, 0))
        self.assertEqual((mitogen.parent_id, mitogen.parent_ids), (None, []))
        self.assertEqual(b.name, a.name + '.second')
        self.assertEqual(a.name, 'local.%d' % a.call(os.getpid))
        self.assertIs(b.via, a)
        self.assertEqual(b.call(os.getppid), a.call(os.getpid))

    def test_one_object_each(self):
        c = self.local()
        self.assertIs(self.router.context_by_id(c.context_id), c)
        self.assertEqual(mitogen.core.Context(self.router, c.context_id), c)
        self.assertEqual({c: 1}[mitogen.core.Context(self.router, c.context_id)], 1)
        self.assertIsNone(self.router.context_by_id(4711, create=False))
        self.assertEqual(self.router.myself().context_id, 0)
        self.assertIsInstance(self.router, mitogen.parent.Router)

    def test_shutdown(self):
        c = self.fresh()
        gone = []
        mitogen.core.listen(c, 'disconnect', lambda: gone.append(1))
        waiting = c.call_async(splits.nap, 60)
        latch = c.shutdown(wait=False)
        self.assertIsInstance(latch, mitogen.core.Latch)
        latch.get(timeout=60)
        self.assertEqual(self.raises(mitogen.core.ChannelError, waiting.get), CONTEXT_GONE)
        self.assertEqual(self.raises(mitogen.core.ChannelError, c.call, os.getpid), CONTEXT_GONE)
        self.assertEqual(
            self.raises(mitogen.core.ChannelError, c.call_async(os.getpid).get), CONTEXT_GONE
        )
        self.assertEqual(gone, [1])
        self.assertIsNone(c.shutdown(wait=True))  # again

    def test_killed(self):
        c = self.fresh()
        waiting = c.call_async(splits.nap, 60)
        os.kill(int(c.name.split('.')[1]), 9)
        self.assertEqual(self.raises(mitogen.core.ChannelError, waiting.get), CONTEXT_GONE)

    def test_shutdown_of_what_does_not_answer(self):
        c = self.fresh()
        os.kill(int(c.name.split('.')[1]), signal.SIGSTOP)
        c.shutdown(wait=True)
        self.assertEqual(self.raises(mitogen.core.ChannelError, c.call, os.getpid), CONTEXT_GONE)

    def test_by_name(self):
        c = self.router.connect('local', python_path=TARGET, name='mine')
        self.assertEqual(c.name, 'mine')
        self.assertEqual(getattr(self.router, 'local')(python_path=TARGET).call(splits.add, 1), 2)
        self.assertIn('nosuch', self.raises(ValueError, self.router.connect, 'nosuch'))
        self.assertIn('nosuch', self.raises(TypeError, self.fresh, nosuch=1))
        self.assertIn('hostname', self.raises(TypeError, self.router.ssh))

    def test_what_fails(self):
        text = self.raises(mitogen.parent.EofError, self.router.ssh, hostname='nosuch.invalid')
        self.assertTrue(text.startswith('EOF on stream; last 100 lines received:\n'), text)
        self.assertIn('nosuch.invalid', text)
        with self.assertRaises(mitogen.core.StreamError) as e:
            self.router.sudo(sudo_path='/no/such/sudo')
        self.assertIn('Child start failed: [Errno 2]', str(e.exception))
        self.assertIsInstance(e.exception.__context__, FileNotFoundError)
        with socket.socket() as s:  # which accepts, and says nothing
            s.bind(('127.0.0.1', 0))
            s.listen(1)
            text = self.raises(
                mitogen.core.StreamError,
                self.router.ssh,
                hostname='127.0.0.1',
                port=s.getsockname()[1],
                connect_timeout=0.5,
            )
        self.assertTrue(text.startswith('Connection timed out.'), text)

    def test_many_at_once(self):
        with ThreadPoolExecutor(8) as pool:
            all = list(pool.map(lambda i: self.fresh(), range(8)))
        pids = [m.unpickle() for m in mitogen.select.Select(c.call_async(os.getpid) for c in all)]
        self.assertEqual(len(set(pids)), 8)

    def test_options_are_known(self):
        c = self.local()
        options = self.router.stream_by_id(c.context_id).conn.options
        self.assertEqual(options.python_path, TARGET)
        self.assertIs(self.router._stream_by_id[c.context_id].conn.options.python_path, TARGET)

    def test_python_path_of_words(self):
        c = self.router.local(python_path=['env', 'SPLIT=1 2', TARGET])
        self.assertEqual(c.call(os.getenv, 'SPLIT'), '1 2')

    def test_nothing_is_left(self):
        threads = threading.enumerate()
        before = fds(), children()
        broker = mitogen.master.Broker(install_watcher=False)
        with mitogen.master.Router(broker) as router:
            a = router.local(python_path=TARGET)
            receiver = mitogen.core.Receiver(router)
            b = router.local(python_path=TARGET, via=a)
            b.call(splits.count, receiver.to_sender(), 3)
            pool = mitogen.service.Pool(router, services=[splits.Doubling(router)])
            pool.stop(join=True)
        self.assertEqual((fds(), children()), before)
        self.assertEqual(threading.enumerate(), threads)
        self.assertFalse(broker._thread.is_alive())
        with self.assertRaises(mitogen.core.ChannelError):
            list(receiver) and receiver.get()
            receiver.get()


class Messages(Case):
    def test_senders(self):
        receiver = mitogen.core.Receiver(self.router)
        self.local().call(splits.count, receiver.to_sender(), 1000)
        self.assertEqual([m.unpickle() for m in receiver], list(range(1000)))

    def test_between_contexts(self):
        a, b = self.local(), self.local(1)
        inbox = mitogen.core.Receiver(self.router)
        result = b.call_async(splits.collect, inbox.to_sender())
        a.call(splits.count, inbox.get(timeout=60).unpickle(), 500)
        self.assertEqual(result.get().unpickle(), list(range(500)))

    def test_to_contexts(self):
        c = self.local()
        inbox = mitogen.core.Receiver(self.router)
        result = c.call_async(splits.collect, inbox.to_sender())
        sender = inbox.get(timeout=60).unpickle()
        self.assertIs(sender.context, c)
        for value in ('tëxt', b'\xff' * 300000, [1, {'a': None}]):
            sender.send(value)
        sender.close()
        got = result.get().unpickle()
        self.assertEqual((len(got), got[0], len(got[1]), got[2]), (3, 'tëxt', 300000, [1, {'a': None}]))

    def test_long_messages_of_threads(self):
        c = self.local()
        inbox = mitogen.core.Receiver(self.router)
        result = c.call_async(splits.collect_sizes, inbox.to_sender())
        sender = inbox.get(timeout=60).unpickle()

        def send(byte):
            for _ in range(5):
                sender.send(byte * 300000)

        threads = [threading.Thread(target=send, args=(b,)) for b in (b'a', b'b', b'c')]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        sender.close()
        self.assertEqual(result.get(60).unpickle(), [[300000, 1]] * 15)

    def test_what_is_sent_while_another_is(self):
        """Who waits for room for a long message delivers what comes, and that sends, too."""
        n, inbox, bell = 2000, mitogen.core.Receiver(self.router), mitogen.core.Receiver(self.router)
        c, rung = self.local(), mitogen.core.Latch()
        result = c.call_async(splits.collect_sizes, inbox.to_sender())
        sender = inbox.get(timeout=60).unpickle()
        bell.notify = lambda receiver: rung.put(sender.send(b'abc'))
        ringing = self.fresh().call_async(splits.fill, bell.to_sender(), n, 1)
        rung.get(60)

        def send():
            for _ in range(40):
                sender.send(b'x' * 900000)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        thread.join(60)
        self.assertFalse(thread.is_alive())
        for _ in range(n - 1):
            rung.get(60)
        last = mitogen.core.Message.dead(dst_id=c.context_id, handle=sender.dst_handle)
        self.router._peers.later(last)  # behind those that were put off
        got = result.get(60).unpickle()
        self.assertEqual((got.count([3, 3]), got.count([900000, 1])), (n, 40))
        self.assertEqual(ringing.get(60).unpickle(), n)

    def test_handles(self):
        got = []
        handle = self.router.add_handler(got.append, handle=5000)
        self.assertEqual(handle, 5000)
        text = self.raises(mitogen.core.Error, self.router.add_handler, got.append, handle=5000)
        self.assertEqual(text, 'cannot register a handle that already exists')
        self.router.myself().send(mitogen.core.Message.pickled(1, handle=5000))
        self.assertEqual([m.unpickle() for m in got], [1])
        self.router.del_handler(5000)
        answer = self.router.myself().send_async(mitogen.core.Message.pickled(1, handle=5000))
        self.assertEqual(self.raises(mitogen.core.ChannelError, answer.get), 'invalid handle')
        refusing = self.router.add_handler(got.append, policy=lambda msg, stream: False)
        answer = self.router.myself().send_async(mitogen.core.Message.pickled(1, handle=refusing))
        self.assertEqual(self.raises(mitogen.core.ChannelError, answer.get), 'refused by policy')
        nowhere = mitogen.core.Context(self.router, 4711).send_async(mitogen.core.Message.pickled(1))
        self.assertEqual(
            self.raises(mitogen.core.ChannelError, nowhere.get), 'no route to 4711, my ID is 0'
        )

    def test_receiver(self):
        receiver = mitogen.core.Receiver(self.router)
        sender = receiver.to_sender()
        self.assertTrue(receiver.empty())
        sender.send('a')
        sender.send('b')
        self.assertEqual((receiver.size(), receiver.empty()), (2, False))
        sender.close()
        self.assertEqual([m.unpickle() for m in receiver], ['a', 'b'])
        receiver.host = 'web1'  # programs note things there
        woken = []

        def wait():
            try:
                receiver.get()
            except mitogen.core.ChannelError as e:
                woken.append(str(e))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for t in threads:
            t.start()
        while len(receiver._latch._sleepers) < 3:
            time.sleep(0.001)
        receiver.close()
        for t in threads:
            t.join()
        self.assertEqual(woken, ['the Receiver has been closed'] * 3)

    def test_message(self):
        m = mitogen.core.Message()
        self.assertEqual(
            (m.dst_id, m.src_id, m.auth_id, m.handle, m.reply_to, m.data),
            (None, 0, 0, None, None, b''),
        )
        self.assertTrue(mitogen.core.Message.dead('why').is_dead)
        self.assertEqual(
            self.raises(mitogen.core.ChannelError, mitogen.core.Message.dead('why').unpickle), 'why'
        )
        self.assertEqual(
            self.raises(mitogen.core.ChannelError, mitogen.core.Message.dead().unpickle),
            'Channel closed by remote end.',
        )
        for value in (None, 1, 'x', b'y', [1, (2,)], {'a': 1.5}, mitogen.core.Secret('s')):
            self.assertEqual(mitogen.core.Message.pickled(value).unpickle(), value)
        bad = mitogen.core.Message(data=pickle.dumps(os.system, 2))
        self.assertIn("'posix'/'system'", self.raises(mitogen.core.StreamError, bad.unpickle))
        bad = mitogen.core.Message(data=b'nonsense')
        self.assertIn('invalid message', self.raises(mitogen.core.StreamError, bad.unpickle))
        huge = mitogen.core.Message(data=b'\x80\x02]r\xff\xff\xff\x7f.')  # a place in the memo
        self.raises(mitogen.core.StreamError, huge.unpickle)

    def test_what_is_not_taken_is_bounded(self):
        engine = sys.modules['mitogen._engine']
        most, engine.MOST = engine.MOST, 1 << 20
        try:
            c, size = self.local(), 100000
            receiver = mitogen.core.Receiver(self.router)
            result = c.call_async(splits.fill, receiver.to_sender(), 100, size)
            deadline = time.monotonic() + 60
            while c._peer._held <= engine.MOST and time.monotonic() < deadline:
                time.sleep(0.001)
            for _ in range(10):
                self.assertEqual(self.local(1).call(splits.add, 1), 2)  # another is as it was
                self.assertLess(c._peer._held, engine.MOST + 2 * size)
            self.assertEqual([len(receiver.get(60).unpickle()) for _ in range(100)], [size] * 100)
            self.assertEqual(result.get(60).unpickle(), 100)
            self.assertEqual(c._peer._held, 0)
            lost = receiver.to_sender()
            receiver.close()
            c.call(splits.fill, lost, 100, size)  # to what takes nothing
            self.assertEqual(c.call(splits.ask, 0, 4711), 'invalid handle')
            self.assertEqual(c._peer._held, 0)
        finally:
            engine.MOST = most

    def test_handlers(self):
        a, b = self.local(), self.local(1)
        seen = []

        def handle(msg):
            seen.append((msg.src_id, msg.unpickle()))
            msg.reply('answer')

        handle_id = self.router.add_handler(handle)
        self.assertEqual(a.call(splits.ask, 0, handle_id), 'answer')
        self.assertEqual(seen, [(a.context_id, '?')])
        self.assertEqual(a.call(splits.ask, b.context_id, 4711), 'invalid handle')
        self.assertIn('no route', a.call(splits.ask, 100000, 4711))
        self.router.unidirectional = True
        try:
            self.assertIn('routing mode prevents', a.call(splits.ask, b.context_id, 4711))
        finally:
            self.router.unidirectional = False

    def test_responder(self):
        with mitogen.master.Router() as router:
            router.responder.blacklist_prefix('splits')
            c = router.local(python_path=TARGET)
            self.assertIn('splits', self.raises(mitogen.core.CallError, c.call, splits.add, 1))

    def test_in_contexts(self):
        c = self.local()
        self.assertEqual(c.call(splits.patience), 'nothing')
        self.assertEqual(c.call(splits.above), [0, 0])
        self.assertEqual(c.call(splits.Held.where), ['Held', c.context_id])

    def test_contexts_start_contexts(self):
        c = self.local()
        below = c.call(splits.start_another)
        self.assertIs(below, self.router.context_by_id(below.context_id))
        self.assertEqual((below.name, below.via), (c.name + '.below', c))
        self.assertEqual(below.call(splits.identity)[3], [c.context_id, 0])
        self.assertEqual(below.call(splits.add, 1), 2)
        got = c.call(splits.use_another)
        first = got[2][0]
        self.assertEqual(got, [3, 7, [first, c.context_id, 0], True, 6, False, 'gone'])
        below.shutdown(wait=True)

    def test_names_of_contexts_are_shown(self):
        c = self.local()
        for name, want in (('a\x1b[2J\n', r'.a\x1b[2J '), ('\u202eb', r'.\u202eb'), ('é', '.é')):
            below = c.call(splits.start_another, name=name)
            self.assertEqual(below.name, c.name + want)
            below.shutdown(wait=True)

    def test_contexts_have_no_others(self):
        """A context has nothing done with contexts that aren't behind it, nor with the program."""
        a, b = self.local(0), self.local(1)
        for id in (b.context_id, 0, 1 << 20):
            for what in ('start', 'call', 'end'):
                got = str(a.call(splits.reach, id, what))
                self.assertIn('refused', got, (id, what))
        self.assertIn('refused', a.call(splits.reach, a.context_id, 'end'))
        self.assertEqual(b.call(splits.add, 1), 2)

    def test_requests_of_contexts_are_bounded(self):
        below = importlib.import_module('mitogen._below')
        most, below.MOST_ASKED = below.MOST_ASKED, 3
        try:
            with tempfile.TemporaryDirectory() as d:
                got = self.local().call(splits.ask_much, 3, os.path.join(d, 'go'))
        finally:
            below.MOST_ASKED = most
        self.assertIn('may have no more requests', str(got[0]))
        self.assertEqual(got[1:], [[True] * 3, 3])

    def test_contexts_of_contexts_are_bounded(self):
        """However many are asked for at once, and also after some have failed."""
        below = importlib.import_module('mitogen._below')
        most, below.MOST = below.MOST, 3
        try:
            c = self.local()
            for _ in range(4):
                self.assertIn('refused', c.call(splits.start_wrong))
            came, all_came, engine = [], threading.Event(), sys.modules['mitogen._engine']

            def begin(peer, most):
                came.append(1)
                if len(came) == 8:
                    all_came.set()
                return begin_asked(peer, most)

            def plan(*args):
                all_came.wait(60)  # so that all have looked before the first is there
                return planned(*args)

            begin_asked, planned = engine.Peer.begin_asked, engine._targets.plan
            engine.Peer.begin_asked, engine._targets.plan = begin, plan
            try:
                self.assertEqual(c.call(splits.start_many, 8), [3, 5])
            finally:
                engine.Peer.begin_asked, engine._targets.plan = begin_asked, planned
        finally:
            below.MOST = most
        deadline = time.monotonic() + 60
        while self.router._peers._below and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.router._peers._below, 0)

    def test_room_is_given_back_once(self):
        room = mitogen._messages.Room(lambda: gone.append(1))
        gone = []
        self.assertTrue(room.held())
        threads = [threading.Thread(target=room.leave) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual((gone, room.held()), ([1], False))

    def test_stats(self):
        with mitogen.master.Router() as router:
            self.assertEqual(set(router.get_stats().values()), {0})
            router.local(python_path=TARGET).call(splits.add, 1, 2)
            stats = router.get_stats()
            self.assertGreater(stats['good_load_module_count'], 0)
            self.assertGreater(stats['good_load_module_size'], 0)
        self.assertEqual(set(router.get_stats().values()), {0})

    def test_what_can_not_be_taken(self):
        """A message that raises is no end of the messages; without a channel the context ends."""
        engine = sys.modules['mitogen._engine']
        for first in (b'no pickle', b'\x80\x04\x8c\x01x.', b'\x80\x04]\x94.'):
            peer, sent = engine.Peer.__new__(engine.Peer), []
            link = type('Link', (), {'error': None, 'send': sent.append})
            link.take = staticmethod(lambda q: q.items.popleft())
            state = type('S', (), {'id': 5, 'engine': type('E', (), {'_link': link})})
            peer.ctx = type('C', (), {'_s': state, 'target': 'there'})
            peer.context, peer._inlet, peer._held, peer._taking = None, None, 0, False
            peer._lock, relayed = threading.Lock(), []
            peer.peers = type('P', (), {'relay': relayed.append})
            peer._q = type('Q', (), {'items': collections.deque([first])})
            with self.assertLogs('mitogen', 'ERROR'):
                peer._take()
            self.assertIn(b'kill', sent[0])
            peer._inlet, head = 1000, engine.HEAD.pack(0, 5, 5, 1000, 0)
            peer.peers.relay = lambda msg: relayed.append(msg) or 1 // (len(relayed) - 1)
            peer._q.items.extend([head + b'a', head + b'b'])
            with self.assertLogs('mitogen', 'ERROR'):
                peer._take()
            self.assertEqual(([m.data for m in relayed], peer._taking), ([b'a', b'b'], False))

    def test_loggers_are_bounded(self):
        engine = sys.modules['mitogen._engine']
        most, engine.MOST_NAMES = engine.MOST_NAMES, 20
        try:
            with mitogen.master.Router() as router, self.assertLogs(level='WARNING') as logged:
                c = router.local(python_path=TARGET)
                c.call(splits.log_as, ['own', 'n' * 1000] + ['n%d' % i for i in range(50)])
                deadline = time.monotonic() + 60
                while len(logged.output) < 52 and time.monotonic() < deadline:
                    time.sleep(0.01)
        finally:
            engine.MOST_NAMES = most
        names = [r.name for r in logged.records]
        self.assertEqual(len(names), 52)
        self.assertEqual(names[:2], ['own.[%s]' % c.name, 'context.[%s]' % c.name])
        self.assertLessEqual(len(set(names)), 21)

    def test_output_is_logged(self):
        c = self.local()
        with self.assertLogs(level='INFO') as logged:
            c.call(os.system, 'echo spoken')
            deadline = time.monotonic() + 60
            while not any('spoken' in o for o in logged.output) and time.monotonic() < deadline:
                time.sleep(0.01)
        names = [r.name for r in logged.records if r.getMessage() == 'spoken']
        self.assertEqual(names, ['stdout.[%s]' % c.name])


class Local(unittest.TestCase):
    """What needs no context."""

    def test_latch(self):
        latch = mitogen.core.Latch()
        self.assertTrue(latch.empty())
        latch.put(1)
        latch.put()
        self.assertEqual([latch.get(), latch.get()], [1, None])
        with self.assertRaises(mitogen.core.TimeoutError):
            latch.get(timeout=0.01)
        with self.assertRaises(mitogen.core.TimeoutError):
            latch.get(block=False)
        latch.close()
        for do in (latch.get, latch.put, latch.empty):
            with self.assertRaises(mitogen.core.LatchError):
                do()

    def test_latch_is_fair(self):
        latch, got = mitogen.core.Latch(), []
        threads = []
        for i in range(5):
            threads.append(threading.Thread(target=lambda i=i: got.append((i, latch.get()))))
            threads[-1].start()
            while len(latch._sleepers) <= i:
                time.sleep(0.001)
        for i in range(5):
            latch.put(i)
        for t in threads:
            t.join()
        self.assertEqual(sorted(got), [(i, i) for i in range(5)])

    def test_select(self):
        Select = mitogen.select.Select
        a, b = mitogen.core.Latch(), mitogen.core.Latch()
        a.put('before')
        select = Select([a, b])
        self.assertTrue(select)
        b.put('then')
        events = [select.get_event(), select.get_event()]
        self.assertEqual([(e.source, e.data) for e in events], [(a, 'before'), (b, 'then')])
        self.assertFalse(select)
        with self.assertRaises(mitogen.select.Error) as e:
            select.get()
        self.assertEqual(str(e.exception), Select.empty_msg)
        kept = Select([a], oneshot=False)
        for text, do in (
            (Select.owned_msg, lambda: Select([a])),
            (Select.not_present_msg, lambda: kept.remove(b)),
            (Select.loop_msg, lambda: kept.add(kept)),
        ):
            with self.assertRaises(mitogen.select.Error) as e:
                do()
            self.assertEqual(str(e.exception), text)
        outer = Select([kept, b], oneshot=False)
        with self.assertRaises(mitogen.select.Error):
            kept.add(outer)
        for i in range(3):
            a.put(i)
        self.assertEqual(outer.size(), 3)
        self.assertEqual([outer.get_event().data for _ in range(3)], [0, 1, 2])
        with self.assertRaises(mitogen.core.TimeoutError):
            outer.get(block=False)
        with self.assertRaises(mitogen.core.TimeoutError):
            outer.get(timeout=0.01)
        kept.remove(a)
        self.assertIsNone(a.notify)

    def test_values(self):
        core = mitogen.core
        self.assertEqual(repr(core.Blob(b'0' * 10)), '[blob: 10 bytes]')
        self.assertEqual(repr(core.Secret('pw')), '[secret]')
        self.assertEqual(core.Kwargs({'a': 1}), {'a': 1})
        self.assertEqual(core.Kwargs({b'a': 1}), {'a': 1})
        for v in (core.Blob(b'x'), core.Secret('s'), core.Kwargs({'a': 1})):
            back = pickle.loads(pickle.dumps(v))
            self.assertEqual((type(back), back), (type(v), v))
        self.assertEqual(core.CallError('%s%s').args[0], '%s%s')
        self.assertEqual(core.CallError('%s%s', 1, 2).args[0], '12')
        self.assertEqual(core.CallError(ValueError('eek')).args[0], 'builtins.ValueError: eek')
        self.assertEqual(core.Error(b'bytes').args[0], 'bytes')
        fn, args = core.CallError('eek').__reduce__()
        self.assertEqual((fn, args), (core._unpickle_call_error, ('eek',)))
        self.assertEqual(core.CallError.__module__, 'mitogen.core')
        for e in (core.CallError, core.ChannelError, core.StreamError, core.TimeoutError):
            self.assertTrue(issubclass(e, core.Error))
        for e in (mitogen.parent.EofError, mitogen.ssh.PasswordError, mitogen.ssh.HostKeyError):
            self.assertTrue(issubclass(e, core.StreamError))

    def test_cast(self):
        class Text(str):
            pass

        class Number(int):
            pass

        got = mitogen.utils.cast({Text('a'): (Number(1), [Text('b')], None, True)})
        self.assertEqual(got, {'a': [1, ['b'], None, True]})
        self.assertEqual(
            [type(v) for v in (list(got)[0], got['a'][0], got['a'][1][0])], [str, int, str]
        )
        with self.assertRaises(TypeError):
            mitogen.utils.cast(object())

    def test_routers_of_functions(self):
        def body(router, a, b=None):
            seen.append(router)
            return a, b

        seen = []
        self.assertEqual(mitogen.utils.run_with_router(body, 1, b=2), (1, 2))
        self.assertEqual(mitogen.utils.with_router(body)(3), (3, None))
        self.assertIsInstance(seen[0], mitogen.master.Router)
        self.assertFalse(seen[0].broker._thread.is_alive())

    def test_signals(self):
        class Thing:
            pass

        thing, got = Thing(), []
        mitogen.core.listen(thing, 'event', got.append)
        mitogen.core.fire(thing, 'event', 1)
        mitogen.core.unlisten(thing, 'event', got.append)
        mitogen.core.fire(thing, 'event', 2)
        self.assertEqual(got, [1])

    def test_what_is_not_offered(self):
        import mitogen.fakessh
        import mitogen.unix

        with mitogen.master.Broker() as broker:
            router = mitogen.master.Router(broker)
            for do in (
                lambda: mitogen.unix.connect('/x'),
                lambda: mitogen.fakessh.run(None, router, ['rsync']),
                lambda: router.fork(on_start=print),
                lambda: mitogen.core.ExternalContext(router).detach(),
                lambda: broker.start_receive(None),
            ):
                with self.assertRaises(NotImplementedError) as e:
                    do()
                self.assertGreater(len(str(e.exception).split()), 4)


class Services(Case):
    def setUp(self):
        self.service = splits.Doubling(self.router)
        self.pool = mitogen.service.Pool(self.router, services=[self.service], size=2)

    def tearDown(self):
        self.pool.stop(join=True)

    def test_from_contexts(self):
        c, here = self.local(), self.router.myself()
        self.assertEqual(c.call(splits.use, here, 'twice', n=21), [42, c.context_id])
        for method, kwargs, want in (
            ('hidden', {}, "No such method: 'hidden'"),
            ('nosuch', {}, "No such method: 'nosuch'"),
            ('private', {}, "Caller is not authorized to invoke 'private' of service 'splits.Doubling'"),
            ('twice', {}, "missing argument 'n'"),
            ('twice', {'n': 'x'}, "argument 'n'"),
            ('twice', {'n': 1, 'm': 1}, "unexpected argument 'm'"),
        ):
            text = self.raises(mitogen.core.CallError, c.call, splits.use, here, method, **kwargs)
            self.assertIn(want.replace("'", ''), text.replace("u'", "'").replace("'", ''))

    def test_in_contexts(self):
        a, b = self.local(), self.local(1)
        self.assertEqual(a.call_service(splits.Doubling, 'twice', n=2), [4, 0])
        self.assertEqual(a.call_service('splits.Doubling', 'private'), 'for parents')
        text = self.raises(mitogen.core.CallError, b.call, splits.use, a, 'private')
        self.assertIn('not authorized', text)
        fresh = self.fresh()
        text = self.raises(mitogen.core.CallError, b.call, splits.use, fresh, 'twice', n=1)
        self.assertIn('is not yet activated in this context', text)

    def test_calls_go_on_while_threads_wait(self):
        c, here = self.fresh(), self.router.myself()
        c.call(splits.pool)
        deadline = time.monotonic() + 60
        for i in range(50):
            answer = c.call_async(splits.use, here, 'twice', n=i)
            left = max(0, deadline - time.monotonic())
            self.assertEqual(answer.get(timeout=left).unpickle(), [2 * i, c.context_id])

    def test_names(self):
        self.assertEqual(splits.Doubling.name(), 'splits.Doubling')
        self.assertIs(self.pool.get_service('splits.Doubling'), self.service)
        self.raises(mitogen.core.Error, self.pool.add, splits.Doubling(self.router))
        self.assertIs(mitogen.service.get_or_create_pool(router=self.router), self.pool)

    def test_files(self):
        files = mitogen.service.FileService(self.router)
        self.pool.add(files)
        here = self.router.myself()
        c = self.local()
        with tempfile.TemporaryDirectory() as d:
            name = os.path.join(d, 'data')
            with open(name, 'wb') as f:
                f.write(b'0123456789' * 100000)
            text = self.raises(mitogen.core.CallError, c.call, splits.download, here, name)
            self.assertIn('is not registered with FileService.', text)
            files.register(name)
            self.assertEqual(c.call(splits.download, here, name), (True, 1000000, 1000000))
            other = os.path.join(d, 'sub', 'other')
            os.mkdir(os.path.dirname(other))
            open(other, 'w').close()
            files.register_prefix(os.path.relpath(os.path.dirname(other)))
            self.assertEqual(c.call(splits.download, here, other), (True, 0, 0))
            outside = os.path.join(d, 'sub', '..', '..', 'etc')
            self.raises(mitogen.core.CallError, c.call, splits.download, here, outside)
            import io

            out = io.BytesIO()
            ok, metadata = mitogen.service.FileService.get(c, name, out)
            self.assertEqual((ok, len(out.getvalue()), metadata['size']), (True, 1000000, 1000000))
            pushing = mitogen.service.PushFileService(self.router)
            pushing.propagate_to(c, name)
            self.assertEqual(c.call(splits.has_been_pushed, name), 1000000)


class Programs(unittest.TestCase):
    def test_main(self):
        status, out, err = program(
            'import os, mitogen\n'
            'def there():\n    return __name__, os.getpid()\n'
            '@mitogen.main()\ndef main(router):\n'
            '    print(router.local().call(there)[0])\n'
        )
        self.assertEqual((status, out), (0, '__main__\n'), err)

    def test_exit_status(self):
        status, _, err = program('import mitogen, sys\n@mitogen.main()\ndef main(r):\n    sys.exit(7)\n')
        self.assertEqual(status, 7, err)

    def test_killed_program(self):
        """A program that forgets to end its broker ends nevertheless, and its contexts with it."""
        status, out, err = program(
            'import os, mitogen.master\n'
            'router = mitogen.master.Router()\n'
            'print(router.local().call(os.getpid))\n'
        )
        self.assertEqual(status, 0, err)
        deadline = time.monotonic() + 60
        while os.path.exists('/proc/%d' % int(out)) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertFalse(os.path.exists('/proc/%d' % int(out)))

    def test_log_to_file(self):
        status, _, err = program(
            'import mitogen.utils, logging\n'
            'mitogen.utils.log_to_file(level="INFO")\n'
            'logging.getLogger("x").info("seen")\nlogging.getLogger("x").debug("unseen")\n'
        )
        self.assertEqual(status, 0)
        self.assertRegex(err, r'\A\d\d:\d\d:\d\d\.\d{6} I x: seen\n\Z')

    def test_the_original(self):
        with tempfile.TemporaryDirectory() as d:
            open(os.path.join(d, 'mitogen.py'), 'w').close()
            p = subprocess.run(
                [sys.executable, '-c', 'import mitogen, mitogo.compat\nmitogo.compat.install()'],
                stderr=subprocess.PIPE, universal_newlines=True,
                env=dict(os.environ, PYTHONPATH=d + ':' + os.environ['PYTHONPATH']))
        self.assertIn('was imported before; call this first', p.stderr)


if __name__ == '__main__':
    logging.getLogger('mitogen').setLevel(logging.CRITICAL)
    unittest.main()
