package engine

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// A hop says how far a context came that it couldn't start; the text of its program says nothing.
func TestHopTellsHowFarItCame(t *testing.T) {
	banner := "\n" + boot.EC0 + "\nAuthenticated to web ([10.0.0.1]:22) using \"publickey\".\n"
	for _, tt := range []struct {
		reached           any
		loggedIn, started bool
	}{
		{0, false, false}, {1, true, false}, {2, true, true}, {"x", false, false}, {nil, false, false},
	} {
		b, err := pickle.Append(nil, pyvalue.Tuple{"timeout", -9, banner, tt.reached}, pickle.Proto2)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFailure(b)
		if err != nil {
			t.Fatal(err)
		}
		e := methods.Classify("ssh", f)
		if !errors.Is(e, connect.ErrTimeout) || e.LoggedIn != tt.loggedIn || e.Started != tt.started {
			t.Errorf("reached %v: got %v, logged in %v, started %v, want %v, %v",
				tt.reached, e, e.LoggedIn, e.Started, tt.loggedIn, tt.started)
		}
	}
}

// If another program has started the process, nothing says how it ended.
func TestStatusOfDialedProcess(t *testing.T) {
	for _, words := range []string{"", "words"} {
		p := &dialed{conn: ended(words), done: make(chan struct{})}
		p.Read(make([]byte, 1))
		f := p.Failure()
		f.Started = true
		if got := methods.Classify("local", f).Error(); strings.Contains(got, "status") {
			t.Errorf("%q: got %q, want no status", words, got)
		}
	}
}

// ended is a Conn of a process that has ended with words.
type ended string

func (ended) Read([]byte) (int, error)    { return 0, io.EOF }
func (ended) Write(b []byte) (int, error) { return 0, io.ErrClosedPipe }
func (ended) Close() error                { return nil }
func (c ended) Text() string              { return string(c) }
