package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// pipe returns a stream that writes to a pipe, and the pipe's other end.
func pipe(t *testing.T) (*Stream, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	s.Attach(w)
	s.Release()
	t.Cleanup(func() { s.Close(nil); r.Close() })
	return s, r
}

// memory is a writer that can't tell what goes at once, and may be slow.
type memory struct {
	mu   sync.Mutex
	b    bytes.Buffer
	gate chan struct{} // each write takes one; nil: none is needed
}

func (m *memory) Write(p []byte) (int, error) {
	if m.gate != nil {
		if _, ok := <-m.gate; !ok {
			return 0, io.ErrClosedPipe
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.Write(p)
}

func (m *memory) Close() error { return nil }

func (m *memory) bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.b.Bytes())
}

func frame(src, dst wire.ContextID, handle wire.Handle, n int) *wire.Frame {
	return &wire.Frame{Src: src, Dst: dst, Handle: handle, Payload: bytes.Repeat([]byte{'x'}, n)}
}

// names lists the frames in b as "src>dst handle".
func names(t *testing.T, b []byte) []string {
	t.Helper()
	var all []string
	sc := wire.NewScanner(bytes.NewReader(b))
	for {
		f, err := sc.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d>%d %v", f.Src, f.Dst, f.Handle))
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in 20 s", what)
		}
	}
}

func TestFlushWritesAtOnce(t *testing.T) {
	s, r := pipe(t)
	s.Put(frame(0, 1, wire.Call, 10))
	s.Flush()
	f, err := wire.NewScanner(r).Next()
	if err != nil || f.Handle != wire.Call || len(f.Payload) != 10 {
		t.Fatal(f, err)
	}
	c := s.Counters()
	if c.FramesDown != 1 || c.BytesDown != int64(f.Size()) {
		t.Errorf("counted %+v", c)
	}
}

// What is put into a stream waits for pipes and for Release, and the boot bytes come first.
func TestQueueBeforeAttach(t *testing.T) {
	m := &memory{}
	s := New()
	defer s.Close(nil)
	s.PutRaw([]byte("boot"))
	s.Put(frame(0, 1, wire.Call, 1))
	s.Flush()
	s.Attach(m)
	s.Flush()
	if len(m.bytes()) > 0 {
		t.Fatal("written before Release")
	}
	s.Release()
	waitFor(t, "bytes", func() bool { return len(m.bytes()) == 4+31 })
	if rest, ok := bytes.CutPrefix(m.bytes(), []byte("boot")); !ok || len(names(t, rest)) != 1 {
		t.Errorf("got %q", m.bytes())
	}
}

// Frames of one pair keep their order; small ones of other pairs pass large ones, CREDIT and PING
// pass all.
func TestOrder(t *testing.T) {
	s, m := New(), &memory{}
	defer s.Close(nil)
	s.Put(frame(0, 1, 1001, 10))
	s.Put(frame(0, 1, 1002, 100<<10))
	s.Put(frame(0, 1, 1003, 10))
	s.Put(frame(0, 2, 1004, 10))
	s.Put(frame(0, 2, 1005, 5000))
	s.Put(frame(3, 2, 1006, 10))
	s.Put(frame(0, 2, 1007, 10))
	s.Put(frame(0, 1, wire.Credit, 8))
	s.Put(frame(0, 2, wire.Ping, 0))
	s.PutUrgent(frame(0, 2, 1008, 0))
	s.Attach(m)
	s.Release()
	waitFor(t, "empty queue", func() bool { return s.Queued() == 0 })
	got := strings.Join(names(t, m.bytes()), ", ")
	want := "0>1 CREDIT, 0>2 PING, 0>2 1008, 0>1 1001, 0>2 1004, 3>2 1006, 0>1 1002, 0>1 1003, 0>2 " +
		"1005, 0>2 1007"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(s.pairs) != 0 {
		t.Errorf("pairs left: %v", s.pairs)
	}
}

// A pipe that is full blocks the writer alone, and nothing is lost.
func TestFullPipe(t *testing.T) {
	s, r := pipe(t)
	const frames = 400
	for i := range frames {
		s.Put(frame(0, 1, wire.Handle(1000+i), 5000))
		s.Flush()
	}
	if s.Queued() == 0 {
		t.Fatal("2 MB went into a pipe")
	}
	sc := wire.NewScanner(r)
	for i := range frames {
		f, err := sc.Next()
		if err != nil || f.Handle != wire.Handle(1000+i) || len(f.Payload) != 5000 {
			t.Fatalf("frame %d: %v %v", i, f, err)
		}
	}
	waitFor(t, "empty queue", func() bool { return s.Queued() == 0 })
}

func TestFull(t *testing.T) {
	m := &memory{gate: make(chan struct{})}
	s := New()
	s.Attach(m)
	s.Release()
	for s.Full() == nil {
		s.Put(frame(0, 1, wire.Stdin, wire.MaxPayload))
		s.Kick()
	}
	room := s.Full()
	close(m.gate) // writes fail from now on
	select {
	case <-room:
	case <-time.After(20 * time.Second):
		t.Fatal("room isn't told")
	}
	if s.Put(frame(0, 1, 1000, 1)); s.Queued() != 0 {
		t.Error("a stream that can't write keeps a frame")
	}
	s.Close(nil)
}

// Close ends reader and writer, and the first reason stays.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	defer inW.Close()
	defer outR.Close()
	s := New()
	s.Attach(outW, inR)
	s.Release()
	for range 100 { // until the writer is stuck
		s.Put(frame(0, 1, wire.Stdin, wire.MaxPayload))
		s.Flush()
	}
	ended := make(chan error)
	go func() { ended <- s.Read(inR, nil, func(*wire.Frame) {}) }()
	why := errors.New("why")
	s.Close(why)
	s.Close(errors.New("later"))
	select {
	case err := <-ended:
		if err == nil {
			t.Error("Read returned without an error")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Read goes on")
	}
	if s.Err() != why {
		t.Errorf("ended by %v", s.Err())
	}
	s.Put(frame(0, 1, 1000, 1))
	s.Flush()
	if s.Full() != nil || s.Queued() != 0 {
		t.Error("a closed stream keeps frames")
	}
	waitFor(t, "goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestAttachAfterClose(t *testing.T) {
	r, w, _ := os.Pipe()
	defer r.Close()
	s := New()
	s.Close(nil)
	s.Attach(w)
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("pipe stays open: %v", err)
	}
}

func TestReadCountsAndReports(t *testing.T) {
	s, _ := pipe(t)
	var in []byte
	in = append(in, "noise\n"...)
	in = frame(1, 0, wire.Hello, 3).Append(in)
	in = append(in, "more"...)
	in = frame(1, 0, 1000, 3).Append(in)
	var noise bytes.Buffer
	var got []wire.Handle
	s.Put(frame(0, 1, wire.Call, 1))
	s.Flush()
	err := s.Read(bytes.NewReader(in), func(b []byte) { noise.Write(b) },
		func(f *wire.Frame) { got = append(got, f.Handle) })
	if err != io.EOF || noise.String() != "noise\nmore" || len(got) != 2 {
		t.Errorf("%v, noise %q, frames %v", err, noise.String(), got)
	}
	c := s.Counters()
	if c.BytesUp != int64(len(in)) || c.FramesUp != 2 || c.RoundTrips != 1 {
		t.Errorf("counted %+v", c)
	}
}

// Many goroutines send at once: whole frames come out, each sender's in order.
func TestManySenders(t *testing.T) {
	s, r := pipe(t)
	const senders, frames = 8, 500
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range frames {
				f := frame(wire.ContextID(i), 99, 1000, 4+n*37%9000)
				binary.BigEndian.PutUint32(f.Payload, uint32(n))
				s.Put(f)
				if n%3 == 0 {
					s.Kick()
				} else {
					s.Flush()
				}
			}
			s.Flush()
		})
	}
	next := make([]uint32, senders)
	sc := wire.NewScanner(r)
	for range senders * frames {
		f, err := sc.Next()
		if err != nil {
			t.Fatal(err)
		}
		if n := binary.BigEndian.Uint32(f.Payload); n != next[f.Src] {
			t.Fatalf("sender %d: frame %d instead of %d", f.Src, n, next[f.Src])
		}
		next[f.Src]++
	}
	wg.Wait()
}

// BUNDLE and FORWARD keep their order across all contexts, also behind a COMING. Other frames
// overtake them.
func TestBundlesKeepTheirOrder(t *testing.T) {
	m := &memory{}
	s := New()
	defer s.Close(nil)
	piece := []byte(strings.Repeat("y", 10000))
	s.PutShared(frame(0, 1, wire.BundlePiece, 24), piece)
	s.PutShared(frame(0, 1, wire.BundlePiece, 24), piece[:10])
	s.Put(frame(0, 2, wire.Coming, 20))
	s.Put(frame(0, 2, wire.Forward, 20))
	s.PutShared(frame(0, 3, wire.BundlePiece, 24), piece[:10])
	s.Put(frame(0, 1, wire.Coming, 20))
	s.Put(frame(0, 4, wire.Call, 20))
	if n, want := s.Queued(), 7*(wire.HeaderSize+wire.TrailerSize)+3*24+10+10+4*20; n != want {
		t.Errorf("%d bytes are the stream's own, want %d", n, want)
	}
	s.Attach(m)
	s.Release()
	want := []string{"0>2 COMING", "0>4 CALL", "0>1 BUNDLE", "0>1 BUNDLE", "0>2 FORWARD", "0>3 BUNDLE",
		"0>1 COMING"}
	waitFor(t, "frames", func() bool { return s.queuedAll() == 0 })
	if got := names(t, m.bytes()); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("got %v, want %v", got, want)
	}
	// A COMING that has to wait holds up the FORWARD behind it.
	s, m = New(), &memory{}
	defer s.Close(nil)
	s.Put(frame(0, 2, wire.Call, 10000))
	s.Put(frame(0, 2, wire.Coming, 20))
	s.Put(frame(0, 1, wire.Forward, 20))
	s.Attach(m)
	s.Release()
	want = []string{"0>2 CALL", "0>2 COMING", "0>1 FORWARD"}
	waitFor(t, "frames", func() bool { return s.queuedAll() == 0 })
	if got := names(t, m.bytes()); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("got %v, want %v", got, want)
	}
}

func (s *Stream) queuedAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// A CONNECT that has to wait, or is large, is not overtaken by what is for the context that it
// makes.
func TestConnectIsNotOvertaken(t *testing.T) {
	for _, large := range []int{20, 10000} {
		m := &memory{}
		s := New()
		defer s.Close(nil)
		s.Put(frame(0, 1, wire.LoadModule, 10020-large))
		s.Put(frame(0, 1, wire.Connect, large))
		s.Put(frame(0, 2, wire.Call, 20))
		s.Put(frame(0, 3, wire.Call, 20))
		s.Attach(m)
		s.Release()
		want := []string{"0>1 LOAD_MODULE", "0>1 CONNECT", "0>2 CALL", "0>3 CALL"}
		waitFor(t, "frames", func() bool { return s.queuedAll() == 0 })
		if got := names(t, m.bytes()); strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// An OPEN doesn't overtake another, whichever contexts they are for. An ITEM of an OPEN may be
// overtaken.
func TestOpenIsNotOvertaken(t *testing.T) {
	m := &memory{}
	s := New()
	defer s.Close(nil)
	s.Put(frame(0, 1, wire.LoadModule, 10000))
	s.Put(frame(0, 1, wire.Open, 20))
	s.Put(frame(0, 2, wire.Open, 20))
	s.Put(frame(0, 3, wire.Call, 20))
	s.Attach(m)
	s.Release()
	want := "0>3 CALL, 0>1 LOAD_MODULE, 0>1 OPEN, 0>2 OPEN"
	waitFor(t, "frames", func() bool { return s.queuedAll() == 0 })
	if got := strings.Join(names(t, m.bytes()), ", "); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is public goes ahead, in the order of the queue, until something isn't or there is too much
// of it.
func TestAhead(t *testing.T) {
	public := func(handle wire.Handle, n int) *wire.Frame {
		f := frame(0, 1, handle, n)
		f.Public = true
		return f
	}
	for _, tt := range []struct {
		name        string
		put         []*wire.Frame
		ahead, then []wire.Handle
		sealed      bool
	}{
		{"all", []*wire.Frame{public(1, 10), public(2, smallFrame+1), public(12, 10)},
			[]wire.Handle{1, 2, 12}, nil, false},
		{"until a secret", []*wire.Frame{public(1, 10), frame(0, 1, 2, 10), public(12, 10)},
			[]wire.Handle{1}, []wire.Handle{2, 12}, true},
		{"until the limit", []*wire.Frame{public(1, 10), public(2, 20000), public(3, 20000)},
			[]wire.Handle{1, 2}, []wire.Handle{3}, true},
		{"nothing", nil, nil, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New()
			s.Gather(30000)
			for _, f := range tt.put {
				s.Put(f)
			}
			select {
			case <-s.Sealed():
				if !tt.sealed {
					t.Error("sealed")
				}
			default:
				if tt.sealed {
					t.Error("not sealed")
				}
			}
			check := func(what string, b []byte, want []wire.Handle) {
				sc := wire.NewScanner(bytes.NewReader(b))
				var got []wire.Handle
				for {
					f, err := sc.Next()
					if err != nil {
						break
					}
					got = append(got, f.Handle)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
			ahead := s.Ahead()
			check("ahead", ahead, tt.ahead)
			m := &memory{}
			s.PutRaw([]byte("boot"))
			s.Attach(m)
			s.Release()
			defer s.Close(nil)
			for end := time.Now().Add(10 * time.Second); s.Queued() > 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			raw, ok := bytes.CutPrefix(m.bytes(), []byte("boot"))
			if !ok {
				t.Errorf("written bytes: got %q, want \"boot\" first", m.bytes())
			}
			check("then", raw, tt.then)
		})
	}
}

// A large frame that is alone is copied once, into a buffer that the next one uses again.
func TestLargeFrameIsCopiedOnce(t *testing.T) {
	s := New()
	s.mu.Lock()
	s.attached = true
	s.mu.Unlock()
	f := wire.Frame{Dst: 1, Handle: wire.Call, Reply: 1000, Payload: make([]byte, wire.MaxPayload)}
	var last *byte
	for i := range 3 {
		f.Payload[0] = byte(i)
		s.Put(&f)
		queued := &s.bulk[0].head[0]
		if last != nil && queued != last {
			t.Errorf("frame %d: got a new buffer, want that of the frame before", i)
		}
		b := s.nextLocked()
		if &b[0] != queued {
			t.Errorf("frame %d: got a copy to write, want the buffer that was queued", i)
		}
		if want := f.Append(nil); !bytes.Equal(b, want) {
			t.Errorf("frame %d: got %d bytes to write, want its %d", i, len(b), len(want))
		}
		s.takenLocked(b)
		last = queued
	}
	if s.queued != 0 || len(s.pairs) != 0 {
		t.Errorf("after all were written: got %d bytes of %d pairs queued, want none",
			s.queued, len(s.pairs))
	}
}
