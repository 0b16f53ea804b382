// Package ansible serves connection plugins of Ansible: what a task executes, writes and reads on a
// host is done in contexts that stay. docs/protocol/ansible.md, section 10, has what passes between
// a plugin, this, and python/ansible.py at the other end.
//
// A session is one plugin's connection, for one host; all sessions share hosts. What isn't
// understood is executed as it is: results never depend on how something was done.
package ansible

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// Protocol is the number of what passes between plugins and us.
const Protocol = 1

// Message is one of the protocol between a plugin and a Server. The fields that are set say what it
// is.
type Message struct {
	// Requests of the plugin.
	Do      string  `json:"do,omitempty"`      // connect, exec, put, get, lend, reset, bye
	Command string  `json:"command,omitempty"` // exec: as Ansible has made it
	Inner   *string `json:"inner,omitempty"`   // exec: what it was made of, before become
	Shell   string  `json:"shell,omitempty"`   // exec: executes inner
	TTY     bool    `json:"tty,omitempty"`     // exec: on a terminal
	// exec: names the account that become is to enter, and how; "": the login's own
	Account string `json:"account,omitempty"`
	User    string `json:"user,omitempty"`  // of account
	Stdin   bool   `json:"stdin,omitempty"` // what enters account reads a password from stdin
	// seconds that a question of what enters account is waited for
	Patience int `json:"patience,omitempty"`
	// exec: what runs ends with the request, however that ends
	Ends bool   `json:"ends,omitempty"`
	Name string `json:"name,omitempty"` // put, get: path there
	Mode int    `json:"mode,omitempty"` // put
	EOF  bool   `json:"eof,omitempty"`  // after the data of exec and put
	// connect: the interpreter of the account that is to be entered
	Python string `json:"python,omitempty"`

	// Of lend.
	Names   []string `json:"names,omitempty"`   // what an ssh may call the host, [USER@]HOST
	Refused string   `json:"refused,omitempty"` // why that ssh is to run nothing

	// Answers of the plugin.
	// the command that was asked for by Boot; connect: what starts python as account, and asks nothing
	Become *string `json:"become,omitempty"`
	Answer *answer `json:"answer,omitempty"` // to what Talk says

	// Ours.
	Boot   string `json:"boot,omitempty"`   // what is to be run by an account
	Talk   bool   `json:"talk,omitempty"`   // data is output of the program that enters an account
	Stream string `json:"stream,omitempty"` // what data was written to
	End    *End   `json:"end,omitempty"`

	jsonline.Sized
}

// answer is a secret that goes over the socket in clear: it is the user's own.
type answer secret.Secret

// UnmarshalJSON reads the text, and keeps one copy of it.
func (a *answer) UnmarshalJSON(b []byte) error {
	s, err := secret.FromJSON(b)
	*a = answer(s)
	return err
}

// End is the answer to a request.
type End struct {
	Status int    `json:"status,omitempty"` // exit status
	How    string `json:"how,omitempty"`    // was it done
	// it was a module of a release of Ansible that isn't known
	Release bool   `json:"release,omitempty"`
	Socket  string `json:"socket,omitempty"` // lend: of the programs, which are beside it
	Error   *Error `json:"error,omitempty"`
}

// Error explains a missing answer.
type Error struct {
	// the text of a connect.Error's kind, "lost", "account", "temp" (a temporary directory can't be
	// made) or "files"
	Kind   string `json:"kind,omitempty"`
	Hop    string `json:"hop,omitempty"`    // where
	Text   string `json:"text"`             // why
	Before bool   `json:"before,omitempty"` // nothing has been executed
	// nor can anything be in a context: the ssh plugin may do it
	Fallback bool `json:"fallback,omitempty"`
}

// Server serves sessions.
type Server struct {
	eng   *engine.Engine
	store *store

	giving sync.Mutex // protects given
	given  map[*engine.Context]*kept

	mu      sync.Mutex // protects following
	hosts   map[string]*host
	direct  map[string]*host // those that are an account's own
	refused map[string]bool  // keys of hosts that can't be
	retired []*host          // that may not have ended yet
	work    map[string]*Work
}

// Work counts the work that was done for a host, for reports.
type Work struct {
	Host    string `json:"host"`
	Logins  int    `json:"logins"`
	Modules int    `json:"modules"`     // run in forks
	Literal int    `json:"literal"`     // run as they were
	Files   int    `json:"files"`       // operations that nothing waited for, and transfers
	Waits   int    `json:"round_trips"` // requests that had to go there and back
	Down    int64  `json:"bytes_down"`
	Up      int64  `json:"bytes_up"`
	Known   int    `json:"sources"` // of modules that the host has
}

// Works returns what was done, by host.
func (s *Server) Works() []Work {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Work{}
	for _, w := range s.work {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b Work) int { return strings.Compare(a.Host, b.Host) })
	for i := range all {
		for _, h := range s.allLocked() {
			if h.name == all[i].Host {
				st := h.login.Stats()
				h.mu.Lock()
				all[i].Down, all[i].Up, all[i].Known = all[i].Down+st.BytesDown, all[i].Up+
					st.BytesUp, len(h.places)
				h.mu.Unlock()
			}
		}
	}
	return all
}

// did notes something in the account of the session's host.
func (t *Session) did(note func(w *Work)) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	note(t.workLocked())
}

// workLocked is the account of the session's host. Server.mu is held.
func (t *Session) workLocked() *Work {
	w := t.s.work[t.name]
	if w == nil {
		w = &Work{Host: t.name}
		t.s.work[t.name] = w
	}
	return w
}

// NewServer makes a Server that connects with eng.
func NewServer(eng *engine.Engine) *Server {
	return &Server{eng: eng, store: newStore(), given: map[*engine.Context]*kept{},
		hosts: map[string]*host{}, direct: map[string]*host{}, refused: map[string]bool{},
		work: map[string]*Work{}}
}

// host returns the login at the end of a way, which may have to be made; in use. done is to be
// called.
func (t *Session) host() (*host, error) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.hostLocked()
}

// hostLocked is host. Server.mu is held.
func (t *Session) hostLocked() (*host, error) {
	h := t.s.hosts[t.key]
	if h != nil && h.use() {
		return h, nil
	}
	var beside *engine.Context
	// else it may still fail, and the login with it
	if d := t.s.direct[t.key]; d != nil && d.login.Info().PID != 0 {
		beside = d.login
	}
	h, err := logIn(t.s.eng, t.key, t.way, beside)
	if err != nil {
		return nil, err
	}
	h.beside = beside
	t.addLocked(t.s.hosts, h)
	h.use()
	return h, nil
}

// addLocked makes h one of hosts. Server.mu is held.
func (t *Session) addLocked(hosts map[string]*host, h *host) {
	h.name, h.machine, hosts[t.key] = t.name, machineOf(t.way), h
	t.workLocked().Logins++
}

// allLocked are all hosts. Server.mu is held.
func (s *Server) allLocked() []*host {
	return slices.AppendSeq(slices.Collect(maps.Values(s.hosts)), maps.Values(s.direct))
}

// dropLocked has the next operation make another host instead of h. Server.mu is held.
func (s *Server) dropLocked(h *host) {
	for _, hosts := range []map[string]*host{s.hosts, s.direct} {
		if hosts[h.key] != h {
			continue
		}
		delete(hosts, h.key)
		if w := s.work[h.name]; w != nil {
			st := h.login.Stats()
			w.Down, w.Up = w.Down+st.BytesDown, w.Up+st.BytesUp
		}
	}
}

// key returns the same text for ways that lead to the same place, without showing their secrets. It
// covers passwords and the present files of ssh's configuration. Interpreters don't matter: other
// interpreters can be started below.
func (w Way) key() (string, error) {
	h := sha256.New()
	for _, hop := range w {
		hop.Options.Python = nil
		place, err := engine.Place(hop.Target, hop.Options, hop.Origin)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q ", place)
	}
	return string(h.Sum(nil)), nil
}

// retire makes the next operation log in again. A direct host goes with the login that uses its
// connection, and doesn't end before that. It tells whether nothing is under way in them.
func (s *Server) retire(h *host) (idle bool) {
	s.mu.Lock()
	all := []*host{h}
	if login := s.hosts[h.key]; login != nil && login.beside == h.login {
		all = []*host{login, h}
	}
	s.retireLocked(all)
	s.mu.Unlock()
	idle = true
	for _, h := range all {
		idle = h.retire() && idle
	}
	return idle
}

// retireLocked takes hosts away from what is used, and keeps them until they have ended. Server.mu
// is held.
func (s *Server) retireLocked(all []*host) {
	s.retired = slices.DeleteFunc(s.retired, func(h *host) bool {
		return h.login.Err() != nil || slices.Contains(all, h)
	})
	s.retired = append(s.retired, all...)
	for _, h := range all {
		s.dropLocked(h)
	}
}

// CloseIdle logs out of hosts that have not been used for so long.
func (s *Server) CloseIdle(after time.Duration) {
	s.mu.Lock()
	var idle []*host
	for _, h := range s.allLocked() {
		h.mu.Lock()
		if h.uses == 0 && time.Since(h.last) > after {
			idle = append(idle, h)
		}
		h.mu.Unlock()
	}
	s.retireLocked(idle)
	s.mu.Unlock()
	for _, h := range idle {
		h.retire()
	}
}

// failure is err as it goes to a plugin.
func failure(err error) *Error {
	var conn *connect.Error
	var lost *report.LostError
	var call *report.CallError
	e := &Error{Text: err.Error()}
	// also where a connect error says why: it can be done in another way
	account := errors.Is(err, errAccount)
	switch {
	case account && errors.As(err, &conn):
		e.Kind, e.Hop, e.Text, e.Before = "account", conn.Hop, conn.Text, true
	case errors.As(err, &conn):
		e.Kind, e.Hop, e.Text, e.Before = conn.Kind.Error(), conn.Hop, conn.Text, true
		if e.Text == "" {
			e.Text = conn.Error()
		}
	case errors.As(err, &lost):
		e.Kind, e.Hop, e.Text = "lost", lost.Hop, lost.Error()
	case errors.As(err, &call):
		e.Kind, e.Text = "files", call.Text
		if errors.Is(err, errTemp) {
			e.Kind = "temp"
		}
	case account:
		e.Kind, e.Before = "account", true
	}
	e.Fallback = e.Before && (account || conn != nil && slices.Contains(contextless, conn.Kind))
	e.Hop, e.Text = printable.Line(e.Hop), printable.Text(e.Text)
	return e
}

// contextless are kinds of failed connects where a shell can still be had.
var contextless = []error{connect.ErrNoPython, connect.ErrNoCommand, connect.ErrStart,
	connect.ErrDied}

// errTemp says that a temporary directory couldn't be made.
var errTemp = errors.New("make a temporary directory")

// errAccount says that an account can't be entered as the plugin says.
var errAccount = errors.New("account can't be entered")

// stale tells whether nothing was started since the context is no longer what a new one would be.
func stale(err error) bool {
	var call *report.CallError
	return errors.As(err, &call) && call.Type == "StaleError"
}

// unborn tells whether a context was given up before anything could have run in it.
func unborn(err error) bool {
	var conn *connect.Error
	return errors.As(err, &conn)
}

// A Session is one plugin's connection.
type Session struct {
	s       *Server
	name    string // of the host, for people
	ch      *jsonline.Conn
	way     Way
	key     string    // of way, at the present request
	asked   time.Time // when that came
	in      chan request
	pending []*pending // operations that no request has waited for yet
	// a context is used though what made it has changed: the one before was given up for that
	asIs  bool
	temps map[string]bool // temporary directories that were made, and not yet removed
	left  *engine.Context // nil, or where a module or wrapper was left to finish, which may need them
	lent  *lending        // nil, or what a program of this machine's may use
}

type request struct {
	m    *Message
	data []byte
}

// Serve serves one plugin, for the host called name, until it closes its connection, or says that
// it will.
func (s *Server) Serve(ctx context.Context, ch *jsonline.Conn, name string, way Way) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &Session{s: s, name: name, ch: ch, way: way, in: make(chan request), temps: map[string]bool{}}
	var orderly atomic.Bool
	go func() {
		defer close(t.in)
		defer cancel()
		for {
			m := &Message{}
			data, err := ch.Read(m, nil)
			if err != nil {
				return
			}
			if m.Do == "bye" {
				orderly.Store(true)
				return
			}
			select {
			case t.in <- request{m, data}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for r := range t.in {
		end := &End{}
		if err := t.do(ctx, r.m, r.data, end); err != nil {
			end.Error = failure(err)
		}
		if ch.Write(&Message{End: end}, nil) != nil {
			break
		}
	}
	t.takeBack()
	if !orderly.Load() {
		t.tidy()
	}
	t.settle(context.Background())
}

// tidy removes what a plugin that was killed has left, once no module needs it.
func (t *Session) tidy() {
	if t.left != nil && len(t.temps) > 0 {
		t.begun()
	}
	for dir := range t.temps {
		t.files(context.Background(), []any{"tidy", dir})
	}
}

// begun waits until what was left to finish has begun: from then on it holds its files.
func (t *Session) begun() {
	tun, err := t.left.Tunnels.Serve(context.Background(), service,
		map[string]any{"op": "drop", "names": []any{}})
	if err != nil {
		return
	}
	stop := time.AfterFunc(beginTimeout, func() { tun.Close() })
	discard(tun)
	stop.Stop()
}

// beginTimeout bounds how long a busy context is waited for.
const beginTimeout = 10 * time.Second

// do carries one request out, where the way leads now.
func (t *Session) do(ctx context.Context, m *Message, data []byte, end *End) error {
	var err error
	t.asked = time.Now()
	if t.key, err = t.way.key(); err != nil {
		return err
	}
	switch m.Do {
	case "connect": // ahead of what is to come
		return t.ahead(m)
	case "exec":
		return t.exec(ctx, m, data, end)
	case "put":
		return t.put(ctx, m, data)
	case "get":
		return t.get(ctx, m)
	case "lend":
		return t.lend(ctx, m, end)
	case "reset":
		return t.reset()
	}
	return fmt.Errorf("unknown request %.40q", m.Do)
}

// with runs fn with a host that does what the login's account may, once more where a context has
// turned out to be stale, or to have gone before.
func (t *Session) with(ctx context.Context, fn func(h *host) error) error {
	return t.retry(ctx, func() (*host, error) {
		h := t.lender(ctx)
		if h != nil && t.lends(ctx, h) {
			return h, nil
		}
		if h != nil {
			h.done()
		}
		return t.host()
	}, fn)
}

// retry runs fn with the host that find returns. A context that is newer than the request is used
// as it is: where something changes all the time, none would ever do.
func (t *Session) retry(ctx context.Context, find func() (*host, error),
	fn func(h *host) error) error {
	defer func() { t.asIs = false }()
	for try := 0; ; {
		h, err := find()
		if err != nil {
			return err
		}
		if err := t.order(ctx, h); err != nil { // of what was asked of another
			h.done()
			return err
		}
		err = fn(h)
		h.done()
		switch {
		case t.s.refuse(h, err):
		case try < 2 && (stale(err) || errors.Is(err, errGone)):
			try++
			t.s.retire(h)
			if stale(err) {
				t.asIs = true
				t.reset() // another that is there may be as old, if no session has made it since
			}
		default:
			return err
		}
	}
}

// order waits for what other hosts than h are still about to do: frames to one of them don't
// overtake each other.
func (t *Session) order(ctx context.Context, h *host) error {
	for _, p := range t.pending {
		if p.host != h {
			t.did(func(w *Work) { w.Waits++ })
			return t.settle(ctx)
		}
	}
	return nil
}

// errGone says that a context was lost before anything was asked of it.
var errGone = errors.New("context has gone")

// reset has the next request log in anew, unless a session has done so since the present one came.
func (t *Session) reset() error {
	t.s.mu.Lock()
	hosts := []*host{t.s.hosts[t.key], t.s.direct[t.key]}
	t.s.mu.Unlock()
	for _, h := range hosts {
		if h != nil && h.began.Before(t.asked) {
			t.s.retire(h)
		}
	}
	return nil
}
