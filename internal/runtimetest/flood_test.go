package runtimetest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// flood has a context write the same bytes to its parent again and again, past its own queue, and
// read nothing. It never ends by itself. bytes is a Python expression in which f makes a frame.
func (l *link) flood(id wire.ContextID, bytes string) {
	l.t.Helper()
	l.callAt(id, "rt:execute", fmt.Sprintf(`import os, _mitogen as m
def f(kind, dst, src, handle, reply, payload):
    header = m.pack('>7L', m.MAGIC + kind, dst, src, src, handle, reply, len(payload))
    return header + payload.encode() + m.TRAILER
me = m.ME
data = %s
m.send(0, 4001)
m.claim()
m.private(m.UP.w, 1)
data *= 65536 // len(data) + 1
while 1:
    rest = data
    while rest:
        rest = rest[os.write(m.UP.w, rest):]`, bytes))
	l.other(4001)
}

// number returns a field of a file of /proc in its own unit.
func number(t *testing.T, pid int, file, field string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatalf("the process has ended: %v", err)
	}
	_, rest, ok := strings.Cut(string(b), field+":")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		t.Fatalf("/proc/%d/%s has no %s: %s", pid, file, field, b)
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// asleep tells whether a process waits for something.
func asleep(t *testing.T, pid int) bool {
	t.Helper()
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(state), ") S ")
}

// standstill waits until the process has written nothing for a while, and both it and its reader
// sleep. It returns how many bytes the process has written since it had written begun, and gives up
// at most.
func standstill(t *testing.T, pid, reader, begun, most int) int {
	t.Helper()
	last, since, end := 0, time.Now(), time.Now().Add(patience)
	for {
		n := number(t, pid, "io", "wchar") - begun
		switch {
		case n > most:
			return n
		case n != last || !asleep(t, pid) || !asleep(t, reader):
			last, since = n, time.Now()
		case time.Since(since) > 100*time.Millisecond:
			return n
		case time.Now().After(end):
			t.Fatalf("the process has written %d bytes, and neither goes on nor stops", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Of a flood that can't go up a hop takes in this many bytes at most, and of memory this many KiB.
const (
	taken  = 4 << 20
	memory = 20 << 10
)

// A hop whose link is stalled stops reading a child that floods it. When the link goes on, the
// other children are served too.
func TestFloodUp(t *testing.T) {
	var tests []test
	for name, bytes := range map[string]string{
		"records": "f(0, 0, me, 19, 0, 'x' * 900)",
		"empty":   "f(0, 0, me, 19, 0, '')",
		"answers": "f(4, 0, me, 1001, 0, 'x' * 900)",
		"parts":   "f(4, 5, me, 4000, 0, 'x')",
	} {
		tests = append(tests, hopTest(name, func(t *testing.T, l *link) { stalled(t, l, bytes) }))
	}
	on(t, tests)
}

func stalled(t *testing.T, l *link, bytes string) {
	bad, good := l.child(first, l.py), l.child(first, l.py)
	equal(t, "echo", l.callAt(good, "rt:echo", 1).value(), int64(1))
	equal(t, "echo", l.callAt(bad, "rt:echo", 1).value(), int64(1))
	hop, flooder := l.pid(first), l.pid(bad)
	before, begun := number(t, hop, "status", "VmRSS"), number(t, flooder, "io", "wchar")
	l.flood(bad, bytes)
	written, after := 0, 0
	func() {
		l.mu.Lock() // nothing is read from the hop
		defer l.mu.Unlock()
		written = standstill(t, flooder, hop, begun, taken)
		after = number(t, hop, "status", "VmRSS")
	}()
	if written > taken || after-before > memory {
		t.Errorf("the child has written %d bytes, and the hop took %d KiB of memory, while nothing "+
			"could go up",
			written, after-before)
	}
	for i := range 20 {
		equal(t, "echo", l.callAt(good, "rt:echo", i).value(), int64(i))
	}
	l.goes(bad)
}

// goes ends a context, unless its hop has done so.
func (l *link) goes(id wire.ContextID) {
	l.t.Helper()
	l.send(wire.Frame{Dst: first, Handle: wire.Kill, Payload: wire.AppendU32(nil, id)})
	l.await("end", func() bool { return len(l.lostLocked(id)) > 0 })
}

// A child that does not read its frames, or its answers, is ended, and no other child.
func TestFloodDown(t *testing.T) {
	on(t, []test{
		hopTest("not read", func(t *testing.T, l *link) {
			bad, good := l.child(first, l.py), l.child(first, l.py)
			l.callAt(bad, "rt:execute",
				"import _mitogen as m, time\nm.claim()\nm.send(0, 4001)\nwhile 1: time.sleep(1)")
			l.other(4001)
			before := number(t, l.pid(first), "status", "VmRSS")
			payload := make([]byte, wire.MaxPayload)
			for range 400 {
				l.send(wire.Frame{Dst: bad, Handle: 4000, Payload: payload})
			}
			l.isLost(bad, "budget", "does not read")
			equal(t, "echo", l.callAt(good, "rt:echo", 1).value(), int64(1))
			if after := number(t, l.pid(first), "status", "VmRSS"); after-before > 60<<10 {
				t.Errorf("the hop took %d KiB", after-before)
			}
		}),
		hopTest("refusals", func(t *testing.T, l *link) {
			bad, good := l.child(first, l.py), l.child(first, l.py)
			l.call("rt:execute", "import _mitogen as m\nm.QUEUE_LIMIT = 1 << 20").value()
			l.flood(bad, "f(0, 5, me, 4000, 1001, '')")
			l.isLost(bad, "budget", "does not read")
			equal(t, "echo", l.callAt(good, "rt:echo", 1).value(), int64(1))
			l.call("rt:execute", "import _mitogen as m\nm.QUEUE_LIMIT = 32 << 20").value()
		}),
	})
}

// A frame that no honest context sends costs a child its life; the rest go on.
func TestOffences(t *testing.T) {
	var tests []test
	for name, bytes := range map[string]string{
		"forged":  "f(0, 0, 99, 19, 0, '')",
		"refused": "f(0, 5, me, 1, 0, '')",
		"connect": "f(0, 5, me, 6, 1001, 'xxxx')",
	} {
		tests = append(tests, hopTest(name, func(t *testing.T, l *link) { offends(t, l, bytes) }))
	}
	on(t, tests)
}

func offends(t *testing.T, l *link, bytes string) {
	bad, good := l.child(first, l.py), l.child(first, l.py)
	equal(t, "echo", l.callAt(bad, "rt:echo", 1).value(), int64(1))
	records := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.logs)
	}
	before := records()
	l.flood(bad, bytes)
	l.isLost(bad, "budget", "1000 offences in 10 s")
	if n := records() - before; n < 100 || n > 110 {
		t.Errorf("%d records, want those of the first 100 offences", n)
	}
	equal(t, "echo", l.callAt(good, "rt:echo", 1).value(), int64(1))
}

// A hop keeps parts of values for handles that wait for that child, and no more than one message.
func TestParts(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py, limit(300_000))
		bad := l.child(first, py)
		kept := func() any {
			return l.call("rt:evaluate",
				"sum([p[0] for p in sys.modules['_mitogen'].PARTS.values()])").value()
		}
		l.call("rt:execute", "import mitogen, rt, _mitogen_files\nrt.mailboxes = [mitogen.Receiver(), "+
			"mitogen.Receiver()]\n"+
			"rt.pending = _mitogen_files.ask('r', 'p', 'x')").value()
		reply := l.call("rt:evaluate", "sys.modules['_mitogen_files'].REPLY").value().(int64)
		pong := l.call("rt:evaluate", "sys.modules['_mitogen'].PONG").value().(int64)
		boxes := l.call("rt:evaluate", "mailboxes[0].handle").value().(int64)
		piece := strings.Repeat("x", 1000)
		for _, h := range []int64{reply, pong} {
			l.forge(bad, fmt.Sprintf("(4, 5, %[1]d, %[1]d, %[2]d, 0, '%[3]s')", bad, h, piece))
		}
		l.callAt(bad, "rt:nothing").value()
		equal(t, "kept for handles that wait for others", kept(), int64(0))
		l.forge(bad, fmt.Sprintf("(4, 5, %[1]d, %[1]d, %[2]d, 0, '%[3]s')", bad, boxes, piece))
		l.callAt(bad, "rt:nothing").value()
		equal(t, "kept for a receiver", kept(), int64(1000))
		l.flood(bad, fmt.Sprintf("f(4, 5, me, %d, 0, 'x' * 1000) + f(4, 5, me, %d, 0, 'x' * 1000)", boxes,
			boxes+1))
		l.isLost(bad, "budget", "parts")
	})
}
