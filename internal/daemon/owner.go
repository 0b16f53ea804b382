package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// outlive returns when process pid has ended, or ctx. The number may be given to another process
// only once its parent has noticed.
func outlive(ctx context.Context, pid int) {
	tick := time.NewTicker(ownerTick)
	defer tick.Stop()
	born := startOf(pid)
	for syscall.Kill(pid, 0) != syscall.ESRCH && startOf(pid) == born {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep removes what killed daemons have left in a directory of sockets: those that are called
// after an owner who is no more.
func sweep(dir string) {
	all, _ := filepath.Glob(filepath.Join(dir, "*-*.sock*"))
	for _, name := range all {
		m := owned.FindStringSubmatch(filepath.Base(name))
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			os.Remove(name)
		}
	}
}

var owned = lazyregexp.New(`^[a-z]+-(\d+)\.sock(\.lock)?$`)

// ownerTick is the interval at which the daemon checks that its owner lives.
const ownerTick = 200 * time.Millisecond
