package ansible

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// maxInput bounds what is piped into a program.
const maxInput = 256 << 20

// input returns what follows m's own data.
func (t *Session) input(ctx context.Context, m *Message, data []byte) ([]byte, error) {
	for !m.EOF {
		r, err := t.next(ctx)
		if err != nil {
			return nil, err
		}
		m.EOF = r.m.EOF
		if len(data)+len(r.data) > maxInput {
			return nil, fmt.Errorf("more than %d bytes of input", maxInput)
		}
		if data == nil {
			data = r.data
		} else {
			data = append(data, r.data...)
		}
	}
	return data, nil
}

func (t *Session) next(ctx context.Context) (request, error) {
	select {
	case r, ok := <-t.in:
		if ok {
			return r, nil
		}
	case <-ctx.Done():
	}
	return request{}, errors.New("plugin has gone")
}

// exec does what a command line of Ansible's is to do.
func (t *Session) exec(ctx context.Context, m *Message, data []byte, end *End) error {
	data, err := t.input(ctx, m, data)
	if err != nil {
		return err
	}
	inner, wrapped := m.Command, false
	if m.Inner != nil {
		inner, wrapped = strings.TrimSuffix(*m.Inner, " && sleep 0"), true
	} else if s, ok := unwrap(m.Command); ok {
		inner, wrapped = s, true
	}
	if wrapped && m.Account == "" && len(data) == 0 {
		if done, err := t.quick(ctx, inner, end); done || err != nil {
			return err
		}
	}
	why := "no module's wrapper"
	if len(data) > 0 && wrapped {
		end.How, err = t.module(ctx, m, inner, data, &end.Status)
		if !errors.Is(err, errUnknown) {
			return err
		}
		why, end.Release = err.Error(), errors.Is(err, errRelease)
	}
	end.How = "as it is: " + why
	return t.literal(ctx, m, inner, data, end)
}

// quick does what a shell isn't needed for, and what needn't be waited for.
func (t *Session) quick(ctx context.Context, inner string, end *End) (bool, error) {
	st, ok := steps(inner)
	if !ok {
		return false, nil
	}
	end.How = "as a file operation"
	switch {
	case st.dir != "" && st.stdout != "":
		t.temps[st.dir] = true
	case st.dir != "":
		delete(t.temps, st.dir)
	}
	if err := t.files(ctx, st.do); err != nil {
		return true, err
	}
	if st.stdout != "" {
		return true, t.ch.Write(&Message{Stream: "stdout"}, []byte(st.stdout))
	}
	return true, nil
}

// pending is an operation that is under way.
type pending struct {
	host *host
	done chan struct{}
	err  error // set when done is closed
}

// files has the hop do a file operation, without waiting.
func (t *Session) files(ctx context.Context, steps ...[]any) error {
	t.did(func(w *Work) { w.Files++ })
	return t.with(ctx, func(h *host) error {
		tun, err := t.s.files(ctx, h, steps)
		if err != nil {
			return before(err)
		}
		p := &pending{host: h, done: make(chan struct{})}
		t.pending = append(t.pending, p)
		go func() {
			defer close(p.done)
			for p.err == nil {
				_, p.err = tun.Next()
			}
			switch {
			case errors.Is(p.err, io.EOF):
				p.err = nil
			case steps[0][0] == "mkdir":
				p.err = fmt.Errorf("%w: %w", errTemp, p.err)
			}
		}()
		return nil
	})
}

// before makes what says that a context has gone, before anything was sent to it, an errGone.
func before(err error) error {
	var lost *report.LostError
	if errors.As(err, &lost) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// settle waits for what is under way, and returns the first error of it.
func (t *Session) settle(ctx context.Context) error {
	var first error
	for _, p := range t.pending {
		select {
		case <-p.done:
			if first == nil {
				first = p.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t.pending = nil
	return first
}

// module runs a module in its account's context. It returns how; errUnknown: it has to be executed
// as it is.
func (t *Session) module(ctx context.Context, m *Message, inner string, data []byte,
	status *int) (string, error) {
	python, env, ok := interpreter(inner)
	if !ok {
		return "", fmt.Errorf("%w: its interpreter is %.80q", errUnknown, inner)
	}
	p, a, err := t.s.store.parse(data)
	if err != nil {
		return "", err
	}
	t.farewell(ctx, p.module, p.params)
	spec := map[string]any{"op": "module", "module": p.module, "params": p.params,
		"profile": p.profile, "loader": p.loader, "nofile": p.noFile, "env": env,
		"python": python, "ends": m.Ends, "temps": t.tempList(), "passed": p.passedOn()}
	err = t.at(ctx, m.Account, python, func(h *host) error {
		h.mu.Lock()
		packs, err := h.learn(ctx, t.s, a)
		h.mu.Unlock()
		if err != nil {
			return before(err)
		}
		l, err := t.leaf(ctx, h, m, python, packs)
		defer h.release(l)
		if err != nil {
			return err
		}
		h.mu.Lock()
		delete(spec, "service")
		spec["as_is"] = t.asIs
		if err := h.teach(ctx, l, a, packs, spec); err != nil {
			h.mu.Unlock()
			return before(err)
		}
		tun, err := l.ctx.Tunnels.Serve(ctx, service, spec)
		h.mu.Unlock()
		if err != nil {
			return before(err)
		}
		t.did(func(w *Work) { w.Modules, w.Waits = w.Modules+1, w.Waits+1 })
		*status, err = t.collect(ctx, h, tun, t.pass)
		if ctx.Err() != nil {
			t.left = l.ctx
		}
		if m.Account == "" && unborn(err) && h.login.Info().PID != 0 {
			return fmt.Errorf("%w: %w", errUnknown, err) // its interpreter doesn't start: let a shell say so
		}
		return err
	})
	return "as module " + p.module, err
}

// tempList is temps as it goes to a context.
func (t *Session) tempList() []any {
	all := []any{}
	for dir := range t.temps {
		all = append(all, dir)
	}
	return all
}

// leaf returns the context of an account; it is started if need be, which may ask the plugin. With
// an error too it is to be released.
func (t *Session) leaf(ctx context.Context, h *host, m *Message, python string,
	packs []string) (*leaf, error) {
	l, fresh := h.find(leafKey{m.Account, python})
	if fresh {
		var a *account
		if m.Account != "" {
			a = &account{user: m.User, stdin: m.Stdin, command: t.become, said: make(chan []byte, 64)}
		}
		if err := h.open(ctx, t.s.eng, l, a, packs); err != nil {
			return l, before(err)
		}
		if a != nil {
			return l, t.converse(ctx, l, a.said, time.Duration(m.Patience)*time.Second)
		}
		return l, nil
	}
	select {
	case <-l.ready:
	case <-ctx.Done():
		return l, ctx.Err()
	}
	return l, l.err
}

// become asks the plugin for the command that runs boot as an account.
func (t *Session) become(ctx context.Context, boot string) (string, error) {
	if err := t.ch.Write(&Message{Boot: boot}, nil); err != nil {
		return "", err
	}
	r, err := t.next(ctx)
	if err != nil {
		return "", err
	}
	if r.m.Become == nil {
		return "", errors.New("plugin doesn't say how to become another user")
	}
	return *r.m.Become, nil
}

// converse lets the plugin answer until the account's context is there. A plugin that doesn't want
// to go on closes its connection. A question that it doesn't answer within patience (0: any time)
// is given up.
func (t *Session) converse(ctx context.Context, l *leaf, said <-chan []byte,
	patience time.Duration) error {
	var unanswered <-chan time.Time
	up := make(chan error, 1)
	go func() { up <- l.ctx.Connected(ctx) }()
	for {
		select {
		case text := <-said:
			if err := t.ch.Write(&Message{Talk: true}, text); err != nil {
				l.ctx.Close()
				return err
			}
			unanswered = nil
			if patience > 0 && !bytes.HasSuffix(text, []byte("\n")) {
				unanswered = time.After(patience)
			}
		case <-unanswered:
			l.ctx.Close()
			return fmt.Errorf("%w: nobody knows the answer to its question", errAccount)
		case err := <-up:
			for err != nil && len(said) > 0 { // the plugin may know from its last words why
				t.ch.Write(&Message{Talk: true}, <-said)
			}
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w: %w", errAccount, err)
			}
			if err != nil {
				l.ctx.Close()
			}
			return err
		case r, ok := <-t.in:
			if !ok {
				l.ctx.Close()
				return errors.New("plugin has gone")
			}
			if r.m.Answer != nil {
				unanswered = nil
				l.ctx.Say(secret.Secret(*r.m.Answer))
				r.m.Answer = nil
				secret.Wiped()
			}
		}
	}
}

// pass passes output on to the plugin.
func (t *Session) pass(stream byte, data []byte) error {
	name := "stdout"
	if stream == '2' {
		name = "stderr"
	}
	return t.ch.Write(&Message{Stream: name}, data)
}

// collect passes output on and returns the status, once all that came before is known to have been
// done.
func (t *Session) collect(ctx context.Context, h *host, tun *engine.Tunnel,
	output func(stream byte, data []byte) error) (int, error) {
	stop := context.AfterFunc(ctx, func() { tun.Close() })
	defer stop()
	o, err := collect(tun, output)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if failed := t.settle(ctx); failed != nil && !stale(err) {
		return 0, failed
	}
	if o.stale {
		t.s.retire(h)
	}
	return o.status, err
}

// async matches the command that starts a job in the background. The job needs its temporary
// directory until its end, and removes it then.
var async = lazyregexp.New(`async_wrapper\.py`)

// literal executes a command line as it is, in a context of the account that it is for.
func (t *Session) literal(ctx context.Context, m *Message, inner string, data []byte,
	end *End) error {
	lasting := async.MatchString(m.Command)
	argv := []any{"", "-c", m.Command} // the login shell, as sshd has it
	if m.Account != "" {
		argv = []any{m.Shell, "-c", inner}
	}
	t.farewell(ctx, "", []byte(inner))
	spec := map[string]any{"op": "exec", "argv": argv, "env": map[string]any{},
		"tty": m.TTY && len(data) == 0, "ends": m.Ends,
		"apart": m.Account != "", "temps": []any{}}
	if lasting {
		spec["temps"] = t.tempList()
	}
	if m.Account == "" && len(data) == 0 && homeLine.MatchString(inner) {
		return t.home(ctx, m, inner, spec, end)
	}
	err := t.at(ctx, m.Account, "", func(h *host) error {
		l, err := t.leaf(ctx, h, m, "", nil)
		defer h.release(l)
		if err != nil {
			return err
		}
		delete(spec, "service")
		spec["as_is"] = t.asIs
		tun, err := l.ctx.Tunnels.Serve(ctx, service, spec)
		if err != nil {
			return before(err)
		}
		t.did(func(w *Work) { w.Literal, w.Waits = w.Literal+1, w.Waits+1 })
		go func() {
			for piece := range slices.Chunk(data, wire.MaxPayload) {
				if _, err := tun.Write(piece); err != nil {
					return
				}
			}
			tun.CloseWrite()
		}()
		if lasting {
			end.Status, err = t.started(ctx, h, l, m.Ends, tun)
		} else {
			end.Status, err = t.collect(ctx, h, tun, t.pass)
		}
		return err
	})
	if lasting && err == nil && end.Status == 0 {
		return t.leave(context.WithoutCancel(ctx))
	}
	return err
}

// started collects what the wrapper of a job says. If the plugin goes before that, the wrapper is
// waited for, unless it ends with the plugin: shells such as csh close what would hold its
// directory.
func (t *Session) started(ctx context.Context, h *host, l *leaf, ends bool,
	tun *engine.Tunnel) (int, error) {
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	patience := beginTimeout
	if ends {
		patience = 0
	}
	defer context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })()
	status, err := t.collect(within, h, tun, func(stream byte, data []byte) error {
		t.pass(stream, data)
		return nil // without a plugin the status still counts
	})
	if ctx.Err() != nil {
		t.left = l.ctx
	}
	return status, err
}

// leave has temporary directories stay, which belong to a job from now on.
func (t *Session) leave(ctx context.Context) error {
	var all [][]any
	for dir := range t.temps {
		all = append(all, []any{"keep", dir})
	}
	clear(t.temps)
	if len(all) == 0 {
		return nil
	}
	return t.files(ctx, all...)
}

// home says what a shell of the login's makes of ~ or ~user, which it is asked once.
func (t *Session) home(ctx context.Context, m *Message, inner string, spec map[string]any,
	end *End) error {
	return t.retry(ctx, func() (*host, error) {
		if h := t.lender(ctx); h != nil {
			return h, nil // and whether it lends is told with this
		}
		return t.host()
	}, func(h *host) error {
		h.mu.Lock()
		known, ok := h.homes[inner]
		h.mu.Unlock()
		if ok {
			end.How = "as known before"
			return t.ch.Write(&Message{Stream: "stdout"}, []byte(known))
		}
		var text string
		var err error
		if h.direct {
			end.How = "as known of the account"
			text, err = t.homeThere(ctx, h, strings.TrimPrefix(inner, "echo ~"))
		} else {
			text, end.Status, err = t.echo(ctx, h, m, spec)
		}
		if err != nil {
			return err
		}
		if end.Status == 0 {
			h.mu.Lock()
			h.homes[inner] = text
			h.mu.Unlock()
		}
		return t.ch.Write(&Message{Stream: "stdout"}, []byte(text))
	})
}

// echo executes spec and returns its output.
func (t *Session) echo(ctx context.Context, h *host, m *Message, spec map[string]any) (string, int,
	error) {
	l, err := t.leaf(ctx, h, m, "", nil)
	defer h.release(l)
	if err != nil {
		return "", 0, err
	}
	return t.run(ctx, h, l, spec)
}

// run executes spec in a leaf and returns its output.
func (t *Session) run(
	ctx context.Context, h *host, l *leaf, spec map[string]any,
) (string, int, error) {
	delete(spec, "service")
	spec["as_is"] = t.asIs
	tun, err := l.ctx.Tunnels.Serve(ctx, service, spec)
	if err != nil {
		return "", 0, before(err)
	}
	t.did(func(w *Work) { w.Literal, w.Waits = w.Literal+1, w.Waits+1 })
	tun.CloseWrite()
	var text strings.Builder
	o, err := collect(tun, func(stream byte, b []byte) error {
		if stream == '1' && text.Len()+len(b) <= maxHome {
			text.Write(b)
		}
		return nil
	})
	return text.String(), o.status, err
}

// maxHome bounds what a host says is a home directory.
const maxHome = 16 << 10

// quickPut bounds a file in a temporary directory whose writing isn't waited for, in bytes.
const quickPut = 512 << 10

// put writes a file as the login's account.
func (t *Session) put(ctx context.Context, m *Message, data []byte) error {
	for !m.EOF && len(data) <= quickPut {
		r, err := t.next(ctx)
		if err != nil {
			return err
		}
		m.EOF = r.m.EOF
		data = append(data, r.data...)
	}
	if m.EOF && len(data) <= quickPut && inTemp.MatchString(m.Name) {
		return t.files(ctx, []any{"put", m.Name, m.Mode, data})
	}
	err := t.with(ctx, func(h *host) error {
		tun, err := h.login.Tunnels.Serve(ctx, service,
			map[string]any{"op": "put", "path": m.Name, "mode": m.Mode, "login": h.direct})
		if err != nil {
			return before(err)
		}
		t.did(func(w *Work) { w.Files, w.Waits = w.Files+1, w.Waits+1 })
		answer := make(chan error, 1)
		go func() {
			_, err := t.collect(ctx, h, tun, t.pass)
			answer <- err
			tun.Close() // it may have refused what is being written
		}()
		_, err = tun.Write(data)
		for err == nil && !m.EOF {
			var r request
			if r, err = t.next(ctx); err == nil {
				m.EOF = r.m.EOF
				_, err = tun.Write(r.data)
			}
		}
		tun.CloseWrite()
		return <-answer
	})
	for err != nil && !m.EOF { // the plugin sends what it has
		r, failed := t.next(ctx)
		if failed != nil {
			return failed
		}
		m.EOF = r.m.EOF
	}
	return err
}

// get reads a file as the login's account.
func (t *Session) get(ctx context.Context, m *Message) error {
	return t.with(ctx, func(h *host) error {
		tun, err := h.login.Tunnels.Serve(ctx, service,
			map[string]any{"op": "get", "path": m.Name, "login": h.direct})
		if err != nil {
			return before(err)
		}
		t.did(func(w *Work) { w.Files, w.Waits = w.Files+1, w.Waits+1 })
		_, err = t.collect(ctx, h, tun, t.pass)
		return err
	})
}
