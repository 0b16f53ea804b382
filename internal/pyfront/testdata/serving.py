"""Functions that use objects of the program's. They run on any Python from 2.4 on."""

KEPT = []


def use(served, name, *args):
    return getattr(served, name)(*args)


def many(served, n):
    return [served.add(i) for i in range(n)]


def items(served, n):
    for i in range(n):
        yield served.add(i)


def called(fn, value):
    return fn(value)


def sizes(served, n):
    return len(served.echo('x' * n))


def failing(served, name):
    import sys
    try:
        getattr(served, name)()
    except Exception:
        e = sys.exc_info()[1]
        return type(e).__name__, str(e)


def keep(served):
    KEPT.append(served)


def kept(name, other):
    return getattr(KEPT[-1], name)(1)


def in_threads(served, n):
    import threading
    got = []
    threads = [threading.Thread(target=lambda: got.append(served.add(1))) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return len(got)


def pass_on(served):
    import pickle
    return pickle.dumps(served, 2)


def given_back(served):
    return served


def withdrawn_within(served, end):
    end(1)
    return served.add(1)
