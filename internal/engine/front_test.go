package engine

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// What a program calls goes ahead of a login's stdin, as a Go program's calls do, but arguments go
// only if the program says so: they may be secret.
func TestProgramsCallsAhead(t *testing.T) {
	for _, tt := range []struct {
		name       string
		callsAhead bool
		args       string
		want       int // calls that go ahead, with the call that prepares
	}{
		{"no arguments", false, "", 2},
		{"arguments", false, "x", 1},
		{"arguments that may be read", true, "x", 2},
		{"a secret among them", true, "cmitogen\nSecret\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{aheadPatience: patience})
			f := e.Attach(stream.New())
			ssh := connect.SSHOptions{CallsAhead: tt.callsAhead}
			o := ConnectOptions{Options: connect.Options{SSH: ssh}}
			f.Connect(1, 0, 1<<30+1, "web1+sudo", o, nil)
			take := func(reply wire.Handle, payload string) {
				f.Take(&wire.Frame{Dst: 1, Handle: wire.Call, Reply: reply, Payload: []byte(payload)}, false)
			}
			take(0, "_mitogen_program:begin\x00")
			take(1<<30+2, "os:getpid\x00"+tt.args)
			all, err := boot.AheadText((<-fakes).plan.Env)
			image, _ := inflate(boot.Image())
			_, frames, found := bytes.Cut(all, image)
			if err != nil || !found {
				t.Fatalf("what goes ahead: got %d bytes, %v, want the image", len(all), err)
			}
			var got []wire.Handle
			sc := wire.NewScanner(bytes.NewReader(frames))
			for g, err := sc.Next(); err != io.EOF; g, err = sc.Next() {
				if err != nil {
					t.Fatal(err)
				}
				if g.Handle == wire.Call {
					got = append(got, g.Reply)
				}
			}
			want := []wire.Handle{0, 1<<30 + 2}[:tt.want]
			if !slices.Equal(got, want) {
				t.Errorf("replies of the calls that go ahead: got %v, want %v", got, want)
			}
		})
	}
}

// Frames of a program that have been read together are written together, at most 64 of them.
func TestFrontWritesTogether(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	f := e.Attach(stream.New())
	f.Connect(1, 0, 1<<30+1, "local", ConnectOptions{}, nil)
	child := <-fakes
	child.hello(1)
	e.mu.Lock()
	c := e.tree.contexts[1]
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
