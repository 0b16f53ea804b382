package goctx

import (
	"context"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// startLog has the log of the program go to the engine; nil: the program has none. Set before Main.
var startLog func(*served)

// levelError is Python's number of the level that errors are logged with.
const levelError = 40

// maxLogText bounds each text of a record in bytes, so that it fits a frame.
const maxLogText = 16 << 10

// log sends one record. level is Python's number.
func (s *served) log(level int, logger, message, trace string, when time.Time) {
	seconds := float64(when.UnixMicro()) / 1e6
	b, err := pickle.Append(nil, pyvalue.Tuple{level, text(logger, 255), seconds,
		text(message, maxLogText), text(trace, maxLogText)}, pickle.Proto4)
	if err == nil && s.room(context.Background()) == nil {
		s.send(&wire.Frame{Handle: wire.Log, Payload: b})
	}
}
