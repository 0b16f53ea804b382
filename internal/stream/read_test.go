package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// peer is the far end of a stream over real pipes, and what waits for its frames here, by handle.
type peer struct {
	s    *Stream
	up   *os.File // the far end writes
	down *os.File // the far end reads

	mu    sync.Mutex
	waits map[wire.Handle]chan struct{}
	seen  chan wire.Handle // frames that no goroutine waits for
	err   chan error       // of Read
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	upR, upW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{s: New(), up: upW, down: downR, waits: map[wire.Handle]chan struct{}{},
		seen: make(chan wire.Handle, 100), err: make(chan error, 1)}
	p.s.Attach(downW, upR)
	p.s.Release()
	go func() { p.err <- p.s.Read(upR, func([]byte) {}, p.take) }()
	t.Cleanup(func() { p.s.Close(nil); upW.Close(); downR.Close() })
	return p
}

func (p *peer) take(f *wire.Frame) {
	p.mu.Lock()
	done := p.waits[f.Handle]
	delete(p.waits, f.Handle)
	p.mu.Unlock()
	if done == nil {
		p.seen <- f.Handle
		return
	}
	p.s.Served()
	close(done)
	p.s.Interrupt()
}

// echo answers each frame, as a context does.
func (p *peer) echo() {
	sc := wire.NewScanner(p.down)
	for {
		f, err := sc.Next()
		if err != nil {
			return
		}
		p.say(f.Reply)
	}
}

func (p *peer) say(h wire.Handle) {
	p.up.Write((&wire.Frame{Handle: h}).Append(nil))
}

func (p *peer) wait(h wire.Handle) chan struct{} {
	done := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits[h] = done
	return done
}

// call asks and waits; it tells whether it read the answer itself.
func (p *peer) call(ctx context.Context, h wire.Handle) (read bool, err error) {
	done := p.wait(h)
	p.s.Put(&wire.Frame{Reply: h})
	p.s.Flush()
	defer p.s.Awaited()
	read = p.s.Await(ctx, done)
	select {
	case <-done:
		return read, nil
	case <-ctx.Done():
		return read, ctx.Err()
	}
}

// lend makes calls until one reads by itself.
func (p *peer) lend(t *testing.T) {
	t.Helper()
	for h := wire.Handle(1); h < 1000; h++ {
		if read, err := p.call(t.Context(), h); read || err != nil {
			return
		}
	}
	t.Fatal("nothing was lent in 1000 calls")
}

func TestWhoWaitsReads(t *testing.T) {
	p := newPeer(t)
	go p.echo()
	own := 0
	for h := range wire.Handle(2000) {
		read, err := p.call(t.Context(), h+1)
		if err != nil {
			t.Fatal(err)
		}
		if read {
			own++
		}
	}
	if own < 1000 {
		t.Errorf("%d of 2000 answers were read by who waited", own)
	}
}

// Frames that no goroutine waits for are read all the same. A reader that gets nothing any more
// gives the token back.
func TestUnaskedFramesAreRead(t *testing.T) {
	p := newPeer(t)
	go p.echo()
	for h := range wire.Handle(20) {
		p.lend(t)
		p.say(5000 + h)
		if got := <-p.seen; got != 5000+h {
			t.Fatalf("got %d", got)
		}
	}
}

func TestAwaitEnds(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	for name, end := range map[string]func(*peer, chan struct{}){
		"context":     func(*peer, chan struct{}) { cancel() },
		"by another":  func(p *peer, done chan struct{}) { close(done); p.s.Interrupt() },
		"closed":      func(p *peer, _ chan struct{}) { p.s.Close(nil) },
		"end of file": func(p *peer, _ chan struct{}) { p.up.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			go p.echo()
			p.lend(t)
			done := make(chan struct{})
			ended := make(chan bool)
			go func() {
				defer p.s.Awaited()
				ended <- p.s.Await(cancelled, done)
			}()
			if name != "context" { // that one may be over before it begins
				for !p.s.blocked.Load() {
					select {
					case <-ended: // Read's goroutine had taken the token back
						return
					case <-time.After(time.Millisecond):
					}
				}
			}
			end(p, done)
			<-ended
			if name != "closed" && name != "end of file" {
				p.say(7000)
				if got := <-p.seen; got != 7000 {
					t.Errorf("afterwards %d", got)
				}
				return
			}
			if err := <-p.err; err == nil || name == "end of file" && !errors.Is(err, io.EOF) {
				t.Errorf("Read ended with %v", err)
			}
		})
	}
}

// Any number of callers, some giving up, and unasked frames between the answers: every caller gets
// its answer.
func TestManyAwait(t *testing.T) {
	p := newPeer(t)
	go p.echo()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					go cancel()
				}
				h := wire.Handle(binary.BigEndian.Uint32([]byte{1, byte(g), byte(i >> 8), byte(i)}))
				if _, err := p.call(ctx, h); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
				if g == 0 && i%50 == 0 {
					time.Sleep(2 * lendFor)
				}
			}
		})
	}
	wg.Wait()
	p.say(9000)
	if got := <-p.seen; got != 9000 {
		t.Errorf("afterwards %d", got)
	}
}
