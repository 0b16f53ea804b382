package integration

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/report"
)

// hostile is the code of an attacker who has taken a context over: it writes frames of its own
// making. id is the victim's.
const hostile = `
import struct, time, zlib
import _mitogen as core

def raw(kind, dst, src, auth, handle, reply, data, size=None, trailer=core.TRAILER):
    if size is None:
        size = len(data)
    core.UP.put(core.pack('>7L', core.MAGIC + kind, dst, src, auth, handle, reply, size) + data +
                trailer)
    core.UP.flush()

def forged_source(id):
    for handle in range(1000, 1400):
        raw(0, 0, id, id, handle, 0, core.dumps('forged', 2))
        raw(1, 0, id, core.ME, handle, 0, b'forged')
        raw(0, 0, core.ME, id, handle, 0, core.dumps('forged', 2))

def answers_for_others(id):
    for handle in range(1000, 1400):
        if (0, handle) != core.S.current:
            raw(0, 0, core.ME, core.ME, handle, 0, core.dumps('forged', 2))

def forged_authority(id):
    mark = b'victim:mark\0'
    for src, auth in ((0, 0), (core.ME, 0), (core.ME, core.ME), (id, id), (core.ME, id), (id, 0)):
        raw(0, id, src, auth, core.CALL, 0, mark)
        for parent in core.PARENTS:
            raw(0, id, src, parent, core.CALL, 0, mark)
            raw(0, parent, src, auth, core.CALL, 0, mark)

def orders(id):
    "Everything that only an ancestor may say, to the victim, to the hop and to the engine."
    for dst in (id,) + core.PARENTS:
        for auth in (core.ME, 0, id):
            raw(0, dst, core.ME, auth, core.SHUTDOWN, 0, b'')
            raw(0, dst, core.ME, auth, core.KILL, 0, core.pack('>L', id))
            raw(0, dst, core.ME, auth, core.CANCEL, 0, core.pack('>L', 1000))
            raw(0, dst, core.ME, auth, core.STDIN, 1000, b'input')
            raw(0, dst, core.ME, auth, core.LOAD_MODULE, 0,
                b'json\0json.py\0m' + core.zlib.compress(b'evil = 1'))
            raw(0, dst, core.ME, auth, core.CONNECT, 1000,
                core.pack('>L', 77) + core.dumps({'argv': ['touch', 'x']}, 2))

def obituaries(id):
    for gone in (id, 0) + core.PARENTS:
        raw(0, 0, core.ME, core.ME, core.LOST, 0, core.pack('>L', gone) + b'forged')
        raw(0, 0, id, id, core.LOST, 0, core.pack('>L', gone) + b'forged')

def second_hello(id):
    hello = core.dumps({'version': (9, 9, 9, 'x', 0), 'hostname': 'evil'}, 2)
    raw(0, 0, core.ME, core.ME, core.HELLO, 0, hello)
    raw(0, 0, id, id, core.HELLO, 0, hello)

def mailbox(id):
    for handle in range(1000, 1100):
        raw(3, id, core.ME, core.ME, handle, 0, core.dumps('forged', 2))
        raw(0, id, core.ME, core.ME, handle, 0, b'')
        raw(3, 0, core.ME, core.ME, handle + 1000, 0, core.dumps('forged', 2))

def wrong_credit(id):
    for n in (0, 1, 2**31, 2**32 - 1):
        for flow in (0, core.STDIN, 1000, 2**32 - 1):
            for dst in (0, id):
                raw(0, dst, core.ME, core.ME, core.CREDIT, 0, core.pack('>LL', flow, n))
    raw(0, 0, core.ME, core.ME, core.CREDIT, 0, b'x')

def nonsense(id):
    for handle in list(range(0, 40)) + [999, 2**31, 2**32 - 1]:
        if handle not in (core.STDOUT, core.STDERR):
            for kind in range(5):
                raw(kind, 0, core.ME, core.ME, handle, 0, b'\xff' * 50)
                raw(kind, 2**32 - 1, core.ME, core.ME, handle, 1, b'')

def parts(id):
    for i in range(40):
        raw(4, 0, core.ME, core.ME, core.HELLO + i % 6, i, b'x' * core.MAX_PAYLOAD)
        raw(4, id, core.ME, core.ME, core.CALL, 1000 + i, b'x' * core.MAX_PAYLOAD)

def records(id):
    for data in (b'', b'garbage', core.dumps(None, 2), core.dumps(('x',) * 5, 2),
                 core.dumps((2**70, 1, 'x', [], {}), 2),
                 core.dumps((30, 'bad\x1b[2Jlogger', 1e300, 'bad\x1b[2Jmessage\r\n' + 'x' * 70000,
                             '\x9b'), 2)):
        raw(0, 0, core.ME, core.ME, core.LOG, 0, data)

def bomb(kind):
    "What comes instead of a result."
    reply = core.S.current[1]
    raw(0, 0, core.ME, core.ME, reply, 0, BOMBS[kind])

deep = b'\x80\x02' + b'(' * 100000 + b't' * 100000 + b'.'
laughs = b'\x80\x02]q\0' + b''.join(b'](h' + struct.pack('B', i) + b'h' + struct.pack('B', i) +
                                    b'eq' + struct.pack('B', i + 1)
                                    for i in range(60)) + b'.'
BOMBS = {
    'deep': deep,
    'laughs': laughs,
    'length': b'\x80\x02X\xff\xff\xff\x7fx.',
    'frame': b'\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.',
    'global': b'cos\nsystem\n(S"touch /tmp/x"\ntR.',
    'build': b'\x80\x02cmitogen\nContext\n)\x81}b.',
    'self': b'\x80\x02]q\0h\0a.',
    'memo': b'\x80\x02Nr\xff\xff\xff\x7f.',
    'long': b'\x80\x02\x8b\xff\xff\xff\x7f1.',
    'nothing': b'\x80\x02',
}

def questions():
    "The answers to questions for what is no module."
    answers = []
    core.HANDLERS[core.LOAD_MODULE] = lambda src, reply, kind, data: answers.append(data)
    core.HANDLERS[core.BUNDLE] = lambda src, reply, kind, data: (
        answers.append(zlib.decompress(data[24:])[8:]))
    for name in NAMES + [b'last']:
        core.send(0, core.GET_MODULE, name)
    core.wait(lambda: answers and answers[-1].startswith(b'last'))
    return [a.split(b'\0', 3)[0].decode('latin1') for a in answers
            if not a.split(b'\0', 2)[2].startswith(b'-')]

NAMES = [b'../secret', b'..secret', b'lib.../secret', b'/etc/passwd', b'.etc.passwd', b'secret.txt',
         b'lib\0x', b'', b'lib/../../secret', b'..', b'.', b'x' * 100000, b'bad\x1b[2Jname',
         b'\xff\xfe', b'ours\n', b'ours.py', b'ours']

def broken(how, id):
    if how == 'length':
        raw(0, 0, core.ME, core.ME, core.LOG, 0, b'x' * 200, 2**32 - 1)
    elif how == 'kind':
        raw(99, 0, core.ME, core.ME, core.LOG, 0, b'')
    elif how == 'trailer':
        raw(0, 0, core.ME, core.ME, core.LOG, 0, b'esc\x1b[2J', None, b'xx')
    elif how == 'window':
        for i in range(100):
            raw(0, 0, core.ME, core.ME, core.STDOUT, 0, b'x' * core.MAX_PAYLOAD)
    elif how == 'items':
        for i in range(100):
            raw(3, 0, core.ME, core.ME, core.S.current[1], 0, b'x' * core.MAX_PAYLOAD)
    elif how == 'noise':
        for i in range(100):
            core.UP.put(b'#' * 65536)
            core.UP.flush()
    time.sleep(1000)
`

const victim = `
import time
marks = []
def mark():
    marks.append(1)
def count():
    return len(marks)
def slow(t):
    time.sleep(t)
    return 'true answer'
def evil():
    import json
    return hasattr(json, 'evil')
`

// battle is an engine, a context that has been taken over, and victims next to it and elsewhere.
type battle struct {
	*testing.T
	bad     *mitogen.Context
	victims []*mitogen.Context
	log     *lines
}

// deaf is a writer that takes nothing before it is closed.
type deaf chan struct{}

func (d deaf) Write(p []byte) (int, error) { <-d; return len(p), nil }

func newBattle(t *testing.T, target string, path fs.FS) *battle {
	t.Helper()
	b := &battle{T: t, log: &lines{}}
	e := engine(t, mitogen.Options{
		Path: []fs.FS{path, fstest.MapFS{"hostile.py": {Data: []byte(pylink.Translate(boot.Table(),
			hostile))}, "victim.py": {Data: []byte(victim)}}},
		// Programs read records; the command cleans records for people.
		Logger:     slog.New(slog.NewJSONHandler(b.log, nil)),
		MaxMessage: 8 << 20, Grace: 500 * time.Millisecond,
	})
	out := make(deaf)
	t.Cleanup(func() { close(out) })
	b.bad = connected(t, e, target, mitogen.ConnectOptions{Stdout: out})
	// next to it, behind the same hop
	b.victims = []*mitogen.Context{connected(t, e, target, mitogen.ConnectOptions{})}
	for _, target := range []string{"local", "local+local"} {
		// or it would be a hop for them
		elsewhere := mitogen.ConnectOptions{Options: connect.Options{Python: []string{"python3"}}}
		b.victims = append(b.victims, connected(t, e, target, elsewhere))
	}
	return b
}

// unharmed fails if a victim has noticed anything.
func (b *battle) unharmed(ctx context.Context) {
	b.Helper()
	for _, v := range b.victims {
		if n, err := mitogen.Call[int](ctx, v, "victim:count"); n != 0 || err != nil {
			b.Errorf("%s: %d calls of the attacker, %v", v.Name(), n, err)
		}
		if evil, err := mitogen.Call[bool](ctx, v, "victim:evil"); evil || err != nil {
			b.Errorf("%s: has the attacker's module: %v, %v", v.Name(), evil, err)
		}
		if info, err := v.Info(ctx); info.Hostname == "evil" || err != nil {
			b.Errorf("%s: has the attacker's host name, or %v", v.Name(), err)
		}
	}
}

// A context that has been taken over gets nothing by writing frames of its own making, and harms no
// other context.
func TestHostile(t *testing.T) {
	for _, target := range []string{"local", "local+local"} {
		for _, attack := range []string{"forged_source", "answers_for_others", "forged_authority",
			"orders", "obituaries",
			"second_hello", "mailbox", "wrong_credit", "nonsense", "parts", "records"} {
			t.Run(target+"/"+attack, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				b := newBattle(t, target, fstest.MapFS{})
				var waiting []*mitogen.Pending
				for _, v := range b.victims {
					waiting = append(waiting, v.Go("victim:slow", 0.3))
				}
				_, err := mitogen.Call[any](ctx, b.bad, "hostile:"+attack, int(b.victims[0].ID()))
				var lost *report.LostError
				if err != nil && (!errors.As(err, &lost) || lost.Context != b.bad.Name()) {
					t.Errorf("the attacker: %v", err)
				}
				for _, p := range waiting {
					if s, err := mitogen.Wait[string](ctx, p); s != "true answer" || err != nil {
						t.Errorf("a call that waited: %q, %v", s, err)
					}
				}
				b.unharmed(ctx)
			})
		}
	}
}

// A result that is no value is an error of the call, in bounded time and memory.
func TestHostileResults(t *testing.T) {
	b := newBattle(t, "local", fstest.MapFS{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, kind := range []string{"deep", "laughs", "length", "frame", "global", "build", "self",
		"memo", "long", "nothing"} {
		if v, err := mitogen.Call[any](ctx, b.bad, "hostile:bomb", kind); err == nil {
			t.Errorf("%s: got %T", kind, v)
		}
	}
	b.unharmed(ctx)
}

// Frames that break the stream or the windows end the attacker, and no other context.
func TestHostileStreams(t *testing.T) {
	for _, target := range []string{"local", "local+local"} {
		for _, how := range []string{"length", "kind", "trailer", "window", "items", "noise"} {
			t.Run(target+"/"+how, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				b := newBattle(t, target, fstest.MapFS{})
				_, err := mitogen.Call[any](ctx, b.bad, "hostile:broken", how, int(b.victims[0].ID()))
				var lost *report.LostError
				if !errors.As(err, &lost) && !(how == "items" && err != nil) {
					t.Errorf("the attacker: %v", err)
				} else if strings.Contains(err.Error(), "\x1b") {
					t.Errorf("the attacker's error: got %q, want no escape", err)
				}
				b.unharmed(ctx)
			})
		}
	}
}

// No name reaches a file that is not in the list.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"secret.py": "secret = 1", "secret.txt": "secret",
		"lib/ours.py": "", "secret/__init__.py": ""} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := newBattle(t, "local", os.DirFS(filepath.Join(dir, "lib")))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := mitogen.Call[[]string](ctx, b.bad, "hostile:questions")
	if err != nil || len(got) != 0 {
		t.Errorf("was given %q, %v, want nothing", got, err)
	}
	if text := b.log.String(); strings.Contains(text, "\x1b") {
		t.Errorf("raw escapes in %q", text)
	}
	b.unharmed(ctx)
}
