package ansible

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// appears tells whether a file comes to be within some time.
func appears(name string, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// enter sends a request for an account, which the session enters by a shell.
func (b *bench) enter(c *jsonline.Conn, m *Message) {
	b.t.Helper()
	m.Account, m.User, m.EOF, m.Shell = "other", "other", true, "/bin/sh"
	inner := m.Command
	m.Inner = &inner
	if err := c.Write(m, nil); err != nil {
		b.t.Fatal(err)
	}
	r := &Message{}
	if _, err := c.Read(r, nil); err != nil || r.Boot == "" {
		b.t.Fatalf("got %+v, %v, want the command that becomes the account", r, err)
	}
	if err := c.Write(&Message{Become: &r.Boot}, nil); err != nil {
		b.t.Fatal(err)
	}
}

// ignore reads what comes.
func ignore(c *jsonline.Conn) {
	for {
		if _, err := c.Read(&Message{}, nil); err != nil {
			return
		}
	}
}

// What a task has started finishes when the plugin or the connection goes, unless it has a
// terminal, as with sshd, or is to end with that.
func TestFinishes(t *testing.T) {
	for _, how := range []string{"plugin", "hop"} {
		for _, test := range []struct {
			name, first, command     string
			tty, ends, account, want bool
		}{
			{name: "program", command: "sleep 1; echo > F", want: true},
			{name: "program of an account", command: "sleep 1; echo > F", account: true, want: true},
			{name: "program that writes to nobody", first: "trap '' PIPE",
				command: "sleep 1; echo x; echo > F", want: true},
			{name: "program that ends", command: "sleep 1; echo > F", ends: true},
			{name: "program of an account that ends", command: "sleep 1; echo > F", ends: true,
				account: true},
			{name: "terminal", command: "sleep 1; echo > F", tty: true},
			{name: "terminal of an account", command: "sleep 1; echo > F", tty: true, account: true},
			{name: "terminal, no hangup", first: "trap '' HUP", command: "sleep 1; echo > F", tty: true,
				want: true},
			{name: "program that won't end", first: "trap '' TERM", command: "sleep 2; echo > F",
				ends: true},
			{name: "part that won't end", command: "(trap '' TERM; sleep 2; echo > F); :", ends: true},
			{name: "program of an account that won't end", first: "trap '' TERM",
				command: "sleep 2; echo > F", ends: true, account: true},
			{name: "part of an account's that won't end", command: "(trap '' TERM; sleep 2; echo > F); :",
				ends: true, account: true},
			{name: "terminal that won't end", first: "trap '' TERM HUP", command: "sleep 2; echo > F",
				tty: true, ends: true},
			{name: "terminal of an account that won't end", first: "trap '' TERM HUP",
				command: "sleep 2; echo > F", tty: true, ends: true, account: true},
		} {
			t.Run(how+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, "/usr/bin/python3")
				c, conn := b.dial()
				dir := t.TempDir()
				m := &Message{Do: "exec", Command: test.first + "\ncd " + dir + "; echo > begun; " +
					test.command, TTY: test.tty, Ends: test.ends, EOF: true}
				if test.account {
					b.enter(c, m)
				} else if err := c.Write(m, nil); err != nil {
					t.Fatal(err)
				}
				go ignore(c)
				if !appears(filepath.Join(dir, "begun"), 20*time.Second) {
					t.Fatal("it doesn't start")
				}
				if how == "plugin" {
					conn.Close()
				} else {
					b.s.mu.Lock()
					for _, h := range b.s.allLocked() {
						syscall.Kill(h.login.Info().PID, syscall.SIGKILL)
					}
					b.s.mu.Unlock()
				}
				patience := 2500 * time.Millisecond
				if test.want {
					patience = 20 * time.Second
				}
				if got := appears(filepath.Join(dir, "F"), patience); got != test.want {
					t.Errorf("%q finishes: got %t, want %t", test.command, got, test.want)
				}
			})
		}
	}
}

// A command that ends early has the status that it has otherwise.
func TestStatusOfWhatEnds(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	c, _ := b.dial()
	for command, want := range map[string]int{"exit 3": 3, "kill -9 $$": 255, "kill -TERM $$": 255} {
		for _, tty := range []bool{false, true} {
			m := &Message{Do: "exec", Command: command, TTY: tty, Ends: true}
			if _, _, end := b.ask(c, m); end.Status != want {
				t.Errorf("%s, terminal %t: got %+v, want %d", command, tty, end, want)
			}
		}
	}
}

// What a command with a terminal leaves in the background lives on where a become program was
// before it.
func TestBackground(t *testing.T) {
	for name, command := range map[string]string{
		"job":      "(sleep 1; echo > F) > /dev/null 2>&1 &",
		"nohup":    "nohup sh -c 'sleep 1; echo > F' > /dev/null 2>&1 &",
		"of shell": "sh -c '(sleep 1; echo > F) &' > /dev/null 2>&1; exit 3",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "/usr/bin/python3")
			c, conn := b.dial()
			dir := t.TempDir()
			b.enter(c, &Message{Do: "exec", Command: "cd " + dir + "; " + command, TTY: true})
			for r := (&Message{}); r.End == nil; {
				r = &Message{}
				if _, err := c.Read(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			conn.Close()
			if !appears(filepath.Join(dir, "F"), 20*time.Second) {
				t.Error("it is gone")
			}
		})
	}
}

// startModule starts a module without a wrapper, which gets dir as its parameters and holds it.
func (b *bench) startModule(dir, text string, ends bool) (*Session, *host, *leaf, *engine.Tunnel) {
	t := b.t
	t.Helper()
	a := b.s.store.module(t, text)
	s := &Session{s: b.s, way: b.way, temps: map[string]bool{dir: true}}
	h, err := s.host()
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	packs, err := h.learn(t.Context(), b.s, a)
	h.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.leaf(t.Context(), h, &Message{}, b.python, packs)
	if err != nil {
		t.Fatal(err)
	}
	spec := map[string]any{"op": "module", "module": "ansible.modules.x", "params": []byte(dir),
		"profile": "", "loader": false, "nofile": 0, "env": map[string]any{}, "python": b.python,
		"as_is": true, "ends": ends, "temps": s.tempList(), "passed": map[string]any{}}
	h.mu.Lock()
	err = h.teach(t.Context(), l, a, packs, spec)
	h.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	tun, err := l.ctx.Tunnels.Serve(context.Background(), service, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.release(l)
		h.done()
	})
	return s, h, l, tun
}

// A module that handles SIGTERM ends with the plugin or the connection, if it is to.
func TestModuleEnds(t *testing.T) {
	const text = `
import os, signal, time
from ansible.module_utils import basic
%s
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(basic.args() + '/begun', 'w').close()
time.sleep(2)
open(basic.args() + '/F', 'w').close()
`
	firsts := map[string]string{"module": "", "session": "os.setsid()", "group": "os.setpgid(0, 0)"}
	for _, how := range []string{"plugin", "hop"} {
		for name, first := range firsts {
			t.Run(how+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, "/usr/bin/python3")
				dir := t.TempDir()
				_, h, _, tun := b.startModule(dir, fmt.Sprintf(text, first), true)
				if !appears(filepath.Join(dir, "begun"), 20*time.Second) {
					t.Fatal("it doesn't start")
				}
				if how == "plugin" {
					tun.Close()
				} else {
					syscall.Kill(h.login.Info().PID, syscall.SIGKILL)
				}
				if appears(filepath.Join(dir, "F"), 2500*time.Millisecond) {
					t.Error("it goes on")
				}
			})
		}
	}
}

// A temporary directory stays as long as a module that was left to finish may need it.
func TestTemporaryDirectoryOfModule(t *testing.T) {
	b := newBench(t, "/usr/bin/python3")
	dir := filepath.Join(t.TempDir(), "ansible-tmp-1-1-1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, _, l, tun := b.startModule(dir, "import os, sys, time\n"+
		"from ansible.module_utils import basic\n"+
		"open(basic.args() + '/begun', 'w').close()\ntime.sleep(1)\n"+
		"os.rename(basic.args() + '/begun', basic.args() + '/../ended')\n", false)
	tun.Close() // at once: it has not even begun
	s.left = l.ctx
	s.tidy()
	if err := s.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !appears(filepath.Join(filepath.Dir(dir), "ended"), 20*time.Second) {
		t.Error("the module had no directory any more")
	}
	for n := 0; ; n++ {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		} else if n > 1000 {
			t.Fatal("the directory stays")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A question of become without an answer is given up, and the account with it.
func TestUnknownQuestion(t *testing.T) {
	for name, test := range map[string]struct {
		become string
		asks   bool
	}{
		"asks":          {"printf 'Which of them? '; read x; exit 1", true},
		"asks again":    {"printf 'line\nWhich? '; read x; exit 1", true},
		"says and goes": {"echo no; exit 1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "/usr/bin/python3")
			c, _ := b.dial()
			inner := "true"
			if err := c.Write(&Message{Do: "exec", Command: inner, Inner: &inner, Account: "other",
				User: "other", Shell: "/bin/sh", Patience: 1, EOF: true}, nil); err != nil {
				t.Fatal(err)
			}
			for {
				r := &Message{}
				if _, err := c.Read(r, nil); err != nil {
					t.Fatal(err)
				}
				if r.Boot != "" {
					if err := c.Write(&Message{Become: &test.become}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if r.End == nil {
					continue
				}
				e := r.End.Error
				if e == nil || e.Kind != "account" || !e.Fallback ||
					strings.Contains(e.Text, "question") != test.asks {
					t.Errorf("got %+v, want an account that can't be entered", e)
				}
				return
			}
		})
	}
}

// ends are modules that leave something to their interpreter's end, or to their place among
// processes.
var ends = map[string]struct {
	text, out string
	status    int
}{
	"object": {"import os, sys\nclass A(object):\n    def __del__(self):\n        os.write(1, " +
		"'freed'.encode())\na = A()\nsys.exit(0)\n", "freed", 0},
	"circle": {"import os, sys\nclass A(object):\n    def close(self, write=os.write):\n        " +
		"write(1, 'freed'.encode())\nclass B(object):\n    pass\nb = B()\nb.b = b\nb.a = type('C', " +
		"(A,), {'__del__': A.close})()\nsys.exit(3)\n", "freed", 3},
	"file": {"import os, sys, tempfile\nf = tempfile.NamedTemporaryFile(prefix='mitogen-ends-')\n" +
		"sys.stdout.write(f.name)\nraise ValueError\n", "", 1},
	"session": {"import os, sys\nos.setsid()\nsys.stdout.write(str(os.getsid(0) == os.getpid()))\n" +
		"sys.exit(0)\n", "True", 0},
	"group": {"import os, sys\nsys.stdout.write(str(os.getpgrp() != os.getpid()))\nsys.exit(0)\n",
		"True", 0},
}

// A module's objects, files and session are at its end what they are with an interpreter of its
// own.
func TestEndOfModule(t *testing.T) {
	for _, i := range testpython.Sample(t.Name()) {
		if i.Impl != "cpython" {
			continue // objects are freed when it likes
		}
		t.Run(i.Name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, i.Path)
			for name, end := range ends {
				if name == "circle" && i.Major == 2 {
					continue // which frees none that has something to do
				}
				out, errs, status := b.run(b.s.store.module(t, end.text), "", nil)
				if status != end.status || end.out != "" && out != end.out {
					t.Errorf("%s: got %q, %q, %d, want %q, %d", name, out, errs, status, end.out, end.status)
				}
				if _, err := os.Stat(out); end.out == "" && err == nil {
					t.Errorf("%s: %s is left", name, out)
				}
			}
			want := 1
			if i.Major > 2 && i.Minor >= 8 {
				want = 130
			}
			if _, errs, status := b.run(b.s.store.module(t, "raise KeyboardInterrupt\n"), "",
				nil); status != want || !strings.Contains(errs, "KeyboardInterrupt") {
				t.Errorf("interrupted: got %q, %d, want %d", errs, status, want)
			}
		})
	}
}
