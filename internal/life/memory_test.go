package life

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/secret"
)

// memory has what a run may try with the process that it was copied from, and what it may do with
// its own.
const memory = `
import os

def poison():
    "Writes into the template: 'written', or why that can't be done."
    try:
        lines = open('/proc/%d/maps' % os.getppid())
        where = [l.split() for l in lines if '[heap]' in l][0][0].split('-')[0]
        f = open('/proc/%d/mem' % os.getppid(), 'r+b', 0)
        f.seek(int(where, 16))
        byte = f.read(1)
        f.seek(int(where, 16))
        f.write(byte)
        return 'written'
    except (IOError, OSError) as e:
        return e.strerror

def template():
    return os.getppid()

def own():
    "What a program reads of itself."
    return [len(open('/proc/self/%s' % n, 'rb').read(1)) for n in ('environ', 'maps', 'cmdline')]

def plans(word):
    "What the hop still has of the plans that it carried out."
    import _mitogen
    children = _mitogen.CHILDREN.values()
    return [sorted(c.plan) for c in children] + [word in repr([c.__dict__ for c in children])]
`

func memoryEngine(t *testing.T) *mitogen.Engine {
	files := fstest.MapFS{"memory.py": {Data: []byte(pylink.Translate(boot.Table(), memory))}}
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{files}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func result[T any](t *testing.T, c *mitogen.Context, function string, args ...any) T {
	t.Helper()
	r, err := mitogen.Call[T](t.Context(), c, function, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Runs of one account are copies of one template: none may write into what the next is made of.
func TestTemplateIsClosed(t *testing.T) {
	l := lab.Need(t)
	e := memoryEngine(t)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	var templates []int
	for range 2 {
		c, err := e.Connect(t.Context(), "mito+fork", o)
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, result[int](t, c, "memory:template"))
		if got := result[string](t, c, "memory:poison"); got != "Permission denied" {
			t.Errorf("writing into the template: got %q, want %q", got, "Permission denied")
		}
		if got := result[[]int](t, c, "memory:own"); len(got) != 3 {
			t.Errorf("a run reads of its own process: got %v, want three bytes", got)
		}
	}
	if templates[0] != templates[1] {
		t.Errorf("the runs have templates %v, want one", templates)
	}
}

// A hop that was given a password for a context shows its memory to no other process of its
// account, and has nothing of the password once the context is up.
func TestHopForgetsSecrets(t *testing.T) {
	l := lab.Need(t)
	e := memoryEngine(t)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config},
		Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}}}
	hop, err := e.Connect(t.Context(), lab.Pass, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Via = hop
	if _, err := e.Connect(t.Context(), "sudo", o); err != nil {
		t.Fatal(err)
	}
	info, err := hop.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile("/proc/" + strconv.Itoa(info.PID) + "/environ"); err != nil {
		t.Fatalf("the hop's process isn't on this machine: %v", err)
	}
	st, err := os.Stat("/proc/" + strconv.Itoa(info.PID) + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("the memory of the hop belongs to user %d, want 0: others of its account can read it",
			uid)
	}
	got := result[[]any](t, hop, "memory:plans", l.Password)
	if len(got) != 2 {
		t.Fatalf("the hop has %d children, want 1: %v", len(got)-1, got)
	}
	if got[1] != false {
		t.Error("the hop still has the password")
	}
	if keys := fmt.Sprint(got[0]); !strings.Contains(keys, "name") || strings.Contains(keys, "env") {
		t.Errorf("the hop keeps of the plan: got %s, want its name, and no env", keys)
	}
}
