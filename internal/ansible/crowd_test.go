package ansible_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// crowd is the number of playbooks that make and remove users on one host at once.
const crowd = 3

// Playbooks that make and remove users on one host at the same time don't disturb each other.
// The ssh plugin does the same in `make soak`, where there are 20 rounds.
func TestUsersAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	testpython.OneIn(t, 3)
	rounds, plugins := 1, []string{"mitogen"}
	if os.Getenv("MITOGEN_SOAK") != "" {
		rounds, plugins = 20, []string{"ssh", "mitogen"}
	}
	playbook := playbooks(t)[0]
	for round := range rounds {
		for _, plugin := range plugins {
			t.Run(fmt.Sprintf("%d/%s", round+1, plugin), func(t *testing.T) {
				for n := range crowd {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						t.Parallel()
						newStage(t, playbook).usersOf(plugin, fmt.Sprintf("%d-%d", os.Getpid(), n))
					})
				}
			})
		}
	}
}

// usersOf runs a playbook that makes users whose names end with n, and checks its results.
func (s *stage) usersOf(plugin, n string) {
	s.t.Helper()
	s.t.Cleanup(func() { // of a playbook that failed
		for _, name := range []string{"mito-u" + n, "mito-v" + n} {
			exec.Command("userdel", "-rf", name).Run()
		}
		exec.Command("groupdel", "mito-g"+n).Run()
	})
	results, out := s.play(plugin, "crowd.yml", lab.Play, "-e", python3, "-e", "n="+n)
	got := stdoutOf(results, lab.Play)
	for task, want := range map[string]string{
		"as the user": "mito-u" + n, "in groups": "mito-g" + n + " mito-v" + n, "as the login": lab.Play,
		"content": n, "by a command": "", "loop": "", "group": "", "user": "", "file": "", "template": "",
		"second": "", "groups": "", "user gone": "", "second gone": "", "group gone": "",
	} {
		if text, ok := got[task]; !ok || strings.TrimSpace(text) != want {
			s.t.Errorf("%s: got %q, done %t, want %q", task, text, ok, want)
		}
	}
	if s.t.Failed() {
		s.t.Log(last(out))
	}
}
