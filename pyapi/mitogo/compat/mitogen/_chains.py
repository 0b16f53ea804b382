"""Chains of calls in a context: once one has failed, those behind it fail alike."""
_failed = {}    # by the id of a chain


def call(chain_id, fn, args, kwargs):
    """Call fn, unless one before it in the chain has failed."""
    if chain_id in _failed:
        raise _failed[chain_id]
    try:
        return fn(*args, **kwargs)
    except Exception as e:
        _failed[chain_id] = e
        raise


def reset(chain_id):
    """Let a chain begin anew."""
    _failed.pop(chain_id, None)
