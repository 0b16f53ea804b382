package hostile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// formerly are names that jobs have had, and that another user can plant.
var formerly = []string{
	"/tmp/ansible_mitogen_payload/ansible_mitogen_payload.zip",
	"/tmp/ansible_mitogen_payload/ansible_mitogen_payload.zip/ansible/module_utils/basic.py",
	"/tmp/ansible_mitogen_payload/ansible_mitogen_payload.zip/ansible/module_utils/no_such_module.py",
}

// host is a host whose jobs are looked at.
type host struct {
	t       *testing.T
	dir     string
	program string
	login   string
	account string
	watch   *hostile.Watch
	judge   hostile.Judge
}

func newHost(t *testing.T, program, login, account string) *host {
	h := &host{t: t, dir: t.TempDir(), program: program, login: login, account: account}
	h.watch = hostile.NewWatch(t, lab.Need(t))
	for _, name := range []string{login, account} { // the account that is entered trusts the login
		if name != "root" {
			h.judge.Trusted = append(h.judge.Trusted, hostile.UID(t, name))
		}
	}
	return h
}

// play runs the jobs and returns the names that they know, by kind.
func (h *host) play() map[string][]string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"-i", h.login + ",", "jobs.yml"}
	if h.account != h.login {
		args = append(args, "-e", "ansible_become=true", "-e", "ansible_become_user="+h.account)
	}
	cmd := playbook(h.t, ctx, h.program, h.dir, h.watch.Config, args...)
	run := filepath.Join(h.dir, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		h.t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+run)
	out, err := cmd.CombinedOutput()
	all := recorded(h.t, h.dir)
	named := map[string][]string{}
	for _, r := range all {
		if r.What != "ok" && r.Task != "fail" {
			h.t.Errorf("task %s: got result %s (%.1000v), want ok", r.Task, r.What, r.Value)
		}
		names, _ := r.Value["names"].(map[string]any)
		for kind, list := range names {
			for _, name := range list.([]any) {
				named[kind] = append(named[kind], name.(string))
			}
		}
	}
	if len(named) == 0 || err != nil {
		h.t.Errorf("play: %v, %d results\n%s", err, len(all), out)
	}
	return named
}

// names fails the test for each name that another user could plant, and returns all names.
func (h *host) names(named map[string][]string) (all []string) {
	h.t.Helper()
	for kind, list := range named {
		slices.Sort(list)
		for _, name := range slices.Compact(list) {
			all = append(all, name)
			why := h.judge.Exposed(name)
			if kind == "directory" {
				why = h.judge.ExposedDirectory(name)
			}
			if why != "" {
				h.t.Errorf("a job names the %s %s, which another user could plant: %s", kind, name, why)
			}
		}
	}
	return all
}

// uses fails the test for each path that another user could have made, and for what was planted.
func (h *host) uses(trap *hostile.Trap) {
	h.t.Helper()
	all := h.watch.Uses(h.t)
	h.judge.Made = map[string]bool{}
	for _, u := range all {
		if u.Makes() {
			h.judge.Made[u.Path] = true
		}
	}
	found := map[string]int{}
	for _, u := range all {
		if why := h.judge.Exposed(u.Path); trap.Has(u.Path) {
			found[fmt.Sprintf("what another user had planted: %s %s", u.Call, u.Path)]++
		} else if why != "" && !strings.HasPrefix(u.Path, "/proc/") {
			found[fmt.Sprintf("what another user could have made: %s %s (%s)", u.Call, u.Path, why)]++
		}
	}
	if len(all) < 500 {
		h.t.Errorf("only %d uses of paths were seen", len(all))
	}
	for text, n := range found {
		h.t.Errorf("a job uses %s, %d times", text, n)
	}
	if sprung := trap.Sprung(h.t); sprung != "" {
		h.t.Errorf("what another user had planted was executed:\n%s", sprung)
	}
}

// meet runs the jobs on a host where another user has planted names, and returns the names that the
// jobs know.
func (h *host) meet(t *testing.T, kind hostile.Kind, names []string) []string {
	t.Helper()
	h.t = t
	trap := hostile.Plant(t, kind, names)
	if len(trap.Planted) == 0 {
		t.Fatalf("none of %d names could be planted", len(names))
	}
	named := h.play()
	h.uses(trap) // first: it shows what jobs have made themselves
	return h.names(named)
}

// A module's process names, opens and executes nothing that another user of the host could have
// made.
func TestJobs(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	ways := [][2]string{{lab.Play, "root"}, {"root", "root"}, {lab.Free, lab.None}, {"root", lab.None}}
	for i, program := range releases(t) {
		for _, way := range ways[:hostile.Rounds(1, len(ways))] {
			t.Run(fmt.Sprintf("%s/%s-%s", release(t, program), way[0], way[1]), func(t *testing.T) {
				h := newHost(t, program, way[0], way[1])
				names := h.meet(t, hostile.Zip, formerly)
				if !hostile.Long() {
					return
				}
				kinds := []hostile.Kind{hostile.Zip, hostile.Directory, hostile.Pipe}
				if i > 0 {
					kinds = kinds[:1] // Python is the same
				}
				for _, kind := range kinds {
					t.Run(string(kind), func(t *testing.T) { h.meet(t, kind, append(names, formerly...)) })
				}
			})
		}
	}
}
