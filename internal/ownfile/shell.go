package ownfile

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Scripts for sh that copy one file where there is no Python. Their comments say what they take.
var (
	//go:embed put.sh
	PutScript string
	//go:embed get.sh
	GetScript string
)

// shellStatus is the exit status of a script that says, behind shellFailure, why a file can't be
// copied: a number as Linux has it, or 0, and a text.
const (
	shellStatus  = 73
	shellFailure = "mitogen-errno "
)

// ShellFailure returns why a script hasn't copied its file. Nil: it hasn't said so.
func ShellFailure(status int, stderr string) *RemoteError {
	_, text, said := strings.Cut(stderr, shellFailure)
	if status != shellStatus || !said {
		return nil
	}
	number, text, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, _ := strconv.ParseUint(number, 10, 16)
	return &RemoteError{syscall.Errno(n), text[:min(len(text), maxText)]}
}

// ShellFile is a file system with the file that GetScript writes, which can be opened by any name,
// and read once.
type ShellFile struct {
	r    io.Reader
	size int64
	left int64
	mode fs.FileMode
	when time.Time // zero: unknown
	sum  hash.Hash
	want string // the digest, in hexadecimal digits; "-": unknown
}

var errOtherBytes = errors.New("other bytes arrived than were sent")

// ReadShell reads what GetScript writes before the bytes of the file. What comes is hostile.
func ReadShell(from io.Reader) (*ShellFile, error) {
	r := bufio.NewReaderSize(from, 4<<10)
	line, err := r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		return nil, err
	}
	words := strings.Fields(string(line))
	if err != nil || len(words) != 4 || len(words[2]) < 10 {
		return nil, fmt.Errorf("%w: %.80q, want a file's size, digest, mode and time", ErrFormat, line)
	}
	f := &ShellFile{r: r, sum: sha256.New(), want: words[1]}
	if f.size, err = strconv.ParseInt(words[0], 10, 64); err != nil || f.size < 0 {
		return nil, fmt.Errorf("%w: a size of %.40q", ErrFormat, words[0])
	}
	f.left = f.size
	for i, c := range words[2][1:10] {
		if c != '-' && c != 'S' && c != 'T' {
			f.mode |= 1 << (8 - i)
		}
	}
	if crc, is := strings.CutPrefix(f.want, "c"); is && len(f.want) != 2*digestSize {
		n, _ := strconv.ParseUint(crc, 10, 32)
		f.sum, f.want = NewCksum(), fmt.Sprintf("%08x", n)
	}
	if n, err := strconv.ParseInt(words[3], 10, 41); err == nil {
		f.when = time.Unix(n, 0)
	}
	return f, nil
}

// Dated tells whether the file's time is known.
func (f *ShellFile) Dated() bool { return !f.when.IsZero() }

// Open returns the file.
func (f *ShellFile) Open(string) (fs.File, error) { return shellOpen{f}, nil }

// shellOpen is the file, open, and says of itself what it is.
type shellOpen struct{ *ShellFile }

func (f shellOpen) Stat() (fs.FileInfo, error) { return f, nil }
func (f shellOpen) Close() error               { return nil }
func (f shellOpen) Name() string               { return "" }
func (f shellOpen) Size() int64                { return f.size }
func (f shellOpen) Mode() fs.FileMode          { return f.mode }
func (f shellOpen) ModTime() time.Time         { return f.when }
func (f shellOpen) IsDir() bool                { return false }
func (f shellOpen) Sys() any                   { return nil }

// Read reads as many bytes as the file had. The last of them come only if the digest is right.
func (f shellOpen) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(b[:min(int64(len(b)), f.left)])
	f.sum.Write(b[:n])
	if f.left -= int64(n); f.left > 0 {
		return n, err
	}
	if f.want != "-" && f.want != fmt.Sprintf("%x", f.sum.Sum(nil)) {
		return 0, errOtherBytes
	}
	return n, nil
}
