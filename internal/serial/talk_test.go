package serial

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A line is sent off only if its echo shows that it arrived as it was typed.
func TestEchoed(t *testing.T) {
	for _, tt := range []struct {
		shown string
		want  bool
	}{
		{"stty -a", true}, {"$ stty -a", true}, {"stty\n -a", true}, {"[1.2] eth0 up\nstty -a", true},
		{"sstty -a", false}, {"$ s\nstty -a", false}, {"stty -aa", false}, {"stty  -a", false},
		{"tty -a", false}, {"", false},
	} {
		if got := echoed([]byte(tt.shown), "stty -a"); got != tt.want {
			t.Errorf("%q: got %t, want %t", tt.shown, got, tt.want)
		}
	}
}

// lateShell is a line to a shell that shows what is typed at once. It takes the first Enter, but
// shows so when something more is typed, or when it is interrupted.
type lateShell struct {
	until string // what has it show the end of the line
	lines []string
	line  []byte
	shown []byte
	late  bool
	was   bool
}

func (l *lateShell) Write(b []byte) (int, error) {
	for _, c := range b {
		if l.late && (l.until == "" || strings.ContainsRune(l.until, rune(c))) {
			l.shown, l.late = append(l.shown, '\n'), false
		}
		switch c {
		case '\r':
			l.lines, l.line = append(l.lines, string(l.line)), nil
			if !l.was {
				l.was, l.late = true, true
			} else if !l.late {
				l.shown = append(l.shown, '\n')
			}
		case 0x03, 0x15:
			l.line = nil
		case 0x11:
		default:
			l.line = append(l.line, c)
			l.shown = append(l.shown, c)
		}
	}
	return len(b), nil
}

func (l *lateShell) Read(b []byte) (int, error) {
	if len(l.shown) == 0 {
		time.Sleep(time.Millisecond)
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, l.shown)
	l.shown = l.shown[n:]
	return n, nil
}

func (l *lateShell) Close() error                     { return nil }
func (l *lateShell) SetReadDeadline(time.Time) error  { return nil }
func (l *lateShell) SetWriteDeadline(time.Time) error { return nil }

// A variable is right, and code is started once, though the shell shows the end of a line late.
func TestLateEnter(t *testing.T) {
	for name, until := range map[string]string{"anything": "", "an interrupt": "\x03"} {
		for _, size := range []int{1, pieceSize, pieceSize + 1, 2 * pieceSize, 3*pieceSize + 5} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				t.Parallel()
				l := &lateShell{until: until}
				k := &talk{ctx: t.Context(), w: l, rate: 115200, mute: true}
				want := strings.Repeat("a b;\"$x ", 100)[:size]
				if err := k.variable("C", want); err != nil {
					t.Fatal(err)
				}
				script := strings.Join(l.lines, "\n") + "\nprintf %s \"$C\""
				if got, err := exec.Command("sh", "-c", script).Output(); err != nil || string(got) != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
	}
	t.Run("code", func(t *testing.T) {
		l := &lateShell{}
		k := &talk{ctx: t.Context(), w: l, rate: 115200, mute: true}
		if err := k.line(`eval "$Q"`); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(strings.Join(l.lines, "\n"), "eval"); n != 1 {
			t.Errorf("executed %d times, want once: %q", n, l.lines)
		}
	})
}

// dropping is a shell that executes all lines but one, though it shows it as any other.
type dropping struct {
	lateShell
	drop int
	stop bool
}

func (d *dropping) Write(b []byte) (int, error) {
	before := len(d.lines)
	d.lateShell.Write(b)
	if len(d.lines) > before && len(d.lines) == d.drop && !d.stop {
		d.stop, d.lines = true, d.lines[:len(d.lines)-1]
	}
	if len(d.lines) > before && strings.HasPrefix(d.lines[len(d.lines)-1], "echo") {
		out, err := exec.Command("sh", "-c", strings.Join(d.lines, "\n")).Output()
		if err != nil {
			return 0, err
		}
		if at := bytes.LastIndex(out, []byte("MITO")); at >= 0 {
			d.shown = append(d.shown, out[at:]...)
		}
	}
	return len(b), nil
}

// A line that a shell has dropped behind an interrupt is noticed.
func TestDroppedLine(t *testing.T) {
	for drop := 1; drop < 8; drop++ {
		t.Run(fmt.Sprint(drop), func(t *testing.T) {
			t.Parallel()
			w := &dropping{lateShell: lateShell{until: "\x03"}, drop: drop}
			k := &talk{ctx: t.Context(), w: w, rate: 115200, mute: true}
			c, q := strings.Repeat("a b;\"$x ", 20), strings.Repeat("q\u00e4 &", 30)
			if err := k.variables(c, q); err != nil {
				t.Fatal(err)
			}
			script := strings.Join(w.lines, "\n") + "\nprintf '%s|%s' \"$C\" \"$Q\""
			got, err := exec.Command("sh", "-c", script).Output()
			if err != nil || !strings.HasSuffix(string(got), c+"|"+q) {
				t.Errorf("got %q, %v, want %q and %q", got, err, c, q)
			}
		})
	}
}
