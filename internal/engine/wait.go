package engine

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Limits returns the limits of the result, for decoding it.
func (p *Pending) Limits() pickle.Limits { return p.c.e.Limits() }

// Done returns a channel that is closed when the result is there.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result waits for the end and returns the pickled value (empty: None). A generator's items come
// instead of it, if there were any. When ctx ends first, so does the wait. If no other goroutine
// waits, the call is cancelled then, and its context killed if that has no effect.
func (p *Pending) Result(ctx context.Context) (value []byte, items [][]byte, err error) {
	if !p.finished() {
		p.waiters.Add(1)
		came := p.await(ctx)
		last := p.waiters.Add(-1) == 0
		if !came {
			why := givenUp(ctx, p.what())
			if !last || !p.stop(why) {
				return nil, nil, why
			}
			<-p.done
		}
	}
	if err := p.failure(); err != nil {
		return nil, nil, err
	}
	for _, it := range p.answer.items {
		items = append(items, it.payload)
	}
	return p.answer.payload, items, nil
}

func (p *Pending) finished() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// what names the request for errors.
func (p *Pending) what() string {
	if strings.HasPrefix(p.target, runModule) {
		return "run in " + p.c.name
	}
	return "call " + p.target + " in " + p.c.name
}

// await waits for the end, reading the answer itself where that is possible. False: ctx has
// ended first.
func (p *Pending) await(ctx context.Context) bool {
	s := p.c.root.stream
	defer s.Awaited()
	if !s.Await(ctx, p.done) {
		p.waited.Store(true)
	}
	if p.finished() {
		return true
	}
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Next returns the next item of a stream; io.EOF-like, ok is false at its end. A plain
// function's result is its only item.
func (p *Pending) Next(ctx context.Context) (value []byte, ok bool, err error) {
	for {
		if it, ok := p.answer.pop(); ok {
			return it.payload, true, nil
		}
		select {
		case <-p.done:
			return p.answer.last()
		default:
		}
		select {
		case <-p.answer.more:
		case <-p.done:
		case <-ctx.Done():
			why := givenUp(ctx, p.what())
			p.stop(why)
			<-p.done
			if err := p.failure(); err != nil {
				return nil, false, err
			}
			return nil, false, why // it had just ended; items may be left
		}
	}
}

// failure is the error that p ended with, the same each time; nil while it hasn't ended.
func (p *Pending) failure() error {
	if !p.finished() {
		return nil
	}
	p.judged.Do(func() {
		if p.verdict = p.answer.judge(); p.verdict != nil {
			p.answer.discard()
		}
	})
	return p.verdict
}

// asInstalled returns a traceback with the paths that files have here, not with their places,
// and with those of the runtime's sources.
func asInstalled(trace string) string {
	return boot.Readable(strings.ReplaceAll(trace, `File "`+modules.Root+"/", `File "/`))
}

// Cancel interrupts the call, and kills its context if that has no effect. It waits for neither.
func (p *Pending) Cancel() {
	if p.c == nil { // see Failed
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.stop(givenUp(ctx, p.what()))
}

// stop interrupts the call because of why; nil: its error is known. p is done then, at the latest
// when Grace is over. False: it was stopped before.
func (p *Pending) stop(why *cancelError) bool {
	p.answer.mu.Lock()
	if p.answer.ended || p.answer.stopped {
		defer p.answer.mu.Unlock()
		return p.answer.ended
	}
	p.answer.stopped, p.answer.given, p.answer.why = true, true, why
	p.answer.grace = time.AfterFunc(p.c.e.opt.Grace, p.expire)
	p.answer.mu.Unlock()
	p.answer.dropItems()
	if p.interrupt() {
		p.answer.finish(wire.Dead, nil, p.answer.reason())
	}
	return true
}

// interrupt sends CANCEL, unless p has been answered. True: there is nothing to wait for, as the
// context isn't up.
func (p *Pending) interrupt() (over bool) {
	e := p.c.e
	e.mu.Lock()
	defer e.unlock()
	if !p.open {
		return false
	}
	p.cancel = true
	if p.sent {
		p.sendCancelLocked()
	}
	if p.c.hello.up {
		return false
	}
	p.forgetLocked()
	return true
}

// expire ends p, which was stopped and whose Grace is over. If there is no answer yet, the context
// is killed. An answer that waits for output to be taken is waited for no longer.
func (p *Pending) expire() {
	e, c := p.c.e, p.c
	e.mu.Lock()
	if p.open && c.err == nil {
		p.answer.mu.Lock()
		p.answer.killed = !p.answer.ended
		p.answer.mu.Unlock()
		why := fmt.Sprintf("killed: %s did not end when it was cancelled", p.target)
		e.tree.loseLocked(c, &report.LostError{Reason: why}, true)
	}
	err := c.err
	e.unlock()
	p.answer.finish(wire.Dead, nil, cmp.Or(err, p.answer.reason()))
}

func (p *Pending) sendCancelLocked() {
	if p.open && p.c.err == nil {
		p.c.e.traffic.putLocked(p.c, &wire.Frame{Dst: p.c.id, Handle: wire.Cancel,
			Payload: wire.AppendU32(nil, p.handle)})
	}
}

// Leave ends a stream that the caller doesn't read any more.
func (p *Pending) Leave() {
	p.Cancel()
	<-p.done
	p.answer.dropItems()
	p.answer.discard()
}
