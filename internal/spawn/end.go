package spawn

import (
	"os"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/process"
)

// The steps of Close.
const (
	grace     = 300 * time.Millisecond // for the child to end by itself, its stdin having ended
	patience  = 300 * time.Millisecond // for a child that we may not kill (sudo's) to end by SIGHUP
	hint      = 100 * time.Millisecond // for a child with a terminal to see that it is to end
	lastWords = 50 * time.Millisecond  // for what the child has left open to say more
)

// Close ends the process and waits for it: closes stdin, after 300 ms kills the process group and
// hangs up the terminal, and reaps. It fails if the process belongs to another user, so that it
// can't be killed, and stays nevertheless. Its stdin, stderr and terminal are closed even then.
// Close may be called at any time and again.
func (p *Process) Close() error {
	if p.Stdin != nil {
		p.Stdin.Close()
	}
	if p.Stdout != nil {
		defer p.Stdout.Close()
	}
	if p.endsWithin(grace) {
		return nil
	}
	p.Kill()
	if p.endsWithin(patience) {
		return nil
	}
	p.stderr.Close() // on Linux the kernel kills the runtime then
	if p.endsWithin(5 * patience) {
		return nil
	}
	return p.staysError()
}

func (p *Process) endsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// Kill kills the process group. It doesn't wait. One with a terminal, as sudo's, gets 100 ms to end
// by itself when all that it is connected to has closed: the kernel ends the runtime behind it, and
// sudo, if it were killed, would leave a monitor for two seconds.
func (p *Process) Kill() {
	if p.tty == nil {
		p.signal(syscall.SIGKILL)
	}
	if p.Stdin != nil {
		p.Stdin.Close()
	}
	if p.tty == nil {
		return
	}
	if p.isConnected() {
		p.stderr.Close() // before the terminal, whose SIGHUP would end the runtime without its group
	}
	p.tty.hangUp()
	go func() {
		if !p.endsWithin(hint) {
			p.signal(syscall.SIGKILL)
		}
	}()
}

func (p *Process) isConnected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected
}

// signal reaches the process group as long as no other process can have its id.
func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		syscall.Kill(-p.pid, sig)
	}
}

// reap waits for the end of the process, then ends all else: the rest of its group, the readers,
// our ends.
func (p *Process) reap() {
	process.AwaitExit(p.pid)
	status := p.collect()
	if p.tty != nil {
		p.tty.slave.Close() // the reader sees the end, unless another process holds the terminal
		p.tty.master.SetReadDeadline(time.Now().Add(lastWords))
	}
	p.stderr.SetReadDeadline(time.Now().Add(lastWords))
	p.readers.Wait()
	p.stderr.Close()
	if p.Stdin != nil {
		p.Stdin.Close()
	}
	if p.tty != nil {
		p.tty.hangUp()
	}
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	close(p.done)
}

// collect reaps the process itself. Where AwaitExit leaves a zombie, this still holds the group's
// id.
func (p *Process) collect() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopWatchLocked()
	if !p.opt.Background {
		syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.ended = true
	state, err := p.proc.Wait()
	if err != nil {
		return -1 // another part of this program has waited for all children
	}
	return exitStatus(state)
}

func exitStatus(state *os.ProcessState) int {
	w := state.Sys().(syscall.WaitStatus)
	if w.Signaled() {
		return -int(w.Signal())
	}
	return w.ExitStatus()
}
