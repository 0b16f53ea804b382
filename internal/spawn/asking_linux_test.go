package spawn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askcases"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// The real programs, at their question, are seen to ask at once, also where PAM has had a helper
// look for an empty password before (as of its release 1.6). ps agrees, and so does the terminal.
func TestAskersAreSeen(t *testing.T) {
	l := lab.Need(t)
	o := connect.Options{Su: connect.SuOptions{Password: secret.Secret(l.Password)}}
	for _, tt := range []struct{ name, user, target string }{
		{"sudo", lab.Pass, "sudo"}, {"sudo, use_pty", lab.TTY, "sudo"},
		{"su", lab.Free, "su:" + lab.Pass}, {"doas", lab.Pass, "doas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "doas" && !lab.HasDoas() {
				t.Skip("no doas, or one that is configured otherwise")
			}
			var p *Process
			seen := make(chan string, 1)
			started := make(chan struct{})
			plan := becomePlan(t, tt.user, tt.target, o, "echo in; cat")
			plan.Prompts = append(plan.Prompts[:0:0], plan.Prompts...)
			for i := range plan.Prompts {
				plan.Prompts[i].Answer = nil
			}
			us := accountOf(t, tt.user)
			p = run(t, plan, Options{account: us, Ask: func() (string, error) {
				<-started
				out, err := runPS(psColumns[0])
				byPS := judge(p.pid, askers, listed(*us, runPS))
				short, shortErr := runPS(psColumns[1])
				if shortErr != nil || judge(p.pid, askers,
					parsePS(string(short), psColumns[1], *us)) != perhaps {
					t.Errorf("by ps without real users it wasn't seen to ask: %v\n%s", shortErr, short)
				}
				q, lookErr := processes(*us)(p.pid)
				byProc := judge(p.pid, askers, processes(*us))
				byOther := judge(p.pid, askers, processes(*accountOf(t, lab.None)))
				byRoot := judge(p.pid, askers, processes(*accountOf(t, "root")))
				if byOther != begun || byRoot != begun {
					t.Errorf("from another account: got %d, from root %d, want %d", byOther, byRoot, begun)
				}
				if err != nil || lookErr != nil || byPS != perhaps || byProc != asks || !p.tty.quiet() {
					seen <- fmt.Sprintf("by ps %d, by /proc %d, %+v, %v, %v, the terminal is quiet: %t\n%s",
						byPS, byProc, q, lookErr, err, p.tty.quiet(), out)
				} else {
					seen <- ""
				}
				return l.Password, nil
			}})
			close(started)
			in := make([]byte, 3)
			if _, err := io.ReadFull(p.Stdout, in); err != nil {
				t.Fatalf("read the output: %v; failure: %+v", err, p.Failure())
			}
			if what := <-seen; what != "" {
				t.Errorf("at its question it wasn't seen to ask: %s", what)
			}
			if got := judge(p.pid, askers, processes(*us)); got != begun {
				t.Errorf("its command runs: got %d, want %d", got, begun)
			}
		})
	}
}

// A program with root's rights may be told a password of ours only if we have started it: the
// account that is entered may start one, too, and read its terminal.
func TestAskersOfOthers(t *testing.T) {
	lab.Need(t)
	dir, err := os.MkdirTemp("", "mitogen-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sleep, err := os.ReadFile("/bin/sleep")
	asker := filepath.Join(dir, "sudo")
	err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(asker, sleep, 0o755),
		os.Chmod(asker, 0o755|fs.ModeSetuid))
	if err != nil {
		t.Fatal(err)
	}
	const ours, other = lab.Free, lab.Pass
	for _, tt := range []struct {
		name, from          string
		user, group, groups string // the program's real ones
		want                bool
	}{
		{"ours", ours, ours, ours, ours, true},
		{"ours, root wholly", ours, "root", ours, ours, true},
		{"ours, in another group of ours", ours, ours, "root", ours, true},
		{"another's", ours, other, other, other, false},
		{"another's, root wholly", ours, "root", other, other, false},
		{"another's, in our group", ours, "root", ours, other, false},
		{"another's, in our group, too", ours, "root", ours, ours + "," + other, false},
		{"another's, without groups", ours, "root", ours, "", false},
		{"root's command", ours, "root", "root", "root", false},
		{"root's", "root", "root", "root", "root", true},
		{"another's, from root", "root", other, other, other, false},
		{"another's, root wholly, from root", "root", "root", other, other, false},
		{"another's, in root's group", "root", "root", "root", other, false},
	} {
		cmd := exec.Command("setpriv", "--ruid="+tt.user, "--euid=root", "--regid="+tt.group,
			groupsOption(tt.groups), "--", asker, "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		look := processes(*accountOf(t, tt.from))
		var q *program
		for q == nil || q.name != "sudo" {
			time.Sleep(time.Millisecond)
			if q, err = look(cmd.Process.Pid); err != nil || q == nil || q.ended {
				t.Fatalf("%s: got %+v, %v", tt.name, q, err)
			}
		}
		if q.root != tt.want || q.own {
			t.Errorf("%s: got %+v, want root's by us: %t", tt.name, q, tt.want)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// From the start of its command to its own end, a program isn't taken for a program that asks, or
// may ask.
func TestEndingsDontAsk(t *testing.T) {
	lab.Need(t)
	dir, err := os.MkdirTemp("/tmp", "mitogen-test-") // which all accounts can look into
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ user, target string }{
		{lab.Free, "sudo"}, {lab.Log, "sudo"}, {"root", "sudo:" + lab.Free}, {"root", "su:" + lab.Free},
		{lab.Free, "doas"},
	} {
		if tt.target == "doas" && !lab.HasDoas() {
			continue
		}
		for i := range 5 {
			started := false
			seen := filepath.Join(dir, fmt.Sprint(tt.user, tt.target, i))
			look := processes(*accountOf(t, tt.user))
			p := become(t, tt.user, tt.target, connect.Options{},
				fmt.Sprintf("until [ -e '%s' ]; do sleep 0.02; done", seen))
			for {
				if s := judge(p.pid, askers, look); started && s != begun {
					t.Errorf("%s: after its command has started: got %d, want %d", tt.target, s, begun)
				}
				q, _ := look(p.pid)
				if q == nil || q.ended {
					break
				}
				if !started && slices.Contains(askers, q.name) && len(q.children) > 0 {
					started = true
					if err := os.WriteFile(seen, nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !started {
				t.Errorf("%s: its command wasn't seen", tt.target)
			}
		}
	}
}

func groupsOption(groups string) string {
	if groups == "" {
		return "--clear-groups"
	}
	return "--groups=" + groups
}

// Where we are root, and su or doas asks nevertheless, it is told the password.
func TestRootIsAsked(t *testing.T) {
	l := lab.Need(t)
	pam := t.TempDir()
	if err := os.CopyFS(pam, os.DirFS("/etc/pam.d")); err != nil {
		t.Fatal(err)
	}
	const asking = "auth required pam_unix.so\naccount required pam_unix.so\nsession required " +
		"pam_unix.so\n"
	conf := filepath.Join(t.TempDir(), "doas.conf")
	err := errors.Join(os.WriteFile(filepath.Join(pam, "su"), []byte(asking), 0o644),
		os.WriteFile(filepath.Join(pam, "doas"), []byte(asking), 0o644),
		os.WriteFile(conf, []byte("permit root\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	o := connect.Options{Su: connect.SuOptions{Password: secret.Secret(l.Password)}}
	// root itself has no password
	for method, want := range map[string]string{"su": "in\n", "doas": ""} {
		if method == "doas" && !lab.HasDoas() {
			continue
		}
		plan := becomePlan(t, "root", method+":"+lab.Free, o, "echo in")
		plan.Prompts = slices.Clone(plan.Prompts)
		for i := range plan.Prompts {
			plan.Prompts[i].Answer = nil
		}
		const private = `mount --bind "$0" /etc/pam.d && mount --bind "$1" /etc/doas.conf && shift && ` +
			`exec "$@"`
		plan.Argv = append([]string{"unshare", "-m", "sh", "-c", private, pam, conf}, plan.Argv...)
		asked := make(chan bool, 1)
		p := run(t, plan, Options{Ask: func() (string, error) { asked <- true; return l.Password, nil }})
		if got := readAll(t, p.Stdout); got != want {
			t.Errorf("%s: got %q, %+v, want %q", method, got, p.Failure(), want)
		}
		<-p.Done()
		if len(asked) == 0 {
			t.Errorf("%s: its question wasn't asked: %+v", method, p.Failure())
		}
	}
}

// A password that was typed at a question is hidden in texts, as the passwords of the plan are.
func TestTypedPasswordHidden(t *testing.T) {
	l := lab.Need(t)
	plan := becomePlan(t, lab.Pass, "sudo", connect.Options{}, "echo kept "+l.Password+" >&2; echo in")
	p := run(t, plan, Options{account: accountOf(t, lab.Pass),
		Ask: func() (string, error) { return l.Password, nil }})
	if got := readAll(t, p.Stdout); got != "in\n" {
		t.Fatalf("got %q, %+v, want in", got, p.Failure())
	}
	<-p.Done()
	if got := p.Text(); strings.Contains(got, l.Password) || !strings.Contains(got, "kept ***") {
		t.Errorf("got %q, want no password", got)
	}
}

// Our own account is seen as the kernel has it.
func TestOurselves(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(groups)
	want := identity{os.Getuid(), os.Geteuid(), os.Getgid(), strings.Trim(fmt.Sprint(groups), "[]")}
	if got, err := ourselves(); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if q, err := processes(want)(os.Getpid()); err != nil || !q.own || q.root {
		t.Errorf("got %+v, %v, want one of ours", q, err)
	}
}

// Users, groups and readers of passwords are told as the kernel writes them.
func TestParseStatus(t *testing.T) {
	for _, tt := range askcases.Status {
		s, err := parseStatus(tt.Text)
		flags := strings.Fields(tt.Flags)
		want := status{identity: identity(tt.Identity), reading: slices.Contains(flags, "reading"),
			passing: slices.Contains(flags, "passing")}
		if s != want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", tt.Name, s, err, want)
		}
	}
	for _, text := range []string{
		"", "Uid:\t1\nGid:\t1\n", "Uid:\t1\t0\n", "Uid:\t1\t0\nGid:\n", "Uid:\ta\t0\nGid:\t1\n",
	} {
		if s, err := parseStatus(text); !errors.Is(err, errProc) {
			t.Errorf("%q: got %+v, %v, want %v", text, s, err, errProc)
		}
	}
}
