package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// The part of the suite that has a meaning for a context that is a Go program.

// function registers a function of the Go context of these tests, with its argument decoded.
func function[A any](name string, f func(ctx context.Context, c *goctx.Call, arg A) (any, error)) {
	goctx.Register(name, "", func(ctx context.Context, c *goctx.Call) (any, error) {
		var arg A
		if err := c.Argument(&arg); err != nil {
			return nil, err
		}
		return f(ctx, c, arg)
	})
}

func init() {
	type none = struct{}
	function("echo", func(_ context.Context, _ *goctx.Call, v any) (any, error) { return v, nil })
	function("text", func(_ context.Context, _ *goctx.Call, n int) (any, error) {
		return strings.Repeat("x", n), nil
	})
	function("length", func(_ context.Context, _ *goctx.Call, s string) (any, error) {
		return len(s), nil
	})
	function("fail", func(_ context.Context, _ *goctx.Call, n int) (any, error) {
		return nil, errors.New(strings.Repeat("e", n))
	})
	function("chunks", func(ctx context.Context, c *goctx.Call, n [2]int) (any, error) {
		for range n[0] {
			if err := c.Emit(ctx, make([]byte, n[1])); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	function("write", func(_ context.Context, _ *goctx.Call, n [3]int) (any, error) {
		for range n[2] {
			if _, err := []*os.File{1: os.Stdout, 2: os.Stderr}[n[0]].Write(make([]byte, n[1])); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	function("sleep", func(ctx context.Context, _ *goctx.Call, _ none) (any, error) {
		fmt.Println("sleeping")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	function("loop", func(ctx context.Context, _ *goctx.Call, _ none) (any, error) {
		fmt.Println("looping")
		for ctx.Err() == nil {
		}
		return nil, ctx.Err()
	})
	function("deaf", func(ctx context.Context, _ *goctx.Call, _ none) (any, error) {
		fmt.Println("sleeping")
		select {}
	})
	function("slow", func(ctx context.Context, _ *goctx.Call, ms int) (any, error) {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return "held", nil
	})
	function("run", func(_ context.Context, _ *goctx.Call, argv []string) (any, error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return nil, cmd.Run()
	})
	function("tmpdir", func(_ context.Context, _ *goctx.Call, dir string) (any, error) {
		syscall.Umask(0)
		return nil, os.Setenv("TMPDIR", dir)
	})
	function("child", func(_ context.Context, _ *goctx.Call, _ none) (any, error) {
		cmd := exec.Command("sleep", "1000")
		return nil, cmd.Start()
	})
}

// startGo makes a Go context that ends with the test: a copy of this program.
func startGo(t *testing.T, change ...func(*boot.Config)) *link {
	t.Helper()
	t.Parallel()
	l, cfg := newLink(t, interp{}, change)
	l.isGo = true
	l.spawn([]string{"/proc/self/exe", boot.GoWord}, cfg, nil, boot.GoHead(cfg))
	t.Cleanup(func() { l.finish(t) })
	return l
}

// begun sends a call whose answer goes to p.
func (l *link) begun(p *pending, target string, arg any) {
	l.send(wire.Frame{Dst: first, Handle: wire.Call, Reply: p.reply,
		Payload: l.payload(target, []any{arg})})
}

// raw sends a frame as it is, whatever it claims.
func (l *link) raw(f wire.Frame) *pending {
	p := l.expect(f.Dst)
	f.Reply = p.reply
	l.write(f.Append(nil))
	return p
}

func TestGoHello(t *testing.T) {
	l := startGo(t)
	l.arrives(first)
	d := l.hellos[first]
	for key, want := range map[string]any{"implementation": "go", "platform": "linux",
		"machine": runtime.GOARCH, "pid": int64(l.cmd.Process.Pid), "pickle": int64(4),
		"functions": goctx.Digest(), "uid": int64(os.Getuid())} {
		got, _ := d.Get(key)
		equal(t, key, got, want)
	}
	version, _ := d.Get("version")
	v := version.(pyvalue.Tuple)
	contains(t, "version of Go", runtime.Version(), fmt.Sprintf("go%v.%v", v[0], v[1]))
	equal(t, "noise", string(l.noise), "\n"+boot.EC0+"\n")
}

func TestGoValues(t *testing.T) {
	l := startGo(t)
	for _, n := range []int{0, 131_000, 131_060, 131_072, 131_073, 1 << 20, 5 << 20} {
		equal(t, "length of result", len(l.call("go:text", n).value().(string)), n)
	}
	big := l.expect(first)
	release := l.hold(big.reply)
	l.begun(big, "go:text", 5<<20)
	got := l.settled(big, func() int { return big.parts })
	if got < wire.Window || got > wire.Window+wire.MaxPayload {
		t.Errorf("result without credit: got %d bytes, want a window", got)
	}
	release()
	equal(t, "length", len(big.value().(string)), 5<<20)

	const n = 5 << 20
	p := l.call("go:length", strings.Repeat("y", n))
	equal(t, "length of argument", p.value(), int64(n))
	l.await("credit", func() bool { return l.granted[flow{first, p.reply}] >= n-wire.MaxPayload })

	whole := l.payload("go:echo", []any{"halves"})
	a, b := l.expect(first), l.expect(first)
	part := func(p *pending, kind wire.Kind, payload []byte) {
		l.send(wire.Frame{Dst: first, Kind: kind, Handle: wire.Call, Reply: p.reply, Payload: payload})
	}
	part(a, wire.Part, whole[:3])
	part(a, wire.Part, nil) // given up
	part(a, wire.Part, whole[:5])
	part(b, wire.Part, whole[:9])
	part(b, wire.Data, whole[9:])
	part(a, wire.Data, whole[5:])
	equal(t, "a", a.value(), "halves")
	equal(t, "b", b.value(), "halves")
	equal(t, "nothing", l.call("go:echo").value(), nil)
	equal(t, "length of an error", len(l.call("go:fail", 3<<20).error().Text), 1<<20)
	l.send(wire.Frame{Dst: first, Handle: wire.Call, Payload: l.payload("go:fail", []any{3})})
	l.record("a call without an answer failed")
}

func TestGoMessageLimit(t *testing.T) {
	const most = 300_000
	l := startGo(t, limit(most))
	for _, n := range []int{290_000, 300_000, 393_216, 2 << 20} {
		p := l.call("go:length", strings.Repeat("z", n))
		if n < most {
			equal(t, "length", p.value(), int64(n))
			continue
		}
		p.dead("larger than 300000 bytes")
		equal(t, "echo", l.call("go:echo", 1).value(), int64(1))
		l.await("credit", func() bool { return l.granted[flow{first, p.reply}] >= n-wire.MaxPayload })
		equal(t, "answers", p.times, 1)
	}
	contains(t, "result", l.call("go:text", 400_000).error().Text, "larger than 300000 bytes")
	// Values that are never finished are bounded together.
	refused := 0
	for range 9 {
		p := l.expect(first)
		for range 2 {
			l.send(wire.Frame{Kind: wire.Part, Dst: first, Handle: wire.Call, Reply: p.reply,
				Payload: make([]byte, 100_000)})
		}
		l.call("go:echo", 1).value()
		if p.come() {
			p.dead("larger than")
			refused++
		}
	}
	if refused < 6 {
		t.Errorf("unfinished values: got %d refused of 9, want all but 3 at most", refused)
	}
}

func TestGoItems(t *testing.T) {
	l := startGo(t)
	p := l.expect(first)
	release := l.hold(p.reply)
	l.begun(p, "go:chunks", []int{50, 100_000})
	got := l.settled(p, func() int { return len(p.items) })
	if got < 10 || got > 12 {
		t.Errorf("items of 100,000 bytes without credit: got %d, want a window", got)
	}
	equal(t, "another call meanwhile", l.call("go:echo", 1).value(), int64(1))
	release()
	equal(t, "result", p.value(), nil)
	equal(t, "items", len(p.items), 50)
	p = l.call("go:chunks", []int{3, 3 << 20})
	p.value()
	for _, item := range p.list() {
		equal(t, "length", len(item.([]byte)), 3<<20)
	}
	for _, size := range []int{100_000, 3 << 20} { // between items, and within one
		p := l.expect(first)
		release := l.hold(p.reply)
		l.begun(p, "go:chunks", []int{50, size})
		l.settled(p, func() int { return len(p.items) + p.parts })
		l.cancel(p)
		p.fails("KeyboardInterrupt")
		release()
	}
}

func TestGoCancel(t *testing.T) {
	l := startGo(t)
	for target, words := range map[string]string{"go:sleep": "sleeping\n", "go:loop": "looping\n"} {
		p := l.begin(target, words)
		equal(t, "ping", string(l.ping(first, "hello").wait().payload), "hello")
		equal(t, "a call beside it", l.call("go:echo", "beside").value(), "beside")
		if p.come() {
			t.Errorf("%s has ended", target)
		}
		l.cancel(p)
		p.fails("KeyboardInterrupt")
	}
	p := l.call("go:echo", 1)
	p.value()
	l.cancel(p)
	l.send(wire.Frame{Dst: first, Handle: wire.Cancel, Payload: wire.AppendU32(nil, wire.Handle(99))})
	equal(t, "after all", l.call("go:echo", 2).value(), int64(2))
}

func TestGoOutput(t *testing.T) {
	l := startGo(t)
	p := l.call("go:write", []int{1, 100_000, 100})
	p.value()
	equal(t, "output before the answer", p.printed[flow{first, wire.Stdout}], 10_000_000)
	l.stdout()
	script := "cat; echo out; echo err >&2; printf tail; cd /proc/self/fd; echo *"
	l.call("go:run", []string{"sh", "-c", script}).value()
	equal(t, "stdout of a program", l.stdout(), "out\ntail0 1 2 3\n")
	equal(t, "stderr of a program", l.stderr(), "err\n")
	release := l.hold(wire.Stdout)
	p = l.call("go:write", []int{1, 100_000, 40})
	got := l.settled(p, func() int { return l.owed[flow{first, wire.Stdout}] })
	if got < wire.Window || got > wire.Window+wire.MaxPayload {
		t.Errorf("output without credit: got %d bytes, want a window", got)
	}
	other := l.call("go:write", []int{2, 5, 1})
	l.await("stderr", func() bool {
		b := l.output[flow{first, wire.Stderr}]
		return b != nil && b.Len() == 5
	})
	release()
	p.value()
	other.value()
}

// What parents alone may do is refused to all that are none, and frames that no engine sends do no
// harm.
func TestGoAuthority(t *testing.T) {
	l := startGo(t, func(c *boot.Config) { c.Parents = []uint32{3, 0} })
	call := l.payload("go:echo", []any{"mine"})
	for _, auth := range []wire.ContextID{0, 3} {
		f := wire.Frame{Dst: first, Auth: auth, Handle: wire.Call, Payload: call}
		equal(t, "by an ancestor", l.raw(f).value(), "mine")
	}
	for _, auth := range []wire.ContextID{first, 4, 1 << 31} {
		for h := wire.Call; h <= wire.Want; h++ {
			if h == wire.Credit {
				continue
			}
			l.raw(wire.Frame{Dst: first, Auth: auth, Handle: h, Payload: call}).dead("refuses")
		}
	}
	for h := wire.Stdin; h <= 1010; h++ {
		if h == wire.Shutdown || h == wire.Ping || h == wire.Session ||
			h == wire.Open || h > wire.Want && h < 1000 {
			continue
		}
		l.raw(wire.Frame{Dst: first, Handle: h, Payload: call}).dead("refuses")
	}
	l.raw(wire.Frame{Dst: 77, Handle: wire.Call, Payload: call}).dead("no route")
	for kind := wire.Dead; kind <= wire.Item; kind++ {
		l.raw(wire.Frame{Kind: kind, Dst: first, Handle: wire.Call, Payload: call}).dead("refuses")
	}
	for _, payload := range []string{"", "go:echo", "\x00", "go:\x00", "go:absent\x00",
		"os:getpid\x00",
		"go:echo\x00\x80\x02c__builtin__\neval\n.",
		"go:echo\x00\x80\x02}.", "go:text\x00\x80\x02X\x01\x00\x00\x00a."} {
		l.raw(wire.Frame{Dst: first, Handle: wire.Call, Payload: []byte(payload)}).error()
	}
	equal(t, "after all", l.call("go:echo", 1).value(), int64(1))
}

// TestGoEnds: link.finish demands that no process stays.
func TestGoEnds(t *testing.T) {
	for _, state := range []string{"", "go:sleep", "go:loop", "go:deaf", "stopped"} {
		for _, end := range []string{"both", "stdin", "stderr", "shutdown", "foreign", "kind", "killed"} {
			if state == "stopped" && end != "both" && end != "stderr" && end != "killed" {
				continue // it reads nothing
			}
			t.Run(state+" "+end, func(t *testing.T) {
				l := startGo(t)
				l.call("go:child").value()
				if strings.HasPrefix(state, "go:") {
					p := l.call(state)
					l.await("output", func() bool { return l.output[flow{first, wire.Stdout}] != nil })
					if p.come() {
						t.Fatal("it has ended")
					}
				}
				if state == "stopped" {
					syscall.Kill(l.cmd.Process.Pid, syscall.SIGSTOP)
				}
				switch end {
				case "both":
					return // finish closes both
				case "stdin":
					l.up.Close()
				case "stderr":
					l.err.Close()
				case "shutdown":
					l.shutDown(first)
				case "foreign":
					l.write([]byte("no frame"))
				case "kind":
					l.write((&wire.Frame{Kind: 9, Dst: first, Handle: wire.Ping}).Append(nil))
				case "killed":
					syscall.Kill(-l.cmd.Process.Pid, syscall.SIGKILL)
				}
				l.leavesNone(t, patience)
			})
		}
	}
}

// otherVersion is the head of an engine of another version.
const otherVersion = `{"version":9,"id":1,"parents":[0],"colour":"red"}` + "\n"

// A head that isn't one ends the program with an error that says so.
func TestGoBadHead(t *testing.T) {
	for _, head := range []string{"n=5;C=(1,)\n", otherVersion, "{}\n", strings.Repeat("x", 20_000),
		""} {
		t.Run(fmt.Sprintf("%.9q", head), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", boot.GoWord)
			cmd.Stdin = strings.NewReader(head)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "mitogen: read head: ") {
				t.Errorf("got %q, %v, want an error about the head", out, err)
			}
			told := strings.Contains(string(out), "got version 9, want 1: "+wire.ErrVersion.Error())
			if told != (head == otherVersion) {
				t.Errorf("got %q, want both versions only for %s", out, otherVersion)
			}
		})
	}
}

func TestGoHeartbeat(t *testing.T) {
	for what, test := range map[string]struct {
		cfg   func(*boot.Config)
		begin func(l *link)
		ends  bool
	}{
		"silence while idle":    {heartbeat(1), func(*link) {}, true},
		"silence while it runs": {heartbeat(1), func(l *link) { l.call("go:sleep") }, true},
		"busy":                  {timeouts(1, 1000), func(l *link) { l.call("go:slow", 60_000) }, false},
		"no heartbeat":          {heartbeat(0), func(*link) {}, false},
		"it is heard":           {heartbeat(1), func(l *link) { l.keep() }, false},
	} {
		t.Run(what, func(t *testing.T) {
			l := startGo(t, test.cfg)
			l.arrives(first)
			test.begin(l)
			if test.ends {
				l.silent()
				return
			}
			time.Sleep(beats)
			equal(t, "echo", string(l.ping(first, "there").wait().payload), "there")
		})
	}
}
