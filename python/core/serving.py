"""The life of the main thread and of the second one."""
from _mitogen import (ANSWERS, ERR, GATE, Q, R, ROUTES, S, claim, leave, os, pump, run, settle,
    sys, thread, time)


def serve():
    """The main thread's life: read while nothing is called, call what has come."""
    while 1:
        if Q:
            S.idle = 0
            R.release()
            while Q:
                try:
                    call = Q.popleft()
                except IndexError:
                    break       # the reader looks for a cancelled one, or has found it
                if not S.watch and '_mitogen_run'.encode() not in call[2][:12]:
                    start_watch()       # run_relay.py reads itself
                run(call)
                if len(ANSWERS) > 200:
                    settle(1)
            settle(1)
            claim()
            S.idle = 1
        elif S.stop:
            leave()
        else:
            pump()


def whole(fn):
    """Run fn, without which this context is none: it ends with fn's failure, in words."""
    try:
        fn()
    except (SystemExit, KeyboardInterrupt):
        raise       # from a copy of this process
    except:
        import traceback
        os.write(ERR, ''.join(traceback.format_exception(*sys.exc_info())).encode())
        os._exit(1)


def start_watch():
    if not S.started:
        S.started = S.watch = 1
        thread.start_new_thread(whole, (watch,))
    elif not S.watch:
        S.watch = 1
        try:
            GATE.release()
        except Exception:
            pass        # not asleep yet; it will see that main is not idle


def watch():
    """The second thread: reads while a call runs for longer than a few ms.

    It sends the answers before that, too.
    """
    while 1:
        S.watch = 1
        last = None
        while not S.idle:
            if not ROUTES:
                time.sleep(.005)
            if (ROUTES or S.calls == last) and R.acquire(0):
                while not S.want:
                    pump()
                R.release()
                time.sleep(.0005)
            last = S.calls
        S.watch = 0
        if S.idle:
            GATE.acquire()
