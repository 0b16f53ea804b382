package ansible

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/report"
)

// An account that can be entered without a question is entered by ssh's own command: a play that
// does everything as that account needs no interpreter of the login's. Where it is root's, it does
// the login's file operations too, with the login's rights. What else is the login's starts one,
// which uses the same connection. A direct host has one leaf, which is the hop itself.

// ahead starts what a task is about to need: its account, if there is nothing yet and that can be
// entered at once, or the login.
func (t *Session) ahead(m *Message) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.direct[t.key] != nil || m.Become != nil && t.undecidedLocked() && t.enterLocked(m) {
		return nil
	}
	h, err := t.hostLocked()
	if err == nil {
		h.done()
	}
	return err
}

// undecidedLocked tells whether an account may have a host of its own. Server.mu is held.
func (t *Session) undecidedLocked() bool {
	return t.s.hosts[t.key] == nil && !t.s.refused[t.key] && len(t.way) == 1 &&
		strings.HasPrefix(t.way[0].Target, "ssh:")
}

// enterLocked starts the context of m's account. Server.mu is held.
func (t *Session) enterLocked(m *Message) bool {
	began := time.Now()
	c, err := t.s.eng.Start(t.way[0].Target,
		engine.ConnectOptions{Options: t.way[0].Options, Origin: t.way[0].Origin, Fresh: true,
			Shared: true,
			Boot:   []string{"/bin/sh", "-c", *m.Become}, BootName: "become:" + m.User})
	if err != nil {
		return false // the login says why
	}
	h := newHost(t.key, c, began)
	h.direct = true
	l := newLeaf(leafKey{m.Account, m.Python})
	l.user, l.ctx = m.User, c
	close(l.ready)
	h.leaves[l.key] = l
	t.addLocked(t.s.direct, h)
	return true
}

// directLocked returns the host of an account's own, if there is one. Server.mu is held.
func (t *Session) directLocked(account, python string) *host {
	h := t.s.direct[t.key]
	if h == nil || !h.has(account, python) {
		return nil
	}
	return t.liveLocked(h)
}

// liveLocked is h, or nil if that has gone. Server.mu is held.
func (t *Session) liveLocked(h *host) *host {
	if err := h.login.Err(); err != nil {
		t.s.refuseLocked(h, err)
		t.s.dropLocked(h)
		return nil
	}
	return h
}

// has tells whether a direct host belongs to an account, and interpreter.
func (h *host) has(account, python string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.leaves {
		return k.account == account && (python == "" || python == k.python)
	}
	return false
}

// lender returns a direct host that is root's, in use, or nil. It does file operations of the
// login's, if it lends.
func (t *Session) lender(ctx context.Context) *host {
	t.s.mu.Lock()
	h := t.s.direct[t.key]
	if h != nil {
		h = t.liveLocked(h)
	}
	if h != nil && !h.use() {
		h = nil
	}
	t.s.mu.Unlock()
	if h != nil && (h.login.Connected(ctx) != nil || h.login.Info().UID != 0) {
		h.done()
		return nil
	}
	return h
}

// lends tells whether h can take the login's rights, which it is asked once.
func (t *Session) lends(ctx context.Context, h *host) bool {
	h.mu.Lock()
	known := h.lent
	h.mu.Unlock()
	if known {
		return true
	}
	_, err := t.homeThere(ctx, h, "")
	return err == nil
}

// homeThere asks a direct host for the home of a user, or of the login's if user is "". A host that
// can't take the login's rights is given up.
func (t *Session) homeThere(ctx context.Context, h *host, user string) (string, error) {
	tun, err := h.login.Tunnels.Serve(ctx, service, map[string]any{"op": "home", "user": user})
	if err != nil {
		return "", before(err)
	}
	t.did(func(w *Work) { w.Waits++ })
	var call *report.CallError
	switch _, err = tun.Next(); {
	case errors.Is(err, io.EOF):
		h.mu.Lock()
		h.lent = true
		h.mu.Unlock()
		return tun.Text() + "\n", nil
	case errors.As(err, &call):
		t.s.mu.Lock()
		t.s.refused[h.key] = true
		t.s.mu.Unlock()
		t.s.retire(h)
		return "", fmt.Errorf("%w: %w", errGone, err)
	case err == nil:
		tun.Close()
		err = errors.New("output instead of a home directory")
	}
	return "", err
}

// at runs fn with the host where an account's context is, or is to be.
func (t *Session) at(ctx context.Context, account, python string, fn func(h *host) error) error {
	return t.retry(ctx, func() (*host, error) {
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		if h := t.directLocked(account, python); h != nil && h.use() {
			return h, nil
		}
		return t.hostLocked()
	}, fn)
}

// refuse tells whether err is that a host can't be an account's own: then there is to be a login,
// which tells why or can do more.
func (s *Server) refuse(h *host, err error) bool {
	s.mu.Lock()
	no := s.refuseLocked(h, err)
	s.mu.Unlock()
	if no {
		s.retire(h)
	}
	return no
}

func (s *Server) refuseLocked(h *host, err error) bool {
	var failed *connect.Error
	if !h.direct || !errors.As(err, &failed) || failed.Status == sshFailed {
		return false
	}
	s.refused[h.key] = true
	return true
}

// sshFailed is ssh's status where it couldn't log in.
const sshFailed = 255
