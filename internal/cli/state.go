package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/mitogen-go/mitogen/internal/audit"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// state holds the flags, streams and settings of one command.
type state struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	ui             *ui
	opt            options
	ending         atomic.Bool             // contexts are being ended
	interrupt      context.CancelCauseFunc // ends the command as Ctrl-C does
	asIs           bool                    // what a lone target writes passes as it is
	command        string                  // its name
	goFallback     bool                    // it needs no Python, but what a Go context does
	log            *audit.Log              // nil: not wanted, or not open
	typed          *terminalInput          // nil: standard input is no terminal, or is not wanted

	sshPassword, becomePassword secret.Secret // of the environment, which has them no more
}

// Variables of the environment with secrets. No process that a command starts inherits them.
const (
	sshPasswordVariable    = "MITOGEN_SSH_PASSWORD"
	becomePasswordVariable = "MITOGEN_BECOME_PASSWORD"
)

func newState(s Streams) *state {
	ui := newUI(s.Stdout, s.Stderr)
	return &state{stdin: s.Stdin, stdout: ui.out, stderr: ui.err, ui: ui,
		sshPassword:    secret.FromEnv(sshPasswordVariable),
		becomePassword: secret.FromEnv(becomePasswordVariable)}
}

// usageError is a mistake on the command line.
type usageError struct {
	err     error
	hint    string // "": where to find help
	command string // its path, filled in where it is known
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// withHint adds what to do about it.
func withHint(err error, hint string) error { return &usageError{err: err, hint: hint} }

// exitError is an end with a status, of which all has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// quoted is text from the command line as an error shows it.
func quoted(s string) string { return fmt.Sprintf("%q", s) }

// readFile reads a file that the command line names.
func readFile(what, name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err == nil && st.IsDir() {
		return nil, usagef("%s %s is a directory", what, printable.Line(name))
	}
	b, err := os.ReadFile(name)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return nil, usagef("read %s %s: %w", what, printable.Line(name), err)
	}
	return b, nil
}

// splitList cuts a list at commas, without what is empty. A comma behind a backslash belongs to a
// word, and a command line keeps its commas.
func splitList(text string) []string {
	if strings.Contains(text, "exec:") {
		return []string{text}
	}
	var all []string
	begin, end := 0, 0
	take := func() {
		if word := strings.TrimSpace(text[begin:end]); word != "" {
			all = append(all, word)
		}
		begin = end + 1
	}
	for ; end < len(text); end++ {
		switch text[end] {
		case '\\':
			end++
		case ',':
			if methods.HasBaud(text[begin:end], text[end+1:]) {
				continue
			}
			take()
		}
	}
	end = len(text)
	take()
	return all
}
