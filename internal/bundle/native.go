package bundle

import (
	"encoding/binary"
	"hash/adler32"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Extension modules and their libraries are large, so each is compressed once, however many
// bundles it is in, and faster than sources. They have bundles of their own, behind those of the
// sources: an import waits for what is announced, in whatever order it comes.

func isNative(letter byte) bool { return letter == modules.Native || letter == modules.Library }

// isFile reports whether a letter belongs to a file, which isn't a module.
func isFile(letter byte) bool { return letter == modules.Data || letter == modules.Library }

// Native returns the bytes of the extension modules and libraries in b.
func (b *Bundle) Native() (bytes int64) {
	for i, it := range b.items {
		if isNative(it.letter) {
			bytes += int64(b.Sizes[i])
		}
	}
	return bytes
}

// addNative adds an extension module or library of a group to those of its package.
func (p *packer) addNative(group int, m closure.Member) {
	x := piece{group: group, pkg: m.Package, members: []closure.Member{m}}
	at := slices.IndexFunc(p.natives, func(all []piece) bool { return all[0].pkg == m.Package })
	if at < 0 {
		p.natives = append(p.natives, []piece{x})
		return
	}
	p.natives[at] = append(p.natives[at], x)
}

// span is the place of a module's Source in a text.
type span struct {
	at int
	m  *modules.Module
}

// buildNative makes the bundle of pieces with extension modules: zlib's format, of parts that are
// compressed for themselves.
func buildNative(pieces []piece) *Bundle {
	b, text, natives := lay(pieces)
	out := []byte{0x78, 0x01}
	done := 0
	for _, s := range natives {
		out = append(out, modules.Deflated(text[done:s.at])...)
		out = append(out, s.m.Packed()...)
		done = s.at + len(s.m.Source)
	}
	out = append(out, modules.Deflated(text[done:])...)
	out = append(out, 1, 0, 0, 0xff, 0xff) // an empty block, the last one
	b.Compressed = binary.BigEndian.AppendUint32(out, adler32.Checksum(text))
	return b
}

// Draft is a bundle of extension modules that is made before the Book needs it: while one of many
// megabytes is made, all contexts wait for the Book.
type Draft struct {
	pieces []piece // static

	once   sync.Once
	bundle *Bundle
}

// Make makes the bundle, or waits until another goroutine has made it. It does not use the Book, so
// it may be called by several goroutines at once.
func (d *Draft) Make() *Bundle {
	d.once.Do(func() { d.bundle = buildNative(d.pieces) })
	return d.bundle
}

// maxDrafts bounds the drafts that are kept: those that nothing came of.
const maxDrafts = 16

// Drafts returns the bundles of extension modules that have to be made before ctx can be sent
// groups. What a Draft has made by then isn't made again.
func (b *Book) Drafts(ctx wire.ContextID, groups []closure.Group) (all []*Draft) {
	x := b.contexts[ctx]
	if x == nil {
		return nil
	}
	needed := map[content]bool{}
	for _, g := range groups {
		for _, m := range g.Members {
			if isNative(m.Letter) {
				needed[contentOf(m)] = true
			}
		}
	}
	p := packer{}
	for i, g := range groups {
		for _, m := range g.Members {
			if isNative(m.Letter) && !b.ready(x, contentOf(m), needed) {
				p.addNative(i, m)
			}
		}
	}
	for _, pieces := range p.natives {
		key := draftKey(pieces)
		if b.drafts[key] == nil {
			if b.drafts == nil || len(b.drafts) >= maxDrafts {
				b.drafts = map[string]*Draft{}
			}
			b.drafts[key] = &Draft{pieces: pieces}
		}
		all = append(all, b.drafts[key])
	}
	return all
}

// ready reports whether x has an extension module, or there is a bundle with it that has nothing
// else but what is needed: split retires a bundle that has more.
func (b *Book) ready(x *context, c content, needed map[content]bool) bool {
	it := b.items[c]
	if it == nil || x.holds(it) {
		return it != nil
	}
	return it.current != nil && !slices.ContainsFunc(it.current.items, func(other *item) bool {
		return !needed[other.content] && !x.holds(other)
	})
}

// native returns the bundle of pieces with extension modules. Each Draft is used once: a bundle
// that is made anew is another one.
func (b *Book) native(pieces []piece) *Bundle {
	key := draftKey(pieces)
	d := b.drafts[key]
	if d == nil {
		return buildNative(pieces)
	}
	delete(b.drafts, key)
	return d.Make()
}

// draftKey returns what tells pieces apart by all that goes into their bundle.
func draftKey(pieces []piece) string {
	var key strings.Builder
	key.WriteString(pieces[0].pkg)
	for _, x := range pieces {
		for _, m := range x.members {
			key.WriteByte(0)
			key.Write(m.Key[:])
		}
	}
	return key.String()
}
