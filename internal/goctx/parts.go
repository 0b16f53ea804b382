package goctx

import (
	"github.com/mitogen-go/mitogen/internal/wire"
)

// partKey names a value that comes in parts.
type partKey struct {
	src           wire.ContextID
	handle, reply wire.Handle
}

// parts holds the pieces of such a value that have come.
type parts struct {
	size   int
	pieces [][]byte
	over   bool // it is larger than the limit: the rest is dropped
}

// partCost is added to the bytes of each piece.
const partCost = 64

// assemble puts values together. done is false while more has to come, or if the value was refused.
func (s *served) assemble(f *wire.Frame) (whole wire.Frame, done bool) {
	k := partKey{f.Src, f.Handle, f.Reply}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[k]
	switch {
	case f.Kind == wire.Part && len(f.Payload) == 0: // it was given up
		s.forgetLocked(k, p)
		return whole, false
	case f.Kind == wire.Part:
		s.keepLocked(k, p, f.Payload)
		s.giveBack(f.Src, f.Reply, len(f.Payload))
		return whole, false
	case p == nil:
		return *f, true
	}
	s.forgetLocked(k, p)
	if p.over {
		return whole, false
	}
	if p.size+len(f.Payload) > s.cfg.MaxMessage {
		s.tooLargeLocked(k)
		return whole, false
	}
	whole = *f
	whole.Payload = make([]byte, 0, p.size+len(f.Payload))
	for _, piece := range append(p.pieces, f.Payload) {
		whole.Payload = append(whole.Payload, piece...)
	}
	return whole, true
}

// keepLocked keeps a piece. A value that is too large, alone or with all that are not whole
// yet, is answered once and then dropped.
func (s *served) keepLocked(k partKey, p *parts, piece []byte) {
	if p == nil {
		p = &parts{}
		s.parts[k] = p
	}
	if p.over {
		return
	}
	p.size += len(piece)
	s.held += len(piece) + partCost
	p.pieces = append(p.pieces, append([]byte(nil), piece...))
	if p.size > s.cfg.MaxMessage || s.held > 2*s.cfg.MaxMessage {
		s.forgetLocked(k, p)
		s.parts[k] = &parts{over: true}
		s.tooLargeLocked(k)
	}
}

func (s *served) forgetLocked(k partKey, p *parts) {
	if p == nil {
		return
	}
	for _, piece := range p.pieces {
		s.held -= len(piece) + partCost
	}
	delete(s.parts, k)
}

func (s *served) tooLargeLocked(k partKey) {
	s.dead(k.src, k.reply, "message is larger than %d bytes", s.cfg.MaxMessage)
}

func (s *served) giveBack(dst wire.ContextID, flow wire.Handle, n int) {
	s.urgent(&wire.Frame{Dst: dst, Handle: wire.Credit,
		Payload: wire.AppendCredit(nil, flow, uint32(n))})
}
