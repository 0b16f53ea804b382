package stream

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// wideStream is a stream over real pipes. What is put is read at its far end, and comes back.
type wideStream struct {
	s        *Stream
	up, down *os.File // this end of the pipes
	frames   chan int // payloads that came back
}

func newWideStream(t *testing.T, near bool) *wideStream {
	t.Helper()
	upR, upW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := &wideStream{s: New(), up: upR, down: downW, frames: make(chan int, 1000)}
	if near {
		w.s.Near()
	}
	w.s.Attach(downW, upR)
	w.s.Release()
	go func() {
		io.CopyBuffer(struct{ io.Writer }{upW}, struct{ io.Reader }{downR}, make([]byte, 4*fullPipe))
		upW.Close()
	}()
	ended := make(chan error, 1)
	go func() {
		ended <- w.s.Read(upR, func([]byte) {}, func(f *wire.Frame) { w.frames <- len(f.Payload) })
	}()
	t.Cleanup(func() {
		w.s.Close(nil)
		<-ended
		if n := widePipes.Load(); n != 0 {
			t.Errorf("wide pipes after the end: got %d, want 0", n)
		}
	})
	return w
}

// sizes returns what the pipes hold.
func (w *wideStream) sizes(t *testing.T) (up, down int) {
	t.Helper()
	for f, n := range map[*os.File]*int{w.up: &up, w.down: &down} {
		c, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		c.Control(func(fd uintptr) { *n, _ = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) })
	}
	return up, down
}

// pass sends frames until both pipes are wide, or many have passed.
func (w *wideStream) pass(t *testing.T, payload int) (up, down int) {
	t.Helper()
	f := &wire.Frame{Dst: 1, Handle: wire.Call, Kind: wire.Part, Payload: make([]byte, payload)}
	for range 100 {
		for range 8 {
			w.s.Put(f)
		}
		w.s.Flush()
		for range 8 {
			<-w.frames
		}
		if up, down = w.sizes(t); up == widePipe && down == widePipe {
			break
		}
	}
	return up, down
}

func TestNearPipesWiden(t *testing.T) {
	for _, test := range []struct {
		name    string
		near    bool
		payload int
		want    int
	}{
		{"large frames", true, wire.MaxPayload, widePipe},
		{"small frames", true, 100, fullPipe},
		{"elsewhere", false, wire.MaxPayload, fullPipe},
	} {
		t.Run(test.name, func(t *testing.T) {
			up, down := newWideStream(t, test.near).pass(t, test.payload)
			if up != test.want || down != test.want {
				t.Errorf("pipes: got %d and %d bytes, want %d", up, down, test.want)
			}
		})
	}
}

// However many streams there are, a few pipes are wide.
func TestFewPipesAreWide(t *testing.T) {
	widePipes.Add(mostWide)
	w := newWideStream(t, true)
	up, down := w.pass(t, wire.MaxPayload)
	widePipes.Add(-mostWide)
	if up != fullPipe || down != fullPipe {
		t.Errorf("pipes beyond the limit: got %d and %d bytes, want %d", up, down, fullPipe)
	}
}
