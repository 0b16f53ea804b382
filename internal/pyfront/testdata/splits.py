"""Functions of a program that was written for Mitogen, which its contexts are sent. In the subset of
Python 2.7 and 3.
"""

import os
import time

import mitogen
import mitogen.core
import mitogen.master
import mitogen.parent
import mitogen.select
import mitogen.service
import mitogen.utils


class Failure(Exception):
    pass


class Odd(object):
    pass


class Doubling(mitogen.service.Service):
    @mitogen.service.expose(policy=mitogen.service.AllowAny())
    @mitogen.service.arg_spec({'n': int})
    def twice(self, n, msg):
        return [n * 2, msg.src_id]

    @mitogen.service.expose(policy=mitogen.service.AllowParents())
    def private(self):
        return 'for parents'

    def hidden(self):
        return 'for nobody'


class Held(object):
    @classmethod
    def who(cls):
        return cls.__name__

    @classmethod
    @mitogen.core.takes_router
    def where(cls, router):
        return [cls.__name__, router.myself().context_id]


def add(a, b=1):
    return a + b


def fail(text):
    raise Failure(text)


def lookup(key):
    return {}[key]


def odd():
    return Odd()


def leave():
    raise SystemExit(3)


def identity():
    return [
        mitogen.is_master, mitogen.context_id, mitogen.parent_id, list(mitogen.parent_ids),
        mitogen.__name__]


def kinds(value):
    return type(value).__name__


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def log_as(names):
    import logging

    for name in names:
        logging.getLogger(name).warning('said')


def count(sender, n):
    for i in range(n):
        sender.send(i)
    sender.close()


def fill(sender, n, size):
    for _ in range(n):
        sender.send(b'x' * size)
    return n


@mitogen.core.takes_router
def ask(context_id, handle, router):
    message = mitogen.core.Message.pickled('?', handle=handle)
    try:
        return router.context_by_id(context_id).send_await(message, 60)
    except mitogen.core.ChannelError as e:
        return str(e)


@mitogen.core.takes_router
def collect(sender, router):
    with mitogen.core.Receiver(router) as receiver:
        sender.send(receiver.to_sender())
        return [m.unpickle() for m in receiver]


@mitogen.core.takes_router
def collect_sizes(sender, router):
    with mitogen.core.Receiver(router) as receiver:
        sender.send(receiver.to_sender())
        return [[len(v), len(set(v))] for v in (m.unpickle() for m in receiver)]


@mitogen.core.takes_econtext
def above(econtext):
    return [econtext.parent.context_id, econtext.master.context_id]


@mitogen.core.takes_router
def patience(router):
    receiver = mitogen.core.Receiver(router)
    try:
        receiver.get(timeout=0.05)
    except mitogen.core.TimeoutError:
        return 'nothing'


def use(context, method, **kwargs):
    return context.call_service(Doubling, method, **kwargs)


def download(context, path):
    import io

    out = io.BytesIO()
    ok, metadata = mitogen.service.FileService.get(context=context, path=path, out_fp=out)
    return ok, metadata['size'], len(out.getvalue())


@mitogen.core.takes_router
def has_been_pushed(path, router):
    pool = mitogen.service.get_or_create_pool(router=router)
    return len(pool.get_service(mitogen.service.PushFileService).get(path))


@mitogen.core.takes_router
def pool(router):
    mitogen.service.get_or_create_pool(router=router)


@mitogen.core.takes_router
def start_another(router, name='below'):
    return router.local(name=name)


@mitogen.core.takes_router
def use_another(router):
    """What a context sees of one that it starts behind itself, and of one behind that."""
    first = router.local()
    second = router.connect('local', via=first)
    got = [first.call(add, 1, b=2), second.call('splits:add', 3, 4), second.call(identity)[3]]
    try:
        first.call(fail, 'there')
    except mitogen.core.CallError as e:
        got.append('there' in str(e) and 'splits' in str(e))
    got.append(first.call_async(add, 5).get().unpickle())
    first.call_no_reply(add, 1)
    pid = first.call(os.getpid)
    first.shutdown(wait=True)
    end = time.time() + 60
    while os.path.exists('/proc/%d' % pid) and time.time() < end:
        time.sleep(.01)     # until this process has waited for it
    got.append(os.path.exists('/proc/%d' % pid))
    try:
        first.call(add, 1)
    except (mitogen.core.CallError, mitogen.core.ChannelError):
        got.append('gone')
    return got


def wait_for(path):
    end = time.time() + 60
    while not os.path.exists(path) and time.time() < end:
        time.sleep(.01)
    return os.path.exists(path)


@mitogen.core.takes_router
def ask_much(most, path, router):
    """What a context gets that has `most` requests under way, of these, and of one behind them."""
    below = router.local()
    waiting = [below.call_async(wait_for, path) for _ in range(most)]
    try:
        got = [below.call(add, 1)]
    except mitogen.core.CallError as e:
        got = [str(e)]
    open(path, 'w').close()
    got.append([w.get().unpickle() for w in waiting])
    end = time.time() + 60
    while len(got) == 2 and time.time() < end:
        try:
            got.append(below.call(add, 2))
        except mitogen.core.CallError:
            time.sleep(.01)     # the last answer is here before it is known to be
    below.shutdown(wait=True)
    return got


@mitogen.core.takes_router
def start_wrong(router):
    try:
        return router.sudo(sudo_path='/no/such/sudo')
    except mitogen.core.StreamError as e:
        return 'refused: %s' % e


@mitogen.core.takes_router
def start_many(n, router):
    """What n threads get that start a context at once, and one that does so when these have ended."""
    import threading

    got = []

    def start():
        try:
            got.append(router.local())
        except mitogen.core.StreamError as e:
            got.append(str(e))

    threads = [threading.Thread(target=start) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    started = [c for c in got if isinstance(c, mitogen.core.Context)]
    refused = [t for t in got if not isinstance(t, mitogen.core.Context) and 'have started' in t]
    for c in started:
        c.shutdown(wait=True)
    last = router.local()
    last.shutdown(wait=True)
    return [len(started), len(refused)]


@mitogen.core.takes_router
def reach(context_id, what, router):
    """Try to have something done with a context that isn't behind this one."""
    context = router.context_by_id(context_id)
    try:
        if what == 'start':
            return router.local(via=context)
        if what == 'call':
            return context.call('os:getpid')
        return context.shutdown(wait=True)
    except (mitogen.core.CallError, mitogen.core.StreamError) as e:
        return 'refused: %s' % e
