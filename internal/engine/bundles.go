package engine

import (
	"log/slog"
	"slices"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// unpacker is the module that unpacks bzip2: a context is asked whether it lacks that, too.
const unpacker = "_bz2"

// abiMark begins what an answer says of the extension modules that a context takes.
const abiMark = "="

// maxComing limits the ids of bundles in one COMING, so that it fits a frame.
const maxComing = 4096

// carryOutLocked queues what an action for c says. Nothing holds back what the Forwarder sends.
func (e *Engine) carryOutLocked(c *Context, a *forward.Action) {
	switch {
	case a.Load != nil && a.Sent != nil: // c may ask for it meanwhile
		f := loadFrame(c, a.Load)
		c.loadedLocked(a.Load, len(f.Payload), a.Sent[0].Reason)
		e.sendLocked(c, &f)
		return
	case a.Load != nil:
		c.loadLocked(a.Load)
		return
	}
	e.enableLocked(c)
	switch a.Op {
	case bundle.Ask:
		c.loadLocked(e.lacks)
		c.asks++
		c.count.Questions++
		names := append(slices.Clip(a.Names), unpacker)
		if a.Native {
			c.loadLocked(e.natives)
			names = append(names, nativeModule)
		}
		e.sendLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Ask, Payload: wire.AppendNames(nil, names),
			Public: true})
		c.traceLocked("asked what it lacks", slog.Any("names", a.Names))
	case bundle.Coming:
		e.comingLocked(c, a.Answers, a.IDs)
	case bundle.Send:
		c.bundledLocked(a)
		e.piecesLocked(c, a.Bundle)
	case bundle.Forward:
		c.bundledLocked(a)
		if hop := e.contexts[a.Hop]; hop != nil {
			hop.forwards++
			e.sendLocked(hop, &wire.Frame{Dst: hop.id, Handle: wire.Forward,
				Payload: wire.AppendForward(nil, a.Bundle.ID, c.id), Public: true})
		}
	}
}

// enableLocked sends what makes c, and the hops before it, take bundles, once.
func (e *Engine) enableLocked(c *Context) {
	for ; c != nil; c = c.parent {
		c.loadLocked(e.forwards)
	}
}

// loadLocked sends a small module alone, unless c has it.
func (c *Context) loadLocked(m *modules.Module) {
	if c.modules[m.Name] {
		return
	}
	f := loadFrame(c, m)
	c.modules[m.Name] = true
	c.loadedLocked(m, len(f.Payload), report.SentAsked)
	c.e.sendLocked(c, &f)
}

func (e *Engine) comingLocked(c *Context, answers int, ids []bundle.ID) {
	for {
		n := min(len(ids), maxComing)
		e.sendLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Coming,
			Payload: wire.AppendComing(nil, answers, ids[:n]), Public: true})
		if ids, answers = ids[n:], 0; len(ids) == 0 {
			return
		}
	}
}

// piecesLocked queues a bundle for c.
func (e *Engine) piecesLocked(c *Context, b *bundle.Bundle) {
	files := b.Files() // which may have more in them than code
	for at := 0; at < len(b.Compressed); at += wire.PieceSize {
		data := b.Compressed[at:min(at+wire.PieceSize, len(b.Compressed))]
		p := wire.Piece{ID: b.ID, Total: uint32(len(b.Compressed)), Offset: uint32(at)}
		f := wire.Frame{Dst: c.id, Handle: wire.BundlePiece, Payload: p.Append(nil), Public: !files}
		c.count.framesDown++
		c.count.bytesDown += int64(f.Size() + len(data))
		c.count.down = true
		c.root.stream.PutShared(&f, data)
	}
	e.kickLocked(c.root.stream)
}

// sendLocked queues a frame for c without looking for gates.
func (e *Engine) sendLocked(c *Context, f *wire.Frame) {
	c.countDown(f)
	c.root.stream.Put(f)
	if c.root.ahead != nil && (f.Handle == wire.Call || f.Handle == wire.Open ||
		f.Handle == wire.Session) && !e.front.precedes(f) {
		c.root.stream.Seal() // what was waited for
	}
	e.kickLocked(c.root.stream)
}
