package bundle

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/adler32"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Extension modules and their libraries are large, so they are compressed faster than sources, and
// read from their files when they are. They have bundles of their own, behind those of the
// sources: an import waits for what is announced, in whatever order it comes.

func isNative(letter byte) bool { return letter == modules.Native || letter == modules.Library }

// isFile reports whether a letter belongs to a file, which isn't a module.
func isFile(letter byte) bool { return letter == modules.Data || letter == modules.Library }

// Native returns the bytes of the extension modules and libraries in b.
func (b *Bundle) Native() (bytes int64) {
	for i, it := range b.items {
		if isNative(it.letter) && b.brings(i) {
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

// buildNative makes the bundle of pieces with extension modules: zlib's format, of parts that are
// compressed for themselves. The text is never in memory as a whole.
func buildNative(pieces []piece) *Bundle {
	gone := map[*modules.Module]string{} // whose files can't be read: what is sent instead
	for {
		n := nativeBuilder{b: &Bundle{Package: pieces[0].pkg}, id: sha256.New(), check: adler32.New(),
			out: [][]byte{{0x78, 0x01}}}
		failed := false
		for _, x := range pieces {
			m := x.members[0]
			if err := n.add(m, gone[m.Module]); err != nil {
				gone[m.Module], failed = err.Error(), true
				break
			}
		}
		if !failed {
			return n.end()
		}
	}
}

// nativeBuilder is a bundle in the making.
type nativeBuilder struct {
	b         *Bundle
	id, check hash.Hash
	out       [][]byte
}

// see takes the next bytes of the text.
func (n *nativeBuilder) see(data []byte) {
	n.b.Size += len(data)
	n.id.Write(data)
	n.check.Write(data)
}

// add adds the one member of a group, or if there is a reason that instead of it. An error says
// that the member's file has changed or can't be read; the bundle is of no use then.
func (n *nativeBuilder) add(m closure.Member, reason string) error {
	w := wire.Module{Name: m.Name, Path: m.Place(), Form: formOf(m.Module)}
	length := m.Length()
	if reason != "" {
		w.Form, w.Rest, length = wire.FormNone, []byte(reason), 0
	}
	head := w.Append(make([]byte, 8))
	binary.BigEndian.PutUint32(head, uint32(len(head)-4+length))
	binary.BigEndian.PutUint32(head[4:], uint32(len(head)-8+length))
	n.see(head)
	n.out = append(n.out, modules.Deflated(head))
	n.b.Minified += length
	n.b.Names = append(n.b.Names, m.Name)
	n.b.Sizes = append(n.b.Sizes, m.Module.Size)
	n.b.items = append(n.b.items, &item{content: contentOf(m)})
	n.b.refused = append(n.b.refused, reason != "")
	if reason != "" {
		n.b.Negative++
		return nil
	}
	n.b.Found += m.Module.Size
	packed, err := m.Pack(n.see)
	n.out = append(n.out, packed...)
	return err
}

// end returns the bundle.
func (n *nativeBuilder) end() *Bundle {
	copy(n.b.ID[:], n.id.Sum(nil))
	empty := []byte{1, 0, 0, 0xff, 0xff} // a block, the last one
	n.out = append(n.out, empty, n.check.Sum(nil))
	n.b.Compressed = slices.Concat(n.out...)
	return n.b
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

// maxDrafts bounds the drafts that are kept: those that nothing came of. Once no answer is awaited,
// none is.
const maxDrafts = 16

// dropDrafts forgets the drafts, unless one may still come of use.
func (b *Book) dropDrafts() {
	for _, x := range b.contexts {
		if len(x.asked) > 0 {
			return
		}
	}
	b.drafts = nil
}

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

// maxIdle bounds the bytes of idle bundles of extension modules that are kept for contexts to come.
// What is not kept is made again of the files. A variable for tests.
var maxIdle = 64 << 20

// trim forgets the oldest bundles of extension modules that no context has, as far as there are
// more of them than are kept.
func (b *Book) trim() {
	if len(b.natives) == b.trimmed {
		return // since then nothing was made
	}
	idle := 0
	for i := len(b.natives) - 1; i >= 0; i-- {
		bundle := b.natives[i]
		if b.held(bundle) {
			continue
		}
		if idle += len(bundle.Compressed); idle > maxIdle {
			b.natives = slices.Delete(b.natives, i, i+1)
			b.forget(bundle)
		}
	}
	b.trimmed = len(b.natives)
}

// held reports whether a context has a bundle.
func (b *Book) held(bundle *Bundle) bool {
	for _, x := range b.contexts {
		if x.got[bundle] {
			return true
		}
	}
	return false
}

// forget drops all that leads to a bundle, which no context has.
func (b *Book) forget(bundle *Bundle) {
	b.retire(bundle)
	if b.bundles[bundle.ID] == bundle {
		delete(b.bundles, bundle.ID)
	}
	for _, it := range bundle.items {
		it.in = slices.DeleteFunc(it.in, func(other *Bundle) bool { return other == bundle })
	}
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
