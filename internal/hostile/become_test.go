package hostile_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	api "github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// entering is a case of an account that enters the hostile account.
type entering struct {
	name   string
	user   string // who enters; "": root
	target string // hops; the last enters the hostile account
	login  bool   // by a login shell
	beg    string // how that account begs: see beg.py
	fails  bool   // the connect does
	exec   bool   // a script in place of sudo becomes the hostile account's program
}

// enterings are each method × where it is carried out × whether it asks. sudo remembers the
// password of the user fresh.
func enterings(fresh string) []entering {
	other, here := ":"+lab.Other, "local+"
	over := func(user string) string { return user + "+" }
	all := []entering{
		{name: "sudo, asks nothing, here", user: lab.Free, target: "sudo" + other, beg: "stays"},
		{name: "sudo, asks nothing, hop", user: lab.Free, target: here + "sudo" + other, beg: "stays"},
		{name: "sudo, asks nothing, ssh", target: over(lab.Free) + "sudo" + other, beg: "stays"},
		{name: "sudo -i, asks nothing, here", user: lab.Free, target: "sudo" + other, login: true,
			beg: "stays"},
		{name: "sudo -i, asks nothing, ssh", target: over(lab.Free) + "sudo" + other, login: true,
			beg: "stays"},
		{name: "sudo, logged, here", user: lab.Log, target: "sudo" + other, beg: "stays"},
		{name: "sudo, logged, hop", user: lab.Log, target: here + "sudo" + other, beg: "stays"},
		{name: "sudo, fresh, here", user: fresh, target: "sudo" + other, beg: "stays"},
		{name: "sudo, fresh, hop", user: fresh, target: here + "sudo" + other, beg: "stays"},
		{name: "sudo, asks, here", user: lab.Pass, target: "sudo" + other, beg: "stays"},
		{name: "sudo, asks, hop", user: lab.Pass, target: here + "sudo" + other, beg: "stays"},
		{name: "sudo, asks, ssh", target: over(lab.Pass) + "sudo" + other, beg: "stays"},
		{name: "sudo, leaves, here", user: lab.Free, target: "sudo" + other, beg: "leaves", fails: true},
		{name: "sudo, leaves, hop", user: lab.Free, target: here + "sudo" + other, beg: "leaves",
			fails: true},
		{name: "sudo, logged, leaves, hop", user: lab.Log, target: here + "sudo" + other, beg: "leaves",
			fails: true},
		{name: "sudo, killed, here", user: lab.Free, target: "sudo" + other, beg: "kills", fails: true},
		{name: "sudo, root, here", target: "sudo" + other, beg: "stays"},
		{name: "sudo, root, hop", target: here + "sudo" + other, beg: "stays"},
		{name: "sudo, root, becomes sudo, here",
			target: "sudo" + other, beg: "becomes", fails: true, exec: true},
		{name: "sudo, root, becomes sudo, hop",
			target: here + "sudo" + other, beg: "becomes", fails: true, exec: true},
		{name: "sudo, root, leaves, hop", target: here + "sudo" + other, beg: "leaves", fails: true},
		{name: "su, root, here", target: "su" + other, beg: "stays"},
		{name: "su, root, hop", target: here + "su" + other, beg: "stays"},
		{name: "su, root, stderr, hop", target: here + "su" + other, beg: "stderr"},
		{name: "su -, root, ssh", target: "root+su" + other, login: true, beg: "stays"},
		{name: "su, root, leaves, here", target: "su" + other, beg: "leaves", fails: true},
		{name: "su, root, leaves, hop", target: here + "su" + other, beg: "leaves", fails: true},
		{name: "su, asks, here", user: lab.Free, target: "su" + other, beg: "stays"},
		{name: "su, asks, hop", user: lab.Free, target: here + "su" + other, beg: "stays"},
		{name: "su -, asks, ssh", target: over(lab.Free) + "su" + other, login: true, beg: "stays"},
	}
	if lab.HasDoas() {
		all = append(all, []entering{
			{name: "doas, asks nothing, here", user: lab.Free, target: "doas" + other, beg: "stays"},
			{name: "doas, asks nothing, hop", user: lab.Free, target: here + "doas" + other, beg: "stays"},
			{name: "doas, asks nothing, ssh", target: over(lab.Free) + "doas" + other, beg: "stays"},
			{name: "doas, leaves, hop", user: lab.Free, target: here + "doas" + other, beg: "leaves",
				fails: true},
			{name: "doas, asks, here", user: lab.Pass, target: "doas" + other, beg: "stays"},
			{name: "doas, asks, hop", user: lab.Pass, target: here + "doas" + other, beg: "stays"},
		}...)
	}
	return all
}

// The account that is entered begs for the password in every way, and gets no byte; what asks for
// it gets it. A sample of the ways is tried, by a seed that is logged.
func TestBecomePasswordIsForTheAsker(t *testing.T) {
	l := lab.Need(t)
	exe := copied(t)
	dir := beggars(t)
	all := enterings(freshen(t, l))
	if !hostile.Long() {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:12]
	}
	for round := range hostile.Rounds(1, 10) {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			for i, e := range all {
				t.Run(e.name, func(t *testing.T) {
					t.Parallel()
					e.try(t, l, exe, filepath.Join(dir, fmt.Sprintf("loot-%d-%d", round, i)))
				})
			}
		})
	}
}

func (e *entering) try(t *testing.T, l *lab.Lab, exe, loot string) {
	if err := errors.Join(os.WriteFile(loot, nil, 0o666), os.Chmod(loot, 0o666)); err != nil {
		t.Fatal(err)
	}
	argv := []string{exe, "-test.run=^TestVictim$", "-test.v"}
	if e.user != "" {
		argv = lab.As(e.user, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	sudo := ""
	if e.exec {
		sudo = filepath.Join(filepath.Dir(loot), "sudo")
	}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "MITO_VICTIM=" + e.target,
		"MITO_PASSWORD=" + l.Password,
		"MITO_SUDO=" + sudo,
		"MITO_LOGIN=" + strconv.FormatBool(e.login), "MITO_CONFIG=" + l.Config,
		"MITO_PYTHON=/usr/bin/python3 -X how=" + e.beg + " -X loot=" + loot}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("victim: %v: %s", err, out)
	}
	got, err := os.ReadFile(loot)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), l.Password) {
		t.Errorf("password in %s", out)
	}
	if strings.Contains(string(got), "got") {
		t.Errorf("the account that is entered read from the terminal: %s", got)
	}
	if e.beg == "stays" && !strings.Contains(string(got), "begged") ||
		!strings.Contains(string(got), "begs") {
		t.Errorf("nothing begged: %q; victim: %s", got, out)
	}
	want := "uid " + strconv.Itoa(hostile.UID(t, lab.Other)) + "\n"
	if strings.Contains(string(out), want) == e.fails {
		t.Errorf("got %s, want %q: %t", out, want, !e.fails)
	}
}

// TestVictim is the process that enters, for other tests.
func TestVictim(t *testing.T) {
	target := os.Getenv("MITO_VICTIM")
	if target == "" {
		t.Skip("only for other tests")
	}
	login, _ := strconv.ParseBool(os.Getenv("MITO_LOGIN"))
	password := secret.Secret(os.Getenv("MITO_PASSWORD"))
	e, err := api.New(api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Connect(t.Context(), target, api.ConnectOptions{
		Options: connect.Options{Python: []string{os.Getenv("MITO_PYTHON")},
			SSH:  connect.SSHOptions{ConfigFile: os.Getenv("MITO_CONFIG")},
			Sudo: connect.SudoOptions{Path: os.Getenv("MITO_SUDO"), Password: password, Login: login},
			Su:   connect.SuOptions{Password: password, Login: login},
			Doas: connect.DoasOptions{Password: password}},
	})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	uid, err := api.Call[int](t.Context(), c, "os:getuid")
	fmt.Printf("uid %d\n", uid)
	if err != nil {
		t.Error(err)
	}
}

// custom and profile beg as the interpreter's command says, which also says where to note what
// comes of it: each interpreter of the account executes one, each login shell the other.
const (
	custom = `import os, sys
_x = sys._xoptions
if 'loot' in _x and os.getuid() == %d:
    argv = ['/usr/bin/python3', '-I', %q, _x['loot'], _x['how'], %q]
    if _x['how'] in ('leaves', 'kills', 'becomes'):
        os.execv(argv[0], argv)
    os.spawnv(os.P_WAIT, argv[0], argv)
`
	profile = `command=$(tr -d '\\' </proc/$$/cmdline | tr '\000' ' ')
loot=$(echo "$command" | sed -n 's/.*loot=\([^ ]*\) .*/\1/p')
how=$(echo "$command" | sed -n 's/.*how=\([a-z]*\) .*/\1/p')
/usr/bin/python3 -I %s "$loot" "$how" %s
`
)

// executing enters the hostile account as sudo would for root, but waits for nothing.
const executing = `#!/bin/sh
shift 5
HOME=%[2]s exec setpriv --reuid=%[1]s --regid=%[1]s --init-groups -- "$@"
`

// beggars has the hostile account beg while the test runs. It returns a directory for what is
// noted.
func beggars(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile-beg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	home, script := filepath.Join(lab.Dir, "home", lab.Other), filepath.Join(dir, "beg.py")
	site := filepath.Join(home, ".local/lib", pythonName(t), "site-packages")
	seconds := "0.4"
	files := map[string]string{
		script: hostile.Beg,
		filepath.Join(site, "usercustomize.py"): fmt.Sprintf(custom, hostile.UID(t, lab.Other), script,
			seconds),
		filepath.Join(home, ".profile"): fmt.Sprintf(profile, script, seconds),
	}
	err = errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(site, 0o755))
	sudo := fmt.Appendf(nil, executing, lab.Other, home)
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "sudo"), sudo, 0o755))
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(name, []byte(text), 0o644))
		if name != script {
			t.Cleanup(func() { os.Remove(name) })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// pythonName returns the name of the directory of the system's Python: "python3.11".
func pythonName(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c",
		"import sys; print('python%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// freshen makes a user whose password sudo remembers.
func freshen(t *testing.T, l *lab.Lab) (name string) {
	t.Helper()
	name = l.NewUser(t, "fresh", "timestamp_timeout=60, timestamp_type=global")
	argv := lab.As(name, "sudo", "-S", "-v")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(l.Password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("run sudo -v: %v; output: %s", err, out)
	}
	argv = lab.As(name, "sudo", "-n", "true")
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("sudo doesn't remember the password: %v; output: %s", err, out)
	}
	return name
}

// copied returns a copy of this test's executable that every account may execute.
func copied(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile-exe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(executable(t))
	exe := filepath.Join(dir, "hostile.test")
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(exe, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	return exe
}
