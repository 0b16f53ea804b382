"""Functions that are called when something happens to an object."""


def _of(obj):
    return vars(obj).setdefault('_signals', {})


def listen(obj, name, func):
    """Have func called with what is fired as name at obj."""
    _of(obj).setdefault(name, []).append(func)


def unlisten(obj, name, func):
    """Take back one listen(); ValueError: there is none."""
    _of(obj).get(name, []).remove(func)


def fire(obj, name, *args, **kwargs):
    """Call all who listen, one after another."""
    for func in list(_of(obj).get(name, ())):
        func(*args, **kwargs)
