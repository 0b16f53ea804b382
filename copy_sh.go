package mitogen

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// ErrOneFile is the error of PutFile and GetFile for what is no single file.
var ErrOneFile = errors.New("without Python there one file is copied at a time, by its name")

// PutFile puts one file, as Put does, to a target that needs no Python, but sh, cat, mkdir, mv, rm,
// chmod and wc. What arrives is checked by sha256sum or cksum, if there is one. Target is one hop,
// as for Engine.Exec. A link of any account on the way to dest is followed. With Preserve the time
// is in whole seconds; Sparse does nothing.
//
// Failures are as those of Put. ErrOneFile: src is no file.
func (e *Engine) PutFile(
	ctx context.Context,
	target string,
	co ConnectOptions,
	dest string,
	o CopyOptions,
	src string,
) (CopyTotals, error) {
	cp := &shCopy{e: e, ctx: ctx, target: target, connect: co, o: &o, what: "put at " + target}
	f, err := os.Open(src)
	if err != nil {
		return cp.failed(src, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		return CopyTotals{}, fmt.Errorf("%s: %s: %w", cp.what, src, ErrOneFile)
	}
	sum, crc := sha256.New(), ownfile.NewCksum()
	if err == nil {
		_, err = io.Copy(io.MultiWriter(sum, crc), io.NewSectionReader(f, 0, st.Size()))
	}
	if err != nil {
		return cp.failed(src, err)
	}
	into, when := "0", "-"
	if strings.HasSuffix(dest, "/") {
		into = "1"
	}
	if o.Preserve {
		when = st.ModTime().UTC().Format("200601021504.05")
	}
	mode := fmt.Sprintf("%o", st.Mode().Perm())
	args := []string{dest, path.Base(src), into, strconv.FormatInt(st.Size(), 10),
		hex.EncodeToString(sum.Sum(nil)), strconv.FormatUint(uint64(crc.Sum32()), 10), mode, when,
		token()}
	err = cp.run(ownfile.PutScript, args, io.NewSectionReader(f, 0, st.Size()), io.Discard)
	if err != nil {
		return cp.ends(dest, err)
	}
	return CopyTotals{Files: 1, Bytes: st.Size()}, nil
}

// token returns 16 hexadecimal digits that can't be guessed.
func token() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// GetFile is Get of one file from a target that needs no Python, as PutFile. With Preserve it takes
// stat there, too. ErrOneFile: src is a directory there, or no file is called so and it may be a
// pattern.
func (e *Engine) GetFile(
	ctx context.Context,
	target string,
	co ConnectOptions,
	dest string,
	o CopyOptions,
	src string,
) (CopyTotals, error) {
	cp := &shCopy{e: e, ctx: ctx, target: target, connect: co, o: &o, what: "get at " + target}
	if topName(src) == "" {
		return CopyTotals{}, fmt.Errorf("%s: %s: %w", cp.what, src, ErrOneFile)
	}
	root, alias, err := destination(dest, []string{src})
	if err != nil {
		return CopyTotals{}, err
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cp.ctx = ctx
	r, w := io.Pipe()
	defer r.Close()
	ran := make(chan error, 1)
	go func() {
		err := cp.run(ownfile.GetScript, []string{src}, nil, w)
		w.CloseWithError(err)
		ran <- err
	}()
	t, told, err := cp.receive(r, root, alias, src)
	r.Close()
	if ended := <-ran; ended != nil && !errors.Is(ended, io.ErrClosedPipe) {
		if notOne(src, ended) {
			return CopyTotals{}, fmt.Errorf("%s: %s: %w", cp.what, src, ErrOneFile)
		}
		return cp.ends(src, ended)
	}
	if err == nil && told != nil {
		return cp.failed(src, told)
	}
	return t, err
}

// notOne reports whether the target's error says that src is a directory, or may be a pattern.
func notOne(src string, err error) bool {
	failure := (*ownfile.RemoteError)(nil)
	if !errors.As(err, &failure) {
		return false
	}
	return errors.Is(failure, syscall.EISDIR) ||
		errors.Is(failure, fs.ErrNotExist) && strings.ContainsAny(src, "*?[")
}

// receive makes a file of what the script writes. told says why it wasn't made.
func (cp *shCopy) receive(
	r io.Reader,
	root *os.Root,
	alias, src string,
) (t CopyTotals, told, err error) {
	file, err := ownfile.ReadShell(r)
	if err != nil {
		return t, nil, err
	}
	if cp.o.Preserve && !file.Dated() {
		return t, errors.New("its time can't be had: the target has neither Python nor stat"), nil
	}
	records, w := io.Pipe()
	name := topName(src)
	fail := func(_ string, err error) { told = err }
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s := ownfile.Sender{W: ownfile.NewWriter(w), Failed: fail}
		source := ownfile.Source{FS: file, Path: name, Name: name, Label: src}
		w.CloseWithError(s.Send(cp.ctx, []ownfile.Source{source}))
	}()
	got := ownfile.Receiver{Root: root, Alias: alias, Flags: cp.o.flags(), AllLinks: cp.o.AllLinks,
		Wanted: func(n string) bool { return n == name }, Got: cp.o.progress(),
		Failed: func(_ string, err error) {
			if told == nil {
				told = err
			}
		}}
	err = got.Receive(records)
	records.CloseWithError(io.ErrClosedPipe)
	<-sent
	return CopyTotals(got.Totals), told, err
}

// shCopy copies one file without Python.
type shCopy struct {
	e       *Engine
	ctx     context.Context
	target  string
	connect ConnectOptions
	o       *CopyOptions
	what    string
}

// run runs a script. The error is an *ownfile.RemoteError if it says why a file wasn't copied.
func (cp *shCopy) run(script string, args []string, in io.Reader, out io.Writer) error {
	var said bytes.Buffer
	status, err := cp.e.Exec(cp.ctx, cp.target, cp.connect, Command{
		Args:  append([]string{"sh", "-c", script, "sh"}, args...),
		Stdin: in, Stdout: out, Stderr: &limitedBuffer{b: &said},
	})
	switch {
	case err != nil:
		return err
	case status == 0:
		return nil
	}
	if failure := ownfile.ShellFailure(status, said.String()); failure != nil {
		return failure
	}
	return fmt.Errorf("%s: it ended with status %d: %s", cp.what, status, said.String())
}

// limitedBuffer keeps the beginning of what is written.
type limitedBuffer struct{ b *bytes.Buffer }

func (l *limitedBuffer) Write(b []byte) (int, error) {
	l.b.Write(b[:min(len(b), maxSaid-l.b.Len())])
	return len(b), nil
}

// ends returns what a script's error comes to, which is about a file there.
func (cp *shCopy) ends(path string, err error) (CopyTotals, error) {
	if failure := (*ownfile.RemoteError)(nil); errors.As(err, &failure) {
		return cp.failed(path, failure)
	}
	return CopyTotals{}, err
}

// failed tells why the file wasn't copied.
func (cp *shCopy) failed(path string, err error) (CopyTotals, error) {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	if cp.o.Failed != nil {
		cp.o.Failed(&FileError{Path: path, Err: err})
	}
	return CopyTotals{Failed: 1}, fmt.Errorf("%s: %w", cp.what, ErrIncomplete)
}
