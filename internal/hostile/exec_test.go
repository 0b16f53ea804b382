package hostile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// TestNoArgumentHasSecrets: of all programs that are started here and on the target, by any way to
// give a password, none has one in its arguments or its environment. Only the environment that a
// user has given the command holds one.
func TestNoArgumentHasSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	l := lab.Need(t)
	target := []string{"-t", lab.Pass + "+sudo", "--ssh-arg=-oPubkeyAuthentication=no"}
	variables := []string{"MITOGEN_SSH_PASSWORD=" + l.Password,
		"MITOGEN_BECOME_PASSWORD=" + l.Password}
	give := "sh -c 'cat %s/word'"
	for _, tt := range []struct {
		name   string
		args   []string
		env    []string
		sample bool
		starts []string // programs, all of which are started
	}{
		{"variables", append([]string{"ping"}, target...), variables, true, []string{"ssh", "sudo"}},
		{"native", append([]string{"ping", "--ssh-native"}, target...), variables, false,
			[]string{"sudo"}},
		// without a ProxyCommand, behind which no hop's ssh is told from a jump host's
		{"ssh of a hop", []string{"ping", "-F", l.Config, "--ssh-from-hop", "-t",
			"local+" + lab.Pass + "+su:" + lab.TTY, "--ssh-arg=-oPubkeyAuthentication=no"}, variables, false,
			[]string{"python3", "ssh"}},
		{"a command's", append([]string{"exec", "--password-command", give}, append(target, "--",
			"env")...), nil, false, []string{"cat", "ssh", "sudo", "env"}},
		{"a file's, by the daemon", append([]string{"ping", "--daemon", "--password-of",
			lab.Pass + "=file:%s/word", "--password-of", "sudo=file:%[1]s/word"}, target...), nil, true,
			[]string{"ssh", "sudo"}},
	} {
		if !tt.sample && !hostile.Long() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			x := newExecs(t, l)
			args := []string{tt.args[0], "-F", x.config}
			for _, arg := range tt.args[1:] {
				if strings.Contains(arg, "%") {
					arg = fmt.Sprintf(arg, x.dir)
				}
				args = append(args, arg)
			}
			program := executable(t)
			if slices.Contains(args, "--daemon") { // it ends, or strace waits for it
				const stop = `"$0" "$@"; code=$?; "$0" daemon stop; exit $code`
				program, args = "/bin/sh", append([]string{"-c", stop, program}, args...)
			}
			cmd := x.traced(t.Context(), program, args...)
			cmd.Env = append(append(plainEnviron(), asCommand+"=1", "XDG_RUNTIME_DIR="+x.dir), tt.env...)
			x.look(cmd, tt.starts...)
		})
	}
	for _, program := range releases(t)[:1] {
		t.Run("ansible", func(t *testing.T) {
			x := newExecs(t, l)
			words, err := json.Marshal(map[string]string{"ansible_password": l.Password,
				"ansible_become_password": l.Password,
				"ansible_ssh_extra_args":  "-oPubkeyAuthentication=no"})
			if err != nil {
				t.Fatal(err)
			}
			vars := filepath.Join(x.dir, "vars.json")
			if err := os.WriteFile(vars, words, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			book := playbook(t, ctx, program, x.dir, x.config, "-i", lab.Pass+",", "-e", "@"+vars,
				"secrets.yml")
			cmd := x.traced(ctx, book.Path, book.Args[1:]...)
			cmd.Dir, cmd.Env = book.Dir, append(book.Env, asCommand+"=1", "XDG_RUNTIME_DIR="+x.dir)
			x.look(cmd, "ssh", "sudo")
		})
	}
}

// execs shows what a command starts, also on the target: sshd is below ssh.
type execs struct {
	t      *testing.T
	dir    string // which holds the password in the file word
	config string
	word   string // the password
}

func newExecs(t *testing.T, l *lab.Lab) *execs {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "mgo") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &execs{t, dir, filepath.Join(dir, "config"), l.Password}
	old, err := os.ReadFile(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := fmt.Sprintf("Host *\n  ProxyCommand /usr/sbin/sshd -i -f %s/sshd_config\n", lab.Dir)
	for name, text := range map[string]string{"config": proxy + string(old), "word": x.word + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// traced is a command whose programs are written to the file trace, with arguments and environment.
func (x *execs) traced(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "strace", append([]string{"-f", "-qq", "-v", "-s", "1000000",
		"-e", "trace=execve,execveat", "-e", "signal=none", "-o", filepath.Join(x.dir, "trace"),
		program}, args...)...)
}

// look runs a traced command, and looks at each program but the first, which is the command as the
// test has started it.
func (x *execs) look(cmd *exec.Cmd, starts ...string) {
	x.t.Helper()
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		x.t.Fatalf("the command failed: %v: %s", err, out)
	}
	trace, err := os.ReadFile(filepath.Join(x.dir, "trace"))
	if err != nil {
		x.t.Fatal(err)
	}
	_, all, _ := strings.Cut(string(trace), "\n")
	for line := range strings.Lines(all) {
		if strings.Contains(line, x.word) {
			x.t.Errorf("the password is in %s", line)
		}
	}
	for _, name := range starts {
		if !strings.Contains(all, "/"+name+`", ["`) {
			x.t.Errorf("%s: it isn't seen to be started, so this test sees nothing", name)
		}
	}
}
