package engine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// costs are ways of a context to cost the engine something that are no offence.
var costs = []struct {
	name  string
	frame func(i int) wire.Frame
}{
	{"output", func(int) wire.Frame {
		return wire.Frame{Handle: wire.Stdout, Payload: []byte("x\n")}
	}},
	{"records", func(int) wire.Frame { return wire.Frame{Handle: wire.Log, Payload: someRecord} }},
	{"get module of nothing", func(i int) wire.Frame {
		return wire.Frame{Handle: wire.GetModule, Payload: fmt.Appendf(nil, "nothing%d", i)}
	}},
	{"get file of nothing", func(i int) wire.Frame {
		return wire.Frame{Handle: wire.GetFile, Reply: wire.Handle(2000 + i),
			Payload: fmt.Appendf(nil, "ra\x00nothing%d", i)}
	}},
	{"get file of 16 MiB", func(i int) wire.Frame {
		return wire.Frame{Handle: wire.GetFile, Reply: wire.Handle(2000 + i),
			Payload: []byte("ra\x00large")}
	}},
}

var someRecord = func() []byte {
	b, err := pickle.Append(nil, pyvalue.Tuple{int64(30), "logger", 1.5e9, "a message of some length",
		""}, pickle.Proto4)
	if err != nil {
		panic(err)
	}
	return b
}()

// BenchmarkFlood measures an innocent context's calls while another one floods the engine with
// 2,000 frames, in each way that a test has, until these are worked off, and as many calls at rest
// after each flood. The fakes are in the same
// process, so the flooder's own cost counts too. -bench Flood -benchtime 50x
func BenchmarkFlood(b *testing.B) {
	for _, f := range costs {
		b.Run(f.name, func(b *testing.B) {
			benchmarkFlood(b, func(_, _ *Context, i int) wire.Frame { return f.frame(i) })
		})
	}
	for _, f := range floods {
		b.Run(f.name, func(b *testing.B) { benchmarkFlood(b, f.frame) })
	}
}

const floodFrames = 2000

// workOff is the time in which the remains of a flood are measured: an answer that isn't taken
// stays.
const workOff = 100 * time.Millisecond

// busy says whether something of what c has sent is still to be worked off.
func busy(c *Context) bool {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.err == nil && (c.outbox.busy || c.Supply.requests.serving)
}

func benchmarkFlood(b *testing.B, frame func(c, good *Context, i int) wire.Frame) {
	files := fstest.MapFS{"a/__init__.py": {}, "a/large": {Data: make([]byte, 16<<20)}}
	e, fakes := fakeEngine(b, Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Modules: ModuleOptions{Path: []fs.FS{files}}})
	good, goodFake := connected(b, e, fakes)
	go goodFake.serve()
	var beside, rest []time.Duration
	timed := func(all *[]time.Duration) {
		begun := time.Now()
		if _, _, err := call(good, "m:f").Result(context.Background()); err != nil {
			b.Fatal(err)
		}
		*all = append(*all, time.Since(begun))
	}
	for range b.N {
		bad, badFake := connected(b, e, fakes)
		call(bad, "a:f")
		go badFake.swallow()
		done := make(chan struct{})
		go func() {
			defer close(done)
			badFake.flood(floodFrames, func(i int) wire.Frame { return from(bad, good, frame, i) })
		}()
		over := time.Time{}
		for over.IsZero() || busy(bad) && time.Since(over) < workOff {
			select {
			case <-done:
				if over.IsZero() {
					over = time.Now()
				}
			default:
			}
			timed(&beside)
		}
		e.tree.lose(bad, ErrClosed, true)
		for len(rest) < len(beside) {
			timed(&rest)
		}
	}
	b.ReportMetric(float64(len(beside))/float64(b.N), "calls/op")
	for name, all := range map[string][]time.Duration{"": beside, "rest-": rest} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, name+"p50-µs")
		b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, name+"p99-µs")
		b.ReportMetric(float64(all[len(all)-1].Nanoseconds())/1e3, name+"max-µs")
	}
}
