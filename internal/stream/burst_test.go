package stream

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Of many frames without one from the other end, the first ones are written at once, and the rest
// by the writer. Once a frame has come, it begins anew.
func TestBurst(t *testing.T) {
	s := New()
	defer s.Close(nil)
	r, w := io.Pipe() // which holds nothing: the writer waits in its first write
	defer r.Close()
	s.Attach(w)
	s.Release()
	tried := 0
	s.mu.Lock()
	s.try = func(b []byte) (int, bool) { tried++; return len(b), true }
	s.mu.Unlock()
	send := func() {
		s.Put(&wire.Frame{Handle: wire.Call, Payload: []byte("x")})
		s.Flush()
	}
	for range 100 {
		send()
	}
	if tried != burst {
		t.Errorf("100 frames in a row: got %d writes at once, want %d", tried, burst)
	}
	go io.Copy(io.Discard, r)
	for s.Queued() > 0 { // until the writer has written the rest
		runtime.Gosched()
	}
	up := bytes.NewReader((&wire.Frame{Handle: wire.Call}).Append(nil))
	if err := s.Read(up, func([]byte) {}, func(*wire.Frame) {}); err != io.EOF {
		t.Fatalf("read: got %v, want %v", err, io.EOF)
	}
	for range 1000 { // the writer may not have noted yet that it is done
		send()
		runtime.Gosched()
	}
	if tried == burst {
		t.Error("frames behind one from the other end: got no write at once")
	}
}
