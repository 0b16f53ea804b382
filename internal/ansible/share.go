package ansible

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// kept lists the files that a hop keeps for the contexts behind it. Each crosses the links before
// the hop once.
type kept struct {
	names map[string]bool
	files []*pack // what were files, the oldest first
	size  int     // of files, bytes
}

const (
	maxKept  = 8 << 20 // of files, in each hop
	minShare = 2 << 10 // bytes of a file that are worth it
)

// give gives a context a pack. Where it is behind another, that gets the pack first, keeps it, and
// passes it on.
func (s *Server) give(ctx context.Context, c *engine.Context, p *pack) error {
	defer s.lockGiving(ctx, c)()
	return s.giveLocked(ctx, c, p)
}

// lockGiving waits until c and the contexts before it can be given something. It sees to it that no
// hop has frames to relay that are still to be queued. It returns the function that ends that.
func (s *Server) lockGiving(ctx context.Context, c *engine.Context) (unlock func()) {
	for x := c; x != nil; x = x.Via() {
		x.Begun(ctx) // or its hop doesn't know whom to pass it on to
	}
	s.giving.Lock()
	return s.giving.Unlock
}

// files has h do steps of a file operation. They use up all that h gets by way of its hop for them,
// so no other operation comes in between.
func (s *Server) files(ctx context.Context, h *host, steps [][]any) (*engine.Tunnel, error) {
	c := h.login
	if c.Via() != nil {
		defer s.lockGiving(ctx, c)()
	}
	all := make([]any, len(steps))
	for i, step := range steps {
		step, err := s.shareLocked(ctx, c, step)
		if err != nil {
			return nil, err
		}
		all[i] = step
	}
	spec := map[string]any{"op": "files", "steps": all, "login": h.direct}
	return c.Tunnels.Serve(ctx, service, spec)
}

func (s *Server) giveLocked(ctx context.Context, c *engine.Context, p *pack) error {
	via := c.Via()
	if via == nil {
		return c.Supply.Load(ctx, p.name, p.data)
	}
	k := s.given[via]
	if k == nil {
		maps.DeleteFunc(s.given, func(c *engine.Context, _ *kept) bool { return c.Err() != nil })
		k = &kept{names: map[string]bool{}}
		s.given[via] = k
	}
	if !k.names[p.name] {
		if err := s.giveLocked(ctx, via, p); err != nil {
			return err
		}
		k.names[p.name] = true
		if p.sums == nil {
			k.files, k.size = append(k.files, p), k.size+len(p.data)
		}
	}
	if err := tell(ctx, via, map[string]any{"op": "pass", "to": int(c.ID()),
		"names": []any{p.name}}); err != nil {
		return err
	}
	c.Supply.Has(p.name, true)
	return k.shrink(ctx, via)
}

// shrink has the hop drop files, if it has more than it may.
func (k *kept) shrink(ctx context.Context, hop *engine.Context) error {
	var names []any
	for k.size > maxKept && len(k.files) > 1 {
		old := k.files[0]
		k.files, k.size = k.files[1:], k.size-len(old.data)
		delete(k.names, old.name)
		hop.Supply.Has(old.name, false)
		names = append(names, old.name)
	}
	if names == nil {
		return nil
	}
	return tell(ctx, hop, map[string]any{"op": "drop", "names": names})
}

// tell has an operation done without a wait for its end.
func tell(ctx context.Context, c *engine.Context, spec map[string]any) error {
	t, err := c.Tunnels.Serve(ctx, service, spec)
	if err == nil {
		go discard(t)
	}
	return err
}

// shareLocked makes a step of a file operation by which c gets the contents of a file by way of its
// hop, where that is of use.
func (s *Server) shareLocked(ctx context.Context, c *engine.Context, step []any) ([]any, error) {
	if step[0] != "put" || c.Via() == nil {
		return step, nil
	}
	data := step[3].([]byte)
	if len(data) < minShare {
		return step, nil
	}
	p := &pack{name: fmt.Sprintf("_ansible_file_%x", sha256.Sum256(data)), data: deflate(data)}
	if len(p.data) > maxPack {
		return step, nil
	}
	if err := s.giveLocked(ctx, c, p); err != nil {
		return nil, err
	}
	return []any{"unpack", step[1], step[2], p.name}, nil
}
