"""Profiles of the broker's threads. There are none: the engine is a process of its own."""


def profile(*_args):
    """Raises NotImplementedError."""
    raise NotImplementedError(
        'mitogen.profiler: use cProfile in the program, and mitogo.Engine.stats for the engine')


report = analyze = merge_stats = profile
