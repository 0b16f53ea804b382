// Package network has contexts over links that are slow, lose, change and repeat what they carry,
// stand still, or break, each time beside the ssh program on the same link.
package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/linksim"
	"github.com/mitogen-go/mitogen/report"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// long tells that all cases are to be tried, not a sample: make test-network.
func long() bool { return os.Getenv("MITOGEN_NETWORK") != "" }

// patience limits the time of a case, on a machine that is busy besides.
const patience = 5 * time.Minute

// A way leads to the host behind the link.
type way struct {
	name   string
	hops   string // behind the first
	native bool
}

var ways = []way{{name: "ssh"}, {name: "native", native: true}, {name: "two hops", hops: "+local"},
	{name: "sudo", hops: "+sudo"}}

// A bed is a host behind a link whose conditions can be set.
type bed struct {
	net  *lab.Net
	link *linksim.Emulator
}

func newBed(t *testing.T) *bed {
	t.Helper()
	n := lab.NewBadNet(t, 1)
	return &bed{n, n.Link(1)}
}

// Beds have nothing in common, also those of other processes that test at the same time.
func TestBedsAreApart(t *testing.T) {
	one, other := newBed(t), newBed(t)
	for _, b := range []*bed{one, other} {
		if out, err := b.ssh(t, nil, "echo there"); err != nil || out != "there\n" {
			t.Errorf("%s: got %q, %v", b.net.Address(1), out, err)
		}
	}
	one.set(t, linksim.Conditions{Stall: true})
	if out, err := other.ssh(t, nil, "echo there"); err != nil || out != "there\n" {
		t.Errorf("while the link of another bed stands still: got %q, %v", out, err)
	}
	if one.link.Lost() != 0 {
		t.Errorf("the link of another bed had %d packets", one.link.Lost())
	}
}

// set sets the conditions for the time of a test.
func (b *bed) set(t *testing.T, c linksim.Conditions) {
	b.link.Set(c)
	t.Cleanup(func() { b.link.Set(linksim.Conditions{}) })
}

// ssh has the ssh program execute a command there.
func (b *bed) ssh(t *testing.T, stdin []byte, command string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := b.sshTo(t, &out, stdin, command)
	return out.String(), err
}

// sshTo is ssh, with the output written to out. The error has what ssh says.
func (b *bed) sshTo(t *testing.T, out io.Writer, stdin []byte, command string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", b.net.Config, "-o", "LogLevel=ERROR", b.net.Names[0],
		command)
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &said
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said.String())
	}
	return err
}

// watched keeps what is written, and says when that begins.
type watched struct {
	kept  bytes.Buffer
	begun chan struct{} // closed
}

// Write keeps b.
func (w *watched) Write(b []byte) (int, error) {
	if w.kept.Len() == 0 && len(b) > 0 {
		close(w.begun)
	}
	return w.kept.Write(b)
}

// engine makes an engine that serves module.
func (b *bed) engine(t *testing.T, o mitogen.Options) *mitogen.Engine {
	t.Helper()
	o.Path = []fs.FS{fstest.MapFS{
		"network.py":         {Data: []byte(module)},
		"netpkg/__init__.py": {},
		"netpkg/data.py":     {Data: fmt.Appendf(nil, "TEXT = %q\n", noise(200_000))},
		"netpkg/large.py":    {Data: fmt.Appendf(nil, "TEXT = %q\n", noise(1_800_000))},
	}}
	o.Logger = slog.New(slog.DiscardHandler)
	e, err := mitogen.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// connect makes a context there, with an engine of its own.
func (b *bed) connect(t *testing.T, w way, o mitogen.Options) (*mitogen.Context, error) {
	t.Helper()
	return b.engine(t, o).Connect(t.Context(), b.net.Names[0]+w.hops, b.options(w, patience))
}

func (b *bed) options(w way, timeout time.Duration) mitogen.ConnectOptions {
	return mitogen.ConnectOptions{
		Options: connect.Options{Timeout: timeout,
			SSH: connect.SSHOptions{ConfigFile: b.net.Config, Native: w.native}},
	}
}

// module is served over the link. The package's data is as long as it is so that it takes a while.
const module = `
import hashlib

def digest(data):
    return hashlib.sha256(data).hexdigest()

def imported():
    import netpkg.data
    return hashlib.sha256(netpkg.data.TEXT.encode()).hexdigest()

def imported_large():
    import netpkg.large
    return hashlib.sha256(netpkg.large.TEXT.encode()).hexdigest()
`

// noise is text that doesn't compress well, the same each time.
func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + rnd.IntN(64))
		if b[i] == '\\' {
			b[i] = '0'
		}
	}
	return b
}

// random returns n bytes that don't compress at all.
func random(n int) []byte {
	rnd := rand.NewChaCha8([32]byte{7})
	b := make([]byte, n)
	rnd.Read(b)
	return b
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// right are the things that are done over a link, and must have a right result.
var right = []struct {
	name string
	ssh  string // the same by the ssh program, "" if that can't
	do   func(ctx context.Context, c *mitogen.Context, data []byte) (string, error)
	want func(data []byte) string
}{
	{"stdin", "sha256sum", func(ctx context.Context, c *mitogen.Context, data []byte) (string, error) {
		return output(ctx, c, data, "sha256sum")
	}, func(data []byte) string { return digest(data) + "  -\n" }},
	{"stdout", "cat", func(ctx context.Context, c *mitogen.Context, data []byte) (string, error) {
		return output(ctx, c, data, "cat")
	}, func(data []byte) string { return string(data) }},
	{"call", "", func(ctx context.Context, c *mitogen.Context, data []byte) (string, error) {
		return mitogen.Call[string](ctx, c, "network:digest", data)
	}, digest},
	{"package", "", func(ctx context.Context, c *mitogen.Context, _ []byte) (string, error) {
		return mitogen.Call[string](ctx, c, "network:imported")
	}, func([]byte) string { return digest(noise(200_000)) }},
}

func output(ctx context.Context, c *mitogen.Context, stdin []byte, argv ...string) (string, error) {
	var out bytes.Buffer
	err := outputTo(ctx, c, &out, stdin, argv...)
	return out.String(), err
}

// outputTo is output, with the output written to out.
func outputTo(ctx context.Context, c *mitogen.Context, out io.Writer, stdin []byte,
	argv ...string) error {
	status, err := c.Exec(ctx, mitogen.Command{Args: argv, Stdin: bytes.NewReader(stdin),
		Stdout: out})
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d", status)
	}
	return err
}

// Whatever a link does to packets, short of carrying none: results are right, as the ssh program's
// are.
func TestResultsAreRight(t *testing.T) {
	ms := time.Millisecond
	all := []struct {
		name string
		linksim.Conditions
		size   int
		sample bool
	}{
		{"good", linksim.Conditions{}, 1 << 20, false},
		{"slow", linksim.Conditions{Delay: 150 * ms}, 300_000, false},
		{"reordered", linksim.Conditions{Delay: 20 * ms, Jitter: 40 * ms}, 300_000, false},
		{"lossy", linksim.Conditions{Delay: 10 * ms, Loss: 0.05}, 300_000, false},
		{"very lossy", linksim.Conditions{Delay: 10 * ms, Loss: 0.15}, 50_000, false},
		{"repeating", linksim.Conditions{Delay: 5 * ms, Twice: 0.3}, 300_000, false},
		{"damaging", linksim.Conditions{Delay: 5 * ms, Damage: 0.02}, 300_000, false},
		{"narrow", linksim.Conditions{Delay: 20 * ms, Rate: 32_000}, 300_000, false},
		{"all of it", linksim.Conditions{Delay: 10 * ms, Jitter: 20 * ms, Loss: 0.02, Twice: 0.05,
			Damage: 0.01, Rate: 200_000}, 100_000, true},
	}
	b := newBed(t)
	for _, c := range all {
		if !long() && !c.sample {
			continue
		}
		data := noise(c.size)
		t.Run(c.name, func(t *testing.T) {
			lost := b.link.Lost()
			b.set(t, c.Conditions)
			for _, r := range right {
				if r.ssh == "" {
					continue
				}
				if got, err := b.ssh(t, data, r.ssh); err != nil || got != r.want(data) {
					t.Errorf("the ssh program, %s: %v, %d bytes", r.name, err, len(got))
				}
			}
			for i, w := range ways {
				if long() || i < 2 {
					t.Run(w.name, func(t *testing.T) { b.results(t, w, data) })
				}
			}
			if c.Loss+c.Damage == 0 {
				return
			}
			// Results may need so few packets that all arrive, by chance.
			for range 50 {
				if b.link.Lost() > lost {
					return
				}
				b.ssh(t, data, "cat")
			}
			t.Error("the link has lost nothing")
		})
	}
}

func (b *bed) results(t *testing.T, w way, data []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := b.connect(t, w, mitogen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range right {
		if got, err := r.do(ctx, c, data); err != nil || got != r.want(data) {
			t.Errorf("%s: %v, %d bytes that begin with %.40q", r.name, err, len(got), got)
		}
	}
}

// ticks prints for some seconds.
const ticks = "i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); sleep 0.2; done"

// A link that stands still for a while costs nothing but time, as with the ssh program.
func TestStall(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct {
		stall  time.Duration
		sample bool
	}{{3 * time.Second, true}, {20 * time.Second, false}, {40 * time.Second, false},
		{95 * time.Second, false}} {
		if !long() && !c.sample {
			continue
		}
		for i, w := range ways {
			if !long() && i > 1 {
				continue
			}
			t.Run(fmt.Sprint(c.stall, " ", w.name), func(t *testing.T) {
				const n = 20
				command := fmt.Sprintf(ticks, n)
				var want strings.Builder
				for i := range n {
					fmt.Fprintln(&want, i)
				}
				ctx, err := b.connect(t, w, mitogen.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ours, theirs := make(chan string, 1), make(chan string, 1)
				begun := [2]watched{{begun: make(chan struct{})}, {begun: make(chan struct{})}}
				go func() {
					err := outputTo(t.Context(), ctx, &begun[0], nil, "sh", "-c", command)
					ours <- fmt.Sprint(begun[0].kept.String(), err)
				}()
				go func() {
					err := b.sshTo(t, &begun[1], nil, command)
					theirs <- fmt.Sprint(begun[1].kept.String(), err)
				}()
				// A connection has other limits while it is being made.
				for i := range begun {
					select {
					case <-begun[i].begun:
					case <-time.After(patience): // it has ended, and says why below
					}
				}
				b.link.Set(linksim.Conditions{Stall: true})
				time.Sleep(c.stall)
				b.link.Set(linksim.Conditions{})
				for who, got := range map[string]chan string{"mitogen": ours, "the ssh program": theirs} {
					if out := <-got; out != want.String()+"<nil>" {
						t.Errorf("%s: got %q", who, out)
					}
				}
			})
		}
	}
}

// A link that is gone for good ends what runs on the host, also what prints.
func TestGone(t *testing.T) {
	b := newBed(t)
	for i, command := range []string{"sleep 1000.%d", "while :; do echo; sleep 0.1; done; : 1000.%d"} {
		for k, w := range ways {
			if !long() && k != i {
				continue
			}
			t.Run(fmt.Sprint(w.name, " ", i), func(t *testing.T) {
				defer b.link.Set(linksim.Conditions{})
				c, err := b.connect(t, w, mitogen.Options{Heartbeat: 2 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				mark := os.Getpid()*100 + i*10 + k
				ended := make(chan error, 1)
				go func() {
					_, err := output(t.Context(), c, nil, "sh", "-c", fmt.Sprintf(command, mark))
					ended <- err
				}()
				await(t, "the program", func() bool { return runs(mark) })
				b.link.Set(linksim.Conditions{Stall: true})
				if lost := (*report.LostError)(nil); !errors.As(<-ended, &lost) {
					t.Errorf("got %v, want a LostError", err)
				}
				await(t, "the end of the program", func() bool { return !runs(mark) })
			})
		}
	}
}

// runs tells whether a process has the mark in its arguments: hosts share this machine's processes.
func runs(mark int) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range files {
		b, _ := os.ReadFile(name)
		if !bytes.HasPrefix(b, []byte("ssh")) &&
			bytes.Contains(b, fmt.Appendf(nil, "1000.%d\x00", mark)) {
			return true
		}
	}
	return false
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// TestBesideBulk tells how long a small call takes while another context behind the same link has a
// program print as much as it can, beside a session of ssh's in the same case.
func TestBesideBulk(t *testing.T) {
	if !long() {
		t.Skip("measures, for minutes")
	}
	b := newBed(t)
	e, o := b.engine(t, mitogen.Options{}), b.options(way{}, patience)
	c, err := e.Connect(t.Context(), b.net.Names[0], o)
	if err != nil {
		t.Fatal(err)
	}
	o.Via = c
	small, err := e.Connect(t.Context(), "local", o)
	if err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(t.TempDir(), "control")
	session := func(ctx context.Context, command string) error {
		return exec.CommandContext(ctx, "ssh", "-F", b.net.Config, "-o", "ControlMaster=auto", "-o",
			"ControlPersist=60",
			"-o", "ControlPath="+control, b.net.Names[0], command).Run()
	}
	if err := session(t.Context(), "true"); err != nil {
		t.Fatal(err)
	}
	defer exec.Command("ssh", "-O", "exit", "-o", "ControlPath="+control, "x").Run()
	b.set(t, linksim.Conditions{Delay: 20 * time.Millisecond, Rate: 32_000, Queue: 1000})
	const bulk = "cat /dev/urandom"
	for name, m := range map[string]struct {
		bulk, small func(ctx context.Context) error
	}{
		"mitogen": {func(ctx context.Context) error {
			_, err := c.Exec(ctx, mitogen.Command{Args: strings.Fields(bulk), Stdout: io.Discard})
			return err
		}, func(ctx context.Context) error {
			_, err := mitogen.Call[int](ctx, small, "os:getpid")
			return err
		}},
		"ssh": {func(ctx context.Context) error { return session(ctx, bulk) },
			func(ctx context.Context) error { return session(ctx, "true") }},
	} {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		ended := make(chan error, 1)
		go func() { ended <- m.bulk(ctx) }()
		time.Sleep(30 * time.Second) // until queues are full
		var took []time.Duration
		for range 5 {
			start := time.Now()
			if err := m.small(ctx); err != nil {
				t.Error(name, err)
			}
			took = append(took, time.Since(start).Round(time.Millisecond))
		}
		stop()
		<-ended
		slices.Sort(took)
		t.Logf("%s: a small call beside bulk: %v, of %v", name, took[len(took)/2], took)
	}
}

// TestNarrowPackage tells how long a package takes to be called over a narrow link, beside its
// bytes by ssh.
func TestNarrowPackage(t *testing.T) {
	if !long() {
		t.Skip("measures, for minutes")
	}
	b := newBed(t)
	for range 2 {
		b.set(t, linksim.Conditions{Delay: 20 * time.Millisecond, Rate: 32_000, Queue: 100})
		start := time.Now()
		c, err := b.connect(t, way{}, mitogen.Options{Heartbeat: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		got, err := mitogen.Call[string](t.Context(), c, "network:imported_large")
		took := time.Since(start)
		if err != nil || got != digest(noise(1_800_000)) {
			t.Fatal(got, err)
		}
		sent := c.Stats().BytesDown
		start = time.Now()
		if _, err := b.ssh(t, random(int(sent)), "cat >/dev/null"); err != nil {
			t.Fatal(err)
		}
		t.Logf("a package of 1.8 MB, %d bytes on the way: %v; as many by ssh: %v", sent, took,
			time.Since(start))
	}
}

// A link that breaks is told at once, by an error that says that the context is lost.
func TestBroken(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct {
		name string
		linksim.Conditions
		says string // of the native way
	}{
		{"reset", linksim.Conditions{Reset: 1}, ""},
		{"changed behind TCP's back", linksim.Conditions{Forged: 1}, ""},
	} {
		for _, w := range ways[:2] {
			t.Run(c.name+" "+w.name, func(t *testing.T) {
				ctx, err := b.connect(t, w, mitogen.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() {
					_, err := output(t.Context(), ctx, nil, "sh", "-c", fmt.Sprintf(ticks, 300))
					ended <- err
				}()
				time.Sleep(300 * time.Millisecond)
				b.set(t, c.Conditions)
				select {
				case err := <-ended:
					if lost := (*report.LostError)(nil); !errors.As(err, &lost) {
						t.Errorf("got %v (%T), want a LostError", err, err)
					}
					if w.native && !strings.Contains(fmt.Sprint(err), c.says) {
						t.Errorf("got %v, want that it says %q", err, c.says)
					}
				case <-time.After(patience):
					t.Error("nothing is said")
				}
			})
		}
	}
}

// Where large packets vanish, connecting ends in time, with an error that names the hop.
func TestBlackHole(t *testing.T) {
	b := newBed(t)
	b.set(t, linksim.Conditions{Size: 1000})
	for _, w := range ways[:2] {
		_, err := b.engine(t, mitogen.Options{}).Connect(t.Context(), b.net.Names[0],
			b.options(w, 4*time.Second))
		if conn := (*connect.Error)(nil); !errors.As(err, &conn) ||
			!errors.Is(err, connect.ErrTimeout) ||
			!strings.Contains(err.Error(), b.net.Names[0]) {
			t.Errorf("%s: got %v (%T), want a ConnectError of %s, for the time", w.name, err, err,
				b.net.Names[0])
		}
	}
}
