package sshnative

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// TestBroken: a session that ends without a status says what has become of the connection.
func TestBroken(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(conn *net.TCPConn, channel ssh.Channel)
		want string // of the last words; "": none
	}{
		{"reset", func(conn *net.TCPConn, _ ssh.Channel) {
			conn.SetLinger(0)
			conn.Close()
		}, "connection reset by peer"},
		{"closed", func(conn *net.TCPConn, _ ssh.Channel) { conn.Close() },
			"the other side has closed the connection"},
		{"damaged", func(conn *net.TCPConn, _ ssh.Channel) { conn.Write(make([]byte, 64<<10)) },
			"Connection broken: "},
		{"session without a status", func(_ *net.TCPConn, channel ssh.Channel) { channel.Close() }, ""},
		{"signal", func(_ *net.TCPConn, channel ssh.Channel) {
			channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal string
				Core   bool
				Text   string
				Lang   string
			}{Signal: "KILL"}))
			channel.Close()
		}, "ended by signal KILL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := broken(t, test.end)
			<-p.Done()
			f := p.Failure()
			if f.What != methods.WhatExit || f.Status != 255 || !strings.Contains(f.Text, test.want) ||
				test.want == "" && f.Text != "" {
				t.Errorf("got %+v, want status 255 and %q", f, test.want)
			}
		})
	}
}

// A server that says no version in the time of ConnectTimeout is given up, in the words of ssh.
func TestSilentServer(t *testing.T) {
	for _, text := range []string{"", "Welcome\r\n", "SSH-2.0-half"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Write([]byte(text))
				defer conn.Close()
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for _, native := range []bool{true, false} {
			argv := []string{"ssh", "-F", "none", "-o", "ConnectTimeout=1", "-o", "BatchMode=yes", "-p",
				port, "--", "127.0.0.1"}
			said := ""
			if native {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err = Start(ctx, Options{Argv: argv, Command: "true"})
				if said = fmt.Sprint(err); ctx.Err() != nil {
					t.Errorf("server that says %q: got no end within a minute", text)
				}
				cancel()
			} else {
				out, _ := exec.Command(argv[0], append(argv[1:], "true")...).CombinedOutput()
				said = string(out)
			}
			if !strings.Contains(said, "Connection timed out during banner exchange") {
				t.Errorf("server that says %q, native %v: got %q, want a timeout during the exchange", text,
					native, said)
			}
		}
	}
}

// broken starts a command on a server that then ends it.
func broken(t *testing.T, end func(*net.TCPConn, ssh.Channel)) *Process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(sampleSigner(t))
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for c := range channels {
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, channel)
			for r := range requests {
				if r.WantReply {
					r.Reply(true, nil)
				}
				if r.Type == "exec" {
					end(conn.(*net.TCPConn), channel)
				}
			}
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "",
		&ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	d := &dialer{opt: Options{Command: "true"}, closers: []io.Closer{client}}
	p, err := d.command(&config{}, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}
