package sshnative

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A sniffer is a connection that remembers its first error, and what the server sends before the
// connection is encrypted: the library doesn't give out the signature that proves the host's key.
type sniffer struct {
	net.Conn

	mu    sync.Mutex // protects following
	first error
	seen  []byte
	full  bool

	limited bool // the server has not said its version, and there is a deadline for that
}

// limit bounds how long the server may take to say its version, as ssh's ConnectTimeout does. A
// connection that can't be bounded, through another host, is left as it is.
func (s *sniffer) limit(end time.Time) {
	s.limited = s.SetReadDeadline(end) == nil
}

// sniffLimit is more than a server sends before the connection is encrypted.
const sniffLimit = 64 << 10

func (s *sniffer) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		s.seen = append(s.seen, b[:n]...)
		s.full = len(s.seen) > sniffLimit
	}
	if s.limited && !s.full && bytes.IndexByte(b[:n], '\n') >= 0 && afterVersion(s.seen) != nil {
		s.limited = false
		s.SetReadDeadline(time.Time{})
	}
	s.note(err)
	return n, err
}

func (s *sniffer) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(err)
	return n, err
}

func (s *sniffer) note(err error) {
	if s.first == nil && !errors.Is(err, net.ErrClosed) { // that is this side's doing
		s.first = err
	}
}

// err returns the first error of the connection.
func (s *sniffer) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// forget ends remembering.
func (s *sniffer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.full = nil, true
}

// Message numbers of RFC 4253, 5656 and 4419.
// A group of RFC 4419 has the number of another method's reply, and two fields.
const (
	msgNewKeys  = 21
	msgKexReply = 31
	msgGEXReply = 33
)

// exchange returns the host's key and its signature of the first key exchange.
func (s *sniffer) exchange() (key, signature []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for packet := range packets(s.seen) {
		switch packet[0] {
		case msgNewKeys:
			return key, signature, len(signature) > 0
		case msgKexReply, msgGEXReply:
			var reply struct{ Key, Public, Signature []byte }
			if err := ssh.Unmarshal(append([]byte(nil), packet[1:]...), &reply); err == nil {
				key, signature = reply.Key, reply.Signature
			}
		}
	}
	return nil, nil, false
}

// packets goes through the packets after the server's version, up to msgNewKeys.
func packets(stream []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		stream := afterVersion(stream)
		for len(stream) > 5 {
			size := int(binary.BigEndian.Uint32(stream))
			padding := int(stream[4])
			if size < padding+2 || size > len(stream)-4 {
				return
			}
			packet := stream[5 : 4+size-padding]
			if !yield(packet) || packet[0] == msgNewKeys {
				return
			}
			stream = stream[4+size:]
		}
	}
}

// afterVersion returns what follows the line of the server's version; lines before it may be
// anything.
func afterVersion(stream []byte) []byte {
	for len(stream) > 0 {
		line, rest, found := cutLine(stream)
		if !found {
			return nil
		}
		if len(line) >= 4 && string(line[:4]) == "SSH-" {
			return rest
		}
		stream = rest
	}
	return nil
}

func cutLine(b []byte) (line, rest []byte, found bool) {
	for i, c := range b {
		if c == '\n' {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}
