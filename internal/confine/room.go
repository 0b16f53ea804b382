package confine

import (
	"runtime"
	"sync"
)

// A Room calls functions on a thread of its own, which can open what is below its places, to read
// it, and nothing else: no other file, no program, no connection. What a function has opened can be
// read anywhere. Any goroutine may use a Room.
type Room struct {
	rules rules // static
	free  bool  // static; the system can't restrict threads
	start sync.Once
	jobs  chan job      // Do sends, the thread receives; never closed. Set by start
	ended chan struct{} // closed by Close
	end   sync.Once
	err   error // why the thread could not be restricted; set by start
}

type job struct {
	do   func()
	done chan struct{}
}

// NewRoom returns a Room for directories, and for files, as they are now. If another directory or
// file takes the place of one later, it can't be read. The thread starts with the first Do. The
// caller closes the Room.
func NewRoom(places ...string) (*Room, error) {
	r := &Room{free: Look().Landlock == 0, ended: make(chan struct{}), jobs: make(chan job)}
	if r.free {
		return r, nil
	}
	var err error
	r.rules, err = newRules(places)
	return r, err
}

// Do calls f on the thread of the Room, and returns when f has. An error says that f was not
// called.
func (r *Room) Do(f func()) error {
	select {
	case <-r.ended:
		return ErrClosed
	default:
	}
	if r.free {
		f()
		return nil
	}
	r.start.Do(r.open)
	if r.err != nil {
		return r.err
	}
	j := job{f, make(chan struct{})}
	select {
	case r.jobs <- j:
		<-j.done
		return nil
	case <-r.ended:
		return ErrClosed
	}
}

// Close ends the thread once it has nothing to do.
func (r *Room) Close() {
	r.end.Do(func() {
		close(r.ended)
		r.start.Do(func() { // there was no Do
			if !r.free { // a free room has no rules, and their number would be another file's
				r.rules.close()
			}
			r.err = ErrClosed
		})
	})
}

// open starts the thread. It waits until the thread is restricted.
func (r *Room) open() {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
		err := r.rules.enter()
		r.rules.close()
		ready <- err
		if err == nil {
			r.serve()
		}
	}()
	r.err = <-ready
}

func (r *Room) serve() {
	for {
		select {
		case j := <-r.jobs:
			j.do()
			close(j.done)
		case <-r.ended:
			return
		}
	}
}
