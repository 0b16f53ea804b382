"""Names of the original that can't be offered: using one raises at once, and says what to do."""
import sys

STREAMS = 'streams belong to the engine here: use a Receiver, a Sender or Router.add_handler'
CONNECTIONS = (
    'connections are made by the engine here: use a method of Router, or mitogo.Engine.connect '
    'with the target exec:COMMAND for a way of your own')
MODULES = 'modules are found and sent by the engine here: use the methods of Router.responder'
METHODS = (
    'buildah docker incus jail kubectl local lxc lxd podman setns').split()

# By module, names with what is said of them.
NAMES = {
    'core': {
        STREAMS: 'Stream Side Protocol Poller PollPoller DelimitedProtocol MitogenProtocol Waker '
        'IoLoggerProtocol BufferedWriter Broker Dispatcher LogHandler',
        MODULES: 'Importer',
    },
    'parent': {
        STREAMS: 'Stream Poller EpollPoller KqueuePoller PollPoller DelimitedProtocol '
        'MitogenProtocol RegexProtocol BootstrapProtocol LogProtocol RouteMonitor DiagLogStream',
        CONNECTIONS: 'Connection Options Process PopenProcess TtyPopenProcess Reaper Argv '
        'create_child tty_create_child hybrid_tty_create_child get_default_remote_name',
        MODULES: 'ModuleForwarder',
    },
    'master': {
        MODULES: 'ModuleFinder ModuleResponder',
        STREAMS: 'LogForwarder IdAllocator',
    },
    'method': {CONNECTIONS: 'Connection Options SetupProtocol'},
    'unix': {STREAMS: 'Router IdentityError'},
}


class _Module(type(sys)):
    """A module of the original of which nothing is offered."""

    def __init__(self, name, why):
        super(_Module, self).__init__(name)
        self.__dict__['_why'] = why

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        raise NotImplementedError('%s.%s: %s' % (self.__name__, name, self._why))


def getter(module, kind=None):
    """What a module has as its __getattr__."""
    known = {}
    for why, names in NAMES[kind or module].items():
        known.update(dict.fromkeys(names.split(), why))

    def __getattr__(name):
        if name in known:
            raise NotImplementedError('mitogen.%s.%s: %s' % (module, name, known[name]))
        raise AttributeError('module mitogen.%s has no attribute %s' % (module, name))

    return __getattr__


def install():
    """Have the modules of connection methods, and those that find modules, imported as absent."""
    for names, why in ((METHODS, CONNECTIONS), (['minify', 'imports'], MODULES)):
        for name in names:
            sys.modules['mitogen.' + name] = _Module('mitogen.' + name, why)
