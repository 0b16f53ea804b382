package ownfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// endlessPipe is a pipe that holds whatever is written to it.
type endlessPipe struct {
	mu    sync.Mutex // protects following
	more  *sync.Cond
	b     bytes.Buffer
	ended bool
}

func newEndlessPipe() *endlessPipe {
	p := &endlessPipe{}
	p.more = sync.NewCond(&p.mu)
	return p
}

func (p *endlessPipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return len(b), nil
	}
	defer p.more.Broadcast()
	return p.b.Write(b)
}

func (p *endlessPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.b.Len() == 0 && !p.ended {
		p.more.Wait()
	}
	return p.b.Read(b)
}

func (p *endlessPipe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.more.Broadcast()
}

// groupPeer plays the other side of a member.
type groupPeer struct {
	down, up *endlessPipe
	wants    []uint32
	sums     map[uint32][]byte
	// does plays an answer to the nth kindAsked in place of an honest one; nil: it is honest.
	does func(p *groupPeer, nth int)

	member *SyncMember
	files  []string // "name content", as they came
	err    error    // of Done, once it was called
	dones  int
	cut    bool
	told   []string
}

func (p *groupPeer) say(kind byte, parts ...[]byte) { p.up.Write(record(kind, parts...)) }

func (p *groupPeer) needs() {
	for _, n := range p.wants {
		p.say(kindNeed, binary.BigEndian.AppendUint32(nil, n), p.sums[n])
	}
}

func (p *groupPeer) play() {
	for rd, nth, name := newReader(p.down), 0, ""; ; {
		kind, b, err := rd.next()
		if err != nil {
			return
		}
		switch kind {
		case kindSmall:
			name, rest, _ := parsePair(b[attrSize+digestSize:])
			p.files = append(p.files, name+" "+string(rest))
		case kindLarge:
			name = string(b[attrSize+8:])
		case kindCopy:
			name += fmt.Sprintf(" old %d", binary.BigEndian.Uint32(b[8:]))
		case kindPiece:
			name += fmt.Sprintf(" new %d", len(b))
		case kindEnd:
			p.files = append(p.files, name)
		case kindDone:
			p.say(kindDone)
			p.up.Close()
		case kindAsked:
			if nth++; p.does != nil {
				p.does(p, nth)
				continue
			}
			if nth == 1 {
				p.needs()
			}
			p.say(kindAsked)
		}
	}
}

// groupFiles has files 0 to 4 in the order of their names; "e" is large.
var groupFiles = fstest.MapFS{"a": {Data: []byte("A")}, "b": {Data: []byte("B")},
	"c": {Data: []byte("C")}, "d": {Data: []byte("D")},
	"e": {Data: bytes.Repeat([]byte("0123456789abcdef"), 3*piece/16)}}

// syncGroup has peers get groupFiles, and returns the bytes that were written, once for all.
func syncGroup(t *testing.T, ctx context.Context, patience time.Duration, peers []*groupPeer) int {
	t.Helper()
	var mu sync.Mutex
	written := 0
	of := map[*SyncMember]*groupPeer{}
	count := func(w io.Writer) io.Writer {
		return writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			written += len(b)
			return w.Write(b)
		})
	}
	var members []*SyncMember
	var playing sync.WaitGroup
	for _, p := range peers {
		p.down, p.up = newEndlessPipe(), newEndlessPipe()
		m := &SyncMember{From: p.up, To: count(p.down)}
		p.member = m
		m.Failed = func(path string, err error) { p.told = append(p.told, path) }
		m.Changed = func(string, bool) {}
		m.CutOff = func() {
			p.cut = true
			p.up.Close()
		}
		m.Done = func(_ Totals, err error) {
			p.err = err
			p.dones++
		}
		of[m], members = p, append(members, m)
		playing.Go(p.play)
	}
	g := SyncGroup{Patience: patience}
	g.Open = func(some []*SyncMember) (io.Writer, func(), error) {
		var all []io.Writer
		for _, m := range some {
			if of[m].dones > 0 {
				t.Errorf("a member that is done is written to")
			}
			all = append(all, of[m].down)
		}
		return count(io.MultiWriter(all...)), func() {}, nil
	}
	g.Sync(ctx, "dest", Source{FS: groupFiles, Path: ".", Label: "src"}, members)
	for _, p := range peers {
		p.down.Close()
	}
	playing.Wait()
	for i, p := range peers {
		if p.dones != 1 {
			t.Errorf("peer %d: got Done %d times, want once", i, p.dones)
		}
	}
	return written
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// Each member gets what it wants, in the form in which it wants that, and what several want alike
// is written once.
func TestSyncGroup(t *testing.T) {
	var old []byte // sums of a file that has the first half of e
	data := groupFiles["e"].Data
	old = append(old, number(4096)...)
	for at := 0; at < piece; at += 4096 {
		old = binary.BigEndian.AppendUint64(old, sumOfBlock(data[at:at+4096]))
	}
	with := func(sums []byte, wants ...uint32) *groupPeer {
		return &groupPeer{wants: wants, sums: map[uint32][]byte{4: sums}}
	}
	small := []string{"a A", "b B", "c C", "d D"}
	whole := fmt.Sprint("e", strings.Repeat(fmt.Sprint(" new ", piece), 3))
	for name, tt := range map[string]struct {
		peers []*groupPeer
		want  [][]string
		large int // bytes of e that are written
	}{
		"alike": {[]*groupPeer{with(nil, 0, 1, 2, 3, 4), with(nil, 0, 1, 2, 3, 4),
			with(nil, 4, 3, 2, 1, 0)},
			[][]string{append(small, whole), append(small, whole), append(small, whole)}, 3 * piece},
		"nothing": {[]*groupPeer{with(nil), with(nil)}, [][]string{nil, nil}, 0},
		"apart":   {[]*groupPeer{with(nil, 0), with(nil, 1)}, [][]string{small[:1], small[1:2]}, 0},
		"in part": {[]*groupPeer{with(nil, 0, 4), with(nil, 1, 4), with(nil, 2)},
			[][]string{{"a A", whole}, {"b B", whole}, {"c C"}}, 3 * piece},
	} {
		written := syncGroup(t, t.Context(), time.Minute, tt.peers)
		for i, p := range tt.peers {
			slices.Sort(p.files)
			if p.err != nil || !slices.Equal(p.files, tt.want[i]) {
				t.Errorf("%s: peer %d: got %q, %v, want %q", name, i, p.files, p.err, tt.want[i])
			}
		}
		if written < tt.large || written > tt.large+2000 {
			t.Errorf("%s: got %d bytes written, want %d and some", name, written, tt.large)
		}
	}
	peers := []*groupPeer{with(old, 4), with(nil, 4), with(old, 4), with(nil, 4)}
	written := syncGroup(t, t.Context(), time.Minute, peers)
	for i, p := range peers {
		if byOld := len(p.files) == 1 && strings.Contains(p.files[0], "old"); p.err != nil ||
			byOld != (i%2 == 0) {
			t.Errorf("old: peer %d: got %q, %v", i, p.files, p.err)
		}
	}
	if a, b := peers[0].member.sums[4], peers[2].member.sums[4]; &a[0] != &b[0] {
		t.Error("old: got the same sums of two members kept twice, want once")
	}
	if written > 6*piece {
		t.Errorf("old: got %d bytes written, want those of one file and one difference", written)
	}
}

// sumOfBlock returns the sums of a block, as a context has them.
func sumOfBlock(b []byte) uint64 {
	return uint64(adler32.Checksum(b))<<32 | uint64(crc32.ChecksumIEEE(b))
}

// A member is cut off once it has held up the rest for too long in all stages together, and not for
// time in which this process itself stood still.
func TestSyncGroupPatience(t *testing.T) {
	cut := 0
	m := &SyncMember{CutOff: func() { cut++ }}
	waiting := map[*SyncMember]bool{m: true}
	g := &SyncGroup{Patience: time.Hour, began: time.Now(), members: []*SyncMember{m, {}, {}}}
	g.cutOff(waiting, 24*time.Hour)
	if cut > 0 {
		t.Error("after a day's standstill: got cut off, want patience")
	}
	for stage := range 4 {
		for range int(g.Patience/g.tick())/3 - 1 {
			g.began = g.began.Add(-g.tick())
			g.cutOff(waiting, g.tick())
		}
		if want := stage / 3; cut != want {
			t.Errorf("after %d stages of nearly a third of the patience: got cut off %d times, want %d",
				stage+1, cut, want)
		}
		waiting = map[*SyncMember]bool{m: true}
	}
	g.cutOff(map[*SyncMember]bool{g.members[0]: true, g.members[1]: true, g.members[2]: true},
		g.tick())
	if g.members[1].held+g.members[1].heldLate > 0 {
		t.Error("all are waited for: got one that holds up the rest, want none")
	}
}

// A hostile member harms itself alone: the rest gets all, and waits no longer than patience.
func TestHostileSyncGroup(t *testing.T) {
	honest := func(p *groupPeer) {
		p.needs()
		p.say(kindAsked)
	}
	for name, tt := range map[string]struct {
		does   func(p *groupPeer, nth int)
		format bool // it has an error that says so
	}{
		"no such file": {func(p *groupPeer, _ int) { p.say(kindNeed, number(5)) }, true},
		"far away":     {func(p *groupPeer, _ int) { p.say(kindNeed, number(1<<32-1)) }, true},
		"twice": {func(p *groupPeer, _ int) {
			p.needs()
			p.needs()
		}, true},
		"once more when asked for no more": {func(p *groupPeer, nth int) {
			if honest(p); nth > 1 {
				p.say(kindNeed, number(0))
			}
		}, true},
		"a path out":   {func(p *groupPeer, _ int) { p.say(kindChanged, []byte("../x")) }, true},
		"no record":    {func(p *groupPeer, _ int) { p.up.Write(bytes.Repeat([]byte{255}, 100)) }, true},
		"the end":      {func(p *groupPeer, _ int) { p.up.Close() }, false},
		"done at once": {func(p *groupPeer, _ int) { p.say(kindDone) }, false},
		"silence":      {func(*groupPeer, int) {}, false},
		"silence later": {func(p *groupPeer, nth int) {
			if nth == 1 {
				honest(p)
			}
		}, false},
		"sums": {func(p *groupPeer, _ int) {
			p.say(kindNeed, number(4), []byte("sums"))
			p.say(kindAsked)
		}, true},
		"silence at a file of their own": {func(p *groupPeer, nth int) {
			if nth == 1 {
				p.say(kindNeed, number(4))
				p.say(kindAsked)
			}
		}, false},
	} {
		all := []uint32{0, 1, 2, 3}
		bad, too := &groupPeer{wants: all, does: tt.does}, &groupPeer{wants: all, does: tt.does}
		peers := []*groupPeer{{wants: all}, bad, {wants: all}, {wants: all[:2]}, too}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		syncGroup(t, ctx, 100*time.Millisecond, peers)
		if ctx.Err() != nil {
			t.Fatalf("%s: waited in vain", name)
		}
		cancel()
		for i, p := range peers {
			if slices.Sort(p.files); p.does == nil && !p.cut &&
				(p.err != nil || len(p.files) != len(p.wants)) {
				t.Errorf("%s: peer %d: got %q, %v, want all", name, i, p.files, p.err)
			}
		}
		if tt.format != errors.Is(bad.err, ErrFormat) {
			t.Errorf("%s: got %v, want %v: %v", name, bad.err, ErrFormat, tt.format)
		}
		if silent := strings.HasPrefix(name, "silence"); bad.cut != silent {
			t.Errorf("%s: got cut off %v, want %v", name, bad.cut, silent)
		}
	}
}
