// Package sshmux asks an ssh that is a ControlMaster for connections which its server makes: a
// client for one request of the protocol that OpenSSH describes in its PROTOCOL.mux.
package sshmux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// Messages, and what they must not exceed: the master's are replies of a few words.
const (
	version = 4

	msgHello    = 0x00000001
	msgForward  = 0x10000008
	replyDenied = 0x80000002
	replyFailed = 0x80000003
	replyOpened = 0x80000006

	maxReply = 64 << 10
)

// ErrRefused is a master's, or its server's: neither says much more.
var ErrRefused = errors.New("refused")

// Conn is a connection that the master's server has made.
type Conn struct {
	*net.UnixConn
	master net.Conn // the connection ends with this one
}

// Close ends it.
func (c *Conn) Close() error { return errors.Join(c.UnixConn.Close(), c.master.Close()) }

// Alive tells whether a master serves what argv would connect to, which is an ssh's with "-O check"
// instead of a command. An ssh that says nothing until ctx ends has none.
func Alive(ctx context.Context, argv, env []string) bool {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), env...)
	return c.Run() == nil
}

// Dial has the server of the master at path connect to a port of a host, as the server knows it,
// and waits for that until ctx ends.
func Dial(ctx context.Context, path, host string, port int) (*Conn, error) {
	c, err := dial(ctx, path, host, port)
	if err != nil {
		return nil, fmt.Errorf("connection by ssh's master: %w", err)
	}
	return c, nil
}

func dial(ctx context.Context, path, host string, port int) (*Conn, error) {
	master, err := peer.Dial(path)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { master.Close() })
	near, err := open(master, host, port)
	if !stop() && err == nil {
		near.Close()
		err = ctx.Err()
	}
	if err != nil {
		master.Close()
		return nil, err
	}
	return &Conn{near, master}, nil
}

// open makes a pair of sockets, of which the master gets one for both directions.
func open(master *net.UnixConn, host string, port int) (*net.UnixConn, error) {
	pair, err := peer.Pair()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(pair[0]), "ssh")
	defer file.Close()
	defer syscall.Close(pair[1])
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	near := conn.(*net.UnixConn)
	if err := request(master, host, port, pair[1]); err != nil {
		near.Close()
		return nil, err
	}
	return near, nil
}

// request carries out the dialogue with the master.
func request(master *net.UnixConn, host string, port, fd int) error {
	const id = 1
	out := words(nil, 8, msgHello, version)
	out = words(out, uint32(4+4+4+4+len(host)+4), msgForward, id, 0, uint32(len(host)))
	out = words(append(out, host...), uint32(port))
	if _, err := master.Write(out); err != nil {
		return err
	}
	for range 2 { // its stdin and stdout
		if _, _, err := master.WriteMsgUnix([]byte{0}, syscall.UnixRights(fd), nil); err != nil {
			return err
		}
	}
	hello, err := read(master)
	if err != nil {
		return err
	}
	if len(hello) < 8 || word(hello, 0) != msgHello || word(hello, 1) != version {
		return errors.New("another version of the protocol")
	}
	reply, err := read(master)
	switch {
	case err != nil:
		return err
	case len(reply) < 8 || word(reply, 1) != id:
		return errors.New("a reply to nothing that was asked")
	case word(reply, 0) == replyOpened:
		return nil
	case word(reply, 0) == replyDenied || word(reply, 0) == replyFailed:
		return ErrRefused
	}
	return fmt.Errorf("unknown reply %#x", word(reply, 0))
}

// read returns a message.
func read(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxReply {
		return nil, fmt.Errorf("a reply of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func words(b []byte, all ...uint32) []byte {
	for _, w := range all {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func word(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
