package modules

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"runtime"
	"sync"
)

// The bytes of extension modules and their libraries stay in their files: a virtual environment may
// have gigabytes of them. They are read each time that they are packed, a piece at a time.

// pieceSize is the size of the pieces that are read, and compressed in parallel, in bytes.
const pieceSize = 1 << 20

// Length returns the bytes of Source, or of what stands in its place in an extension module or a
// library.
func (m *Module) Length() int {
	if m.native == nil {
		return len(m.Source)
	}
	return len(m.native.before) + m.Size
}

// each calls do with m's bytes, in order: with pieces of Source, or of what is read of a file, that
// do gives back. An error says that the file is no longer as it was, or can't be read. do may have
// seen a part of it then.
func (m *Module) each(do func([]byte)) error {
	if m.native == nil {
		for at := 0; at < len(m.Source); at += pieceSize {
			do(m.Source[at:min(at+pieceSize, len(m.Source))])
		}
		return nil
	}
	do(m.native.before)
	f, _, err := openRegular(m.native.tree.FS, m.native.file)
	if err != nil {
		return err
	}
	defer f.Close()
	left, sum := m.Size, sha256.New()
	for left > 0 {
		piece := pieces.Get().(*[pieceSize]byte)[:min(left, pieceSize)]
		if _, err := io.ReadFull(f, piece); err != nil {
			return changed(m.Path, err)
		}
		sum.Write(piece)
		left -= len(piece)
		do(piece)
	}
	if recorded(sum) != m.native.hash {
		return changed(m.Path, fs.ErrInvalid)
	}
	return nil
}

func changed(path string, err error) error {
	return fmt.Errorf("%s has changed since it was looked for: %w", path, err)
}

// recorded returns a sum as RECORD has it.
func recorded(sum hash.Hash) string {
	return "sha256=" + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// pieces has buffers for what is read.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// giveBack takes what each has read into a buffer.
func (m *Module) giveBack(piece []byte) {
	if m.native != nil && cap(piece) == pieceSize {
		pieces.Put((*[pieceSize]byte)(piece[:pieceSize]))
	}
}

// Pack returns m's bytes as deflate compresses them, in whole bytes, without an end: for a part of
// a larger stream. All processors compress. see is called with the bytes, in order, and may not
// keep them. An error says that m's file has changed or can't be read; see has seen something else
// then.
func (m *Module) Pack(see func([]byte)) (packed [][]byte, err error) {
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0)+1)
	var out []*[]byte
	err = m.each(func(piece []byte) {
		see(piece)
		slots <- struct{}{}
		result := new([]byte)
		out = append(out, result)
		group.Go(func() {
			*result = Deflated(piece)
			m.giveBack(piece)
			<-slots
		})
	})
	group.Wait()
	for _, result := range out {
		packed = append(packed, *result)
	}
	return packed, err
}

// Deflated returns data as a part of a deflate stream, in whole bytes and without an end.
func Deflated(data []byte) []byte {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(data) // to memory: no error
	w.Flush()
	return buf.Bytes()
}

// Alone returns a module with all that LOAD_MODULE needs of m, an extension module, for one use:
// it has the bytes, which m hasn't. Or it returns one of letter Missing, if the file has changed.
func (m *Module) Alone() *Module {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	err := m.each(func(piece []byte) {
		w.Write(piece) // to memory: no error
		m.giveBack(piece)
	})
	if err != nil {
		return missing(m.Name, err.Error())
	}
	w.Close()
	alone := &Module{Name: m.Name, Path: m.Path, Letter: m.Letter, Size: m.Size, Own: m.Own,
		Scanned: true, Info: m.Info, Key: m.Key, native: m.native}
	alone.once.Do(func() { alone.rest = buf.Bytes() })
	return alone
}
