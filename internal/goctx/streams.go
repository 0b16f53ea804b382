package goctx

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// lateOutput bounds what is passed on of an output after its time: as much as two pipes may hold.
const lateOutput = 2 << 20

// An output is a stream of a session's program, or what a terminal shows.
type output struct {
	p      *session
	flow   key
	file   *os.File
	conn   syscall.RawConn // nil: file is closed
	ctx    context.Context // ended by close
	cancel context.CancelFunc
	late   int  // bytes read after its time. Owned by follow, as held
	held   bool // it was closed while something had it open
}

func newOutput(p *session, file *os.File, flow key) *output {
	o := &output{p: p, flow: flow, file: file}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.conn, _ = file.SyscallConn()
	return o
}

func handleOf(n uint32) wire.Handle { return wire.Handle(n) }

// close has follow end, and the program's writes fail.
func (o *output) close() {
	o.cancel()
	o.file.Close()
}

// limit has what keeps the output open wait no longer than d.
func (o *output) limit(d time.Duration) { o.file.SetReadDeadline(time.Now().Add(d)) }

// follow sends output as it comes, and its end, if it has a handle of its own.
func (o *output) follow() {
	s := o.p.s
	defer o.close()
	for o.late < lateOutput {
		if s.reserve(o.ctx, o.flow, 0) != nil || s.room(o.ctx) != nil {
			break // nothing takes it any more
		}
		if !o.pass() {
			break
		}
	}
	if o.late >= lateOutput {
		o.held = true
	}
	o.p.mu.Lock()
	dropped := o.p.dropped
	o.p.mu.Unlock()
	if o.flow != o.p.key && !dropped {
		s.send(&wire.Frame{Dst: o.flow.src, Handle: o.flow.reply})
	}
}

// readBuffers hold what is read of one output, or connection.
var readBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// pass waits for output and sends what is there. It returns false at the end. A terminal that no
// process has open ends with an error.
func (o *output) pass() (more bool) {
	n, err := readReady(o.conn.Read, o.send)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = readReady(func(f func(uintptr) bool) error {
			return o.conn.Control(func(fd uintptr) {
				if !f(fd) {
					o.held = true
				}
			})
		}, o.send)
		o.late += n
	}
	return n > 0 && err == nil
}

func (o *output) send(b []byte) {
	if o.p.s.reserve(o.ctx, o.flow, len(b)) == nil {
		o.p.s.send(&wire.Frame{Kind: wire.Item, Dst: o.flow.src, Handle: o.flow.reply, Payload: b})
	}
}

// readReady has access call a function that reads a file without blocking, and gives take what
// there is. access is told (false) if nothing is there yet. n is 0 at the end, and after an error.
func readReady(access func(func(fd uintptr) bool) error, take func([]byte)) (n int, err error) {
	why := error(nil)
	err = access(func(fd uintptr) bool {
		b := readBuffers.Get().(*[64 << 10]byte)
		defer readBuffers.Put(b)
		for n, why = unix.Read(int(fd), b[:]); why == unix.EINTR; n, why = unix.Read(int(fd), b[:]) {
		}
		n = max(n, 0)
		if n > 0 {
			take(b[:n])
		}
		return why != unix.EAGAIN
	})
	if why == unix.EAGAIN {
		why = nil
	}
	return n, errors.Join(err, why)
}

// discard takes and drops all.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// setSize tells a terminal its size, which sends SIGWINCH to what runs there.
func setSize(f *os.File, size windowSize) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ,
			&unix.Winsize{Row: size[0], Col: size[1], Xpixel: size[2], Ypixel: size[3]})
	})
	return errors.Join(err, failed)
}

// keepOpen closes the end of a pipe once nothing reads the other end, so that nothing that a
// program has started takes a part of its input for the whole.
func keepOpen(f *os.File) {
	defer f.Close()
	f.SetWriteDeadline(time.Time{})
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	conn.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		return err != nil && err != unix.EINTR || n > 0
	})
}
