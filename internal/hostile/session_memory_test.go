package hostile_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// daemonBelow returns the process of the daemon that a playbook has started with dir; 0: there is
// none.
func daemonBelow(t *testing.T, dir string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		words := strings.Split(string(text), "\x00")
		if err == nil && len(words) > 3 && words[1] == "daemon" && strings.HasPrefix(words[3], dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}

// Passwords that a playbook's sessions have brought aren't in the daemon's memory once the sessions
// have ended, though the contexts that they led to are there.
func TestAnsibleSessionsForget(t *testing.T) {
	l := lab.Need(t)
	for _, program := range releases(t) {
		for _, tt := range []struct {
			name  string
			args  []string
			tasks int // that succeed
		}{
			{"sudo", []string{"-e", "ansible_become_password=" + l.Password}, 2},
			{"ssh and sudo", []string{"-e", "ansible_password=" + l.Password, "-e",
				"ansible_become_password=" + l.Password,
				"-e", "ansible_ssh_extra_args=-oPubkeyAuthentication=no"}, 2},
			{"a wrong one", []string{"-e", "ansible_become_password=wrong-" + l.Password}, 1},
		} {
			if tt.name != "ssh and sudo" && !hostile.Long() {
				continue // a sample
			}
			t.Run(tt.name, func(t *testing.T) {
				dir, err := os.MkdirTemp("", "mgo")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(dir) })
				reached := filepath.Join(dir, "reached")
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				play, err := filepath.Abs("testdata/forgets.yml")
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{"-i", lab.Pass + ",", play, "-e", "reached=" + reached}, tt.args...)
				cmd := playbook(t, ctx, program, dir, l.Config, args...)
				sockets := filepath.Join(dir, "sockets")
				if err := os.Mkdir(sockets, 0o700); err != nil {
					t.Fatal(err)
				}
				cmd.Env = append(cmd.Env, asCommand+"=1", "XDG_RUNTIME_DIR="+sockets)
				out, err := os.Create(filepath.Join(dir, "output"))
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				said := func() string { text, _ := os.ReadFile(out.Name()); return string(text) }
				ended := make(chan error, 1)
				cmd.Stdout, cmd.Stderr = out, out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { ended <- cmd.Wait() }()
				defer func() { cancel(); <-ended }()
				eventually(t, "the wait", func() bool {
					select {
					case err := <-ended:
						ended <- err
						t.Fatalf("the playbook has ended: %v: %s", err, said())
					default:
					}
					_, err := os.Stat(reached)
					return err == nil
				})
				if got := strings.Count(said(), "changed: ["); got != tt.tasks {
					t.Fatalf("%d tasks were done, want %d: %s", got, tt.tasks, said())
				}
				pid := daemonBelow(t, sockets)
				if pid == 0 {
					t.Fatal("there is no daemon")
				}
				n := 0
				for range 300 {
					if n = copies(t, pid, l.Password); n == 0 {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				t.Errorf("the daemon has %d copies of the password, want none", n)
			})
		}
	}
}
