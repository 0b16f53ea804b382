package ownfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// answer is a record of the other side.
type answer struct {
	kind byte
	n    uint32
	dir  bool
	text string
	sums []byte // of a file that is needed; none: it is sent whole
	err  error
}

// answers are read as they come, so that neither side waits for the other one to read.
type answers struct {
	more chan struct{} // has one if there is something new

	mu   sync.Mutex // protects following
	all  [][]answer // in pieces, as one slice of millions takes twice its size when it grows
	size int
	err  error
}

// answersAtOnce is the length of a piece.
const answersAtOnce = 1024

func (q *answers) putLocked(a answer) {
	last := len(q.all) - 1
	if last < 0 || len(q.all[last]) == cap(q.all[last]) {
		q.all = append(q.all, make([]answer, 0, answersAtOnce))
		last++
	}
	q.all[last] = append(q.all[last], a)
}

// takeLocked returns the first answer, of which there is one.
func (q *answers) takeLocked() answer {
	a := q.all[0][0]
	q.all[0][0] = answer{}
	if q.all[0] = q.all[0][1:]; len(q.all[0]) == 0 {
		q.all[0] = nil
		q.all = q.all[1:]
	}
	return a
}

// maxAnswers bounds the memory that answers take before they are looked at.
const maxAnswers = 256 << 20

func (q *answers) read(from io.Reader) {
	for rd := newReader(from); ; {
		kind, b, err := rd.next()
		var a answer
		if err == nil {
			a, err = parseAnswer(kind, b)
		}
		q.mu.Lock()
		if q.size > maxAnswers/2 {
			a.sums = nil // what there is of the file isn't used then
		}
		if q.size += 64 + len(a.text) + len(a.sums); err == nil && q.size > maxAnswers {
			err = fmt.Errorf("%w: answers of more than %d bytes", ErrFormat, maxAnswers)
		}
		if err == nil {
			q.putLocked(a)
		} else {
			q.err = err
		}
		q.mu.Unlock()
		select {
		case q.more <- struct{}{}:
		default:
		}
		if err != nil || kind == kindDone {
			return
		}
	}
}

func parseAnswer(kind byte, b []byte) (a answer, err error) {
	a = answer{kind: kind}
	switch {
	case kind == kindFailure:
		var failure *RemoteError
		a.text, failure, err = parseFailure(b)
		a.err = failure
		return a, err
	case kind == kindNeed && len(b) >= 4:
		a.n = binary.BigEndian.Uint32(b)
		a.sums = bytes.Clone(b[4:])
		return a, nil
	case kind == kindExtra && len(b) > 1 && len(b) < maxPath:
		a.dir, a.text = b[0] == 'd', string(b[1:])
		return a, nil
	case kind == kindChanged && len(b) < maxPath:
		a.text = string(b)
		return a, nil
	case (kind == kindAsked || kind == kindDone) && len(b) == 0:
		return a, nil
	}
	return a, fmt.Errorf("%w: an answer of kind %q with %d bytes", ErrFormat, kind, len(b))
}

// next waits for an answer.
func (q *answers) next(ctx context.Context) (answer, error) {
	for {
		q.mu.Lock()
		if len(q.all) > 0 {
			a := q.takeLocked()
			q.size -= 64 + len(a.text) + len(a.sums)
			q.mu.Unlock()
			return a, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			return answer{}, err
		}
		select {
		case <-q.more:
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}
