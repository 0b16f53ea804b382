package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Bounds of what a context may ask for.
const (
	maxAsked = 4096  // at once
	maxNames = 65536 // ever
)

// requests has a context's frames about modules and files, and answers them one after another. Its
// fields are protected by Engine.mu.
type requests struct {
	c        *Context
	asks     int       // ASKs without a LACKS
	forwards int       // FORWARDs without a DROPPED, which most never get
	queue    []request // to be served
	serving  bool      // serve runs
}

// request is a frame from below that the Forwarder answers.
type request struct {
	handle  wire.Handle
	name    string // GET_MODULE
	during  string // GET_MODULE, GET_FILE: the program that ran then
	payload []byte // LACKS
	id      wire.BundleID
	ctx     wire.ContextID
	file    string      // GET_FILE
	reply   wire.Handle // GET_FILE
}

// askLocked takes a GET_MODULE.
func (q *requests) askLocked(payload []byte) {
	c := q.c
	name := string(payload[:min(len(payload), modules.MaxName+1)])
	switch {
	case c.Supply.modules[name]: // it is on its way, or the context plays tricks
		c.e.traffic.offendLocked(c, oddity)
		return
	case len(c.Supply.modules) >= maxNames || bytes.IndexByte(payload, 0) >= 0 ||
		len(name) > modules.MaxName:
		c.conduct.reportLocked("request for a module refused",
			slog.String("name", fmt.Sprintf("%+q", name)))
		return
	}
	q.serveLocked(request{handle: wire.GetModule, name: name, during: c.Calls.runningLocked()})
}

// lacksLocked takes a LACKS.
func (q *requests) lacksLocked(payload []byte) {
	if q.asks == 0 {
		q.c.conduct.reportLocked("answer refused", slog.String("error", "nothing was asked"))
		return
	}
	q.asks--
	q.serveLocked(request{handle: wire.Lacks, payload: bytes.Clone(payload)})
}

// droppedLocked takes a DROPPED.
func (q *requests) droppedLocked(payload []byte) {
	id, ctx, err := wire.ParseForward(payload)
	if err == nil && q.forwards == 0 {
		err = fmt.Errorf("nothing was to be forwarded")
	}
	if err != nil {
		q.c.conduct.reportLocked("answer refused", slog.Any("error", err))
		return
	}
	q.forwards--
	q.serveLocked(request{handle: wire.Dropped, id: id, ctx: ctx})
}

func (q *requests) serveLocked(r request) {
	c := q.c
	// of these there are no more than questions
	if len(q.queue) >= maxAsked && r.handle != wire.Lacks {
		c.conduct.noteLocked("request refused: too many", slog.String("handle", r.handle.String()))
		c.e.traffic.offendLocked(c, oddity)
		return
	}
	q.queue = append(q.queue, r)
	if !q.serving {
		q.serving = true
		c.e.work.drains.Add(1)
		go q.serve()
	}
}

// serve answers c's requests, one after another, until there is none.
func (q *requests) serve() {
	c := q.c
	e := c.e
	defer e.work.drains.Done()
	for n := 1; ; n++ {
		e.mu.Lock()
		if len(q.queue) == 0 || c.err != nil {
			q.serving = false
			e.unlock()
			return
		}
		r := q.queue[0]
		q.queue[0] = request{}
		q.queue = q.queue[1:]
		e.unlock()
		if full := c.root.stream.Full(); full != nil {
			select {
			case <-full:
			case <-c.done:
			}
		}
		begun := time.Now()
		c.Supply.introduce()
		switch r.handle {
		case wire.GetFile:
			q.answerFile(r)
		case wire.GetModule:
			q.answer(r)
		case wire.Lacks:
			q.lacks(r.payload)
		case wire.Dropped:
			e.library.forward.Dropped(c.id, r.id, r.ctx)
		}
		c.root.stream.Kick()
		if n > paceAfter {
			c.conduct.pace(begun)
		}
	}
}

// lacks takes the names in a LACKS.
func (q *requests) lacks(payload []byte) {
	c := q.c
	names, err := wire.ParseNames(payload)
	if err != nil {
		c.e.mu.Lock()
		c.conduct.reportLocked("answer refused", slog.Any("error", err))
		c.e.unlock()
	}
	if err == nil && !slices.Contains(names, unpacker) && q.unpacks() {
		c.e.library.forward.Unpacks(c.id)
	}
	abi := ""
	if i := slices.IndexFunc(names,
		func(n string) bool { return strings.HasPrefix(n, abiMark) }); i >= 0 {
		abi = strings.TrimPrefix(names[i], abiMark)
	}
	// of none, where they can't be read: it was asked
	c.e.library.forward.Lacks(c.id, c.Supply.target(), abi, names)
}

// unpacks tells whether bzip2's reader of c's interpreter can be bounded: from 3.5 on.
func (q *requests) unpacks() bool {
	v := q.c.Supply.target().Version
	return v[0] > 3 || v[0] == 3 && v[1] >= 5
}

// answer answers a GET_MODULE: with a bundle, or, if c has been sent one with it before, with the
// module alone.
func (q *requests) answer(r request) {
	c := q.c
	e := c.e
	e.mu.Lock()
	c.figures.count.Asked++
	if _, ok := c.Supply.modules[r.name]; !ok {
		c.Supply.modules[r.name] = false
	}
	packed, lent := c.figures.count.Pack, c.Supply.lent
	c.Supply.lent = nil
	e.mu.Unlock()
	begun, target := time.Now(), c.Supply.target()
	for _, l := range lent {
		e.library.forward.Lend(l.by, c.id, target, l.module)
	}
	m, given := q.asked(r, target)
	e.mu.Lock()
	c.figures.count.Scan += time.Since(begun) - (c.figures.count.Pack - packed)
	if !given {
		c.Supply.given.refusedToLocked(report.EventModule, r.name)
	}
	e.mu.Unlock()
	if m == nil {
		return
	}
	if c.Supply.pushing.take(e.work.base, c, nil) == nil {
		defer c.Supply.pushing.leave()
		c.Supply.load(e.work.base, m) // the error is that c is gone
	}
}

// asked returns the module that answers a GET_MODULE, nil where a bundle does, and whether there is
// one for this context.
func (q *requests) asked(r request, target pysource.Target) (m *modules.Module, given bool) {
	c := q.c
	if r.name == guardModule || r.name == valuesModule { // the runtime waits for it, and for no bundle
		return c.e.library.finder.Find(r.name), true
	}
	return c.e.library.forward.Asked(c.id, target, r.during, r.name)
}
