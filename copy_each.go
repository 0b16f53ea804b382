package mitogen

import (
	"context"
	"iter"
	"sync"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// PutEach is Put to several contexts at once, and yields what came of each, in the order in which
// they end. Leaving the loop ends what remains.
//
// The source is read once for all contexts behind the same one next to the engine, and once those
// are connected. Each link carries it once: hops pass it on to what is behind them. A context that
// takes it too slowly holds all up for some ten seconds, and for a quarter of the time; then
// it gets a copy of its own. Failed is told by FileError.Context which context it is about, and not
// any more once the result of that has been yielded.
// Progress is told of each reading of the source.
func PutEach(
	ctx context.Context,
	contexts []*Context,
	dest string,
	o CopyOptions,
	src ...string,
) iter.Seq2[*Context, Result[CopyTotals]] {
	return func(yield func(*Context, Result[CopyTotals]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		g := putGroup{ctx: ctx, o: inTurn(o), dest: dest, sources: localSources(src),
			outcomes: make(chan copyOutcome, len(contexts))}
		for _, some := range byRoot(contexts, g.outcomes) {
			go g.put(some)
		}
		for range contexts {
			if r := <-g.outcomes; !yield(r.c, r.result) {
				return
			}
		}
	}
}

// byRoot returns contexts by the one next to the engine that leads to them. outcomes, which has
// room, is told of nil contexts.
func byRoot(contexts []*Context, outcomes chan<- copyOutcome) map[*engine.Context][]*Context {
	groups := map[*engine.Context][]*Context{}
	for _, c := range contexts {
		if c == nil {
			outcomes <- copyOutcome{result: Result[CopyTotals]{Err: errNoContext}}
			continue
		}
		root := engine.RootOf(c.c)
		groups[root] = append(groups[root], c)
	}
	return groups
}

// inTurn returns options whose functions are called by one goroutine at a time.
func inTurn(o CopyOptions) CopyOptions {
	var mu sync.Mutex
	if tell := o.Failed; tell != nil {
		o.Failed = func(e *FileError) {
			mu.Lock()
			defer mu.Unlock()
			tell(e)
		}
	}
	if show := o.Progress; show != nil {
		o.Progress = func(t CopyTotals) {
			mu.Lock()
			defer mu.Unlock()
			show(t)
		}
	}
	return o
}

// copyOutcome has the result of the copy to one context.
type copyOutcome struct {
	c      *Context
	result Result[CopyTotals]
}

// putGroup puts the same sources to several contexts.
type putGroup struct {
	ctx      context.Context
	o        CopyOptions
	dest     string
	sources  []ownfile.Source
	outcomes chan copyOutcome // holds one for each context
}

func (g *putGroup) ends(c *Context, t CopyTotals, err error) {
	g.outcomes <- copyOutcome{c, Result[CopyTotals]{t, err}}
}

// put puts to contexts with the same root.
func (g *putGroup) put(contexts []*Context) {
	if len(contexts) == 1 {
		g.alone(contexts[0], g.o, 0)
		return
	}
	if cps := g.begin(contexts); len(cps) > 0 {
		g.together(cps)
	}
}

// together sends the sources to all at once.
func (g *putGroup) together(cps []*copying) {
	sessions := make([]*engine.Session, 0, len(cps))
	for _, cp := range cps {
		sessions = append(sessions, cp.Session)
	}
	fan, err := engine.NewFan(g.ctx, sessions)
	if err != nil {
		for _, cp := range cps {
			cp.close()
			g.ends(cp.c, CopyTotals{}, err)
		}
		return
	}
	defer fan.Close()
	send := &fanOut{done: make(chan struct{})}
	for _, cp := range cps {
		go g.watch(cp, send)
	}
	send.err = g.send(cps, fan, send)
	close(send.done)
}

// alone puts to a context by itself.
func (g *putGroup) alone(c *Context, o CopyOptions, further ownfile.Flags) {
	t, err := c.put(g.ctx, g.dest, o, g.sources, further)
	g.ends(c, t, err)
}

// again puts to a context that was cut off. What was told of it by then isn't told once more.
func (g *putGroup) again(cp *copying) {
	cp.mute() // also of sources that can't be read, which the fan may come to yet
	cp.close()
	o := g.o
	if tell := o.Failed; tell != nil {
		o.Failed = func(e *FileError) {
			if !cp.wasTold(e.Path) {
				tell(e)
			}
		}
	}
	g.alone(cp.c, o, cp.again())
}

// begin starts the other ends, in those contexts that get up.
func (g *putGroup) begin(contexts []*Context) []*copying {
	return beginEach(g.ctx, contexts, "put", &g.o, g.ends)
}

// beginEach starts a module's copies, in those contexts that get up. ends is told of the rest.
func beginEach(
	ctx context.Context,
	contexts []*Context,
	module string,
	o *CopyOptions,
	ends func(*Context, CopyTotals, error),
) []*copying {
	var mu sync.Mutex
	var all []*copying
	var starts sync.WaitGroup
	for _, c := range contexts {
		starts.Go(func() {
			err := c.c.Connected(ctx)
			var cp *copying
			if err == nil {
				cp, err = c.copying(ctx, module, o)
			}
			if err != nil {
				ends(c, CopyTotals{}, err)
				return
			}
			cp.remember()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, cp)
		})
	}
	starts.Wait()
	return all
}

// fanOut has the progress of what a group is sent.
type fanOut struct {
	done chan struct{} // closed when err is set
	err  error

	mu     sync.Mutex // protects following
	totals ownfile.Totals
}

func (f *fanOut) sent() ownfile.Totals {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.totals
}

// send sends the sources to all.
func (g *putGroup) send(cps []*copying, fan *engine.Fan, out *fanOut) error {
	show := g.o.progress()
	w := ownfile.NewWriter(fan)
	s := ownfile.Sender{W: w}
	s.Failed = func(path string, err error) {
		for _, cp := range cps {
			cp.failed(path, err)
		}
	}
	s.Sent = func(t ownfile.Totals) {
		out.mu.Lock()
		out.totals = t
		out.mu.Unlock()
		if show != nil {
			show(t)
		}
	}
	if err := w.Put(g.o.putFlags(g.dest, g.sources)|ownfile.AskAlias, g.dest); err != nil {
		return err
	}
	err := s.Send(g.ctx, g.sources)
	out.mu.Lock()
	out.totals = s.Totals
	out.mu.Unlock()
	return err
}

// watch reads what a context says until the end of its copy, and reports that.
func (g *putGroup) watch(cp *copying, out *fanOut) {
	defer cp.close()
	told := ownfile.Refusals(cp, cp.failed, cp.named)
	if cp.redo(told) {
		g.again(cp)
		return
	}
	if told != nil || g.ctx.Err() != nil {
		cp.mute() // of sources that can't be read, which come later than its result
		t, err := cp.end(out.sent(), cp.why(told))
		g.ends(cp.c, t, err)
		return
	}
	<-out.done
	err := out.err
	if cp.failures() > 0 {
		err = nil // it has ended before it had taken all, and said why
	}
	t, err := cp.end(out.sent(), err)
	if cp.redo(err) {
		g.again(cp)
		return
	}
	g.ends(cp.c, t, err)
}
