package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/consolesim"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// begin starts a command on a console.
func begin(t *testing.T, c *consolesim.Console, change func(*Options)) (*Process, error) {
	t.Helper()
	o := Options{
		Line:   &methods.Line{Device: c.Device, Baud: 115200, User: lab.Pass},
		Hidden: &methods.Mask{},
		Argv:   []string{"sh", "-c", "cat; echo err >&2; exit 7"},
		Password: func(context.Context) (secret.Secret,
			error) {
			return secret.Secret(lab.Need(t).Password), nil
		},
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := Start(ctx, o)
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

// works has a command that begin started repeat something, and end.
func works(t *testing.T, p *Process) {
	t.Helper()
	io.WriteString(p.Stdin(), "hello\n")
	p.Stdin().Close()
	got, err := io.ReadAll(p.Stdout())
	<-p.Done()
	if f := p.Failure(); err != nil || string(got) != "hello\n" || f.Status != 7 ||
		f.Text != "err\n" {
		t.Errorf("got %q, %v, %+v, want hello, status 7 and err", got, err, f)
	}
}

// shows waits until the console shows something.
func shows(t *testing.T, c *consolesim.Console, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(c.Seen(),
		what); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the console doesn't show %q: %q", what, c.Seen())
		}
	}
}

// TestGetty: a login by a getty, and afterwards a getty again, on a terminal that is as it was.
func TestGetty(t *testing.T) {
	t.Parallel()
	lab.Need(t)
	c := consolesim.New(t, consolesim.Options{Rate: 11520})
	shows(t, c, "login: ")
	before := c.Mode(t)
	for range 2 {
		p, err := begin(t, c, func(o *Options) {
			o.Argv = []string{"sh", "-c",
				`id -un >&2; env | grep -c "^MITO\|^PS1=\|TMOUT\|HISTFILE\|^ENV=\|PYTHON" >&2; cat`}
		})
		if err != nil {
			t.Fatalf("start: got error %v\n%q", err, c.Seen())
		}
		c.Forget()
		p.Stdin().Close()
		io.ReadAll(p.Stdout())
		<-p.Done()
		if got := p.Failure().Text; got != lab.Pass+"\n0\n" {
			t.Errorf("stderr: got %q, want the user and no variable of ours", got)
		}
		shows(t, c, "login: ")
		if after := c.Mode(t); after != before {
			t.Errorf("mode of the terminal: got %s, want %s", after, before)
		}
	}
}

// TestWrongPassword: one attempt, and the login prompt again.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	lab.Need(t)
	for name, c := range map[string]struct {
		password string
		kind     error
	}{
		"wrong": {"not this one", connect.ErrAuth},
		"none":  {"", connect.ErrPasswordRequired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			con := consolesim.New(t, consolesim.Options{})
			_, err := begin(t, con, func(o *Options) {
				o.Password = func(context.Context) (secret.Secret,
					error) {
					asked++
					return secret.Secret(c.password), nil
				}
			})
			var failed *Error
			if !errors.As(err, &failed) || failed.Kind() != c.kind || failed.Phase != PhaseLogin ||
				asked != 1 {
				t.Fatalf("got %v, asked %d times, want %v and once\n%q", err, asked, c.kind,
					con.Seen())
			}
			if strings.Contains(con.Seen()+failed.Text, "not this one") {
				t.Error("the password is shown")
			}
			if n := strings.Count(con.Seen(), "Password:"); n != 1 {
				t.Errorf("got %d questions for a password, want 1", n)
			}
		})
	}
}

// TestSessionThatIsThere: it is used and goes on afterwards, by the same process and in the same
// mode, whatever shell it is. A shell in the place of process 1 is never replaced.
func TestSessionThatIsThere(t *testing.T) {
	t.Parallel()
	for name, session := range map[string][]string{
		"dash":      {"/bin/dash", "-i"},
		"bash":      {"/bin/bash", "--norc", "-i"},
		"busybox":   {"/bin/busybox", "sh", "-i"},
		"login":     {"/bin/sh", "-l"},
		"initramfs": {"/bin/busybox", "env", "PS1=(initramfs) ", "busybox", "sh"},
		"rescue": {"/bin/sh", "-c",
			`printf 'Press Enter for maintenance\n(or press Control-D to continue): '; ` +
				`read x; exec sh -i`},
		"activate": {"/bin/sh", "-c",
			`printf '\nPlease press Enter to activate this console.'; read x; exec sh -i`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(session[0]); err != nil {
				t.Skip(err)
			}
			c := consolesim.New(t, consolesim.Options{Rate: 11520, Session: session})
			for range 2 {
				p, err := begin(t, c, func(o *Options) {
					o.Password = func(context.Context) (secret.Secret, error) {
						return "never",
							errors.New("asked")
					}
				})
				if err != nil {
					t.Fatalf("start: got error %v\n%q", err, c.Seen())
				}
				works(t, p)
				stays(t, c)
			}
		})
	}
}

// stays checks that the session of a console is still there, and shows what is typed.
func stays(t *testing.T, c *consolesim.Console) {
	t.Helper()
	if c.Starts() != 1 {
		t.Fatalf("the session was started %d times, want once", c.Starts())
	}
	d, err := openDevice(c.Device, 115200)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c.Forget()
	io.WriteString(d, "echo $((20+3))$$\r")
	shows(t, c, fmt.Sprintf("23%d", c.Pid()))
	shows(t, c, "echo $((20+3))$$")
}

// A screen is a console of the test's.
type screen struct{ r, w *os.File }

func (s screen) show(text string) { io.WriteString(s.w, text) }

// asks shows a question and returns what is typed up to Enter, which is shown if it echoes.
func (s screen) asks(question string, echoes bool) string {
	s.show(question)
	var line []byte
	b := make([]byte, 1)
	for {
		if _, err := s.r.Read(b); err != nil {
			runtime.Goexit()
		}
		switch b[0] {
		case '\r':
			s.show("\r\n")
			return string(line)
		case 0x15, 0x03:
			line = line[:0]
		default:
			line = append(line, b[0])
			if echoes {
				s.show(string(b))
			}
		}
	}
}

// TestHostileConsoles: what only pretends to be a login gets the password once at most, and what
// shows what is typed doesn't get it at all.
func TestHostileConsoles(t *testing.T) {
	t.Parallel()
	const hidden = "the real secret"
	for name, c := range map[string]struct {
		kind   error
		most   int64 // times that the password may be typed
		script func(s screen)
	}{
		"asks again and again": {connect.ErrAuth, 1, func(s screen) {
			for s.asks("", true); ; s.asks("Password: ", false) {
				s.asks("vm login: ", true)
			}
		}},
		"asks for the password only": {connect.ErrAuth, 1, func(s screen) {
			s.asks("", true)
			for s.asks("vm login: ", true); ; {
				s.asks("Password: ", false)
			}
		}},
		"refuses": {connect.ErrAuth, 1, func(s screen) {
			for s.asks("", true); ; s.show("Login incorrect\r\n") {
				s.asks("vm login: ", true)
				s.asks("Password: ", false)
			}
		}},
		"shows the password behind it": {connect.ErrAuth, 1, func(s screen) {
			for s.asks("", true); ; s.show("Login incorrect\r\n") {
				s.asks("vm login: ", true)
				s.show(s.asks("Password: ", false) + "\r\n")
			}
		}},
		"wants maintenance": {connect.ErrAuth, 1, func(s screen) {
			for s.asks("", true); ; {
				s.asks("Give root password for maintenance\r\n(or press Control-D to continue): ",
					false)
			}
		}},
		"shows what is typed": {connect.ErrAuth, 0, func(s screen) {
			for s.asks("", true); ; s.asks("Password: ", true) {
				s.asks("vm login: ", true)
			}
		}},
		"a question without a login": {connect.ErrNoLogin, 0, func(s screen) {
			for {
				s.asks("Password: ", false)
			}
		}},
		"a question from a shell": {connect.ErrNoLogin, 0, func(s screen) {
			for {
				s.asks("$ ", true)
				s.show("Password: ")
			}
		}},
		"a boot loader": {connect.ErrNoLogin, 0, func(s screen) {
			s.show("\x1b[H\x1b[J   GNU GRUB  version 2.06\r\n\x1b[4;2H*Debian")
			s.asks("", false)
		}},
		"silence": {connect.ErrTimeout, 0, func(s screen) {
			for {
				s.asks("", false)
			}
		}},
		"a shell that is none": {connect.ErrNoLogin, 0, func(s screen) {
			for {
				s.asks("\r\n$ ", true)
			}
		}},
		"markers": {connect.ErrDied, 0, func(s screen) {
			for {
				s.asks("MITO-427\nMITO-A0:0\n%&%&%&%&\n%BgAApUeygw==\n$", true)
			}
		}},
		"output without an end": {connect.ErrNoLogin, 0, func(s screen) {
			for {
				s.show("\x1b[31m\x1b]0;login: \aPassword:\nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n")
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var typed atomic.Int64
			con := consolesim.New(t, consolesim.Options{Far: watched(hidden, &typed, c.script)})
			_, err := begin(t, con, func(o *Options) {
				o.Line.Baud, o.wait = 0, 800*time.Millisecond // a busy machine is slow
				o.Password = func(context.Context) (secret.Secret, error) { return hidden, nil }
			})
			var failed *Error
			if !errors.As(err, &failed) || failed.Kind() != c.kind {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			if failed != nil && strings.Contains(failed.Text, hidden) {
				t.Errorf("got text %q, want it without the password", failed.Text)
			}
			if n := typed.Load(); n > c.most {
				t.Errorf("the password was typed %d times, want %d at most", n, c.most)
			}
		})
	}
}

// watched counts how often a secret is typed.
func watched(secret string, n *atomic.Int64, script func(screen)) func(*os.File) {
	return func(f *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			return
		}
		go func() {
			defer w.Close()
			var all []byte
			b := make([]byte, 256)
			for {
				k, err := f.Read(b)
				if err != nil {
					return
				}
				all = append(all, b[:k]...)
				n.Store(int64(bytes.Count(all, []byte(secret))))
				w.Write(b[:k])
			}
		}()
		script(screen{r, f})
	}
}

// TestHeld: a console that is held is an error that says so. What a killed client has left
// isn't held.
func TestHeld(t *testing.T) {
	t.Parallel()
	c := consolesim.New(t, consolesim.Options{Session: []string{"/bin/sh", "-i"}})
	first, err := begin(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = begin(t, c, nil)
	if failed := (*Error)(nil); !errors.As(err, &failed) || failed.Kind() != connect.ErrBusy {
		t.Errorf("a second client: got %v, want %v", err, connect.ErrBusy)
	}
	first.w.Close() // as the kernel does for a client that is killed: without a goodbye
	second, err := begin(t, c, nil)
	if err != nil {
		t.Fatalf("after a client that was killed: %v\n%q", err, c.Seen())
	}
	works(t, second)
	stays(t, c)
}
