package runtimetest

import (
	"strings"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// record is a LOG frame.
type record struct {
	src     wire.ContextID
	level   int64
	logger  string
	seconds float64
	message string
	trace   string
}

// parseRecord gives what isn't one the level -1.
func parseRecord(f wire.Frame) record {
	v, err := pickle.Decode(f.Payload, pickle.Limits{})
	r := record{src: f.Src, level: -1}
	t, ok := v.(pyvalue.Tuple)
	if err != nil || !ok || len(t) != 5 {
		r.message = "not a record: " + string(f.Payload)
		return r
	}
	r.level, _ = t[0].(int64)
	r.logger, _ = t[1].(string)
	r.seconds, _ = t[2].(float64)
	r.message, _ = t[3].(string)
	r.trace, _ = t[4].(string)
	return r
}

// record waits for a record whose message holds words, and returns it.
func (l *link) record(words string) record {
	l.t.Helper()
	var found record
	l.await("record with "+words, func() bool {
		for _, r := range l.logs {
			if strings.Contains(r.message, words) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}
