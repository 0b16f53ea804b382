package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// FuzzHandle checks that no first line of a client reaches anything without the token that was
// given out.
func FuzzHandle(f *testing.F) {
	f.Add([]byte("token host 22\n"))
	f.Add([]byte("token host x\n"))
	f.Add([]byte("other host 22\n\n"))
	f.Add([]byte(strings.Repeat("x", 5000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return
		}
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		var ends [2]*net.UnixConn
		for i, fd := range fds {
			file := os.NewFile(uintptr(fd), "pair")
			c, err := net.FileConn(file)
			file.Close()
			if err != nil {
				t.Fatal(err)
			}
			ends[i] = c.(*net.UnixConn)
		}
		asked := false
		s := &Server{dials: map[string]Dial{"token": func(string, int) (Conn, error) {
			asked = true
			return nil, errors.New("none")
		}}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			ends[1].Write(b)
			ends[1].CloseWrite()
			io.Copy(io.Discard, ends[1])
			ends[1].Close()
		}()
		s.handle(ends[0])
		ends[0].Close()
		<-done
		if asked && !strings.Contains(string(b), "token") {
			t.Fatalf("%q reaches a host", b)
		}
	})
}
