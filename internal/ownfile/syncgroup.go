package ownfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"time"
)

// SyncGroup has several peers make a directory as one is here, as SyncSender has one peer. What
// several members are to have alike is written once for them all: the questions, and then each file
// that they want in the same form. Before a member is written to otherwise than before, it has
// answered kindAsked: nothing of what was written is on the way any more.
type SyncGroup struct {
	Flags   Flags
	Exclude Exclude
	Delete  bool
	Sent    func(Totals) // is told from time to time what was sent, once for all; may be nil
	// Open returns a writer to all of some members, until end is called.
	Open func(some []*SyncMember) (w io.Writer, end func(), err error)
	// Patience bounds the time for which at most half of the members hold up the rest, before a
	// quarter of the whole time is added.
	Patience time.Duration

	members []*SyncMember
	asker   *SyncSender
	base    Totals // of what was sent before the present stage
	began   time.Time
	held    time.Duration // in which some members held up the rest
}

// SyncMember is a peer of a SyncGroup. Its functions may be called by any goroutine, by one at a
// time.
type SyncMember struct {
	From    io.Reader // what it says
	To      io.Writer // that it alone reads
	Failed  func(path string, err error)
	Changed func(path string, deleted bool)
	CutOff  func() // ends From, because the rest waits for this member
	// Done is called once. An error says why the conversation has ended before all was done.
	Done func(Totals, error)

	answers answers
	common  *commonSums // of the group

	mu     sync.Mutex // protects following
	over   bool       // Done was called
	totals Totals

	// What it has asked for, and not been sent; owned by Sync's goroutine between fences.
	whole []uint64 // a bit for each file that it wants whole
	sums  map[uint32][]byte
	extra []answer
	size  int // bytes of these

	// For how long it held up the rest, as one of at most half of the members, or of more; owned by
	// Sync's goroutine.
	held, heldLate time.Duration
}

// commonSums has the sums of members' old files once, however many members have the same: those of
// a fleet may take many MiB for each.
type commonSums struct {
	seed maphash.Seed

	mu    sync.Mutex // protects following
	known map[uint64][]byte
}

// one returns the sums that are equal to some and were seen first.
func (c *commonSums) one(sums []byte) []byte {
	hash := maphash.Bytes(c.seed, sums)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[hash]; bytes.Equal(known, sums) {
		return known
	}
	c.known[hash] = sums
	return sums
}

// syncItem is a file that was asked for; sums are of the old one's blocks, if there are any.
type syncItem struct {
	n    uint32
	sums []byte
}

// syncStage has files that the same members want.
type syncStage struct {
	members []*SyncMember
	items   []syncItem
}

// maxStages bounds the stages of several members. What doesn't fit goes to each by itself.
const maxStages = 64

// latePatience multiplies Patience for more than half of the members.
const latePatience = 6

// maxOwnStages bounds the members that are sent files of their own at the same time.
const maxOwnStages = 256

// Sync sends src to all members, and returns when each is done.
func (g *SyncGroup) Sync(ctx context.Context, dest string, src Source, members []*SyncMember) {
	g.began, g.members = time.Now(), members
	common := &commonSums{seed: maphash.MakeSeed(), known: map[uint64][]byte{}}
	for _, m := range members {
		m.common = common
		m.answers.more = make(chan struct{}, 1)
		go m.answers.read(m.From)
	}
	g.asker = g.sender(members)
	g.write(g.asker, members, func(s *SyncSender) error {
		flags := binary.BigEndian.AppendUint32(nil, uint32(g.Flags|Preserve))
		if err := s.W.record(kindSyncPut, flags, []byte(dest)); err != nil {
			return err
		}
		return s.ask(ctx, src)
	})
	members = g.fence(ctx, members)
	stages, own := g.plan(members)
	for _, st := range stages {
		some := slices.DeleteFunc(st.members, (*SyncMember).isOver)
		if len(some) == 0 {
			continue
		}
		g.write(g.sender(some), some, func(s *SyncSender) error { return s.sendAll(ctx, st.items) })
		g.fence(ctx, some)
	}
	deletes := g.Delete && g.asker.Totals.Failed == 0
	room := make(chan struct{}, maxOwnStages)
	var ends sync.WaitGroup
	for _, m := range slices.DeleteFunc(members, (*SyncMember).isOver) {
		ends.Go(func() {
			if len(own[m])+len(m.extra) > 0 {
				room <- struct{}{}
				defer func() { <-room }()
			}
			g.finish(ctx, m, own[m], deletes)
		})
	}
	ends.Wait()
}

// sender returns one whose files are those that were asked about, for some members.
func (g *SyncGroup) sender(some []*SyncMember) *SyncSender {
	s := &SyncSender{Flags: g.Flags, Exclude: g.Exclude, Delete: g.Delete}
	s.begin()
	if g.asker != nil {
		s.files, s.dirs = g.asker.files, g.asker.dirs
	}
	s.Failed = func(path string, err error) {
		for _, m := range some {
			m.failed(path, err)
		}
	}
	s.Changed = func(path string, deleted bool) {
		for _, m := range some {
			m.changed(path, deleted)
		}
	}
	return s
}

// write has s write to several members, and them answer kindAsked. An error is the members' own:
// who reads their answers finds it.
func (g *SyncGroup) write(s *SyncSender, some []*SyncMember, do func(*SyncSender) error) {
	w, end, err := g.Open(some)
	if err != nil {
		for _, m := range some {
			m.end(err)
		}
		return
	}
	s.W = NewWriter(w)
	if g.Sent != nil {
		s.Sent = func(t Totals) { g.Sent(g.base.plus(t)) }
	}
	if err = do(s); err == nil {
		err = s.W.record(kindAsked)
	}
	if err == nil {
		s.W.Flush()
	}
	end()
	if errors.Is(err, ErrFormat) { // by the sums that all of them have sent
		for _, m := range some {
			m.end(err)
		}
		return
	}
	g.base = g.base.plus(s.Totals)
	for _, m := range some {
		m.add(s.Totals)
	}
}

// fence waits until each of some has answered kindAsked, and returns those. Members that hold the
// rest up for too long are cut off: soon if they are at most half of all, else late, as they may
// have more to do.
func (g *SyncGroup) fence(ctx context.Context, some []*SyncMember) (left []*SyncMember) {
	some = slices.DeleteFunc(slices.Clone(some), (*SyncMember).isOver)
	arrived := make(chan *SyncMember, len(some))
	waiting := map[*SyncMember]bool{}
	for _, m := range some {
		waiting[m] = true
		go func() {
			if done, err := m.collect(ctx, len(g.asker.files)); done || err != nil {
				m.end(err)
			}
			arrived <- m
		}()
	}
	tick := time.NewTicker(g.tick())
	defer tick.Stop()
	for last := time.Now(); len(waiting) > 0; {
		select {
		case m := <-arrived:
			delete(waiting, m)
		case now := <-tick.C:
			g.cutOff(waiting, now.Sub(last))
			last = now
		}
	}
	return slices.DeleteFunc(some, (*SyncMember).isOver)
}

// tick separates two looks at the members that are waited for.
func (g *SyncGroup) tick() time.Duration { return max(g.Patience/100, time.Millisecond) }

// cutOff notes that waiting were waited for for some time more, and cuts off those that have held
// up the rest for too long, in this fence and in those before. Patience grows with the time in
// which no member held up the rest: else members could hold it up the longer, the longer they have.
func (g *SyncGroup) cutOff(waiting map[*SyncMember]bool, waited time.Duration) {
	alive := g.alive()
	if len(waiting) >= alive {
		return
	}
	// What exceeds a tick is time in which this process stood still and took no answers.
	waited = min(waited, g.tick())
	g.held += waited
	worked := time.Since(g.began) - g.held
	for m := range waiting {
		held, most := &m.held, g.Patience+worked/4
		if 2*len(waiting) > alive {
			held, most = &m.heldLate, latePatience*g.Patience+worked/2
		}
		if *held += waited; *held >= most {
			*held = 0
			m.CutOff()
		}
	}
}

// alive returns how many members aren't done.
func (g *SyncGroup) alive() (n int) {
	for _, m := range g.members {
		if !m.isOver() {
			n++
		}
	}
	return n
}

// plan returns what several members want alike, and else what each wants.
func (g *SyncGroup) plan(members []*SyncMember) (
	stages []*syncStage, own map[*SyncMember][]syncItem,
) {
	own = map[*SyncMember][]syncItem{}
	seed, byMembers := maphash.MakeSeed(), map[uint64]*syncStage{}
	for n := range uint32(len(g.asker.files)) {
		wants := map[uint64]*syncStage{} // by the form in which the file is wanted
		var forms []*syncStage           // the same, in the members' order
		for _, m := range members {
			sums, ok := m.wants(n)
			if !ok {
				continue
			}
			form := maphash.Bytes(seed, sums)
			if wants[form] == nil {
				wants[form] = &syncStage{items: []syncItem{{n, sums}}}
				forms = append(forms, wants[form])
			}
			wants[form].members = append(wants[form].members, m)
		}
		for _, f := range forms {
			id := idOf(seed, f.members)
			switch st := byMembers[id]; {
			case st != nil:
				st.items = append(st.items, f.items...)
			case len(f.members) > 1 && len(stages) < maxStages:
				byMembers[id] = f
				stages = append(stages, f)
			default:
				for _, m := range f.members {
					own[m] = append(own[m], f.items...)
				}
			}
		}
	}
	return stages, own
}

// idOf returns a number for members in an order.
func idOf(seed maphash.Seed, members []*SyncMember) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, m := range members {
		maphash.WriteComparable(&h, m)
	}
	return h.Sum64()
}

// finish sends a member what it alone is to have, and waits for its end.
func (g *SyncGroup) finish(ctx context.Context, m *SyncMember, own []syncItem, deletes bool) {
	s := g.sender([]*SyncMember{m})
	s.W = NewWriter(m.To)
	err := s.sendAll(ctx, own)
	if errors.Is(err, ErrFormat) { // by its sums
		m.end(err)
		return
	}
	for _, a := range m.extra {
		if err == nil && deletes {
			err = s.remove(a)
		}
	}
	if err == nil {
		err = s.W.record(kindDone)
	}
	if err == nil {
		s.W.Flush()
	}
	m.add(s.Totals)
	// If it couldn't be written to, it has ended before it had taken all, and has said why.
	done, err := m.collect(ctx, 0)
	if err == nil && !done {
		err = fmt.Errorf("%w: %q twice", ErrFormat, kindAsked)
	}
	m.end(err)
}

// sendAll sends files that were asked for.
func (s *SyncSender) sendAll(ctx context.Context, items []syncItem) error {
	for _, it := range items {
		f := s.files[it.n]
		if err := s.send(ctx, s.item(f), s.dirs[f.dir].there, it.sums); err != nil {
			return err
		}
	}
	return nil
}

// collect takes a member's answers up to kindAsked, or to its end. It may ask for files up to a
// number.
func (m *SyncMember) collect(ctx context.Context, files int) (done bool, err error) {
	for {
		a, err := m.answers.next(ctx)
		if err == nil {
			err = m.take(a, files)
		}
		if err != nil || a.kind == kindDone || a.kind == kindAsked {
			return a.kind == kindDone, err
		}
	}
}

// take notes what an answer asks for.
func (m *SyncMember) take(a answer, files int) error {
	switch a.kind {
	case kindFailure:
		m.failed(a.text, a.err)
	case kindChanged:
		if err := checkPath(a.text); err != nil {
			return err
		}
		m.changed(a.text, false)
	case kindExtra:
		m.extra = append(m.extra, a)
		m.size += 64 + len(a.text)
	case kindNeed:
		if _, twice := m.wants(a.n); int(a.n) >= files || twice {
			return fmt.Errorf("%w: file %d of %d was asked for, or twice", ErrFormat, a.n, files)
		}
		if m.whole == nil {
			m.whole, m.sums = make([]uint64, (files+63)/64), map[uint32][]byte{}
		}
		if m.size += 64 + len(a.sums); len(a.sums) > 0 && m.size < maxAnswers/2 {
			m.sums[a.n] = m.common.one(a.sums)
		} else {
			m.size -= len(a.sums)
			m.whole[a.n/64] |= 1 << (a.n % 64)
		}
	}
	if m.size > maxAnswers {
		return fmt.Errorf("%w: answers of more than %d bytes", ErrFormat, maxAnswers)
	}
	return nil
}

// wants tells whether a file was asked for, and with which sums.
func (m *SyncMember) wants(n uint32) (sums []byte, ok bool) {
	if i := int(n / 64); i < len(m.whole) && m.whole[i]&(1<<(n%64)) != 0 {
		return nil, true
	}
	sums, ok = m.sums[n]
	return sums, ok
}

func (m *SyncMember) isOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.over
}

// end calls Done.
func (m *SyncMember) end(err error) {
	m.mu.Lock()
	m.over = true
	t := m.totals
	m.mu.Unlock()
	m.Done(t, err)
}

func (m *SyncMember) add(t Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totals = m.totals.plus(t)
}

func (m *SyncMember) failed(path string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.Failed(path, err)
	}
}

func (m *SyncMember) changed(path string, deleted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.Changed(path, deleted)
	}
}

func (t Totals) plus(u Totals) Totals {
	return Totals{t.Files + u.Files, t.Dirs + u.Dirs, t.Links + u.Links, t.Bytes + u.Bytes,
		t.Failed + u.Failed}
}
