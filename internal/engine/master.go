package engine

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/sshmux"
)

// An ssh can make connections before the interpreter that it starts could: its server makes them,
// as for ssh -J. So if a hop carries other contexts, or lets them use its connection, its ssh is
// the engine's ControlMaster. If the user has a ControlMaster, the ssh uses that. If its server
// refuses, the hop's context makes the connections.

// master is the control socket of a context's ssh.
type master struct {
	want    sync.Once
	wanted  chan struct{} // closed by the first who needs it: looking for it costs wake-ups
	decided chan struct{} // closed when there is final
	there   bool
	path    string // "": it isn't to be
	option  string // path, as an option of ssh's
}

func newMaster() *master {
	return &master{wanted: make(chan struct{}), decided: make(chan struct{})}
}

// known waits until m is there, or won't be, and tells which.
func (m *master) known(ctx context.Context) bool {
	m.want.Do(func() { close(m.wanted) })
	select {
	case <-m.decided:
		return m.there
	case <-ctx.Done():
		return false
	}
}

// How often a control socket is looked for. ssh makes it once it is logged in, and a person may
// have to type a password before.
const (
	minLook = time.Millisecond
	maxLook = 50 * time.Millisecond
)

// lead changes plan, which is about to start c, to the plan of a master.
func (l *launch) lead(ctx context.Context, plan methods.Plan) methods.Plan {
	e := l.c.e
	limited, cancel := ctx, context.CancelFunc(func() {})
	if plan.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, plan.Timeout)
	}
	defer cancel()
	option, path, err := e.starts.proxy.Control()
	if err != nil || sshmux.Configured(plan.Argv) &&
		sshmux.Alive(limited, methods.ControlCheck(plan.Argv), slices.Concat(plan.Origin, plan.Env)) {
		close(l.master.decided)
		return plan
	}
	plan.Argv = methods.ControlMaster(plan.Argv, option)
	l.c.stream.Seal() // no OPEN is needed
	l.master.path, l.master.option = path, option
	e.work.jobs.Go(l.lookForMaster)
	return plan
}

// lookForMaster waits for the socket, or until there will be none.
func (l *launch) lookForMaster() {
	c := l.c
	defer close(l.master.decided)
	select {
	case <-l.master.wanted:
	case <-c.done:
		return
	}
	began := time.Now()
	for last := false; ; {
		if _, err := os.Stat(l.master.path); err == nil {
			l.master.there = true
			return
		}
		if last {
			return
		}
		select {
		case <-time.After(min(maxLook, max(minLook, time.Since(began)/200))):
		case <-c.hello.ready:
			last = true // the socket is there before
		case <-c.done:
			return
		}
	}
}

// byMaster has the server of c's ssh connect to a port of a host; nil: c has to do that.
func (l *launch) byMaster(ctx context.Context, host string, port int) *sshmux.Conn {
	c := l.c
	if l.master == nil || !l.master.known(ctx) {
		return nil
	}
	conn, err := sshmux.Dial(ctx, l.master.path, host, port)
	if err != nil {
		c.e.log.Info("the hop's server makes no connection: its context is asked",
			slog.String("hop", c.name), slog.Any("why", err))
		return nil // c finds out more, if it can't do it either
	}
	return conn
}

// follow changes plan to the plan of an ssh that uses c's connection.
func (l *launch) follow(ctx context.Context, plan methods.Plan) methods.Plan {
	if l.master != nil && plan.Method == "ssh" && l.master.known(ctx) {
		plan.Argv = methods.ControlClient(plan.Argv, l.master.option)
	}
	return plan
}

// forgetMaster removes the socket, which an ssh that was killed leaves.
func (l *launch) forgetMaster() {
	if l.master == nil {
		return
	}
	<-l.master.decided
	if l.master.path != "" {
		os.Remove(l.master.path)
	}
}
