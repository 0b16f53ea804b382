"""What contexts do with receivers and senders."""
import os
import sys
import threading
import time

import mitogo


def produce(out, values):
    for value in values:
        out.send(value)
    out.close()


def sends(out, value, times=1):
    for _ in range(times):
        out.send(value)


def sends_and_fails(out, value):
    out.send(value)
    raise ValueError('no')


WENT = []


def goes_on(out):
    def run():
        try:
            while True:
                out.send('on')
                time.sleep(0.001)
        except mitogo.ReceiverClosed:
            WENT.append('refused')

    thread = threading.Thread(target=run)
    thread.start()
    WENT.append(thread)


def went():
    WENT[0].join(60)
    return WENT[-1]


def waits(out, value):
    out.send(value)
    time.sleep(100)


def ends(out):
    out.send(1)
    os._exit(1)


def sizes(out, numbers):
    for n in numbers:
        out.send('x' * n)
    out.close()


def inbox():
    r = mitogo.Receiver()
    yield r.sender
    for value in r:
        yield value


def slow_inbox():
    r = mitogo.Receiver()
    yield r.sender
    yield r.get(0.1)


def closing():
    r = mitogo.Receiver()
    yield r.sender
    r.get()
    r.close()
    yield 'closed'


def until_refused(out):
    try:
        for n in range(100000):
            out.send(n)
            time.sleep(0.001)
    except mitogo.ReceiverClosed:
        return 'refused'


def forged(context, handle):
    return mitogo.Sender(context, handle)


def said(text):
    sys.stdout.write(text)
    sys.stdout.flush()
