package goctx

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// leavePatience bounds the end of a context that was told to end.
const leavePatience = time.Second

// listening notes when the parent was heard.
type listening struct {
	r io.Reader
	s *served
}

func (l listening) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.s.listened()
	}
	return n, err
}

// listened notes that the parent was heard, and how long it may be silent now.
func (s *served) listened() {
	s.heard.Store(int64(time.Since(s.began)))
	s.allowed.Store(int64(s.silence()))
}

// silence is the longest that the parent may be silent: longer while anything runs.
func (s *served) silence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running+len(s.sessions)+len(s.tunnels) > 0 {
		return max(time.Duration(s.cfg.BusyTimeout)*time.Second, s.silent)
	}
	return time.Duration(s.cfg.Heartbeat) * time.Second
}

// allowSilence takes the seconds of silence that another engine allows, behind an OPEN.
func (s *served) allowSilence(seconds int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = max(s.silent, time.Duration(min(max(0, seconds), 1<<32))*time.Second)
}

// watch ends the context if its parent is silent for too long. Time in which this process was
// stopped does not count.
func (s *served) watch() {
	step := time.Duration(s.cfg.Heartbeat) * time.Second / 6
	for looked := time.Now(); ; looked = time.Now() {
		time.Sleep(step)
		if time.Since(looked) > 2*step {
			s.listened()
			continue
		}
		silent := time.Since(s.began) - time.Duration(s.heard.Load())
		if silent > max(s.silence(), time.Duration(s.allowed.Load())) {
			s.ended(fmt.Errorf("its parent is gone: %.0f s of silence (--heartbeat)",
				silent.Seconds()))
		}
	}
}

// leave ends a context that was told to: after its calls and sessions, which were told too.
func (s *served) leave() {
	time.AfterFunc(leavePatience, s.die)
	<-s.idle
	s.settle()
	for s.answers.unsent() || s.stream.Queued() > 0 {
		time.Sleep(time.Millisecond)
	}
	s.die()
}

// ended is the end of the stream. The process says why, if that is no usual end.
func (s *served) ended(why error) {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if why != nil && !errors.Is(why, io.EOF) && !stopping {
		s.files.say(why)
	}
	s.die()
}

// die kills the process groups of sessions, and this process with its own. It takes no lock.
func (s *served) die() {
	s.groups.Range(func(pid, _ any) bool {
		unix.Kill(-pid.(int), unix.SIGKILL)
		return true
	})
	die()
}

// die kills this process with its group: what it has started ends with it.
func die() {
	unix.Kill(0, unix.SIGKILL)
	select {}
}
