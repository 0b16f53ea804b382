"""A program that does a bit of everything until its engine is lost, and says what it has left then."""
import os
import sys
import threading
import time

import mitogo
import sample
import talking


def left():
    return sorted(os.listdir('/proc/self/fd')), threading.active_count()


def work(m):
    print('begun', m._pid, flush=True)
    a = m.connect('local')
    b = m.connect('local')
    c = a.connect('local')
    fleet = m.fleet(['local', 'local+local'])
    while True:
        inbox = m.receiver()
        calls = [x.start(talking.produce, inbox.sender, list(range(50))) for x in (a, b, c)]
        assert len(list(inbox)) == 150
        items = b.stream(talking.inbox)
        a.call(talking.produce, next(items), [1, 2, 3])
        assert list(items) == [1, 2, 3]
        assert a.call(sample.same, 'x' * 300000) == (('x' * 300000,), {})
        c.run(['sh', '-c', 'sleep 0.02'])
        with a.stream(sample.endless) as endless:
            next(endless)
        fleet.call(os.getpid).raise_failed()
        started = fleet.start(time.sleep, 0.01)
        assert sorted([r.value for r in fleet.stream(sample.count, 3)]) == [0, 0, 1, 1, 2, 2]
        started.result().raise_failed()
        b.post(time.sleep, 0.01)
        for call in calls:
            call.result()


def main():
    # The first thread of a process has libc open files for a moment: the last when it ends, after
    # join() has returned.
    first = threading.Thread(target=int)
    first.start()
    first.join()
    while len(os.listdir('/proc/self/task')) > 1:
        time.sleep(0.001)
    before = left()
    try:
        m = mitogo.Engine(log=lambda record: None, output=lambda target, text: None)
        try:
            work(m)
        finally:
            m.close()
    except (mitogo.EngineLost, mitogo.ContextLost, mitogo.SenderLost, mitogo.ConnectError) as e:
        print('lost', type(e).__name__, flush=True)
    except mitogo.FleetError as e:
        print('lost', e, flush=True)
    end = time.time() + 30
    while left() != before and time.time() < end:
        time.sleep(0.02)
    try:
        os.waitpid(-1, os.WNOHANG)
        print('a child is left')
    except ChildProcessError:
        print('clean' if left() == before else 'left: %r, before: %r' % (left(), before))


if __name__ == '__main__':
    sys.exit(main())
