"""For programs that stop threads around a fork: here none has to be."""


class Corker(object):
    """Does nothing."""

    def __init__(self, brokers=(), pools=()):
        pass

    def cork(self):
        """Does nothing."""

    uncork = cork
