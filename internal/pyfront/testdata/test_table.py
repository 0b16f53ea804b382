"""The names of Mitogen's API, row by row: each is there with its arguments, or raises at once, and says
what to do instead.
"""

import importlib
import inspect
import os
import sys
import threading
import unittest

import mitogo.compat

mitogo.compat.install()

import mitogen.core  # noqa: E402
import mitogen.master  # noqa: E402
import mitogen.parent  # noqa: E402
import mitogen.select  # noqa: E402
import mitogen.service  # noqa: E402
import splits  # noqa: E402

TARGET = os.environ.get('MITO_TEST_TARGET') or sys.executable

# Module, then names of it, or of a class in it, with the arguments that programs pass by name.
THERE = """
mitogen: main(log_level,profiling) is_master context_id parent_id parent_ids __version__
mitogen.utils: run_with_router(func) with_router(func) log_to_file(path,level) cast(obj) setup_gil()
mitogen.utils: disable_site_packages()
mitogen.master: Broker(install_watcher) Router(broker,max_message_size)
mitogen.master.Broker: shutdown() join() defer(func) defer_sync(func) start_receive(stream)
mitogen.parent.Router: local() ssh() sudo() su() doas() docker() podman() buildah() kubectl() lxc() lxd()
mitogen.parent.Router: incus() jail() setns() connect(method_name,name) fork() myself() unidirectional
mitogen.parent.Router: context_by_id(context_id,via_id,create,name) route(msg) max_message_size
mitogen.parent.Router: add_handler(fn,handle,persist,policy,respondent,overwrite) del_handler(handle)
mitogen.master.Router: enable_debug() get_stats() stream_by_id() _stream_by_id get_streams() disconnect()
mitogen.master.Router: disconnect_stream(stream)
mitogen.parent.Context: call(fn) call_async(fn) call_no_reply(fn) shutdown(wait) send(msg) send_async(msg)
mitogen.parent.Context: send_await(msg,deadline) call_service() call_service_async()
mitogen.parent: CallChain(context,pipelined) EofError CancelledError upgrade_router()
mitogen.parent.CallChain: call(fn) call_async(fn) call_no_reply(fn) reset() make_chain_id()
mitogen.core: Receiver(router,handle,persist,respondent,policy,overwrite) Sender(context,dst_handle)
mitogen.core.Receiver: get(timeout,block,throw_dead) to_sender() size() empty() close() notify __iter__()
mitogen.core.Sender: send(data) close()
mitogen.core.Message: pickled(obj) dead(reason) encoded(obj) unpickle(throw,throw_dead) reply(msg) is_dead
mitogen.core.Message: pack() receiver handle reply_to data
mitogen.core: Latch() Channel(router,context,dst_handle,handle) Context(router,context_id,name)
mitogen.core.Latch: get(timeout,block) put(obj) size() empty() close()
mitogen.select: Select(receivers,oneshot) Error Event
mitogen.select.Select: add(recv) remove(recv) get(timeout,block) get_event(timeout,block) iter_data()
mitogen.select.Select: iter_events() all(receivers) close() size() empty() __bool__()
mitogen.core: takes_router(func) takes_econtext(func) listen(obj,name) unlisten(obj,name) fire(obj,name)
mitogen.core: Blob Secret Kwargs CallError ChannelError StreamError TimeoutError LatchError Error
mitogen.core: set_pickle_whitelist(patterns) has_parent_authority(msg) ExternalContext
mitogen.core.ExternalContext: detach()
mitogen.ssh: PasswordError HostKeyError
mitogen.sudo: PasswordError
mitogen.su: PasswordError
mitogen.doas: PasswordError
mitogen.service: Service(router) expose(policy) arg_spec(spec) no_reply() Policy AllowAny AllowParents
mitogen.service: Pool(router,services,size) get_or_create_pool(size,router,context) call() Invoker
mitogen.service: SerializedInvoker DeduplicatingInvoker FileService(router) PushFileService(router)
mitogen.service.Service: name() on_shutdown() invoker_class
mitogen.service.Pool: add(service) get_service(name) stop(join) join() defer(func)
mitogen.service.FileService: register(path) register_prefix(path) get(context,path,out_fp)
mitogen.service.PushFileService: propagate_to(context,path) get(path) propagate_paths_and_modules()
mitogen.fork: on_fork()
mitogen.os_fork: Corker
mitogen.debug: format_stacks() install_handler() dump_to_logger()
mitogen.fakessh: run(dest,router,args)
mitogen.unix: Listener connect(path)
mitogen.profiler: report()
"""

# What is in the table as not offered, and raises when it is named.
ABSENT = """
mitogen.core: Stream Side Protocol Poller Importer DelimitedProtocol MitogenProtocol Broker
mitogen.parent: Connection Options Stream create_child tty_create_child hybrid_tty_create_child
mitogen.master: ModuleFinder ModuleResponder LogForwarder
mitogen.ssh: Connection Options
mitogen.sudo: Connection Options
mitogen.su: Connection Options
mitogen.doas: Connection Options
mitogen.docker: Connection Options
mitogen.local: Connection Options
mitogen.kubectl: Connection
mitogen.lxc: Connection
mitogen.lxd: Connection
mitogen.incus: Connection
mitogen.podman: Connection
mitogen.buildah: Connection
mitogen.jail: Connection
mitogen.setns: Connection
mitogen.unix: Router
mitogen.minify: minimize_source
mitogen.imports: codeobj_imports
"""


def rows(text):
    for line in text.split('\n'):
        where, _, names = line.partition(': ')
        for name in names.split():
            yield where, name


def found(where):
    """The module or class of that name."""
    try:
        return importlib.import_module(where)
    except ImportError:
        module, _, name = where.rpartition('.')
        return getattr(importlib.import_module(module), name)


def sentence(e):
    return len(str(e).split()) > 5 and not str(e).startswith('<')


class Table(unittest.TestCase):
    def test_there(self):
        for where, name in rows(THERE):
            name, called, arguments = name.partition('(')
            owner = found(where)
            self.assertTrue(hasattr(owner, name), '%s.%s' % (where, name))
            thing = inspect.getattr_static(owner, name)
            thing = getattr(owner, name) if not isinstance(thing, property) else thing
            if not called:
                continue
            self.assertTrue(callable(thing), '%s.%s' % (where, name))
            parameters = inspect.signature(thing).parameters
            for a in arguments.rstrip(')').split(','):
                self.assertTrue(not a or a in parameters, '%s.%s(%s)' % (where, name, a))

    def test_what_is_absent(self):
        for where, name in rows(ABSENT):
            with self.assertRaises(NotImplementedError) as e:
                getattr(importlib.import_module(where), name)
            self.assertTrue(sentence(e.exception), e.exception)
            self.assertIn(name, str(e.exception))
            with self.assertRaises(NotImplementedError):
                exec('from %s import %s' % (where, name))
            self.assertFalse(hasattr(importlib.import_module(where), 'no_such_name'), where) \
                if where.split('.')[1] in ('core', 'parent', 'master', 'ssh') else None

    def test_what_raises_when_it_is_called(self):
        import mitogen.fakessh
        import mitogen.profiler
        import mitogen.unix

        with mitogen.master.Router() as router:
            for do in (
                lambda: mitogen.unix.Listener(router),
                lambda: mitogen.unix.connect('/x'),
                lambda: mitogen.fakessh.run(None, router, ['rsync']),
                lambda: mitogen.profiler.report(),
                lambda: router.fork(on_start=print),
                lambda: router.fork(on_fork=print),
                lambda: mitogen.core.ExternalContext(router).detach(),
                lambda: router.broker.start_receive(None),
                lambda: router.broker.stop_receive(None),
                lambda: router.responder.add_source_override('m', 'm.py', '', False),
                lambda: mitogen.core.Message().pack(),
                lambda: router.docker(container='c', docker_path='/own/docker'),
            ):
                with self.assertRaises(NotImplementedError) as e:
                    do()
                self.assertTrue(sentence(e.exception), e.exception)


class Behind(unittest.TestCase):
    """Names of the table that have nobody else's test."""

    @classmethod
    def setUpClass(cls):
        cls.router = mitogen.master.Router()

    @classmethod
    def tearDownClass(cls):
        cls.router.broker.shutdown()
        cls.router.broker.join()

    def test_streams(self):
        c = self.router.local(python_path=TARGET, name='known')
        (stream,) = [s for s in self.router.get_streams() if s.remote_id == c.context_id]
        self.assertEqual(stream.conn.options.python_path, TARGET)
        self.router.responder.forward_modules(c, ['splits'])
        self.assertEqual(c.call(splits.add, 1), 2)
        gone = mitogen.core.Latch()
        mitogen.core.listen(c, 'disconnect', gone.put)
        self.router.disconnect_stream(stream)
        gone.get(timeout=60)

    def test_rules_that_come_too_late(self):
        self.router.local(python_path=TARGET)
        for rule in ('whitelist_prefix', 'blacklist_prefix'):
            with self.assertRaises(mitogen.core.Error) as e:
                getattr(self.router.responder, rule)('splits')
            self.assertIn('before the first context', str(e.exception))

    def test_invokers(self):
        for cls, most, calls in (
            (mitogen.service.Invoker, 4, 8),
            (mitogen.service.SerializedInvoker, 1, 8),
            (mitogen.service.DeduplicatingInvoker, 4, 4),
        ):
            service = Counting(self.router, cls)
            pool = mitogen.service.Pool(self.router, services=[service], size=4, overwrite=True)
            try:
                here = self.router.myself()
                answers = [
                    here.call_service_async(Counting, 'slow', n=i % 4) for i in range(8)
                ]
                got = [a.get(timeout=60).unpickle() for a in answers]
                self.assertEqual(got, [0, 1, 2, 3] * 2)
                self.assertEqual(service.calls, calls, cls)
                self.assertLessEqual(service.most, most, cls)
                failed = here.call_service_async(Counting, 'fails', n=0).get(timeout=60)
                self.assertRaises(mitogen.core.CallError, failed.unpickle)
            finally:
                pool.stop(join=True)


class Counting(mitogen.service.Service):
    def __init__(self, router, invoker):
        mitogen.service.Service.__init__(self, router)
        self.invoker_class = invoker
        self.lock, self.calls, self.at_once, self.most = threading.Lock(), 0, 0, 0

    @mitogen.service.expose(policy=mitogen.service.AllowParents())
    def slow(self, n):
        with self.lock:
            self.calls += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        threading.Event().wait(0.02)
        with self.lock:
            self.at_once -= 1
        return n

    @mitogen.service.expose(policy=mitogen.service.AllowParents())
    def fails(self, n):
        raise ValueError(n)


if __name__ == '__main__':
    unittest.main()
