// Package jsonline carries messages over a local socket: each a JSON object on a line of its own,
// which may be followed by data.
package jsonline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Bounds of messages.
const (
	MaxLine = 1 << 20
	MaxData = 1 << 20
)

// Sized is embedded in messages: as many bytes of data follow the line.
type Sized struct {
	Size int `json:"size,omitempty"`
}

func (s *Sized) size() *int { return &s.Size }

// A Message is a pointer to a struct that embeds Sized.
type Message interface{ size() *int }

// Conn is one side of a connection. Read is for one goroutine, Write for any.
type Conn struct {
	r  *bufio.Reader
	mu sync.Mutex // protects w
	w  io.Writer
}

// New makes a Conn of a connection, which stays the caller's to close.
func New(rw io.ReadWriter) *Conn { return &Conn{r: bufio.NewReaderSize(rw, 64<<10), w: rw} }

// Read reads the next message into m and returns its data, in buf if that has room.
func (c *Conn) Read(m Message, buf []byte) (data []byte, err error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(line, m)
	clear(line) // there may be a secret in it
	if err != nil {
		return nil, fmt.Errorf("message of the daemon's protocol: %w", err)
	}
	n := *m.size()
	switch {
	case n < 0 || n > MaxData:
		return nil, fmt.Errorf("message of the daemon's protocol: size %d", n)
	case n == 0:
		return nil, nil
	case cap(buf) < n:
		buf = make([]byte, n)
	}
	data = buf[:n]
	_, err = io.ReadFull(c.r, data)
	return data, err
}

func (c *Conn) line() ([]byte, error) {
	var all []byte
	for {
		part, err := c.r.ReadSlice('\n')
		if err == nil && all == nil {
			return part, nil
		}
		all = append(all, part...)
		switch {
		case len(all) > MaxLine:
			return nil, errors.New("message of the daemon's protocol: line too long")
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		}
		return all, nil
	}
}

// Write sends m with data.
func (c *Conn) Write(m Message, data []byte) error {
	*m.size() = len(data)
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line = append(append(line, '\n'), data...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.w.Write(line)
	return err
}
