"""Answers how Ansible resolves inventories: one case a line on stdin, one answer a line on stdout, both JSON.

A case has dir (the working directory), sources and limits. Ansible walks sets of groups, so that some of its orders are by
chance. Here these sets keep the order in which groups were added to them.
"""
import datetime
import json
import os
import sys

from ansible import context
from ansible.inventory import group
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.release import __version__
from ansible.utils.context_objects import CLIArgs
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager

try:
    from ansible.plugins.loader import init_plugin_loader
except ImportError:
    init_plugin_loader = None


class OrderedSet(dict):
    """A set in the order of insertion, with the methods that groups use."""

    def __init__(self, items=()):
        super(OrderedSet, self).__init__((x, None) for x in items)

    def add(self, item):
        self[item] = None

    def remove(self, item):
        del self[item]

    def update(self, items):
        for item in items:
            self[item] = None

    def difference_update(self, items):
        for item in items:
            self.pop(item, None)

    def copy(self):
        return OrderedSet(self)


group.set = OrderedSet


class Manager(InventoryManager):
    """Notes the files that no plugin could parse."""

    unparsed = None

    def parse_source(self, source, cache=False):
        parsed = super(Manager, self).parse_source(source, cache=cache)
        if not parsed and not os.path.isdir(source):
            self.unparsed = (self.unparsed or []) + [source]
        return parsed


def kind(value):
    """Returns a value's type and text."""
    name = type(value).__name__
    if 'Encrypted' in name:
        return ['vault', '']
    if value is None:
        return ['null', '']
    if isinstance(value, bool):
        return ['bool', str(value)]
    if isinstance(value, int):
        return ['int', str(int(value))]
    if isinstance(value, float):
        return ['float', repr(float(value))]
    if isinstance(value, bytes):
        return ['str', value.decode('utf-8', 'replace')]
    if isinstance(value, str):
        return ['str', str(value)]
    if isinstance(value, (datetime.date, datetime.datetime, complex)):
        return ['str', str(value)]
    if value is ...:
        return ['str', '...']
    if isinstance(value, (list, tuple)):
        return ['list', json.dumps([kind(x) for x in value], ensure_ascii=False)]
    return ['other', '']


def names(hosts):
    return [h.name for h in hosts]


def limited(manager, limit):
    try:
        manager.subset(limit)
        return {'hosts': names(manager.get_hosts('all'))}
    except Exception as ex:
        return {'error': str(ex) or type(ex).__name__}
    finally:
        manager.subset(None)


def forget():
    """Empties caches that have relative paths for keys."""
    for name, module in list(sys.modules.items()):
        if name.endswith('host_group_vars'):
            for cache in ('CANONICAL_PATHS', 'FOUND', 'NAK'):
                getattr(module, cache, set()).clear()


def resolve(case):
    forget()
    loader = DataLoader()
    loader.set_basedir(case['dir'])
    manager = Manager(loader=loader, sources=case['sources'])
    hosts = manager.get_hosts('all')
    answer = {'hosts': names(hosts), 'unparsed': manager.unparsed or []}
    answer['limits'] = [limited(manager, limit) for limit in case['limits'] or []]
    variables = VariableManager(loader=loader, inventory=manager, version_info={})
    answer['groups'] = {h.name: sorted(set(g.name for g in h.get_groups())) for h in hosts}
    answer['vars'] = {h.name: {str(k): kind(v) for k, v in variables.get_vars(host=h, include_hostvars=False).items()}
                      for h in hosts}
    return answer


def answer_to(case):
    os.chdir(case['dir'])
    try:
        answer = resolve(case)
    except Exception as ex:
        answer = {'error': str(ex) or type(ex).__name__}
    answer['version'] = __version__
    return answer


def main():
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    context.CLIARGS = CLIArgs({'extra_vars': ()})
    if init_plugin_loader:
        init_plugin_loader()
    for name in ('warning', 'deprecated', 'error_as_warning', 'v', 'vv', 'vvv', 'vvvv'):
        setattr(Display, name, lambda *args, **kwargs: None)
    for line in sys.stdin:
        out.write(json.dumps(answer_to(json.loads(line))) + '\n')
        out.flush()


main()
