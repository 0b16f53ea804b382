package muxserve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The messages of PROTOCOL.mux, version 4: u32 length, u32 type, and what the type has. A string is
// u32 length and its bytes. Truth is a u32.
const (
	version = 4

	msgHello = 0x00000001 // u32 version, pairs of strings
	// u32 request, string (ours: of an agent), u32 tty, x11, agent, subsystem, escape, string TERM,
	// command, variables
	msgSession      = 0x10000002
	msgAlive        = 0x10000004 // u32 request
	msgTerminate    = 0x10000005 // u32 request
	msgOpenForward  = 0x10000006 // u32 request, type, string host, u32 port, string host, u32 port
	msgCloseForward = 0x10000007 // the same
	msgCheck        = 0x1000ff01 // u32 request: whether there is the target; ours alone
	msgHold         = 0x1000ff02 // u32 request: the forwardings end with the client; ours alone
	msgReady        = 0x1000ff03 // u32 request: connect the target, if it isn't yet; ours alone
	msgStdio        = 0x10000008 // u32 request, string, string host, u32 port
	msgStop         = 0x10000009 // u32 request

	replyOK     = 0x80000001 // u32 request
	replyDenied = 0x80000002 // u32 request, string why
	replyFailed = 0x80000003 // u32 request, string why
	replyExit   = 0x80000004 // u32 session, u32 status
	replyAlive  = 0x80000005 // u32 request, u32 pid
	replyOpened = 0x80000006 // u32 request, u32 session
)

// maxMessage bounds a client's message, variables included, in bytes. A command on Linux has at
// most 128 KiB.
const maxMessage = 256 << 10

// targetExtension is the name of what a client's hello may have besides: the target that it is for.
const targetExtension = "target@mitogen"

var errShort = errors.New("message is too short")

// readMessage reads one message, without its length.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("read message: got %d bytes, want 4 to %d", n, maxMessage)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// message puts a message together of u32 and strings.
func message(fields ...any) []byte {
	b := make([]byte, 4)
	for _, f := range fields {
		switch f := f.(type) {
		case uint32:
			b = binary.BigEndian.AppendUint32(b, f)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fields takes a message apart. After an error all that it returns is empty.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) number() uint32 {
	if f.err != nil || len(f.rest) < 4 {
		f.err = errShort
		return 0
	}
	n := binary.BigEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	if f.err != nil || uint64(n) > uint64(len(f.rest)) {
		f.err = errShort
		return ""
	}
	s := string(f.rest[:n])
	f.rest = f.rest[n:]
	return s
}
