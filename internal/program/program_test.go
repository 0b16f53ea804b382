package program

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"golang.org/x/sys/unix"
)

// patience limits each step of a test, on a loaded machine too.
const patience = 30 * time.Second

// played is a program that a test plays.
type played struct {
	t     *testing.T
	conn  *net.UnixConn
	sc    *wire.Scanner
	reply wire.Handle
	ended chan error // holds what Serve returned
}

func play(t *testing.T) *played {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
	}
	p := &played{t: t, conn: conns[0], sc: wire.NewScanner(conns[0]), reply: 1 << 30,
		ended: make(chan error, 1)}
	go func() { p.ended <- Serve(context.Background(), conns[1], Options{Version: "test"}) }()
	p.conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { p.conn.Close() })
	return p
}

// end closes the program's end and returns Serve's error.
func (p *played) end() error {
	p.conn.Close()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.t.Fatal("Serve doesn't return")
		return nil
	}
}

func (p *played) pickle(v any) []byte {
	b, err := pickle.Append(nil, v, pickle.Proto4)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// do returns a DO and its reply handle.
func (p *played) do(name string, args map[string]any) (wire.Frame, wire.Handle) {
	p.reply++
	return wire.Frame{Handle: wire.Do, Reply: p.reply, Payload: p.pickle(pyvalue.Tuple{name, args})},
		p.reply
}

// call returns a CALL and its reply handle.
func (p *played) call(id wire.ContextID, target string, args ...any) (wire.Frame, wire.Handle) {
	p.reply++
	payload := append([]byte(target), 0)
	if len(args) > 0 {
		payload = append(payload, p.pickle(pyvalue.Tuple{pyvalue.Tuple(args), map[string]any{}})...)
	}
	return wire.Frame{Dst: id, Handle: wire.Call, Reply: p.reply, Payload: payload}, p.reply
}

// write sends frames in one write.
func (p *played) write(frames ...wire.Frame) {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// until reads up to the last frame for a handle. It returns that, and the kinds and handles of all
// before.
func (p *played) until(h wire.Handle) (wire.Frame, []string) {
	p.t.Helper()
	var before []string
	for {
		f, err := p.sc.Next()
		if err != nil {
			p.t.Fatalf("waiting for handle %d, after %q: %v", h, before, err)
		}
		if f.Handle == h && f.Kind != wire.Item && f.Kind != wire.Part {
			f.Payload = append([]byte(nil), f.Payload...)
			return f, before
		}
		before = append(before, fmt.Sprintf("%v %v from %d", f.Kind, f.Handle, f.Src))
	}
}

func (p *played) value(f wire.Frame) any {
	p.t.Helper()
	if f.Kind == wire.Dead {
		p.t.Fatalf("got DEAD %q, want a value", f.Payload)
	}
	v, err := pickle.Decode(f.Payload, pickle.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// dict returns a pickled dict.
func (p *played) dict(b []byte) map[string]any {
	p.t.Helper()
	d := map[string]any{}
	if err := pickle.Unmarshal(b, pickle.Limits{}, &d); err != nil {
		p.t.Fatalf("decode the dict %q: %v", b, err)
	}
	return d
}

func (p *played) configured(dirs ...string) wire.Frame {
	own := []any{}
	for _, d := range dirs {
		own = append(own, d)
	}
	f, _ := p.do("configure", map[string]any{"own": own})
	return f
}

func (p *played) local(id int) (wire.Frame, wire.Handle) {
	return p.do("connect", map[string]any{"id": id, "target": "local"})
}

// Configure, connect, what the module needs and the call leave in one write, before anything has
// come back; the module is the program's own.
func TestOneWriteToTheFirstResult(t *testing.T) {
	dir := t.TempDir()
	source := "import other\ndef double(n):\n    print('doubling')\n    return other.TWO * n\n"
	for name, text := range map[string]string{"mine.py": source, "other.py": "TWO = 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := play(t)
	connect, up := p.local(1)
	call, reply := p.call(1, "mine:double", 21)
	p.write(p.configured(dir), connect,
		wire.Frame{Handle: wire.Prepare, Payload: wire.AppendPrepare(nil, 1, "mine", nil)}, call)
	info, _ := p.until(up)
	if got := p.dict(info.Payload)["pid"]; got == int64(0) || got == nil {
		t.Errorf("pid of the context: got %v, want its number", got)
	}
	answer, before := p.until(reply)
	if got := p.value(answer); got != int64(42) {
		t.Errorf("got %v, want 42", got)
	}
	if !strings.Contains(strings.Join(before, "\n"), "STDOUT from 1") {
		t.Errorf("before the answer came %q, want what the call wrote", before)
	}
	if err := p.end(); err != nil {
		t.Errorf("end: got %v, want none", err)
	}
}

// Source that only the program has, such as what was typed at a prompt, brings what it imports.
func TestPreparedText(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "helper.py"), []byte("NAME = 'there'\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	text := "def where():\n    import helper\n    return helper.NAME\n"
	p := play(t)
	connect, _ := p.local(1)
	module := wire.Module{Name: "_cell_1", Path: "<cell 1>", Form: wire.FormModuleText,
		Rest: []byte(text)}
	call, reply := p.call(1, "_cell_1:where")
	p.write(p.configured(dir), connect,
		wire.Frame{Handle: wire.Prepare, Payload: wire.AppendPrepare(nil, 1, "_cell_1", []byte(text))},
		wire.Frame{Dst: 1, Handle: wire.LoadModule, Payload: module.Append(nil)}, call)
	answer, _ := p.until(reply)
	if got := p.value(answer); got != "there" {
		t.Errorf("got %v, want there", got)
	}
}

// A context that doesn't come up, or ends, is told of first; then each request there is answered,
// once.
func TestLostThenDead(t *testing.T) {
	p := play(t)
	connect, up := p.do("connect",
		map[string]any{"id": 1, "target": "local",
			"options": map[string]any{"python": []any{"/nowhere/python"}}})
	call, reply := p.call(1, "os:getpid")
	p.write(p.configured(), connect, call)
	lost, _ := p.until(wire.Lost)
	if lost.Src != 1 || binary.BigEndian.Uint32(lost.Payload) != 1 {
		t.Fatalf("got LOST from %d, %q, want context 1", lost.Src, lost.Payload)
	}
	if got := p.dict(lost.Payload[4:]); got["kind"] == nil || got["hint"] == nil ||
		got["hop"] != "local" {
		t.Errorf("got %v, want kind, hop and hint", got)
	}
	for _, h := range []wire.Handle{up, reply} {
		if f, _ := p.until(h); f.Kind != wire.Dead {
			t.Errorf("handle %d: got %v, want DEAD", h, f.Kind)
		}
	}

	connect, up = p.local(2)
	p.write(connect)
	p.until(up)
	call, reply = p.call(2, "os:_exit", 3)
	late, answer := p.call(2, "os:getpid")
	p.write(call, late)
	p.until(wire.Lost)
	for _, h := range []wire.Handle{reply, answer} {
		if f, _ := p.until(h); f.Kind != wire.Dead {
			t.Errorf("handle %d: got %v, want DEAD", h, f.Kind)
		}
	}
	after, h := p.call(2, "os:getpid")
	p.write(after)
	if f, _ := p.until(h); f.Kind != wire.Dead {
		t.Errorf("a call of what is gone: got %v, want DEAD", f.Kind)
	}
}

// A program that breaks the protocol is not served any longer, and told why by the error of Serve.
func TestBrokenPrograms(t *testing.T) {
	frame := func(f wire.Frame) []byte { return f.Append(nil) }
	for _, c := range []struct {
		name string
		sent []byte
		want string
	}{
		{"no frame", []byte("hello\n"), "no frame"},
		{"forged source", frame(wire.Frame{Src: 5, Auth: 5, Handle: wire.Do}), "from 5"},
		{"not configured", frame(wire.Frame{Dst: 1, Handle: wire.Call}), "configure first"},
		{"a handle of contexts", frame(wire.Frame{Handle: wire.Hello}), "HELLO"},
		{"no pickle", frame(wire.Frame{Handle: wire.Do, Payload: []byte("?")}), "no pickle"},
	} {
		p := play(t)
		if _, err := p.conn.Write(c.sent); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-p.ended:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			}
		case <-time.After(patience):
			t.Fatalf("%s: Serve doesn't return", c.name)
		}
	}
}

// What can't be done is an error of that request alone.
func TestRefusedOperations(t *testing.T) {
	p := play(t)
	p.write(p.configured())
	for _, c := range []struct {
		name string
		args map[string]any
		want string
	}{
		{"fly", map[string]any{}, "no operation"},
		{"configure", map[string]any{}, "twice"},
		{"connect", map[string]any{"id": 1 << 24, "target": "local"}, "claim context"},
		{"connect", map[string]any{"id": 0, "target": "local"}, "claim context"},
	} {
		f, reply := p.do(c.name, c.args)
		p.write(f)
		answer, _ := p.until(reply)
		text, _ := p.dict(answer.Payload)["message"].(string)
		if answer.Kind != wire.Error || !strings.Contains(text, c.want) {
			t.Errorf("%s %v: got %v %q, want ERROR with %q", c.name, c.args, answer.Kind, text, c.want)
		}
	}
	for i, target := range []string{"", "web1++sudo", "local"} {
		args := map[string]any{"id": 2 + i, "target": target}
		if target == "local" {
			args["via"] = 77
		}
		f, reply := p.do("connect", map[string]any(args))
		p.write(f)
		if answer, before := p.until(reply); answer.Kind != wire.Dead ||
			!strings.Contains(strings.Join(before, " "), "LOST") {
			t.Errorf("connect to %q: got %v after %q, want LOST and DEAD", target, answer.Kind, before)
		}
	}
}

// A context that is killed before its connect has begun doesn't come up, and what was asked of it
// and behind it is answered.
func TestKillBeforeConnect(t *testing.T) {
	p := play(t)
	p.write(p.configured())
	dir := t.TempDir()
	for i, behind := range []string{"local", "local+local", "local+local+local"} {
		id, mark := 10*i+1, filepath.Join(dir, fmt.Sprint("mark", i))
		connect, up := p.do("connect", map[string]any{"id": id, "target": behind})
		call, reply := p.call(wire.ContextID(id), "os:mkdir", mark)
		next, second := p.do("connect", map[string]any{"id": id + 1, "target": "local", "via": id})
		kill, _ := p.do("kill", map[string]any{"id": id, "why": "it was enough"})
		p.write(connect, call, kill, next)
		lost, _ := p.until(wire.Lost)
		if d := p.dict(lost.Payload[4:]); d["why"] != "killed: it was enough" {
			t.Errorf("%s: got LOST with %v, want the reason of kill", behind, d)
		}
		unanswered := map[wire.Handle]bool{up: true, reply: true, second: true}
		for len(unanswered) > 0 {
			f, err := p.sc.Next()
			if err != nil {
				t.Fatalf("%s: waiting for %v: %v", behind, unanswered, err)
			}
			if unanswered[f.Handle] && f.Kind != wire.Dead {
				t.Errorf("%s, handle %d: got %v, want DEAD", behind, f.Handle, f.Kind)
			}
			delete(unanswered, f.Handle)
		}
		if _, err := os.Stat(mark); err == nil {
			t.Errorf("%s: the call was made", behind)
		}
	}
	connect, up := p.local(100)
	p.write(connect)
	if f, _ := p.until(up); f.Kind != wire.Data {
		t.Errorf("a connect afterwards: got %v, want DATA", f.Kind)
	}
	if err := p.end(); err != nil {
		t.Errorf("end: got %v, want none", err)
	}
}

// Output and records of hops that the program hasn't made are not the program's: records come as
// the engine's, on one line with the hop's name before it, and output takes no room.
func TestHopsSayNothing(t *testing.T) {
	const hop = wire.FirstEngineID
	p := play(t)
	connect, up := p.do("connect", map[string]any{"id": 1, "target": "local+local"})
	p.write(p.configured(), connect)
	p.until(up)
	type said struct {
		target string
		args   []any
	}
	all := []said{
		{"os:write", []any{1, []byte("web9: forged\n")}},
		{"os:write", []any{2, []byte("web9: forged\n")}},
		{"logging:warning", []any{"careful\nengine: forged"}},
		{"logging:error", []any{"\r\x1b[1Aforged"}},
	}
	for range 20 { // more than a window
		all = append(all, said{"os:write", []any{1, make([]byte, 100000)}})
	}
	records := 0
	for _, c := range append(all, said{"os:getpid", nil}) {
		call, reply := p.call(hop, c.target, c.args...)
		p.write(call)
		for answered := false; !answered; {
			f, err := p.sc.Next()
			switch {
			case err != nil:
				t.Fatalf("%s: waiting for its answer: %v", c.target, err)
			case f.Handle == reply:
				answered = true
				if f.Kind != wire.Data {
					t.Errorf("%s: got %v %q, want DATA", c.target, f.Kind, f.Payload)
				}
			case f.Handle == wire.Log && f.Src == 0:
				records++
				record, _ := p.value(f).(pyvalue.Tuple)
				text, _ := record[3].(string)
				if !strings.HasPrefix(text, "local: ") || strings.ContainsAny(text, "\n\r\x1b") {
					t.Errorf("%s: got the record %q, want one line that begins with the hop", c.target, text)
				}
			case f.Src == hop && f.Handle < wire.FirstDynamic && f.Handle != wire.Credit:
				t.Errorf("%s: the program got %v of the hop", c.target, f.Handle)
			}
		}
	}
	if records != 2 {
		t.Errorf("got %d records from the engine, want 2", records)
	}
}

// A level of Python's beyond those that logging has is the nearest of them.
func TestLevels(t *testing.T) {
	for level, want := range map[int]slog.Level{
		0: 0, 10: -4, 40: 8, 50: 12, 51: 12, math.MaxInt: 12, -3: -7, math.MinInt: -7,
	} {
		if got := slogLevel(level); got != want {
			t.Errorf("level %d: got %v, want %v", level, got, want)
		}
	}
}

// A context sends values to the program where it was allowed to, and nowhere else.
func TestAllowedValues(t *testing.T) {
	p := play(t)
	configure, _ := p.do("configure", map[string]any{})
	connect, up := p.do("connect", map[string]any{"id": 1, "target": "local"})
	allow, _ := p.do("allow", map[string]any{"from": 1, "to": 0, "handle": 1 << 30})
	allow.Reply = 0
	p.write(configure, connect, allow)
	p.value(first(p.until(up)))
	run, sent := p.call(1, "builtins:exec", "import mitogen\ns = mitogen.Sender(0, 1 << 30)\n"+
		"s.send('value')\ns.close()\nmitogen.Sender(0, (1 << 30) + 1).send('forged')", map[string]any{})
	p.write(run)
	value, before := p.until(1 << 30)
	if value.Src != 1 || value.Kind != wire.Data {
		t.Errorf("the end of values: got %v from %d, want DATA from 1", value.Kind, value.Src)
	}
	if want := "ITEM 1073741824 from 1"; !strings.Contains(strings.Join(before, "\n"), want) {
		t.Errorf("before the end: got %q, want %s", before, want)
	}
	if _, before = p.until(sent); strings.Contains(strings.Join(before, "\n"), "1073741825") {
		t.Errorf("after the end: got %q, want nothing for a handle that was not allowed", before)
	}
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

func first(f wire.Frame, _ []string) wire.Frame { return f }

// What the program is told of an inventory, and of what is wrong with it.
func TestInventory(t *testing.T) {
	p := play(t)
	name := filepath.Join(t.TempDir(), "hosts")
	text := "[web]\nweb1 ansible_connection=local\nold\n[db]\nbad ansible_connection=pigeon\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	configure, _ := p.do("configure", map[string]any{})
	list, listed := p.do("inventory", map[string]any{"sources": []any{name}, "limit": "all:!old"})
	p.write(configure, list)
	d := p.dict(first(p.until(listed)).Payload)
	if got := fmt.Sprint(d["hosts"]); !strings.Contains(got, "web1") || strings.Contains(got, "old") {
		t.Errorf("hosts: got %v, want web1 and bad", got)
	}
	for _, c := range []struct {
		what string
		args map[string]any
		want string
	}{
		{"a bad host", map[string]any{"id": 1, "target": "bad", "inventory": 1}, "pigeon"},
		{"a host that wasn't chosen", map[string]any{"id": 2, "target": "old", "inventory": 1}, "old"},
		{"no inventory", map[string]any{"id": 3, "target": "web1", "inventory": 2}, "inventory 2"},
		{"via", map[string]any{"id": 4, "target": "web1", "inventory": 1, "via": 1}, "via"},
	} {
		connect, h := p.do("connect", c.args)
		p.write(connect)
		f := first(p.until(h))
		got := fmt.Sprint(p.dict(f.Payload)["message"])
		if f.Kind != wire.Error || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %v %q, want an error with %q", c.what, f.Kind, got, c.want)
		}
	}
	for _, limit := range []string{"nobody", "web1:&nobody"} {
		list, listed := p.do("inventory", map[string]any{"sources": []any{name}, "limit": limit})
		p.write(list)
		if f := first(p.until(listed)); f.Kind != wire.Error {
			t.Errorf("limit %s: got %v, want an error", limit, f.Kind)
		}
	}
	connect, up := p.do("connect", map[string]any{"id": 5, "target": "web1", "inventory": 1})
	stats, told := p.do("stats", map[string]any{})
	p.write(connect)
	p.value(first(p.until(up)))
	p.write(stats)
	all, _ := p.dict(first(p.until(told)).Payload)["contexts"].(*pyvalue.List)
	if all == nil || len(all.Items) != 1 {
		t.Errorf("stats: got %v, want those of context 5", all)
	}
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

// What comes behind a call in the same write, and isn't for a context, holds nothing up.
func TestCallBeforeAnother(t *testing.T) {
	p := play(t)
	connect, up := p.local(1)
	p.write(p.configured(), connect)
	p.until(up)
	for _, behind := range []func() wire.Frame{
		func() wire.Frame { f, _ := p.do("stats", map[string]any{}); return f },
		func() wire.Frame { return wire.Frame{Handle: wire.FirstEngineHandle + 7} }, // a late answer
		func() wire.Frame { return wire.Frame{Kind: wire.Part, Handle: wire.Do, Payload: []byte("x")} },
	} {
		call, reply := p.call(1, "os:getppid")
		p.write(call, behind())
		if answer, _ := p.until(reply); answer.Kind != wire.Data {
			t.Errorf("answer of a call: got %v, want a value", answer)
		}
	}
}
