package sshmux

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// pairOf returns both ends of a socket.
func pairOf(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// FuzzReplies checks that whatever a master answers, a request ends.
func FuzzReplies(f *testing.F) {
	hello := words(nil, 8, msgHello, version)
	f.Add(words(append([]byte(nil), hello...), 8, replyOpened, 1))
	f.Add(words(append([]byte(nil), hello...), 12, replyDenied, 1, 0))
	f.Add(words(append([]byte(nil), hello...), 8, replyFailed, 2))
	f.Add(words(nil, 1<<31))
	f.Add(words(nil, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return
		}
		near, far := pairOf(t)
		defer near.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			far.Write(b)
			far.CloseWrite()
			io.Copy(io.Discard, far)
		}()
		request(near, "host", 22, int(os.Stdin.Fd()))
		near.Close()
		<-done
	})
}
