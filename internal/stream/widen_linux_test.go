package stream

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// sizeOf returns the size of a pipe.
func sizeOf(t *testing.T, pipe *os.File) (size int) {
	t.Helper()
	c, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := error(nil)
	err = c.Control(func(fd uintptr) { size, failed = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) })
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return size
}

// Pipes are widened once bulk passes them, in both directions, and not before: an account has a
// share for all of its pipes. A stream that is closed gives its part back.
func TestWidePipes(t *testing.T) {
	before := widened.Load()
	fromEngine, toContext, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer fromEngine.Close()
	toEngine, fromContext, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer fromContext.Close()
	usual := sizeOf(t, toEngine)
	s := New()
	s.Attach(toContext, toEngine)
	s.Release()
	const size = 2 << 10 // of frames that wait for no answer
	f := frame(0, 1, wire.Stdout, size)
	read := make(chan error, 1)
	go func() { read <- s.Read(toEngine, func([]byte) {}, func(*wire.Frame) {}) }()
	go io.Copy(io.Discard, fromEngine)
	move := func(frames int) {
		for range frames {
			s.Put(f)
			s.Flush()
			if _, err := fromContext.Write(f.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		for end := time.Now().Add(time.Minute); s.Queued() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("waited in vain for what is queued")
			}
		}
	}
	move(bulkSize / size / 2)
	if up, down := sizeOf(t, toEngine), sizeOf(t, toContext); up != usual || down != usual {
		t.Errorf("before bulk: got %d and %d, want %d", up, down, usual)
	}
	move(bulkSize / size)
	if up, down := sizeOf(t, toEngine), sizeOf(t, toContext); up != widePipe || down != widePipe {
		t.Errorf("after bulk: got %d and %d, want %d", up, down, widePipe)
	}
	fromContext.Close()
	if err := <-read; err != io.EOF {
		t.Errorf("read: got %v, want %v", err, io.EOF)
	}
	s.Close(io.EOF)
	if n := widened.Load() - before; n != 0 {
		t.Errorf("after its end: got %d pipes, want none", n)
	}
}
