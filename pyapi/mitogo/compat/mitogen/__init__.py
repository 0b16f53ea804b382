"""The API of Mitogen, for programs that were written for it, by the engine of mitogo.

Here by `mitogen python`, `python -m mitogo.compat` or mitogo.compat.install(). What it offers, and
how it differs, is in docs/python.md. The same files are what contexts import.
"""
from mitogen import _absent, _here

_absent.install()
__version__ = (0, 3, 0)
is_master = _here.IS_MASTER
context_id = _here.CONTEXT_ID
parent_ids = list(_here.PARENT_IDS)
parent_id = parent_ids[0] if parent_ids else None


def main(log_level='INFO', profiling=None):
    """A decorator that runs the main function of a program: it is called with a Router, and
    everything ends when it returns. In a module that isn't the program itself, and in contexts,
    the function stays as it is.
    """

    def decorate(func):
        if func.__module__ != '__main__' or not is_master:
            return func
        utils = __import__('mitogen.utils', fromlist=['run_with_router'])
        utils.log_to_file(level=log_level)
        return utils.run_with_router(func)

    return decorate
