package spawn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// trees are process tables; process 1 is the one that was started.
var trees = []struct {
	name string
	all  map[int]*program
	want asking
}{
	{"asks", map[int]*program{1: {name: "sudo", root: true}}, asks},
	{"asks, behind a script", map[int]*program{1: {name: "sh", own: true, children: []int{2}}, 2: {name: "su", root: true}}, asks},
	{"asks, has had helpers, and reads", map[int]*program{1: {name: "sudo", root: true, waited: true, reading: true}}, asks},
	{"asks, or its command has ended", map[int]*program{1: {name: "su", root: true, waited: true}}, perhaps},
	{"has started its command", map[int]*program{1: {name: "sudo", root: true, children: []int{2}}, 2: {name: "sh"}}, begun},
	{"has started a command of root's", map[int]*program{1: {name: "sudo", root: true, children: []int{2}}, 2: {name: "sudo", root: true}}, begun},
	{"has started ours", map[int]*program{1: {name: "sudo", root: true, children: []int{2}}, 2: {name: "sh", own: true}}, begun},
	{"has become its command", map[int]*program{1: {name: "python3"}}, begun},
	{"has become a command of root's", map[int]*program{1: {name: "python3", root: true}}, begun},
	{"has become ours", map[int]*program{1: {name: "sudo", own: true}}, quiet},
	{"has ended", map[int]*program{1: {name: "sudo", root: true, ended: true}}, begun},
	{"is gone", nil, begun},
	{"behind a script, has ended", map[int]*program{1: {own: true, children: []int{2}}, 2: {name: "su", root: true, ended: true}}, quiet},
	{"behind a script, is gone", map[int]*program{1: {own: true, children: []int{2}}}, quiet},
	{"two that could ask", map[int]*program{1: {own: true, children: []int{2, 3}}, 2: {name: "su", root: true}, 3: {name: "sudo", root: true}}, begun},
	{"one that could ask, and another account", map[int]*program{1: {own: true, children: []int{2, 3}}, 2: {name: "su", root: true}, 3: {name: "sh"}}, begun},
	{"not started yet", map[int]*program{1: {name: "sh", own: true}}, quiet},
}

func TestJudge(t *testing.T) {
	names := []string{"sudo", "su"}
	for _, tt := range trees {
		if got := judge(1, names, func(pid int) (*program, error) { return tt.all[pid], nil }); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := judge(1, names, func(int) (*program, error) { return nil, errors.New("no /proc") }); got != hidden {
		t.Errorf("without a process table: got %d, want %d", got, hidden)
	}
	endless := func(pid int) (*program, error) { return &program{own: true, children: []int{pid + 1, pid + 2}}, nil }
	if got := judge(1, names, endless); got != begun {
		t.Errorf("endless tree: got %d, want %d", got, begun)
	}
}

// What may have run its command is believed after a while only, and the echo has to be off.
func TestWaiter(t *testing.T) {
	now := time.Unix(1000, 0)
	q, quietly := &program{name: "su", root: true, waited: true}, true
	w := waiter{pid: 1, names: askers, look: func() table { return func(int) (*program, error) { return q, nil } },
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
	look := parsePS("  10 1 1000 Ss sh\n 11 10 0 S+ /usr/bin/su\n 12 11 0 Z <defunct>\n 13 1 0 S a b\nnonsense\n", 1000)
	sh, _ := look(10)
	su, _ := look(11)
	if !sh.own || sh.root || len(sh.children) != 1 || sh.children[0] != 11 || sh.name != "sh" {
		t.Errorf("sh: %+v", sh)
	}
	if su.own || !su.root || !su.waited || su.ended || len(su.children) != 1 || su.name != "su" {
		t.Errorf("su: %+v", su)
	}
	if z, _ := look(12); !z.ended {
		t.Errorf("zombie: %+v", z)
	}
	if none, err := look(14); none != nil || err != nil {
		t.Errorf("none: %+v, %v", none, err)
	}
	if su, _ := parsePS("11 10 0 S su\n", 0)(11); su.root {
		t.Error("root can't tell by ps whose file su executes")
	}
}

// Where the process table is hidden, nothing is typed, and the error says why.
func TestHiddenProcesses(t *testing.T) {
	plan := sh(`stty -echo </dev/tty; printf 'password: ' >/dev/tty; read a </dev/tty; echo "[$a]"`)
	plan.TTY, plan.Prompts = true, []connect.Prompt{{Needle: []byte("password:"), Answer: []byte("sesame")}}
	p := run(t, plan, Options{asking: func() asking { return hidden }})
	if got := readAll(t, p.Stdout); strings.Contains(got, "sesame") {
		t.Errorf("typed: %q", got)
	}
	<-p.Done()
	if !errors.Is(p.Err(), connect.ErrHidden) {
		t.Errorf("got %v, want %v", p.Err(), connect.ErrHidden)
	}
}

// A program of our own account, however it looks, gets nothing: it isn't one that asks.
func TestOwnProgramGetsNothing(t *testing.T) {
	plan := sh(`stty -echo </dev/tty; printf 'password: ' >/dev/tty; read -t 1 a </dev/tty || exec sleep 0.3; echo "[$a]"`)
	plan.Argv[0], plan.TTY, plan.Prompts = "bash", true, []connect.Prompt{{Needle: []byte("password:"), Answer: []byte("sesame")}}
	p := run(t, plan, Options{})
	if got := readAll(t, p.Stdout); got != "" {
		t.Errorf("typed: %q", got)
	}
}
