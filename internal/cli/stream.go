package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// stream is standard output or standard error. It remembers its first error, after which nothing is
// written, so that output has no holes. If it was closed when the program began, Go's runtime has
// opened /dev/null in its place. The two can't be told apart.
type stream struct {
	w      io.Writer
	closed sync.Once

	mu   sync.Mutex // protects following
	err  error
	told bool // the user knows of err
}

func (s *stream) Write(b []byte) (int, error) {
	if err := s.failure(); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	s.fail(err)
	return n, err
}

// fail keeps the first error.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// told notes that the user is told of err.
func (u *ui) told(err error) {
	s := u.out
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = s.told || s.err != nil && errors.Is(err, s.err)
}

// close closes a file: some file systems say only then that there is no room. It returns the first
// error of all, unless the user knows it.
func (s *stream) close() error {
	if f, ok := s.w.(*os.File); ok {
		s.closed.Do(func() { s.fail(f.Close()) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told {
		return nil
	}
	return s.err
}

// closeOutput returns the error of a command that ends with err and has written all that it writes
// to standard output. If standard error can't be written, only the status can tell.
func (s *state) closeOutput(err error) error {
	failed := s.ui.out.close()
	if failed != nil {
		failed = fmt.Errorf("write standard output: %w", unnamed(failed))
	}
	switch {
	case err == nil && failed == nil && s.ui.err.failure() != nil:
		return exitError(exitFailed)
	case err == nil || errors.Is(err, s.ui.out.failure()) && failed != nil:
		return failed
	case failed != nil:
		s.ui.tell("", describe(failed, true))
	}
	return err
}

// unnamed leaves out that an error is of a file like /dev/stdout, which its user doesn't know.
func unnamed(err error) error {
	if path, ok := err.(*fs.PathError); ok && strings.HasPrefix(path.Path, "/dev/std") {
		return path.Err
	}
	return err
}
