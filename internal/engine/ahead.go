package engine

import (
	"bytes"
	"compress/zlib"
	"context"
	"io"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// A server has no window for a session's stdin until it has answered the request to execute
// something, which is a round trip. What goes ahead of it, in the environment, is there when the
// interpreter starts: docs/protocol/bootstrap.md, section 5.

// How long a first call, which may go ahead, is waited for: ssh reads its environment once, when it
// starts.
const (
	aheadPatience = 5 * time.Millisecond
	// until a further ssh, that is started meanwhile, wants a connection
	carryPatience = 50 * time.Millisecond
)

// What may go ahead, in bytes: Linux takes variables of 128 KiB, name included.
const (
	aheadLimit  = 64 << 10  // of frames
	maxVariable = 120 << 10 // with its name
)

// ahead holds the early data of a context next to the engine.
type ahead struct {
	config   boot.Config
	patience time.Duration
	carries  bool // a further ssh is to have its connection from here
	frames   []byte
}

// opening returns the first bytes that a context reads: its head, and the runtime unless the
// context is a Go program.
func opening(c boot.Config, golang bool) []byte {
	if golang {
		return boot.GoHead(c)
	}
	return append(boot.Head(c, len(boot.Image())), boot.Image()...)
}

// behind returns the head of a context for the hop that starts it.
func behind(c boot.Config, golang bool) []byte {
	if golang {
		return boot.GoHead(c)
	}
	return boot.Behind(c)
}

// arrived ends what is kept of it, and returns what stdin is to begin with.
func (a *ahead) arrived(yes bool) (again []byte) {
	if !yes {
		again = append(opening(a.config, false), a.frames...)
	}
	a.frames = nil
	return again
}

// goAhead waits for what is to go ahead of c's stdin, and gives it to ssh.
func (l *launch) goAhead(ctx context.Context, plan methods.Plan) methods.Plan {
	c := l.c
	if l.ahead == nil {
		return plan
	}
	for _, x := range l.behind() {
		select {
		case <-x.hopStart.sent:
		case <-x.done:
		case <-c.stream.Sealed():
		case <-ctx.Done():
		}
	}
	t := time.NewTimer(l.ahead.patience)
	defer t.Stop()
	most := time.Now().Add(carryPatience)
	for waits := true; waits; {
		waits = false
		select {
		case <-c.stream.Sealed():
		case <-t.C:
			if waits = c.e.front.preparing(c) && time.Now().Before(most); waits {
				t.Reset(l.ahead.patience)
			}
		case <-c.done:
		case <-ctx.Done():
		}
	}
	l.ahead.frames = c.stream.Ahead()
	env, err := boot.AheadEnv(l.ahead.config, asText(l.ahead.frames))
	if err != nil {
		panic(err) // of what is embedded
	}
	size := 0
	for _, v := range env {
		if len(v) > maxVariable {
			return plan // EC0 says then that it hasn't arrived
		}
		size += len(v)
	}
	c.stream.Sent(size)
	plan.Argv = slices.Insert(slices.Clone(plan.Argv), 1,
		"-o", "SendEnv="+boot.AheadVariable+" "+boot.AheadData)
	plan.Env = append(slices.Clip(plan.Env), env...)
	return plan
}

// asText returns frames with the text of modules that are in them: all is compressed together.
func asText(frames []byte) []byte {
	var out []byte
	sc := wire.NewScanner(bytes.NewReader(frames))
	for {
		f, err := sc.Next()
		if err != nil {
			return out
		}
		if m, err := wire.ParseModule(f.Payload); err == nil && f.Handle == wire.LoadModule {
			if form := map[wire.ModuleForm]wire.ModuleForm{wire.FormModule: wire.FormModuleText,
				wire.FormPackage: wire.FormPackageText}[m.Form]; form != 0 {
				if text, err := inflate(m.Rest); err == nil {
					m.Form, m.Rest = form, text
					f.Payload = m.Append(nil)
				}
			}
		}
		out = f.Append(out)
	}
}

func inflate(b []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// behind are the contexts behind c whose CONNECT is on its way.
func (l *launch) behind() []*Context {
	c := l.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	var all []*Context
	for _, x := range c.e.tree.contexts {
		if x.root == c && x != c && !x.hopStart.late {
			all = append(all, x)
		}
	}
	return all
}

// depart says that nothing more is to be expected that could go ahead of what starts c.
func (l *launch) depart(ctx context.Context) {
	c := l.c
	if !c.hopStart.late {
		c.Begun(ctx)
	}
	if !c.root.launch.ahead.carries {
		c.root.stream.Seal()
	}
}
