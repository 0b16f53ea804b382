"""What a program calls in a process that it has forked: nothing is to be done here."""


def on_fork():
    """Does nothing."""
