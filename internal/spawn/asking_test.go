package spawn

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askcases"
	"github.com/mitogen-go/mitogen/internal/methods"
)

var states = map[string]asking{"quiet": quiet, "begun": begun, "perhaps": perhaps, "asks": asks}

// TestJudge has the cases that runtimetest.TestAsking has.
func TestJudge(t *testing.T) {
	if !slices.Equal(askers, askcases.Askers) || lasting.Seconds() != askcases.Lasting {
		t.Errorf("got %q, %v, want %q, %v s", askers, lasting, askcases.Askers, askcases.Lasting)
	}
	names := cut(askcases.Names)
	for _, tt := range askcases.Trees {
		look := func(pid int) (*program, error) { return programOf(tt.All[pid]), nil }
		if got := judge(1, names, look); got != states[tt.Want] {
			t.Errorf("%s: got %d, want %s", tt.Name, got, tt.Want)
		}
	}
	if got := judge(1, names, func(int) (*program, error) {
		return nil, errors.New("no /proc")
	}); got != hidden {
		t.Errorf("without a process table: got %d, want %d", got, hidden)
	}
	endless := func(pid int) (*program, error) {
		return &program{own: true, children: []int{pid + 1, pid + 2}}, nil
	}
	if got := judge(1, names, endless); got != begun {
		t.Errorf("endless tree: got %d, want %d", got, begun)
	}
}

// programOf is the entry of a case; one without a name doesn't exist.
func programOf(q askcases.Process) *program {
	if q.Name == "" {
		return nil
	}
	has := func(flag string) bool { return slices.Contains(strings.Fields(q.Flags), flag) }
	return &program{name: q.Name, own: has("own"), root: has("root"), ended: has("ended"),
		children: q.Children, waited: has("waited"), reading: has("reading"), passing: has("passing")}
}

func TestRights(t *testing.T) {
	for _, tt := range askcases.Rights {
		own, root := rights(identity(tt.Us), identity(tt.It), tt.Setuid)
		if own != (tt.Want == "own") || root != (tt.Want == "root") {
			t.Errorf("%s: got own %t, root %t, want %q", tt.Name, own, root, tt.Want)
		}
	}
}

// What may have run its command is believed after a while only, and the echo has to be off.
func TestWaiter(t *testing.T) {
	now := time.Unix(1000, 0)
	q, quietly := &program{name: "su", root: true, waited: true}, true
	w := waiter{pid: 1, names: askers,
		look:  func() table { return func(int) (*program, error) { return q, nil } },
		quiet: func() bool { return quietly }, now: func() time.Time { return now }}
	step := func(d time.Duration, want asking) {
		t.Helper()
		now = now.Add(d)
		if got := w.state(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	step(0, perhaps)
	step(lasting-1, perhaps)
	step(1, asks)
	quietly = false
	step(0, begun)
	quietly = true
	step(0, perhaps)
	step(lasting-1, perhaps)
	q.children = []int{2}
	step(1, begun)
	q.children, q.waited = nil, false
	step(0, asks)
	q.ended = true
	step(time.Hour, begun)
}

func TestParsePS(t *testing.T) {
	for _, tt := range askcases.PS {
		columns := psColumns[1]
		if tt.Full {
			columns = psColumns[0]
		}
		look := parsePS(tt.Text, columns, identity(tt.Us))
		for pid, q := range tt.Want {
			if got, err := look(pid); err != nil || !reflect.DeepEqual(got, programOf(q)) {
				t.Errorf("%s: %d: got %+v, %v, want %+v", tt.Name, pid, got, err, q)
			}
		}
		if none, err := look(14); none != nil || err != nil {
			t.Errorf("%s: none: got %+v, %v", tt.Name, none, err)
		}
	}
}

// A ps that doesn't know real users is asked for less, even if it prints what it knows.
func TestListed(t *testing.T) {
	us, problem := identity{RUID: 1000, EUID: 1000,
		RGID: 100}, errors.New("ps: ruid: keyword not found")
	for _, tt := range []struct {
		name  string
		knows []bool // for each choice of columns
		err   error
	}{
		{"all", []bool{true, true}, nil},
		{"no real users", []bool{false, true}, nil},
		{"nothing", []bool{false, false}, problem},
	} {
		asked := 0
		look := listed(us, func(columns []string) ([]byte, error) {
			asked++
			if !tt.knows[asked-1] {
				return []byte("10 1 0 S sudo\n"), problem
			}
			text := strings.NewReplacer("ppid", "1", "pid", "10", "ruid", "1000", "uid", "0", "rgid", "7",
				"state", "S", "comm", "sudo").Replace(strings.Join(columns, " "))
			return []byte(text), nil
		})
		q, err := look(10)
		if !errors.Is(err, tt.err) || tt.err == nil && (q == nil || !q.root || q.name != "sudo") {
			t.Errorf("%s: got %+v, %v, want a sudo, %v", tt.name, q, err, tt.err)
		}
	}
}

// Where the process table is hidden, nothing is typed, and the error says why.
func TestHiddenProcesses(t *testing.T) {
	plan := sh(`stty -echo </dev/tty; printf 'password: ' >/dev/tty; read a </dev/tty; echo "[$a]"`)
	plan.TTY, plan.Prompts = true, []methods.Prompt{{Needle: []byte("password:"),
		Answer: []byte("sesame")}}
	p := run(t, plan, Options{asking: func() asking { return hidden }})
	if got := readAll(t, p.Stdout); strings.Contains(got, "sesame") {
		t.Errorf("typed: %q", got)
	}
	<-p.Done()
	if !errors.Is(p.Err(), connect.ErrHidden) {
		t.Errorf("got %v, want %v", p.Err(), connect.ErrHidden)
	}
}

// A program of the engine's own account, however it looks, gets nothing: it asks for nothing.
func TestOwnProgramGetsNothing(t *testing.T) {
	plan := sh(`stty -echo </dev/tty; printf 'password: ' >/dev/tty; read -t 1 a </dev/tty ||` +
		` exec sleep 0.3; echo "[$a]"`)
	plan.Argv[0], plan.TTY, plan.Prompts = "bash", true, []methods.Prompt{{Needle: []byte("password:"),
		Answer: []byte("sesame")}}
	p := run(t, plan, Options{})
	if got := readAll(t, p.Stdout); got != "" {
		t.Errorf("typed: %q", got)
	}
}
