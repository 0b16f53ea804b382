"""Measures mitogo beside Mitogen and execnet, in turn, and prints a table: `make bench-python`.

Each figure is the median of rounds in which the three are measured one after another, so that they
share whatever else the machine does.
"""

import os
import statistics
import subprocess
import sys
import time

ROUNDS = int(os.environ.get('ROUNDS', '9'))
PATIENCE = float(os.environ.get('PATIENCE', '120'))  # seconds that one program may take
HERE = os.path.dirname(os.path.abspath(__file__))

IMPORT = {
    'python': 'pass',
    'mitogo': 'import mitogo',
    'Mitogen': 'import mitogen.master',
    'execnet': 'import execnet',
}
UP = {
    'python': 'pass',
    'mitogo': 'import mitogo\nm = mitogo.Engine()\n'
    'm._link.wait(lambda: not m._link.hint)\nm.close()',
}
WHOLE = {
    'mitogo': 'import mitogo, os\nwith mitogo.Engine() as m:\n'
    '    m.connect("local").call(os.getpid)',
    'Mitogen': 'import mitogen.utils, os\ndef main(router):\n    router.local().call(os.getpid)\n'
    'if __name__ == "__main__":\n    mitogen.utils.run_with_router(main)',
    'execnet': 'import execnet\ng = execnet.makegateway()\n'
    'g.remote_exec("import os; channel.send(os.getpid())").receive()\n'
    'execnet.default_group.terminate()',
}
LATENCY = {
    'mitogo': """
import mitogo, os
with mitogo.Engine() as m:
    c = m.connect("local")
    times(lambda: c.call(os.getpid))
""",
    'Mitogen': """
import mitogen.utils, os
def main(router):
    c = router.local()
    times(lambda: c.call(os.getpid))
mitogen.utils.run_with_router(main)
""",
    'execnet': """
import execnet
g = execnet.makegateway()
ch = g.remote_exec("for x in channel: channel.send(x)")
def echo():
    ch.send(1)
    ch.receive()
times(echo)
execnet.default_group.terminate()
""",
}
PIPELINED = {
    'mitogo': """
import mitogo, os
with mitogo.Engine() as m:
    c = m.connect("local").wait()
    rate(lambda n: [x.result() for x in [c.start(os.getpid) for _ in range(n)]])
""",
    'Mitogen': """
import mitogen.utils, os
def main(router):
    c = router.local()
    rate(lambda n: [x.get().unpickle() for x in [c.call_async(os.getpid) for _ in range(n)]])
mitogen.utils.run_with_router(main)
""",
    'mitogo, asyncio': """
import asyncio, mitogo.aio, os
async def main():
    async with mitogo.aio.Engine() as m:
        c = await m.connect("local").wait()
        async def some(n):
            for _ in range(0, n, 250):
                await asyncio.gather(*[c.call(os.getpid) for _ in range(250)])
        await some(250)
        t = time.perf_counter()
        await some(5000)
        print(5000 / (time.perf_counter() - t))
asyncio.run(main())
""",
}
MANY = {
    'mitogo': """
import mitogo, os
with mitogo.Engine() as m:
    t = time.perf_counter()
    contexts = [m.connect("local") for _ in range(200)]
    for call in [c.start(os.getpid) for c in contexts]:
        call.result()
    print(time.perf_counter() - t)
    sys.stdout.flush()
""",
    'Mitogen': """
import mitogen.utils, os
from multiprocessing.pool import ThreadPool
def main(router):
    t = time.perf_counter()
    ThreadPool(16).map(lambda _: router.local().call(os.getpid), range(200), 1)
    print(time.perf_counter() - t)
mitogen.utils.run_with_router(main)
""",
    'execnet': """
import execnet
t = time.perf_counter()
for _ in range(200):
    execnet.makegateway().remote_exec("import os; channel.send(os.getpid())").receive()
print(time.perf_counter() - t)
execnet.default_group.terminate(1)
""",
}
# Of the program's process alone, in MiB, with 200 contexts that have answered.
MEMORY = {
    'python': "print(rss())",
    'mitogo': """
import mitogo, os
with mitogo.Engine() as m:
    contexts = [m.connect("local") for _ in range(200)]
    for call in [c.start(os.getpid) for c in contexts]:
        call.result()
    print(rss())
""",
}
LARGE = {
    'mitogo, argument': """
import mitogo
with mitogo.Engine() as m:
    large(m.connect("local").wait(), lambda c: c.call(len, bytes(64 << 20)))
""",
    'mitogo, result': """
import mitogo
with mitogo.Engine() as m:
    large(m.connect("local").wait(), lambda c: c.call("builtins:bytes", 64 << 20))
""",
}
# A whole process that has a function of a module of its own called as root behind a link.
FAR = {
    'mitogo': 'import mitogo, os, own_module\nwith mitogo.Engine() as m:\n'
    '    m.connect("mito+sudo", ssh=mitogo.SSH(config_file=os.environ["LINK_CONFIG"]))'
    '.call(own_module.pid)',
    'Mitogen': 'import mitogen.utils, os, own_module\ndef main(router):\n'
    '    ssh = router.ssh(hostname="mito", python_path="python3",\n'
    '        ssh_args=["-F", os.environ["LINK_CONFIG"]], check_host_keys="enforce")\n'
    '    router.sudo(via=ssh, python_path="python3").call(own_module.pid)\n'
    'if __name__ == "__main__":\n    mitogen.utils.run_with_router(main)',
}
TOOLS = """
import statistics, sys, time
def rss():
    with open('/proc/self/statm') as f:
        return int(f.read().split()[1]) / 256
def large(c, do):
    do(c)
    t = time.perf_counter()
    for _ in range(3):
        do(c)
    print(3 * 64 / (time.perf_counter() - t))
def times(do):
    for _ in range(200):
        do()
    all = []
    for _ in range(1500):
        t = time.perf_counter()
        do()
        all.append(time.perf_counter() - t)
    print(statistics.median(all) * 1e6)
def rate(do):
    do(500)
    t = time.perf_counter()
    do(5000)
    print(5000 / (time.perf_counter() - t))
"""


def run(text, script=False):
    """Run a program, and return (seconds, what it printed)."""
    begun = time.perf_counter()
    command = [sys.executable, script] if script else [sys.executable, '-c', text]
    p = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    return time.perf_counter() - begun, p.stdout.decode()


def rounds(programs, measure):
    """The median of each program's figure. If a program fails, or takes longer than PATIENCE, it
    has none, and isn't tried again.
    """
    got = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, text in programs.items():
            if name not in got:
                continue
            try:
                got[name].append(measure(text))
            except (subprocess.SubprocessError, ValueError) as e:
                print('%s: no figure: %s' % (name, str(e)[-80:]), file=sys.stderr)
                del got[name]
    return {name: statistics.median(values) for name, values in got.items()}


def whole(text):
    import tempfile

    with tempfile.NamedTemporaryFile('w', suffix='.py') as f:  # Mitogen reads the main module
        f.write(text)
        f.flush()
        return run(text, f.name)[0] * 1e3


def printed(text):
    return float(run(TOOLS + text)[1])


def named(figures, name):
    """The figure of that name, as mitogo's."""
    return {'mitogo': figures[name]} if name in figures else {}


def row(what, figures, unit, base=None):
    if base is not None and base not in figures:
        figures = {}
    less = figures[base] if base and figures else 0
    cells = [
        '%.3g %s' % (figures[n] - less, unit) if n in figures else '–'
        for n in ('mitogo', 'Mitogen', 'execnet')
    ]
    print('| %s | %s |' % (what, ' | '.join(cells)))


def main():
    print(
        'Python %s, %d rounds, load %.1f on %d processors\n'
        % (sys.version.split()[0], ROUNDS, os.getloadavg()[0], os.cpu_count())
    )
    print('| figure | mitogo | Mitogen | execnet |\n|---|---:|---:|---:|')
    row('import, beyond bare Python', rounds(IMPORT, lambda t: run(t)[0] * 1e3), 'ms', 'python')
    up = rounds(dict(UP, imported=IMPORT['mitogo']), lambda t: run(t)[0] * 1e3)
    row('engine up and closed, beyond the import', up, 'ms', 'imported')
    row('whole process, local child, one call', rounds(WHOLE, whole), 'ms')
    row('call p50, local child, synchronous (execnet: echo)', rounds(LATENCY, printed), 'µs')
    rates = rounds(PIPELINED, printed)
    row('pipelined calls, a second', rates, '/s')
    row('asyncio, gather of 250, a second', named(rates, 'mitogo, asyncio'), '/s')
    row('200 local children, one call each', rounds(MANY, printed), 's')
    large = rounds(LARGE, printed)
    for what in ('argument', 'result'):
        row('64 MiB %s, local' % what, named(large, 'mitogo, ' + what), 'MiB/s')
    row('memory with 200 contexts, beyond bare Python', rounds(MEMORY, printed), 'MiB', 'python')


def far():
    """Behind a link: what bench/link runs. The Go command is measured beside."""
    rtt = sys.argv[1]
    os.environ['PYTHONPATH'] = os.environ['PYTHONPATH'] + ':' + os.path.join(HERE, '../driver/py')
    figures = rounds(FAR, whole)
    command = [os.environ['MITOGEN_BINARY'], 'call', '--ssh-config', os.environ['LINK_CONFIG']]
    command += ['--path', os.path.join(HERE, '../driver/py'), '-t', 'mito+sudo', 'own_module:pid']
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        took.append((time.perf_counter() - begun) * 1e3)
    what = 'ssh, sudo, own module, RTT %s, whole process' % rtt
    row('%s (the Go command: %.3g ms)' % (what, statistics.median(took)), figures, 'ms')


if __name__ == '__main__':
    far() if sys.argv[1:] else main()
