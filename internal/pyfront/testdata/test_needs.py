"""What programs that were written for Mitogen need of it: one case for each of ten that are in public,
written from their needs.
"""

import os
import pathlib
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
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
import mitogen.utils  # noqa: E402
import shapes  # noqa: E402

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable

# Stands for ssh: notes its arguments, fails as often as a file says, and runs the command here.
SSH = """#!/bin/sh
here=${0%%/*}
printf '%%s\\n' "$@" >> $here/args
if [ -s $here/fails ]; then
    sed -i 1d $here/fails
    cat $here/says >&2
    exit 255
fi
for command; do :; done
export SENT=by-ssh
exec sh -c "$command"
"""


class Case(unittest.TestCase):
    def setUp(self):
        broker = mitogen.master.Broker()
        self.router = mitogen.master.Router(broker)
        self.addCleanup(broker.join)
        self.addCleanup(broker.shutdown)
        d = tempfile.TemporaryDirectory()
        self.addCleanup(d.cleanup)
        self.dir = d.name

    def stub(self, fails=0, says=''):
        name = os.path.join(self.dir, 'ssh')
        for path, text in (
            (name, SSH.replace('%%', '%')),
            (os.path.join(self.dir, 'fails'), 'x\n' * fails),
            (os.path.join(self.dir, 'says'), says),
        ):
            with open(path, 'w') as f:
                f.write(text)
        os.chmod(name, 0o755)
        return name

    def ssh(self, path, **options):
        return self.router.ssh(
            hostname='host1', python_path=TARGET, ssh_path=path, check_host_keys='ignore', **options
        )


class Needs(Case):
    def test_many_threads_and_own_objects(self):
        """Threads connect one router; senders go both ways; two Selects are polled; objects and
        functions are arguments, and objects come back, by expressions for their classes.
        """
        mitogen.core.set_pickle_whitelist([r'shapes\..*'])
        self.addCleanup(mitogen.core.set_pickle_whitelist, [])
        with ThreadPoolExecutor(24) as pool:
            contexts = list(pool.map(lambda n: self.router.local(python_path=TARGET), range(8)))
        for n, c in enumerate(contexts):
            out = c.call(shapes.perform, shapes.Task(n, shapes.double))
            self.assertIsInstance(out, shapes.Outcome)
            self.assertEqual((out.number, out.value), (n, 2 * n))
        logs = mitogen.select.Select(oneshot=False)
        results = mitogen.select.Select(oneshot=False)
        calls = []
        for c in contexts:
            log, result = mitogen.core.Receiver(self.router), mitogen.core.Receiver(self.router)
            logs.add(log)
            results.add(result)
            calls.append(c.call_async(shapes.work, log.to_sender(), result.to_sender()))
        said, got, ends = [], [], 0
        while ends < 2 * len(contexts):
            for select, into in ((logs, said), (results, got)):
                try:
                    msg = select.get_event(block=False).data
                except mitogen.core.TimeoutError:
                    continue
                if msg.is_dead:
                    ends += 1
                    continue
                value = msg.unpickle()
                if isinstance(value, mitogen.core.Sender):
                    for n in range(5):
                        value.send(n)
                    value.close()
                else:
                    into.append(value)
        self.assertEqual(sorted(got), sorted(list(range(1, 6)) * 8))
        self.assertEqual(sorted(said), sorted(['done %d' % n for n in range(5)] * 8))
        for call in calls:
            self.assertIsNone(call.get().unpickle())

    def test_chain_and_files(self):
        """A pipelined chain of class methods that take a router, which read files of the program's;
        a method of the router by its name.
        """
        method, options = 'local', {'remote_name': 'of-mine', 'python_path': TARGET}
        c = getattr(self.router, method)(**options)
        files = mitogen.service.FileService(self.router)
        pool = mitogen.service.Pool(self.router, services=[files])
        self.addCleanup(pool.stop)
        source, copy = os.path.join(self.dir, 'source'), os.path.join(self.dir, 'copy')
        with open(source, 'wb') as f:
            f.write(os.urandom(300000))
        files.register(source)
        here = self.router.myself()
        with mitogen.parent.CallChain(c, pipelined=True) as chain:
            first = chain.call_async(shapes.Actions.copy, source, copy, here)
            second = chain.call_async(shapes.Actions.fail, 'stop here')
            third = chain.call_async(shapes.Actions.copy, source, copy, here)
            self.assertEqual(first.get().unpickle(), ['Actions', c.context_id, True, 300000])
            for r in (second, third):
                with self.assertRaises(mitogen.core.CallError) as e:
                    r.get().unpickle()
                self.assertIn('ValueError: stop here', str(e.exception))
        with open(source, 'rb') as a, open(copy, 'rb') as b:
            self.assertEqual(a.read(), b.read())

    def test_retried_ssh(self):
        """ssh is tried again for EofError; options of ssh, a Path as key; HostKeyError; sudo that
        keeps variables.
        """
        key = pathlib.Path(self.dir) / 'key'
        key.write_text('')
        path, tries = self.stub(fails=2, says='connection reset\n'), []

        def retried(fn, exceptions, times, **options):
            for _ in range(times - 1):
                try:
                    return fn(**options)
                except exceptions as e:
                    tries.append(str(e))
            return fn(**options)

        def main(router):
            self.router = router
            c = retried(
                lambda **o: self.ssh(path, **o), mitogen.parent.EofError, 5, username='me',
                identity_file=key, ssh_args=['-o', 'SendEnv SENT'],
            )
            if os.getuid() == 0:
                root = router.sudo(via=c, preserve_env=True, python_path=TARGET)
                self.assertEqual(tuple(root.call(shapes.variable, 'SENT')), ('by-ssh', 0))
            return tuple(c.call(shapes.variable, 'SENT'))

        self.assertEqual(mitogen.utils.run_with_router(main), ('by-ssh', os.getuid()))
        self.assertEqual(len(tries), 2)
        self.assertTrue(tries[0].startswith('EOF on stream; last 100 lines received:\n'), tries)
        self.assertIn('connection reset', tries[0])
        with open(os.path.join(self.dir, 'args')) as f:
            given = f.read().split('\n')
        self.assertIn(str(key), given)
        self.assertIn('SendEnv SENT', given)

    def test_key_that_is_not_known(self):
        path = self.stub(fails=1, says='Host key verification failed.\r\n')
        with self.assertRaises(mitogen.ssh.HostKeyError):
            self.ssh(path)

    def test_selects_of_selects(self):
        """Which context, and which call, a message is of; a context's own number; bytes that the
        program has pickled itself.
        """
        contexts = [self.router.local(python_path=TARGET) for _ in range(2)]
        me = mitogen.core.Context(self.router, mitogen.context_id)
        events = mitogen.core.Receiver(self.router)
        status = {}
        calls = mitogen.select.Select(oneshot=True)
        for c in contexts:
            blob = mitogen.core.Blob(pickle.dumps({'for': c.context_id}, 2))
            r = c.call_async(shapes.tell, me.context_id, events.to_sender(), blob)
            status[r] = c
            calls.add(r)
        both = mitogen.select.Select([mitogen.select.Select([events], oneshot=False), calls], oneshot=False)
        told, ended = {}, []
        while len(told) < 2 or len(ended) < 2:
            msg = both.get(timeout=60)
            if msg.receiver is events:
                told[msg.src_id] = msg.unpickle()
            else:
                self.assertEqual(msg.src_id, status[msg.receiver].context_id)
                self.assertIsNone(msg.unpickle())
                ended.append(msg.src_id)
        for c in contexts:
            number, blob = told[c.context_id]
            self.assertEqual((number, pickle.loads(blob)), (c.context_id, {'for': c.context_id}))

    def test_environment_behind_a_context(self):
        """A context makes an environment, and the program starts a context in it, behind the first,
        from threads; files below a directory are served.
        """
        if subprocess.run([TARGET, '-c', 'import venv'], stderr=subprocess.DEVNULL).returncode:
            self.skipTest('no venv there')
        router, came = self.router, queue.Queue()
        pool = mitogen.service.get_or_create_pool(router=router)
        self.addCleanup(pool.stop)
        files = mitogen.service.FileService(router)
        pool.add(files)
        files.register_prefix(self.dir)
        with open(os.path.join(self.dir, 'data'), 'w') as f:
            f.write('content')

        def one(n):
            try:
                c = router.local(python_path=TARGET)
                where = os.path.join(self.dir, 'env%d' % n)
                python = c.call(shapes.make_environment, where)
                inside = router.local(via=c, python_path=[python])
                copied = inside.call(
                    shapes.Actions.copy, os.path.join(self.dir, 'data'), where + '/copy',
                    router.myself())
                came.put((inside.call(shapes.prefix), where, copied[2:]))
            except Exception as e:
                came.put(e)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for _ in threads:
            prefix, where, copied = came.get()
            self.assertEqual(os.path.realpath(prefix), os.path.realpath(where))
            self.assertEqual(copied, [True, 7])

    def test_connect_by_configuration(self):
        """A connect by a dict; the texts that are compared; the cause of a program that isn't there;
        a shutdown whose Latch is waited for; the broker by way of a context.
        """
        c = self.router.connect(**{'method_name': 'local', 'python_path': TARGET, 'name': 'agent'})
        self.assertEqual(c.call(shapes.double, 21), 42)
        with self.assertRaises(mitogen.parent.EofError) as e:
            self.router.local(python_path='/no/such/python')
        prefix = mitogen.parent.EofError('EOF on stream; last 100 lines received:\n').args[0]
        self.assertTrue(str(e.exception).startswith(prefix), str(e.exception))
        with self.assertRaises(mitogen.core.StreamError) as e:
            self.router.sudo(sudo_path='/no/such/sudo')
        self.assertIsInstance(e.exception.__context__, FileNotFoundError)
        latch = c.shutdown(wait=False)
        self.assertIsNone(latch.get(timeout=60))
        with self.assertRaises(mitogen.core.ChannelError):
            c.call(os.getpid)
        other = self.router.local(python_path=TARGET)
        other.router.broker.shutdown()
        other.router.broker.join()
        with self.assertRaises(mitogen.core.ChannelError):
            other.call(os.getpid)

    def test_server_in_a_context(self):
        """A loop in a context that takes requests and sends answers, until it is told to end."""
        c = getattr(self.router, 'local')(python_path=TARGET)
        answers = mitogen.core.Receiver(self.router)
        served = c.call_async(shapes.serve, answers.to_sender())
        requests = answers.get(timeout=60).unpickle()
        for n in range(100):
            requests.send(['join', ['a', str(n)]])
            self.assertEqual(answers.get(timeout=60).unpickle(), ['join', 'a/%d' % n])
        requests.send(['nosuch', []])
        name, error = answers.get(timeout=60).unpickle()
        self.assertIsInstance(error, mitogen.core.CallError)
        requests.send(['stop', []])
        self.assertEqual(served.get(timeout=60).unpickle(), 'stopped')
        c.shutdown(wait=True)
        with self.assertRaises(mitogen.core.ChannelError):
            c.call(os.getpid)
        answers.close()
        with self.assertRaises(mitogen.core.ChannelError):
            answers.get()

    def test_executor(self):
        """Functions in many contexts by an executor; a target that can't be reached is a
        StreamError.
        """
        path = self.stub(fails=1, says='no route\n')

        def one(n):
            try:
                c = self.ssh(path) if n == 3 else self.router.local(python_path=TARGET)
            except mitogen.core.StreamError as e:
                return type(e).__mro__[1].__name__
            return c.call('shapes:command', 'echo', 'n%d' % n)

        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(one, range(5)))
        self.assertEqual(got[3], 'StreamError')
        self.assertEqual([list(g) for n, g in enumerate(got) if n != 3],
                         [[0, 'n%d\n' % n] for n in (0, 1, 2, 4)])

    def test_shared_router(self):
        """Connections of several threads share a router, and end one by one; a password that isn't
        there, or is wrong.
        """
        path = self.stub(fails=1, says='me@host1: Permission denied (publickey,password).\n')
        with self.assertRaises(mitogen.ssh.PasswordError):
            self.ssh(path, username='me')
        key = os.path.join(self.dir, 'id')
        open(key, 'w').close()
        c = self.ssh(path, username='me', port=2222, identity_file=key)
        self.assertEqual(c.name, 'ssh.host1:2222')
        others = [self.router.local(python_path=TARGET) for _ in range(2)]
        got = queue.Queue()

        def use(context):
            for n in range(20):
                status, out = context.call(shapes.command, 'echo', str(n))
                got.put((status, out == '%d\n' % n))
            context.shutdown(wait=True)

        threads = [threading.Thread(target=use, args=(x,)) for x in [c] + others]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([got.get() for _ in range(60)], [(0, True)] * 60)
        self.assertEqual(self.router.get_streams(), [])

    def test_binary_as_argument(self):
        """A program as bytes; a Select of a list; the host of a message by its context's options."""
        path = self.stub()

        def main(router, args):
            self.router = router
            contexts = [self.ssh(path, name='n%d' % n) for n in range(2)]
            program = b'#!/bin/sh\necho "$1"\n' + b'#' * 300000
            calls = [c.call_async(shapes.measure, program, args) for c in contexts]
            got = []
            for res in mitogen.select.Select(calls):
                host = res.router._stream_by_id[res.src_id].conn.options.hostname
                got.append((host, list(res.unpickle())))
            self.assertEqual(contexts[0].call(shapes.length, b'xyz')[0], 3)
            return got

        got = mitogen.utils.run_with_router(main, ['arg'])
        self.assertEqual(got, [('host1', [0, 'arg\n'])] * 2)


if __name__ == '__main__':
    unittest.main()
