package spawn

import (
	"os"
	"runtime"
	"sync"

	"github.com/mitogen-go/mitogen/internal/secret"
)

// forks runs functions on one OS thread that never ends, of the whole program: no engine may end
// it, as the children of others would die. The kernel kills a child with a parent-death signal when
// the thread that started it ends, and the Go runtime ends threads as it likes.
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

// fork is os.StartProcess on the thread for it.
func fork(path string, argv []string, attr *os.ProcAttr) (proc *os.Process, err error) {
	done := make(chan struct{})
	forks() <- func() {
		defer close(done)
		secret.Unlimited(func() { proc, err = os.StartProcess(path, argv, attr) })
	}
	<-done
	return proc, err
}
