package engine

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/mitogen-go/mitogen/internal/agentproxy"
	"github.com/mitogen-go/mitogen/report"
)

// agentAhead is acceptAhead where an agent is behind the listener: sessions share what a context
// has of sockets.
const agentAhead = 2

// agentForward is a socket in a directory of a context's account, whose connections an agent here
// answers by agentproxy.
type agentForward struct {
	l    *Listener
	stop context.CancelFunc
}

// forwardAgent has c listen, and doesn't wait for it. Frames that are sent to c after that find the
// socket there, or an error. path is the agent's socket.
func (ps *programs) forwardAgent(ctx context.Context, path string) (*agentForward, error) {
	c := ps.c
	if err := auditSocket(ctx, c, "listen for agent"); err != nil {
		return nil, err
	}
	t, err := sockets(ctx, c, map[string]any{"listen": true, "private": true})
	if err != nil {
		return nil, err
	}
	a := &agentForward{l: newListener(c, t, "unix")}
	a.l.addrs = []net.Addr{&net.UnixAddr{Name: "agent", Net: "unix"}}
	serving, stop := context.WithCancel(t.ctx)
	a.stop = stop
	c.e.work.jobs.Go(func() {
		defer a.close()
		if _, err := t.first(serving); err != nil {
			return
		}
		a.l.begin(agentAhead)
		agentproxy.Serve(serving, a.l, func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		})
	})
	return a, nil
}

// sessionWithAgent starts a program that finds a socket of its own.
func (ps *programs) sessionWithAgent(ctx context.Context, spec SessionSpec) (*Session, error) {
	agent, err := ps.forwardAgent(ctx, spec.Agent)
	if err != nil {
		return nil, err
	}
	s, err := ps.beginSession(ctx, spec, agent)
	if err != nil {
		agent.close()
	}
	return s, err
}

// close ends the socket and its connections. It doesn't wait. a may be nil.
func (a *agentForward) close() {
	if a != nil {
		a.stop()
		a.l.place.Close()
	}
}

// explain returns err, why a program wasn't started, or rather why there is no socket for it. a may
// be nil.
func (a *agentForward) explain(err error) error {
	if a == nil || err == nil {
		return err
	}
	why, raised := a.l.place.p.failure(), (*report.CallError)(nil)
	if !errors.As(why, &raised) {
		return err
	}
	return fmt.Errorf("%s: forward agent: listen in a directory of the account: %w", a.l.c.name,
		socketFailure(why))
}
