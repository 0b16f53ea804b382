package secret

import (
	"sync"

	"golang.org/x/sys/unix"
)

// cores is the limit on core dumps that this process was started with.
var cores struct {
	sync.Mutex
	limited bool
	before  unix.Rlimit
}

func limitCores() {
	cores.Lock()
	defer cores.Unlock()
	var l unix.Rlimit
	if cores.limited || unix.Getrlimit(unix.RLIMIT_CORE, &l) != nil {
		return
	}
	none := l
	none.Cur = 0
	if unix.Setrlimit(unix.RLIMIT_CORE, &none) == nil {
		cores.limited, cores.before = true, l
	}
}

// Unlimited calls start, which starts a process, with the limit on core dumps that was there before
// Harden: so the process inherits what it would have without it.
func Unlimited(start func()) {
	cores.Lock()
	defer cores.Unlock()
	if cores.limited && cores.before.Cur != 0 {
		none := cores.before
		none.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &cores.before)
		defer unix.Setrlimit(unix.RLIMIT_CORE, &none)
	}
	start()
}
