package stdio

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// polled reads a terminal, pipe or device that has no deadlines, as os.Stdin usually hasn't. It
// reads only once there is something. So the wait can be interrupted, and a Read that was given up
// takes nothing.
type polled struct {
	file  *os.File
	wake  *os.File // at its end when interrupted
	waker *os.File
}

func newPolled(f *os.File) (*polled, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &polled{file: f, wake: r, waker: w}, nil
}

// Read is interrupted by SetReadDeadline.
func (p *polled) Read(b []byte) (int, error) {
	woken, err := p.wait()
	if err != nil {
		return 0, err
	}
	if woken {
		return 0, os.ErrDeadlineExceeded
	}
	return p.file.Read(b)
}

// wait blocks until there is something to read, or an error or the end, or until it is interrupted.
func (p *polled) wait() (woken bool, err error) {
	err = withFD(p.file, func(file int32) error {
		return withFD(p.wake, func(wake int32) error {
			fds := []unix.PollFd{{Fd: file, Events: unix.POLLIN}, {Fd: wake, Events: unix.POLLIN}}
			for {
				_, err := unix.Poll(fds, -1)
				if !errors.Is(err, unix.EINTR) {
					woken = fds[1].Revents != 0
					return err
				}
			}
		})
	})
	return woken, err
}

// SetReadDeadline interrupts Read once and for all by a time that is past; the zero time is
// ignored.
func (p *polled) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		p.waker.Close()
	}
	return nil
}

// Close leaves the file open.
func (p *polled) Close() error { return errors.Join(p.waker.Close(), p.wake.Close()) }

// blocks says that a Read of f waits in the kernel, where no deadline ends it.
func blocks(f *os.File) bool {
	flags := 0
	err := withFD(f, func(fd int32) (err error) {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err
	})
	return err != nil || flags&unix.O_NONBLOCK == 0
}

func withFD(f *os.File, use func(fd int32) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = use(int32(fd)) }); err != nil {
		return err
	}
	return failed
}
