package ansible_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

const python3 = "ansible_python_interpreter=/usr/bin/python3"

// A play that does all as root has ssh enter that account, and the login's files made by it;
// results are those of the ssh plugin. All modules are compared on one day in three and in `make
// test-ansible`; TestSameAsSSH compares them as the login on the other days.
func TestDirect(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, playbook := range playbooks(t) {
		t.Run(release(t, playbook), func(t *testing.T) {
			s := newStage(t, playbook)
			if allModules(true) {
				out := s.compare("basic.yml", lab.Play, "--become", "-e", python3)
				if n := recognised(out); n < 60 {
					t.Errorf("%d modules were recognised", n)
				}
			}
			s.compare("direct.yml", lab.Play, "-e", python3)
			s.compare("ping.yml", lab.Pass, "--become", "-e", python3) // sudo asks
			s.compare("ping.yml", lab.Play, "--become", "-e", "ansible_python_interpreter=/no/such/python")
			s.quiet(nil)
		})
	}
}

// logins returns the number of logins in a report, or "no".
func logins(out string) string {
	m := regexp.MustCompile(`(?m)^\S+ +: logins=(\d+) `).FindStringSubmatch(out)
	if m == nil {
		return "no"
	}
	return m[1]
}

// Where sudo wants a terminal the account is entered by a login, which has one.
func TestDirectRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	_, out := s.play("mitogen", "ping.yml", lab.TTY, "--become", "-e", python3)
	if !strings.Contains(out, "Missing sudo password") {
		t.Error(last(out))
	}
	s.quiet(nil)
}

// The login that something needs after all uses the connection that is there; each can end.
func TestDirectAndLogin(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	results, out := s.play("mitogen", "direct.yml", lab.Play, "-e", python3)
	got := stdoutOf(results, lab.Play)
	if from := got["connection"]; !strings.HasPrefix(from, "SSH_CONNECTION=") ||
		from != got["the login's connection"] || logins(out) != "2" {
		t.Errorf("connections %q\n%s", got, last(out))
	}
	s.quiet(nil)
	results, out = s.play("mitogen", "direct-end.yml", lab.Play, "-e", python3)
	got = stdoutOf(results, lab.Play)
	if got["user's"] != "mito-temp" || strings.Contains(got["user gone"], "failed") ||
		got["root's"] != "root" {
		t.Errorf("a user who is removed: %q", got)
	}
	if got["first"] == "" || got["first"] != got["same"] || got["login"] != lab.Play {
		t.Errorf("contexts: %q", got)
	}
	if !strings.Contains(got["killed"], "unreachable: ") || got["again"] != "root" ||
		got["login again"] != lab.Play {
		t.Errorf("after a context was killed: %q", got)
	}
	if t.Failed() {
		t.Log(last(out))
	}
	s.quiet(nil)
}

// Accounts can be changed though contexts of theirs are warm, and what follows sees it: where ~ is,
// for instance.
func TestAccounts(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	s.compare("accounts.yml", lab.Play, "-e", python3)
	s.quiet(nil)
}
