"""What may go wrong with su."""
from mitogen import _absent
from mitogen._plain import StreamError

__getattr__ = _absent.getter('su', 'method')
password_incorrect_msg = 'su password is incorrect'
password_required_msg = 'su password is required'


class PasswordError(StreamError):
    """A password is needed, or was wrong."""


def password_text(given, _kind):
    """What a PasswordError says."""
    return password_incorrect_msg if given else password_required_msg
