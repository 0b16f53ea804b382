package limits

import (
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

const filler = `
import os

held = []

def fill(left):
    "Open files until there is room for so many more."
    while 1:
        try:
            held.append(os.open('/dev/null', os.O_RDONLY))
        except OSError:
            break
    for i in range(left):
        os.close(held.pop())

def release():
    while held:
        os.close(held.pop())

def count():
    return len(os.listdir('/proc/self/fd'))
`

// A hop that lacks descriptors at any step of a start says so, by an error that the library's
// caller can test. It keeps none of those that it had opened, so that the next start is well.
func TestHopKeepsNoDescriptors(t *testing.T) {
	files := fstest.MapFS{"filler.py": {Data: []byte(filler)}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	hop, err := e.Start(target(resources[0].starve(64, "sh")), mitogen.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	call := func(into *int, function string, args ...any) {
		t.Helper()
		n, err := mitogen.Call[any](t.Context(), hop, function, args...)
		if err != nil {
			t.Fatalf("call %s: got error %v, want none", function, err)
		}
		if v, ok := n.(int64); ok && into != nil {
			*into = int(v)
		}
	}
	start := func(name string) error {
		c, err := e.Start(name, mitogen.ConnectOptions{Via: hop,
			Options: connect.Options{Sudo: connect.SudoOptions{Password: "none"}}})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Info(t.Context())
		return err
	}
	if err := start("local"); err != nil { // which has the hop load what starts programs
		t.Fatalf("first start: %v", err)
	}
	for _, name := range []string{"local", "exec:env MITO_LIMITS_H=1 sh", "sudo"} {
		failed := 0
		for left := range 12 {
			var before, after int
			call(&before, "filler:count")
			call(nil, "filler:fill", left)
			err := start(name)
			call(nil, "filler:release")
			call(&after, "filler:count")
			if after > before {
				t.Fatalf("%s, %d descriptors left: the hop has %d open after it, want %d", name, left, after,
					before)
			}
			var refused *connect.Error
			switch {
			case err == nil || name == "sudo" && errors.Is(err, connect.ErrDied): // there may be no sudo
			case !errors.As(err, &refused) || !errors.Is(err, connect.ErrExhausted) ||
				!errors.Is(err, syscall.EMFILE):
				t.Errorf("%s, %d descriptors left: got %v, want ErrExhausted and EMFILE", name, left, err)
			default:
				failed++
			}
		}
		if failed < 5 {
			t.Errorf("%s: got %d starts that lacked descriptors, want most", name, failed)
		}
	}
	if err := start("local"); err != nil {
		t.Errorf("last start: got %v, want a hop that still starts programs", err)
	}
}
