package mitogen

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// syncPatience bounds the time for which at most half of a sync's contexts hold up the rest, before
// a quarter of the whole time is added. A put has the same patience.
const syncPatience = 10 * time.Second

// SyncPutEach is SyncPut to several contexts at once, and yields what came of each, in the order in
// which they end. Leaving the loop ends what remains.
//
// The source is listed once for all contexts behind the same hop, once they are connected. Each
// link carries once what several of these contexts want alike: a new file, or the difference to an
// old file that they have. A context that holds up the rest for too long, as with PutEach, gets
// a sync of its own. SyncChange.Context and FileError.Context say which context Changed and Failed
// are told about. Nothing is told about a context once its result has been yielded.
func SyncPutEach(
	ctx context.Context,
	contexts []*Context,
	dest, src string,
	o SyncOptions,
) iter.Seq2[*Context, Result[CopyTotals]] {
	return func(yield func(*Context, Result[CopyTotals]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		g := syncGroup{ctx: ctx, o: syncInTurn(o), dest: dest, src: src,
			outcomes: make(chan copyOutcome, len(contexts))}
		for _, some := range byRoot(contexts, g.outcomes) {
			go g.sync(some)
		}
		for range contexts {
			if r := <-g.outcomes; !yield(r.c, r.result) {
				return
			}
		}
	}
}

// syncInTurn returns options whose functions are called by one goroutine at a time.
func syncInTurn(o SyncOptions) SyncOptions {
	common := inTurn(*o.copying())
	o.Failed, o.Progress = common.Failed, common.Progress
	if tell := o.Changed; tell != nil {
		var mu sync.Mutex
		o.Changed = func(c SyncChange) {
			mu.Lock()
			defer mu.Unlock()
			tell(c)
		}
	}
	return o
}

// syncGroup syncs the same source to several contexts.
type syncGroup struct {
	ctx       context.Context
	o         SyncOptions
	dest, src string
	outcomes  chan copyOutcome // holds one for each context
}

func (g *syncGroup) ends(c *Context, t CopyTotals, err error) {
	g.outcomes <- copyOutcome{c, Result[CopyTotals]{t, err}}
}

// sync syncs to contexts with the same root.
func (g *syncGroup) sync(contexts []*Context) {
	exclude, err := g.o.check(g.dest, g.src)
	if err != nil || len(contexts) == 1 {
		for _, c := range contexts {
			g.alone(c, g.o)
		}
		return
	}
	cps := beginEach(g.ctx, contexts, "syncput", g.o.copying(), g.ends)
	members := make([]*ownfile.SyncMember, 0, len(cps))
	sessions := map[*ownfile.SyncMember]*engine.Session{}
	for _, cp := range cps {
		m := g.member(cp)
		sessions[m] = cp.Session
		members = append(members, m)
	}
	source := localSource(g.src)
	source.Name = intoDest(g.src)
	all := ownfile.SyncGroup{Flags: g.o.putFlags(), Exclude: exclude, Delete: g.o.Delete,
		Sent: g.o.copying().progress(), Patience: syncPatience}
	all.Open = func(some []*ownfile.SyncMember) (io.Writer, func(), error) {
		of := make([]*engine.Session, 0, len(some))
		for _, m := range some {
			of = append(of, sessions[m])
		}
		fan, err := engine.NewFan(g.ctx, of)
		if err != nil {
			return nil, nil, err
		}
		return fan, fan.Close, nil
	}
	all.Sync(g.ctx, g.dest, source, members)
}

// member has a context take part.
func (g *syncGroup) member(cp *copying) *ownfile.SyncMember {
	m := &ownfile.SyncMember{From: cp, To: cp, Failed: cp.failed, CutOff: cp.CutOff}
	tell := g.o.changed(cp.c)
	m.Changed = func(path string, deleted bool) {
		cp.mu.Lock()
		defer cp.mu.Unlock()
		cp.noteLocked(changeKey(path, deleted))
		tell(path, deleted)
	}
	m.Done = func(t ownfile.Totals, err error) {
		if err != nil && !cp.Session.Cut() {
			err = cp.why(err)
		}
		totals, err := cp.end(t, err)
		if cp.redo(err) {
			go g.again(cp)
			return
		}
		cp.close()
		g.ends(cp.c, totals, err)
	}
	return m
}

// changeKey is a change as what was told: no path of a failure is the same.
func changeKey(path string, deleted bool) string {
	if deleted {
		return "\x00deleted " + path
	}
	return "\x00changed " + path
}

// alone syncs to a context by itself.
func (g *syncGroup) alone(c *Context, o SyncOptions) {
	t, err := c.SyncPut(g.ctx, g.dest, g.src, o)
	g.ends(c, t, err)
}

// again syncs to a context that was cut off. What was told of it by then isn't told once more.
func (g *syncGroup) again(cp *copying) {
	cp.mute()
	cp.close()
	o := g.o
	if tell := o.Failed; tell != nil {
		o.Failed = func(e *FileError) {
			if !cp.wasTold(e.Path) {
				tell(e)
			}
		}
	}
	if tell := o.Changed; tell != nil {
		o.Changed = func(c SyncChange) {
			if !cp.wasTold(changeKey(c.Path, c.Deleted)) {
				tell(c)
			}
		}
	}
	g.alone(cp.c, o)
}
