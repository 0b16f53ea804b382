package daemon

import (
	"context"
	"syscall"
	"time"
)

// outlive returns when process pid has ended, or ctx. The number may be given to another process only once its parent has noticed.
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

// ownerTick is how often the owner is looked at.
const ownerTick = 200 * time.Millisecond
