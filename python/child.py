"""One context that a hop has started, from CONNECT to the report of its end. Part of
`_mitogen_spawn`.

Runs in the namespace of the core, in the thread that reads (the holder of R). Uses child_start.py.
"""
from _mitogen import (BUSY_TIMEOUT, CAUSE, CHILDREN, CREDIT, DATA, DEAD, EMPTY, ERROR, FDS,
    HANDLERS, HEARTBEAT, HELD_BACK, HELLO, IMAGE, ITEM, LIMIT, LOAD_MODULE, LOST, MAGIC, ME,
    MODULES, PART, PARTS, PING, POLL, POLLIN, PONG, PROTO, Poll, QUEUE, ROUTES, S, STREAMS, Stream,
    UP, WORK, ZERO, after, again, cut_off, deliver, deque, dumpable, dumps, end_work, execute,
    frame, load_asking, log, now, os, pack, poke, remove_program, same_python, select, send,
    start_some, sys, tell, unpack, utf8)

EC0 = '\nMITO-EC0\n'.encode()
TAIL = 4096         # bytes kept of what a child's connection printed
QUEUE_LIMIT = 33554432  # bytes that may wait for a child
# bytes that a child may cause to wait in UP; then it is not read until half has gone
ABOVE_LIMIT = 1048576
FRAMES = 16             # that a child has handled before its siblings have their turn
FRAME_COST = 100        # what a frame takes in memory besides its bytes
OFFENCES = 1000         # what a child may do in OFFENCE_TIME that none does that is in order
OFFENCE_TIME = 10
SLOWEST = 4096.0        # bytes a second that a link moves at least
SLOW_LIMIT = 3600       # seconds that what is on its way to a child may take at most


def passed(id, name):
    """A frame that gives a child a module as it came here."""
    letter, path, rest = MODULES[name][:3]
    return frame(id, LOAD_MODULE, ZERO.join([utf8(name), utf8(path), utf8(letter) + rest]))


class Child(Stream):
    """One context started here, from CONNECT to the report of its end."""
    gone = None     # (what, text) once its end has begun
    up = 0          # HELLO has passed
    leaving = 0     # it has been told to end: what its connection prints about that is no news
    status = None
    noise = 0       # foreign bytes in a row
    reached = 0     # 1: something came on its stdout, which is a session's, 2: EC0 has
    printed = EMPTY # the end of what came there before EC0
    talked = 0      # bytes of a dialogue
    queued = 0      # bytes ever put
    sent = 0        # of these, those that have been written
    arrived = 0     # of these, those that it has read: an answer to a PING behind them has come
    caused = 0      # cost of all that it has caused to be put in UP
    carried = 0     # of this, what has been taken out
    overfull = 0    # more was put than may wait
    offences = 0
    offended = 0    # when the first of these was

    def __init__(self, id, src, reply, plan):
        self.id = id
        self.src = src
        self.reply = reply
        self.plan = plan
        self.out = deque()
        self.rest = EMPTY
        self.last = EMPTY       # the end of what the connection printed
        self.screen = EMPTY     # the unfinished last line of the terminal, since the last answer
        self.answered = {}      # hashes of answers
        self.typing = EMPTY     # what is typed once the program waits for it
        self.since = 0          # from when the program has looked as if it asked; 0: it doesn't
        self.pause = 0          # seconds until the program is looked at again; 0: it isn't planned
        self.spoke = 0
        self.launched = self.started = 0
        CHILDREN[id] = ROUTES[id] = self
        QUEUE.append(self)
        if [1 for prompt in plan.get('prompts', ()) if prompt[1]]:
            dumpable(0)

    def forget(self):
        """Keep no more of the plan than is needed of a context that is up: no secret,
        wherever it is."""
        self.plan = dict([(k, self.plan.get(k)) for k in ('name', 'near', 'wait', 'dialogue')])
        self.plan.update({'prompts': (), 'argv': ['']})
        self.screen = self.typing = EMPTY

    def launch(self):
        self.launched = 1
        self.heard = self.spoke = self.looked = now()
        plan = self.plan
        argv = [utf8(a) for a in plan['argv']]
        words = argv[0] + ': '.encode()
        env = dict([(utf8(k), utf8(v)) for k, v in plan['env'].items()])
        warm = plan.get('fork') and not S.calls and same_python(plan.get('python'))
        started = execute(argv, env, plan['tty'], plan['wait'], warm, plan['prompts'])
        self.pid, w, r, self.err, self.tty, self.slave, why = started
        if plan.get('remove'):
            remove_program(plan['remove'])
        waiting = self.out
        self.started = not plan['wait'] and plan.get('dialogue') in (None, '', 'questions', 'ask')
        Stream.__init__(self, r, w)
        self.out = waiting
        FDS[r] = self.guarding(self.read)
        FDS[self.err] = self.guarding(self.on_err)
        POLL.register(self.err, POLLIN)
        if self.tty is not None and not plan['wait']:
            FDS[self.tty] = self.guarding(self.on_tty)
            POLL.register(self.tty, POLLIN)
        if why:
            return self.end('exec', words + why)
        if self.started:
            self.first()
        after(plan['timeout'], self.late)
        if HEARTBEAT:
            after(HEARTBEAT / 3.0, self.beat)

    def first(self):
        """Head and image go before whatever frames already wait; a Go program has no image."""
        self.started = 1
        start = [self.plan['head']]
        if not self.plan.get('bare'):
            start = [('n=%d;' % len(IMAGE)).encode(), self.plan['head'], IMAGE]
        for name in self.plan.get('with', ()):
            if name in MODULES:
                start.append(passed(self.id, name))
        self.put_first(EMPTY.join(start))
        self.flush()

    def locked_flush(self):
        if self.started and not self.gone:
            Stream.locked_flush(self)

    # To the child

    def put(self, data):
        self.spoke = now()
        if type(data) is tuple:
            self.queued += sum([len(d) for d in data])
        else:
            self.queued += len(data)
        if self.queued - self.sent + len(self.out) * FRAME_COST < QUEUE_LIMIT:
            self.out.append(data)
        elif not self.overfull:
            self.overfull = 1
            # Its caller may need it still.
            why = 'it does not read: %d bytes wait for it' % QUEUE_LIMIT
            after(0, lambda: self.end('budget', why.encode()))
            poke()

    def put_first(self, data):
        self.queued += len(data)
        self.out.appendleft(data)

    def written(self, n):
        self.sent += n

    # From the child, which is held back while too much of that waits in UP: its pipes stop it then.

    def guarding(self, fn):
        """Make of fn what handles bytes of this child: a fault in that ends it, not this hop."""
        def guarded_fn(ev):
            if HELD_BACK and self in HELD_BACK:
                return      # by another of its streams, just now
            CAUSE[0] = self
            try:
                try:
                    fn(ev)
                except Exception:
                    self.end('fault', text(sys.exc_info()[1]).encode('utf-8'))
            finally:
                CAUSE[0] = None
            if self.caused - self.carried > ABOVE_LIMIT and not self.gone:
                self.hold_back()
        return guarded_fn

    def above(self):
        return self.caused - self.carried

    def inputs(self):
        return [fd for fd in (self.r, self.err, self.tty) if fd in FDS]

    def hold_back(self):
        HELD_BACK.append(self)
        for fd in self.inputs():
            POLL.unregister(fd)

    def read_on(self):
        self.heard = now()
        HELD_BACK.remove(self)
        for fd in self.inputs():
            POLL.register(fd, POLLIN)
        if not self.room:
            self.next_turn()

    def read(self, ev):
        if not self.room:
            return      # what was read before is first
        try:
            data = os.read(self.r, 65536)
        except OSError:
            if again(sys.exc_info()[1]):
                return
            data = EMPTY
        if not data:
            return self.lost()
        self.heard = now()
        self.gather(data)

    def take_some(self, data):
        """Handle the first frames of data, and the rest from the next pumps."""
        self.room = FRAMES
        self.parse(data)
        UP.flush()
        if not self.room:
            self.next_turn()

    def next_turn(self):
        after(0, lambda: self.guarding(self.go_on)(0))
        poke()

    def go_on(self, ev):
        if not self.gone:
            self.take_some(self.buf)

    def offend(self, what, fatal=1):
        """Note what no context does that is in order. The first of them are logged, too
        many are fatal."""
        if now() - self.offended > OFFENCE_TIME:
            self.offended = now()
            self.offences = 0
        self.offences += 1
        if self.offences <= 100:
            log(30, 'mitogen.route', what)
        elif fatal and self.offences > OFFENCES:
            why = '%d offences in %d s, the last: %s' % (OFFENCES, OFFENCE_TIME, what)
            self.end('budget', why.encode('utf-8'))

    # Before HELLO

    def parse(self, buf):
        if not self.up:
            magic = pack('>L', MAGIC)[:3]
            i = buf.find(magic)
            if i < 0:
                i = len(buf)
                if magic[:1] in buf[-2:]:
                    i = max(0, i - 2)
            self.said(buf[:i])
            self.look_for_start(buf[:i])
            if not self.started:
                self.converse(buf)
                if self.reached == 2:
                    self.first()
            buf = buf[i:]
        Stream.parse(self, buf)

    def look_for_start(self, data):
        """Note how far it has come. Only its stdout tells: who hasn't let it in prints on stderr
        and terminal."""
        if data and self.reached < 2:
            self.printed += data.replace('\r'.encode(), EMPTY)      # a terminal's end of line
            self.reached = 1 + (EC0 in self.printed)
            self.printed = self.printed[-len(EC0):]

    def said(self, data):
        self.last = (self.last + data)[-TAIL:]

    def on_err(self, ev):
        data = self.listen(self.err)
        if self.plan['wait'] or not self.started:
            # PAM's questions to a standard input that is a terminal come here
            self.converse(data)

    def on_tty(self, ev):
        self.converse(self.listen(self.tty))

    def listen(self, fd):
        """Read what the connection printed: before HELLO for errors, after it for the log."""
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = EMPTY
        if not data:
            del FDS[fd]
            POLL.unregister(fd)
        elif self.up and not self.leaving and not S.stop:
            log(30, 'mitogen.connection',
                '%s: %s' % (self.plan['name'], data.decode('utf-8', 'replace').rstrip()))
        self.said(data)
        return data

    def converse(self, data):
        """Answer the prompts of the plan, each once; in a dialogue, let our parent do that."""
        if self.up or self.gone:
            return
        if self.plan.get('dialogue') not in (None, '', 'ask'):
            self.talked += len(data)
            if data and self.listens() and self.talked < 65536:
                send(self.src, self.reply, data, ITEM)
            return
        self.screen = (self.screen + data).split('\n'.encode())[-1][-TAIL:]
        self.question()

    def question(self):
        """Answer the prompt on the last line, once the program waits for it."""
        for needle, answer in self.plan['prompts']:
            if needle.lower() in self.screen.lower():
                break
        else:
            return
        if answer is None and self.plan.get('dialogue') != 'ask':
            return self.end('unanswered')
        load_asking()
        self.reply_to(needle, answer)

    def listens(self):
        """True if it takes answers: until its interpreter is there, or, if that isn't waited for,
        until it is up."""
        return not self.gone and not self.up and (not self.started
                                                  or self.plan.get('dialogue') in ('questions',
                                                                                   'ask'))

    def late(self):
        if not self.up:
            self.end('timeout')

    # Frames

    def take(self, dst, src, auth, handle, reply, kind, raw):
        self.noise = 0
        self.room -= 1
        if self.gone:
            return
        if ROUTES.get(src) is not self or ROUTES.get(auth) is not self:
            return self.offend('dropped a frame from %s that claims to be from %d for %d' % (
                self.plan['name'], src, auth))
        if handle == HELLO and src == self.id and not self.up:
            self.up = 1
            self.forget()
            after(0, start_some)
        if dst == ME:
            return self.mine(src, auth, handle, reply, kind, raw[28:-2])
        if handle == LOST and kind == DATA and len(raw) >= 34:
            id = unpack('>L', raw[28:32])[0]
            if id != self.id and ROUTES.get(id) is self:
                del ROUTES[id]
                end_work((id,))
                cut_off()
        elif kind in (DATA, DEAD, ERROR) and WORK.get((dst, handle)) == src:
            del WORK[dst, handle]
        UP.put(raw)

    def mine(self, src, auth, handle, reply, kind, data):
        """Take a frame for this context. Only a context that was asked may have it keep parts."""
        fn = HANDLERS.get(handle)
        if handle == PONG and src == self.id and len(data) < 20 and data.isdigit():
            self.arrived = max(self.arrived, min(int(data), self.sent))     # no more than was sent
        if handle == PONG or getattr(fn, 'source', src) != src:
            return
        if handle < 1000 and handle != CREDIT:
            self.offend('refused a frame from %s for handle %d' % (self.plan['name'], handle))
        if kind == PART and sum([PARTS[k][0] for k in PARTS if ROUTES.get(k[0]) is self]) > LIMIT:
            return self.end('budget', ('parts of values of more than %d bytes' % LIMIT).encode())
        deliver(src, auth, handle, reply, kind, data)

    def foreign(self, buf, pos, end):
        """Skip foreign bytes between frames; end the stream on those inside one."""
        magic = pack('>L', MAGIC)[:3]
        if buf[pos:pos + 3] == magic:
            self.end('foreign', ('foreign bytes in a frame: %r' % (buf[pos:pos + 200],)).encode())
            return len(buf)
        i = buf.find(magic, pos)
        if i < 0:
            i = len(buf) - 2
        self.noise += i - pos
        if self.noise > 1048576:
            self.end('foreign', 'more than 1 MiB of foreign bytes'.encode())
            return len(buf)
        self.offend('%s: skipped %d foreign bytes: %r' % (
            self.plan['name'], i - pos, buf[pos:min(i, pos + 200)]), 0)
        return i

    # The end

    def lost(self, grace=0):
        # May be called while a lock is held that reporting needs: do it from the next pump. Where
        # writing failed, there may still be something to read.
        after(grace, lambda: self.end('exit'))
        poke()

    def end(self, what, why=EMPTY):
        """Begin its end: close its stream, give it 300 ms, kill it; reported when it is reaped."""
        if self.gone:
            return
        if not self.launched:
            self.gone = what
            self.forget()
            QUEUE.remove(self)
            return self.report()
        if self in HELD_BACK:
            self.read_on()
        self.drain()
        self.said(why)
        self.gone = what
        self.forget()
        STREAMS.remove(self)
        for fd in (self.w, self.r, self.tty):
            if fd in FDS:
                if fd != self.w:
                    POLL.unregister(fd)
                del FDS[fd]
        if self.waits:
            POLL.unregister(self.w)
        self.patience = now() + 0.3
        if what in ('exit', 'shutdown'):
            os.close(self.w)
            self.w = None
        else:
            self.patience = 0
        self.reap()

    def drain(self):
        """Read what is there now, of an endless output a part."""
        for fd in (self.r, self.err, self.tty):
            p = getattr(select, 'poll', Poll)()
            for i in range(16):
                if fd not in FDS or self.up and fd == self.r:
                    break
                p.register(fd, POLLIN)
                if not p.poll(0) or not self.listen(fd):
                    break

    def reap(self):
        if now() > self.patience:
            if self.tty is not None:
                # The kernel ends the context then, and sudo, which sees that, itself. Killed, it
                # would leave a monitor.
                self.close()
                self.patience = now() + 0.1
            else:
                for fn in (os.killpg, os.kill):
                    try:
                        fn(self.pid, 9)
                    except OSError:
                        pass
                self.close()
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pid, status = self.pid, 0
        if not pid:
            return after(0.01, self.reap)
        try:
            os.killpg(self.pid, 9)      # what it has left
        except OSError:
            pass
        if os.WIFSIGNALED(status):
            self.status = -os.WTERMSIG(status)
        else:
            self.status = os.WEXITSTATUS(status)
        if self.w is not None or self.r is not None:
            self.drain()
        self.close()
        self.report()

    def close(self):
        """Close every end; the old stderr's lets the kernel kill the rest of its
        process group."""
        if self.err in FDS:
            POLL.unregister(self.err)
            del FDS[self.err]
        for fd in (self.err, self.w, self.r, self.tty, self.slave):
            if fd is not None:
                os.close(fd)
        self.w = self.r = self.tty = self.slave = self.err = None

    def report(self):
        del CHILDREN[self.id]
        after(0, start_some)
        ids = [i for i in ROUTES if ROUTES[i] is self]
        for i in ids:
            del ROUTES[i]
        end_work(ids)
        cut_off()
        text = self.last.decode('utf-8', 'replace')
        if not self.up:
            return send(self.src, self.reply,
                        dumps((self.gone, self.status, text, self.reached), PROTO), ERROR)
        text = text.replace(EC0.decode(), '\n')
        why = 'ended with status %s' % self.status
        if self.gone != 'exit':
            why = self.gone
        for i in ids:
            if i == self.id:
                tell = (why + '\n' + text).encode('utf-8')
            else:
                tell = ('%s is gone' % self.plan['name']).encode()
            send(0, LOST, pack('>L', i) + tell)

    # Liveness

    def timeout(self):
        """How long it may be silent. What is on its way to it may take its time: an answer
        comes behind that."""
        slow = (self.sent - self.arrived) / SLOWEST
        if slow > HEARTBEAT or [1 for id in WORK.values() if ROUTES.get(id) is self]:
            return max(BUSY_TIMEOUT, min(slow, SLOW_LIMIT))
        return HEARTBEAT

    def beat(self):
        if self.gone:
            return
        if self in HELD_BACK or now() - self.looked > HEARTBEAT / 1.5:
            # or this process was stopped, and has not read what has come since
            self.heard = now()
        self.looked = now()
        silent = now() - self.heard
        if self.up and silent > self.timeout() and (not self.plan['near'] or stopped(self.pid)):
            return self.end('heard nothing from it for %d s; --heartbeat allows more' % silent)
        if now() - self.spoke >= HEARTBEAT / 3.0 or silent >= HEARTBEAT / 3.0:
            self.put_first(frame(self.id, PING, str(self.sent).encode(), DATA, PONG))
            self.flush()
        after(HEARTBEAT / 3.0, self.beat)


def stopped(pid):
    """True if pid has ended, or it or a process below is stopped, or that can't be told."""
    try:
        procs = {}
        for p in os.listdir('/proc'):
            if p.isdigit():
                try:
                    f = open('/proc/%s/stat' % p, 'rb')
                    try:
                        rest = f.read().split(')'.encode())[-1].split()
                    finally:
                        f.close()
                except (OSError, IOError):
                    continue    # it has ended meanwhile
                procs[int(p)] = (rest[0].decode(), int(rest[1]))
        tree = [pid]
        for p in tree:
            tree += [c for c in procs if procs[c][1] == p]
        return not procs or procs.get(pid, '?')[0] == 'Z' or [p for p in tree
                                                              if procs.get(p, '?')[0] in 'Tt']
    except (OSError, IOError):
        return 1
