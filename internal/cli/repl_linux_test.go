package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/creack/pty"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// prompt of an interpreter that takes a line.
const prompt = ">>> "

// replOf starts mitogen repl, once it takes lines.
func replOf(t *testing.T, args ...string) *console {
	t.Helper()
	// What was learned in another test would go ahead of a question.
	c := startConsole(t, append([]string{"repl", "-t", "local", "--learned="}, args...)...)
	c.wait(prompt)
	c.waitRaw()
	return c
}

// types types a line, and waits for what it prints.
func (c *console) types(line, want string) {
	c.t.Helper()
	c.pty.WriteString(line + "\r")
	c.wait(want)
}

// A prompt is as python's: it prints, imports our modules, is interrupted, completes, and ends.
func TestRepl(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"own.py":          "import package.deep\ndef f():\n    return 'it is ' + package.deep.WHAT\n",
		"package/deep.py": "WHAT = 'own'\n", "package/__init__.py": "",
		"late.py": "raise ValueError('not ' + 'well')\n",
	} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, py := range testpython.Sample(t.Name()) {
		t.Run(py.Name(), func(t *testing.T) {
			c := replOf(t, "--python", py.Path, "--path", dir)
			c.wait(fmt.Sprintf("Python %s", py.Version))
			c.types("6*7", "42\r\n")
			c.types("import own; own.f()", "'it is own'\r\n")
			c.types("import late", "ValueError: not well\r\n")
			file := fmt.Sprintf("\r\n  File \"%s\", line 1, in <module>\r\n", filepath.Join(dir, "late.py"))
			if !strings.Contains(c.text(), "line 1, in <module>"+file) {
				t.Errorf("got %q, want a traceback of two frames, with %q", c.text(), file)
			}
			c.types("__name__, __import__('sys').argv", "('__main__', [''])\r\n")
			c.types("import os, sys, time", prompt)
			c.types("os.environ['TERM'], sys.stdin.isatty()", "('xterm', True)\r\n")
			// PyPy, at a prompt of its own too, notices a signal that comes just before a sleep after it.
			c.types("print('%d' % 77) or [time.sleep(.01) for n in iter(int, 1)]", "77\r\n")
			c.pty.WriteString("\x03")
			c.wait("KeyboardInterrupt\r\n")
			c.pty.WriteString("half of a line\x03")
			c.waitFor("a second interrupt", func() bool {
				return strings.Count(c.text(), "KeyboardInterrupt") == 2
			})
			c.types("'who' + 'le'", "'whole'\r\n")
			c.types("os.system('stty size')", "24 60\r\n")
			pty.Setsize(c.pty, &pty.Winsize{Rows: 33, Cols: 99})
			c.types("time.sleep(.3); os.system('stty size')", "33 99\r\n")
			if py.Impl == "cpython" && hasReadline(py) {
				c.types("own.WHA_ = 'comp' + 'leted'", prompt)
				c.types("own.WH\t", "'completed'\r\n")
				c.types("'a' + 'gain'", "'again'\r\n")
				c.types("\x1b[A + '!'", "'again!'\r\n")
			}
			c.types("os.getpid() == os.getpgid(0) == os.tcgetpgrp(0) or 'b' + 'ad'", "True\r\n")
			c.pty.WriteString("exit(3)\r")
			c.ends(3)
		})
	}
}

func hasReadline(py testpython.Interp) bool {
	return exec.Command(py.Path, "-c", "import readline").Run() == nil
}

// A prompt ends in many ways, and its terminal is then as before.
func TestReplEnds(t *testing.T) {
	for _, tt := range []struct {
		typed  string
		status int
	}{
		{"\x04", 0},
		{"raise SystemExit(4)\r", 4},
		{"raise SystemExit('last ' + 'words')\r", 1},
		{"import os; os._exit(5)\r", 5},
		{"import os; os.kill(os.getpid(), 9)\r", 128 + 9},
		{"import os, signal; os.kill(os.getppid(), signal.SIGKILL)\r", 128 + 9},
		{"import os; [os.close(n) for n in (0, 1, 2)]\r", 128 + 1},
		{"import os; os.system('sleep 1000 & sleep 1000 >&- 2>&- &'); os._exit(6)\r", 6},
		{"\r~.", exitConnection},
		{"import signal; signal.signal(1, signal.SIG_IGN)\r~.", exitConnection},
	} {
		c := replOf(t)
		c.pty.WriteString(tt.typed)
		c.ends(tt.status)
		if strings.Contains(tt.typed, "words") && !strings.Contains(c.text(), "last words") {
			t.Errorf("%q: printed %q", tt.typed, c.text())
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		c := replOf(t)
		syscall.Kill(c.cmd.Process.Pid, sig)
		c.ends(signalStatus + int(sig))
	}
}

// A prompt that is ended before its interpreter has a group of its own is ended all the same.
func TestReplEndsWithoutGroup(t *testing.T) {
	c := replOf(t)
	c.types("import _mitogen_repl as repl, subprocess, sys", prompt)
	const child = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])"
	c.types(child+"; 'st' + 'arted'", "'started'\r\n")
	c.types("'status %d' % repl.end(child.pid)", "'status 137'\r\n")
	c.types("exit()", prompt)
	c.ends(0)
}

// An interpreter that ignores SIGHUP is gone when the command is killed, and so is what it started.
func TestReplIsKilled(t *testing.T) {
	for _, tt := range []struct{ busy, child string }{
		{"time.sleep(1000)", ""}, // no guard has been started for a program
		{"os.system('sleep 1000')", "sleep 1000 &"},
		{"time.sleep(1000)", "setsid sleep 1000 &"},
	} {
		c := replOf(t)
		c.types("import os, signal, time; signal.signal(1, signal.SIG_IGN) and 0", prompt)
		if tt.child != "" {
			c.types(fmt.Sprintf("os.system('%s echo child $!.')", tt.child), "child ")
		}
		c.types("print('is process %d.' % os.getpid()); "+tt.busy, "is process ")
		c.waitFor("number", func() bool { return processAfter(c, "\nis process ") > 1 })
		all := []int{processAfter(c, "\nis process ")}
		if tt.child != "" {
			all = append(all, processAfter(c, "\nchild "))
		}
		c.cmd.Process.Kill()
		for _, pid := range all {
			c.waitFor(fmt.Sprintf("end of process %d", pid), func() bool {
				return syscall.Kill(pid, 0) == syscall.ESRCH
			})
		}
	}
}

// processAfter returns the number that a console shows behind a text, 0 if there is none yet.
func processAfter(c *console, text string) (pid int) {
	_, rest, _ := strings.Cut(c.text(), text)
	if digits, _, found := strings.Cut(rest, ".\r\n"); found {
		fmt.Sscan(digits, &pid)
	}
	return pid
}

// A target may ask for modules of the places that are named alone, and is told what names more.
func TestReplServes(t *testing.T) {
	named, here := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(named, "own.py"), []byte("x = 'from ' + 'a flag'\n"), 0o644)
	os.WriteFile(filepath.Join(here, "secret.py"), []byte("x = 'se' + 'cret'\n"), 0o644)
	os.WriteFile(filepath.Join(here, "own.py"), []byte("x = 'se' + 'cret'\n"), 0o644)
	t.Chdir(here)
	c := replOf(t, "--path", named)
	c.types("import own; own.x", "'from a flag'\r\n")
	c.types("import secret", "No module named ")
	c.types("import random_"+"name_that_is_nowhere", "name_that_is_nowhere")
	c.types("exit()", prompt)
	c.ends(0)
	c = replOf(t, "--path", ".")
	c.types("import secret; secret.x", "'secret'\r\n")
	c.types("exit()", prompt)
	c.ends(0)
}

// Only names of modules are served.
func TestTopLevel(t *testing.T) {
	place := fstest.MapFS{}
	for _, name := range []string{"a.py", "b/__init__.py", "c/d.py", "e.cpython-313-x86_64.so",
		"data.txt", "f-g.py", "h-1.0.dist-info/X", ".i.py", ".git/config", "j", "k.pyc", "ü.py"} {
		place[name] = &fstest.MapFile{}
	}
	got, want := topLevel(place), []string{"a", "b", "c", "e", "ü"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Without a terminal standard input is a program.
func TestReplWithoutTerminal(t *testing.T) {
	cmd := exec.Command("mitogen", "repl", "-t", "local")
	cmd.Stdin = strings.NewReader("import sys\nprint(sys.argv, __name__)\nsys.exit(3)\n")
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != 3 || string(out) != "['-'] __main__\n" {
		t.Errorf("got status %d, %q", got, out)
	}
	for _, args := range [][]string{
		{}, {"-t", "local", "x.py"}, {"-t", "local,local"}, {"-t", "local", "--json"},
		{"-t", "local", "-e", "xy"}, {"-t", "local", "--path", "/no/such/directory"},
	} {
		startConsole(t, append([]string{"repl"}, args...)...).ends(exitUsage)
	}
}
