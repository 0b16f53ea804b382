// Package consolesim makes consoles for tests: a pair of terminals with a getty, a shell or a
// program
// of the test's behind it, and between them a line of any speed that damages, loses, doubles and
// adds
// bytes. Only tests use it.
package consolesim

import (
	"context"
	"fmt"

	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// Options say what a console is like. The zero value is a getty behind a line that is clean and
// fast.
type Options struct {
	Rate              int     // bytes a second; 0: no limit
	Flip, Drop, Twice float64 // of each byte: a bit is changed, it is lost, it comes twice
	Seven             bool    // seven bits pass
	Noise             time.Duration
	Calm              time.Duration // without damage and noise at the beginning
	Seed              uint64

	// Session is run on the console, again whenever it ends; nil: agetty. It has the console as its
	// controlling terminal.
	Session []string
	Env     []string
	Once    bool // Session is not run again

	// Far takes the place of a session: it is the far terminal's master.
	Far func(master *os.File)
}

// A Console is a line with something at its far end.
type Console struct {
	Device string // the near end, a terminal
	Far    string // the far end's terminal; "": Options.Far is there

	opt      Options
	near     *os.File // master of Device
	slave    *os.File // of Device, so that the master has no end
	far      *os.File
	began    time.Time
	up, down *direction

	mu      sync.Mutex // protects following
	session *exec.Cmd
	closed  bool
	starts  int
	seen    []byte // what the far end has written
}

// New makes a console, which ends with the test.
func New(t testing.TB, o Options) *Console {
	t.Helper()
	c := &Console{opt: o, began: time.Now()}
	near, nearSlave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	far, farSlave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	rawMode(t, nearSlave)
	c.near, c.slave, c.far, c.Device = near, nearSlave, far, nearSlave.Name()
	t.Cleanup(c.close)
	if o.Far != nil {
		rawMode(t, farSlave)
		go o.Far(farSlave)
	} else {
		c.Far = farSlave.Name()
		go c.sessions(farSlave)
	}
	c.down, c.up = c.direction(1), c.direction(2)
	go c.down.carry(near, far, nil)
	go c.up.carry(far, near, c.see)
	return c
}

func rawMode(t testing.TB, f *os.File) {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	termios.Iflag, termios.Oflag, termios.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, termios); err != nil {
		t.Fatal(err)
	}
}

func (c *Console) see(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, b...)
	c.seen = c.seen[max(0, len(c.seen)-1<<16):]
}

// Seen returns the end of what the far end has written.
func (c *Console) Seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.seen)
}

// Await waits until the far end has written text.
func (c *Console) Await(ctx context.Context, text string) error {
	for !strings.Contains(c.Seen(), text) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the console does not show %q: %q", text, c.Seen())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// Forget drops what Seen has.
func (c *Console) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = nil
}

// Starts returns how many sessions there have been, and Pid the process of the last one.
func (c *Console) Starts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts
}

// Pid returns the process of the session.
func (c *Console) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.Process == nil {
		return 0
	}
	return c.session.Process.Pid
}

// Passed returns how many bytes the line has carried, there and back.
func (c *Console) Passed() (down, up int64) { return c.down.count(), c.up.count() }

// Inject writes to the near end what a program beside the session would write on the console.
func (c *Console) Inject(text string) { c.up.inject([]byte(text)) }

// sessions runs the session again and again.
func (c *Console) sessions(slave *os.File) {
	defer slave.Close()
	for c.run(slave) && !c.opt.Once {
		time.Sleep(50 * time.Millisecond)
	}
}

// run runs a session once; false: no further one is to be run.
func (c *Console) run(slave *os.File) bool {
	argv := c.opt.Session
	if argv == nil {
		argv = []string{"/sbin/agetty", "--local-line", "--noclear", "115200",
			filepathBase(slave.Name()), "vt100"}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{"TERM=vt100", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
		"LANG=C"}, c.opt.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	err := cmd.Start()
	if err == nil {
		c.session = cmd
		c.starts++
	}
	c.mu.Unlock()
	if err != nil {
		return false
	}
	cmd.Wait()
	return true
}

// filepathBase is a terminal's name for agetty.
func filepathBase(name string) string { return name[len("/dev/"):] }

func (c *Console) close() {
	c.mu.Lock()
	c.closed = true
	cmd := c.session
	c.mu.Unlock()
	if cmd != nil && cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Process.Kill()
	}
	c.near.Close()
	c.slave.Close()
	c.far.Close() // hangs up whatever is left of the session
}

// direction is one of a line.
type direction struct {
	o      Options
	rng    *rand.Rand // of what hurts bytes; the goroutine that reads has it
	places *rand.Rand // of noise; the goroutine that writes has it
	began  time.Time

	mu     sync.Mutex // protects following
	passed int64
	extra  []byte // is added to what passes
}

func (c *Console) direction(n uint64) *direction {
	return &direction{o: c.opt, rng: rand.New(rand.NewPCG(c.opt.Seed, n)),
		places: rand.New(rand.NewPCG(c.opt.Seed, n+2)), began: c.began}
}

func (d *direction) count() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *direction) inject(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.extra = append(d.extra, b...)
}

// hurt does to b what the line does.
func (d *direction) hurt(b []byte) []byte {
	calm := time.Since(d.began) < d.o.Calm
	out := make([]byte, 0, len(b)+8)
	for _, x := range b {
		if !calm && d.rng.Float64() < d.o.Drop {
			continue
		}
		if !calm && d.rng.Float64() < d.o.Flip {
			x ^= 1 << d.rng.IntN(8)
		}
		if d.o.Seven {
			x &= 0x7f
		}
		out = append(out, x)
		if !calm && d.rng.Float64() < d.o.Twice {
			out = append(out, x)
		}
	}
	return out
}

// The line moves bytes each step, and takes no more while it holds so many.
const (
	step = 2 * time.Millisecond
	held = 64
)

// carry moves bytes from one end to the other, at the line's rate.
func (d *direction) carry(from, to *os.File, see func([]byte)) {
	in := make(chan []byte, 1)
	go func() {
		defer close(in)
		for {
			b := make([]byte, 4096)
			n, err := from.Read(b)
			if n > 0 {
				in <- d.hurt(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	var queue []byte
	loud, last, credit, count := time.Now(), time.Now(), 0.0, 0
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		source := in
		if len(queue) >= held && d.o.Rate > 0 {
			source = nil
		}
		select {
		case b, ok := <-source:
			if !ok {
				return
			}
			queue = append(queue, b...)
		case <-tick.C:
		}
		now := time.Now()
		if see != nil && d.o.Noise > 0 && now.Sub(loud) > d.o.Noise && now.Sub(d.began) > d.o.Calm {
			loud, count = now, count+1
			text := fmt.Appendf(nil, "[%12.6f] usb 1-1: device descriptor read/64, error -%d\r\n",
				now.Sub(d.began).Seconds(), count)
			at := d.places.IntN(len(queue) + 1)
			queue = append(queue[:at:at], append(text, queue[at:]...)...)
		}
		d.mu.Lock()
		queue, d.extra = append(queue, d.extra...), nil
		d.mu.Unlock()
		n := len(queue)
		if d.o.Rate > 0 {
			credit = min(credit+now.Sub(last).Seconds()*float64(d.o.Rate), float64(d.o.Rate)/20)
			n = min(n, int(credit))
			credit -= float64(n)
		}
		last = now
		if n == 0 {
			continue
		}
		if see != nil {
			see(queue[:n])
		}
		if _, err := to.Write(queue[:n]); err != nil {
			return
		}
		d.mu.Lock()
		d.passed += int64(n)
		d.mu.Unlock()
		queue = queue[n:]
	}
}

// Mode returns the far terminal's mode as stty -g prints it.
func (c *Console) Mode(t testing.TB) string {
	t.Helper()
	f, err := os.OpenFile(c.Far, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(uint64(m.Iflag), 16) + ":" + strconv.FormatUint(uint64(m.Oflag),
		16) + ":" +
		strconv.FormatUint(uint64(m.Lflag), 16) + ":" + fmt.Sprint(m.Cc)
}
