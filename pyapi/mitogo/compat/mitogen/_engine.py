"""The engine of a router, and the way of calls and messages to its contexts."""
import collections
import logging
import os
import struct
import threading
from time import monotonic

import mitogo
from mitogo import _link, _sending, _values
from mitogo._call import GRACE
from mitogo._state import _op

from mitogen import _here, _messages, _targets
from mitogen._latch import Latch
from mitogen._messages import LOG, Message, Receiver, Room
from mitogen._plain import CallError, ChannelError, Secret, StreamError

HEAD = struct.Struct('>LLLLL')  # dst, src, auth, handle, reply_to; data follows
CHANNEL = _sending.HELPER.encode() + b':channel\0'
MOST = 64 << 20     # bytes of a context's messages that aren't taken yet; then no more are read
LONGEST, MOST_NAMES = 200, 1000     # characters of a logger's name, and how many there are
PLACE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Engine(mitogo.Engine):
    """An engine whose contexts import this package, and whose records are named as programs expect
    them.
    """

    _extra = {'own_mitogen': True}
    _peers = None

    def __init__(self, **options):
        self._names = set()     # of loggers in contexts
        mitogo.Engine.__init__(self, **options)

    def _admitted(self, module, name):
        found = _messages.whitelisted(module, name)
        return {} if found is None else _values.of_types([found])

    def _show(self, s, handle, payload, taker=None):
        self._link.send(self._link.credit(s.id, handle, len(payload)))
        peer = self._peers.of(s.id)
        stream = 'stdout' if handle == _link.STDOUT else 'stderr'
        logger = logging.getLogger('%s.[%s]' % (stream, peer.name() if peer else s.target))
        text = s.decoders[handle].decode(payload)
        for line in text.splitlines():
            logger.info('%s', line)

    def _record(self, s, level, name, when, text):
        peer = self._peers.of(s.id) if s is not None else None
        if s is None and level < logging.WARNING:
            level = logging.DEBUG   # what programs print at INFO is their contexts'
        if len(name) > LONGEST or name not in self._names and len(self._names) >= MOST_NAMES:
            name = 'context'    # a logger stays: contexts don't have any number of them made
        self._names.add(name)
        context = peer.context if peer else None
        where = peer.name() if peer else 'engine'
        logger = logging.getLogger('%s.[%s]' % (name, where))
        if not logger.isEnabledFor(level):
            return
        record = logger.makeRecord(
            logger.name, level, '(%s)' % where, 0, '%s', (text,), None, None,
            {'mitogen_message': text, 'mitogen_context': context, 'mitogen_name': name})
        record.created = when
        logger.handle(record)


class _Conn:
    def __init__(self, options):
        self.options, self.proc = options, None


class _Options:
    """The keyword arguments of a connect, as attributes."""

    def __init__(self, given):
        self.__dict__.update(given)


class _Stream:
    def __init__(self, options, id):
        self.conn = _Conn(options)
        self.remote_id = id


class Peer:
    """A context of the engine, and the channel to it."""

    def __init__(self, peers, ctx, given):
        self.peers, self.ctx, self.given = peers, ctx, given
        self.context = None     # as the program knows it
        self.above = 0          # the id of the context that it is behind
        self.place = None       # a Room, if a context has asked for it
        self._inlet = None      # the handle of what the program says
        self._begun = False     # something there takes it
        self._turn = threading.Lock()   # held while one message is sent: its pieces stay together
        self._teller = None     # the thread that has the turn
        self._lock = threading.Lock()   # protects following
        self._held = 0          # bytes of messages that aren't taken yet
        self._asked = 0         # requests of its own that have no answer yet
        self._taking = False

    def begin(self):
        """Open the channel."""
        s, link = self.ctx._s, self.ctx._s.engine._link
        with s.lock:
            before = _sending._before(s, _sending.HELPER, set(), None)
            self._q = link.ask(s.id, _link.CALL, CHANNEL, before, True)
        self._q.more = self._take
        self._q.done = self._ended
        self._take()
        if self._q.kind is not None:    # it came before that was set
            self._ended()

    def name(self):
        """Of the context, for records."""
        return self.context.name if self.context is not None else self.ctx.target

    def begin_asked(self, most):
        """Note a request of the context's. False: most are under way."""
        with self._lock:
            if self._asked >= most:
                return False
            self._asked += 1
            return True

    def end_asked(self):
        """Note that a request has its answer."""
        with self._lock:
            self._asked -= 1

    def over(self):
        """Whether nothing can be said any more."""
        return self._q.kind is not None

    def _take(self):
        """Take what has come, while there is room for it. In the thread that delivers, or a
        thread that has just taken a message.
        """
        with self._lock:
            if self._taking:
                return
            self._taking = True
        link = self.ctx._s.engine._link
        while True:
            with self._lock:
                if not self._q.items or self._held > MOST:
                    self._taking = False
                    return
            try:
                self._item(link.take(self._q))
            except IndexError:
                pass    # the answer was too large, and is kept no more
            except Exception as e:
                self._refuse(e)

    def _refuse(self, error):
        """Take no notice of what a context has sent. Without the handle of its channel it is of no
        use, and ends.
        """
        LOG.error('%s: a message that can not be taken: %s', self.name(), error)
        if self._inlet is None and self.ctx._s.engine._link.error is None:
            why = 'it has opened no channel'
            request = _op('kill', {'id': self.ctx._s.id, 'why': why})
            self.ctx._s.engine._link.send(_link.frame(0, _link.DO, request))

    def _item(self, data):
        if self._inlet is None:
            self._inlet = int(_values.load(data, {}, lambda: (self.ctx.target, 'channel')))
            _here.wake()
            return
        if len(data) < HEAD.size:
            return
        dst, _, _, handle, reply_to = HEAD.unpack_from(data)
        id = self.ctx._s.id     # whatever it says of itself
        msg = Message(
            dst_id=dst, src_id=id, auth_id=id, handle=handle, reply_to=reply_to or None,
            data=data[HEAD.size:])
        with self._lock:
            self._held += len(data)
        msg._room = Room(lambda: self._release(len(data)))
        self.peers.relay(msg)

    def _release(self, size):
        with self._lock:
            self._held -= size
        self._take()

    def _ended(self):
        self.peers.lost(self)

    def _open(self, seconds=None):
        """Wait until something can be said, or never will. What this waits for is delivered, so
        that who waits may not be the one who reads.
        """
        _here.pause(lambda: self._inlet is not None or self.over(), seconds)

    def say(self, msg):
        """Send a message to it. False: it has gone."""
        self._open()
        data = HEAD.pack(
            msg.dst_id, msg.src_id, msg.auth_id, msg.handle or 0, msg.reply_to or 0) + msg.data
        me = threading.get_ident()
        if self._teller == me:  # who waits for room delivers, and what that calls sends, too
            self.peers.later(msg)
            return True
        with self._turn:
            if self.over():
                return False
            self._teller = me
            try:
                if not self._begun:
                    self._begun = True
                    self.ctx.start('mitogen._context:begin')
                self._feed(data)
            finally:
                self._teller = None
        return True

    def _feed(self, data):
        """Send bytes as one item: all pieces but the last are parts of it."""
        link, id, most = self.ctx._s.engine._link, self.ctx._s.id, _link.MAX_PAYLOAD
        key = id, self._inlet
        link.open(*key)
        try:
            for at in range(0, len(data), most):
                piece = data[at:at + most]
                link.wait(lambda: link.flows.get(key, 0) > 0 or self.over())
                if self.over():
                    return
                link.spend(*key, len(piece))
                kind = _link.ITEM if at + most >= len(data) else _link.PART
                link.send(_link.frame(id, self._inlet, piece, kind))
        except BaseException:
            if link.error is None:
                link.send(_link.frame(id, self._inlet, b'', _link.PART))    # half a message is none
            raise

    def close(self):
        """End the context, whatever runs there: the engine lets the oldest call end before it,
        which is the channel. A context that doesn't end that is killed.
        """
        s, link = self.ctx._s, self.ctx._s.engine._link
        self._open(GRACE)
        if not self.over():
            ending = _link.frame(0, _link.DO, _op('close', {'id': s.id}))
            if self._inlet is not None:
                ending += _link.frame(s.id, self._inlet)
            link.send(ending)
        if not link.wait(lambda: s.error is not None, monotonic() + GRACE):
            why = 'it did not end when it was told to'
            link.send(_link.frame(0, _link.DO, _op('kill', {'id': s.id, 'why': why})))
            link.wait(lambda: s.error is not None)


class Peers:
    """The contexts of a router."""

    def __init__(self, router):
        self.router = router
        self.engine = None
        self._lock = threading.Lock()   # protects following
        self._by_id = {}
        self._below = 0     # contexts that contexts have asked for
        self._boxes = {}    # by the id of whom they are for: messages that a thread passes on
        self._closed = False
        self._threads = []

    def started(self):
        """The engine, which the first context needs."""
        with self._lock:
            if self._closed:
                raise StreamError('the router has ended')
            if self.engine is None:
                self.engine = _new(self.router)
                self.engine._peers = self
                self.router.add_handler(self._asked, _messages.BELOW, overwrite=True)
                for name in ('_unpickle_context', '_unpickle_sender'):
                    known = _unpickled(self.router, getattr(_messages, name))
                    self.engine._types['mitogen.core', name] = known
            return self.engine

    def _asked(self, msg):
        from mitogen import _below

        _below.asked(self, msg)

    def of(self, id):
        """The Peer with that id, or None."""
        return self._by_id.get(id)

    def stream(self, id):
        """Something with what a context was started with."""
        peer = self.of(id)
        return None if peer is None else _Stream(_Options(peer.given), id)

    def streams(self):
        """By id."""
        return {id: self.stream(id) for id in list(self._by_id)}

    def place(self, most):
        """A Room for a context that another one asks for; None: there are most of them."""
        with self._lock:
            if self._below >= most:
                return None
            self._below += 1
        return Room(self._leave)

    def _leave(self):
        with self._lock:
            self._below -= 1

    def add(self, ctx, given, place):
        """Note a context, which gives back its place, if it has one, when it has gone."""
        peer = Peer(self, ctx, given)
        peer.place = place
        self._by_id[ctx._s.id] = peer
        try:
            peer.begin()
        except BaseException:
            self.lost(peer)
            raise
        return peer

    def lost(self, peer):
        """Note that one has gone."""
        if self._by_id.pop(peer.ctx._s.id, None) is None:
            return
        if peer.place is not None:
            peer.place.leave()
        if peer.context is not None:
            self.router._gone(peer.context)
        _here.wake()

    def prepare(self, id, module):
        """Have a context sent a module that a service is in, before it is told to make one."""
        peer = self.of(id)
        if peer is not None and module and module.split('.')[0] != 'mitogen':
            peer.ctx._bring(_values.served_as(module))

    def send(self, msg):
        """Send a message of this program's to a context."""
        peer = self.of(msg.dst_id)
        if peer is None or not peer.say(msg):
            self.router._refuse(msg, self.router.no_route_msg % (msg.dst_id, _here.CONTEXT_ID))

    def relay(self, msg):
        """Take a message from a context. It doesn't wait: what may have to wait for a context, or
        for the program's code, is done by a thread.
        """
        if self._stays(msg):
            self.router.route(msg)
        else:
            self.later(msg)

    def answer(self, msg, answer):
        """Send an answer to a message. While that has room of its sender's, the answer has it, and
        a thread waits for a context that does not read what it has asked for.
        """
        room = msg._room
        if room is None or not room.held() or self.of(answer.dst_id) is None:
            self.router.route(answer)
            return
        answer._room, msg._room = room, None
        self.later(answer)

    def later(self, msg):
        """Put a message into the box of the context that it is for: a thread sends it."""
        id = msg.dst_id if self.of(msg.dst_id) is not None else _here.CONTEXT_ID
        with self._lock:
            if self._closed:
                return
            box = self._boxes.get(id)
            if box is None:
                box = self._boxes[id] = collections.deque()
                self._run(self._pass_on, 'mitogen.relay', id, box)
            box.append(msg)
        _here.wake()

    def _stays(self, msg):
        """Whether a message is for a receiver of this program, where it stays until it is taken."""
        h = self.router._handlers.get(msg.handle)
        return (
            msg.dst_id == _here.CONTEXT_ID and h is not None and h.policy is None
            and h.respondent is None and isinstance(getattr(h.fn, '__self__', None), Receiver))

    def _pass_on(self, id, box):
        """Pass on what is in a box, until its context has gone."""
        while True:
            _here.pause(lambda: box or self._closed or id and self.of(id) is None)
            with self._lock:
                if not box or self._closed:
                    self._boxes.pop(id, None)
                    return
                msg = box.popleft()
            if id and self.router.unidirectional and msg.auth_id != _here.CONTEXT_ID:
                self.router._refuse(msg, self.router.unidirectional_msg % (
                    msg.src_id, msg.dst_id, _here.CONTEXT_ID))
            elif id:
                self.send(msg)
            else:
                self.router.route(msg)
            if not self._stays(msg):
                msg._leave()

    def _run(self, target, name, *args):
        t = threading.Thread(target=target, name=name, args=args, daemon=True)
        self._threads[:] = [old for old in self._threads if old.is_alive()]
        t.start()
        self._threads.append(t)

    def ending(self, peer, latch):
        """End a context, in a thread; the latch gets a value then."""

        def end():
            try:
                peer.close()
            except Exception as e:
                LOG.debug('%r: %s', peer.context, e)
            latch.put()

        self._run(end, 'mitogen.shutdown')

    def close(self):
        """End all."""
        with self._lock:
            self._closed = True
        _here.wake()
        if self.engine is not None:
            self.engine.close()
        _here.wake()
        for t in self._threads:
            t.join()


def _unpickled(router, make):
    """What the results of calls have in place of make: a class, whose objects make makes."""

    class Made(object):
        def __new__(cls, *args):
            return make(*args, router=router)

        def __reduce__(self):
            raise TypeError('there is no object of this class')

    return Made


def _new(router):
    own, packages = mitogo._source.search_path()
    if PLACE not in own:
        own.append(PLACE)
    responder = router.responder
    extra = dict(Engine._extra, allow=responder.allow, deny=responder.deny)
    cls = type('Engine', (Engine,), {'_extra': extra})
    engine = cls(path=own, packages=packages, prompt=None, max_message=router.max_message_size)
    level = logging.DEBUG if router.debug else logging.getLogger().getEffectiveLevel()
    engine._log_level = max(level, 1)
    return engine


def connect(router, method, name, given, place=None):
    """A Context by a connection method, once it is up. With a place, which is for those that a
    context has asked for, ssh is run there, with what that account has, and never here.
    """
    given = dict(given)
    via = given.pop('via', None)
    if given.get('on_start') or given.pop('on_fork', None):
        raise NotImplementedError(
            '%s: on_start and on_fork: a context inherits nothing of this process' % method)
    given.pop('on_start', None)
    plan = _targets.plan(method, dict(given, via=via))
    engine, peers = router._peers.started(), router._peers
    above = None
    if via is not None:
        above = peers.of(via.context_id)
        if above is None:
            raise StreamError('%s: the context %r has gone', method, via.name)
        plan.options['via'] = above.ctx
    if place is not None and method == 'ssh':
        plan.options['ssh']._dict['from_hop'] = True
    ctx = engine.connect(plan.target, **plan.options)
    peer = peers.add(ctx, given, place)
    if above is not None:
        peer.above = above.ctx._s.id
    failed = None
    try:
        ctx.wait()
    except mitogo.Error as e:
        failed = _connect_error(e, plan)
    if failed is not None:
        raise failed    # here, where what is its __context__ stays that
    name = name or plan.name.replace('{pid}', str(ctx.info.pid))
    if via is not None:
        name = '%s.%s' % (via.name, name)
    if place is not None:
        name = mitogo.errors.line(name)     # it stands in records, which a terminal may show
    context = router.context_by_id(ctx._s.id, name=name)
    context._peer, context.via, peer.context = peer, via, context
    if peer.over():
        router._gone(context)
    return context


def _connect_error(e, plan):
    """The exception that a program expects of a connect that failed."""
    from mitogen import parent

    kind, method = getattr(e, 'kind', ''), getattr(e, 'method', '')
    module = None
    if method in ('ssh', 'sudo', 'su', 'doas'):
        module = __import__('mitogen.' + method, fromlist=['PasswordError'])
    if isinstance(e, mitogo.HostKeyError) and method == 'ssh':
        return module.HostKeyError('%s: %s', module.hostkey_failed_msg, e)
    if isinstance(e, mitogo.PasswordError) and module is not None:
        given = bool(plan.options.get(method) and plan.options[method]._dict.get('password'))
        return module.PasswordError('%s', module.password_text(given, kind))
    if kind == 'timed out':
        return StreamError('Connection timed out. %s', e)
    if kind in ('command not found', "can't start process"):
        error = StreamError('Child start failed: [Errno 2] %s. Command was: %s', e, plan.target)
        error.__context__ = FileNotFoundError(2, str(e))
        return error
    if isinstance(e, mitogo.ConnectError):
        return parent.EofError(
            'EOF on stream; last 100 lines received:\n%s\n%s', e.text, e)
    return StreamError('%s', e)


def shutdown(context):
    """A Latch that gets a value once a context has ended."""
    latch = Latch()
    peer = context._peer
    if peer is None or peer.over():
        latch.put()
    else:
        peer.peers.ending(peer, latch)
    return latch


# Calls


def _plain(value):
    """Arguments that a context can read: a Secret is text there."""
    return str(value) if isinstance(value, Secret) else value


def _start(chain, fn, args, kwargs):
    peer = chain.context._peer
    if peer is None:
        raise ChannelError(_messages.Router.respondent_disconnect_msg)
    if chain.chain_id:
        fn, args, kwargs = 'mitogen._chains:call', (chain.chain_id, fn, args, kwargs), {}
    try:
        return peer.ctx.start(fn, *args, **kwargs)
    except (mitogo.ContextLost, mitogo.EngineLost):
        raise ChannelError(_messages.Router.respondent_disconnect_msg)


def _value(call):
    """The result of a call, or what a program expects to be raised."""
    try:
        return call.result()
    except mitogo.CallError as e:
        raise CallError('%s', call_text(e)) from None
    except _values.NotListed as e:
        raise StreamError('cannot unpickle %r/%r', e.module, e.name) from None
    except (mitogo.ContextLost, mitogo.EngineLost):
        raise ChannelError(_messages.Router.respondent_disconnect_msg) from None
    except TypeError as e:
        raise StreamError('invalid message: %s', e) from None


def call_text(e):
    """A remote exception as text: module.Class: message, and its frames."""
    lines = e.remote_traceback.splitlines()
    frames = [l for l in lines if l.startswith('  ')]
    said = e.text
    if type(e) is mitogo.CallError and ': ' in said:
        said = said.split(': ', 1)[1]
    return '\n'.join(['%s.%s: %s' % (e.module or 'builtins', e.type, said)] + frames)


class _Answer(Message):
    """What comes of a call."""

    def __init__(self, call, **kwargs):
        Message.__init__(self, **kwargs)
        self._call = call
        self._error = None

    @property
    def is_dead(self):
        """Whether the context has gone before it answered."""
        return self._call._q.kind == _link.DEAD

    def _why(self):
        return _messages.Router.respondent_disconnect_msg

    def unpickle(self, throw=True, throw_dead=True):
        """As Message.unpickle."""
        if self.is_dead and not throw_dead:
            return None
        try:
            return _value(self._call)
        except CallError as e:
            if throw:
                raise
            return e


def call(chain, fn, args, kwargs):
    """The result of a call."""
    started = _start(chain, fn, args, kwargs)
    return _value(started)


def call_async(chain, fn, args, kwargs):
    """A Receiver that the result of a call comes to."""
    context = chain.context
    router = context.router
    receiver = Receiver(router, persist=False, respondent=context)

    def ended(started):
        router.route(_Answer(
            started, dst_id=_here.CONTEXT_ID, src_id=context.context_id,
            auth_id=context.context_id, handle=receiver.handle))

    try:
        _start(chain, fn, args, kwargs).add_done_callback(ended)
    except ChannelError as e:
        router.route(Message.dead(
            str(e), dst_id=_here.CONTEXT_ID, src_id=context.context_id, handle=receiver.handle))
    return receiver


def call_no_reply(chain, fn, args, kwargs):
    """Begin a call whose result the caller doesn't get."""

    def ended(started):
        try:
            _value(started)
        except Exception as e:
            LOG.error('call of %r in %r without an answer failed: %s', fn, chain.context, e)

    _start(chain, fn, args, kwargs).add_done_callback(ended)


def forget_chain(chain):
    """Let a chain begin anew."""
    call_no_reply_of = chain.context._peer
    if call_no_reply_of is not None and not call_no_reply_of.over():
        call_no_reply_of.ctx.start('mitogen._chains:reset', chain.chain_id)
