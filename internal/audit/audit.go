// Package audit writes what an engine tells of itself to a file: one JSON object a line, appended.
// docs/json.md has the schema.
//
// A Log belongs to one process. Several processes may write to the same file: each line is one
// write. What can't be written is an error, which ends the contexts that it is about: see
// engine.Options.Audit.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/jsonvalue"
	"github.com/mitogen-go/mitogen/internal/ownfile"
	"github.com/mitogen-go/mitogen/report"
)

// ErrUnsafe is the error of a file that another user could change or read, or that isn't a plain
// file.
var ErrUnsafe = errors.New("not a safe place for an audit log")

// Log is an open audit log. Its methods may be called by several goroutines.
type Log struct {
	name string
	user string

	mu sync.Mutex // protects following, and the order of lines
	f  *os.File
}

// Line holds the keys of one line of an audit log. A key without a value is left out.
type Line struct {
	Time    string  `json:"time"` // RFC 3339, UTC
	Event   string  `json:"event"`
	PID     int     `json:"pid"`               // of the process that writes the log
	Engine  uint32  `json:"engine,omitempty"`  // its number in that process
	ID      uint32  `json:"id,omitempty"`      // of the context in that engine
	Parent  *uint32 `json:"parent,omitempty"`  // of the context before it; 0: the engine
	Context string  `json:"context,omitempty"` // target up to the context
	Method  string  `json:"method,omitempty"`
	Host    string  `json:"host,omitempty"`
	User    string  `json:"user,omitempty"`
	Command string  `json:"command,omitempty"` // begin: of this program
	Name    string  `json:"name,omitempty"`
	Outcome string  `json:"outcome,omitempty"`
	Why     string  `json:"why,omitempty"`
	Bytes   *int64  `json:"bytes,omitempty"`
	Count   int     `json:"count,omitempty"`
	Status  *int    `json:"status,omitempty"` // exit status
	Call    uint64  `json:"call,omitempty"`
}

// Events of the process itself, besides those of report.EventKind.
const (
	Begin = "begin"
	Done  = "done"
)

// Open opens the file called name for appending, or makes it, readable by its owner alone. It tells
// that command begins.
func Open(name, command string) (*Log, error) {
	f, err := ownfile.Append(name, 0o600)
	if err == nil {
		err = safe(f)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		if path := (*os.PathError)(nil); errors.As(err, &path) {
			err = path.Err
		}
		if errors.Is(err, syscall.ELOOP) {
			err = fmt.Errorf("%w: it is a symbolic link", ErrUnsafe)
		}
		return nil, fmt.Errorf("open audit log %s: %w", name, err)
	}
	l := &Log{name: name, user: account(), f: f}
	if err := l.write(&Line{Event: Begin, User: l.user, Command: command}); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// safe returns an error unless f is a plain file of this user's alone.
func safe(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.Mode().IsRegular():
		return fmt.Errorf("%w: it is no plain file", ErrUnsafe)
	case ok && int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%w: it belongs to user %d", ErrUnsafe, sys.Uid)
	case ok && sys.Nlink != 1:
		return fmt.Errorf("%w: it has another name, too", ErrUnsafe)
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf(
			"%w: it is open to other users (mode %04o): chmod 600",
			ErrUnsafe,
			st.Mode().Perm(),
		)
	}
	return nil
}

// account names the user of this process.
func account() string {
	uid := strconv.Itoa(os.Getuid())
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// Tell is an engine.Options.Audit.
func (l *Log) Tell(ev report.Event) error {
	line := &Line{
		Time:    stamp(ev.Time),
		Event:   string(ev.Kind),
		Engine:  ev.Engine,
		ID:      uint32(ev.ID),
		Context: ev.Context,
		Method:  ev.Method,
		Host:    ev.Host,
		User:    ev.User,
		Name:    ev.Name,
		Outcome: ev.Outcome,
		Why:     ev.Reason,
		Count:   ev.Count,
		Call:    ev.Call,
	}
	if ev.ID != 0 {
		line.Parent = (*uint32)(&ev.Parent)
	}
	switch ev.Kind {
	case report.EventModule, report.EventFile:
		line.Outcome = "given"
		if ev.Refused {
			line.Outcome = "refused"
		} else {
			line.Bytes = &ev.Bytes
		}
	case report.EventEnd:
		line.Status = &ev.Status
	}
	return l.write(line)
}

// Close tells that the process is done, with an exit status, and closes the file.
func (l *Log) Close(status int) error {
	err := l.write(&Line{Event: Done, Status: &status})
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(err, l.f.Close())
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// write appends a line by one write.
func (l *Log) write(line *Line) error {
	if line.Time == "" {
		line.Time = stamp(time.Now())
	}
	line.PID = os.Getpid()
	b, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write audit log %s: %w", l.name, err)
	}
	b = append(jsonvalue.EscapeControls(b), '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(b); err != nil {
		if path := (*os.PathError)(nil); errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("write audit log %s: %w", l.name, err)
	}
	return nil
}
