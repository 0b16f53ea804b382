"""A program that a type checker reads: what calls return, and what it must complain about."""
import subprocess
from dataclasses import dataclass
from typing import Any, Iterator, List

from typing_extensions import assert_type

import mitogo
import mitogo.aio


@dataclass
class Facts:
    host: str
    load: float


def collect(host: str, load: float = 0) -> Facts:
    return Facts(host, load)


def follow(path: str) -> Iterator[int]:
    yield len(path)


def program() -> None:
    with mitogo.Engine(types=[Facts], serve=['json']) as m:
        web = m.connect('web1', ssh=mitogo.SSH(user='u'), sudo=mitogo.Sudo(password='p'))
        assert_type(web, mitogo.Context)
        assert_type(web.call(collect, 'a', load=1), Facts)
        assert_type(web.call('os:getpid'), Any)
        assert_type(web.start(collect, 'a').result(1), Facts)
        assert_type(web.options(timeout=5).call(len, 'abc'), int)
        for n in web.stream(follow, '/'):
            assert_type(n, int)
        assert_type(web.run(['true'], check=True), 'subprocess.CompletedProcess[Any]')
        assert_type(web.info.hostname, str)
        for r in m.fleet(['a', 'b']).each(collect, 'a', progress=True):
            assert_type(r.value, Facts)
        assert_type(m.fleet(['a']).call(collect, 'a').values()['a'].host, str)
        assert_type(m.fleet(['a']).call('os:getpid').values()['a'], Any)
        begun = m.fleet(['a']).start(collect, 'a', timeout=5)
        assert_type(begun, 'mitogo.FleetCall[Facts]')
        assert_type(begun.result(60), 'mitogo.Results[Facts]')
        assert_type(begun.result()['a'].value, Facts)
        assert_type(m.fleet(['a']).post(collect, 'a'), None)
        for item in m.fleet(['a']).stream(follow, '/'):
            assert_type(item.value, int)
        inbox = m.receiver(Facts)
        assert_type(inbox.get(1), Facts)
        assert_type(inbox.sender, 'mitogo.Sender[Facts]')
        web.call(send_to, inbox.sender)
        for facts in inbox:
            assert_type(facts, Facts)
        hosts = m.fleet(inventory='hosts', limit='web')
        assert_type(hosts.script('a.py', 'x').values()['a'], 'subprocess.CompletedProcess[Any]')
        assert_type(web.script('a.py', check=True), 'subprocess.CompletedProcess[Any]')
        assert_type(m.stats()[0].bytes_up, int)


def send_to(out: 'mitogo.Sender[Facts]') -> None:
    out.send(Facts('a', 1))


async def awaited() -> None:
    async with mitogo.aio.Engine() as m:
        web = m.connect('web1')
        assert_type(await web.call(collect, 'a'), Facts)
        assert_type(await web.call('os:getpid'), Any)
        async for n in web.stream(follow, '/'):
            assert_type(n, int)
        async for r in m.fleet(['a']).each(collect, 'a'):
            assert_type(r.value, Facts)
        results = await m.fleet(['a']).call(collect, 'a')
        assert_type(results['a'].value, Facts)
        assert_type((await m.fleet(['a']).start(collect, 'a'))['a'].value, Facts)
        m.fleet(['a']).post(collect, 'a')
        async for item in m.fleet(['a']).stream(follow, '/'):
            assert_type(item.value, int)
        async for facts in m.receiver(Facts):
            assert_type(facts, Facts)
        assert_type(await web.start(collect, 'a'), Facts)
        assert_type(await web.ping(), float)
        done = await web.run(['true'])
        assert_type(done, 'subprocess.CompletedProcess[Any]')


def mistakes(web: mitogo.Context, fleet: mitogo.Fleet) -> List[Any]:
    return [
        web.call(collect, 1),  # wrong
        web.call(collect),  # wrong
        web.call(collect, 'a', lod=1),  # wrong
        web.call(3),  # wrong
        web.stream(collect, 'a'),  # wrong
        web.call(collect, 'a').hots,  # wrong
        web.connect(3),  # wrong
        fleet.stream(collect, 'a'),  # wrong
        fleet.start(collect, 'a').result().hots,  # wrong
        web.cal(collect),  # wrong
    ]
