package bundle

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// programMark goes before the bytes of a program in the hash that names it: no bundle of modules
// has the same name.
const programMark = "go program"

// Program returns a bundle that is the binary of a program, and has no modules.
func Program(binary []byte) *Bundle {
	h := sha256.New()
	h.Write([]byte(programMark))
	h.Write(binary)
	b := &Bundle{ID: ID(h.Sum(nil)[:16]), Size: len(binary)}
	var packed bytes.Buffer
	w, _ := zlib.NewWriterLevel(&packed, programLevel)
	w.Write(binary) // to memory
	w.Close()
	b.Compressed = packed.Bytes()
	return b
}

// programLevel is zlib's. Higher levels take three times as long for 4 % of the bytes.
const programLevel = 3

// Bring returns what sends a program to ctx, which expects it: from the nearest hop that keeps it,
// else from here.
func (b *Book) Bring(ctx wire.ContextID, program *Bundle) []Action {
	if b.contexts[ctx] == nil {
		return nil
	}
	if b.bundles[program.ID] == nil {
		b.bundles[program.ID] = program
	}
	return []Action{b.route(ctx, b.bundles[program.ID])}
}
