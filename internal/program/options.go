package program

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// connection is the dict of connect.
type connection struct {
	ID       int     `py:"id"`
	Via      int     `py:"via"` // 0: the engine
	Target   string  `py:"target"`
	LogLevel int     `py:"log_level"` // Python's numbers
	Options  options `py:"options"`

	Inventory int `py:"inventory"` // whose host Target is; 0: none
}

// options are a connect.Options. Times are in seconds; what is missing has its default.
type options struct {
	Python  []string      `py:"python"`
	Timeout float64       `py:"timeout"`
	SSH     sshOptions    `py:"ssh"`
	Sudo    becomeOptions `py:"sudo"`
	Su      becomeOptions `py:"su"`
	Doas    becomeOptions `py:"doas"`
}

type sshOptions struct {
	Path         string        `py:"path"`
	Args         []string      `py:"args"`
	ConfigFile   string        `py:"config_file"`
	Port         int           `py:"port"`
	User         string        `py:"user"`
	IdentityFile string        `py:"identity_file"`
	HostKeys     string        `py:"host_keys"`
	CallsAhead   bool          `py:"calls_ahead"`
	FromHop      bool          `py:"from_hop"` // the hop before runs ssh, with what its account has
	Password     secret.Secret `py:"password"`
	Passphrase   secret.Secret `py:"passphrase"`
}

type becomeOptions struct {
	Path     string        `py:"path"`
	Password secret.Secret `py:"password"`
	Login    bool          `py:"login"`
	Args     []string      `py:"args"`
}

func (o *options) connect() connect.Options {
	s := o.SSH
	return connect.Options{
		Python: o.Python, Timeout: seconds(o.Timeout),
		SSH: connect.SSHOptions{
			Path: s.Path, Args: s.Args, ConfigFile: s.ConfigFile, Port: s.Port, User: s.User,
			IdentityFile: s.IdentityFile, HostKeys: connect.HostKeys(s.HostKeys),
			FromHop: s.FromHop, CallsAhead: s.CallsAhead,
			Password: secret.Secret(s.Password), Passphrase: secret.Secret(s.Passphrase),
		},
		Sudo: connect.SudoOptions{
			Path: o.Sudo.Path, Password: secret.Secret(o.Sudo.Password),
			Login: o.Sudo.Login, Args: o.Sudo.Args,
		},
		Su: connect.SuOptions{
			Path: o.Su.Path, Password: secret.Secret(o.Su.Password),
			Login: o.Su.Login, Args: o.Su.Args,
		},
		Doas: connect.DoasOptions{
			Path: o.Doas.Path, Password: secret.Secret(o.Doas.Password), Args: o.Doas.Args,
		},
	}
}

// slogLevel maps Python's 10, 20, 30, 40 to slog's -4, 0, 4, 8, and what is beyond 1 and 50 to
// the nearest of these; 0 is 20, Python's INFO.
func slogLevel(level int) slog.Level {
	if level == 0 {
		level = 20
	}
	return slog.Level((min(max(level, 1), 50) - 20) * 2 / 5)
}

// logHandler sends the engine's own records to the program, as LOG from 0.
type logHandler struct{ stream *stream.Stream }

// Enabled is for the program to decide.
func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle sends one record. It doesn't block.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	text, hop := r.Message, ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "context" {
			hop = a.Value.String() + ": "
		} else {
			text += " " + a.Key + "=" + a.Value.String()
		}
		return true
	})
	if hop != "" {
		text = hop + printable.Line(text) // a hop may have worded it
	}
	text = strings.ToValidUTF8(text[:min(len(text), 16<<10)], "")
	when := float64(r.Time.UnixNano()) / float64(time.Second)
	level := 20 + int(r.Level)*5/2
	record := pyvalue.Tuple{level, "mitogo.engine", when, text, ""}
	b, err := pickle.Append(nil, record, pickle.Proto4)
	if err == nil && h.stream.Queued() < 1<<20 {
		h.stream.Put(&wire.Frame{Handle: wire.Log, Payload: b})
		h.stream.Kick()
	}
	return err
}

// WithAttrs returns h: the engine's attributes come with each record.
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup returns h.
func (h logHandler) WithGroup(string) slog.Handler { return h }

// isReset tells whether a connection's other end was closed with something unread.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
