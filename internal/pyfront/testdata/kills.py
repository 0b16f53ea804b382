"""Kills a program, or its engine, at random moments, and looks for what is left: kills.py ROUNDS SEED.

Each round has a mark in the environment of all that the program starts, and a directory for what it
may write.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60


def marked(mark):
    """The processes that have the mark, without those that have ended."""
    found = []
    for pid in os.listdir('/proc'):
        try:
            with open('/proc/%s/environ' % pid, 'rb') as f:
                if mark in f.read():
                    with open('/proc/%s/cmdline' % pid, 'rb') as g:
                        found.append((int(pid), g.read().replace(b'\0', b' ')[:80]))
        except (OSError, ValueError):
            pass
    return found


def engines(mark):
    return [pid for pid, line in marked(mark) if b' engine --fd ' in line]


def wrong(rng, number):
    """What is wrong after one round, or None."""
    mark = 'MITO_KILL=%d-%d-%d' % (os.getpid(), number, rng.randrange(1 << 30))
    with tempfile.TemporaryDirectory() as d:
        env = dict(os.environ, TMPDIR=d, XDG_RUNTIME_DIR=d)
        env.update([mark.split('=')])
        whom = rng.choice(['engine', 'engine', 'program', 'interrupt', 'terminate'])
        p = subprocess.Popen(
            [sys.executable, os.path.join(HERE, 'busy.py')],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        time.sleep(rng.random() * rng.choice([0.2, 1.5, 4]))
        targets = engines(mark.encode()) if whom == 'engine' else [p.pid]
        if not targets:
            whom, targets = 'program', [p.pid]
        signals = {'interrupt': signal.SIGINT, 'terminate': signal.SIGTERM}
        os.kill(targets[0], signals.get(whom, signal.SIGKILL))
        try:
            said = p.communicate(timeout=PATIENCE)[0].decode('utf-8', 'replace')
        except subprocess.TimeoutExpired:
            p.kill()
            return '%s killed: the program goes on: %s' % (whom, p.communicate()[0][-2000:])
        if whom == 'engine' and not said.endswith('\nclean\n'):
            return 'engine killed: the program said %s' % said[-2000:]
        end = time.time() + PATIENCE
        while marked(mark.encode()) and time.time() < end:
            time.sleep(0.02)
        if marked(mark.encode()):
            return '%s killed: left are %r' % (whom, marked(mark.encode()))
        files = [os.path.join(a, n) for a, dirs, names in os.walk(d) for n in names + dirs]
        if files:
            return '%s killed: files are left: %r' % (whom, files)
    return None


def main(rounds, seed):
    rng, failed = random.Random(seed), 0
    for number in range(rounds):
        why = wrong(rng, number)
        if why:
            failed += 1
            print('round %d of seed %d: %s' % (number, seed, why))
    return failed


if __name__ == '__main__':
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
