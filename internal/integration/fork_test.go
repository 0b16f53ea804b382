package integration

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
)

const forked = `
import os, sys
N = []
def count():
    N.append(1)
    os.environ['MITO_SEEN'] = '1'
    os.chdir('/')
    modules = sorted(m for m in sys.modules if 'mitogen' in m or m == 'forked')
    return len(N), os.getppid(), modules, os.getcwd(), os.environ.get('MITO_SEEN')
def look():
    return len(N), os.environ.get('MITO_SEEN'), os.getcwd()
def state():
    import signal
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    importers = [f for f in sys.meta_path if hasattr(f, 'refuse')]
    return os.getpid(), len(importers), sys.stdin.read() == '', sys.argv, id(None)
`

// A fork is a copy of a hop that has run nothing: it sees nothing of its siblings, and is a child
// of that process.
func TestFork(t *testing.T) {
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{Path: []fs.FS{mapFS(map[string]string{"forked.py": forked})}})
		var stdout strings.Builder
		o.Stdout = &stdout
		a, b := connected(t, e, "local+fork", o), connected(t, e, "local+fork", o)
		hop := e.Contexts()[0]
		if n := len(e.Contexts()); n != 3 {
			t.Fatal(n, "contexts")
		}
		for range 2 {
			if _, err := mitogen.Call[any](t.Context(), a, "forked:count"); err != nil {
				t.Fatal(err)
			}
		}
		ppid, err := mitogen.Call[int](t.Context(), a, "os:getppid")
		if info, _ := hop.Info(t.Context()); err != nil || ppid != info.PID {
			t.Errorf("child of %d, want %d, %v", ppid, info.PID, err)
		}
		seen, err := mitogen.Call[[]any](t.Context(), b, "forked:look")
		if err != nil || seen[0] != int64(0) || seen[1] != nil || seen[2] == "/" {
			t.Errorf("look into the fork: got %v, %v; want [0 nil] and a directory that isn't /", seen, err)
		}
		var ids [2]any
		for i, c := range []*mitogen.Context{a, b} {
			info, err := c.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := mitogen.Call[[]any](t.Context(), c, "forked:state")
			if err != nil || got[0] != int64(info.PID) || got[1].(int64) > 1 || got[2] != true {
				t.Fatalf("state of the fork: got %v, %v; want its pid %d, one thread, true", got, err, info.PID)
			}
			ids[i] = got[4]
		}
		if ids[0] != ids[1] { // addresses are random from execution to execution
			t.Error("not forks of one process")
		}
		// Those for user code have hops of their own.
		c := connected(t, e, "local", o)
		if c.ID() == hop.ID() {
			t.Error("a template is used for calls")
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if uid, err := mitogen.Call[int](t.Context(), b, "here:uid"); err != nil || uid < 0 {
			t.Error(err)
		}
	})
}
