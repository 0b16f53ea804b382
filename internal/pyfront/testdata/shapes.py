"""What programs of test_needs.py have their contexts do. In the subset of Python 2.7 and 3."""

import os
import subprocess
import sys

import mitogen
import mitogen.core
import mitogen.service


class Task(object):
    """An object of the program's, which goes there and comes back."""

    def __init__(self, number, fn):
        self.number, self.fn = number, fn

    def run(self):
        return Outcome(self.number, self.fn(self.number))


class Outcome(object):
    def __init__(self, number, value):
        self.number, self.value = number, value


def double(n):
    return 2 * n


def perform(task):
    return task.run()


@mitogen.core.takes_router
def work(log, results, router):
    """Do the tasks that come, and send what comes of them, and what was done."""
    inbox = mitogen.core.Receiver(router)
    results.send(inbox.to_sender())
    for msg in inbox:
        n = msg.unpickle()
        log.send('done %d' % n)
        results.send(n + 1)
    log.close()
    results.close()


class Actions(object):
    @classmethod
    @mitogen.core.takes_router
    def copy(cls, source, path, context, router):
        """Fetch a file of the program's."""
        with open(path, 'wb') as out:
            ok, meta = mitogen.service.FileService.get(context=context, path=source, out_fp=out)
        return [cls.__name__, router.myself().context_id, ok, meta['size']]

    @classmethod
    def fail(cls, why):
        raise ValueError(why)


def variable(name):
    return os.environ.get(name), os.getuid()


def command(*args):
    p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.communicate()[0]
    return p.returncode, mitogen.core.to_text(out)


def tell(context_id, sender, value):
    sender.send([mitogen.context_id, value])


def length(data):
    return len(data), type(data).__name__


def measure(binary, args):
    """Run a program that came as bytes."""
    import tempfile

    f, name = tempfile.mkstemp()
    try:
        os.write(f, binary)
        os.close(f)
        os.chmod(name, 448)
        return command(name, *args)
    finally:
        os.unlink(name)


@mitogen.core.takes_router
def serve(answers, router):
    """A server loop: requests come by a receiver whose sender goes first, answers go back."""
    requests = mitogen.core.Receiver(router)
    answers.send(requests.to_sender())
    for msg in requests:
        name, args = msg.unpickle()
        if name == 'stop':
            break
        try:
            answers.send([name, getattr(os.path, name)(*args)])
        except Exception:
            answers.send([name, mitogen.core.CallError(sys.exc_info()[1])])
    requests.close()
    return 'stopped'


def make_environment(path):
    import venv

    venv.create(path, with_pip=False, symlinks=True)
    return os.path.join(path, 'bin', 'python')


def prefix():
    return sys.prefix
