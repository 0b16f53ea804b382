package goctx

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// rlimitRealTime is RLIMIT_RTTIME, which bounds the time of real-time scheduling.
const rlimitRealTime = 15

// bearMark has this process, and what it starts, bear a mark: a limit that is none, kept whatever
// becomes of parents, sessions and users. Where it cannot, what leaves the process group is not
// found.
func bearMark(mark string) {
	var limit unix.Rlimit
	n, err := strconv.ParseUint(mark, 10, 64)
	if err != nil || unix.Prlimit(0, rlimitRealTime, nil, &limit) != nil {
		return
	}
	limit.Cur = n
	unix.Prlimit(0, rlimitRealTime, &limit, nil)
}
