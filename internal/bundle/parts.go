package bundle

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/adler32"
	"runtime"
	"sync"
)

// A context waits while a large text is compressed, so all processors do it. Each has a part of the
// text, behind the end of the part before as its dictionary; together they are one stream of zlib.

const (
	part       = 512 << 10
	dictionary = 32 << 10 // how far deflate looks back
)

var (
	partWriters = sync.Pool{New: func() any {
		w, _ := flate.NewWriter(nil, level) // a known level: no error
		return w
	}}
	zlibHeader = []byte{0x78, 0x9c} // a window of 32 KiB, level 6
)

// inParts returns text in zlib's format. It needs memory of 1 MiB for each processor.
func inParts(text []byte) []byte {
	parts := make([]bytes.Buffer, (len(text)+part-1)/part)
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range parts {
		processors <- struct{}{}
		all.Go(func() {
			deflate(&parts[i], text, i*part)
			<-processors
		})
	}
	all.Wait()
	whole := bytes.NewBuffer(make([]byte, 0, len(text)/3))
	whole.Write(zlibHeader)
	for i := range parts {
		whole.Write(parts[i].Bytes())
	}
	return binary.BigEndian.AppendUint32(whole.Bytes(), adler32.Checksum(text))
}

// deflate writes the part of text that begins at start.
func deflate(to *bytes.Buffer, text []byte, start int) {
	w := partWriters.Get().(*flate.Writer)
	defer partWriters.Put(w)
	w.Reset(to)
	w.Write(text[max(0, start-dictionary):start])
	if start > 0 {
		w.Flush()
		to.Reset() // it is in the part before
	}
	end := min(start+part, len(text))
	w.Write(text[start:end])
	if end < len(text) {
		w.Flush()
	} else {
		w.Close()
	}
}
