"""Services that files are read from, and pushed to."""
import collections
import os
import threading

from mitogen import _here, _messages, _plain, _services
from mitogen._plain import Error

PIECE = 131072
ABREAST = 8     # pieces that are asked for before the first has come


def _names(st):
    """The names of the owner and the group of a file, None where there are none."""
    import grp
    import pwd

    names = []
    for find, number in ((pwd.getpwuid, st.st_uid), (grp.getgrgid, st.st_gid)):
        try:
            names.append(_plain.text(find(number)[0]))
        except KeyError:
            names.append(None)
    return names


class FileService(_services.Service):
    """Lets contexts read files that were registered. Those above this context may read any."""

    unregistered_msg = u'Path %r is not registered with FileService.'

    def __init__(self, router):
        _services.Service.__init__(self, router)
        self._lock = threading.Lock()   # protects following
        self._paths = set()
        self._prefixes = set()

    @_services.expose(policy=_services.AllowParents())
    def register(self, path):
        """Let contexts read the file path. OSError: there is none."""
        os.stat(path)
        with self._lock:
            self._paths.add(os.path.abspath(path))

    @_services.expose(policy=_services.AllowParents())
    def register_prefix(self, path):
        """Let contexts read what is below the directory path."""
        with self._lock:
            self._prefixes.add(os.path.abspath(path))

    def _check(self, path, msg):
        whole = os.path.abspath(path)
        with self._lock:
            known = whole in self._paths or any(
                whole == p or whole.startswith(p.rstrip('/') + '/') for p in self._prefixes)
        if not known and not _messages.has_parent_authority(msg):
            raise Error(self.unregistered_msg, path)

    @_services.expose(policy=_services.AllowAny())
    def describe(self, path, msg):
        """What get() returns of a file."""
        self._check(path, msg)
        st = os.stat(path)
        owner, group = _names(st)
        return {
            u'size': st.st_size, u'mode': st.st_mode, u'owner': owner, u'group': group,
            u'mtime': float(st.st_mtime), u'atime': float(st.st_atime)}

    @_services.expose(policy=_services.AllowAny())
    def piece(self, path, at, msg):
        """The bytes of a file from one on, PIECE at most."""
        self._check(path, msg)
        with open(path, 'rb') as f:
            f.seek(at)
            return _plain.Blob(f.read(PIECE))

    @classmethod
    def get(cls, context, path, out_fp):
        """Write a file that the service of a context has to out_fp.

        Returns (ok, metadata): ok is false if it has become shorter meanwhile; metadata are size,
        mode, owner, group, mtime and atime. CallError: it isn't registered, or can't be read.
        """
        metadata = context.call_service(cls, 'describe', path=path)
        asked, at, written = collections.deque(), 0, 0
        while at < metadata[u'size'] or asked:
            while at < metadata[u'size'] and len(asked) < ABREAST:
                asked.append(context.call_service_async(cls, 'piece', path=path, at=at))
                at += PIECE
            data = asked.popleft().get().unpickle()
            out_fp.write(data[:metadata[u'size'] - written])
            written += len(data)
        return written >= metadata[u'size'], metadata


class PushFileService(_services.Service):
    """Keeps files, in memory, that the program has pushed before a context wants them."""

    def __init__(self, router):
        _services.Service.__init__(self, router)
        self._changed = threading.Lock()
        self._files = {}    # bytes by path

    @_services.expose(policy=_services.AllowParents())
    def store(self, path, data):
        """Keep a file."""
        with self._changed:
            self._files[path] = data
        _here.wake()

    def propagate_to(self, context, path, overridden_source=None):
        """Push a file to a context, unless it was before."""
        data = overridden_source
        if data is None:
            with open(path, 'rb') as f:
                data = f.read()
        context.call_service(PushFileService, 'store', path=path, data=_plain.Blob(data))

    def propagate_paths_and_modules(self, context, paths, _modules):
        """Push files. Modules are sent by the engine."""
        for path in paths:
            self.propagate_to(context, path)

    def get(self, path):
        """The bytes of a file, once it was pushed."""
        _here.pause(lambda: path in self._files)
        return self._files[path]
