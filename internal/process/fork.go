package process

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/mitogen-go/mitogen/secret"
)

// forks runs functions on one OS thread that never ends, of the whole program. No engine may end
// it, as the children of other engines would die. The kernel kills a child with a parent-death
// signal when the thread that started it ends, and the Go runtime ends threads as it likes.
var forks = sync.OnceValue(func() chan<- func() {
	c := make(chan func()) // any goroutine sends, never closed
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// inherited are signals that this process was started to ignore, as by nohup, and that the Go
// runtime leaves ignored. Programs would inherit that: what SIGHUP is to end, at the end of its
// terminal or by our signal, would stay.
var inherited = slices.DeleteFunc([]os.Signal{syscall.SIGHUP, syscall.SIGINT},
	func(s os.Signal) bool { return !signal.Ignored(s) })

// undisturbed calls f while signals that are ignored have a handler, which does nothing: what f
// starts has the signals' defaults, and this process still ignores them.
func undisturbed(f func()) {
	if len(inherited) > 0 {
		nothing := make(chan os.Signal, 1)
		signal.Notify(nothing, inherited...)
		defer signal.Stop(nothing)
	}
	f()
}

// Fork is os.StartProcess on the thread for it. Of signals that this process ignores the new one
// has the defaults.
func Fork(path string, argv []string, attr *os.ProcAttr) (proc *os.Process, err error) {
	done := make(chan struct{})
	forks() <- func() {
		defer close(done)
		undisturbed(func() {
			secret.Unlimited(func() { proc, err = os.StartProcess(path, argv, attr) })
		})
	}
	<-done
	return proc, err
}
