"""The far end of a link over a bad line: docs/protocol/line.md. Sent as text `_mitogen_serial`.

Runs in an interpreter of its own, whose fds 0 and 1 are the line, which is raw. Starts the
context's command behind pipes, and carries its streams. internal/seriallink is the other end.
"""
import binascii
import os
import select
import signal
import socket
import struct
import time
import zlib

DATA, ERR, END, ACK, PROBE, LEAVE = 1, 2, 3, 4, 5, 6
HEARD = 64
PAYLOAD, WINDOW, FIRST, LEAST, LONGEST = 248, 15, 4, 2, 528


def raw(text):
    return struct.pack('%dB' % len(text), *[ord(c) for c in text])


NONE, LINE, TEXT, EIGHT, PAD = raw(''), raw('\n'), raw('%'), raw('&'), raw('=')
FAREWELL = (TEXT + EIGHT) * 4
KEPT = [(raw(chr(n)), PAD + raw(chr(n + 64 & 255)))
    for n in (61, 10, 13, 17, 19, 126, 255, 5, 29, 0, 37, 38)]     # the equals sign first
BACK = dict([(after[1:], before) for before, after in KEPT])


def check(body, seed):
    return struct.pack('>I', zlib.crc32(body, seed) & 0xffffffff)


def line_of(kind, seq, ack, payload, seed, eight):
    body = struct.pack('BBB', kind, seq & 255, ack & 255) + payload
    body = body + check(body, seed)
    if not eight:
        return TEXT + binascii.b2a_base64(body)
    for before, after in KEPT:
        body = body.replace(before, after)
    return EIGHT + body + LINE


def body_of(line):
    """The body in a line, and whether its coding is the 8-bit one."""
    if line[-1:] == raw('\r'):
        line = line[:-1]
    at, eight = line.rfind(TEXT), line.rfind(EIGHT)
    if max(at, eight) < 0 or len(line) > LONGEST:
        raise ValueError
    if at > eight:
        return binascii.a2b_base64(line[at + 1:]), False
    parts = line[eight + 1:].split(PAD)
    for i in range(1, len(parts)):
        parts[i] = BACK[parts[i][:1]] + parts[i][1:]
    return NONE.join(parts), True


def opened(line, seed):
    """Kind, number, acknowledgement, payload and coding of a line; None: it is noise."""
    try:
        body, eight = body_of(line)
    except (ValueError, KeyError, binascii.Error):
        return None
    if len(body) < 7 or check(body[:-4], seed) != body[-4:]:
        return None
    return struct.unpack('BBB', body[:3]) + (body[3:-4], eight)


class Link:
    """This end. The comments of internal/seriallink/link.go are about both."""

    def __init__(self, key, rate, trip, idle):
        self.mine, self.theirs, self.rate, self.idle = ~key, key, rate, idle
        self.rest, self.waiting = NONE, []
        self.sent, self.base, self.order = [], 0, 0
        self.window, self.trip, self.vary, self.progress, self.free = FIRST, 0, 0, 0, 0
        self.timeout = max(0.1, trip * 4, self.takes(LONGEST) * 4)
        self.want, self.held, self.due, self.due_at, self.urgent = 0, {}, 0, 0, False
        self.last_sent = self.last_got = self.probe_at = time.time()
        self.eight = self.heard = self.left = self.full = False
        self.probes = 0

    def takes(self, n):
        if not self.rate:
            return 0
        return n / float(self.rate)

    def put(self, kind, data):
        if self.waiting and self.waiting[-1][0] == kind:
            data = self.waiting.pop()[1] + data
        while True:
            self.waiting.append((kind, data[:PAYLOAD]))
            data = data[PAYLOAD:]
            if not data:
                return

    def goodbye(self):
        return (LINE + line_of(LEAVE, 0, 0, NONE, self.mine, False)) * 2

    def feed(self, data, now):
        """What is whole and in order of what came, as pairs of kind and data."""
        out = []
        data = self.rest + data
        self.left = self.left or FAREWELL in data
        lines = data.split(LINE)
        self.rest = lines.pop()[-LONGEST:]
        for line in lines:
            frame = opened(line, self.theirs)
            if frame:
                self.last_got = now
                self.heard = self.heard or frame[4]
                out.extend(self.take(frame, now))
        return out

    def take(self, frame, now):
        kind = frame[0] & ~HEARD
        if frame[0] & HEARD:
            self.eight = True
        self.acked(kind, frame[2], frame[3], now)
        if kind in (DATA, ERR, END):
            return self.numbered(kind, frame[1], frame[3], now)
        if kind == PROBE:
            self.urgent = True
        elif kind == LEAVE:
            self.left = True
        return []

    def numbered(self, kind, seq, payload, now):
        ahead = seq - self.want & 255
        if ahead >= WINDOW:
            self.urgent = True
            return []
        if self.full and kind == DATA:
            return []       # as if it were lost
        if not self.due:
            self.due_at = now + 0.02
        self.due += 1
        if ahead or self.held:
            self.urgent = True
        self.held[self.want + ahead] = (kind, payload)
        out = []
        while self.want in self.held:
            out.append(self.held.pop(self.want))
            self.want += 1
        return out

    def acked(self, kind, ack, payload, now):
        n = ack - self.base & 255
        if n > len(self.sent):
            return
        newest = 0
        for s in self.sent[:n]:
            newest = max(newest, self.settle(s, now))
        del self.sent[:n]
        self.base += n
        if kind == ACK and len(payload) == 2:
            bits = struct.unpack('>H', payload)[0]
            for i in range(1, len(self.sent)):
                if bits >> i - 1 & 1:
                    newest = max(newest, self.settle(self.sent[i], now))
        if not newest:
            return
        self.progress = now
        self.timeout = max(0.1, self.trip + self.vary * 4, self.takes(LONGEST) * 2)
        for s in self.sent:
            if not s['got'] and s['last'] < newest:
                s['lost'] = True

    def settle(self, s, now):
        if s['got']:
            return 0
        s['got'], s['lost'] = True, False
        if s['first'] == s['last']:
            self.measure(now - s['at'])
        return s['first']

    def measure(self, d):
        if not self.trip:
            self.trip, self.vary = d, d / 2
        self.vary += (abs(d - self.trip) - self.vary) / 4
        self.trip += (d - self.trip) / 8
        if d < 0.35:
            self.window = min(self.window + 1, WINDOW)
        elif d > 0.5:
            self.window = max(self.window - 1, LEAST)

    def slack(self):
        return max(0.025, self.takes(LONGEST / 2))

    def next_line(self, now):
        """The next line to write, or None."""
        if self.free - now > self.slack():
            return None
        line = self.choose(now)
        if line:
            self.free = max(self.free, now) + self.takes(len(line))
            self.last_sent = now
        return line

    def choose(self, now):
        if self.urgent:
            return self.acknowledge()
        s = self.again(now)
        if s:
            return self.send(s, now)
        if not self.eight and self.probes < 6 and now >= self.probe_at:
            self.probes += 1
            self.probe_at = now + max(0.3, self.timeout)
            return self.line(PROBE, 0, raw(''.join([chr(n) for n in range(256)])), True)
        if self.waiting and len(self.sent) < self.window:
            if not self.sent:
                self.progress = now
            kind, data = self.waiting.pop(0)
            s = {'kind': kind, 'data': data, 'seq': self.base + len(self.sent), 'first': 0,
                'got': False}
            self.sent.append(s)
            return self.send(s, now)
        if self.due > 1 or self.due and now >= self.due_at or now >= self.last_sent + self.idle / 4:
            return self.acknowledge()
        return None

    def again(self, now):
        for s in self.sent:
            if s['lost']:
                return s
        if not self.sent or now < self.expires():
            return None
        self.timeout = min(self.timeout * 2, max(8.0, self.takes(LONGEST) * 4))
        return self.sent[0]

    def expires(self):
        return max(self.progress, self.sent[0]['gone']) + self.timeout

    def send(self, s, now):
        self.order += 1
        s['at'], s['last'], s['lost'] = now, self.order, False
        s['first'] = s['first'] or self.order
        line = self.line(s['kind'], s['seq'], s['data'], self.eight)
        s['gone'] = max(self.free, now) + self.takes(len(line))
        return line

    def acknowledge(self):
        payload = NONE
        if self.held:
            bits = 0
            for n in self.held:
                bits |= 1 << n - self.want - 1
            payload = struct.pack('>H', bits)
        return self.line(ACK, 0, payload, self.eight)

    def line(self, kind, seq, payload, eight):
        self.due = 0
        if kind == ACK:
            self.urgent = False
        if self.heard:
            kind |= HEARD
        return line_of(kind, seq, self.want, payload, self.mine, eight)

    def ready(self):
        for s in self.sent:
            if s['lost']:
                return True
        return self.urgent or self.due > 1 or self.waiting and len(self.sent) < self.window

    def pause(self, now):
        """Seconds until next_line() is to be called again, if nothing comes before."""
        at = min(self.last_sent + self.idle / 4, self.last_got + self.idle)
        if self.due:
            at = min(at, self.due_at)
        if self.sent:
            at = min(at, self.expires())
        if not self.eight and self.probes < 6:
            at = min(at, self.probe_at)
        if self.ready():
            at = now
        return max(0, max(at, self.free - self.slack()) - now)


class Command:
    """The context's command, in a session of its own."""

    def __init__(self, argv):
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        mine, theirs = socket.socketpair()
        self.stderr, self.kept = mine.fileno(), mine
        self.pid = os.fork()
        if not self.pid:
            try:
                os.setsid()
                os.dup2(stdin, 0)
                os.dup2(stdout, 1)
                os.dup2(theirs.fileno(), 2)
                for fd in (stdin, stdout, self.stdin, self.stdout, self.stderr, theirs.fileno()):
                    if fd > 2:
                        os.close(fd)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        os.close(stdin)
        os.close(stdout)
        theirs.close()
        self.typed, self.ended = [], False

    def feed(self, kind, data):
        if kind == END:
            self.ended = True
        elif kind == DATA and self.stdin is not None:
            self.typed.append(data)

    def write(self):
        """Pass on what came, as much as the pipe surely takes, and then its end."""
        if self.typed:
            data = self.typed.pop(0)
            try:
                os.write(self.stdin, data)      # which is less than PIPE_BUF
            except OSError:
                self.typed, self.ended = [], True
        if self.ended and not self.typed:
            os.close(self.stdin)
            self.stdin = None

    def read(self, link, fd, kind):
        try:
            data = os.read(fd, PAYLOAD)
        except OSError:
            data = NONE
        if data:
            link.put(kind, data)
        elif kind == DATA:
            os.close(self.stdout)
            self.stdout = None
        else:
            self.kept.close()
            self.stderr = None

    def end(self):
        """End the process and its group. The kernel ends a context whose stderr closes."""
        if self.stdin is not None:
            os.close(self.stdin)
        self.kept.close()
        for _ in range(20):
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            time.sleep(0.05)
        try:
            os.killpg(self.pid, 9)
        except OSError:
            return
        self.status()

    def status(self):
        try:
            code = os.waitpid(self.pid, 0)[1]
        except OSError:
            return 255
        if os.WIFSIGNALED(code):
            return -os.WTERMSIG(code)
        return os.WEXITSTATUS(code)


def step(link, command):
    """Wait for something, and do it."""
    readers, writers = [0], []
    if len(link.waiting) < 4:
        readers.extend([fd for fd in (command.stdout, command.stderr) if fd is not None])
    if command.stdin is not None and (command.typed or command.ended):
        writers.append(command.stdin)
    wait = link.pause(time.time())
    if not wait:
        writers.append(1)
    readers, writers, _ = select.select(readers, writers, [], wait)
    now = time.time()
    if 0 in readers:
        try:
            data = os.read(0, 4096)
        except OSError:
            data = NONE
        link.left = not data
        link.full = len(command.typed) > 256
        for kind, data in link.feed(data, now):
            command.feed(kind, data)
    if command.stdin in writers:
        command.write()
    for fd, kind in ((command.stdout, DATA), (command.stderr, ERR)):
        if fd is not None and fd in readers:
            command.read(link, fd, kind)
    if 1 in writers:
        line = link.next_line(now)
        if line:
            say(line)


def say(line):
    while line:
        line = line[os.write(1, line):]


def carry(link, command):
    """Until one end has left, or the command has ended and all it said has arrived."""
    told = False
    while not link.left and time.time() < link.last_got + link.idle:
        step(link, command)
        if command.stdout is None and command.stderr is None:
            if not told:
                told = True
                link.put(END, raw(str(command.status())))
            elif not link.waiting and not link.sent:
                return True
    return told


def serve(key, rate, trip, idle, argv, names):
    """Carry the streams of argv. names are variables that are not for it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(0)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for name in names:
        os.environ.pop(name, None)
    os.environ['PYTHONPATH'] = os.environ.pop('MITO_PP', '')
    if not os.environ['PYTHONPATH']:
        del os.environ['PYTHONPATH']
    link, command, ended = Link(key, rate, trip, idle), Command(argv), False
    try:
        ended = carry(link, command)
    finally:
        if not ended:
            command.end()
        say(link.goodbye())
