"""Objects of the engine's program that a call was given: docs/protocol, section 11, "Served
objects". Sent as `_mitogen_served`.
"""
import _mitogen as core


def served(number, names):
    """Stands for one of the objects that the running call was given."""
    return Served(number, names)


class Served(object):
    """Calls methods of an object in the program, for as long as the call runs that was given it."""

    def __init__(self, number, names):
        self._number, self._names, self._call = number, names, core.S.current

    def __getattr__(self, name):
        if name not in self._names:
            raise AttributeError('the object serves no method %r' % (name,))
        return lambda *args, **kwargs: self._ask(name, args, kwargs)

    def __call__(self, *args, **kwargs):
        return self.__getattr__('__call__')(*args, **kwargs)

    def __reduce__(self):
        raise TypeError('a served object can not be passed on')

    def _ask(self, method, args, kwargs):
        pieces, ends, whole = core.deque(), [], []

        def arrived(src, reply, kind, data):
            if src == 0 and kind == core.ITEM:
                pieces.append(data)
            elif src == 0:
                ends.append((kind, data))

        data = core.dumped((args, kwargs), core.PROTO, 'arguments')
        handle = core.register(arrived)
        try:
            self._check()
            head = core.ZERO + core.pack('>LL', handle, self._number) + method.encode()
            self._send(head + core.ZERO + data)
            while not ends or pieces:
                core.wait(lambda: pieces or ends or core.S.current != self._call)
                if not pieces and not ends:
                    self._check()
                if pieces:
                    whole.append(pieces.popleft())
                    core.credit(0, handle, len(whole[-1]))
        finally:
            core.HANDLERS.pop(handle, None)
        kind, data = ends[0]
        if kind == core.DATA:
            return core.Unpickler(core.BytesIO(core.EMPTY.join(whole))).load()
        raise failure(kind, data)

    def _send(self, data):
        """As an item of the answer to the call. The parts of a large one may not be among those of
        another, which a generator's items could be.
        """
        if len(data) > core.MAX_PAYLOAD and core.thread.get_ident() != core.MAIN:
            raise ValueError('more than %d bytes of arguments in another thread than the call\'s'
                             % core.MAX_PAYLOAD)
        core.emit(self._call[0], self._call[1], data, core.ITEM)

    def _check(self):
        if core.S.current != self._call:
            raise RuntimeError('the call that was given the object has ended')


def failure(kind, data):
    """The exception that the program has answered with: the builtin one of its name, if any."""
    if kind != core.ERROR:
        return RuntimeError('the program does not answer: %s' % core.native(data))
    name, text = core.loads(data)
    if not core.PY3:
        name, text = str(name), text.encode('utf-8')
    cls = getattr(core.BUILTINS, name or '-', None)
    try:
        if issubclass(cls, Exception):
            return cls(text)
    except TypeError:
        pass    # no class, or a class with other arguments
    if name:
        text = '%s: %s' % (name, text)
    return RuntimeError(text)
