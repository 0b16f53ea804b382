package linksim

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Conditions are those of an emulated link, the same each way. The zero value is a good link.
type Conditions struct {
	Delay  time.Duration // one way
	Jitter time.Duration // up to this much more for each packet, which changes their order
	Rate   float64       // bytes a second; 0: any
	Queue  int           // packets that wait because of Rate; those beyond are lost; 0: 100
	Loss   float64       // share of packets that are lost
	Twice  float64       // share of packets that come twice
	Damage float64       // share of packets of which a bit is wrong, as their checksum shows
	// share of TCP's packets of which a bit of data is wrong, with a right checksum
	Forged float64
	Reset  float64 // share of TCP's packets in whose place both ends get a reset
	Size   int     // larger packets are lost, and nothing says so; 0: none
	Stall  bool    // all packets are lost
}

// defaultQueue is the length of the queue of a network interface of Linux, divided by ten.
const defaultQueue = 100

// An Emulator is a link of IP packets between two network namespaces, in user space: two TUN
// devices, and what happens between them. What it does by chance it does by its seed, as far as the
// ends send the same packets.
type Emulator struct {
	ends [2]*os.File
	ways [2]*way
	wg   sync.WaitGroup

	mu   sync.Mutex // protects following
	now  Conditions
	rand *rand.Rand
	lost int
}

// OpenTUN makes a TUN device in the network namespace of the calling thread. It goes away when the
// file is closed.
func OpenTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make network device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Emulate carries packets between two TUN devices, which are the emulator's from then on, until
// Close.
func Emulate(a, b *os.File, seed uint64) *Emulator {
	e := &Emulator{ends: [2]*os.File{a, b}, rand: rand.New(rand.NewPCG(seed, 1))}
	for i, dst := range []*os.File{b, a} {
		e.ways[i] = newWay(dst)
		e.wg.Go(e.ways[i].deliver)
	}
	for i, src := range e.ends {
		e.wg.Go(func() { e.read(src, i) })
	}
	return e
}

// Set changes the conditions, for packets that come from then on.
func (e *Emulator) Set(c Conditions) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = c
}

// Lost returns the number of packets so far that did not arrive, or not unchanged.
func (e *Emulator) Lost() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}

// Close ends the devices.
func (e *Emulator) Close() error {
	for _, w := range e.ways {
		w.close()
	}
	err := errors.Join(e.ends[0].Close(), e.ends[1].Close())
	e.wg.Wait()
	return err
}

// read takes what one end sends.
func (e *Emulator) read(src *os.File, from int) {
	b := make([]byte, 64<<10)
	for {
		n, err := src.Read(b)
		if err != nil {
			return
		}
		e.carry(append([]byte(nil), b[:n]...), from)
	}
}

// carry decides what becomes of a packet.
func (e *Emulator) carry(p []byte, from int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.now
	chance := func(share float64) bool { return share > 0 && e.rand.Float64() < share }
	forth, back := e.ways[from], e.ways[1-from]
	seg, isTCP := parseTCP(p)
	switch {
	case c.Stall, c.Size > 0 && len(p) > c.Size, chance(c.Loss):
		e.lost++
		return
	case chance(c.Damage):
		e.lost++
		p[e.rand.IntN(len(p))] ^= 1 << e.rand.IntN(8)
	case isTCP && len(seg.data()) > 0 && chance(c.Forged):
		e.lost++
		seg.data()[e.rand.IntN(len(seg.data()))] ^= 1 << e.rand.IntN(8)
		seg.seal()
	case isTCP && seg.acknowledges() && chance(c.Reset):
		e.lost++
		answer := seg.reset(true)
		back.put(answer, time.Now())
		p = seg.reset(false)
	}
	times := 1
	if chance(c.Twice) {
		times = 2
	}
	for range times {
		due, ok := forth.leaves(c, len(p))
		if !ok {
			e.lost++
			return
		}
		if c.Jitter > 0 {
			due = due.Add(time.Duration(e.rand.Int64N(int64(c.Jitter))))
		}
		forth.put(p, due)
	}
}

// A way is one direction of an Emulator.
type way struct {
	dst   *os.File
	wake  chan struct{}
	ended chan struct{}
	free  time.Time // when what was sent has left; the emulator's

	mu      sync.Mutex // protects following
	waiting packets
	count   uint64
}

func newWay(dst *os.File) *way {
	return &way{dst: dst, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (w *way) close() { close(w.ended) }

// leaves returns when a packet of n bytes arrives without jitter; false: the queue is full.
func (w *way) leaves(c *Conditions, n int) (time.Time, bool) {
	now := time.Now()
	if c.Rate <= 0 {
		return now.Add(c.Delay), true
	}
	if w.free.Before(now) {
		w.free = now
	}
	one := time.Duration(float64(n) / c.Rate * float64(time.Second))
	queue := c.Queue
	if queue == 0 {
		queue = defaultQueue
	}
	if w.free.Sub(now) > time.Duration(queue)*one {
		return now, false
	}
	w.free = w.free.Add(one)
	return w.free.Add(c.Delay), true
}

func (w *way) put(p []byte, due time.Time) {
	w.mu.Lock()
	w.count++
	heap.Push(&w.waiting, packet{due, w.count, p})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// deliver writes packets when they are due, until close.
func (w *way) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.ended:
			return
		case <-w.wake:
		case <-timer.C:
		}
		for {
			p, wait := w.next()
			if p == nil {
				timer.Reset(wait)
				break
			}
			w.dst.Write(p) // what a device doesn't take is lost, as on any link
		}
	}
}

// next returns a packet that is due, or how long none is.
func (w *way) next() ([]byte, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(w.waiting[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&w.waiting).(packet).data, 0
}

type packet struct {
	due   time.Time
	count uint64
	data  []byte
}

// packets is a heap: what is due first, and of those what came first, is at its top.
type packets []packet

func (p packets) Len() int { return len(p) }

func (p packets) Less(i, j int) bool {
	if !p[i].due.Equal(p[j].due) {
		return p[i].due.Before(p[j].due)
	}
	return p[i].count < p[j].count
}

func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }

func (p *packets) Push(x any) { *p = append(*p, x.(packet)) }

func (p *packets) Pop() any {
	last := (*p)[len(*p)-1]
	(*p)[len(*p)-1] = packet{}
	*p = (*p)[:len(*p)-1]
	return last
}

// A segment is a packet of IPv4 that holds TCP's (RFC 791, RFC 9293).
type segment struct {
	ip  []byte // the whole packet
	tcp []byte // of it, what comes behind IP's header
}

func parseTCP(p []byte) (segment, bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_TCP {
		return segment{}, false
	}
	head := int(p[0]&15) * 4
	if head < 20 || len(p) < head+20 || len(p) < head+int(p[head+12]>>4)*4 {
		return segment{}, false
	}
	return segment{p, p[head:]}, true
}

func (s segment) data() []byte { return s.tcp[int(s.tcp[12]>>4)*4:] }

const (
	flagRST = 4
	flagACK = 16
)

// acknowledges tells whether it belongs to a connection that is open at both ends.
func (s segment) acknowledges() bool { return s.tcp[13]&flagACK != 0 && s.tcp[13]&flagRST == 0 }

// reset makes the segment that ends the connection: for its receiver, or, back, for its sender.
func (s segment) reset(back bool) []byte {
	head := len(s.ip) - len(s.tcp)
	p := append([]byte(nil), s.ip[:head+20]...)
	r := segment{p, p[head:]}
	if back {
		swap(p[12:16], p[16:20])
		swap(r.tcp[0:2], r.tcp[2:4])
		copy(r.tcp[4:8], s.tcp[8:12]) // the sender expects the acknowledged number next
	}
	r.tcp[12], r.tcp[13] = 5<<4, flagRST
	binary.BigEndian.PutUint32(r.tcp[8:], 0)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], ^fold(sum(p[:head])))
	r.seal()
	return p
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// seal makes TCP's checksum right.
func (s segment) seal() {
	binary.BigEndian.PutUint16(s.tcp[16:], 0)
	total := sum(s.ip[12:20]) + unix.IPPROTO_TCP + uint32(len(s.tcp)) + sum(s.tcp)
	binary.BigEndian.PutUint16(s.tcp[16:], ^fold(total))
}

func sum(b []byte) (total uint32) {
	for ; len(b) > 1; b = b[2:] {
		total += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		total += uint32(b[0]) << 8
	}
	return total
}

func fold(total uint32) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
