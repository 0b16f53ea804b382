package engine

import (
	"testing"

	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Frames of a program that have been read together are written together, at most 64 of them.
func TestFrontWritesTogether(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	f := e.Attach(stream.New())
	f.Connect(1, 0, 1<<30+1, "local", ConnectOptions{}, nil)
	child := <-fakes
	child.hello(1)
	e.mu.Lock()
	c := e.contexts[1]
	e.mu.Unlock()
	waitFor(t, "the context to be up", func() bool {
		return c.stream.Queued() == 0 && !f.preparing(c)
	})
	reply := wire.Handle(1<<30 + 1)
	take := func(more bool) (left bool) {
		reply++
		call := wire.Frame{Dst: 1, Handle: wire.Call, Reply: reply, Payload: []byte("os:getpid\x00")}
		return f.Take(&call, more)
	}
	written := 0
	for range 63 {
		if !take(true) {
			t.Fatalf("after %d frames with more: got none left, want them left", written)
		}
		written++
	}
	if c.stream.Queued() == 0 {
		t.Error("63 frames with more: got them written, want them queued")
	}
	if take(true) {
		t.Error("frame 64 with more: got it left, want it written")
	}
	child.takes(t, 64)
	if !take(true) || c.stream.Queued() == 0 {
		t.Error("frame 65 with more: got it written, want it left")
	}
	f.Write()
	child.takes(t, 1)
	if take(false) {
		t.Error("a frame without more: got it left, want it written")
	}
	child.takes(t, 1)
}

// takes waits for n calls.
func (f *fake) takes(t *testing.T, n int) {
	t.Helper()
	for range n {
		f.expect(1, wire.Call)
	}
}
