package ansible

import (
	"errors"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// What the plugin is told of an error is printable: Ansible shows it as it is.
func TestFailuresArePrintable(t *testing.T) {
	const bad = "a\x1b[2J\u009b\x9b\u202eb"
	for name, err := range map[string]error{
		"exception": &report.CallError{Type: bad, Text: bad},
		"lost":      &report.LostError{Context: "c", Hop: bad, Reason: bad},
		"connect":   &connect.Error{Hop: bad, Kind: connect.ErrDied, Text: bad},
		"account":   errors.Join(errAccount, &connect.Error{Hop: bad, Kind: connect.ErrDied, Text: bad}),
		"other":     errors.New(bad),
	} {
		if f := failure(err); f.Text != printable.Text(f.Text) || f.Hop != printable.Line(f.Hop) {
			t.Errorf("%s: got %+v", name, *f)
		}
	}
}
