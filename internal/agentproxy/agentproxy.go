// Package agentproxy stands between an ssh-agent of this machine and what a target runs. It lets
// through that keys are listed and that one of them signs; all else is refused here, and the agent
// doesn't hear of it.
//
// draft-ietf-sshm-ssh-agent describes the protocol: frames of u32 length, u8 type and what the type
// has; each request has one answer. Requests and answers that are let through are passed on as they
// are, whatever algorithms and flags they name.
package agentproxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// MaxFrame bounds a frame, without its length, in bytes. It is OpenSSH's bound.
const MaxFrame = 256 << 10

// MaxConnections bounds the connections that one Serve has at a time. Further ones wait.
const MaxConnections = 64

// Types of frames.
const (
	failure           = 5
	requestIdentities = 11
	signRequest       = 13
	extension         = 27
)

// bindSession is the extension by which an ssh tells an agent which host a connection leads to.
//
// To the agent, a connection without any is one of this machine's own, where even keys that are for
// certain hosts (ssh-add -h) can be listed. A target's own binding is refused, because the agent
// would take it for one of this machine's. So the proxy begins each connection with a binding that
// says that the connection is forwarded to a host whose key is new. Keys that are for certain hosts
// are then not for that connection.
const bindSession = "session-bind@openssh.com"

// errFrame is the end of a connection whose frames can't be told apart.
var errFrame = errors.New("frame has no type, or is too long")

// Dial connects to the agent.
type Dial func(ctx context.Context) (net.Conn, error)

// Serve passes on requests of the connections that l accepts, until ctx ends or l fails, and
// returns why it has failed. It closes l and all connections, and returns when they are closed.
// Each has a connection to the agent of its own, from its first request that is let through on.
func Serve(ctx context.Context, l net.Listener, dial Dial) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	room := make(chan struct{}, MaxConnections)
	var all sync.WaitGroup
	defer l.Close()
	defer all.Wait()
	defer cancel()
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			Pass(ctx, c, dial)
		})
	}
}

// Pass answers the requests of one client, one after the other, until its end, and returns why it
// has ended before that. If ctx ends while the agent is asked, so does Pass. The caller closes c.
func Pass(ctx context.Context, c io.ReadWriter, dial Dial) error {
	p := &passing{ctx: ctx, client: c, dial: dial}
	defer p.close()
	for {
		switch err := p.one(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// passing is one client.
type passing struct {
	ctx    context.Context
	client io.ReadWriter
	dial   Dial
	agent  net.Conn    // nil until it is needed
	stop   func() bool // of what closes agent with ctx
}

func (p *passing) close() {
	if p.agent != nil {
		p.stop()
		p.agent.Close()
	}
}

// one answers one request. io.EOF: there is none.
func (p *passing) one() error {
	size, kind, err := readHead(p.client)
	if err != nil {
		return err
	}
	if !allowed(kind, size) {
		if _, err := io.CopyN(io.Discard, p.client, int64(size-1)); err != nil {
			return short(err)
		}
		return writeFrame(p.client, []byte{failure})
	}
	request, err := readRest(p.client, size, kind)
	if err != nil {
		return err
	}
	answer, err := p.ask(request)
	if err != nil {
		return err
	}
	return writeFrame(p.client, answer)
}

// allowed tells whether a request is for the agent. A request for identities has no content.
func allowed(kind byte, size uint32) bool {
	return kind == requestIdentities && size == 1 || kind == signRequest
}

// ask has the agent answer. The first time, it connects.
func (p *passing) ask(request []byte) ([]byte, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err // nothing is asked once that has ended, though connections are closed later
	}
	if p.agent == nil {
		c, err := p.dial(p.ctx)
		if err != nil {
			return nil, err
		}
		p.agent, p.stop = c, context.AfterFunc(p.ctx, func() { c.Close() })
		bind, err := binding()
		if err == nil {
			// An agent that refuses it knows no such keys, or, as OpenSSH's, has noted the attempt.
			_, err = exchange(c, bind)
		}
		if err != nil {
			return nil, fmt.Errorf("bind session: %w", err)
		}
	}
	return exchange(p.agent, request)
}

// binding returns a request that binds a connection to a host that doesn't exist. It is the same
// for the process's life.
var binding = sync.OnceValues(func() ([]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	session := make([]byte, 32)
	if _, err := rand.Read(session); err != nil {
		return nil, err
	}
	const forwarded = 1
	request := text([]byte{extension}, []byte(bindSession))
	request = text(request, text(text(nil, []byte(keyType)), public))
	request = text(request, session)
	request = text(request, text(text(nil, []byte(keyType)), ed25519.Sign(private, session)))
	return append(request, forwarded), nil
})

const keyType = "ssh-ed25519"

// text appends a string of the protocol.
func text(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// exchange sends a request, and returns its answer.
func exchange(agent io.ReadWriter, request []byte) ([]byte, error) {
	if err := writeFrame(agent, request); err != nil {
		return nil, err
	}
	size, kind, err := readHead(agent)
	if err == nil {
		return readRest(agent, size, kind)
	}
	return nil, short(err)
}

// readHead reads the length of a frame and its type. io.EOF: there is no frame.
func readHead(r io.Reader) (size uint32, kind byte, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return 0, 0, err
	}
	size = binary.BigEndian.Uint32(length[:])
	if size == 0 || size > MaxFrame {
		return 0, 0, errFrame
	}
	var first [1]byte
	_, err = io.ReadFull(r, first[:])
	return size, first[0], short(err)
}

// readRest returns a frame, whose head has been read, without its length. It takes no more memory
// than in proportion to what comes.
func readRest(r io.Reader, size uint32, kind byte) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(kind)
	_, err := io.CopyN(&b, r, int64(size-1))
	return b.Bytes(), short(err)
}

// short makes an end within a frame an error.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeFrame writes a frame in one piece.
func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(text(nil, b))
	return err
}
