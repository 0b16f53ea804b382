package integration

import (
	"context"
	"io/fs"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// hopUser is code for contexts that use handles of their own and become hops.
const hopUser = `
import mitogen, pkgutil
import carrier

KEPT = []

def read(path):
    return pkgutil.get_data('carrier', path).decode('utf-8')

def receiver():
    KEPT.append(mitogen.Receiver())
    return KEPT[-1].sender()

def get():
    return KEPT[-1].get()
`

// TestOwnersOfHandles: what a context waits for comes, whether the context has become a hop before,
// meanwhile or never.
func TestOwnersOfHandles(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps string // r: read, h: become a hop, v: receive a value
	}{
		{"reads, becomes a hop, reads", "rhr"},
		{"becomes a hop, reads", "hrr"},
		{"reads, receives, becomes a hop, receives, reads", "rvhvr"},
		{"receives, becomes a hop, reads, receives", "vhrv"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := engine(t, mitogen.Options{
				Path:     []fs.FS{mapFS(map[string]string{"hopuser.py": hopUser})},
				Packages: []fs.FS{carrier()}})
			c := connected(t, e, "local", mitogen.ConnectOptions{})
			files := []string{"data/notes", "data/deep/b.txt", "top.txt"}
			for _, step := range test.steps {
				switch step {
				case 'r':
					if got := do[string](t, c, "hopuser:read", files[0]); got == "" {
						t.Errorf("read %s: got nothing", files[0])
					}
					files = files[1:]
				case 'h':
					child := connected(t, e, "local", mitogen.ConnectOptions{Via: c})
					do[int](t, child, "os:getpid")
				case 'v':
					sender := do[pyvalue.Sender](t, c, "hopuser:receiver")
					if err := e.Send(t.Context(), sender, 7); err != nil {
						t.Fatalf("send to a receiver: %v", err)
					}
					if got := do[int](t, c, "hopuser:get"); got != 7 {
						t.Errorf("receive: got %d, want 7", got)
					}
				}
			}
		})
	}
}

// do calls a function. A call that hangs fails with the limit.
func do[T any](t *testing.T, c *mitogen.Context, function string, args ...any) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := mitogen.Call[T](ctx, c, function, args...)
	if err != nil {
		t.Fatalf("call %s%v: %v", function, args, err)
	}
	return v
}
