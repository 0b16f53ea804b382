package engine

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/report"
)

type endedConn struct{ err error }

func (c endedConn) Read([]byte) (int, error)    { return 0, c.err }
func (c endedConn) Write(b []byte) (int, error) { return len(b), nil }
func (c endedConn) Close() error                { return nil }
func (c endedConn) Text() string                { return "" }

// Whatever ends a process that is elsewhere is told, but for its own end and ours.
func TestDialedTellsWhy(t *testing.T) {
	for _, tt := range []struct {
		err  error
		told bool
	}{
		{io.EOF, false},
		{net.ErrClosed, false},
		{&connect.Error{Kind: connect.ErrExhausted}, true},
		{&report.LostError{Reason: "the daemon has gone"}, true},
		{errors.New("daemon is ending"), true},
		{io.ErrClosedPipe, true},
	} {
		p := &dialed{conn: endedConn{tt.err}, done: make(chan struct{})}
		p.Read(nil)
		var failed *connect.Error
		var lost *report.LostError
		err := p.err()
		if told := errors.As(err, &failed) || errors.As(err, &lost); told != tt.told ||
			told != (err != nil) {
			t.Errorf("%v: got %v, want it told: %v", tt.err, err, tt.told)
		}
	}
}
