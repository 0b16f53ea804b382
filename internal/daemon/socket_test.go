package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/daemonclient"
)

// A client that looks for a daemon keeps none from starting, and two daemons that start at once
// become one.
func TestLookingForADaemonStopsNone(t *testing.T) {
	for _, starting := range []int{1, 2, 5} {
		socket := filepath.Join(t.TempDir(), "d", "sock")
		var looking sync.WaitGroup
		var stop atomic.Bool
		for range 4 {
			looking.Go(func() {
				for !stop.Load() {
					daemonclient.Locked(socket)
				}
			})
		}
		for range 20 {
			var running atomic.Int32
			var daemons sync.WaitGroup
			all := make(chan func(), starting)
			for range starting {
				daemons.Go(func() {
					l, lock, err := listen(socket)
					switch {
					case err == nil:
						running.Add(1)
						all <- func() { l.Close(); lock.Close() }
					case !errors.Is(err, ErrRunning):
						t.Error(err)
					}
				})
			}
			daemons.Wait()
			if n := running.Load(); n != 1 {
				t.Errorf("%d daemons that start at once: got %d, want 1", starting, n)
			} else if !daemonclient.Locked(socket) {
				t.Error("a daemon runs, and isn't seen")
			}
			close(all)
			for end := range all {
				end()
			}
		}
		stop.Store(true)
		looking.Wait()
		if daemonclient.Locked(socket) {
			t.Error("no daemon runs, and one is seen")
		}
	}
}

// A daemon that starts while clients look for a daemon waits for them.
func TestDaemonWaitsForWhoeverLooks(t *testing.T) {
	for _, lookers := range []int{1, 3} {
		socket := filepath.Join(t.TempDir(), "d", "sock")
		if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		var looking []*os.File
		for range lookers {
			f, err := os.OpenFile(socket+".lock", os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := daemonclient.Flock(f, syscall.LOCK_SH); err != nil {
				t.Fatal(err)
			}
			looking = append(looking, f)
		}
		looked := make(chan struct{})
		time.AfterFunc(50*time.Millisecond, func() {
			defer close(looked)
			for _, f := range looking {
				daemonclient.Flock(f, syscall.LOCK_UN)
			}
		})
		l, lock, err := listen(socket)
		<-looked
		if err != nil {
			t.Fatalf("%d look: %v", lookers, err)
		}
		l.Close()
		lock.Close()
	}
}
