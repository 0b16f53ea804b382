package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/daemonclient"
)

const clientScript = `
import os, sys, time
sys.path.insert(0, sys.argv[2])
import mitogen_client
tmp = sys.argv[3]
open(os.path.join(tmp, 'mine.py'), 'w').write('''
import logging, os, sys, time
def add(a, b=1): return a + b
def count(n):
    for i in range(n): yield i
def say(text):
    print(text); sys.stderr.write('oops\\n'); logging.getLogger('mine').warning('careful')
    return {'bytes': b'\\xff', 'tuple': (1, None)}
def fail(): raise KeyError('gone')
def mark(): os.environ['MARK'] = '1'
def marked(): return os.environ.get('MARK')
def hang(file):
    open(file, 'w').write(str(os.getpid())); time.sleep(60)
''')
client = mitogen_client.Client(sys.argv[1], command='/no/such/program')
t = client.target('local', path=[tmp], options={'python': [sys.executable]})
t.connect()
print(t.call('mine:add', 2, b=3), t.call('mine:add', 2), list(t.stream('mine:count', 3)),
      t.call('mine:count', 0))
logs = []
t.log = logs.append
print(t.call('mine:say', 'hello'), logs)
for bad in ('mine:fail', 'mine:nothing', 'nomodule:f', 'x'):
    try:
        t.call(bad)
    except mitogen_client.Error as e:
        print(bad, e, hasattr(e, 'traceback') and 'in fail' in e.traceback)
t.call('mine:mark')
print(t.call('mine:marked'))
script = os.path.join(tmp, 'script.py')
open(script, 'w').write('import sys, mine\n'
                        'print(sys.argv[1:], mine.add(1), len(sys.stdin.read()))\nsys.exit(3)\n')
print(t.run(script, 'a', 'b', stdin=b'x' * 200000))
big = os.urandom(3000000)
open(os.path.join(tmp, 'big'), 'wb').write(big)
t.put(os.path.join(tmp, 'big'), os.path.join(tmp, 'there'), mode=0o640)
t.get(os.path.join(tmp, 'there'), os.path.join(tmp, 'back'))
print(open(os.path.join(tmp, 'back'), 'rb').read() == big,
      oct(os.stat(os.path.join(tmp, 'there')).st_mode))
t.put(script, os.path.join(tmp, 'there'))
print(oct(os.stat(os.path.join(tmp, 'there')).st_mode),
      [n for n in os.listdir(tmp) if 'mitogen-' in n])
for f in (lambda: t.put(script, '/no/such/dir/x'), lambda: t.get('/no/such/file', os.devnull),
          lambda: client.target('local+nothing:x').connect(),
          lambda: client.target('local+sudo:mito-nobody').connect()):
    try:
        f()
    except mitogen_client.Error as e:
        print(e)
print([c['name'] for c in client.contexts()])
client.disconnect('local')
for i in range(250):    # the hop before what failed ends by itself
    if not client.contexts():
        break
    time.sleep(.02)
print(client.contexts())
`

const clientOutput = `5 3 [0, 1, 2] None
hello
{'bytes': {'$bytes': '/w=='}, 'tuple': [1, None]} ` +
	`[{'level': 'WARN', 'logger': 'mine', 'message': 'careful'}]
mine:fail ('builtins.KeyError', "'gone'") True
mine:nothing ('builtins.AttributeError', 'module mine has no function nothing') False
nomodule:f ('builtins.ModuleNotFoundError', "No module named 'nomodule': ` +
	`not in the search path of the engine either") False
x ('error', 'call "x": not module:function') False
None
['a', 'b'] 2 200000
3
True 0o100640
0o100640 []
('error', 'put /no/such/dir/x: No such file or directory')
('error', 'get /no/such/file: No such file or directory')
`

// The client in Python does all that the protocol has.
func TestPythonClient(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	d, _ := running(t, Options{})
	text, err := os.ReadFile("../../examples/mitogen_client.py")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 160 {
		t.Errorf("the client has %d lines, which is more than 160", n)
	}
	cmd := exec.Command(python, "-c", clientScript, d.Socket, "../../examples", t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run the client in Python: %v; output:\n%s", err, out)
	}
	got := strings.Replace(string(out), "oops\n", "", 1)
	if !strings.HasPrefix(got, clientOutput) {
		t.Errorf("got\n%s\nwant\n%s", got, clientOutput)
	}
	rest := strings.TrimPrefix(got, clientOutput)
	for _, want := range []string{`unknown method "nothing"`, "unknown user", "['local'", "\n[]\n"} {
		if !strings.Contains(rest, want) {
			t.Errorf("no %q in\n%s", want, rest)
		}
	}
}

// A client that dies takes its call with it, not the connection.
func TestWorkEndsWithItsClient(t *testing.T) {
	d, _ := running(t, Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	if err := os.WriteFile(filepath.Join(dir, "mine.py"),
		[]byte("import os, time\ndef hang(file):\n    open(file, 'w').write(str(os.getpid())); "+
			"time.sleep(1000)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte(`{"op":"call","target":"local","path":["` + dir +
		`"],"function":"mine:hang","args":["` + file + `"]}` + "\n"))
	var pid int
	eventually(t, "the call runs", func() bool {
		b, _ := os.ReadFile(file)
		for _, c := range b {
			pid = 10*pid + int(c-'0')
		}
		return pid != 0
	})
	conn.Close()
	eventually(t, "its process ends", func() bool { return gone(pid) })
	if _, all, err := d.List(); err != nil || len(all) != 1 {
		t.Errorf("list: got %+v, %v; want one context", all, err)
	}
}

// A search path's relative names begin in the client's directory, never in the daemon's.
func TestPlaceOfSearchPath(t *testing.T) {
	for _, c := range []struct {
		from *daemonclient.Origin
		name string
		want string // "": refused
	}{
		{nil, "/lib", "/lib"},
		{&daemonclient.Origin{Dir: "/home/a"}, "/lib", "/lib"},
		{&daemonclient.Origin{Dir: "/home/a"}, "lib", "/home/a/lib"},
		{&daemonclient.Origin{Dir: "/home/a"}, ".", "/home/a"},
		{nil, "lib", ""},
		{nil, ".", ""},
		{&daemonclient.Origin{}, "lib", ""},
		{&daemonclient.Origin{Dir: "home"}, "lib", ""},
	} {
		got, err := (&daemonclient.Message{Origin: c.from}).Locate(c.name)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s from %+v: got %q, %v, want %q", c.name, c.from, got, err, c.want)
		}
	}
}
