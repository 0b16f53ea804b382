package process

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// lower sets the limit of this process for one test.
func lower(t *testing.T, n int) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE,
		&unix.Rlimit{Cur: uint64(n), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
}

// fill opens files until there is no room beside the reserve, and returns the last one.
func fill(t *testing.T) (last *os.File) {
	t.Helper()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatalf("open file: got %v before KeepFile refused one", err)
		}
		t.Cleanup(func() { f.Close() })
		if KeepFile(f) != nil {
			return f
		}
	}
}

func TestKeepLeavesReserve(t *testing.T) {
	for _, limit := range []int{32, 64, 128} {
		lower(t, limit)
		last := fill(t)
		if err := KeepFile(last); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("limit %d: KeepFile: got %v, want EMFILE", limit, err)
		}
		if n := FileRoom(); n != 0 {
			t.Errorf("limit %d: FileRoom: got %d of a full process, want 0", limit, n)
		}
		reserve := min(limit/part, maxReserve)
		if err := CheckFiles(reserve - 1); err != nil { // last has one
			t.Errorf("limit %d: CheckFiles(%d): got %v, want room in the reserve", limit, reserve-1, err)
		}
		if err := CheckFiles(reserve); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("limit %d: CheckFiles(%d): got %v, want EMFILE", limit, reserve, err)
		}
	}
}

// A listener that can't be given a descriptor takes the client later.
func TestAcceptWaits(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	lower(t, 64)
	var open []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		open = append(open, f)
	}
	accepted := make(chan error)
	n := NewListener(l, func(*net.UnixConn) { t.Error("a client was turned away at once") })
	go func() {
		c, err := n.Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	select {
	case err := <-accepted:
		t.Errorf("Accept without descriptors: got %v, want it to wait", err)
	case <-waited():
	}
	for _, f := range open {
		f.Close()
	}
	if err := <-accepted; err != nil {
		t.Errorf("Accept: got %v, want the client", err)
	}
	l.Close()
	if _, err := n.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener: got %v, want net.ErrClosed", err)
	}
}

// waited returns a channel that is closed after Accept has tried a few times.
func waited() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		for range 3 {
			unix.Nanosleep(&unix.Timespec{Nsec: int64(acceptPause)}, nil)
		}
		close(done)
	}()
	return done
}

// A client for whom nothing becomes free is told so, though the limit was lowered below what is
// open.
func TestTurnedAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const reason = "full"
	n := NewListener(l, func(c *net.UnixConn) { c.Write([]byte(reason)) })
	var clients [3]net.Conn
	for i := range clients {
		if clients[i], err = net.Dial("unix", socket); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
	}
	lower(t, 64)
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		defer f.Close()
	}
	lower(t, 48)
	ended := make(chan error)
	go func() {
		_, err := n.Accept()
		ended <- err
	}()
	for i, c := range clients {
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if got, err := io.ReadAll(c); string(got) != reason {
			t.Errorf("client %d: got %q, %v, want the reason", i, got, err)
		}
	}
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener: got %v, want net.ErrClosed", err)
	}
	if n.spare >= 0 {
		t.Errorf("the spare descriptor %d is still open", n.spare)
	}
}
