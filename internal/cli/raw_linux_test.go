package cli

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// echoes tells whether a terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

// A program that a second signal, or the last moment, ends at once leaves terminals as they were.
func TestTerminalsAreRestored(t *testing.T) {
	for _, tt := range []struct {
		name      string
		terminals int
		signals   []os.Signal
		restored  int // before, of the terminals
	}{
		{"a second signal", 1, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 0},
		{"the last moment", 1, []os.Signal{syscall.SIGINT}, 0},
		{"two terminals", 2, []os.Signal{syscall.SIGHUP, syscall.SIGINT}, 0},
		{"one that was restored", 2, []os.Signal{syscall.SIGHUP, syscall.SIGINT}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []*os.File
			for i := range tt.terminals {
				master, tty, err := pty.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer master.Close()
				defer tty.Close()
				restore, err := rawTTY(tty)
				if err != nil {
					t.Fatal(err)
				}
				if echoes(t, tty) {
					t.Fatal("the terminal echoes")
				}
				if i < tt.restored {
					restore()
				}
				defer restore() // does nothing
				all = append(all, tty)
			}
			signals := make(chan os.Signal, 2)
			for _, s := range tt.signals {
				signals <- s
			}
			status := 0
			endBy(signals, func(error) {}, &lastWord{}, func(n int) {
				status = n
				for i, tty := range all {
					if !echoes(t, tty) {
						t.Errorf("terminal %d isn't restored at the exit", i)
					}
				}
			})
			if want := 128 + int(tt.signals[0].(syscall.Signal)); status != want {
				t.Errorf("got status %d, want %d", status, want)
			}
		})
	}
}

// An ssh of `mitogen with` that a signal ends leaves the terminal as it was.
func TestShimRestoresTerminal(t *testing.T) {
	const script = `echo "pid $$ runs"; exec ssh -tt host "echo u''p; sleep 1000"`
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP}
	for _, sig := range signals {
		c := startConsole(t, "with", "-t", "local", "--", "sh", "-c", script)
		c.wait("up")
		c.waitRaw()
		pid := 0
		_, text, _ := strings.Cut(c.text(), "pid ")
		if _, err := fmt.Sscan(text, &pid); err != nil || pid < 2 {
			t.Fatalf("no process in %q", c.text())
		}
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		if got := c.status(); got != exitConnection {
			t.Errorf("%v: got status %d, want %d, printed %q", sig, got, exitConnection, c.text())
		}
		if !echoes(t, c.pty) {
			t.Errorf("%v: the terminal doesn't echo afterwards", sig)
		}
	}
}
