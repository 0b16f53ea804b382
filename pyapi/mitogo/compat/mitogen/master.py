"""The program's broker and router."""
import threading
import time

from mitogen import _absent, _here, _plain, _signals, parent

__getattr__ = _absent.getter('master')
if _here.IS_MASTER:
    _engine = __import__('mitogen._' + 'engine', fromlist=['Peers'])


class _Timer(object):
    def __init__(self, broker, when, func):
        self.when, self.func = when, func
        self.active = True
        self._broker = broker
        self._timer = threading.Timer(max(0, when - time.time()), self._run)
        self._timer.daemon = True
        self._timer.start()

    def _run(self):
        self._broker.timers._made.remove(self)
        if self.active:
            self.func()

    def cancel(self):
        """Don't call it, if it hasn't been."""
        self.active = False
        self._timer.cancel()


class _Timers(object):
    def __init__(self, broker):
        self._broker = broker
        self._made = []

    def schedule(self, when, func):
        """Have func called at a time as time.time() has it. What is returned has cancel()."""
        timer = _Timer(self._broker, when, func)
        self._made.append(timer)
        return timer


class _Life(object):
    """What stands for the thread that there isn't."""

    name = 'mitogen.broker'

    def __init__(self, broker):
        self._broker = broker

    def is_alive(self):
        """Whether the broker hasn't ended."""
        return not self._broker._ended.is_set()

    isAlive = is_alive

    def join(self, timeout=None):
        """Wait for its end."""
        self._broker._ended.wait(timeout)


class Broker(object):
    """Ends what its routers have started. It has no thread of its own."""

    def __init__(self, install_watcher=True):
        self.routers = []
        self.timers = _Timers(self)
        self._lock = threading.Lock()
        self._ending = None     # the thread that ends all
        self._ended = threading.Event()
        self._thread = _Life(self)

    def __repr__(self):
        return 'Broker(%#x)' % id(self)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.join()

    def shutdown(self):
        """Begin to end all contexts. join() waits for that."""
        with self._lock:
            if self._ending is None:
                self._ending = threading.Thread(target=self._end, name='mitogen.broker')
                self._ending.daemon = True
                self._ending.start()

    def _end(self):
        _signals.fire(self, 'before_shutdown')
        _signals.fire(self, 'shutdown')
        for timer in list(self.timers._made):
            timer.cancel()
        for router in self.routers:
            router._close()
        _signals.fire(self, 'exit')
        self._ended.set()

    def join(self):
        """Return once all has ended."""
        self._ended.wait()
        if self._ending is not threading.current_thread():
            self._ending.join()

    def defer(self, func, *args, **kwargs):
        """Call func."""
        func(*args, **kwargs)

    def defer_sync(self, func):
        """What func() returns."""
        return func()

    def start_receive(self, stream):
        """Raises NotImplementedError."""
        raise NotImplementedError('streams are the engine\'s here: use a handler or a Receiver')

    stop_receive = start_receive


class _Responder(object):
    """What modules contexts may be sent. It has to be said before the first context is started."""

    def __init__(self, router):
        self._router = router
        self.allow, self.deny = [], []

    def _before(self, what):
        if self._router._peers.engine is not None:
            raise _plain.Error('%s: say so before the first context is started', what)

    def whitelist_prefix(self, fullname):
        """Send only modules of such packages. Error: a context was started before."""
        self._before('whitelist_prefix')
        self.allow.append(fullname)

    def blacklist_prefix(self, fullname):
        """Send no module of such packages. Error: a context was started before."""
        self._before('blacklist_prefix')
        self.deny.append(fullname)

    def forward_modules(self, context, fullnames):
        """Have a context sent modules before it asks for them. Doesn't wait."""
        for name in fullnames:
            self._router._peers.prepare(context.context_id, name)

    def add_source_override(self, fullname, path, source, is_pkg):
        """Raises NotImplementedError."""
        raise NotImplementedError(
            'add_source_override: put a directory with your %s in front of sys.path, before the '
            'first context is started' % fullname)


class Router(parent.Router):
    """Starts contexts, by an engine of its own, which ends with its broker. A context manager."""

    broker_class = Broker
    profiling = False
    debug = False

    def __init__(self, broker=None, max_message_size=None):
        parent.Router.__init__(self, broker or self.broker_class())
        if max_message_size:
            self.max_message_size = max_message_size
        self.responder = _Responder(self)
        self._peers = _engine.Peers(self)
        self.broker.routers.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.broker.shutdown()
        self.broker.join()

    def _send(self, msg):
        self._peers.send(msg)

    def _answer(self, msg, answer):
        self._peers.answer(msg, answer)

    def _prepare(self, context_id, module):
        self._peers.prepare(context_id, module)

    def _close(self):
        self._peers.close()
        self._exit()

    def enable_debug(self):
        """Have contexts send records of all levels."""
        self.debug = True

    def get_stats(self):
        """Figures of modules that were sent: numbers, seconds, and compressed bytes. What minifying
        takes is part of get_module_secs.
        """
        engine = self._peers.engine
        all = [] if engine is None or engine._closed else engine.stats()
        return {
            'get_module_count': sum([s.asked for s in all]),
            'get_module_secs': sum([s.pack for s in all]),
            'good_load_module_count': sum([s.modules for s in all]),
            'good_load_module_size': sum([s.module_bytes for s in all]),
            'bad_load_module_count': sum([s.negative for s in all]),
            'minify_secs': 0.0}

    def stream_by_id(self, context_id):
        """Something whose conn.options has what a context was started with."""
        return self._peers.stream(context_id)

    @property
    def _stream_by_id(self):
        return self._peers.streams()

    def get_streams(self):
        """What stream_by_id returns, for all contexts."""
        return list(self._peers.streams().values())

    def disconnect(self, context):
        """End a context."""
        context.shutdown()

    def disconnect_stream(self, stream):
        """End the context of what stream_by_id returned."""
        self.context_by_id(stream.remote_id).shutdown()
