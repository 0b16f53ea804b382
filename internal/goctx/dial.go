package goctx

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// Limits of connecting.
const (
	dialTimeout   = 30 * time.Second
	maxAddresses  = 16 // of one name, that are tried
	maxLookups    = 64 // names that are looked up at a time
	leastShare    = 2 * time.Second
	acceptPause   = 100 * time.Millisecond // after a shortage
	queuePause    = 50 * time.Millisecond  // while the queue of a UNIX socket is full
	deadlineOfAll = 1 << 20                // seconds of a timeout at most
)

// lookups counts names that are looked up.
var lookups atomic.Int32

// A dial makes one connection.
type dial struct {
	s    *served
	spec *openSpec
	end  time.Time
}

func newDial(s *served, spec *openSpec) *dial {
	d := &dial{s: s, spec: spec, end: time.Now().Add(dialTimeout)}
	if t := spec.Timeout; t != nil {
		d.end = time.Now().Add(time.Duration(min(*t, deadlineOfAll) * float64(time.Second)))
	}
	return d
}

// connect tries one address after the other, each for its share of the time.
func (d *dial) connect(c *socket) (net.Conn, error) {
	if len(d.spec.Path) > 0 {
		return d.unix(c.ctx, string(d.spec.Path))
	}
	found, err := d.addresses(c.ctx)
	if err != nil {
		return nil, err
	}
	err = unix.EHOSTUNREACH
	for i, at := range found {
		left, more := time.Until(d.end), len(found)-i-1
		if more > 0 {
			left = min(left, max(leastShare, left/time.Duration(1+more)))
		}
		conn, failed := d.once(c.ctx, "tcp", netip.AddrPortFrom(at, uint16(d.spec.Port)).String(), left)
		if failed == nil {
			return conn, nil
		}
		if err = failed; time.Now().After(d.end) || c.ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// once tries one address.
func (d *dial) once(ctx context.Context, network, at string, left time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Deadline: time.Now().Add(left), KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, network, at)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		var number unix.Errno
		if !errors.As(err, &number) {
			return nil, os.ErrDeadlineExceeded
		}
	}
	return conn, err
}

// unix connects to a UNIX socket. While its queue is full it waits.
func (d *dial) unix(ctx context.Context, path string) (net.Conn, error) {
	for {
		conn, err := d.once(ctx, "unix", path, time.Until(d.end))
		if !errors.Is(err, unix.EAGAIN) {
			return conn, err
		}
		if time.Now().After(d.end) {
			return nil, os.ErrDeadlineExceeded
		}
		select {
		case <-time.After(min(queuePause, max(0, time.Until(d.end)))):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// addresses returns those of the host, in the families that are wanted.
func (d *dial) addresses(ctx context.Context) ([]netip.Addr, error) {
	name := d.spec.host()
	if name == "localhost" { // without a question
		return d.wanted(peer.Places(name))
	}
	if at, err := netip.ParseAddr(name); err == nil {
		return d.wanted([]netip.Addr{at.Unmap()})
	}
	if lookups.Add(1) > maxLookups {
		lookups.Add(-1)
		return nil, unix.EAGAIN
	}
	defer lookups.Add(-1)
	ctx, cancel := context.WithDeadline(ctx, d.end)
	defer cancel()
	network := map[int64]string{0: "ip", 4: "ip4", 6: "ip6"}[d.spec.Family]
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, name)
	if err != nil && time.Now().After(d.end) {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return d.wanted(found)
}

// wanted returns the first of the addresses that have a wanted family.
func (d *dial) wanted(all []netip.Addr) (some []netip.Addr, err error) {
	for _, at := range all {
		if isWanted(at, d.spec.Family) && len(some) < maxAddresses {
			some = append(some, at)
		}
	}
	if len(some) == 0 {
		err = &net.DNSError{Err: "no address of the family", Name: d.spec.host(), IsNotFound: true}
	}
	return some, err
}

// isWanted reports whether an address has a family: 4, 6 or, for any, 0.
func isWanted(at netip.Addr, family int64) bool {
	is := int64(6)
	if at.Is4() {
		is = 4
	}
	return cmp.Or(family, is) == is
}
