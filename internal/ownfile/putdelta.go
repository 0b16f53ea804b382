package ownfile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io/fs"
)

// delta sends what a file has that the old one hasn't.
func (s *SyncSender) delta(ctx context.Context, it item, st fs.FileInfo, old []byte) error {
	sums, err := parseSums(old)
	if err != nil {
		return err
	}
	f, now, err := it.open(st)
	if err != nil {
		s.fail(it.label, err)
		return nil
	}
	defer f.Close()
	head := binary.BigEndian.AppendUint64(attributesOf(now).append(nil), uint64(now.Size()))
	if err := s.W.record(kindLarge, head, []byte(it.name)); err != nil {
		return err
	}
	d := &sentDelta{ctx: ctx, s: &s.Sender, sum: sha256.New(), block: sums.block}
	file := &exactly{f, now.Size()}
	err = sums.scan(file, d)
	if err == nil {
		err = d.flush()
	}
	switch {
	case d.failed != nil:
		return d.failed
	case err == nil && file.left > 0:
		err = errShorter
	}
	if err != nil {
		s.fail(it.label, err)
		return s.W.record(kindDrop)
	}
	s.moved(0, 1)
	return s.W.record(kindEnd, d.sum.Sum(nil))
}

// sentDelta sends a delta. Blocks that follow one another are one record.
type sentDelta struct {
	ctx    context.Context
	s      *Sender
	sum    hash.Hash
	block  int
	from   int   // first of the blocks that aren't sent yet
	n      int   // of these
	failed error // of the stream, or ctx's
}

func (d *sentDelta) literal(b []byte) error {
	if err := d.flush(); err != nil {
		return err
	}
	for len(b) > 0 {
		n := min(len(b), piece)
		if err := d.record(kindPiece, b[:n]); err != nil {
			return err
		}
		d.sum.Write(b[:n])
		d.s.moved(n, 0)
		b = b[n:]
	}
	return nil
}

func (d *sentDelta) copied(i int, b []byte) error {
	if d.failed = d.ctx.Err(); d.failed != nil {
		return d.failed
	}
	d.sum.Write(b)
	if d.n > 0 && i == d.from+d.n && (d.n+1)*d.block <= most {
		d.n++
		return nil
	}
	err := d.flush()
	d.from, d.n = i, 1
	return err
}

func (d *sentDelta) flush() error {
	if d.n == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(d.from)*uint64(d.block))
	b = binary.BigEndian.AppendUint32(b, uint32(d.n*d.block))
	d.n = 0
	return d.record(kindCopy, b)
}

func (d *sentDelta) record(kind byte, b []byte) error {
	d.failed = d.s.W.record(kind, b)
	if d.failed == nil {
		d.failed = d.ctx.Err()
	}
	return d.failed
}
