"""Contexts that contexts start behind themselves: what the program does for them. It looks at who
asks, and passes arguments and results on, without reading them where both sides read one protocol.
"""
import mitogo
from mitogo import _call, _link, _sending, _source, _values

from mitogen import _engine, _here, _messages
from mitogen._messages import Message
from mitogen._plain import CallError, Error

LONGEST = 200   # characters of a context's name
MOST = 1000     # contexts of one program that contexts have started, and that are there
MOST_ASKED = 1000   # requests of one context that have no answer yet


def asked(peers, msg):
    """Take a request of a context's. It may wait, so a thread does it; a context that has too many
    under way is refused.
    """
    peer = peers.of(msg.src_id)
    if msg.is_dead or peer is None:
        return
    if not peer.begin_asked(MOST_ASKED):
        answer = _answer(peers, msg, True)
        if answer is not None:
            peers.answer(msg, answer)   # it may not read: nothing here waits for that
        return
    try:
        peers._run(_serve, 'mitogen.below', peers, peer, msg)
    except Exception:   # there is no room for a thread
        peer.end_asked()
        raise


def _serve(peers, peer, msg):
    try:
        answer = _answer(peers, msg, False)
        if answer is not None:
            peers.router.route(answer)
    finally:
        peer.end_asked()


def _answer(peers, msg, refused):
    """Do what is asked, unless it is refused. Returns the answer, None: none is wanted."""
    respondent = msg.dst_id     # who the answer seems to be of
    try:
        request = msg.unpickle()
        op, arguments = request[0], request[1:]
        if op == 'call':
            respondent = int(arguments[0])
        if refused:
            raise Error('context %s may have no more requests under way' % msg.src_id)
        answer = OPS[op](peers, msg, *arguments)
    except Exception as e:
        answer = Message.pickled(CallError(e), src_id=respondent)
    if not msg.reply_to or answer is None:
        return None
    answer.dst_id, answer.handle = msg.src_id, msg.reply_to
    answer.auth_id = _here.CONTEXT_ID
    return answer


def _below(peers, id, above):
    """The peer of context id, which is context above, or behind that. An Error: it is neither."""
    found = peer = peers.of(id)
    while peer is not None and peer.ctx._s.id != above:
        peer = peers.of(peer.above)
    if peer is None:
        raise Error('context %s is not behind context %s' % (id, above))
    return found


def _start(peers, msg, method, name, via, given):
    above = _below(peers, msg.src_id if via is None else via, msg.src_id)
    if not (name is None or isinstance(name, str) and len(name) < LONGEST):
        raise Error('a name is text of at most %d characters' % LONGEST)
    if above.context is None:
        raise Error('context %s is not up yet' % above.ctx._s.id)
    place = peers.place(MOST)
    if place is None:
        raise Error('contexts have started %d contexts' % MOST)
    try:
        context = _engine.connect(
            peers.router, str(method), name, dict(given, via=above.context), place)
    except BaseException:
        place.leave()
        raise
    return Message.pickled(context, src_id=msg.dst_id)


def _ended(peers, msg, id):
    """End a context behind the asking one."""
    peer = _below(peers, id, msg.src_id)
    if id == msg.src_id:
        raise Error('a context is ended by those above it')
    peer.close()
    return Message.pickled(None, src_id=msg.dst_id)


def _called(peers, msg, id, target, arguments):
    peer = _below(peers, id, msg.src_id)
    s, link = peer.ctx._s, peer.ctx._s.engine._link
    text = _main(peers, msg.src_id) if target.startswith('__main__:') else None
    call = _sending.HELPER + ':call'
    values = arguments.encode('latin-1')
    payload = _values.pickled(((target, values), {}), s.protocol())
    with s.lock:
        before = _sending._before(s, _sending.HELPER, _known(peers, msg.src_id, target), text)
        q = link.ask(s.id, _link.CALL, call.encode() + b'\0' + payload, before)
    link.wait(lambda: q.kind is not None)
    return _result(s, q, id, peers.of(msg.src_id), peers.router)


def _known(peers, id, target):
    """The modules that a call needs, as far as the program has sent them to the asking context."""
    asks = peers.of(id)
    sent = asks.ctx._s.prepared if asks is not None else ()
    return {'mitogen'} | {m for m in (target.partition(':')[0],) if m in sent}


def _main(peers, id):
    """The program's main module, if the context that asks has it."""
    asks = peers.of(id)
    if asks is None or asks.ctx._s.main is None:
        raise Error('the main module was not sent to context %s' % id)
    return _source.main_text(None, '', set())


def _result(s, q, id, asks, router):
    """The answer of a call, as a message."""
    if q.kind == _link.DEAD:
        return Message.dead(_messages.Router.respondent_disconnect_msg, src_id=id)
    if q.kind == _link.ERROR:
        error = _call._remote(s, q.payload)
        text = str(error)
        if isinstance(error, mitogo.CallError):
            text = _engine.call_text(error)
        return Message.pickled(CallError('%s', text), src_id=id)
    if q.items:
        return Message.pickled(CallError('a generator has no value that can be sent'), src_id=id)
    if asks is not None and asks.ctx._s.protocol() < s.protocol():
        value = _messages._read(bytes(q.payload), router) if q.payload else None
        return Message.pickled(value, src_id=id)    # in the older protocol
    return Message(data=bytes(q.payload) or _values.pickled(None, 2), src_id=id)


OPS = {'start': _start, 'end': _ended, 'call': _called}
