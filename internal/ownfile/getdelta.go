package ownfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
)

// getDelta is a file that the other side has in another form than the old file here. The other side
// sends the sums of its blocks, those are looked for in the old file, and what isn't there is asked
// for. What can't come in this way is asked for whole.
type getDelta struct {
	question uint32
	at       string      // its path
	base     string      // the name of the old file
	known    fs.FileInfo // the old file's

	attr   attributes
	xattrs xattrs
	size   int64
	digest []byte
	block  int64
	sums   []byte           // u64 for each whole block; nil: they have not come
	have   map[uint64]int64 // where the old file has a block of that sum

	old *os.File // while parts come
	pos int64    // of the next byte
	gap int64    // bytes from there on that come
}

// getDeltas are those of a sync.
type getDeltas struct {
	todo  []*getDelta
	asked map[uint32]*getDelta // by their question; at most maxDeltas
	now   *getDelta            // the one whose parts come; nil: none
	queue *askQueue
	buf   []byte // for a piece of an old file
}

// maxDeltas bounds the files whose sums are here.
const maxDeltas = 16

// A file that is twice as large has sums of blocks that are larger, so that these are as many as a
// block has bytes, but no more than maxSums.
const maxSums = 1 << 16

func blockSize(size int64) int64 {
	block := int64(4 << 10)
	for block < maxBlock && (block*block < size || size/block > maxSums) {
		block *= 2
	}
	return block
}

// byDelta tells whether the difference between a file and the old one is worth asking for. An old
// file that is shorter than a block of the new one has none of these.
func byDelta(old fs.FileInfo, size int64) bool {
	return old != nil && old.Mode().IsRegular() && min(old.Size(), size) > piece &&
		max(old.Size(), size)>>42 == 0 && old.Size()/16 <= size && old.Size() >= blockSize(size)
}

// advance asks for further sums, and says when there is nothing more to be asked for.
func (r *SyncReceiver) advance() {
	d := &r.deltas
	for len(d.todo) > 0 && len(d.asked) < maxDeltas {
		f := d.todo[0]
		d.todo = d.todo[1:]
		d.asked[f.question] = f
		b := binary.BigEndian.AppendUint32(nil, f.question)
		d.queue.add(kindSums, binary.BigEndian.AppendUint32(b, uint32(f.block)))
	}
	if len(d.asked) == 0 {
		d.queue.end()
	}
}

// deltaOf returns the file that a record is about.
func (r *SyncReceiver) deltaOf(b []byte) (f *getDelta, rest []byte, err error) {
	if len(b) >= 4 {
		f = r.deltas.asked[binary.BigEndian.Uint32(b)]
	}
	if f == nil {
		return nil, nil, fmt.Errorf("%w: a difference that was not asked for", ErrFormat)
	}
	return f, b[4:], nil
}

// whole has a file be sent whole.
func (r *SyncReceiver) whole(f *getDelta) {
	r.deltas.close()
	delete(r.deltas.asked, f.question)
	r.wanted = append(r.wanted, f.at)
	r.deltas.queue.add(kindNeed, binary.BigEndian.AppendUint32(nil, f.question))
	r.advance()
}

// close ends a file whose parts have come.
func (d *getDeltas) close() {
	if d.now != nil && d.now.old != nil {
		d.now.old.Close()
	}
	d.now = nil
}

// blockSums takes the sums of a file, and asks for what the old one hasn't.
func (r *SyncReceiver) blockSums(b []byte) error {
	f, b, err := r.deltaOf(b)
	if err != nil {
		return err
	}
	now := r.deltas.now
	if now != nil && now != f || len(b) > 0 && (now != nil || f.sums != nil) {
		return fmt.Errorf("%w: sums in the wrong place", ErrFormat)
	}
	if len(b) == 0 {
		if now == f {
			r.inside = false
			r.drop()
		}
		r.whole(f)
		return nil
	}
	if f.attr, b, err = parseAttributes(b); err != nil {
		return err
	}
	if len(b) < 8+digestSize+4 || binary.BigEndian.Uint64(b) > 1<<62 {
		return fmt.Errorf("%w: sums without size and digest", ErrFormat)
	}
	f.size = int64(binary.BigEndian.Uint64(b))
	f.digest = bytes.Clone(b[8 : 8+digestSize])
	b = b[8+digestSize:]
	s, err := parseSums(b)
	if err == nil && (int64(s.block) != f.block || int64(len(s.next)) != f.size/f.block) {
		err = fmt.Errorf("%w: %d sums of blocks of %d bytes", ErrFormat, len(s.next), s.block)
	}
	if err != nil {
		return err
	}
	f.sums, f.have, f.xattrs = bytes.Clone(b[4:]), map[uint64]int64{}, r.xattrs
	if err := r.search(f, s); err != nil {
		r.whole(f)
		return nil
	}
	r.deltas.queue.add(kindParts, f.parts())
	return nil
}

// search looks for the blocks in the old file.
func (r *SyncReceiver) search(f *getDelta, s *sums) error {
	where, _ := path.Split(f.at)
	dir, _, err := r.open(splitPath(where), 0)
	if err != nil {
		return err
	}
	defer r.closeDir(dir)
	old, err := openKnown(dir, f.base, f.known)
	if err != nil {
		return err
	}
	defer old.Close()
	return s.scan(&exactly{untilDone{r.ctx, old}, f.known.Size()}, &foundBlocks{f: f})
}

// foundBlocks notes where an old file has blocks.
type foundBlocks struct {
	f  *getDelta
	at int64
}

func (d *foundBlocks) literal(b []byte) error {
	d.at += int64(len(b))
	return nil
}

func (d *foundBlocks) copied(i int, b []byte) error {
	d.f.have[d.f.sum(int64(i))] = d.at
	d.at += int64(len(b))
	return nil
}

func (f *getDelta) sum(i int64) uint64 { return binary.BigEndian.Uint64(f.sums[8*i:]) }

// missing returns how many bytes from pos on, where a block begins, the old file hasn't.
func (f *getDelta) missing(pos int64) int64 {
	n := int64(0)
	for i := pos / f.block; pos+n < f.size; i++ {
		if i < int64(len(f.sums)/8) {
			if _, ok := f.have[f.sum(i)]; ok {
				break
			}
		}
		n += min(f.block, f.size-pos-n)
	}
	return n
}

// parts returns what is to be asked for.
func (f *getDelta) parts() []byte {
	b := binary.BigEndian.AppendUint32(nil, f.question)
	for pos := int64(0); pos < f.size; pos += f.block {
		for n := f.missing(pos); n > 0; {
			part := min(n, most)
			b = binary.BigEndian.AppendUint64(b, uint64(pos))
			b = binary.BigEndian.AppendUint32(b, uint32(part))
			pos, n = pos+part, n-part
		}
	}
	return b
}

// parted begins a file of which parts come.
func (r *SyncReceiver) parted(b []byte) error {
	f, b, err := r.deltaOf(b)
	if err != nil {
		return err
	}
	if f.sums == nil || len(b) > 0 || r.inside {
		return fmt.Errorf("%w: parts in the wrong place", ErrFormat)
	}
	where, name := path.Split(f.at)
	r.leave()
	r.below, r.name, r.excluded = splitPath(where), name, false
	dir, _, err := r.open(r.below, 0)
	if err != nil {
		r.fail(f.at, err)
	} else {
		r.dir = dir
	}
	r.inside, r.deltas.now, r.xattrs = true, f, f.xattrs
	if err := r.begin(f.attr, name, f.size); err != nil {
		return err
	}
	r.content = true
	if r.file != nil {
		if f.old, err = openKnown(dir, f.base, f.known); err != nil {
			r.failed(err)
		}
	}
	return r.fill(f)
}

// part takes a record of a file of which parts come.
func (r *SyncReceiver) part(kind byte, b []byte) error {
	f := r.deltas.now
	switch kind {
	case kindSumsOf:
		return r.blockSums(b)
	case kindEnd:
		return r.partsEnd(f)
	case kindPiece, kindZeros:
	default:
		return fmt.Errorf("%w: of kind %q inside of a file", ErrFormat, kind)
	}
	before := r.left
	if err := r.data(kind, b); err != nil {
		return err
	}
	n := before - r.left
	f.pos += n
	if f.gap -= n; f.gap < 0 {
		return fmt.Errorf("%w: a part has more bytes than were asked for", ErrFormat)
	}
	return r.fill(f)
}

// fill copies what the old file has, up to the next part that comes.
func (r *SyncReceiver) fill(f *getDelta) error {
	r.local = true
	defer func() { r.local = false }()
	for f.gap == 0 && f.pos < f.size {
		if f.gap = f.missing(f.pos); f.gap > 0 {
			return nil
		}
		from := f.have[f.sum(f.pos/f.block)]
		for left := f.block; left > 0; {
			if r.ctx.Err() != nil {
				return r.ctx.Err()
			}
			b := r.deltas.buf[:min(left, piece)]
			if r.file != nil {
				if _, err := f.old.ReadAt(b, from); err != nil {
					r.failed(shorter(err))
				}
			}
			kind, n := byte(kindPiece), int64(len(b))
			if bytes.Equal(b, zeroPiece[:n]) { // a block may have fewer bytes than a piece
				kind, b = kindZeros, binary.BigEndian.AppendUint64(nil, uint64(n))
			}
			if err := r.data(kind, b); err != nil {
				return err
			}
			from, left, f.pos = from+n, left-n, f.pos+n
		}
	}
	return nil
}

// partsEnd ends a file of which all parts have come. If it isn't what it should be, because it was
// changed meanwhile or blocks were taken for other blocks, it is asked for whole.
func (r *SyncReceiver) partsEnd(f *getDelta) error {
	if f.pos < f.size {
		return fmt.Errorf("%w: the end, and not all parts", ErrFormat)
	}
	r.inside = false
	if r.file != nil && !bytes.Equal(r.sum.Sum(nil), f.digest) {
		r.drop()
		r.whole(f)
		return nil
	}
	r.deltas.close()
	delete(r.deltas.asked, f.question)
	r.advance()
	r.Changed(f.at, false)
	return r.end(f.digest)
}

// askQueue holds what is to be asked for, so that who reads answers waits for nothing.
type askQueue struct {
	more chan struct{} // has one if there is something new

	mu    sync.Mutex // protects following
	all   []request
	ended bool // nothing more will be asked for
	gone  bool // no caller waits for answers any more
}

type request struct {
	kind    byte
	payload []byte
}

func (q *askQueue) change(do func()) {
	q.mu.Lock()
	do()
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *askQueue) add(kind byte, b []byte) {
	q.change(func() { q.all = append(q.all, request{kind, b}) })
}

func (q *askQueue) end()  { q.change(func() { q.ended = true }) }
func (q *askQueue) stop() { q.change(func() { q.gone = true }) }

// write asks, until all has been asked for.
func (q *askQueue) write(w *Writer) error {
	for {
		q.mu.Lock()
		all, ended, gone := q.all, q.ended, q.gone
		q.all = nil
		q.mu.Unlock()
		if gone {
			return nil
		}
		for _, a := range all {
			if err := w.record(a.kind, a.payload); err != nil {
				return err
			}
		}
		if ended {
			if err := w.record(kindDone); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil || ended {
			return err
		}
		<-q.more
	}
}
