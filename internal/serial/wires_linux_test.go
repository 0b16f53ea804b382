package serial

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/consolesim"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// offer has a listener lead each connection to a console, one at a time. greeting is sent first.
func offer(t *testing.T, l net.Listener, c *consolesim.Console, telnet bool) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			lead(conn, c, telnet)
		}
	}()
}

// lead passes bytes between a connection and a console, as telnet if that is wanted.
func lead(conn net.Conn, c *consolesim.Console, telnet bool) {
	defer conn.Close()
	d, err := openDevice(c.Device, 0)
	if err != nil {
		return
	}
	defer d.Close()
	if telnet {
		conn.Write([]byte{iac, will, optSGA, iac, will, optEcho, iac, do, 24, iac, sb, 24, 1, iac,
			se})
	}
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := d.Read(b)
			if err != nil {
				conn.Close()
				return
			}
			for _, x := range b[:n] {
				if telnet && x == iac {
					conn.Write([]byte{iac})
				}
				conn.Write([]byte{x})
			}
		}
	}()
	from := &telnetServer{conn: conn, on: telnet}
	io.Copy(d, from)
}

// telnetServer reads what a client sends, without commands of three bytes.
type telnetServer struct {
	conn net.Conn
	on   bool
	skip int
}

func (s *telnetServer) Read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if !s.on {
		return n, err
	}
	kept := 0
	for _, x := range b[:n] {
		switch {
		case s.skip > 0:
			s.skip--
		case x == iac:
			s.skip = 2
		default:
			b[kept] = x
			kept++
		}
	}
	return kept, err
}

// TestSockets: a console behind a UNIX socket, a TCP connection, and a telnet server.
func TestSockets(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]func(t *testing.T) (net.Listener, *methods.Line){
		"unix": func(t *testing.T) (net.Listener, *methods.Line) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			return l, &methods.Line{Socket: path}
		},
		"tcp":    listenTCP,
		"telnet": listenTCP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := consolesim.New(t, consolesim.Options{Rate: serialRate, Session: []string{"/bin/sh",
				"-i"}})
			l, line := listen(t)
			offer(t, l, c, name == "telnet")
			for range 2 {
				p, err := begin(t, c, func(o *Options) { o.Line = line })
				if err != nil {
					t.Fatalf("start: got error %v\n%q", err, c.Seen())
				}
				works(t, p)
			}
		})
	}
}

func listenTCP(t *testing.T) (net.Listener, *methods.Line) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, &methods.Line{Address: l.Addr().String()}
}

// TestPrograms: a program whose terminal is the console, in the place of ipmitool: it is told to
// let
// go at the end, and what it says when it can't begin is an error.
func TestPrograms(t *testing.T) {
	t.Parallel()
	c := consolesim.New(t, consolesim.Options{Session: []string{"/bin/sh", "-i"}})
	dir := t.TempDir()
	program := filepath.Join(dir, "ipmitool")
	script := "#!/usr/bin/python3\n" + `
import os,select,sys,tty
d=os.open(sys.argv[1],os.O_RDWR|os.O_NOCTTY)
tty.setraw(0)
os.write(1,b"[SOL Session operational.  Use ~? for help]\r\n")
last=b""
while 1:
    r,_,_=select.select([0,d],[],[])
    if d in r: os.write(1,os.read(d,4096))
    if 0 in r:
        b=os.read(0,4096)
        if not b: break
        last=(last+b)[-3:]
        if last==b"\r~.":
            open(sys.argv[2],"w").write("left")
            break
        os.write(d,b)
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "left")
	p, err := begin(t, c, func(o *Options) {
		o.Line = &methods.Line{Program: []string{program, c.Device, left}, Leave: "\r~."}
	})
	if err != nil {
		t.Fatalf("start: got error %v\n%q", err, c.Seen())
	}
	works(t, p)
	if text, err := os.ReadFile(left); string(text) != "left" {
		t.Errorf("the program was not told to let go: %q, %v", text, err)
	}
	busy := []string{"/bin/sh", "-c",
		"echo 'Info: SOL payload already active on another session'; exit 1"}
	_, err = begin(t, c, func(o *Options) { o.Line = &methods.Line{Program: busy} })
	if failed := (*Error)(nil); !errors.As(err, &failed) || failed.Kind() != connect.ErrBusy {
		t.Errorf("a payload that is active: got %v, want %v", err, connect.ErrBusy)
	}
}

// TestSpeeds: a line of 9,600 baud comes up, and stays up while it carries more than a timeout's
// worth;
// the long form only.
func TestSpeeds(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("make test-console has the time")
	}
	c := consolesim.New(t, consolesim.Options{Rate: 960, Flip: .0005, Session: []string{"/bin/sh",
		"-i"}})
	began := time.Now()
	p, err := begin(t, c, func(o *Options) { o.Line.Baud = 9600 })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up in %v", time.Since(began))
	works(t, p)
	down, up := c.Passed()
	t.Logf("%d bytes there, %d back", down, up)
}

// TestCancelled: the end of ctx ends a start, and leaves the console for the next one.
func TestCancelled(t *testing.T) {
	t.Parallel()
	c := consolesim.New(t, consolesim.Options{Rate: serialRate, Session: []string{"/bin/sh", "-i"}})
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond,
		900 * time.Millisecond, 1400 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		p, err := Start(ctx, Options{
			Line: &methods.Line{Device: c.Device, Baud: 115200, User: "x"}, Hidden: &methods.Mask{},
			Argv: []string{"cat"},
		})
		cancel()
		if err == nil { // it was faster
			p.Kill()
			<-p.Done()
		}
		if failed := (*Error)(nil); err != nil && (!errors.As(err, &failed) ||
			failed.Kind() != connect.ErrTimeout) {
			t.Errorf("after %v: got %v, want %v", after, err, connect.ErrTimeout)
		}
	}
	p, err := begin(t, c, nil)
	if err != nil {
		t.Fatalf("start: got error %v\n%q", err, c.Seen())
	}
	works(t, p)
	stays(t, c)
}
