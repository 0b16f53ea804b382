package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"io/fs"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/report"
	"golang.org/x/sys/unix"
)

// beside are the Python modules of these tests.
var beside = fstest.MapFS{"beside.py": {Data: []byte(`
def relay(context, path):
    return context.call('go:collect', path=path)

def refuse(context):
    try:
        context.call('go:collect', {})
    except Exception as e:
        return str(e)

def run(source):
    exec(source, {})

def left(places):
    import os
    found = [n for d in places if os.path.isdir(d) for n in os.listdir(d)]
    return [n for n in found if n.startswith('.mitogen-%d-' % os.getpid())]
`)}}

// gone waits until no process has a number.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d: it runs, want that it has ended", pid)
		}
	}
}

func TestFuncBesidePython(t *testing.T) {
	for _, py := range testpython.Sample(t.Name()) {
		t.Run(py.Name(), func(t *testing.T) {
			eng := newEngine(t, mitogen.Options{})
			c := connected(t, eng, mitogen.ConnectOptions{Options: connect.Options{Python: []string{
				py.Path}}})
			facts, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"})
			if err != nil || facts.Seen.Path != "/x" {
				t.Fatalf("collect: got %+v, %v", facts, err)
			}
			again, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"})
			if err != nil || again.PID != facts.PID {
				t.Errorf("second call: got process %d, %v, want %d", again.PID, err, facts.PID)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			gone(t, facts.PID)
			_, err = goCollect.Call(limited(t), c, goQuery{Path: "/x"})
			if !errors.Is(err, mitogen.ErrClosed) {
				t.Errorf("after Close: got %v", err)
			}
		})
	}
}

// Two hops down, several calls at once start one program; after its loss the next call starts
// another, without another transfer.
func TestFuncBesideHop(t *testing.T) {
	var out printed
	eng := newEngine(t, mitogen.Options{})
	hop := connected(t, eng, mitogen.ConnectOptions{})
	at := func() *mitogen.Context {
		t.Helper()
		c, err := eng.Connect(limited(t), "local", mitogen.ConnectOptions{Via: hop, Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := at()
	pids := make(chan int, 5)
	var all sync.WaitGroup
	for range cap(pids) {
		all.Go(func() {
			facts, err := goCollect.Call(limited(t), first, goQuery{Path: "/x"})
			if err != nil {
				t.Error(err)
			}
			pids <- facts.PID
		})
	}
	all.Wait()
	pid := <-pids
	for range cap(pids) - 1 {
		if other := <-pids; other != pid {
			t.Errorf("calls at once: got processes %d and %d, want one", pid, other)
		}
	}
	sent := hop.Stats().BytesDown
	_, err := goEnd.Call(limited(t), first, "exit")
	if lost := (*report.LostError)(nil); !errors.As(err, &lost) || lost.Hop != "local+local+go" {
		t.Errorf("a program that ends: got %v", err)
	}
	if _, err := goOut.Call(limited(t), first, 3); err != nil || out.String() != "xxx" {
		t.Errorf("after its loss: got %q, %v", out.String(), err)
	}
	if _, err := goCollect.Call(limited(t), at(), goQuery{Path: "/x"}); err != nil {
		t.Errorf("a second context behind the hop: %v", err)
	}
	if more := hop.Stats().BytesDown - sent; sent < 1<<20 || more > sent/20 {
		t.Errorf("bytes to the hop: got %d for two more starts behind %d, want that it keeps the program",
			more, sent)
	}
}

// A context of its own beside a Python context; Python code there calls Go once it may.
func TestPythonCallsGo(t *testing.T) {
	eng := newEngine(t, mitogen.Options{Path: []fs.FS{beside}})
	py := connected(t, eng, mitogen.ConnectOptions{})
	c, err := eng.ConnectGo(limited(t), mitogen.ConnectOptions{Via: py})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "local+go" {
		t.Errorf("name: got %s, want local+go", c.Name())
	}
	if _, err := mitogen.Call[any](limited(t), py, "beside:relay", c, "/a"); err == nil {
		t.Error("call that was not allowed: got no error")
	}
	if err := eng.Allow(py, c); err != nil {
		t.Fatal(err)
	}
	facts, err := mitogen.Call[goFacts](limited(t), py, "beside:relay", c, "/a")
	info, _ := c.Info(limited(t))
	if err != nil || facts.Seen.Path != "/a" || facts.PID != info.PID {
		t.Errorf("Python calls Go: got %+v, %v", facts, err)
	}
	said, err := mitogen.Call[string](limited(t), py, "beside:refuse", c)
	if err != nil || !strings.Contains(said, "no path") {
		t.Errorf("error of Go in Python: got %q, %v", said, err)
	}
	_, err = eng.ConnectGo(limited(t), mitogen.ConnectOptions{Via: c})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("beside a Go context: got %v", err)
	}
	status, err := c.Exec(limited(t), mitogen.Command{Args: []string{"sh", "-c", "exit 3"}})
	if err != nil || status != 3 {
		t.Errorf("Exec in a Go context: got %v, %v, want exit status 3", status, err)
	}
	if _, err := mitogen.Call[any](limited(t), c, "go:echo", 1); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// Where a file can't be in memory, it has no name; where that can't be, it goes at once; and if
// there is no place at all, the error says which were tried.
func TestFuncPlaces(t *testing.T) {
	places := []string{"/dev/shm", "/tmp", "/var/tmp", t.TempDir(), t.TempDir()}
	memory := "import os\ndef no(*a): raise OSError('none today')\nos.memfd_create = no\n"
	nameless := memory + "os.O_TMPFILE = os.O_CREAT | os.O_EXCL\n"
	nowhere := nameless + "mkdir = os.mkdir\n" +
		"def deny(path, *a):\n  if 'mitogen' in path: raise OSError('none here')\n" +
		"  mkdir(path, *a)\nos.mkdir = deny\n"
	closed := "def only(make):\n  def made(path, how, *mode):\n" +
		"    if '.mitogen-' in path and (mode or (how,))[0] & 63: raise OSError('open to others')\n" +
		"    return make(path, how, *mode)\n  return made\n" +
		"os.mkdir, os.open = only(os.mkdir), only(os.open)\n"
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	only := fmt.Sprintf("os.environ['TMPDIR'] = %q\nos.path.isdir = lambda d: d == %[1]q\n", shared)
	for what, test := range map[string]struct{ source, executable, fails string }{
		"in memory":     {"", "/memfd:mitogen", ""},
		"without name":  {memory, " (deleted)", ""},
		"named":         {nameless + closed, "/.mitogen-", ""},
		"no place":      {nowhere, "", "/dev/shm: none here"},
		"others' place": {nameless + only, "", shared + ": others may write there"},
	} {
		t.Run(what, func(t *testing.T) {
			eng := newEngine(t, mitogen.Options{Path: []fs.FS{beside}})
			c := connected(t, eng, mitogen.ConnectOptions{})
			if _, err := mitogen.Call[any](limited(t), c, "beside:run", test.source); err != nil {
				t.Fatal(err)
			}
			facts, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"})
			left, _ := mitogen.Call[[]string](limited(t), c, "beside:left", places)
			if len(left) > 0 {
				t.Errorf("files: got %v left, want none", left)
			}
			if test.fails != "" {
				if !errors.Is(err, mitogen.ErrNoBinary) || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, want %s", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", facts.PID))
			if err != nil || !strings.Contains(exe, test.executable) {
				t.Errorf("executable: got %s, %v, want %s", exe, err, test.executable)
			}
		})
	}
}

// However a program's parent ends, the program does too.
func TestFuncEndsWithItsParent(t *testing.T) {
	eng := newEngine(t, mitogen.Options{Path: []fs.FS{beside}})
	for what, end := range map[string]func(py, program int){
		"killed": func(py, _ int) { syscall.Kill(py, syscall.SIGKILL) },
		"killed, program stopped": func(py, program int) {
			syscall.Kill(program, syscall.SIGSTOP)
			syscall.Kill(py, syscall.SIGKILL)
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := connected(t, eng, mitogen.ConnectOptions{})
			facts, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"})
			if err != nil {
				t.Fatal(err)
			}
			child, err := goSleeper.Call(limited(t), c, struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			info, _ := c.Info(limited(t))
			end(info.PID, facts.PID)
			gone(t, facts.PID)
			gone(t, child)
		})
	}
}

// goSleeper starts a program, and returns its number.
var goSleeper = mitogen.Func("sleeper", func(context.Context, struct{}) (int, error) {
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
	if err != nil {
		return 0, err
	}
	go p.Wait()
	return p.Pid, nil
})

// The start of a program is given up with the ctx that it is for.
func TestFuncStartGivenUp(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	c := connected(t, eng, mitogen.ConnectOptions{})
	ctx, cancel := context.WithCancel(limited(t))
	cancel()
	if _, err := goCollect.Call(ctx, c, goQuery{Path: "/x"}); !errors.Is(err, mitogen.ErrCancelled) {
		t.Errorf("got %v, want %v", err, mitogen.ErrCancelled)
	}
	if _, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"}); err != nil {
		t.Errorf("another call: %v", err)
	}
}

// liar is Python code that answers the engine's question for a program with what SAID has.
const liar = `
import _mitogen as core
class Liar:
    eof = 0
    def __init__(self, key, spec):
        for words in SAID:
            if not isinstance(words, bytes):
                words = core.dumps(words, 2)
            core.send(key[0], key[1], words, 3)
    def put(self, data):
        pass
    def flush(self):
        pass
    def end(self, patience=0):
        pass
core.SERVICES['go'] = Liar
`

// A context that lies about programs harms only the call that is for it.
func TestFuncLiar(t *testing.T) {
	eng := newEngine(t, mitogen.Options{Path: []fs.FS{beside}})
	c := connected(t, eng, mitogen.ConnectOptions{})
	if _, err := goEnd.Call(limited(t), c, "exit"); err == nil { // and the service is there
		t.Fatal("a program that ends: got no error")
	}
	for said, want := range map[string]string{
		`[('platform', 'Linux', '` + unameMachine(t) + `')] * 2`: "asks twice",
		`[('want',)]`:                           "nothing that it was offered",
		`[('platform', 'Linux', 'vax')]`:        "its platform is Linux vax",
		`[('platform', '\x1b[2J', 'x' * 9999)]`: "its platform is",
		`[('failed', '\x1b[2J')]`:               `\x1b[2J`,
		`[('nonsense', 'a', 'b')]`:              "no binary",
		`[(1, 2)]`:                              "no binary",
		`[()]`:                                  "can't be read",
		`[('a', 'b', 'c', 'd')]`:                "can't be read",
		`['text']`:                              "can't be read",
		`[b'no pickle']`:                        "can't be read",
		`[('ready', '/nonexistent', '')]`:       "/nonexistent",
		`[('ready', '/bin/false', '')]`:         "connect local+go",
		`[('ready', '', '')]`:                   "connect local+go",
	} {
		source := pylink.Translate(boot.Table(), "SAID = "+said+liar)
		if _, err := mitogen.Call[any](limited(t), c, "beside:run", source); err != nil {
			t.Fatal(err)
		}
		_, err := goCollect.Call(limited(t), c, goQuery{Path: "/x"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("it says %s: got %v, want %s", said, err, want)
		}
	}
	if _, err := mitogen.Call[any](limited(t), c, "beside:left", []string{}); err != nil {
		t.Errorf("after all: %v", err)
	}
}

// unameMachine returns the name that uname has for this machine.
func unameMachine(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// Programs, connections and copies work in a Go context that was sent to another one's machine, and
// is executed without a name.
func TestServicesBeside(t *testing.T) {
	eng := newEngine(t, mitogen.Options{})
	via := connected(t, eng, mitogen.ConnectOptions{})
	c, err := eng.ConnectGo(limited(t), mitogen.ConnectOptions{Via: via})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := c.Command("tr", "a-z", "A-Z")
	cmd.Stdin, cmd.Stdout = strings.NewReader("said"), &out
	if err := cmd.Run(limited(t)); err != nil || out.String() != "SAID" {
		t.Errorf("got %q, %v, want SAID", &out, err)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"src/a": "one"})
	copied(t, c, mitogen.CopyOptions{}, dir, dir+"/src")
	for _, way := range []string{"put", "get"} {
		if b, err := os.ReadFile(dir + "/" + way + "/a"); string(b) != "one" {
			t.Errorf("%s: got %q, %v, want one", way, b, err)
		}
	}
	l, err := c.Listen(limited(t), "unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	go acceptAll(l, echo)
	conn, err := c.Dial(limited(t), "unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	exchanged(t, conn, []byte("through both"))
	_, err = c.SyncPut(limited(t), dir+"/there", dir+"/src", mitogen.SyncOptions{})
	if err == nil || !strings.Contains(err.Error(), "has no module") {
		t.Errorf("sync: got %v, want that there is no module for it", err)
	}
	c.Close()
	<-c.Done()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(dir + "/s"); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the socket is left after the context's end")
		}
	}
}
