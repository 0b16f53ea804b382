package mitogen

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// ConnectOptions say how a target is reached. They apply to all its hops, each taking what concerns it. The zero value
// is usable.
type ConnectOptions struct {
	Timeout time.Duration // for each hop, from its start to its first message; 0: 30 s; negative: none
	Python  []string      // command that starts the interpreter on the last hop, a word an element; nil: searched for
	SSH     SSHOptions    // for hops of method ssh
	Sudo    SudoOptions   // for hops of method sudo

	Stdin  bool      // programs there get a standard input, fed by Script.Stdin or Command.Stdin; else it is /dev/null
	Stdout io.Writer // gets what is written to fd 1 there, by child processes too; nil: thrown away
	Stderr io.Writer // the same for fd 2

	LogLevel slog.Level // the lowest level of Python's log records that is sent; zero: INFO
}

// SSHOptions are for hops of method ssh. What isn't set is left to the user's own configuration.
type SSHOptions = connect.SSHOptions

// SudoOptions are for hops of method sudo.
type SudoOptions = connect.SudoOptions

// HostKeys says what to do about a host's key.
type HostKeys = connect.HostKeys

// Host key policies, for SSHOptions.
const (
	HostKeysDefault   = connect.HostKeysDefault   // as the user's configuration says
	HostKeysAcceptNew = connect.HostKeysAcceptNew // keep that of an unknown host, refuse a changed one
	HostKeysStrict    = connect.HostKeysStrict    // known and unchanged, or none
	HostKeysOff       = connect.HostKeysOff       // take any, keep none
)

// Context is one Python process somewhere in an engine's tree.
type Context struct{}

// Info is what a context has said about itself, and where it is.
type Info struct {
	Version        [3]int // of Python
	Implementation string // cpython, pypy
	Platform       string // sys.platform
	UID            int
	Hostname       string
	PID            int
	Executable     string
}

// ID returns the context's number in the tree; the engine is 0.
func (c *Context) ID() uint32 { return 0 }

// Name returns the target that names the context, hops before it included.
func (c *Context) Name() string { return "" }

// Info waits until the context is up and returns what it said about itself.
func (c *Context) Info(ctx context.Context) (Info, error) { return Info{}, errThin }

// Ping sends a message there and back and returns the time that took. It works while a call runs.
func (c *Context) Ping(ctx context.Context) (time.Duration, error) { return 0, errThin }

// Done returns a channel that is closed when the context is gone.
func (c *Context) Done() <-chan struct{} { return nil }

// Err returns nil while the context lives, then why it doesn't: a *ConnectError, a *LostError or ErrClosed.
func (c *Context) Err() error { return nil }

// Close asks the context to end once the running call has ended, makes it end after a second, and returns when it is
// gone. A context that is a hop of others lives on until these are closed.
func (c *Context) Close() error { return nil }

// Stats returns what the context has cost so far.
func (c *Context) Stats() Stats { return Stats{} }

// Stats counts what passed between the engine and one context.
type Stats struct {
	ID     uint32 `json:"id"`
	Name   string `json:"name"`
	Parent uint32 `json:"parent"`

	BytesDown  int64 `json:"bytes_down"`  // to the context, boot included; for first hops all that passed their stream
	BytesUp    int64 `json:"bytes_up"`    // from the context
	FramesDown int64 `json:"frames_down"` //
	FramesUp   int64 `json:"frames_up"`   //
	RoundTrips int64 `json:"round_trips"` // times that one side had to wait for the other
	Modules    int64 `json:"modules"`     // modules sent
	Calls      int64 `json:"calls"`

	Phases Phases `json:"phases"`
}

// Phases are the times at which a context got somewhere, counted from its start; 0: not yet.
type Phases struct {
	Spawn  time.Duration `json:"spawn_ns"`  // command started, payload handed over
	EC0    time.Duration `json:"ec0_ns"`    // interpreter found (own processes only)
	Hello  time.Duration `json:"hello_ns"`  // runtime up
	Result time.Duration `json:"result_ns"` // first result of a call
}
