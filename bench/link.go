package main

import (
	"net"
	"sync/atomic"
	"time"
)

// A link is a TCP proxy on loopback that delays what passes by half a round trip each way, and counts it. It has no loss
// and no slow start, so that real links are slower.
type link struct {
	listener net.Listener
	target   string
	delay    time.Duration // one way
	rate     float64       // bytes a second from the client; 0: any
	up       atomic.Int64  // bytes from the client
	down     atomic.Int64
}

func newLink(target string, rtt time.Duration) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{listener: l, target: target, delay: rtt / 2}
	go k.serve()
	return k, nil
}

func (k *link) port() int { return k.listener.Addr().(*net.TCPAddr).Port }

func (k *link) close() { k.listener.Close() }

func (k *link) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.carry(c)
	}
}

// carry also charges the handshake, a round trip, before the server hears of it.
func (k *link) carry(client net.Conn) {
	time.Sleep(2 * k.delay)
	server, err := net.Dial("tcp", k.target)
	if err != nil {
		client.Close()
		return
	}
	go k.pass(server, client, &k.up, k.rate)
	k.pass(client, server, &k.down, 0)
}

// A chunk is what was read at once, and when it may arrive.
type chunk struct {
	at   time.Time
	data []byte
}

// pass copies src to dst, each chunk after the delay and at the rate, in order; then ends dst.
func (k *link) pass(dst, src net.Conn, count *atomic.Int64, rate float64) {
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
