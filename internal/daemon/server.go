// Package daemon keeps contexts warm for other processes. A daemon listens on a UNIX socket of its
// user and connects targets with an engine of its own. Each client gets a fork of the context at
// the end, which has run nothing yet. The client is the engine of that fork: its modules, output
// and calls pass the daemon as bytes.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/jsonline"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/process"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// DefaultIdle is the time after which contexts without a client end, and then the daemon.
const DefaultIdle = 10 * time.Minute

// Options are a daemon's.
type Options struct {
	Socket  string        // default: DefaultSocket
	Idle    time.Duration // default: DefaultIdle
	Version string        // of the program; clients of another have the daemon end and start their own
	Logger  *slog.Logger
	Ready   func()                   // called once it listens
	Owner   int                      // process that it ends with; 0: none
	Audit   func(report.Event) error // as in engine.Options
}

// Server is a daemon.
type Server struct {
	opt  Options
	eng  *engine.Engine
	l    *net.UnixListener
	lock *os.File
	stop context.CancelFunc

	ansible *ansible.Server // of connection plugins

	mu       sync.Mutex // protects following
	sessions map[*session]bool
	used     map[*engine.Context]*use
	last     time.Time // that there was a session
	draining bool
	jobs     sync.WaitGroup
}

// use counts the clients of a context.
type use struct {
	clients int
	total   int
	since   time.Time // that there are none
}

// session is a client that has a fork, or is to get one.
type session struct {
	ch     *daemonclient.Channel
	target string
	canAsk bool
	origin *daemonclient.Origin
	questions
	hasSecrets bool
	context    *engine.Context
	tunnel     *engine.Tunnel
	hangUp     func() error
}

// Serve runs a daemon until ctx ends, it has been idle, or a client has asked for its end.
// ErrRunning: there is another one.
func Serve(ctx context.Context, o Options) error {
	if o.Socket == "" {
		o.Socket = daemonclient.DefaultSocket()
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l, lock, err := listen(o.Socket)
	if err != nil {
		return fmt.Errorf("daemon %s: %w", o.Socket, err)
	}
	if o.Owner != 0 {
		sweep(filepath.Dir(o.Socket)) // which listen has found to be ours
	}
	defer lock.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &Server{opt: o, l: l, lock: lock, stop: stop, sessions: map[*session]bool{},
		used: map[*engine.Context]*use{}, last: time.Now()}
	s.eng, err = engine.New(engine.Options{Logger: o.Logger, Audit: o.Audit, MakeRoom: s.makeRoom})
	if err != nil {
		l.Close()
		return err
	}
	dropWords(2)
	s.ansible = ansible.NewServer(s.eng)
	go s.watch(ctx)
	if o.Owner != 0 {
		go func() {
			outlive(ctx, o.Owner)
			s.stop()
		}()
	}
	go s.accept(ctx)
	if o.Ready != nil {
		o.Ready()
	}
	<-ctx.Done()
	l.Close() // which removes the socket
	if o.Owner != 0 {
		os.Remove(o.Socket + ".lock") // no other daemon will have that name
	}
	s.mu.Lock()
	for c := range s.sessions {
		c.hangUp()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.jobs.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(tidyPatience):
	}
	err = s.eng.Close()
	<-done
	return err
}

// tidyPatience limits the time in which sessions remove their files from hosts. Once the engine is
// closed, they can't.
const tidyPatience = 500 * time.Millisecond

func (s *Server) accept(ctx context.Context) {
	next := process.NewListener(s.l, s.turnAway)
	for {
		conn, err := next.Accept()
		if err != nil {
			s.mu.Lock()
			draining := s.draining
			s.mu.Unlock()
			if ctx.Err() == nil && !draining {
				s.opt.Logger.Error("daemon doesn't accept any more", slog.Any("error", err))
				s.stop()
			}
			return
		}
		if !peer.Own(conn) {
			conn.Close()
			continue
		}
		s.mu.Lock()
		s.jobs.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.jobs.Done()
			defer conn.Close()
			s.client(ctx, conn)
		}()
	}
}

// awayPatience bounds the time in which a client that is turned away has to say what it wants,
// while further clients wait.
const awayPatience = 250 * time.Millisecond

// turnAway tells a client that this process has no descriptor for it. A client may still end the
// daemon: that takes none.
func (s *Server) turnAway(conn *net.UnixConn) {
	if !peer.Own(conn) {
		return
	}
	conn.SetDeadline(time.Now().Add(awayPatience))
	ch := daemonclient.NewChannel(conn)
	m, err := ch.Receive(nil)
	if err != nil {
		return
	}
	if m.HasSecrets() {
		secret.Wiped()
	}
	if m.Op == "stop" {
		s.end(ch)
		return
	}
	ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: daemonclient.FailureOf(&connect.Error{
		Hop: m.Target, Phase: connect.PhaseStart, Kind: connect.ErrExhausted,
		Text: "the daemon can't take a connection", Err: syscall.EMFILE,
	})}})
}

// firstPatience limits the time in which a client must send its first message.
const firstPatience = 10 * time.Second

// client serves one connection.
func (s *Server) client(ctx context.Context, conn *net.UnixConn) {
	ch := daemonclient.NewChannel(conn)
	conn.SetReadDeadline(time.Now().Add(firstPatience))
	m, err := ch.Receive(nil)
	if err != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	if m.Op == "open" && m.Version == "" {
		m.Version = "?" // what an engine says to a context has to be understood there
	}
	if m.Version != "" && m.Version != s.opt.Version {
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: &daemonclient.Failure{
			Version: s.opt.Version}}})
		s.drain()
		return
	}
	switch m.Op {
	case "open":
		s.open(ctx, conn, ch, m)
	case "connect", "call", "run", "put", "get":
		s.work(ctx, conn, ch, m)
	case "ansible":
		s.playbook(ctx, conn, ch, m)
	case "works":
		ch.Write(&worked{Works: s.ansible.Works(), End: &daemonclient.End{}}, nil)
	case "list":
		ch.Send(&daemonclient.Message{PID: os.Getpid(), Contexts: s.list(ctx), End: &daemonclient.End{}})
	case "disconnect":
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: s.disconnect(m.Target)}})
	case "stop":
		s.end(ch)
	default:
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: &daemonclient.Failure{
			Text: fmt.Sprintf("unknown operation %.40q", m.Op)}}})
	}
}

// worked answers a question for the work of connection plugins.
type worked struct {
	Works []ansible.Work    `json:"works,omitempty"`
	End   *daemonclient.End `json:"end"`
	jsonline.Sized
}

// end ends the daemon, as a client asks.
func (s *Server) end(ch *daemonclient.Channel) {
	ch.Send(&daemonclient.Message{PID: os.Getpid(), End: &daemonclient.End{}})
	s.stop()
}

// open gives a client a fork.
func (s *Server) open(ctx context.Context, conn *net.UnixConn, ch *daemonclient.Channel,
	m *daemonclient.Message) {
	c := &session{ch: ch, target: m.Target, canAsk: m.Interactive, hasSecrets: m.Secrets,
		hangUp: conn.Close}
	if err := s.begin(c, m); err != nil {
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: daemonclient.FailureOf(err)}})
		return
	}
	defer s.finish(c)
	python := m.Options.Connect().Python
	m.Options = nil // it has secrets
	t, err := c.context.Tunnels.ForkFor(ctx, python, daemonclient.Seconds(m.Heartbeat))
	if err != nil {
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: daemonclient.FailureOf(err)}})
		return
	}
	c.tunnel = t
	gone := make(chan struct{})
	go func() { // what the client writes
		defer close(gone)
		defer t.Close()
		buf := make([]byte, 64<<10)
		for {
			m, err := ch.Receive(buf)
			switch {
			case err != nil:
				return
			case m.Answer != nil || m.Refuse != "":
				c.take(m)
			case m.EOF:
				t.CloseWrite()
			case len(m.Data) > 0:
				t.Write(m.Data) // after an error t.Read knows more, and says it
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := t.Read(buf)
		if n > 0 && ch.Send(&daemonclient.Message{Data: buf[:n]}) != nil {
			break
		}
		if err != nil {
			last := &daemonclient.End{Text: t.Text()}
			if !errors.Is(err, io.EOF) {
				last.Error = daemonclient.FailureOf(err)
			}
			ch.Send(&daemonclient.Message{End: last})
			break
		}
	}
	conn.Close()
	<-gone
}

// playbook serves a connection plugin of Ansible.
func (s *Server) playbook(ctx context.Context, conn *net.UnixConn, ch *daemonclient.Channel,
	m *daemonclient.Message) {
	c := &session{ch: ch, target: m.Target, hangUp: conn.Close}
	s.mu.Lock()
	s.sessions[c] = true
	s.mu.Unlock()
	if m.Protocol != ansible.Protocol {
		ch.Send(&daemonclient.Message{End: &daemonclient.End{Error: &daemonclient.Failure{
			Kind: "protocol",
			Text: fmt.Sprintf("protocol %d, and not %d", ansible.Protocol, m.Protocol)}}})
		s.finish(c)
		return
	}
	s.ansible.Serve(ctx, ch.Conn, cmp.Or(m.Host, m.Target), way(m))
	s.finish(c)
	if m.HasSecrets() {
		secret.Wiped()
	}
}

// way returns the way to a plugin's host, as it is from the plugin's process.
func way(m *daemonclient.Message) ansible.Way {
	var w ansible.Way
	for _, h := range append(m.Via, daemonclient.Hop{Target: m.Target, Options: m.Options}) {
		o := h.Options.Connect()
		if m.Origin != nil {
			o = daemonclient.Absolute(h.Target, o, m.Origin.Dir)
		}
		w = append(w, ansible.Hop{Target: h.Target, Options: o, Origin: m.Origin.Engine()})
	}
	return w
}

// begin notes a session and finds or starts the context that it is to have a fork of.
func (s *Server) begin(c *session, m *daemonclient.Message) error {
	r, err := s.eng.Prepare(m.Target,
		engine.ConnectOptions{Options: m.Options.Connect(), Template: true, Prompt: s.prompt(c),
			Secrets: s.secrets(c), Origin: m.Origin.Engine()})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return errors.New("daemon is ending")
	}
	s.sessions[c] = true // so that its connect can ask
	ctx, err := r.Start()
	if err != nil {
		delete(s.sessions, c)
		return err
	}
	c.context = ctx
	u := s.used[ctx]
	if m.Options.HasSecrets() || u == nil && (c.hasSecrets || c.canAsk) {
		go s.forget(ctx)
	}
	if u == nil {
		u = &use{}
		s.used[ctx] = u
	}
	u.clients++
	u.total++
	return nil
}

// forget has what was needed for a context's start wiped, once it has started or failed.
func (s *Server) forget(c *engine.Context) {
	c.Connected(context.Background())
	secret.Wiped()
}

func (s *Server) finish(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	s.last = time.Now()
	if u := s.used[c.context]; u != nil {
		u.clients--
		u.since = s.last
	}
	if s.draining && len(s.sessions) == 0 {
		s.stop()
	}
}

// drain takes no further clients and ends with the last one.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return
	}
	s.draining = true
	s.l.Close()
	s.lock.Close() // the next one may start
	if len(s.sessions) == 0 {
		s.stop()
	}
}

// watch closes what is idle.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(max(min(s.opt.Idle/4, 15*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		for c, u := range s.used {
			if c.Err() != nil && u.clients == 0 || u.clients == 0 && time.Since(u.since) > s.opt.Idle {
				delete(s.used, c)
				c.Release() // before another client can be given it
			}
		}
		s.ansible.CloseIdle(s.opt.Idle)
		over := len(s.used) == 0 && len(s.sessions) == 0 && time.Since(s.last) > s.opt.Idle
		s.mu.Unlock()
		if over {
			s.stop()
			return
		}
	}
}

// A context takes that many descriptors here at most, and roomPatience to give them back.
const (
	contextNeed  = 10
	roomPatience = 500 * time.Millisecond
)

// makeRoom closes the context that has been idle longest. False: there is none.
func (s *Server) makeRoom() bool {
	s.mu.Lock()
	var oldest *engine.Context
	for c, u := range s.used {
		if u.clients == 0 && c.Err() == nil && (oldest == nil || u.since.Before(s.used[oldest].since)) {
			oldest = c
		}
	}
	if oldest == nil {
		s.mu.Unlock()
		return false
	}
	delete(s.used, oldest)
	oldest.Release() // before another client can be given it
	s.mu.Unlock()
	s.opt.Logger.Info("a context is closed to make room", slog.String("context", oldest.Name()))
	for end := time.Now().Add(roomPatience); process.FileRoom() < contextNeed &&
		time.Now().Before(end); {
		time.Sleep(roomPatience / 50)
	}
	return true
}

// disconnect closes the contexts that are called target; with "" all.
func (s *Server) disconnect(target string) *daemonclient.Failure {
	s.mu.Lock()
	var found []*engine.Context
	for c := range s.used {
		if target == "" || c.Name() == target {
			found = append(found, c)
			delete(s.used, c)
		}
	}
	for c := range s.sessions {
		if slices.Contains(found, c.context) {
			c.hangUp()
		}
	}
	s.mu.Unlock()
	if len(found) == 0 && target != "" {
		return &daemonclient.Failure{Text: "not connected: " + target}
	}
	for _, c := range found {
		c.Close()
	}
	return nil
}

// listPatience limits the time in which contexts must answer when they are listed.
const listPatience = 2 * time.Second

// list describes all contexts, parents before children.
func (s *Server) list(ctx context.Context) []daemonclient.Context {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	contexts := s.eng.Contexts()
	all := make([]daemonclient.Context, len(contexts))
	var pings sync.WaitGroup
	for i, c := range contexts {
		st, info := c.Stats(), c.Info()
		all[i] = daemonclient.Context{ID: uint32(c.ID()), Parent: uint32(st.Parent), Name: c.Name(),
			Hostname: info.Hostname, UID: info.UID, PID: info.PID,
			Up: st.Hello > 0, Down: st.BytesDown, UpBytes: st.BytesUp, Modules: st.Modules}
		if all[i].Up {
			all[i].Python = strings.TrimSuffix(fmt.Sprintf("%s %d.%d.%d", info.Implementation,
				info.Version[0], info.Version[1], info.Version[2]), " ")
			pings.Go(func() {
				if d, err := c.Calls.Ping(ctx); err == nil {
					all[i].RTT = d.Seconds()
					all[i].Memory = s.memory(ctx, c)
				}
			})
		}
		s.mu.Lock()
		if u := s.used[c]; u != nil {
			all[i].Clients, all[i].Sessions = u.clients, u.total
		}
		s.mu.Unlock()
	}
	pings.Wait()
	return all
}
