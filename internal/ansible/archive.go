package ansible

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pickle"
)

// sum names a file's contents, or a zip file.
type sum [sha256.Size]byte

// archive has the contents of a module's zip file.
type archive struct {
	sum   sum
	files []member
}

type member struct {
	path string
	sum  sum
}

// store keeps what modules are made of, for all targets: most of it is the same for all modules.
type store struct {
	mu       sync.Mutex // protects following
	archives map[sum]*archive
	contents map[sum][]byte
	packs    map[string]*pack
	parsed   map[sum]*parsed
}

func newStore() *store {
	return &store{archives: map[sum]*archive{}, contents: map[sum][]byte{}, packs: map[string]*pack{},
		parsed: map[sum]*parsed{}}
}

// parsed is a wrapper but for its parameters.
type parsed struct {
	payload payload
	archive *archive
}

// maxParsed bounds how many wrappers are remembered.
const maxParsed = 1000

// parse reads a wrapper and its zip file. But for its parameters it is the same each time a module
// runs, and remembered.
func (s *store) parse(b []byte) (*payload, *archive, error) {
	from, to := parameters(b)
	if from < 0 {
		return nil, nil, errUnknown
	}
	h := sha256.New()
	h.Write(b[:from])
	h.Write(b[to:])
	key := sum(h.Sum(nil))
	s.mu.Lock()
	known := s.parsed[key]
	s.mu.Unlock()
	if known != nil {
		p := known.payload
		text, err := pythonString(string(b[from:to]))
		p.params = []byte(text)
		return &p, known.archive, err
	}
	p, err := parseWrapper(b)
	if err != nil {
		return nil, nil, err
	}
	a, err := s.open(p.zip)
	if err != nil {
		return nil, nil, err
	}
	if p.secretive() {
		return p, a, nil // no secret is kept
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parsed) >= maxParsed {
		clear(s.parsed)
	}
	q := *p
	q.params, q.zip = nil, nil // of a buffer that is the caller's
	s.parsed[key] = &parsed{q, a}
	return p, a, nil
}

// maxArchive bounds what one module may unpack to.
const maxArchive = 64 << 20

// open reads a zip file, in base64. errUnknown: it has what can't be imported from memory.
func (s *store) open(text []byte) (*archive, error) {
	key := sum(sha256.Sum256(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.archives[key]; a != nil {
		return a, nil
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	a := &archive{sum: key}
	left := int64(maxArchive)
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if path.Ext(f.Name) != ".py" || !fs.ValidPath(f.Name) {
			return nil, fmt.Errorf("%w: it has %.80q", errUnknown, f.Name)
		}
		b, err := readMember(f, left)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnknown, err)
		}
		left -= int64(len(b))
		m := member{f.Name, sha256.Sum256(b)}
		if s.contents[m.sum] == nil {
			s.contents[m.sum] = append([]byte{}, b...)
		}
		a.files = append(a.files, m)
	}
	s.archives[key] = a
	return a, nil
}

func readMember(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", maxArchive)
	}
	return b, err
}

// pack is some contents as they go to a target.
type pack struct {
	name string
	sums []sum  // nil: it is a file
	data []byte // compressed
}

// packSize bounds the contents of a pack before it is compressed, in bytes: most modules need one
// pack, and a pack fits a frame.
const packSize = 400 << 10

// maxPack bounds a compressed pack, in bytes.
const maxPack = 120 << 10

// pack makes packs of contents, in their order.
func (s *store) pack(sums []sum) ([]*pack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packLocked(sums)
}

func (s *store) packLocked(sums []sum) ([]*pack, error) {
	h := sha256.New()
	size, n := 0, 0
	for ; n < len(sums) && (n == 0 || size+len(s.contents[sums[n]]) <= packSize); n++ {
		size += len(s.contents[sums[n]])
		h.Write(sums[n][:])
	}
	p, err := s.onePackLocked(sums[:n], fmt.Sprintf("_ansible_%x", h.Sum(nil)[:10]))
	if err != nil {
		return nil, err
	}
	all := []*pack{p}
	if len(p.data) > maxPack {
		if n == 1 {
			return nil, fmt.Errorf("%w: a file that is too large", errUnknown)
		}
		first, err := s.packLocked(sums[:n/2])
		if err != nil {
			return nil, err
		}
		second, err := s.packLocked(sums[n/2 : n])
		if err != nil {
			return nil, err
		}
		all = append(first, second...)
	}
	if n < len(sums) {
		rest, err := s.packLocked(sums[n:])
		if err != nil {
			return nil, err
		}
		all = append(all, rest...)
	}
	return all, nil
}

func (s *store) onePackLocked(sums []sum, name string) (*pack, error) {
	if p := s.packs[name]; p != nil {
		return p, nil
	}
	var list []any
	for _, k := range sums {
		list = append(list, s.contents[k])
	}
	raw, err := pickle.Append(nil, list, pickle.Proto2Both)
	if err != nil {
		return nil, err
	}
	p := &pack{name: name, sums: append([]sum(nil), sums...), data: deflate(raw)}
	s.packs[name] = p
	return p, nil
}

func deflate(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression) // a level it has
	w.Write(raw)                                          // into memory
	w.Close()
	return b.Bytes()
}
