package ownfile

// Files as records, and records as files: docs/protocol/files.md. What is here reads and writes
// streams, and knows nothing of engines.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// The kinds of records.
const (
	kindDir     = 'd' // attributes, path
	kindSmall   = 's' // attributes, digest, u16 and name, bytes
	kindLarge   = 'f' // attributes, u64 size, name
	kindPiece   = 'b' // bytes of the file
	kindZeros   = 'z' // u64: so many zero bytes of it
	kindEnd     = 'e' // digest
	kindDrop    = 'x' // the file won't be whole
	kindLink    = 'l' // attributes, u16 and name, target
	kindFailure = '!' // u32 number of the error, path, zero byte, text
	kindAlias   = 'D' // the destination is no directory: it is the name of the one thing on top
	kindDone    = '.'
)

// The kinds that a sync has besides.
const (
	kindQuestion = 'q' // attributes, u64 size, with Checksum digest, name: does this differ?
	// kindNeed has u32, the question, from 0 on, whose file is wanted; behind it may be sums of the
	// old file's blocks.
	kindNeed    = 'n'
	kindChanged = 'c' // path whose attributes, or link, were changed
	kindNames   = 'a' // u16 and name of what is in the directory; nothing: that was all
	kindExtra   = 'r' // 'd' or 'f', path that the source doesn't have
	kindRemove  = 'k' // path
	kindAsked   = 'E' // there are no more questions; the answer says that all were answered
	kindUser    = 'u' // 'u', u32 number, name
	kindGroup   = 'g' // 'g', u32 number, name
	// kindLinked has u32, the first question about this file, which may be this one, and what a
	// question has: the file has several names.
	kindLinked = 'h'
	kindCopy   = 'm' // u64 offset, u32 length: bytes of the old file
	kindSums   = 'N' // u32 question, u32 size of blocks: the sums of this file's are wanted
	// kindSumsOf has u32 question, attributes, u64 size, digest, sums. With the number alone: that
	// file can only be sent whole.
	kindSumsOf = 'v'
	kindParts  = 'p' // u32 question; u64 offset and u32 length of what is wanted of it
	kindParted = 'w' // u32 question: these parts follow
	// kindXattrs has the extended attributes of what comes next: u16 and name, u32 and value.
	kindXattrs = 'X'
)

// The first records: u32 flags, and what to do.
const (
	kindPut = 'P' // destination
	kindGet = 'G' // for each source, u16 and its path

	kindSyncPut = 'S' // destination
	kindSyncGet = 'T' // source
)

// Flags say how files are to be made.
type Flags uint32

// The flags.
const (
	Preserve Flags = 1 << iota // modes and times
	Sparse                     // leave out zeros
	Into                       // the destination has to be a directory
	AskAlias                   // a put is answered by kindAlias, if that holds
	Owners                     // files get users and groups by name, from root
	Checksum                   // contents are compared, instead of sizes and times
	DryRun                     // nothing is changed
	// KeepAlias has the destination of a put be the name of the one thing on top, as it was to a put
	// before, which may have made a directory of that name.
	KeepAlias
	HardLinks // names of one file become names of one file
	Xattrs    // extended attributes of the user are copied
	AllXattrs // and all further ones, from root to root
	Partial   // what has come of a large file is kept if the copy ends, for the next one
)

const (
	maxRecord  = 1 << 20
	piece      = 64 << 10
	digestSize = 32
	attrSize   = 22
	unchanged  = 0xffff // as a mode: leave the directory as it is
	maxName    = 255
	maxPath    = 64 << 10
	maxNames   = 256 // in a path
)

// ErrFormat is matched by what a peer has sent that is no record, or one in the wrong place.
var ErrFormat = errors.New("malformed record")

// Attributes of a file. Mode has permissions and nothing else.
type attributes struct {
	mode     uint16
	uid, gid uint32
	mtime    time.Time
}

func (a attributes) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, a.mode)
	b = binary.BigEndian.AppendUint32(b, a.uid)
	b = binary.BigEndian.AppendUint32(b, a.gid)
	b = binary.BigEndian.AppendUint64(b, uint64(a.mtime.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(a.mtime.Nanosecond()))
}

// maxSeconds keeps times within what file systems and package time agree on.
const maxSeconds = 1 << 40

func parseAttributes(b []byte) (a attributes, rest []byte, err error) {
	if len(b) < attrSize {
		return a, nil, fmt.Errorf("%w: attributes have %d bytes, want %d", ErrFormat, len(b), attrSize)
	}
	sec := int64(binary.BigEndian.Uint64(b[10:]))
	nsec := binary.BigEndian.Uint32(b[18:])
	if sec < -maxSeconds || sec > maxSeconds || nsec >= 1e9 {
		return a, nil, fmt.Errorf("%w: time of %d s and %d ns", ErrFormat, sec, nsec)
	}
	a.mode = binary.BigEndian.Uint16(b)
	a.uid, a.gid = binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
	a.mtime = time.Unix(sec, int64(nsec))
	return a, b[attrSize:], nil
}

// parsePair cuts off a text that stands behind its length.
func parsePair(b []byte) (text string, rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return "", nil, fmt.Errorf("%w: a text ends after %d bytes", ErrFormat, len(b))
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return string(b[2:n]), b[n:], nil
}

func appendPair(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// checkName demands that a name can be a file's in a directory.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxName ||
		strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %.80q is not the name of a file", ErrFormat, name)
	}
	return nil
}

// parsePath returns the names of a path below the destination.
func parsePath(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("%w: a path has %d bytes, want at most %d", ErrFormat, len(path), maxPath)
	}
	if n := strings.Count(path, "/") + 1; n > maxNames {
		return nil, fmt.Errorf("%w: a path has %d names, want at most %d", ErrFormat, n, maxNames)
	}
	names := strings.Split(path, "/")
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Writer writes records. Its first error stays.
type Writer struct{ w *bufio.Writer }

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, 2*piece)} }

// Flush has all reach the underlying Writer.
func (w *Writer) Flush() error { return w.w.Flush() }

func (w *Writer) record(kind byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
	w.w.Write(head)
	for _, p := range parts {
		w.w.Write(p)
	}
	_, err := w.w.Write(nil) // the first error
	return err
}

// Put begins a conversation in which the other side makes files at dest.
func (w *Writer) Put(flags Flags, dest string) error {
	return w.record(kindPut, binary.BigEndian.AppendUint32(nil, uint32(flags)), []byte(dest))
}

// Get asks for files. The other side has nothing more to be told.
func (w *Writer) Get(flags Flags, sources []string) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(flags))
	for _, s := range sources {
		if len(s) > maxPath-1 {
			return fmt.Errorf("get %.80q: a path has %d bytes, want at most %d",
				s, len(s), maxPath-1)
		}
		b = appendPair(b, s)
	}
	if len(b) > maxRecord {
		return fmt.Errorf("get %d files: their names have %d bytes, want at most %d",
			len(sources), len(b), maxRecord)
	}
	if err := w.record(kindGet, b); err != nil {
		return err
	}
	return w.Flush()
}

// A reader reads records. What it returns is valid until the next one.
type reader struct {
	r   *bufio.Reader
	buf []byte
}

func newReader(r io.Reader) *reader { return &reader{r: bufio.NewReaderSize(r, 2*piece)} }

// newSmallReader is newReader for what is mostly little, of many peers at a time.
func newSmallReader(r io.Reader) *reader { return &reader{r: bufio.NewReaderSize(r, 4<<10)} }

// next returns a record, which has at most maxRecord bytes.
func (r *reader) next() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[1:]))
	if n > maxRecord {
		return 0, nil, fmt.Errorf("%w: %q has %d bytes, want at most %d",
			ErrFormat, head[0], n, maxRecord)
	}
	if n > len(r.buf) {
		r.buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r.r, r.buf[:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return head[0], r.buf[:n], nil
}

// RemoteError is an error of the target's system. Its Text is the target's, and hostile.
type RemoteError struct {
	Errno syscall.Errno // as the target numbers it; 0: none
	Text  string
}

func (e *RemoteError) Error() string { return e.Text }

// Is matches the errors of package fs, and those numbers that all systems share.
func (e *RemoteError) Is(target error) bool {
	if n, ok := target.(syscall.Errno); ok {
		return e.Errno == n && n != 0 && n <= syscall.ERANGE && n != 11 // which is EAGAIN on Linux alone
	}
	return target == fs.ErrNotExist && e.Errno == syscall.ENOENT ||
		target == fs.ErrExist && e.Errno == syscall.EEXIST ||
		target == fs.ErrPermission && (e.Errno == syscall.EACCES || e.Errno == syscall.EPERM)
}

const maxText = 512

// parseFailure reads a record that says why a file wasn't copied.
func parseFailure(b []byte) (path string, failure *RemoteError, err error) {
	if len(b) < 4 {
		return "", nil, fmt.Errorf("%w: a failure has %d bytes", ErrFormat, len(b))
	}
	path, text, _ := strings.Cut(string(b[4:min(len(b), 4+maxPath+maxText)]), "\x00")
	path = strings.TrimRight(path, "/")
	failure = &RemoteError{syscall.Errno(binary.BigEndian.Uint32(b)), text[:min(len(text), maxText)]}
	return path, failure, nil
}

// Totals counts what was copied, or would have been.
type Totals struct {
	Files, Dirs, Links int
	Bytes              int64 // of files
	Failed             int
}

// bare takes names and calls out of an error of package os.
func bare(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	if l := (*os.LinkError)(nil); errors.As(err, &l) {
		return l.Err
	}
	return err
}
