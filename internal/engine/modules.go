package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Bounds of what a context may ask for.
const (
	maxAsked = 4096  // at once
	maxNames = 65536 // ever
)

// known says whether nothing is to be sent before name can be used.
func (c *Context) known(name string) bool {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	_, ok := c.modules[name]
	return ok
}

// push sends module name and its packages if it is one of the user's own and c hasn't got it. c.pushing is held. What is
// known has been queued: a call that needs it gets behind it. Foreign modules are sent when they are asked for: they lose
// to those that a target has.
func (c *Context) push(ctx context.Context, name string) error {
	if c.known(name) {
		return nil
	}
	all := c.e.finder.With(name)
	if len(all) == 0 || !all[len(all)-1].Own {
		c.e.mu.Lock()
		c.modules[name] = false
		c.e.mu.Unlock()
		return nil
	}
	for _, m := range all {
		if err := c.load(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// load sends one module, unless c has it. c.pushing is held.
func (c *Context) load(ctx context.Context, m *modules.Module) error {
	e := c.e
	e.mu.Lock()
	if c.modules[m.Name] || c.err != nil {
		defer e.mu.Unlock()
		return c.err
	}
	w := wire.Module{Name: m.Name, Path: m.Path, Form: wire.ModuleForm(m.Letter), Rest: m.Rest()}
	f := wire.Frame{Dst: c.id, Handle: wire.LoadModule, Payload: w.Append(nil)}
	c.count.modules++
	if len(f.Payload) <= wire.MaxPayload {
		defer e.mu.Unlock() // not flushed: the call comes right behind it
		e.putLocked(c, &f)
		c.modules[m.Name] = true
		return nil
	}
	e.mu.Unlock()
	_, err := c.parts(ctx, &f)
	if err == nil {
		e.mu.Lock()
		c.modules[m.Name] = true
		e.mu.Unlock()
	}
	return err
}

// askLocked takes a GET_MODULE.
func (c *Context) askLocked(payload []byte) {
	name := string(payload[:min(len(payload), modules.MaxName+1)])
	switch {
	case c.modules[name]: // it is on its way, or the context plays tricks
		return
	case len(c.asked) >= maxAsked || len(c.modules) >= maxNames || bytes.IndexByte(payload, 0) >= 0 || len(name) > modules.MaxName:
		c.reportLocked("request for a module refused", slog.String("name", fmt.Sprintf("%+q", name)))
		return
	}
	c.asked = append(c.asked, name)
	if !c.serving {
		c.serving = true
		c.e.jobs.Add(1)
		go c.serve()
	}
}

// serve answers GET_MODULE, one after another, until nothing is asked.
func (c *Context) serve() {
	e := c.e
	defer e.jobs.Done()
	for {
		e.mu.Lock()
		if len(c.asked) == 0 || c.err != nil {
			c.serving = false
			e.unlock()
			return
		}
		name := c.asked[0]
		c.asked = c.asked[1:]
		e.unlock()
		if full := c.root.stream.Full(); full != nil {
			select {
			case <-full:
			case <-c.done:
			}
		}
		c.pushing.Lock()
		c.load(e.base, e.finder.Find(name)) // the error is that c is gone
		c.pushing.Unlock()
		c.root.stream.Kick()
	}
}

// newFinder returns what looks modules up.
func newFinder(o *Options) *modules.Finder {
	var path []modules.Entry
	for _, f := range o.Path {
		path = append(path, modules.Entry{FS: f, Own: true})
	}
	for _, f := range o.Packages {
		path = append(path, modules.Entry{FS: f})
	}
	return modules.New(path, boot.Module, modules.Options{Allow: o.Allow, Deny: o.Deny, Rewrite: o.Rewrite})
}
