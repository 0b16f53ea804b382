package route

import "github.com/mitogen-go/mitogen/internal/wire"

// maxLate limits the handles that are remembered for one context. The oldest are forgotten.
const maxLate = 4096

// late is a set of handles that were given up before their last frame came. Frames for them are
// dropped without being an offence. The zero value is empty.
type late struct {
	handles map[wire.Handle]bool // whether one answer ends it
	order   []wire.Handle        // as they were added; may name handles that were dropped since
}

// add remembers h. A request has one last frame, a receiver any number.
func (l *late) add(h wire.Handle, request bool) {
	if l.has(h) {
		return
	}
	put(&l.handles, h, request)
	l.order = append(l.order, h)
	if len(l.order) > maxLate {
		delete(l.handles, l.order[0])
		l.order = l.order[1:]
	}
}

func (l *late) has(h wire.Handle) bool {
	if l == nil {
		return false
	}
	_, ok := l.handles[h]
	return ok
}

// receiver says whether h was a receiver.
func (l *late) receiver(h wire.Handle) bool { return l.has(h) && !l.handles[h] }

// answered says that the last frame of an answer has come.
func (l *late) answered(h wire.Handle) {
	if l != nil && l.handles[h] {
		delete(l.handles, h)
	}
}
