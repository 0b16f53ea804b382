// Package bundle packs modules for transfer and decides which way they go through the tree:
// docs/protocol/modules.md, section 12.
//
// Pack makes bundles. A Book records which contexts hold and keep which of them, and says what to
// send. Neither has a goroutine or a clock, nor does I/O, but that the files of extension modules
// are read when they are packed.
package bundle

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// ID names a bundle by its content.
type ID = wire.BundleID

// Bundle is modules of one package, compressed as a unit. It doesn't change.
type Bundle struct {
	ID         ID
	Package    string            // as closure.Member has it
	Names      []string          // of the modules, files and negative answers, in order
	Sizes      []int             // bytes of the file of each
	Negative   int               // how many of Names are negative answers
	TooLarge   []*modules.Module // negative answers for modules that have too many bytes
	Found      int               // bytes of the modules' files
	Minified   int               // bytes of their sources as they are sent
	Size       int               // bytes of the text
	Compressed []byte            // zlib of the text, or bzip2

	items   []*item // a Book's, one for each name
	refused []bool  // items in whose place there is a reason; nil: none
	small   *Bundle // the same by bzip2; nil: there is none yet

	once   sync.Once
	byName map[string]bool // for Holds
}

// refuses reports whether b has a reason in the place of its item at i.
func (b *Bundle) refuses(i int) bool { return i < len(b.refused) && b.refused[i] }

// brings reports whether b has a module or file for its item at i, and no negative answer.
func (b *Bundle) brings(i int) bool {
	return b.items[i].letter != modules.Missing && !b.refuses(i)
}

// Modules returns the names of the modules, without files, negative answers, and what is the
// runtime's own.
func (b *Bundle) Modules() []string {
	names := make([]string, 0, len(b.Names)-b.Negative)
	for i, it := range b.items {
		if b.brings(i) && !isFile(it.letter) && b.Names[i] != closure.Files {
			names = append(names, b.Names[i])
		}
	}
	return names
}

// Each calls do with every module and file in b, but for what is the runtime's own.
func (b *Bundle) Each(do func(name string, size int, file bool)) {
	for i, it := range b.items {
		if b.brings(i) && b.Names[i] != closure.Files {
			do(strings.TrimPrefix(b.Names[i], "/"), b.Sizes[i], isFile(it.letter))
		}
	}
}

// Holds reports whether b has a module or file of that name. A negative answer doesn't count.
func (b *Bundle) Holds(name string) bool {
	b.once.Do(func() {
		b.byName = map[string]bool{}
		for i := range b.items {
			if b.brings(i) {
				b.byName[b.Names[i]] = true
			}
		}
	})
	return b.byName[name]
}

// Files tells whether files of packages are among the members, besides modules.
func (b *Bundle) Files() bool {
	return slices.ContainsFunc(b.items, func(it *item) bool { return it.letter == modules.Data })
}

// Pack makes bundles of groups, whose dependencies come before them, as those of the bundles do. It
// makes one for each package, and several where packages import each other in turns. Only the
// members of an import cycle through several packages can come before what they need. The same
// groups give the same bundles.
func Pack(groups []closure.Group) []*Bundle { return pack(groups, buildNative) }

// pack is Pack where native makes the bundles of extension modules.
func pack(groups []closure.Group, native func([]piece) *Bundle) []*Bundle {
	var out []*Bundle
	p := newPacker(groups)
	for len(p.pieces) > 0 {
		out = append(out, build(p.next()))
	}
	for _, pieces := range p.natives {
		out = append(out, native(pieces))
	}
	return out
}

// piece is the members of a group that belong to one package.
type piece struct {
	group   int
	pkg     string
	members []closure.Member
}

type packer struct {
	groups []closure.Group
	pieces []piece // still to be packed, in the order of the groups
	left   []int   // of each group, number of pieces among them

	natives [][]piece // of extension modules, by package: these go by themselves, behind the rest
}

func newPacker(groups []closure.Group) *packer {
	p := &packer{groups: groups, left: make([]int, len(groups))}
	for i, g := range groups {
		first := len(p.pieces)
		for _, m := range g.Members {
			if isNative(m.Letter) {
				p.addNative(i, m)
				continue
			}
			at := slices.IndexFunc(p.pieces[first:], func(x piece) bool { return x.pkg == m.Package })
			if at < 0 {
				at = len(p.pieces) - first
				p.pieces = append(p.pieces, piece{group: i, pkg: m.Package})
			}
			at += first
			p.pieces[at].members = append(p.pieces[at].members, m)
		}
		p.left[i] = len(p.pieces) - first
	}
	return p
}

// next takes the pieces of one bundle: all of the first package that needs no other one, or, if
// there is none, what can go of the first one.
func (p *packer) next() []piece {
	var tried []string
	take := p.ready(p.pieces[0].pkg)
	for _, x := range p.pieces {
		if slices.Contains(tried, x.pkg) {
			continue
		}
		tried = append(tried, x.pkg)
		if all := p.ready(x.pkg); len(all) == p.count(x.pkg) {
			take = all
			break
		}
	}
	var taken, rest []piece
	for i, x := range p.pieces {
		if slices.Contains(take, i) {
			taken = append(taken, x)
			p.left[x.group]--
		} else {
			rest = append(rest, x)
		}
	}
	p.pieces = rest
	return taken
}

func (p *packer) count(pkg string) (n int) {
	for _, x := range p.pieces {
		if x.pkg == pkg {
			n++
		}
	}
	return n
}

// ready returns the indices of the pieces of pkg that need nothing but what is packed and each
// other.
func (p *packer) ready(pkg string) (take []int) {
	left := slices.Clone(p.left)
	for i, x := range p.pieces {
		waits := func(need int) bool { return left[need] > 0 }
		if x.pkg == pkg && !slices.ContainsFunc(p.groups[x.group].Needs, waits) {
			take = append(take, i)
			left[x.group]--
		}
	}
	return take
}

// build makes the bundle of some pieces. What several of them will be refused is said once.
func build(pieces []piece) *Bundle {
	b, text := lay(pieces)
	b.Compressed = compress(text)
	return b
}

// Smaller packs the bundles that Pack would make of groups by bzip2, and gives them to have. It
// takes 80 ms of processor time for each megabyte, and stops once stop returns true; done tells
// that it did not.
func Smaller(groups []closure.Group, have func(ID, []byte), stop func() bool) (done bool) {
	for p := newPacker(groups); len(p.pieces) > 0; {
		b, text := lay(p.next())
		if len(text) < leastSmaller {
			continue
		}
		small := bzip2(text, stop)
		if small == nil {
			return false
		}
		have(b.ID, small)
	}
	return true
}

// leastSmaller is the size of a text from which on bzip2 is tried, in bytes.
const leastSmaller = 32 << 10

// smallID returns the name of a bundle that is packed by bzip2.
func smallID(text ID) (id ID) {
	sum := sha256.Sum256(append([]byte("bz2"), text[:]...))
	copy(id[:], sum[:])
	return id
}

// smaller returns b packed as it is in data, nil if that saves less than a tenth.
func (b *Bundle) smaller(data []byte) *Bundle {
	if len(data) == 0 || len(data)*10 > len(b.Compressed)*9 {
		return nil
	}
	return &Bundle{ID: smallID(b.ID), Package: b.Package, Names: b.Names, Sizes: b.Sizes,
		Negative: b.Negative, TooLarge: b.TooLarge,
		Found: b.Found, Minified: b.Minified, Size: b.Size, Compressed: data, items: b.items}
}

// lay makes a bundle that is not compressed yet, and its text.
func lay(pieces []piece) (b *Bundle, text []byte) {
	b = &Bundle{Package: pieces[0].pkg}
	text = make([]byte, 0, estimate(pieces))
	refused := map[string]bool{}
	for _, x := range pieces {
		start := len(text)
		text = append(text, 0, 0, 0, 0)
		for _, m := range x.members {
			if m.Letter == modules.Missing {
				if refused[m.Name] {
					continue
				}
				refused[m.Name] = true
				b.Negative++
				if m.TooLarge {
					b.TooLarge = append(b.TooLarge, m.Module)
				}
			}
			b.Found += m.Module.Size
			b.Minified += len(m.Source)
			text = appendModule(text, m.Module)
			b.Names = append(b.Names, m.Name)
			b.Sizes = append(b.Sizes, m.Module.Size)
			b.items = append(b.items, &item{content: contentOf(m)})
		}
		if len(text) == start+4 {
			text = text[:start]
			continue
		}
		binary.BigEndian.PutUint32(text[start:], uint32(len(text)-start-4))
	}
	sum := sha256.Sum256(text)
	copy(b.ID[:], sum[:])
	b.Size = len(text)
	return b, text
}

// estimate returns about how many bytes the text of the pieces has.
func estimate(pieces []piece) (n int) {
	for _, x := range pieces {
		n += 4
		for _, m := range x.members {
			n += 64 + len(m.Name) + len(m.Source)
		}
	}
	return n
}

func appendModule(dst []byte, m *modules.Module) []byte {
	start := len(dst)
	rest := m.Source
	if m.Letter == modules.Missing {
		rest = []byte(m.Reason)
	}
	w := wire.Module{Name: m.Name, Path: m.Place(), Form: formOf(m), Rest: rest}
	dst = w.Append(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// formOf returns the letter for m, a capital one for a third-party module with a source.
func formOf(m *modules.Module) wire.ModuleForm {
	switch {
	case m.Own:
	case m.Letter == modules.Plain:
		return wire.FormModuleText
	case m.Letter == modules.Package:
		return wire.FormPackageText
	}
	return Form(m.Letter)
}

// forms has each letter of modules once: the compiler refuses two of one letter.
var forms = map[byte]wire.ModuleForm{
	modules.Plain:     wire.FormModule,
	modules.Package:   wire.FormPackage,
	modules.Namespace: wire.FormNamespace,
	modules.Missing:   wire.FormNone,
	modules.Data:      wire.FormData,
	modules.Native:    wire.FormNative,
	modules.Library:   wire.FormLibrary,
}

// Form returns the form that a module of package modules has on the wire, by its letter.
func Form(letter byte) wire.ModuleForm { return forms[letter] }

var compressors = sync.Pool{New: func() any {
	w, err := zlib.NewWriterLevel(nil, level)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// level 9 makes a package 1 % smaller and takes three times as long (TestLevels).
const level = 6

func compress(text []byte) []byte {
	if len(text) > 3*part/2 {
		return inParts(text)
	}
	var buf bytes.Buffer
	w := compressors.Get().(*zlib.Writer)
	defer compressors.Put(w)
	w.Reset(&buf)
	w.Write(text) // to memory: no error
	w.Close()
	return buf.Bytes()
}
