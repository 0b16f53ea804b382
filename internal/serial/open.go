// Package serial starts a context on the console of a machine: it logs in as a person at a terminal
// would, starts the far end of a link (internal/seriallink), and carries the context's streams
// over it.
package serial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/spawn"
)

// ErrBusy says that another program holds a line.
var ErrBusy = errors.New("in use by another program")

// A wire is an open line. One goroutine reads and one writes.
type wire interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// open opens a line for this process alone.
func open(ctx context.Context, l *methods.Line) (wire, error) {
	switch {
	case l.Device != "":
		return openDevice(l.Device, l.Baud)
	case l.Socket != "":
		return openSocket(ctx, l)
	case l.Address != "":
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", l.Address)
		if err != nil {
			return nil, err
		}
		return &telnet{Conn: c}, nil
	}
	return openProgram(ctx, l)
}

// openSocket takes a terminal for a device: qemu's and libvirt's consoles are either.
func openSocket(ctx context.Context, l *methods.Line) (wire, error) {
	if st, err := os.Stat(l.Socket); err == nil && st.Mode()&fs.ModeCharDevice != 0 {
		return openDevice(l.Socket, l.Baud)
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", l.Socket)
}

// device is a terminal of this machine.
type device struct {
	*os.File
	before *unix.Termios
}

// openDevice opens a terminal. If another program has locked it, by flock, exclusive use or a lock
// file, the error is ErrBusy.
func openDevice(path string, baud int) (wire, error) {
	if err := lockFile(path); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("open %s: %w", path, ErrBusy)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	before, err := takeDevice(fd, baud)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up %s: %w", path, err)
	}
	return &device{os.NewFile(uintptr(fd), path), before}, nil
}

// takeDevice locks a terminal and makes it raw. The kernel lets go of the lock when this process
// ends.
func takeDevice(fd, baud int) (before *unix.Termios, err error) {
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrBusy
	}
	defer func() {
		if err != nil {
			unlock(fd)
		}
	}()
	if before, err = unix.IoctlGetTermios(fd, ioctlGet); err != nil {
		return nil, err
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return nil, err
	}
	return before, setRaw(fd, *before, baud)
}

func setRaw(fd int, t unix.Termios, baud int) error {
	t.Iflag = unix.IGNBRK | unix.IGNPAR
	t.Oflag, t.Lflag = 0, 0
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CSTOPB
	t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if baud > 0 {
		setBaud(&t, baud)
	}
	return unix.IoctlSetTermios(fd, ioctlSet, &t)
}

// unlock lets other programs open a terminal. Closing it wouldn't do at once: a process that is
// started at the same moment has the descriptor, and so the lock, until it executes its program.
func unlock(fd int) {
	unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	unix.Flock(fd, unix.LOCK_UN)
}

// Close lets go of the terminal, as it was.
func (d *device) Close() error {
	if c, err := d.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) {
			unix.IoctlSetTermios(int(fd), ioctlSet, d.before)
			unlock(int(fd))
		})
	}
	return d.File.Close()
}

// lockDirs have the lock files of programs that use serial lines.
var lockDirs = []string{"/run/lock", "/var/lock", "/var/spool/lock"}

// lockFile returns an error if the lock file of a device names a process that runs.
func lockFile(path string) error {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	name := "LCK.." + strings.ReplaceAll(strings.TrimPrefix(path, "/dev/"), "/", "_")
	for _, dir := range lockDirs {
		words := strings.Fields(readLock(filepath.Join(dir, name)))
		if len(words) == 0 {
			continue
		}
		pid, err := strconv.Atoi(words[0])
		if err == nil && pid > 0 && pid != os.Getpid() && syscall.Kill(pid, 0) != syscall.ESRCH {
			return fmt.Errorf("open %s: %w: process %d (%s)", path, ErrBusy, pid, filepath.Join(dir,
				name))
		}
	}
	return nil
}

// maxLock bounds the bytes that are read of a lock file, which has a number and names.
const maxLock = 256

// readLock returns the start of a lock file; "": there is none. On many systems each user can write
// to the directory of lock files, so only a regular file is read, and a pipe isn't waited for.
func readLock(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, maxLock))
	if err != nil {
		return ""
	}
	return string(text)
}

// program is one whose terminal is the console.
type program struct {
	*spawn.Process
	leave string
}

// openProgram starts a program that leads to a console.
func openProgram(ctx context.Context, l *methods.Line) (wire, error) {
	plan := methods.Plan{Name: l.Program[0], Argv: l.Program, TTY: true, Wait: true, Alone: true}
	p, err := spawn.Start(ctx, plan, spawn.Options{})
	if err != nil {
		return nil, err
	}
	p.Connected() // nothing that it shows is a question to us
	return &program{p, l.Leave}, nil
}

func (p *program) Read(b []byte) (int, error)         { return p.Stdout.Read(b) }
func (p *program) Write(b []byte) (int, error)        { return p.Stdin.Write(b) }
func (p *program) SetReadDeadline(t time.Time) error  { return p.Stdout.SetReadDeadline(t) }
func (p *program) SetWriteDeadline(t time.Time) error { return p.Stdin.SetWriteDeadline(t) }

// Close types what has the program let go of the console, and ends it.
func (p *program) Close() error {
	p.Stdin.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(p.Stdin, p.leave)
	select {
	case <-p.Done():
	case <-time.After(time.Second):
	}
	return p.Process.Close()
}
