package modules

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"io"
	"io/fs"
	"sync"
)

// maxPacked bounds the bytes of compressed files that are kept. Each counts packCost more than it
// has.
const (
	maxPacked = 32 << 20
	packCost  = 512
)

// packs holds files as they are sent, so that none is compressed again for each question.
type packs struct {
	mu      sync.Mutex // protects following, and cost and used of entries
	clock   uint64
	bytes   int
	entries map[packKey]*pack
}

type packKey struct {
	t    *tree
	name string
}

// pack is a file. Its mutex is held while it is read and compressed: other goroutines that want it
// wait for that.
type pack struct {
	used uint64
	cost int

	mu    sync.Mutex // protects following
	stamp stamp
	sum   [sha256.Size]byte // of the file
	size  int
	rest  []byte // nil: not read
}

// entry returns the pack of a file, a new one if there is none.
func (p *packs) entry(k packKey) *pack {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock++
	e := p.entries[k]
	if e == nil {
		if p.entries == nil {
			p.entries = map[packKey]*pack{}
		}
		e = &pack{}
		p.entries[k] = e
	}
	e.used = p.clock
	return e
}

// settle accounts for an entry that was read, and forgets those that weren't used for longest while
// there are too many bytes.
func (p *packs) settle(k packKey, e *pack, cost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries[k] != e {
		return
	}
	p.bytes += cost - e.cost
	e.cost = cost
	for p.bytes > maxPacked && len(p.entries) > 1 {
		var oldest packKey
		first := p.clock + 1
		for key, other := range p.entries {
			if other != e && other.used < first {
				oldest, first = key, other.used
			}
		}
		p.bytes -= p.entries[oldest].cost
		delete(p.entries, oldest)
	}
}

// drop forgets an entry that can't be read.
func (p *packs) drop(k packKey, e *pack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries[k] == e {
		p.bytes -= e.cost
		delete(p.entries, k)
	}
}

// packed returns zlib of what make makes of a file, and the size of that.
func (f *Finder) packed(t *tree, name string, make func([]byte) []byte) (rest []byte, size int,
	err error) {
	k := packKey{t, name}
	e := f.packs.entry(k)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rest != nil {
		if st, err := fs.Stat(t.FS, name); err == nil && e.stamp.holds(st) {
			return e.rest, e.size, nil
		}
	}
	data, st, err := read(t.FS, name)
	if err != nil {
		f.packs.drop(k, e)
		return nil, 0, err
	}
	data = make(data)
	sum := sha256.Sum256(data)
	if e.rest == nil || sum != e.sum {
		e.rest, e.sum, e.size = deflate(data), sum, len(data)
	}
	e.stamp = newStamp(st)
	f.packs.settle(k, e, len(e.rest)+packCost)
	return e.rest, e.size, nil
}

// inflate is the reverse of deflate.
func inflate(data []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil // not of deflate
	}
	text, _ := io.ReadAll(r)
	return text
}

// deflate is compress for bulk: it takes a third of the time.
func deflate(data []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(data) // to memory: no error
	w.Close()
	return buf.Bytes()
}
