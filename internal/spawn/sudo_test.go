package spawn

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// become carries out a plan for sudo, as one of the lab's users, with a command instead of a
// context.
func become(t *testing.T, user, target string, opt connect.Options, script string) *Process {
	t.Helper()
	return run(t, becomePlan(t, user, target, opt, script), Options{account: accountOf(t, user)})
}

// accountOf returns the identity of a user with one group.
func accountOf(t *testing.T, name string) *identity {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &identity{RUID: uid, EUID: uid, RGID: gid, Groups: u.Gid}
}

func becomePlan(t *testing.T, user, target string, opt connect.Options,
	script string) methods.Plan {
	t.Helper()
	hop, err := methods.ParseHop(target)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := hop.Plan([]string{"sh", "-c", script, "$HOME"}, opt, true)
	if err != nil {
		t.Fatal(err)
	}
	if user != "root" {
		plan.Argv = lab.As(user, plan.Argv...)
	}
	return plan
}

func TestSudo(t *testing.T) {
	l := lab.Need(t)
	right := connect.Options{Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}}
	wrong := connect.Options{Sudo: connect.SudoOptions{Password: "wrong"}}
	none := connect.Options{}
	for _, tt := range []struct {
		name, user, target string
		opt                connect.Options
		want               error
		as                 string
	}{
		{"no password needed", lab.Free, "sudo", none, nil, "root"},
		{"password not needed", lab.Free, "sudo", wrong, nil, "root"},
		{"another user", lab.Free, "sudo:" + lab.None, none, nil, lab.None},
		{"by root", "root", "sudo:" + lab.Free, none, nil, lab.Free},
		{"right", lab.Pass, "sudo", right, nil, "root"},
		{"wrong", lab.Pass, "sudo", wrong, connect.ErrSudoPassword, ""},
		{"missing", lab.Pass, "sudo", none, connect.ErrPasswordRequired, ""},
		{"requiretty and use_pty", lab.TTY, "sudo", right, nil, "root"},
		{"requiretty and use_pty, wrong", lab.TTY, "sudo", wrong, connect.ErrSudoPassword, ""},
		{"logged", lab.Log, "sudo", none, nil, "root"},
		{"not in sudoers", lab.None, "sudo", right, connect.ErrNotInSudoers, ""},
		{"not in sudoers, no password", lab.None, "sudo", none, connect.ErrPasswordRequired, ""},
		{"unknown user", lab.Free, "sudo:mito-nobody", none, connect.ErrUnknownUser, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := become(t, tt.user, tt.target, tt.opt, "id -un; cat")
			io.WriteString(p.Stdin, "and read")
			if tt.want != nil {
				<-p.Done()
				if !errors.Is(p.Err(), tt.want) {
					t.Errorf("%v (%+v), want %v", p.Err(), p.Failure(), tt.want)
				}
				return
			}
			p.Stdin.Close()
			if got := readAll(t, p.Stdout); got != tt.as+"\nand read" || p.Wait() != 0 {
				t.Errorf("%q, status %d, %q", got, p.Status(), p.Text())
			}
			if strings.Contains(p.Text(), l.Password) {
				t.Errorf("password in %q", p.Text())
			}
		})
	}
}

// sudo without a terminal is refused by requiretty, and says so.
func TestSudoRequiresTTY(t *testing.T) {
	lab.Need(t)
	hop, _ := methods.ParseHop("sudo")
	plan, err := hop.Plan([]string{"true"}, connect.Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	plan.Argv, plan.TTY = lab.As(lab.TTY, plan.Argv...), false
	p := run(t, plan, Options{})
	<-p.Done()
	if !errors.Is(p.Err(), connect.ErrTTYRequired) {
		t.Error(p.Err())
	}
}

func TestSudoHomeAndLogin(t *testing.T) {
	lab.Need(t)
	home := lab.Dir + "/home/" + lab.None
	const script = `echo "$HOME|$0|` + "`pwd`" + `"`
	for _, tt := range []struct {
		opt  connect.SudoOptions
		want string
	}{
		{connect.SudoOptions{SetHome: true}, home + "|$HOME|"},
		{connect.SudoOptions{Login: true}, home + "|$HOME|" + home + "\n"},
	} {
		p := become(t, lab.Free, "sudo:"+lab.None, connect.Options{Sudo: tt.opt}, script)
		if got := readAll(t, p.Stdout); !strings.HasPrefix(got, tt.want) {
			t.Errorf("sudo with %+v: got %q, text %q; want %q first", tt.opt, got, p.Text(), tt.want)
		}
	}
}

// sudo -i goes through the user's login shell, whichever that is.
func TestSudoLoginShells(t *testing.T) {
	lab.Need(t)
	for _, shell := range []string{"sh", "bash", "zsh", "ksh", "fish", "tcsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		if out, err := exec.Command("usermod", "-s", path, lab.None).CombinedOutput(); err != nil {
			t.Fatalf("give %s the shell %s: %v; output: %s", lab.None, path, err, out)
		}
		p := become(t, lab.Free, "sudo:"+lab.None,
			connect.Options{Sudo: connect.SudoOptions{Login: true}},
			`for p in a b;do printf '%s|' $p "$0" '\!';done`)
		if got := readAll(t, p.Stdout); got != `a|$HOME|\!|b|$HOME|\!|` {
			t.Errorf("login shell %s: got %q, text %q; want the words unexpanded", shell, got, p.Text())
		}
		p.Close()
	}
	if out, err := exec.Command("usermod", "-s", "/bin/sh", lab.None).CombinedOutput(); err != nil {
		t.Fatalf("give %s the shell /bin/sh: %v; output: %s", lab.None, err, out)
	}
}

// At the prompt and later, with every kind of sudo, what sudo started ends when the process is
// closed.
func TestSudoEnds(t *testing.T) {
	l := lab.Need(t)
	opt := connect.Options{Sudo: connect.SudoOptions{Password: secret.Secret(l.Password)}}
	for _, user := range []string{lab.Free, lab.Pass, lab.TTY, lab.Log} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			p := become(t, user, "sudo:"+lab.None, opt, "echo $$; exec cat >/dev/null")
			var b [16]byte
			n, err := p.Stdout.Read(b[:])
			if err != nil {
				t.Fatalf("read the pid: %v; text: %q", err, p.Text())
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if pid := strings.TrimSpace(string(b[:n])); !gone(pid) {
				t.Errorf("process %s lives", pid)
			}
		})
	}
}

func gone(pid string) bool {
	for range 200 {
		state, _ := exec.Command("ps", "-o", "state=", "-p", pid).Output()
		if s := strings.TrimSpace(string(state)); s == "" || s == "Z" {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// An engine that isn't root may not kill what sudo started: this ends by itself, or by the
// terminal's hangup. The engine is this test binary, as one of the lab's users.
func TestSudoOfAnother(t *testing.T) {
	if job := os.Getenv("MITO_SPAWN_SUDO"); job != "" {
		sudoOfAnother(t, job)
		return
	}
	lab.Need(t)
	self := copySelf(t)
	for _, tt := range []struct{ name, user, script, want string }{
		{"at the prompt", lab.Pass, "true", "what unanswered 1, closed <nil>"},
		{"ends with stdin", lab.Free, "echo $$; exec cat >/dev/null", "closed <nil>"},
		{"ends by hangup", lab.Free, "echo $$; exec sleep 60", "closed <nil>"},
		{"ends by hangup, use_pty", lab.Log, "echo $$; exec sleep 60", "closed <nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			argv := lab.As(tt.user, self, "-test.run=^TestSudoOfAnother$", "-test.v")
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "MITO_SPAWN_SUDO="+tt.script)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("sudo of user %s: got %v, want %q in: %s", tt.user, err, tt.want, out)
			}
			var pid int
			if i := strings.Index(string(out), "pid "); i >= 0 {
				fmt.Sscanf(string(out)[i:], "pid %d", &pid)
			}
			if pid != 0 && !gone(fmt.Sprint(pid)) {
				t.Errorf("process %d lives", pid)
			}
		})
	}
}

func sudoOfAnother(t *testing.T, job string) {
	plan, err := methods.Hop{Method: "sudo"}.Plan([]string{"sh", "-c", job}, connect.Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), plan, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	n, _ := p.Stdout.Read(b[:])
	err = p.Close()
	fmt.Printf("pid %swhat %s %d, closed %v\n", b[:n], p.Failure().What, p.Status(), err)
}

// copySelf puts this binary where everybody may execute it.
func copySelf(t *testing.T) string {
	dir, err := os.MkdirTemp("", "mitogen-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "spawn.test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRealSudoRS runs where sudo-rs is installed setuid root (MITOGEN_SUDO_RS: its path). Debian 12
// has no package of it.
func TestRealSudoRS(t *testing.T) {
	l := lab.Need(t)
	path, err := exec.LookPath(cmp.Or(os.Getenv("MITOGEN_SUDO_RS"), "sudo-rs"))
	if err != nil {
		t.Skip("no sudo-rs; TestSudoRS has a stand-in")
	}
	right := connect.SudoOptions{Path: path, Password: secret.Secret(l.Password)}
	wrong := connect.SudoOptions{Path: path, Password: "wrong"}
	none := connect.SudoOptions{Path: path}
	for _, tt := range []struct {
		name, user, target string
		opt                connect.SudoOptions
		want               error
		as                 string
	}{
		{"no password needed", lab.Free, "sudo", none, nil, "root"},
		{"another user", lab.Free, "sudo:" + lab.None, none, nil, lab.None},
		{"right", lab.Pass, "sudo", right, nil, "root"},
		{"wrong", lab.Pass, "sudo", wrong, connect.ErrSudoPassword, ""},
		{"missing", lab.Pass, "sudo", none, connect.ErrPasswordRequired, ""},
		{"not in sudoers", lab.None, "sudo", right, connect.ErrNotInSudoers, ""},
		{"unknown user", lab.Free, "sudo:mito-nobody", none, connect.ErrUnknownUser, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := become(t, tt.user, tt.target, connect.Options{Sudo: tt.opt}, "id -un")
			out := readAll(t, p.Stdout)
			p.Wait()
			if tt.want == nil && out != tt.as+"\n" || tt.want != nil && !errors.Is(p.Err(), tt.want) {
				t.Errorf("sudo: got %q, %v (%+v); want user %q, error %v",
					out, p.Err(), p.Failure(), tt.as, tt.want)
			}
		})
	}
}

// sudo-rs puts the prompt into one of its own, whose end is localised, and shows stars.
const sudoRS = `#!/bin/sh
stty -echo </dev/tty
printf '[sudo: %s] Mot de passe : ' "$2" >/dev/tty
read word </dev/tty
printf '***\n' >/dev/tty
if test "$word" != right; then
	printf 'sudo: Authentication failed, try again.\n[sudo: %s] Mot de passe : ' "$2" >/dev/tty
	read word </dev/tty
	exit 1
fi
shift 5
exec "$@"
`

func TestSudoRS(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "sudo-rs")
	if err := os.WriteFile(fake, []byte(sudoRS), 0o755); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[secret.Secret]error{"right": nil, "wrong": connect.ErrSudoPassword,
		"": connect.ErrPasswordRequired} {
		plan := becomePlan(t, "root", "sudo",
			connect.Options{Sudo: connect.SudoOptions{Path: fake, Password: word}}, "echo in")
		p := run(t, plan, Options{asking: always})
		out := readAll(t, p.Stdout)
		p.Wait()
		if want == nil && out != "in\n" || want != nil && !errors.Is(p.Err(), want) {
			t.Errorf("password %q: got %q, %v; want \"in\\n\" or error %v", string(word), out, p.Err(), want)
		}
	}
}
