"""A client of `mitogen daemon` in Python, as its protocol (docs/protocol/daemon.md, section 9)
needs it; for Python 3.

    client = Client()                                   # starts a daemon if there is none
    web = client.target('web1+sudo', path=['lib'], options={'sudo': {'password': '...'}})
    print(web.call('facts:collect', 'disk'))            # lib/facts.py is sent
    for line in web.stream('logs:follow', '/var/log/syslog'):
        ...
    web.put('local.conf', '/etc/app.conf', mode=0o640)
"""
import errno
import json
import os
import subprocess
import sys
import time

from mitogen_place import PlaceError, dial, socket_directory


class Error(Exception):
    """What went wrong: kind, hop, exception, traceback and text, as far as they are known."""

    def __init__(self, fields):
        self.__dict__.update(fields)
        Exception.__init__(self, fields.get('kind') or fields.get('why') or fields.get('exception')
                           or 'error', fields.get('text', ''))


class Client:
    """Reaches the daemon at socket_path, the user's own by default."""

    def __init__(self, socket_path=None, command='mitogen', ask=None):
        self.path = (socket_path or os.environ.get('MITOGEN_SOCKET')
                     or os.path.join(socket_directory(), 'daemon.sock'))
        self.command = command
        # function(prompt) -> text, for passwords that a connection turns out to need
        self.ask = ask

    def connect(self):
        for attempt in range(500):
            try:
                return dial(self.path)
            except PlaceError as e:
                raise Error({'kind': 'no daemon', 'text': str(e)})
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                    raise
            if attempt == 0:
                null = subprocess.DEVNULL
                subprocess.Popen([self.command, 'daemon', '--socket', self.path, '--quiet'],
                                 stdin=null, stdout=null, stderr=null,
                                 start_new_session=True)
            time.sleep(.02)
        raise Error({'kind': 'no daemon', 'text': 'nothing listens on ' + self.path})

    def request(self, first, data=b'', feed=()):
        """Send a request, its data, and what its process is to read; yield the answers:
        (message, data)."""
        with self.connect() as s, s.makefile('rb') as lines:
            def send(message, data=b''):
                if data:
                    message = dict(message, size=len(data))
                s.sendall(json.dumps(message).encode() + b'\n' + data)

            send(dict(first, interactive=self.ask is not None), data)
            for piece in feed:
                send({}, piece)
            if first['op'] in ('run', 'put'):
                send({'eof': True})
            while True:
                line = lines.readline()
                if not line:
                    raise Error({'kind': 'lost', 'text': 'the daemon has gone'})
                message = json.loads(line)
                data = lines.read(message.get('size', 0))
                if 'prompt' in message:
                    prompt = message['prompt']
                    reply = ({'answer': self.ask(prompt)} if self.ask
                             else {'refuse': 'nobody to ask'})
                    send(dict(reply, answer_to=prompt['id']))
                    continue
                yield message, data
                if 'end' in message:
                    if message['end'].get('error'):
                        raise Error(message['end']['error'])
                    return

    def target(self, target, path=(), packages=(), options=None):
        """Returns the end of a target. path are directories here with your own modules, packages
        directories here with third-party modules."""
        return Target(self, dict(target=target, path=list(map(os.path.abspath, path)),
                                 packages=list(map(os.path.abspath, packages)),
                                 options=options or {}))

    def contexts(self):
        return [c for m, _ in self.request({'op': 'list'}) for c in m.get('contexts', ())]

    def disconnect(self, target=''):
        list(self.request({'op': 'disconnect', 'target': target}))

    def stop(self):
        list(self.request({'op': 'stop'}))


class Target:
    """Each call, run and transfer has a process of its own there."""
    stdout, stderr = sys.stdout, sys.stderr     # where output goes
    log = None                                  # function(record), for records of logging

    def __init__(self, client, where):
        self.client = client
        self.where = where

    def messages(self, op, data=b'', feed=(), **fields):
        for m, data in self.client.request(dict(self.where, op=op, **fields), data, feed):
            if 'stream' in m:
                f = self.stdout if m['stream'] == 'stdout' else self.stderr
                f.write(data.decode(errors='replace'))
            elif 'log' in m:
                if self.log:
                    self.log(m['log'])
            else:
                yield m, data

    def connect(self):
        list(self.messages('connect'))

    def stream(self, function, *args, **kwargs):
        """Call MODULE:FUNCTION, a generator, and yield its items as they come."""
        for m, _ in self.messages('call', function=function, args=list(args), kwargs=kwargs):
            if 'value' in m:
                yield m['value']

    def call(self, function, *args, **kwargs):
        """Call MODULE:FUNCTION and return its result; docs/json.md says how values are written."""
        items = list(self.stream(function, *args, **kwargs))
        return items[0] if len(items) == 1 else (items or None)

    def run(self, script, *argv, stdin=b''):
        """Run a local script there and return its exit status."""
        with open(script, 'rb') as f:
            source = f.read()
        pieces = [stdin[i:i + 65536] for i in range(0, len(stdin), 65536)]
        return [m['status']
                for m, _ in self.messages('run', source, pieces, argv=[script] + list(argv))
                if 'status' in m][0]

    def put(self, local, remote, mode=0):
        """Write a file there, at once or not at all; mode 0: as it was, or as usual."""
        with open(local, 'rb') as f:
            list(self.messages('put', feed=iter(lambda: f.read(65536), b''), name=remote,
                               mode=mode))

    def get(self, remote, local):
        with open(local, 'wb') as f:
            for m, data in self.client.request(dict(self.where, op='get', name=remote)):
                if m.get('stream') == 'stdout':
                    f.write(data)
