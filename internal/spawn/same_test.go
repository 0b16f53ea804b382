package spawn

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// judging answers cases, each a line of JSON, by the rules of the runtime, whose core it stands
// for.
const judging = `
import json, os, sys, types
core = types.ModuleType('_mitogen')
for name in 'Child EMPTY ITEM after close_others now posix program_signals send tell'.split():
    setattr(core, name, type(name, (), {}))
core.os, core.sys = os, sys
sys.modules['_mitogen'] = core
rules = {}
exec(open(sys.argv[1]).read(), rules)
rules['exists'] = lambda pid: False
for line in sys.stdin:
    case = json.loads(line)
    rules['process'] = dict((int(pid), q) for pid, q in case['Table'].items()).get
    own, root = rules['rights'](case['Us'], case['It'], case['Setuid'])
    print(rules['asking'](1, case['Names']) - 1, int(bool(own)), int(bool(root)))
`

// A randomCase is a process table, as the runtime has it, and two accounts.
type randomCase struct {
	Table  map[int][]any
	Names  []string
	Us, It [4]any
	Setuid bool
	all    map[int]*program
	us, it identity
}

func newCase(r *rand.Rand) randomCase {
	c := randomCase{Table: map[int][]any{}, Names: []string{"sudo", "su", "a-program-of-21-bytes"},
		Setuid: r.IntN(2) == 0, all: map[int]*program{}}
	few := func() bool { return r.IntN(4) == 0 }
	n := 1 + r.IntN(5)
	for pid := 1; pid <= n; pid++ {
		names := []string{"sudo", "su", "sh", "a-program-of-21", "a-program-of-2"}
		q := &program{name: names[r.IntN(len(names))], children: []int{},
			ended: few(), waited: few(), reading: few(), passing: few()}
		switch r.IntN(5) {
		case 0, 1, 2:
			q.own = true
		case 3:
			q.root = true
		}
		for child := pid + 1; child <= n+1; child++ { // the last doesn't exist
			if r.IntN(2) == 0 {
				q.children = append(q.children, child)
			}
		}
		c.all[pid] = q
		c.Table[pid] = []any{q.name, q.own, q.root, q.ended, q.children, q.waited, q.reading, q.passing}
	}
	account := func() identity {
		return identity{RUID: r.IntN(3), EUID: r.IntN(3), RGID: r.IntN(2), Groups: fmt.Sprint(r.IntN(2))}
	}
	c.us, c.it = account(), account()
	c.Us = [4]any{c.us.RUID, c.us.EUID, c.us.RGID, c.us.Groups}
	c.It = [4]any{c.it.RUID, c.it.EUID, c.it.RGID, c.it.Groups}
	return c
}

// Engine and runtime judge alike whatever there is, by a seed that is logged.
func TestSameRules(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var cases []randomCase
	var lines strings.Builder
	for range 3000 {
		c := newCase(r)
		line, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
		fmt.Fprintf(&lines, "%s\n", line)
	}
	cmd := exec.Command(python, "-c", judging, "../../python/asking.py")
	cmd.Stdin = strings.NewReader(lines.String())
	out, err := cmd.CombinedOutput()
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(answers) != len(cases) {
		t.Fatalf("the runtime: %v: %s", err, out)
	}
	seen := map[string]int{}
	for i, c := range cases {
		state := judge(1, cut(c.Names), func(pid int) (*program, error) { return c.all[pid], nil })
		own, root := rights(c.us, c.it, c.Setuid)
		var gotState, gotOwn, gotRoot int
		fmt.Sscan(answers[i], &gotState, &gotOwn, &gotRoot)
		if asking(gotState) != state || (gotOwn != 0) != own || (gotRoot != 0) != root {
			t.Fatalf("got %q by the runtime, %d, %t, %t by the engine, of %+v", answers[i], state, own, root,
				c)
		}
		seen[fmt.Sprint("state ", state)]++
		seen[fmt.Sprint("rights ", own, root)]++
	}
	if len(seen) != 4+3 {
		t.Errorf("got these results: %v, want each state and right", slices.Sorted(maps.Keys(seen)))
	}
}
