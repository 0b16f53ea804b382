package runtimetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// plan is the content of CONNECT for a hop (docs/protocol/bootstrap.md section 6).
type plan map[string]any

// plan is one for a context on py without a terminal.
func (l *link) plan(hop, id wire.ContextID, py interp) plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	parents := append([]uint32{uint32(hop)}, l.parents[hop]...)
	l.parents[id] = parents
	cfg := boot.Config{ID: uint32(id), Parents: parents, Name: fmt.Sprintf("hop%d", id),
		MaxMessage: wire.MaxMessage,
		Heartbeat:  l.beat, BusyTimeout: l.busy, LogLevel: 20}
	return plan{"name": cfg.Name, "argv": boot.Command([]string{py.Path}, boot.Pipe),
		"env": map[string]any{}, "tty": false, "wait": false,
		"prompts": []any{}, "timeout": patience.Seconds(), "near": true, "head": boot.Behind(cfg)}
}

// dialogue gives p a terminal on which script runs before the context starts.
func (p plan) dialogue(script string, prompts ...any) plan {
	argv := append([]string{}, p["argv"].([]string)...)
	argv[2] = script + "\n" + argv[2]
	p["argv"], p["tty"], p["prompts"] = argv, true, prompts
	return p
}

// learnsToSpawn has the first context load what makes it a hop.
func (l *link) learnsToSpawn() {
	l.t.Helper()
	l.push(first, "_mitogen_spawn")
	l.push(first, "_mitogen_fork")
	l.push(first, "_mitogen_asking")
	// there is no such child
	l.send(wire.Frame{Dst: first, Handle: wire.Kill, Payload: wire.AppendU32(nil, uint32(1<<30))})
	l.call("rt:execute", "import _mitogen as m\n"+
		"m.__dict__.pop('asking', 0) # names of core\nm.load_asking()").value()
}

// believe has the first context take every program for a program that asks: programs of tests
// aren't setuid.
func (l *link) believe() {
	l.t.Helper()
	l.learnsToSpawn()
	l.call("rt:execute", "import _mitogen as m\nm.asking = lambda pid, names: m.ASKS").value()
}

// prompt is an element of a plan's prompts; a nil answer is none.
func prompt(needle string, answer any) pyvalue.Tuple {
	if s, ok := answer.(string); ok {
		answer = []byte(s)
	}
	return pyvalue.Tuple{[]byte(needle), answer}
}

// newID gives out ids of contexts.
func (l *link) newID() wire.ContextID {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id++
	return l.id
}

// connect sends CONNECT, and what a hop needs for it.
func (l *link) connect(hop, id wire.ContextID, p plan) *pending {
	l.t.Helper()
	l.push(hop, "_mitogen_spawn")
	l.push(hop, "_mitogen_fork")
	l.push(hop, "_mitogen_asking")
	b, err := pickle.Append(wire.AppendConnect(nil, id, nil), map[string]any(p), pickle.Proto2Both)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.request(wire.Frame{Dst: hop, Handle: wire.Connect, Payload: b})
}

// child starts a context below hop and waits until it is there.
func (l *link) child(hop wire.ContextID, py interp) wire.ContextID {
	l.t.Helper()
	id := l.newID()
	l.connect(hop, id, l.plan(hop, id, py))
	l.arrives(id)
	return id
}

// arrives waits for HELLO.
func (l *link) arrives(id wire.ContextID) {
	l.t.Helper()
	l.await(fmt.Sprintf("HELLO of %d", id), func() bool { return l.hellos[id] != nil })
}

func (l *link) pid(id wire.ContextID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	pid, _ := l.hellos[id].Get("pid")
	n, _ := pid.(int64)
	return int(n)
}

// kill ends a context by its hop.
func (l *link) kill(hop, id wire.ContextID) {
	l.t.Helper()
	l.send(wire.Frame{Dst: hop, Handle: wire.Kill, Payload: wire.AppendU32(nil, id)})
	l.isLost(id, "killed")
}

// isLost waits for LOST and demands that its text holds words.
func (l *link) isLost(id wire.ContextID, words ...string) {
	l.t.Helper()
	l.await(fmt.Sprintf("LOST for %d", id), func() bool { return len(l.lostLocked(id)) > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	reports := l.lostLocked(id)
	equal(l.t, fmt.Sprintf("times that %d was reported", id), len(reports), 1)
	contains(l.t, "LOST", reports[0], words...)
}

func (l *link) lostLocked(id wire.ContextID) (reports []string) {
	for _, r := range l.lost {
		if r.id == id {
			reports = append(reports, r.why)
		}
	}
	return reports
}

// failsTo demands the ERROR that answers CONNECT, and returns its text.
func (p *pending) failsTo(what string, status any, words ...string) string {
	p.t.Helper()
	a := p.wait()
	if a.kind != wire.Error {
		p.t.Fatalf("%v %.300q instead of an error", a.kind, a.payload)
	}
	v, ok := p.decode(a.payload).(pyvalue.Tuple)
	if !ok || len(v) != 4 {
		p.t.Fatalf("not (what, status, text, reached): %v", v)
	}
	p.reached, _ = v[3].(int64)
	equal(p.t, "what", v[0], what)
	if status != nil {
		equal(p.t, "status", v[1], status)
	}
	text, _ := v[2].(string)
	contains(p.t, "text", text, words...)
	return text
}

// openFiles counts descriptors without libffi's: as of its newest release, libffi keeps its own
// file open once package ctypes has made a callback.
const openFiles = "len([1 for n in os.listdir('/proc/self/fd') " +
	"if os.path.lexists('/proc/self/fd/' + n)" +
	" and 'libffi' not in os.readlink('/proc/self/fd/' + n)])"

// hopTest demands that after run the hop keeps nothing of its children.
func hopTest(name string, run func(t *testing.T, l *link)) test {
	return test{name, func(t *testing.T, l *link) {
		fds := func() any { return l.call("rt:evaluate", openFiles).value() }
		// there is a guard, which has a file
		l.call("rt:execute", "import os\nfor fd in os.pipe(): os.close(fd)").value()
		before := fds()
		run(t, l)
		l.in(t).endChildren()
		equal(t, "open fds", fds(), before)
		equal(t, "zombies", len(zombies(l.cmd.Process.Pid)), 0)
		const tables = "(lambda m: str([len(m.ROUTES), len(m.CHILDREN), len(m.STREAMS), len([k for k " +
			"in m.FLOWS if k[1] > 1000])]))(sys.modules['_mitogen'])"
		equal(t, "routes, children, streams, flows", fmt.Sprint(l.call("rt:evaluate", tables).value()),
			"[0, 0, 1, 0]")
	}}
}

// endChildren kills what is left below the first context.
func (l *link) endChildren() {
	l.t.Helper()
	l.mu.Lock()
	var left []wire.ContextID
	for id, parents := range l.parents {
		if id != first && parents[0] == uint32(first) && l.hellos[id] != nil &&
			len(l.lostLocked(id)) == 0 {
			left = append(left, id)
		}
	}
	l.mu.Unlock()
	for _, id := range left {
		l.kill(first, id)
	}
}

// line returns the argv of a shell command.
func line(words ...string) []string {
	return append([]string{"sh", "-c"}, strings.Join(words, "; "))
}
