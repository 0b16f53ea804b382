package goctx

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// maxTunnels bounds connections, listeners and waits for a connection together.
const maxTunnels = 1024

// A tunnel is one OPEN (docs/protocol/daemon.md, section 9).
type tunnel interface {
	// take takes a frame behind the first. It does not block.
	take(f *wire.Frame)

	// end gives the tunnel up: the engine has, or the context ends. Nothing is answered.
	end()
}

// openSpec is the dict of OPEN's first frame (docs/protocol/sockets.md).
type openSpec struct {
	Service   string
	Host      any // bytes, or text without a service
	Port      int64
	Path      []byte
	Family    int64 // 4 or 6; 0: either
	Timeout   *float64
	Listen    bool
	Private   bool
	Accept    *uint32
	Data      uint32
	Heartbeat int64
}

func parseOpen(b []byte) (*openSpec, error) {
	spec := &openSpec{}
	err := pickle.Unmarshal(b, specLimits, spec)
	switch {
	case err != nil:
	case spec.Family != 0 && spec.Family != 4 && spec.Family != 6:
		err = errors.New("family: got another one than 4 and 6")
	case spec.Port < 0 || spec.Port > 65535:
		err = errors.New("port: got another number than those from 0 to 65535")
	case spec.Timeout != nil && !(*spec.Timeout > 0 && *spec.Timeout <= maxTimeout):
		err = errors.New("timeout: got no number of seconds")
	case strings.IndexByte(spec.host()+string(spec.Path), 0) >= 0:
		err = errors.New("a name has a zero byte")
	case len(spec.Path) > 0 && spec.Path[0] != '/':
		err = errors.New("path: got a relative one")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadSpec, err)
	}
	return spec, nil
}

func (spec *openSpec) host() string {
	switch h := spec.Host.(type) {
	case string:
		return h
	case []byte:
		return string(h)
	}
	return ""
}

// onOpen takes a frame of OPEN.
func (s *served) onOpen(f *wire.Frame) {
	k := key{f.Src, f.Reply}
	s.mu.Lock()
	t := s.tunnels[k]
	n, stopping := len(s.tunnels), s.stopping
	s.mu.Unlock()
	switch {
	case t != nil && f.Kind == wire.Error:
		t.end()
	case t != nil:
		t.take(f)
	case f.Kind != wire.Data || len(f.Payload) == 0 || f.Reply == 0:
		// it is late: the tunnel has ended
	case stopping:
		s.dead(f.Src, f.Reply, "context %d ends", s.me)
	default:
		spec, err := parseOpen(bytes.Clone(f.Payload)) // which it keeps parts of
		if err == nil && n >= maxTunnels {
			err = unix.EMFILE
		}
		if err == nil {
			err = s.open(k, spec)
		}
		if err != nil {
			s.refuseTunnel(k, err)
		}
	}
}

// open begins what spec asks for.
func (s *served) open(k key, spec *openSpec) error {
	if spec.Service != "" && spec.Service != "sockets" || spec.Service == "" && spec.Host == nil {
		return fmt.Errorf("context %d, a Go context, starts no process by OPEN, and has no service %q",
			s.me, spec.Service)
	}
	s.allowSilence(spec.Heartbeat)
	switch {
	case spec.Listen:
		return s.openListener(k, spec)
	case spec.Accept != nil:
		l := s.listenerAt(key{k.src, wire.Handle(*spec.Accept)})
		if l == nil {
			return unix.EBADF
		}
		s.openSocket(k, spec, l.accept)
	default:
		s.openSocket(k, spec, newDial(s, spec).connect)
	}
	return nil
}

// listenerAt returns the listener of an OPEN; nil: there is none.
func (s *served) listenerAt(k key) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, _ := s.tunnels[k].(*listener)
	return l
}

func (s *served) keepTunnel(k key, t tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnels[k] = t
}

// forgetTunnel takes a tunnel off the table, with the window of what its peer has written.
func (s *served) forgetTunnel(t tunnel, k, flow key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels[k] != t {
		return // it was done before
	}
	delete(s.tunnels, k)
	delete(s.flows, flow)
	s.leftLocked()
}

// leaveTunnels ends all tunnels.
func (s *served) leaveTunnels() {
	s.mu.Lock()
	var all []tunnel
	for _, t := range s.tunnels {
		all = append(all, t)
	}
	s.mu.Unlock()
	for _, t := range all {
		t.end()
	}
}

// refuseTunnel answers with the ERROR of a tunnel: its argument is the error's name in C, which is
// the same on every system.
func (s *served) refuseTunnel(k key, err error) {
	code, why := errorName(err)
	f := failure{"builtins", "OSError", why, "", pyvalue.Tuple{code}}
	s.send(&wire.Frame{Kind: wire.Error, Dst: k.src, Handle: k.reply,
		Payload: f.payload(s.cfg.MaxMessage)})
}

// errorName returns the name of an error as C has it, and its text; "": it has none.
func errorName(err error) (code, why string) {
	var number unix.Errno
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return "EAI_NONAME", "Name or service not known"
	case errors.As(err, &unknown) && unknown.IsTemporary || unknown != nil && unknown.IsTimeout:
		return "EAI_AGAIN", "Temporary failure in name resolution"
	case unknown != nil:
		return "EAI_FAIL", unknown.Err
	case errors.As(err, &number):
		return unix.ErrnoName(number), number.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "ETIMEDOUT", unix.ETIMEDOUT.Error()
	case errors.Is(err, errBadSpec):
		return "EINVAL", err.Error()
	}
	return "", err.Error()
}
