"""What the tests of values, senders and receivers call."""
import mitogen


def echo(*args, **kwargs):
    return args, kwargs


def size(value):
    return len(value)


def first(sender, *values):
    """Send values to the first Sender in what was passed."""
    found = list(senders(sender))
    for value in values:
        found[0].send(value)
    return len(found)


def senders(value):
    if isinstance(value, mitogen.Sender):
        yield value
    elif isinstance(value, dict):
        for item in list(value) + list(value.values()):
            for found in senders(item):
                yield found
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            for found in senders(item):
                yield found


class Mailbox:
    box = None


def open_mailbox():
    Mailbox.box = mitogen.Receiver()
    return Mailbox.box.sender()


def close_mailbox():
    Mailbox.box.close()


def take():
    return Mailbox.box.get(5)


def close(sender):
    sender.close()


def die():
    import os
    os._exit(3)


def give(value):
    return value


def surrogate():
    return u'a\ud800b'


KEPT = []


def keep(sender):
    KEPT.append(sender)


def pass_on(context, sender):
    context.call('values:keep', sender)


def send_kept(value):
    KEPT[-1].send(value)


def send_until_refused(times):
    """How often a value was sent until that was refused."""
    import time
    for n in range(times):
        try:
            KEPT[-1].send(n)
        except mitogen.DeadError:
            return n
        time.sleep(.01)
    raise ValueError('never refused')


def taken():
    """What waits in the mailbox."""
    return len(Mailbox.box._values)


def ranges(n):
    for i in range(n):
        yield range(i)
