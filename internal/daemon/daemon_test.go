package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/report"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// running starts a daemon in this process and returns how to reach it. wait returns its end.
func running(t testing.TB, o Options) (c *daemonclient.Client, wait func() error) {
	t.Helper()
	if o.Socket == "" {
		dir, err := os.MkdirTemp("", "mgo") // short enough for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		o.Socket = filepath.Join(dir, "own", "d.sock")
	}
	if o.Version == "" {
		o.Version = "1"
	}
	o.Logger = slog.New(slog.DiscardHandler)
	ready := make(chan struct{})
	o.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = Serve(ctx, o)
	}()
	select {
	case <-ready:
	case <-done:
		t.Fatal(err)
	}
	wait = func() error {
		select {
		case <-done:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("daemon goes on")
		}
	}
	t.Cleanup(func() {
		cancel()
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
	return &daemonclient.Client{Socket: o.Socket, Version: o.Version}, wait
}

const code = `
import os, sys, time
SEEN = []
def mark(word):
    SEEN.append(word)
    os.environ['MARK'] = word
    os.chdir('/')
    sys.modules['os'].marked = word
    return len(SEEN), os.getpid(), os.getppid()
def look():
    return len(SEEN), os.environ.get('MARK'), getattr(os, 'marked', None)
def pid():
    return os.getpid()
def user():
    import pwd
    return pwd.getpwuid(os.getuid())[0]
def variable(name):
    return os.environ.get(name)
def ppid():
    return os.getppid()
def hang():
    time.sleep(60)
def echo(text):
    return text
`

// client is an engine whose contexts come from a daemon.
func client(t testing.TB, c *daemonclient.Client) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Options{Dial: c.Dial, Logger: slog.New(slog.DiscardHandler),
		Modules: engine.ModuleOptions{
			Path: []fs.FS{fstest.MapFS{"workload.py": {Data: []byte(code)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func start(t testing.TB, e *engine.Engine, target string, o connect.Options) *engine.Context {
	t.Helper()
	c, err := e.Start(target, engine.ConnectOptions{Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func call(c *engine.Context, function string, into any, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, _, err := c.Calls.Go(ctx, "workload:"+function, args, nil, false).Result(ctx)
	if err != nil || into == nil {
		return err
	}
	return pickle.Unmarshal(b, pickle.Limits{}, into)
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

// It looks for half a minute at least: a machine that is shared may stand still for seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// Each client has a fork of one context, and sees nothing of other clients or of earlier ones.
func TestForks(t *testing.T) {
	d, _ := running(t, Options{})
	var parents []int
	for i := range 3 {
		e := client(t, d)
		c := start(t, e, "local", connect.Options{})
		var marked []int
		if err := call(c, "mark", &marked, fmt.Sprint(i)); err != nil || marked[0] != 1 {
			t.Fatal(marked, err)
		}
		parents = append(parents, marked[2])
		other := start(t, e, "local", connect.Options{})
		var seen []any
		if err := call(other, "look", &seen); err != nil ||
			!reflect.DeepEqual(seen, []any{int64(0), nil, nil}) {
			t.Errorf("a new client's fork: got %v, %v; want [0 nil nil]", seen, err)
		}
		e.Close()
		eventually(t, "the fork ends", func() bool { return gone(marked[1]) })
	}
	if parents[0] != parents[1] || parents[1] != parents[2] {
		t.Errorf("forks of %v", parents)
	}
	eventually(t, "the daemon sees that its clients have gone", func() bool {
		_, all, err := d.List()
		return err != nil || len(all) == 1 && all[0].Clients == 0
	})
	pid, all, err := d.List()
	if err != nil || pid != os.Getpid() || len(all) != 1 || all[0].Name != "local" ||
		all[0].PID != parents[0] || all[0].Sessions != 6 || all[0].Clients != 0 || all[0].RTT == 0 ||
		all[0].Memory < 1<<20 {
		t.Errorf("list: got pid %d, contexts %+v, %v; want %d, context local of 6 sessions",
			pid, all, err, os.Getpid())
	}
	if err := d.Disconnect("local"); err != nil {
		t.Error(err)
	}
	eventually(t, "the context ends", func() bool { return gone(parents[0]) })
	if err := d.Disconnect("local"); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Error(err)
	}
}

// Trees grow from a client's fork as from any context.
func TestTree(t *testing.T) {
	d, _ := running(t, Options{})
	e := client(t, d)
	c := start(t, e, "local+local", connect.Options{})
	deep, err := e.Start("local", engine.ConnectOptions{Via: c})
	if err != nil {
		t.Fatal(err)
	}
	var a, b int
	if err := call(deep, "ppid", &a); err != nil {
		t.Fatal(err)
	}
	if err := call(c, "pid", &b); err != nil || a != b {
		t.Error(a, b, err)
	}
	text := strings.Repeat("x", 3<<20) // more than a window, both ways
	var back string
	if err := call(deep, "echo", &back, text); err != nil || back != text {
		t.Error(len(back), err)
	}
}

// What doesn't connect fails as it does without a daemon.
func TestFailures(t *testing.T) {
	d, _ := running(t, Options{})
	e := client(t, d)
	err := call(start(t, e, "local+sudo:mito-nobody", connect.Options{}), "pid", nil)
	var failed *connect.Error
	if !errors.Is(err, connect.ErrUnknownUser) || !errors.As(err, &failed) ||
		failed.Hop != "local+sudo:mito-nobody" || failed.Phase != connect.PhaseLogin ||
		failed.Text == "" {
		t.Errorf("unknown user: got %v (%+v), want ErrUnknownUser at login of the sudo hop", err, failed)
	}
	c := start(t, e, "local", connect.Options{})
	var pid int
	if err := call(c, "pid", &pid); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	var lost *report.LostError
	if err := call(c, "hang", nil); !errors.As(err, &lost) {
		t.Error(err)
	}
	nobody := &daemonclient.Client{Socket: d.Socket + ".no", Version: "1"}
	if err := call(start(t, client(t, nobody), "local", connect.Options{}), "pid",
		nil); !errors.Is(err, connect.ErrDaemon) {
		t.Error(err)
	}
}

// Questions go to a client that connects that way.
func TestQuestions(t *testing.T) {
	l := lab.Need(t)
	d, _ := running(t, Options{})
	asked := make(chan connect.Prompt, 10)
	d.Prompt = func(_ context.Context, p connect.Prompt) (string, error) {
		asked <- p
		return l.Password, nil
	}
	o := connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config,
		Args: []string{"-o", "PubkeyAuthentication=no"}}}
	if err := call(start(t, client(t, d), lab.Pass, o), "pid", nil); err != nil {
		t.Fatal(err)
	}
	if p := <-asked; p.Hop != lab.Pass || p.Kind != connect.PromptPassword {
		t.Errorf("the prompt: got %+v, want a password's for %s", p, lab.Pass)
	}
	d.Prompt = nil
	if err := call(start(t, client(t, d), lab.Free, o), "pid",
		nil); !errors.Is(err, connect.ErrPasswordRequired) && !errors.Is(err, connect.ErrAuth) {
		t.Error(err)
	}
}

// Many clients, some of which go away in the middle of a call, take only their own calls with them.
func TestManyClients(t *testing.T) {
	d, _ := running(t, Options{})
	var all sync.WaitGroup
	var mu sync.Mutex
	var pids []int
	for i := range 50 {
		all.Go(func() {
			e := client(t, d)
			c := start(t, e, "local", connect.Options{})
			var pid int
			if err := call(c, "pid", &pid); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			pids = append(pids, pid)
			mu.Unlock()
			if i%2 == 0 {
				time.AfterFunc(rand.N(50*time.Millisecond), func() { e.Close() })
				if err := call(c, "hang", nil); err == nil {
					t.Error("a call of a closed engine came back")
				}
				return
			}
			for range 20 {
				var back string
				if err := call(c, "echo", &back, "x"); err != nil || back != "x" {
					t.Error(back, err)
				}
			}
			e.Close()
		})
	}
	all.Wait()
	for _, pid := range pids {
		eventually(t, "forks end", func() bool { return gone(pid) })
	}
	if _, contexts, err := d.List(); err != nil || len(contexts) != 1 || contexts[0].Sessions != 50 {
		t.Errorf("list after the forks: got %+v, %v; want one context of 50 sessions", contexts, err)
	}
}

// Idle contexts end, then the daemon.
func TestIdle(t *testing.T) {
	d, wait := running(t, Options{Idle: 3 * time.Second})
	e := client(t, d)
	c := start(t, e, "local", connect.Options{})
	var parent int
	if err := call(c, "ppid", &parent); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	if gone(parent) {
		t.Error("a context that is in use has ended")
	}
	e.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
	if !gone(parent) {
		t.Error("the context stays")
	}
	if _, err := os.Stat(d.Socket); err == nil {
		t.Error("the socket stays")
	}
}

// A client of another version has the old daemon end when its last client has, and gets a new one
// at once.
func TestUpgrade(t *testing.T) {
	old, wait := running(t, Options{})
	e := client(t, old)
	c := start(t, e, "local", connect.Options{})
	if err := call(c, "pid", nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// The new one's command can only be a test's: it waits for the socket to be free.
	go func() {
		for {
			err := Serve(ctx, Options{Socket: old.Socket, Version: "2",
				Logger: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, ErrRunning) {
				done <- err
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	next := &daemonclient.Client{Socket: old.Socket, Version: "2", Command: []string{"true"}}
	if err := call(start(t, client(t, next), "local", connect.Options{}), "pid", nil); err != nil {
		t.Error(err)
	}
	if err := call(c, "pid", nil); err != nil {
		t.Errorf("the old one's client: %v", err)
	}
	e.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Only one daemon has a socket; what a killed one left is no obstacle.
func TestOneDaemon(t *testing.T) {
	d, wait := running(t, Options{})
	if err := Serve(t.Context(), Options{Socket: d.Socket}); !errors.Is(err, ErrRunning) {
		t.Error(err)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	eventually(t, "the socket goes", func() bool { _, err := os.Stat(d.Socket); return err != nil })
	if err := wait(); err != nil { // it has the lock until then
		t.Error(err)
	}
	l, err := net.Listen("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	running(t, Options{Socket: d.Socket})
}

// Neither the directory nor the socket lets another user in.
func TestOtherUsers(t *testing.T) {
	lab.Need(t)
	d, _ := running(t, Options{})
	dir := filepath.Dir(d.Socket)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st.Mode(), err)
	}
	probe := `import socket,sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b'{"op":"list","version":"1"}\n')
    print(len(s.recv(100)))
except OSError as e: print(type(e).__name__)`
	try := func() string {
		argv := lab.As(lab.Free, "/usr/bin/python3", "-c", probe, d.Socket)
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("dial as another user: %v; output: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := try(); got != "PermissionError" {
		t.Errorf("with the directory's mode: %s", got)
	}
	// as if its owner had opened it up
	for _, name := range []string{filepath.Dir(dir), dir, d.Socket} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if got := try(); got != "0" && got != "ConnectionResetError" && got != "BrokenPipeError" {
		t.Errorf("with an open directory: %s", got)
	}
	if err := Serve(t.Context(), Options{Socket: filepath.Join(dir, "other.sock")}); err == nil ||
		!strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
	var place *peer.PlaceError
	if _, _, err := d.List(); !errors.As(err, &place) { // another could listen there by now
		t.Errorf("a client of an open directory: got %v, want a PlaceError", err)
	}
	for _, name := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// Bad input ends a connection, not the daemon.
func TestBadInput(t *testing.T) {
	d, _ := running(t, Options{})
	for _, text := range []string{"", "x", "{}\n", "[]\n", `{"op":"nonsense","version":"1"}` + "\n",
		`{"op":"open","version":"1","target":"a+"}` + "\n",
		`{"op":"open","version":"1","target":"local"}` + "\n" + `{"size":-1}` + "\n",
		`{"op":"open","version":"1","target":"local"}` + "\n" + `{"size":99999999}` + "\n",
		strings.Repeat("x", 2<<20), `{"op":"open","version":"1","target":"local"}` + "\n" +
			`{"answer":"x"}` + "\n" + `{"size":4}` + "\nabc"} {
		conn, err := net.Dial("unix", d.Socket)
		if err != nil {
			t.Fatal(err)
		}
		if text == "{}\n" { // as a client of another version would
			conn.Close()
			continue
		}
		io.WriteString(conn, text)
		conn.(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	if _, _, err := d.List(); err != nil {
		t.Error(err)
	}
}

// If the daemon ends while playbooks run, it leaves none of their temporary directories.
func TestTidy(t *testing.T) {
	c, wait := running(t, Options{Version: "1"})
	parent := filepath.Join(t.TempDir(), "tmp")
	const many = 40
	for i := range many {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		base := fmt.Sprintf("ansible-tmp-1.5-%d-1", i)
		at := filepath.Join(parent, base)
		line := "( umask 77 && mkdir -p \"` echo " + parent + " `\"&& mkdir \"` echo " + at +
			" `\" && echo " + base + "=\"` echo " + at + " `\" )"
		ch := jsonline.New(conn)
		for _, m := range []jsonline.Message{
			&daemonclient.Message{Op: "ansible", Protocol: ansible.Protocol, Target: "local", Host: "here"},
			&ansible.Message{Do: "exec", Command: line, Inner: &line, EOF: true},
			&ansible.Message{Do: "exec", Command: "true", EOF: true}, // until it is there
		} {
			if err := ch.Write(m, nil); err != nil {
				t.Fatal(err)
			}
		}
		for ends := 0; ends < 2; {
			m := &ansible.Message{}
			if _, err := ch.Read(m, nil); err != nil {
				t.Fatal(err)
			}
			if m.End != nil {
				ends++
			}
		}
	}
	if all, _ := os.ReadDir(parent); len(all) != many {
		t.Fatalf("%d directories", len(all))
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if all, _ := os.ReadDir(parent); len(all) > 0 {
		t.Errorf("%d directories are left", len(all))
	}
}

// What a client writes to a context that fails doesn't hide why it fails.
func TestWritesKeepTheFailure(t *testing.T) {
	d, _ := running(t, Options{})
	for range 30 {
		conn, err := d.Dial(t.Context(), "exec:/nowhere/at-all", connect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for b := make([]byte, 100); ; {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
		_, err = io.ReadAll(conn)
		if failed := (*connect.Error)(nil); !errors.As(err, &failed) {
			t.Errorf("got %v, want the error of its start", err)
		}
		conn.Close()
	}
}
