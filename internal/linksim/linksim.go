// Package linksim slows TCP connections down, in user space: for tests and benchmarks, on machines
// whose kernel can't.
package linksim

import (
	"net"
	"sync/atomic"
	"time"
)

// A Link is a TCP proxy that delays what passes by half a round trip each way, and counts it. It
// has no loss and no slow start, so that real links are slower.
type Link struct {
	// bytes a second from the client; 0: any. To be set before there are connections
	Rate     float64
	Up, Down atomic.Int64 // bytes from, and to, the client

	listener net.Listener
	dial     func() (net.Conn, error)
	delay    time.Duration // one way
}

// Listen makes a link from a port of loopback to target.
func Listen(target string, rtt time.Duration) (*Link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return New(l, func() (net.Conn, error) { return net.Dial("tcp", target) }, rtt), nil
}

// New makes a link whose clients come to l, which Close closes; dial connects to its other end.
func New(l net.Listener, dial func() (net.Conn, error), rtt time.Duration) *Link {
	k := &Link{listener: l, dial: dial, delay: rtt / 2}
	go k.serve()
	return k
}

// Port returns the port that it listens on.
func (k *Link) Port() int { return k.listener.Addr().(*net.TCPAddr).Port }

// Close takes no more connections; those that there are stay.
func (k *Link) Close() error { return k.listener.Close() }

func (k *Link) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.carry(c)
	}
}

// carry also charges the handshake, a round trip, before the server hears of it.
func (k *Link) carry(client net.Conn) {
	time.Sleep(2 * k.delay)
	server, err := k.dial()
	if err != nil {
		client.Close()
		return
	}
	go k.pass(server, client, &k.Up, k.Rate)
	k.pass(client, server, &k.Down, 0)
}

// A chunk is the data of one read, and the time at which it may arrive.
type chunk struct {
	at   time.Time
	data []byte
}

// pass copies src to dst, each chunk after the delay and at the rate, in order; then ends dst.
func (k *Link) pass(dst, src net.Conn, count *atomic.Int64, rate float64) {
	queue := make(chan chunk, 4096)
	go func() {
		defer close(queue)
		free := time.Now() // when what was sent has left
		for {
			b := make([]byte, 64<<10)
			n, err := src.Read(b)
			if n > 0 {
				count.Add(int64(n))
				if now := time.Now(); free.Before(now) {
					free = now
				}
				if rate > 0 {
					free = free.Add(time.Duration(float64(n) / rate * float64(time.Second)))
				}
				queue <- chunk{free.Add(k.delay), b[:n]}
			}
			if err != nil {
				queue <- chunk{at: time.Now().Add(k.delay)}
				return
			}
		}
	}()
	for c := range queue {
		time.Sleep(time.Until(c.at))
		if c.data == nil {
			dst.Close()
		} else if _, err := dst.Write(c.data); err != nil {
			src.Close()
		}
	}
}
