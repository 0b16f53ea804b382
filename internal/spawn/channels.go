package spawn

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/process"
)

// channels are both ends of all that connects a child with us. All fds are close-on-exec.
type channels struct {
	child  []*os.File // the child's fds 0, 1, 2, and 3 if it has a terminal
	lent   []*os.File // those of child that are to be closed after the start
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	tty    *terminal
}

// A terminal is a pseudo-terminal. It echoes where questions on it are to be answered: a program
// that asks for a password is known by its turning that off. We keep a slave of our own as well:
// else the master would report the end whenever the child happens to have no other open, as sudo
// when it starts.
type terminal struct {
	master, slave *os.File
	once          sync.Once
}

// hangUp sends SIGHUP to the process that has this as controlling terminal.
func (t *terminal) hangUp() {
	t.once.Do(func() {
		beforeHangUp(t.master)
		t.slave.Close()
		t.master.Close()
	})
}

// openChannels makes pipes for stdin and stdout, which programs handle best, and a socket pair for
// stderr: on Linux the runtime asks the kernel to be killed when its other end closes, which on a
// pipe fails if anything is left unread in it.
func openChannels(plan methods.Plan, opt Options) (*channels, error) {
	c := &channels{}
	if err := c.open(plan, opt); err != nil {
		c.closeChild()
		c.closeOurs()
		return nil, err
	}
	return c, nil
}

// open opens what a plan needs. After an error, the caller closes what is open.
func (c *channels) open(plan methods.Plan, opt Options) (err error) {
	if plan.TTY {
		master, slave, err := process.OpenTerminal(len(plan.Prompts) > 0)
		if err != nil {
			return fmt.Errorf(methods.NoTerminal+"%w", err)
		}
		c.tty = &terminal{master: master, slave: slave}
	}
	if err := c.addStdin(plan, opt); err != nil {
		return fmt.Errorf("open stdin: %w", err)
	}
	if err := c.addStdout(opt); err != nil {
		return fmt.Errorf("open stdout: %w", err)
	}
	if err := c.addStderr(); err != nil {
		return fmt.Errorf("open stderr: %w", err)
	}
	if c.tty != nil {
		// The child gets its controlling terminal through an fd. Setuid programs and ssh close it first
		// of all.
		c.child = append(c.child, c.tty.slave)
	}
	return c.keep()
}

// keep leaves the reserve of descriptors alone.
func (c *channels) keep() error {
	for _, f := range append([]*os.File{c.stdin, c.stdout, c.stderr}, c.lent...) {
		if f == nil {
			continue
		}
		if err := process.KeepFile(f); err != nil {
			return fmt.Errorf("open pipes: %w", err)
		}
	}
	return nil
}

func (c *channels) addStdin(plan methods.Plan, opt Options) error {
	switch {
	case opt.Stdin != nil:
		c.child = append(c.child, opt.Stdin)
		return nil
	case plan.Wait && c.tty == nil:
		return fmt.Errorf("plan without the terminal that is to be its stdin")
	case plan.Wait:
		c.child, c.stdin = append(c.child, c.tty.slave), c.tty.master
		return nil
	}
	r, w, err := os.Pipe()
	if err == nil {
		c.lend(r)
		c.stdin = w
	}
	return err
}

func (c *channels) addStdout(opt Options) error {
	if opt.Stdout != nil {
		c.child = append(c.child, opt.Stdout)
		return nil
	}
	r, w, err := os.Pipe()
	if err == nil {
		c.lend(w)
		c.stdout = r
	}
	return err
}

func (c *channels) addStderr() error {
	fds, err := peer.Pair()
	if err != nil {
		return err
	}
	c.lend(os.NewFile(uintptr(fds[1]), "stderr"))
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		syscall.Close(fds[0])
		return err
	}
	c.stderr = os.NewFile(uintptr(fds[0]), "stderr")
	return nil
}

// lend gives the child a file that is of no use to us.
func (c *channels) lend(f *os.File) {
	c.child = append(c.child, f)
	c.lent = append(c.lent, f)
}

func (c *channels) closeChild() {
	for _, f := range c.lent {
		f.Close()
	}
}

func (c *channels) closeOurs() {
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		if f != nil {
			f.Close()
		}
	}
	if c.tty != nil {
		c.tty.hangUp()
	}
}
