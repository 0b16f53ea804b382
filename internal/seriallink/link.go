package seriallink

import (
	"encoding/binary"
	"time"
)

// Bounds of a link.
const (
	maxWindow   = 15 // frames on the way: a terminal keeps 4,096 bytes that are not read
	minWindow   = 2
	firstWindow = 4
	maxProbes   = 6
	maxNoise    = 2 << 10 // bytes of noise that are kept
	maxTimeout  = 8 * time.Second
)

// Times of a link.
const (
	minTimeout = 100 * time.Millisecond // until a frame is sent again
	ackDelay   = 20 * time.Millisecond  // of an acknowledgement that may go with data
	fastTrip   = 350 * time.Millisecond // a round trip after which more may be under way
	slowTrip   = 500 * time.Millisecond // one after which less may be
	slackTime  = 25 * time.Millisecond  // by which lines are handed out before the line is free
)

// Options say what is known of a line.
type Options struct {
	Key  uint32        // of the link; both ends have the same
	Far  bool          // this is the end that the dialogue has started
	Rate int           // bytes a second; 0: as fast as they are taken
	Trip time.Duration // of a round trip, as far as it is known; 0: not known
	Idle time.Duration // of silence after which the other end is gone
}

// A Record is a piece of one of the streams that the link carries, in its order.
type Record struct {
	Kind Kind
	Data []byte
}

// Stats count what a link has seen.
type Stats struct {
	Lines, Again, Foreign int // frames sent, of these again; lines read that were no frames
	Eight                 bool
}

// sending is a numbered frame that isn't acknowledged yet.
type sending struct {
	Record
	at, gone    time.Time // when it was handed out, and when the line will have sent it
	first, last uint64    // places of its first and last sending among all
	lost, got   bool      // it is to be sent again; the other end holds it
}

// A Link is one end. It must be used by one goroutine at a time.
type Link struct {
	opt          Options
	mine, theirs uint32
	scan         scanner
	waiting      []Record

	sent       []sending // the first has number base
	base       uint64
	order      uint64 // of the last sending
	window     int
	trip, vary time.Duration
	timeout    time.Duration
	progress   time.Time // of the last acknowledgement, or of the first frame behind it
	free       time.Time // when the line will have sent all that was handed out
	lastSent   time.Time

	want    uint64
	held    map[uint64]Record
	due     int // frames to be acknowledged
	dueAt   time.Time
	urgent  bool // an acknowledgement must not wait
	lastGot time.Time

	eight, heardEight bool // the other end reads the 8-bit coding; this one has
	probes            int
	probeAt           time.Time
	left, full, known bool
	noise             []byte
	stats             Stats
}

// New returns an end of a link that begins at now.
func New(opt Options, now time.Time) *Link {
	l := &Link{opt: opt, window: firstWindow, held: map[uint64]Record{}, lastGot: now,
		lastSent: now, probeAt: now}
	l.mine, l.theirs = seeds(opt.Key)
	if opt.Far {
		l.mine, l.theirs = l.theirs, l.mine
	}
	l.timeout = max(minTimeout, 4*opt.Trip, 4*l.takes(maxLine))
	if opt.Trip == 0 {
		l.timeout = max(l.timeout, time.Second)
	}
	return l
}

// takes returns how long the line takes for n bytes.
func (l *Link) takes(n int) time.Duration {
	if l.opt.Rate <= 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(l.opt.Rate)
}

// Put queues data of a stream; it keeps a copy.
func (l *Link) Put(kind Kind, data []byte) {
	if n := len(l.waiting); n > 0 && l.waiting[n-1].Kind == kind {
		last := &l.waiting[n-1]
		fits := min(MaxPayload-len(last.Data), len(data))
		last.Data, data = append(last.Data, data[:fits]...), data[fits:]
		if len(data) == 0 {
			return
		}
	}
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), MaxPayload)
		l.waiting = append(l.waiting, Record{kind, append([]byte{}, data[:n]...)})
		data = data[n:]
	}
}

// Room tells whether more should be put: what waits here can't be overtaken any more.
func (l *Link) Room() bool { return len(l.waiting) < 4 }

// Drained tells whether the other end has all that was put.
func (l *Link) Drained() bool { return len(l.waiting) == 0 && len(l.sent) == 0 }

// Hold has further data be taken for lost, until it is called with false: there is no room for it.
func (l *Link) Hold(full bool) { l.full = full }

// Heard tells whether the other end was heard.
func (l *Link) Heard() bool { return l.known }

// Left tells whether the other end has ended the link.
func (l *Link) Left() bool { return l.left }

// Silent tells whether nothing was heard for too long.
func (l *Link) Silent(now time.Time) bool {
	return l.opt.Idle > 0 &&
		now.Sub(l.lastGot) > l.opt.Idle
}

// Noise returns the end of what came and was no frame.
func (l *Link) Noise() []byte { return l.noise }

// Stats returns the counters.
func (l *Link) Stats() Stats {
	s := l.stats
	s.Eight = l.eight
	return s
}

// Goodbye returns the lines that end the link at the other end.
func (l *Link) Goodbye() []byte {
	line := appendLine([]byte{endLine}, frame{kind: leave}, l.mine, false)
	return append(line, line[1:]...)
}

// Feed takes what came, and returns what is whole and in order.
func (l *Link) Feed(b []byte, now time.Time) (out []Record) {
	l.scan.feed(b, func(line []byte) {
		f, eight, ok := parseLine(line, l.theirs)
		switch {
		case !ok:
			l.skip(line)
		default:
			l.lastGot, l.known = now, true
			l.heardEight = l.heardEight || eight
			out = append(out, l.take(f, now)...)
		}
	})
	l.left = l.left || l.opt.Far && l.scan.farewell
	return out
}

func (l *Link) skip(line []byte) {
	if len(line) == 0 {
		return
	}
	l.stats.Foreign++
	l.noise = append(append(l.noise, line...), '\n')
	if over := len(l.noise) - maxNoise; over > 0 {
		l.noise = append(l.noise[:0], l.noise[over:]...)
	}
}

// take works one frame off.
func (l *Link) take(f frame, now time.Time) []Record {
	if f.heard {
		l.eight = true
	}
	l.acked(f, now)
	switch f.kind {
	case Data, Error, End:
		return l.numbered(f, now)
	case probe:
		l.urgent = true
	case leave:
		l.left = true
	}
	return nil
}

// numbered takes a frame with a number, which may not be the wanted one.
func (l *Link) numbered(f frame, now time.Time) (out []Record) {
	ahead := uint64(f.seq - uint8(l.want))
	if ahead >= maxWindow { // it was here before: its acknowledgement was lost
		l.urgent = true
		return nil
	}
	if l.full && f.kind == Data {
		return nil
	}
	if l.due++; l.due == 1 {
		l.dueAt = now.Add(ackDelay)
	}
	if ahead > 0 || len(l.held) > 0 {
		l.urgent = true
	}
	l.held[l.want+ahead] = Record{f.kind, f.payload}
	for {
		r, ok := l.held[l.want]
		if !ok {
			return out
		}
		delete(l.held, l.want)
		l.want++
		out = append(out, r)
	}
}

// acked takes what a frame says of those that were sent. A line keeps the order, so that what was
// sent before a frame that has come, and has not come itself, is lost.
func (l *Link) acked(f frame, now time.Time) {
	n := int(f.ack - uint8(l.base))
	if n > len(l.sent) {
		return // older than what is known
	}
	newest := uint64(0)
	for i := range n {
		newest = max(newest, l.settle(&l.sent[i], now))
	}
	l.sent, l.base = l.sent[n:], l.base+uint64(n)
	if f.kind == ack && len(f.payload) == 2 {
		bits := binary.BigEndian.Uint16(f.payload)
		for i := 1; i < len(l.sent); i++ {
			if bits&(1<<(i-1)) != 0 {
				newest = max(newest, l.settle(&l.sent[i], now))
			}
		}
	}
	if newest == 0 {
		return
	}
	l.progress = now
	l.timeout = max(minTimeout, l.trip+4*l.vary, 2*l.takes(maxLine))
	for i := range l.sent {
		if s := &l.sent[i]; !s.got && s.last < newest {
			s.lost = true
		}
	}
}

// settle notes that a frame has come, and returns its place if that wasn't known.
func (l *Link) settle(s *sending, now time.Time) uint64 {
	if s.got {
		return 0
	}
	s.got, s.lost = true, false
	if s.first == s.last {
		l.measure(now.Sub(s.at))
	}
	return s.first
}

// measure takes the time of a round trip.
func (l *Link) measure(d time.Duration) {
	if l.trip == 0 {
		l.trip, l.vary = d, d/2
	}
	l.vary += ((d - l.trip).Abs() - l.vary) / 4
	l.trip += (d - l.trip) / 8
	switch {
	case d < fastTrip:
		l.window = min(l.window+1, maxWindow)
	case d > slowTrip:
		l.window = max(l.window-1, minWindow)
	}
}

// Take returns the next line to write; nil: there is none before Next, or before Feed or Put.
func (l *Link) Take(now time.Time) []byte {
	if l.free.Sub(now) > l.slack() {
		return nil
	}
	line := l.next(now)
	if line == nil {
		return nil
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.takes(len(line)))
	l.lastSent = now
	l.stats.Lines++
	return line
}

func (l *Link) slack() time.Duration { return max(slackTime, l.takes(maxLine/2)) }

func (l *Link) next(now time.Time) []byte {
	if l.urgent {
		return l.acknowledge()
	}
	if i := l.again(now); i >= 0 {
		l.stats.Again++
		return l.send(i, now)
	}
	if !l.eight && l.probes < maxProbes && !now.Before(l.probeAt) {
		l.probes++
		l.probeAt = now.Add(max(300*time.Millisecond, l.timeout))
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		return l.line(frame{kind: probe, payload: all}, true)
	}
	if len(l.waiting) > 0 && len(l.sent) < l.window {
		if len(l.sent) == 0 {
			l.progress = now
		}
		l.sent = append(l.sent, sending{Record: l.waiting[0]})
		l.waiting = l.waiting[1:]
		return l.send(len(l.sent)-1, now)
	}
	if l.due > 1 || l.due > 0 && !now.Before(l.dueAt) || l.opt.Idle > 0 &&
		!now.Before(l.lastSent.Add(l.opt.Idle/4)) {
		return l.acknowledge()
	}
	return nil
}

// again returns which of sent is to be sent again; -1: none.
func (l *Link) again(now time.Time) int {
	for i := range l.sent {
		if l.sent[i].lost {
			return i
		}
	}
	if len(l.sent) == 0 || now.Before(l.expires()) {
		return -1
	}
	l.timeout = min(2*l.timeout, max(maxTimeout, 4*l.takes(maxLine)))
	return 0
}

// expires returns when the first of sent is taken for lost, though nothing says so.
func (l *Link) expires() time.Time {
	from := l.progress
	if gone := l.sent[0].gone; gone.After(from) {
		from = gone
	}
	return from.Add(l.timeout)
}

func (l *Link) send(i int, now time.Time) []byte {
	s := &l.sent[i]
	l.order++
	if s.at, s.last, s.lost = now, l.order, false; s.first == 0 {
		s.first = l.order
	}
	line := l.line(frame{kind: s.Kind, seq: uint8(l.base) + uint8(i), payload: s.Data}, l.eight)
	if s.gone = l.free; s.gone.Before(now) {
		s.gone = now
	}
	s.gone = s.gone.Add(l.takes(len(line)))
	return line
}

func (l *Link) acknowledge() []byte {
	f := frame{kind: ack}
	if len(l.held) > 0 {
		bits := uint16(0)
		for n := range l.held {
			bits |= 1 << (n - l.want - 1)
		}
		f.payload = binary.BigEndian.AppendUint16(nil, bits)
	}
	return l.line(f, l.eight)
}

// line writes f, which acknowledges what has come; a missing frame is told by acknowledge alone.
func (l *Link) line(f frame, eight bool) []byte {
	f.ack, f.heard = uint8(l.want), l.heardEight
	l.due, l.urgent = 0, l.urgent && f.kind != ack
	return appendLine(nil, f, l.mine, eight)
}

// Next returns when Take is to be called again, if nothing comes before.
func (l *Link) Next(now time.Time) time.Time {
	at := now.Add(time.Hour)
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if l.opt.Idle > 0 {
		earlier(l.lastSent.Add(l.opt.Idle / 4))
		earlier(l.lastGot.Add(l.opt.Idle))
	}
	if l.due > 0 {
		earlier(l.dueAt)
	}
	if len(l.sent) > 0 {
		earlier(l.expires())
	}
	if !l.eight && l.probes < maxProbes {
		earlier(l.probeAt)
	}
	if l.ready() {
		earlier(now)
	}
	if free := l.free.Add(-l.slack()); free.After(at) {
		at = free // nothing is handed out before
	}
	return at
}

// ready tells whether there is a line that waits for nothing but the line.
func (l *Link) ready() bool {
	for i := range l.sent {
		if l.sent[i].lost {
			return true
		}
	}
	return l.urgent || l.due > 1 || len(l.waiting) > 0 && len(l.sent) < l.window
}
