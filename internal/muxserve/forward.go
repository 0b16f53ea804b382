package muxserve

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
)

// Forward says what a client wants to have forwarded.
type Forward struct {
	Kind   byte   // L, R or D, as ssh's option
	Listen string // HOST:PORT, or a path; "" as the host: loopback
	To     string // HOST:PORT, or a path; "": where a SOCKS client says
}

// Forwarder is a Backend that forwards ports.
type Forwarder interface {
	// Forward forwards until stop, or until ctx ends, and returns the port that is listened at; 0 for
	// a path. If it ends by itself, it calls ended.
	Forward(
		ctx context.Context, target string, f Forward, ended func(error),
	) (port int, stop func(), err error)
	// Cancel ends what Forward has begun for the same target and Forward.
	Cancel(target string, f Forward) error
}

// Kinds of forwarding, and the port that says that a host is a path.
const (
	forwardLocal   = 1
	forwardRemote  = 2
	forwardDynamic = 3
	pathPort       = math.MaxUint32 - 1
)

// replyPort is the answer to a forwarding from a port that the system has chosen: u32 request, u32
// port.
const replyPort = 0x80000007

// socksHost stands for the destination where SOCKS clients say it.
const socksHost = "socks"

// readForward takes a forwarding apart.
func readForward(f *fields) (Forward, error) {
	kind := f.number()
	listen, listenPort := f.text(), f.number()
	host, port := f.text(), f.number()
	if f.err != nil {
		return Forward{}, f.err
	}
	letters := map[uint32]byte{forwardLocal: 'L', forwardRemote: 'R', forwardDynamic: 'D'}
	fw := Forward{Kind: letters[kind]}
	if fw.Kind == 0 {
		return fw, fmt.Errorf("read forwarding: got kind %d, want 1 to 3", kind)
	}
	var err error
	if fw.Listen, err = endpoint(listen, listenPort, 0); err != nil {
		return fw, err
	}
	if fw.Kind != 'D' && (fw.Kind != 'R' || host != socksHost || port != 0) {
		fw.To, err = endpoint(host, port, 1)
	}
	return fw, err
}

// endpoint makes an address of a host, or path, and a port.
func endpoint(host string, port, least uint32) (string, error) {
	switch {
	case port == pathPort:
		return host, nil
	case port < least || port > math.MaxUint16:
		return "", fmt.Errorf("read forwarding: got port %d, want %d to 65535", port, least)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// forward begins or ends a forwarding.
func (s *server) forward(ctx context.Context, id uint32, kind uint32, f *fields) error {
	b, ok := s.b.(Forwarder)
	if !ok {
		return s.reply(uint32(replyFailed), id, "port forwarding: not supported here")
	}
	fw, err := readForward(f)
	if err != nil {
		return s.reply(uint32(replyFailed), id, err.Error())
	}
	if kind == msgOpenForward {
		err = s.ready(ctx)
	} else {
		err = s.b.Check(ctx, &Request{Target: s.target})
	}
	if err != nil {
		return s.reply(uint32(replyDenied), id, err.Error())
	}
	if kind == msgCloseForward {
		if err := b.Cancel(s.target, fw); err != nil {
			return s.reply(uint32(replyFailed), id, err.Error())
		}
		return s.reply(uint32(replyOK), id)
	}
	if len(s.stops) >= maxForwards {
		return s.reply(uint32(replyFailed), id, fmt.Sprintf("%d forwardings: want no more", maxForwards))
	}
	port, stop, err := b.Forward(s.outer, s.target, fw, func(err error) {
		select {
		case s.lost <- err:
		default: // another one has ended
		}
	})
	if err != nil {
		return s.reply(uint32(replyFailed), id, err.Error())
	}
	s.stops = append(s.stops, stop)
	if _, given, _ := net.SplitHostPort(fw.Listen); fw.Kind == 'R' && given == "0" {
		return s.reply(uint32(replyPort), id, uint32(port))
	}
	return s.reply(uint32(replyOK), id)
}

// maxForwards bounds the forwardings of one client.
const maxForwards = 256

// clientLeft ends the forwardings of a client. Those of OpenSSH's ssh without a session are for
// other clients, as with its own ControlMaster, until the server ends.
func (s *server) clientLeft() {
	if s.target == "" && !s.ends {
		return
	}
	for _, stop := range s.stops {
		stop()
	}
	s.stops = nil
}

// Forward asks for a forwarding, which lives as long as the connection. It returns the port that
// the system there has chosen, if that was asked for.
func (m *Client) Forward(f Forward) (port int, err error) {
	kind := map[byte]uint32{'L': forwardLocal, 'R': forwardRemote, 'D': forwardDynamic}[f.Kind]
	fields := []any{uint32(msgOpenForward), uint32(request), kind}
	for _, address := range []string{f.Listen, f.To} {
		host, port := socksHost, uint64(0)
		if address != "" {
			var text string
			var err error
			if host, text, err = net.SplitHostPort(address); err != nil || address[0] == '/' {
				host, port = address, pathPort
			} else if port, err = strconv.ParseUint(text, 10, 16); err != nil {
				return 0, err
			}
		}
		fields = append(fields, host, uint32(port))
	}
	chosen, err := m.askPort(message(fields...))
	return int(chosen), err
}

// Hold keeps what Forward has asked for until the server ends, or until one of these does, which is
// an error. All of it ends with this process.
func (m *Client) Hold() error {
	if err := m.BeginHold(); err != nil {
		return err
	}
	return m.Connected()
}

// BeginHold is Hold, without the wait.
func (m *Client) BeginHold() error { return m.ask(message(uint32(msgHold), uint32(request))) }

// hold waits for the end of the client, or of a forwarding.
func (s *server) hold(ctx context.Context, cancel func(), id uint32) error {
	if err := s.reply(uint32(replyOK), id); err != nil {
		return err
	}
	go s.untilEnd(cancel)
	select {
	case err := <-s.lost:
		return s.reply(uint32(replyFailed), id, err.Error())
	case <-ctx.Done():
		return nil
	}
}
