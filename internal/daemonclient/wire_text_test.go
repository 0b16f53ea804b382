package daemonclient

import (
	"errors"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// What a client is told of an error is printable, whichever error it is, and so is what the client
// makes of it.
func TestFailuresArePrintable(t *testing.T) {
	const bad = "a\x1b[2J\u009b\x9b\u202eb"
	for name, err := range map[string]error{
		"exception": &report.CallError{Module: bad, Type: bad, Text: bad},
		"lost":      &report.LostError{Context: "c", Hop: "c", Reason: bad},
		"connect":   &connect.Error{Hop: bad, Kind: connect.ErrDied, Text: bad},
		"other":     errors.New(bad),
	} {
		f := FailureOf(err)
		if f.Exception != printable.Line(f.Exception) ||
			f.Kind == "" && f.Why == "" && f.Text != printable.Text(f.Text) {
			t.Errorf("%s: got %+v", name, *f)
		}
		if got := f.Err().Error(); got != printable.Line(got) {
			t.Errorf("%s: client gets %+q", name, got)
		}
	}
}
