package runtimetest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/internal/wire"
)

var floodRounds = flag.Int("runtimetest.floods", 1,
	"floods of each kind; from 2 on they are measured")

// floodFrames is the number of frames in each flood below.
const floodFrames = 2000

// burst has a context write the same bytes a number of times to its parent, once a file exists. An
// empty name of a file waits for none. The answer comes behind the bytes.
func (l *link) burst(id wire.ContextID, file, bytes string) *pending {
	l.t.Helper()
	p := l.callAt(id, "rt:execute", fmt.Sprintf(`import os, time, _mitogen as m
def f(kind, dst, src, handle, reply, payload):
    head = m.pack('>7L', m.MAGIC + kind, dst, src, src, handle, reply, len(payload))
    return head + payload.encode() + m.TRAILER
me = m.ME
rest = (%s) * %d
m.send(0, 4001)
while %q and not os.path.exists(%[3]q):
    time.sleep(0.001)
m.WRITE.acquire()
m.private(m.UP.w, 1)
while rest:
    rest = rest[os.write(m.UP.w, rest):]
m.private(m.UP.w)
m.WRITE.release()`, bytes, floodFrames, file))
	l.other(4001)
	return p
}

// A hop handles a few frames of a child before its siblings have their turn, however many it has
// read.
func TestTurns(t *testing.T) {
	on(t, []test{hopTest("answer beside floods", func(t *testing.T, l *link) {
		signal := filepath.Join(t.TempDir(), "go")
		const output = "f(0, 0, me, 17, 0, 'x')" // all of them fit into a pipe
		before, good, behind := l.child(first, l.py), l.child(first, l.py), l.child(first, l.py)
		floods := []*pending{l.burst(before, signal, output), l.burst(behind, signal, output)}
		answer := l.callAt(good, "rt:execute", fmt.Sprintf(
			"import _mitogen as m, os, time\nm.send(0, 4001)\n"+
				"while not os.path.exists(%q): time.sleep(.001)", signal))
		l.other(4001)
		hop := l.pid(first)
		if err := syscall.Kill(hop, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(hop, syscall.SIGCONT)
		written := func(id wire.ContextID) int { return number(t, l.pid(id), "io", "wchar") }
		least := map[wire.ContextID]int{before: written(before) + 31*floodFrames,
			behind: written(behind) + 31*floodFrames, good: written(good) + 30}
		if err := os.WriteFile(signal, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for id, n := range least {
			for end := time.Now().Add(patience); written(id) < n; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("context %d has written %d bytes, want %d", id, written(id), n)
				}
			}
		}
		syscall.Kill(hop, syscall.SIGCONT)
		answer.value()
		for _, id := range []wire.ContextID{before, behind} {
			if n := answer.printed[flow{id, wire.Stdout}]; n > 100 {
				t.Errorf("%d frames of a flood were before the answer of another context, want at most 100", n)
			}
		}
		for _, p := range floods {
			p.value()
		}
	})})
}

// besides are ways of a context to cost its hop something, and whether they are no budget's matter.
var besides = []struct {
	name, bytes string
	spared      bool
}{
	{"nothing", "m.EMPTY", true},
	{"output", "f(0, 0, me, 17, 0, 'x')", true},
	{"records", "f(0, 0, me, 19, 0, 'x' * 900)", true},
	{"empty records", "f(0, 0, me, 19, 0, '')", true},
	{"answers in parts", "f(4, 0, me, 1001, 0, 'x' * 900)", true},
	{"get module", "f(0, 0, me, 20, 0, 'nothing')", true},
	{"lost of nobody", "f(0, 0, me, 21, 0, 'xxxx' * 4)", true},
	{"parts for the hop", "f(4, 5, me, 4000, 0, 'x')", true},
	{"unknown handle", "f(0, 5, me, 4000, 1001, '')", true},
	{"credit", "f(0, 5, me, 3, 0, 'xxxxxxxx')", true},
	{"foreign bytes", "m.ZERO * 30", true},
	{"forged source", "f(0, 0, 99, 19, 0, '')", false},
	{"call of the hop", "f(0, 5, me, 1, 0, '')", false},
	{"malformed connect", "f(0, 5, me, 6, 1001, 'xxxx')", false},
	{"ping", "f(0, 5, me, 8, 1001, 'x')", false},
}

// Calls of a context are answered while another one floods their hop, and what costs a budget ends
// the flooder. With several rounds the test prints how long calls take beside each flood and at
// rest, in turn: docs/benchmarks.md.
func TestBesideFloods(t *testing.T) {
	py, ok := testpython.Default()
	if !ok {
		t.Skip("no Python")
	}
	rounds := *floodRounds
	for _, flood := range besides {
		t.Run(flood.name, func(t *testing.T) {
			l := start(t, py)
			good := l.child(first, py)
			var rest, beside []time.Duration
			call := func(all *[]time.Duration) {
				begun := time.Now()
				equal(t, "echo", l.callAt(good, "rt:echo", 1).value(), int64(1))
				*all = append(*all, time.Since(begun))
			}
			call(new([]time.Duration)) // loads what calls need
			most := 0
			for range rounds {
				bad := l.child(first, py)
				before := number(t, l.pid(first), "status", "VmRSS")
				p := l.burst(bad, "", flood.bytes)
				over := func() bool {
					l.mu.Lock()
					defer l.mu.Unlock()
					return p.done || len(l.lostLocked(bad)) > 0
				}
				for call(&beside); !over(); {
					call(&beside)
				}
				most = max(most, number(t, l.pid(first), "status", "VmRSS")-before)
				if flood.spared {
					l.kill(first, bad)
				} else {
					l.isLost(bad, "budget", "offences")
				}
				for len(rest) < len(beside) {
					call(&rest)
				}
			}
			if most > memory {
				t.Errorf("a flood has cost the hop %d KiB, want at most %d", most, memory)
			}
			if rounds > 1 {
				t.Logf("| %s | %d | %s | %s | %d |", flood.name, len(beside)/rounds, percentiles(rest),
					percentiles(beside), most)
			}
		})
	}
}

// percentiles returns columns: p50, p99 and the longest, in microseconds.
func percentiles(all []time.Duration) string {
	slices.Sort(all)
	var columns []string
	for _, d := range []time.Duration{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]} {
		columns = append(columns, fmt.Sprint(d.Microseconds()))
	}
	return strings.Join(columns, " | ")
}
