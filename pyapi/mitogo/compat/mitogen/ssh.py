"""What may go wrong with ssh."""
from mitogen import _absent, parent
from mitogen._plain import StreamError

__getattr__ = _absent.getter('ssh', 'method')
password_incorrect_msg = 'SSH password is incorrect'
password_required_msg = 'SSH password was requested, but none specified'
auth_incorrect_msg = 'SSH authentication is incorrect'
hostkey_failed_msg = 'Host key verification failed.'
hostkey_config_msg = hostkey_failed_msg


class PasswordError(StreamError):
    """A password is needed, or was wrong, or no key was taken."""


class HostKeyError(StreamError):
    """The host's key isn't known, or has changed."""


def password_text(given, kind):
    """What a PasswordError says."""
    if given:
        return password_incorrect_msg
    return auth_incorrect_msg if kind == 'permission denied' else password_required_msg


EofError = parent.EofError
