package ansible_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// A file that contexts watch costs the tasks after its change one new login in all, and no task
// fails: one case that is drawn, and all in `make test-ansible`.
func TestLoginsAfterAChange(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	cases := []struct{ file, owner, accounts string }{
		{".pam_environment", "login", "login"},
		{".profile", "login", "login," + lab.Log},
		{".zshenv", lab.Log, lab.Log},
		{".cshrc", lab.Log, lab.Log + ",login"},
	}
	if !everything() {
		n := testpython.Draw(t.Name()).IntN(len(cases))
		cases = cases[n : n+1]
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			s := *s
			s.t = t
			home := homeOf(t)
			if c.owner != "login" {
				home = filepath.Join(filepath.Dir(home), c.owner)
			}
			file := filepath.Join(home, c.file)
			setAside(t, file)
			without := s.loginsOf(c.owner, c.accounts, filepath.Join(home, "mitogen-nothing"))
			with := s.loginsOf(c.owner, c.accounts, file)
			if with != without+1 {
				t.Errorf("tasks of %s: got %d logins, want %d and one", c.accounts, with, without)
			}
		})
	}
	s.quiet(nil)
}

// setAside renames a file, if there is one, and has it back at the test's end.
func setAside(t *testing.T, file string) {
	t.Helper()
	aside := file + ".aside"
	if err := os.Rename(file, aside); errors.Is(err, fs.ErrNotExist) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Rename(aside, file); err != nil {
			t.Error(err)
		}
	})
}

// loginsOf runs changes.yml and returns the number of logins. Accounts of the machine, which
// contexts watch as well, may change meanwhile: then it is run again.
func (s *stage) loginsOf(owner, accounts, file string) int {
	s.t.Helper()
	list := `["` + strings.ReplaceAll(accounts, ",", `","`) + `"]`
	for range 5 {
		before := accountFiles()
		results, out := s.play("mitogen", "changes.yml", lab.Play, "-e", python3, "-e", "owner="+owner,
			"-e", "file="+file, "-e", `{"accounts": `+list+`}`)
		if err := os.Remove(file); err != nil {
			s.t.Errorf("remove what the playbook has made: %v", err)
		}
		for _, r := range results {
			if r.What != "ok" {
				s.t.Errorf("%s: got %s, %v, want ok", r.Task, r.What, r.Value["msg"])
			}
		}
		if n, err := strconv.Atoi(logins(out)); err != nil {
			s.t.Fatalf("got no number of logins: %s", last(out))
		} else if accountFiles() == before {
			return n
		}
	}
	s.t.Skip("accounts of this machine change all the time")
	return 0
}

// accountFiles is the state of the files that say who there is.
func accountFiles() string {
	all := ""
	for _, name := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/sudoers.d"} {
		if st, err := os.Stat(name); err == nil {
			all += fmt.Sprint(st.ModTime(), st.Size(), " ")
		}
	}
	return all
}
