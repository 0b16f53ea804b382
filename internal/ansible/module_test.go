package ansible

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// basic stands for Ansible's module_utils.basic, so that modules run without Ansible.
const basic = `
import subprocess
import sys
_ANSIBLE_ARGS = None
LOADED = []
def args():
    return _ANSIBLE_ARGS.decode('utf-8')
`

// module is a module's zip file, with text as the module.
func (s *store) module(t *testing.T, text string, others ...string) *archive {
	t.Helper()
	files := map[string]string{"ansible/__init__.py": "", "ansible/modules/__init__.py": "",
		"ansible/module_utils/__init__.py": "", "ansible/module_utils/basic.py": basic,
		"ansible/modules/x.py": text}
	for i := 0; i < len(others); i += 2 {
		files[others[i]] = others[i+1]
	}
	a, err := s.open(zippedFiles(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bench is a session for target "local" with one interpreter.
type bench struct {
	t      *testing.T
	s      *Server
	python string
	way    Way
}

func newBench(t *testing.T, python string) *bench {
	t.Helper()
	eng, err := engine.New(engine.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close() })
	return &bench{t: t, s: NewServer(eng), python: python,
		way: Way{{Target: "local", Options: connect.Options{Python: []string{python}}}}}
}

// dial starts a session, as a plugin does.
func (b *bench) dial() (*jsonline.Conn, net.Conn) {
	b.t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.s.Serve(context.Background(), jsonline.New(theirs), "local", b.way)
		theirs.Close()
	}()
	b.t.Cleanup(func() { ours.Close(); <-done })
	return jsonline.New(ours), ours
}

// ask sends a request and data, and returns output and end.
func (b *bench) ask(c *jsonline.Conn, m *Message, data ...string) (stdout, stderr string,
	end *End) {
	b.t.Helper()
	m.EOF = len(data) == 0
	sent := make(chan error, 1)
	go func() {
		err := c.Write(m, nil)
		for i, d := range data {
			if err == nil {
				err = c.Write(&Message{EOF: i == len(data)-1}, []byte(d))
			}
		}
		sent <- err
	}()
	for {
		r := &Message{}
		d, err := c.Read(r, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		switch r.Stream {
		case "stdout":
			stdout += string(d)
		case "stderr":
			stderr += string(d)
		}
		if r.End != nil {
			if err := <-sent; err != nil {
				b.t.Fatal(err)
			}
			return stdout, stderr, r.End
		}
	}
}

// run runs a module, without a wrapper.
func (b *bench) run(a *archive, params string, env map[string]any) (stdout, stderr string,
	status int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	h, err := (&Session{s: b.s, way: b.way}).host()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.done()
	h.mu.Lock()
	packs, err := h.learn(ctx, b.s, a)
	h.mu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	l, err := (&Session{s: b.s}).leaf(ctx, h, &Message{}, b.python, packs)
	defer h.release(l)
	if err != nil {
		b.t.Fatal(err)
	}
	if env == nil {
		env = map[string]any{}
	}
	spec := map[string]any{"op": "module", "module": "ansible.modules.x", "params": []byte(params),
		"profile": "", "loader": false, "nofile": 0, "env": env, "python": b.python, "as_is": true,
		"ends": false, "temps": []any{}, "passed": map[string]any{}}
	h.mu.Lock()
	err = h.teach(ctx, l, a, packs, spec)
	if err != nil {
		b.t.Fatal(err)
	}
	tun, err := l.ctx.Tunnels.Serve(ctx, service, spec)
	h.mu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	o, err := collect(tun, func(stream byte, data []byte) error {
		if stream == '1' {
			stdout += string(data)
		} else {
			stderr += string(data)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return stdout, stderr, o.status
}

// twice prints how often a program is there, and isn't when it is asked again within a millisecond.
const twice = `
import subprocess, sys, time
n = 0
for i in range(50):
    p = subprocess.Popen([sys.executable, '-S', '-c', ''])
    code = None
    while code is None:
        time.sleep(.002)
        began = time.monotonic()
        code = p.poll()
        while time.monotonic() - began < .0005:
            pass
        if code is None and p.poll() is not None and time.monotonic() - began < .001:
            n += 1
    assert p.poll() == p.wait() == code == 0
sys.stdout.write(str(n))
sys.exit(0)
`

// Modules run as their own wrapper runs them, each in a process that sees nothing of the rest. The
// test uses a sample of interpreters, by package testpython; `make soak` uses all.
func TestModules(t *testing.T) {
	for _, i := range testpython.Sample(t.Name()) {
		t.Run(i.Name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, i.Path)
			st := b.s.store
			mark := st.module(t, `
import os, sys
from ansible.module_utils import basic
basic.LOADED.append(1)
os.environ['MARK'] = 'x'
sys.stdout.write('%s %s %s %s %s %s' % (
    len(basic.LOADED), __name__, basic.args(), os.environ.get('FOO'), repr(sys.stdin.read()),
    bool([f for f in sys.meta_path if hasattr(f, 'refuse')])))
sys.stderr.write('to stderr')
os.write(1, 'raw'.encode())
if sys.exc_info()[0]:
    sys.exit(9)
sys.exit(3)
`)
			for range 2 {
				out, errs, status := b.run(mark, `{"a": 1}`, map[string]any{"FOO": "bar"})
				if !strings.Contains(out, "1 __main__ {\"a\": 1} bar '' False") ||
					!strings.Contains(out, "raw") || errs != "to stderr" || status != 3 {
					t.Errorf("run: got stdout %q, stderr %q, status %d; want raw, \"to stderr\", 3",
						out, errs, status)
				}
			}
			out, errs, status := b.run(st.module(t,
				"import ansible.module_utils.basic as b, os\nprint(len(b.LOADED), os.environ.get('MARK'))\n"+
					"raise SystemExit\n"), "", nil)
			if strings.Trim(out, "()\n") != "0 None" && strings.Trim(out, "()\n") != "0, None" ||
				errs != "" || status != 0 {
				t.Errorf("after others: %q, %q, %d", out, errs, status)
			}
			out, errs, status = b.run(st.module(t,
				"import atexit, sys\natexit.register(sys.stdout.write, 'at exit')\nsys.excepthook = lambda t, "+
					"e, tb: sys.stdout.write('hook %s ' % e)\nraise ValueError('x')\n"), "", nil)
			if out != "hook x at exit" || errs != "" || status != 1 {
				t.Errorf("hooks: %q, %q, %d", out, errs, status)
			}
			_, errs, status = b.run(st.module(t, "def f():\n    raise ValueError('here')\nf()\n"), "", nil)
			if strings.Contains(errs, "raise ValueError") ||
				!strings.Contains(errs, "ansible/modules/x.py\", line 2, in f") ||
				!strings.Contains(errs, "ValueError: here") || strings.Contains(errs, "<_mitogen") ||
				status != 1 {
				t.Errorf("exception: %q, %d", errs, status)
			}
			if _, _, status := b.run(st.module(t, "import os\nos.kill(os.getpid(), 9)\n"), "",
				nil); status != 137 {
				t.Errorf("killed: %d", status)
			}
			out, _, status = b.run(st.module(t, "pass\n"), "", nil)
			if !strings.Contains(out, "did not handle its own exit") || status != 1 {
				t.Errorf("no exit: %q, %d", out, status)
			}
			out, _, status = b.run(st.module(t,
				"import sys\nsys.stdout.write('x' * 3000000)\nsys.exit(0)\n"), "", nil)
			if len(out) != 3000000 || status != 0 {
				t.Errorf("much: %d, %d", len(out), status)
			}
			stays := filepath.Join(t.TempDir(), "stays")
			if err := os.WriteFile(stays, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, status = b.run(st.module(t, fmt.Sprintf("import os, sys, time\nif not os.fork():\n"+
				"    while os.path.exists(%q): time.sleep(.05)\n    os._exit(0)\n"+
				"sys.stdout.write('done')\nsys.exit(0)\n", stays)), "", nil)
			os.Remove(stays)
			if out != "done" || status != 0 {
				t.Errorf("with a child that stays: %q, %d", out, status)
			}
			// The user's own basic, and none.
			out, _, _ = b.run(st.module(t,
				"from ansible.module_utils import basic\nimport sys\nsys.stdout.write(basic.OWN)\n"+
					"sys.exit(0)\n", "ansible/module_utils/basic.py", "OWN = 'own'\n"), "", nil)
			if out != "own" {
				t.Errorf("a file of the same name: %q", out)
			}
			out, errs, _ = b.run(st.module(t,
				"import sys\ntry:\n    import ansible.module_utils.extra\nexcept ImportError:\n    "+
					"sys.stdout.write('none')\nsys.exit(0)\n"), "", nil)
			if out != "none" {
				t.Errorf("a module that isn't there: %q, %q", out, errs)
			}
			// More than a window, of both streams: output is held until there is much of it, or the end.
			much := st.module(t, "import sys\nfor i in range(30):\n    sys.stdout.write('0123456789' * "+
				"10000)\n    sys.stderr.write('abc' * 10000)\nsys.exit(3)\n")
			if out, errs, status := b.run(much, "", nil); out != strings.Repeat("0123456789", 300_000) ||
				errs != strings.Repeat("abc", 300_000) || status != 3 {
				t.Errorf("%d and %d bytes, status %d", len(out), len(errs), status)
			}
			if i.Major > 2 { // whose clock is too coarse to tell
				if out, errs, _ := b.run(st.module(t, twice), "", nil); out != "0" {
					t.Errorf("programs that ended between one look and the next: %q, %q", out, errs)
				}
			}
			// At the same time.
			slow := st.module(t, "import sys, time\ntime.sleep(.3)\nsys.stdout.write('slow')\nsys.exit(0)\n")
			var wait sync.WaitGroup
			for range 8 {
				wait.Go(func() {
					if out, errs, _ := b.run(slow, "", nil); out != "slow" {
						t.Errorf("run at once: got stdout %q, stderr %q; want stdout \"slow\"", out, errs)
					}
				})
			}
			wait.Wait()
		})
	}
}

// Programs, files, and what is abandoned; on a sample of interpreters, as TestModules.
func TestRequests(t *testing.T) {
	for _, i := range testpython.Sample(t.Name()) {
		t.Run(i.Name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, i.Path)
			c, conn := b.dial()
			out, errs, end := b.ask(c, &Message{Do: "exec",
				Command: "/bin/sh -c 'cat; echo err >&2; exit 5'"}, "in ", "put")
			if out != "in put" || errs != "err\n" || end.Status != 5 || end.Error != nil {
				t.Errorf("exec with input: got %q, stderr %q, end %+v; want both texts, status 5",
					out, errs, end)
			}
			large := strings.Repeat("0123456789", 300_000)
			out, _, end = b.ask(c, &Message{Do: "exec", Command: "cat"}, large[:1<<20], large[1<<20:2<<20],
				large[2<<20:])
			if out != large || end.Status != 0 {
				t.Errorf("%d bytes, %+v", len(out), end)
			}
			if out, _, end = b.ask(c, &Message{Do: "exec", Command: "tty; echo err >&2; exit 2",
				TTY: true}); !strings.Contains(out, "/dev/") || !strings.Contains(out, "err\r\n") ||
				end.Status != 2 {
				t.Errorf("on a terminal: %q, %+v", out, end)
			}
			if _, _, end = b.ask(c, &Message{Do: "exec", Command: "exec <&- >&- 2>&-; sleep .1; exit 7",
				TTY: true}); end.Status != 7 {
				t.Errorf("what closes its terminal first ended with %d", end.Status)
			}
			if _, errs, end := b.ask(c,
				&Message{Do: "exec", Command: "no-such-program-here"}); end.Status != 127 {
				t.Errorf("exec of a missing program: got stderr %q, end %+v; want status 127", errs, end)
			}
			dir := t.TempDir()
			name := filepath.Join(dir, "ü")
			if _, _, end := b.ask(c, &Message{Do: "put", Name: name, Mode: 0o640}, large[:1<<20],
				large[1<<20:2<<20]); end.Error != nil {
				t.Errorf("put %q: got error %+v, want none", name, end.Error)
			}
			got, err := os.ReadFile(name)
			st, _ := os.Stat(name)
			if err != nil || string(got) != large[:2<<20] || st.Mode() != 0o640 {
				t.Error(err, len(got), st.Mode())
			}
			if out, _, end := b.ask(c, &Message{Do: "get", Name: name}); out != large[:2<<20] ||
				end.Error != nil {
				t.Errorf("%d bytes, %+v", len(out), end)
			}
			if _, _, end := b.ask(c, &Message{Do: "get", Name: dir + "/none"}); end.Error == nil ||
				end.Error.Kind != "files" {
				t.Errorf("get of a missing file: got %+v, want an error of kind files", end)
			}
			if _, _, end := b.ask(c, &Message{Do: "put", Name: dir + "/none/x"}, large[:1<<20],
				large[1<<20:2<<20]); end.Error == nil || end.Error.Kind != "files" {
				t.Errorf("put into a missing directory: got %+v, want an error of kind files", end)
			}
			// A temporary directory. What fails is told by what waits.
			temp := func(n int) (string, string) {
				base := fmt.Sprintf("ansible-tmp-1795857628.%d-1-2", n)
				at := dir + "/tmp/" + base
				return at, "/bin/sh -c '( umask 77 && mkdir -p \"` echo " + dir + "/tmp `\"&& mkdir \"` echo " +
					at + " `\" && echo " + base + "=\"` echo " + at + " `\" ) && sleep 0'"
			}
			at, mkdir := temp(1)
			if out, _, end := b.ask(c, &Message{Do: "exec", Command: mkdir}); out != filepath.Base(at)+"="+
				at+"\n" || end.Error != nil || !strings.Contains(end.How, "file operation") {
				t.Errorf("mkdir of %q: got stdout %q, end %+v; want its path, by file operations", at, out, end)
			}
			b.ask(c, &Message{Do: "put", Name: at + "/source", Mode: 0o600}, "text")
			b.ask(c, &Message{Do: "exec",
				Command: "/bin/sh -c 'chmod u+x " + at + "/ " + at + "/source && sleep 0'"})
			if out, _, end := b.ask(c, &Message{Do: "exec",
				Command: "cat " + at + "/source; stat -c %a " + at + "/source " +
					at}); out != "text700\n700\n" {
				t.Errorf("the file sent: got %q, %+v; want the text and modes 700", out, end)
			}
			b.ask(c, &Message{Do: "exec", Command: mkdir}) // it exists
			if _, _, end := b.ask(c, &Message{Do: "exec", Command: "true"}); end.Error == nil ||
				end.Error.Kind != "temp" {
				t.Errorf("exec after a failed mkdir: got %+v, want an error of kind temp", end)
			}
			b.ask(c, &Message{Do: "exec",
				Command: "/bin/sh -c 'rm -f -r " + at + "/ > /dev/null 2>&1 && sleep 0'"})
			b.ask(c, &Message{Do: "exec", Command: "true"})
			if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
			// A plugin that is killed leaves nothing, if it says so.
			at, mkdir = temp(2)
			b.ask(c, &Message{Do: "exec", Command: mkdir})
			pid, _, _ := b.ask(c, &Message{Do: "exec", Command: "echo $$"})
			if err := c.Write(&Message{Do: "exec", Command: "sleep 60; : " + strings.TrimSpace(pid) + at,
				Ends: true, EOF: true}, nil); err != nil {
				t.Fatal(err)
			}
			for n := 0; len(running(at)) == 0; n++ {
				if n > 1000 {
					t.Fatal("it doesn't start")
				}
				time.Sleep(10 * time.Millisecond)
			}
			conn.Close()
			for n := 0; ; n++ {
				_, err := os.Stat(at)
				if left := running(at); errors.Is(err, os.ErrNotExist) && len(left) == 0 {
					break
				} else if n > 1000 {
					t.Fatalf("left: %v, %v", err, left)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// running are the processes with text in their command lines.
func running(text string) []string {
	var all []string
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if b, _ := os.ReadFile(name); bytes.Contains(b, []byte(text)) {
			all = append(all, string(b))
		}
	}
	return all
}

// Contexts that haven't been used for longest make room for new ones; a context in use doesn't.
func TestManyLeaves(t *testing.T) {
	b := newBench(t, "python3")
	h, err := (&Session{s: b.s, way: b.way}).host()
	if err != nil {
		t.Fatal(err)
	}
	defer h.done()
	used, _ := h.find(leafKey{"used", ""})
	for i := range 3 * maxLeaves {
		l, fresh := h.find(leafKey{fmt.Sprint(i), ""})
		if !fresh {
			t.Error("not fresh")
		}
		h.release(l)
	}
	if len(h.leaves) != maxLeaves || h.leaves[used.key] != used ||
		h.leaves[leafKey{fmt.Sprint(3*maxLeaves - 1), ""}] == nil {
		t.Errorf("%d leaves", len(h.leaves))
	}
}
