// Package modules finds Python modules in a search path, as the target's Python would if it had
// one: docs/protocol/modules.md, section 12. A Finder looks modules up by name; what it returns is
// ready to be sent. A Path makes the entries that a Finder needs out of directories, zip files and
// virtual environments.
package modules

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// Limits of what is served.
const (
	MaxName   = 255      // bytes of a dotted name
	MaxSource = 16 << 20 // bytes of one module
)

// Letters say what a module is.
const (
	Plain     = 'm'
	Package   = 'p'
	Namespace = 'n' // a package without __init__
	Missing   = '-'
	Data      = 'd' // a file of a package
	Native    = 'x' // an extension module
	Library   = 'l' // a shared library that extension modules need
)

// Module is the answer to the question for a module. It is not to be changed.
type Module struct {
	Name   string
	Path   string // on this machine; a target has it as Place says
	Letter byte
	// as it is to be sent: as it was found, or with Options.Strip, if it is understood, its code; nil
	// for extension modules and libraries, see Pack
	Source []byte
	// Source without comments and docstrings, its lines kept; Source itself if it isn't understood
	Code   []byte
	Reason string // of letter Missing: why there is none
	// TooLarge tells of letter Missing that it is an extension module, of more bytes than may be sent.
	TooLarge bool
	Size     int  // bytes of the file
	Own      bool // one of the user's own modules, which win over what a target has installed

	// offsets are those of the source as it was found; its lines are Source's and Code's too
	Info    pysource.Info
	Scanned bool // Info is known; else the module may import anything

	Mentions bool // the source mentions places of modules, as Mentions has it

	// Libraries are those that a wheel brings and that an extension module needs, in the order in
	// which they are to be loaded: names for Find.
	Libraries []string

	Key [sha256.Size]byte // of Name, Path, Letter, and Source, a file's hash or Reason

	native *native // of an extension module or library
	lacks  string  // of an extension module of letter Missing: the library that couldn't be had

	once sync.Once
	rest []byte
}

// Ready is data for a service of the runtime, compressed already.
func Ready(name string, rest []byte) *Module {
	m := &Module{Name: name, Letter: Data}
	m.once.Do(func() { m.rest = rest })
	return m
}

// Rest returns what LOAD_MODULE ends with: zlib of the source, or the reason. It is compressed
// once, and not to be changed.
func (m *Module) Rest() []byte {
	m.once.Do(func() {
		switch m.Letter {
		case Missing:
			m.rest = []byte(m.Reason)
		case Namespace:
		default:
			m.rest = compress(m.Source)
		}
	})
	return m.rest
}

// seal sets Key, and returns m.
func (m *Module) seal() *Module {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%c%s", m.Name, m.Path, m.Letter, m.Reason)
	h.Write(m.Source)
	if m.native != nil {
		fmt.Fprintf(h, "%s%s", m.native.hash, m.native.before)
	}
	h.Sum(m.Key[:0])
	return m
}

func compress(source []byte) []byte {
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, zlib.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(source) // to memory: no error
	w.Close()
	return buf.Bytes()
}

func missing(name, why string) *Module {
	return (&Module{Name: name, Letter: Missing, Reason: why}).seal()
}

// check says what is wrong with a name: nothing but dotted names gets as far as a file system.
func check(name string) string {
	if len(name) > MaxName {
		return "module name is too long"
	}
	first := true
	for part := range strings.SplitSeq(name, ".") {
		// A call can import other names than identifiers: my-tool, and in a package 0001-initial.
		if !first && part != "" && part[0] >= '0' && part[0] <= '9' {
			part = "_" + part
		}
		if part != "" && part[0] != '-' {
			part = strings.ReplaceAll(part, "-", "_")
		}
		if first = false; !identifier(part) && !helper(part) {
			return fmt.Sprintf("%q is no module name", name)
		}
	}
	return ""
}

// helper reports whether mypyc gives such a name to the shared part of its modules: a hash begins
// it.
func helper(s string) bool {
	rest, ok := strings.CutSuffix(s, "__mypyc")
	return ok && rest != "" && identifier("_"+rest)
}

// Valid reports whether name may be a module's: dotted identifiers, not too long.
func Valid(name string) bool { return check(name) == "" }

func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			return false
		}
	}
	return s != ""
}
