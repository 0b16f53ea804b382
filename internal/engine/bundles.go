package engine

import (
	"log/slog"
	"slices"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// unpacker is the module that unpacks bzip2: a context is asked whether it lacks that, too.
const unpacker = "_bz2"

// abiMark begins what an answer says of the extension modules that a context takes.
const abiMark = "="

// maxComing limits the ids of bundles in one COMING, so that it fits a frame.
const maxComing = 4096

// carryOutLocked queues what an action for c says. Nothing holds back what the Forwarder sends.
func (s *supply) carryOutLocked(a *forward.Action) {
	c, e := s.c, s.c.e
	if a.Load != nil {
		s.loadLocked(a.Load)
		return
	}
	s.enableLocked()
	switch a.Op {
	case bundle.Ask:
		s.loadLocked(e.library.lacks)
		s.requests.asks++
		c.figures.count.Questions++
		names := append(slices.Clip(a.Names), unpacker)
		if a.Native {
			s.loadLocked(e.library.natives)
			names = append(names, nativeModule)
		}
		e.traffic.sendLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Ask,
			Payload: wire.AppendNames(nil, names), Public: true})
		c.outbox.traceLocked("asked what it lacks", slog.Any("names", a.Names))
	case bundle.Coming:
		s.comingLocked(a.Answers, a.IDs)
	case bundle.Send:
		s.given.bundledLocked(a)
		s.piecesLocked(a.Bundle)
	case bundle.Forward:
		s.given.bundledLocked(a)
		if hop := e.tree.contexts[a.Hop]; hop != nil {
			hop.Supply.enableLocked()
			hop.Supply.requests.forwards++
			e.traffic.sendLocked(hop, &wire.Frame{Dst: hop.id, Handle: wire.Forward,
				Payload: wire.AppendForward(nil, a.Bundle.ID, c.id), Public: true})
		}
	}
}

// enableLocked sends what makes c take bundles, once.
func (s *supply) enableLocked() { s.loadLocked(s.c.e.library.forwards) }

// loadLocked sends a small module alone, unless c has it.
func (s *supply) loadLocked(m *modules.Module) {
	c := s.c
	if s.modules[m.Name] {
		return
	}
	f := loadFrame(c, m)
	s.modules[m.Name] = true
	s.given.loadedLocked(m, len(f.Payload))
	c.e.traffic.sendLocked(c, &f)
}

func (s *supply) comingLocked(answers int, ids []bundle.ID) {
	c := s.c
	for {
		n := min(len(ids), maxComing)
		c.e.traffic.sendLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Coming,
			Payload: wire.AppendComing(nil, answers, ids[:n]), Public: true})
		if ids, answers = ids[n:], 0; len(ids) == 0 {
			return
		}
	}
}

// piecesLocked queues a bundle for c.
func (s *supply) piecesLocked(b *bundle.Bundle) {
	c := s.c
	files := b.Files() // which may have more in them than code
	for at := 0; at < len(b.Compressed); at += wire.PieceSize {
		data := b.Compressed[at:min(at+wire.PieceSize, len(b.Compressed))]
		p := wire.Piece{ID: b.ID, Total: uint32(len(b.Compressed)), Offset: uint32(at)}
		f := wire.Frame{Dst: c.id, Handle: wire.BundlePiece, Payload: p.Append(nil), Public: !files}
		c.figures.count.framesDown++
		c.figures.count.bytesDown += int64(f.Size() + len(data))
		c.figures.count.down = true
		c.root.stream.PutShared(&f, data)
	}
	c.e.traffic.kickLocked(c.root.stream)
}
