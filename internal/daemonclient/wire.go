package daemonclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// A Message is one JSON object on a line of its own. Where it has a size, as many bytes of data
// follow the line. Which fields are set says what it is: section 9 of docs/protocol/daemon.md.
type Message struct {
	// The first of a client.
	Op          string   `json:"op,omitempty"`
	Version     string   `json:"version,omitempty"`
	Target      string   `json:"target,omitempty"`
	Options     *Options `json:"options,omitempty"`
	Interactive bool     `json:"interactive,omitempty"` // it can be asked
	Secrets     bool     `json:"secrets,omitempty"`     // it has secrets by place
	Origin      *Origin  `json:"origin,omitempty"`      // where it is; nil: where the daemon is
	// engine.Options.Heartbeat in seconds, of an engine
	Heartbeat float64 `json:"heartbeat,omitempty"`

	Protocol int    `json:"protocol,omitempty"` // of a connection plugin
	Via      []Hop  `json:"via,omitempty"`      // before target
	Host     string `json:"host,omitempty"`     // what the plugin calls it

	// Of those that have the daemon call or run something.
	// where the client's own modules are, on this machine
	Path     []string `json:"path,omitempty"`
	Packages []string `json:"packages,omitempty"` // directories of third-party modules
	// modules that may be sent though no code names them
	Serve    []string                   `json:"serve,omitempty"`
	Function string                     `json:"function,omitempty"` // MODULE:FUNCTION
	Args     []json.RawMessage          `json:"args,omitempty"`
	Kwargs   map[string]json.RawMessage `json:"kwargs,omitempty"`
	// of a program; the first element is its name
	Argv   []string `json:"argv,omitempty"`
	Module string   `json:"module,omitempty"` // run this one, as python -m does
	Name   string   `json:"name,omitempty"`   // of a file there
	Mode   int      `json:"mode,omitempty"`   // of a file

	// Of a client, later.
	Answer   *ClearText `json:"answer,omitempty"`
	Refuse   string     `json:"refuse,omitempty"`
	AnswerTo int        `json:"answer_to,omitempty"` // the prompt's id
	EOF      bool       `json:"eof,omitempty"`

	// Of the daemon.
	Prompt   *Question       `json:"prompt,omitempty"`
	Contexts []Context       `json:"contexts,omitempty"`
	PID      int             `json:"pid,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`  // a result, or an item of one
	Stream   string          `json:"stream,omitempty"` // what data was written to: stdout or stderr
	Log      *Logged         `json:"log,omitempty"`
	Status   *int            `json:"status,omitempty"` // exit status
	End      *End            `json:"end,omitempty"`

	jsonline.Sized        // of both
	Data           []byte `json:"-"` // behind the line
}

// Hop is a target on the way to another.
type Hop struct {
	Target  string   `json:"target"`
	Options *Options `json:"options,omitempty"`
}

// Question is one for a person, or, with a place, for what has secrets.
type Question struct {
	ID     int    `json:"id"`
	Target string `json:"target,omitempty"` // whose connect asks
	Hop    string `json:"hop"`
	Kind   int    `json:"kind"`
	Text   string `json:"text"`
	Place  *Place `json:"place,omitempty"`
}

// Place is a secret.Place.
type Place struct {
	Kind   secret.Kind `json:"kind"`
	Method string      `json:"method"`
	Target string      `json:"target"`
	Host   string      `json:"host,omitempty"`
	User   string      `json:"user,omitempty"`
	Key    string      `json:"key,omitempty"`
}

// ClearText is a secret that goes over the socket in clear: it is the user's own.
type ClearText secret.Secret

// MarshalJSON writes the text.
func (c ClearText) MarshalJSON() ([]byte, error) { return json.Marshal(string(c)) }

// UnmarshalJSON reads the text, and keeps one copy of it.
func (c *ClearText) UnmarshalJSON(b []byte) error {
	s, err := secret.FromJSON(b)
	*c = ClearText(s)
	return err
}

// clearTable is secrets by name that go over the socket in clear: an object of names and texts.
type clearTable secret.Table

// MarshalJSON writes such an object.
func (c clearTable) MarshalJSON() ([]byte, error) {
	all := map[string]ClearText{}
	for name, s := range secret.Table(c).All() {
		all[name] = ClearText(s)
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads such an object.
func (c *clearTable) UnmarshalJSON(b []byte) error {
	var wire map[string]ClearText
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	all := map[string]secret.Secret{}
	for name, s := range wire {
		all[name] = secret.Secret(s)
	}
	t, err := secret.NewTable(all)
	*c = clearTable(t)
	return err
}

// End is the last message of the daemon. Without an error all is well.
type End struct {
	Text  string   `json:"text,omitempty"` // what was written to stderr last
	Error *Failure `json:"error,omitempty"`
}

// Failure is an error that goes over the socket.
type Failure struct {
	Version string `json:"version,omitempty"` // the daemon's, which is another than the client's
	Kind    string `json:"kind,omitempty"`    // of a connect.Error: the text of its Kind
	Hop     string `json:"hop,omitempty"`
	Phase   string `json:"phase,omitempty"`
	Status  int    `json:"status,omitempty"`
	Given   bool   `json:"given,omitempty"`  // a password was given
	Method  string `json:"method,omitempty"` // of the hop
	// how far it came: one of the constants below; "": not so far
	Reached string `json:"reached,omitempty"`
	// resource that the daemon or a hop lacked: the errno's name
	Lacks   string `json:"lacks,omitempty"`
	Context string `json:"context,omitempty"` // of a report.LostError
	Why     string `json:"why,omitempty"`
	Code    string `json:"code,omitempty"`
	Text    string `json:"text,omitempty"`

	Exception string `json:"exception,omitempty"` // of a report.CallError: MODULE.TYPE
	Traceback string `json:"traceback,omitempty"`
}

// Logged is a record of Python's logging.
type Logged struct {
	Level   string `json:"level"`
	Logger  string `json:"logger,omitempty"`
	Message string `json:"message"`
}

// Context describes a context of a daemon.
type Context struct {
	ID       uint32  `json:"id"`
	Parent   uint32  `json:"parent"`
	Name     string  `json:"name"`
	Python   string  `json:"python"`
	Hostname string  `json:"hostname"`
	UID      int     `json:"uid"`
	PID      int     `json:"pid"`
	Up       bool    `json:"up"`
	RTT      float64 `json:"rtt"` // seconds; 0: no answer within a second
	Down     int64   `json:"bytes_down"`
	UpBytes  int64   `json:"bytes_up"`
	Modules  int64   `json:"modules"`
	Memory   int64   `json:"memory"` // bytes of the process; 0: that can't be told there
	Clients  int     `json:"clients"`
	Sessions int     `json:"sessions"` // in all
}

// FailureOf returns what goes over the socket of an error.
func FailureOf(err error) *Failure {
	var conn *connect.Error
	var lost *report.LostError
	var call *report.CallError
	switch {
	case errors.As(err, &conn):
		return &Failure{Kind: conn.Kind.Error(), Hop: conn.Hop, Phase: conn.Phase, Status: conn.Status,
			Text: conn.Text, Given: conn.Given,
			Method: conn.Method, Reached: reachedBy(conn), Lacks: methods.ShortageCode(conn)}
	case errors.As(err, &lost):
		return &Failure{Context: lost.Context, Hop: lost.Hop, Why: lost.Reason, Text: lost.Text,
			Code: lost.Code}
	case errors.As(err, &call):
		return &Failure{Exception: printable.Line(call.Module + "." + call.Type),
			Text: printable.Text(call.Text), Traceback: call.Traceback}
	}
	return &Failure{Text: printable.Text(err.Error())}
}

// How far a connect came.
const (
	reachedLogin  = "login"
	reachedPython = "python"
)

func reachedBy(e *connect.Error) string {
	switch {
	case e.Started:
		return reachedPython
	case e.LoggedIn:
		return reachedLogin
	}
	return ""
}

// Err returns the error that f was made of, as far as a client can tell.
func (f *Failure) Err() error {
	switch {
	case f.Version != "":
		return &versionError{f.Version}
	case f.Kind != "":
		return methods.Explain(&connect.Error{Kind: methods.KindOf(f.Kind), Hop: f.Hop, Phase: f.Phase,
			Status: f.Status, Text: f.Text, Given: f.Given, Method: f.Method,
			LoggedIn: f.Reached != "", Started: f.Reached == reachedPython,
			Err: methods.ShortageOf(f.Lacks)})
	case f.Why != "":
		return &report.LostError{Context: f.Context, Hop: f.Hop, Reason: f.Why, Text: f.Text,
			Code: f.Code}
	}
	return fmt.Errorf("daemon: %s", printable.Line(f.Text))
}

// versionError says that the daemon is another program than the client; it is on its way out.
type versionError struct{ version string }

func (e *versionError) Error() string { return "daemon is of version " + e.version }

// MaxData bounds the data of one message.
const MaxData = jsonline.MaxData

// Channel is one side of a connection. Reading is for one goroutine, writing for any.
type Channel struct{ *jsonline.Conn }

// NewChannel returns the channel of a connection.
func NewChannel(rw io.ReadWriter) *Channel { return &Channel{jsonline.New(rw)} }

// Receive returns the next message. buf is where its data goes if it has room.
func (c *Channel) Receive(buf []byte) (*Message, error) {
	m := &Message{}
	var err error
	m.Data, err = c.Read(m, buf)
	return m, err
}

// Send writes m and its data.
func (c *Channel) Send(m *Message) error { return c.Write(m, m.Data) }

// Options are a connect.Options as they go over the socket, secrets in clear: it is the user's own.
type Options struct {
	Python         []string                          `json:"python,omitempty"`
	ConnectTimeout float64                           `json:"connect_timeout,omitempty"` // seconds
	SSH            sshOptions                        `json:"ssh,omitzero"`
	Sudo           BecomeOptions                     `json:"sudo,omitzero"`
	Su             BecomeOptions                     `json:"su,omitzero"`
	Doas           BecomeOptions                     `json:"doas,omitzero"`
	Console        BecomeOptions                     `json:"console,omitzero"`
	Programs       map[string]connect.ProgramOptions `json:"programs,omitempty"`
	Passwords      clearTable                        `json:"passwords,omitempty"`
	Sourced        bool                              `json:"sourced,omitempty"`
}

type sshOptions struct {
	Path              string    `json:"path,omitempty"`
	Args              []string  `json:"args,omitempty"`
	FirstArgs         []string  `json:"first_args,omitempty"`
	ConfigFile        string    `json:"config_file,omitempty"`
	Port              int       `json:"port,omitempty"`
	User              string    `json:"user,omitempty"`
	IdentityFile      string    `json:"identity_file,omitempty"`
	OtherKeys         bool      `json:"other_keys,omitempty"`
	HostKeys          string    `json:"host_keys,omitempty"`
	Password          ClearText `json:"password,omitempty"`
	Passphrase        ClearText `json:"passphrase,omitempty"`
	FromHop           bool      `json:"from_hop,omitempty"`
	Native            bool      `json:"native,omitempty"`
	Compression       *bool     `json:"compression,omitempty"`
	KeepAliveInterval float64   `json:"keep_alive_interval,omitempty"` // seconds
	KeepAliveCount    int       `json:"keep_alive_count,omitempty"`
	ConnectTimeout    float64   `json:"connect_timeout,omitempty"` // seconds
	CallsAhead        bool      `json:"calls_ahead,omitempty"`
	NoAhead           bool      `json:"no_ahead,omitempty"`
}

// BecomeOptions are those of sudo, su, doas and consoles; each has only some.
type BecomeOptions struct {
	Path     string    `json:"path,omitempty"`
	Password ClearText `json:"password,omitempty"`
	Login    bool      `json:"login,omitempty"`
	SetHome  bool      `json:"set_home,omitempty"`
	Args     []string  `json:"args,omitempty"`
}

// OptionsOf returns what goes over the socket of o.
func OptionsOf(o *connect.Options) *Options {
	return &Options{
		Python: o.Python, ConnectTimeout: o.Timeout.Seconds(), Programs: o.Programs,
		Passwords: clearTable(o.Passwords), Sourced: o.Sourced,
		SSH: sshOptions{o.SSH.Path, o.SSH.Args, o.SSH.FirstArgs, o.SSH.ConfigFile, o.SSH.Port, o.SSH.User,
			o.SSH.IdentityFile, o.SSH.OtherKeys, string(o.SSH.HostKeys), ClearText(o.SSH.Password),
			ClearText(o.SSH.Passphrase), o.SSH.FromHop, o.SSH.Native, o.SSH.Compression,
			o.SSH.KeepAliveInterval.Seconds(), o.SSH.KeepAliveCount,
			o.SSH.ConnectTimeout.Seconds(), o.SSH.CallsAhead, o.SSH.NoAhead},
		Sudo: BecomeOptions{o.Sudo.Path, ClearText(o.Sudo.Password), o.Sudo.Login, o.Sudo.SetHome,
			o.Sudo.Args},
		Su: BecomeOptions{Path: o.Su.Path, Password: ClearText(o.Su.Password), Login: o.Su.Login,
			Args: o.Su.Args},
		Doas: BecomeOptions{Path: o.Doas.Path, Password: ClearText(o.Doas.Password),
			Args: o.Doas.Args},
		Console: BecomeOptions{Password: ClearText(o.Console.Password)},
	}
}

// Connect returns what o was made of. It returns no options for nil.
func (o *Options) Connect() connect.Options {
	if o == nil {
		return connect.Options{}
	}
	s := o.SSH
	return connect.Options{
		Python: o.Python, Timeout: Seconds(o.ConnectTimeout), Programs: o.Programs,
		Passwords: secret.Table(o.Passwords), Sourced: o.Sourced,
		SSH: connect.SSHOptions{Path: s.Path, Args: s.Args, FirstArgs: s.FirstArgs,
			ConfigFile: s.ConfigFile, Port: s.Port, User: s.User, IdentityFile: s.IdentityFile,
			OtherKeys: s.OtherKeys,
			HostKeys:  connect.HostKeys(s.HostKeys), Password: secret.Secret(s.Password),
			Passphrase: secret.Secret(s.Passphrase), FromHop: s.FromHop, Native: s.Native,
			Compression:       s.Compression,
			KeepAliveInterval: Seconds(s.KeepAliveInterval), KeepAliveCount: s.KeepAliveCount,
			ConnectTimeout: Seconds(s.ConnectTimeout), CallsAhead: s.CallsAhead, NoAhead: s.NoAhead},
		Sudo: connect.SudoOptions{Path: o.Sudo.Path, Password: secret.Secret(o.Sudo.Password),
			Login: o.Sudo.Login, SetHome: o.Sudo.SetHome, Args: o.Sudo.Args},
		Su: connect.SuOptions{Path: o.Su.Path, Password: secret.Secret(o.Su.Password),
			Login: o.Su.Login, Args: o.Su.Args},
		Doas: connect.DoasOptions{Path: o.Doas.Path, Password: secret.Secret(o.Doas.Password),
			Args: o.Doas.Args},
		Console: connect.ConsoleOptions{Password: secret.Secret(o.Console.Password)},
	}
}

// HasSecrets tells whether there is any secret among them.
func (o *Options) HasSecrets() bool {
	if o == nil {
		return false
	}
	return o.SSH.Password != "" || o.SSH.Passphrase != "" || o.Sudo.Password != "" ||
		o.Su.Password != "" ||
		o.Doas.Password != "" || o.Console.Password != "" || o.Passwords != ""
}

// HasSecrets tells whether the options of a request have any, on the way to its target or there.
func (m *Message) HasSecrets() bool {
	return m.Options.HasSecrets() ||
		slices.ContainsFunc(m.Via, func(h Hop) bool { return h.Options.HasSecrets() })
}

// Seconds returns the duration of that many seconds.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// QuestionOf returns what goes over the socket of a prompt.
func QuestionOf(p connect.Prompt) *Question {
	return &Question{Hop: p.Hop, Kind: int(p.Kind), Text: p.Text}
}

// Prompt returns what p was made of.
func (p *Question) Prompt() connect.Prompt {
	return connect.Prompt{Hop: p.Hop, Kind: connect.PromptKind(p.Kind), Text: p.Text}
}
