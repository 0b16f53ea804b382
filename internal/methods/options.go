package methods

import (
	"time"

	"github.com/mitogen-go/mitogen/connect"
)

func timeout(o connect.Options) time.Duration {
	switch {
	case o.Timeout < 0:
		return 0
	case o.Timeout == 0:
		return connect.DefaultTimeout
	}
	return o.Timeout
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
