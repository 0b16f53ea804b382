package main

import (
	"context"
	"time"

	"github.com/mitogen-go/mitogen"
)

// imports has a first context of an engine and then a second one import what p.Module imports.
func imports(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	r := result{}
	for _, name := range []string{"cold", "warm"} {
		c, err := p.Target.start(e)
		if err != nil {
			return nil, err
		}
		if _, err := mitogen.Call[int](ctx, c, "os:getpid"); err != nil {
			return nil, err
		}
		mark(name + "_connected")
		before := c.Stats()
		t := time.Now()
		n, err := mitogen.Call[int](ctx, c, p.Module+":loaded")
		if err != nil {
			return nil, err
		}
		r[name+"_s"], r["modules"] = seconds(t), n
		s := c.Stats()
		// round trips, at most: most negative answers come in bundles
		negative := min(s.Asked, s.Negative)
		r[name+"_asked"], r[name+"_negative"] = s.Asked, negative
		r[name+"_trips"] = s.RoundTrips - before.RoundTrips
		r[name+"_native"] = s.Native - before.Native
		// for harnesses that compare it with Mitogen's
		r[name] = map[string]any{"get_module": s.Asked, "sent": s.Modules, "negative": negative}
		mark(name)
	}
	return r, nil
}

// tree has p.N local contexts behind one hop take what p.Module needs, at once.
func tree(ctx context.Context, e *mitogen.Engine, p params) (result, error) {
	hop := p.Target
	hop.Kind += "+local"
	contexts := make([]*mitogen.Context, p.N)
	for i := range contexts {
		var err error
		if contexts[i], err = hop.start(e); err != nil {
			return nil, err
		}
	}
	for _, r := range mitogen.Each[int](ctx, contexts, "os:getpid") {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	mark("connected")
	t := time.Now()
	for _, r := range mitogen.Each[int](ctx, contexts, p.Module+":loaded") {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	r := result{"s": seconds(t)}
	mark("done")
	return r, nil
}
