"""A command whose ssh goes to a context."""


def run(dest, router, args, deadline=None):
    """Raises NotImplementedError."""
    raise NotImplementedError('fakessh.run: use `mitogen with -t TARGET -- COMMAND`')
