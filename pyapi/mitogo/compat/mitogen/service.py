"""Services: objects whose exposed methods other contexts call."""
from mitogen._files import FileService, PushFileService
from mitogen._services import (
    AllowAny, AllowParents, DeduplicatingInvoker, Invoker, Policy, Pool, SerializedInvoker, Service,
    arg_spec, call, expose, get_or_create_pool, no_reply)

# They are known by these names, also to those who call them.
for _c in (
        AllowAny, AllowParents, DeduplicatingInvoker, FileService, Invoker, Policy, Pool,
        PushFileService, SerializedInvoker, Service):
    _c.__module__ = 'mitogen.service'
