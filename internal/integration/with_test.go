package integration

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// commandDir holds the command that tests share, which takes some seconds to link.
var commandDir string

// withCommandDir calls run while there is a commandDir.
func withCommandDir(run func() int) int {
	dir, err := os.MkdirTemp("", "integration")
	if err == nil {
		err = os.Chmod(dir, 0o755) // other accounts execute the command
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	commandDir = dir
	return run()
}

// built makes the command, without tables for debuggers.
var built = sync.OnceValues(func() (string, error) {
	name := filepath.Join(commandDir, "mitogen")
	out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", name,
		"../../cmd/mitogen").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return name, nil
})

// buildMitogen returns the command, which the first test to ask for it makes.
func buildMitogen(t *testing.T) string {
	t.Helper()
	name, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// clients are programs that speak by ssh. Each is a shell's script, in a directory with a file
// `data` and a git repository `repo`; $THERE is a directory there, and web the target.
var clients = []client{
	{"ssh", "ssh", `test "$(echo in | ssh web 'cat; exit 3' || echo $?)" = "in
3"`},
	{"scp", "scp", `scp -q data web:$THERE/up && scp -q web:$THERE/up back && cmp data back`},
	{"scp -O", "scp", `scp -q -O data web:$THERE/up && scp -q -O web:$THERE/up back && cmp data back`},
	{"scp -r", "scp", `mkdir dir && cp data dir/a && cp data dir/b && scp -q -r dir web:$THERE/ &&
		scp -q -r web:$THERE/dir back && cmp data back/b`},
	{"scp -3", "scp", `scp -q data web:$THERE/up && scp -q -3 web:$THERE/up web:$THERE/again &&
		scp -q web:$THERE/again back && cmp data back`},
	{"sftp", "sftp", `printf 'put data %s/up\nget %s/up back\n' $THERE $THERE | sftp -q -b - web &&
		cmp data back`},
	{"rsync up", "rsync", `rsync -a data "web:$THERE/up" && ssh web cat $THERE/up | cmp data -`},
	{"rsync down", "rsync", `rsync -a data web:$THERE/up && rsync -as "web:$THERE/up" back &&
		cmp data back`},
	{"rsync --delete", "rsync", `mkdir dir && cp data dir/a && rsync -a dir/ web:$THERE/d/ &&
		mv dir/a dir/b && rsync -a --delete dir/ web:$THERE/d/ && test "$(ssh web ls $THERE/d)" = b`},
	{"git clone and push", "git", `git clone -q --bare repo bare.git &&
		scp -q -r bare.git web:$THERE/ && git clone -q web:$THERE/bare.git work && cd work &&
		git -c user.name=x -c user.email=x@x commit -q --allow-empty -m more && git push -q &&
		git ls-remote web:$THERE/bare.git HEAD | grep -q $(git rev-parse HEAD)`},
	{"git, core.sshCommand", "git", `git clone -q --bare repo bare.git &&
		scp -q -r bare.git web:$THERE/ && unset GIT_SSH_COMMAND &&
		git -c core.sshCommand="$MITOGEN_SSH" ls-remote web:$THERE/bare.git | grep -q HEAD`},
	{"/usr/bin/ssh", "ssh", `test "$(echo in | /usr/bin/ssh -F $MITOGEN_SSH_CONFIG web cat)" = in`},
	{"/usr/bin/scp", "scp", `/usr/bin/scp -q -F $MITOGEN_SSH_CONFIG data web:$THERE/up &&
		/usr/bin/scp -q -F $MITOGEN_SSH_CONFIG web:$THERE/up back && cmp data back`},
	{"/usr/bin/sftp", "sftp", `printf 'put data %s/up\nget %s/up back\n' $THERE $THERE |
		/usr/bin/sftp -q -F $MITOGEN_SSH_CONFIG -b - web && cmp data back`},
	{"many at once", "ssh", `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		ssh web "sleep .2; echo $i" & done | sort -n | tail -1 | grep -q 12`},
	{"a slow reader", "ssh", `
		test "$(ssh web head -c 3000000 /dev/zero | (sleep 1; wc -c))" = 3000000`},
}

// Programs that were not made for this reach a login, and an account behind sudo with a password,
// by one login: everything that they write belongs to that account.
func TestClientsOfSSH(t *testing.T) {
	l := lab.Need(t)
	c := clientTest{l: l, program: buildMitogen(t), port: l.NewPort(t), command: []string{"with"}}
	for name, target := range map[string]string{"login": lab.Free, "sudo": lab.Pass + "+sudo"} {
		t.Run(name, func(t *testing.T) { c.run(t, target, clients) })
	}
}

// client is a program that speaks by ssh, as in clients.
type client struct{ name, needs, script string }

// A clientTest has clients use the ssh of a command of mitogen.
type clientTest struct {
	l       *lab.Lab
	program string
	port    *lab.Port
	command []string // and its flags
	before  string   // a line of shell before all
}

// run tries some of the clients, whose target web is target.
func (c *clientTest) run(t *testing.T, target string, clients []client) {
	before := logins(c.port)
	dir := t.TempDir()
	for at := dir; at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		os.Chmod(at, 0o755)
	}
	data := make([]byte, 300_000)
	rand.Read(data)
	var script strings.Builder
	fmt.Fprintf(&script, "%s\nexport THERE=$(ssh web mktemp -d) HOME=%s\n", c.before, dir)
	for _, i := range some(t, len(clients)) {
		one := clients[i]
		if _, err := exec.LookPath(one.needs); err != nil {
			t.Logf("not installed, and so not tried: %s", one.needs)
			continue
		}
		work := filepath.Join(dir, fmt.Sprint(i))
		repo(t, filepath.Join(work, "repo"))
		if err := os.WriteFile(filepath.Join(work, "data"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "(cd %s; set -e; ssh web \"rm -rf $THERE/*\"; %s) </dev/null && "+
			"echo 'well: %s' || echo 'failed: %s'\n", work, one.script, one.name, one.name)
	}
	script.WriteString(`echo owner $(ssh web "touch $THERE/x; stat -c %U $THERE/x; rm -rf $THERE")`)
	args := append(slices.Clone(c.command), "-F", c.l.Config, "--host-keys", "off",
		"-p", fmt.Sprint(c.port.Number), "-t", "web="+target, "--", "sh", "-c", script.String())
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), runtimeDir(t), "MITOGEN_BECOME_PASSWORD="+c.l.Password)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	kill := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Run()
	kill.Stop()
	owner := target
	if strings.HasSuffix(target, "+sudo") {
		owner = "root"
	}
	said := out.String()
	if err != nil || strings.Contains(said, "failed: ") ||
		!strings.Contains(said, "owner "+owner+"\n") {
		t.Errorf("got %v, want owner %s:\n%s", err, owner, said)
	}
	if n := logins(c.port) - before; n != 1 {
		t.Errorf("got %d logins, want 1", n)
	}
}

// logins counts those that an sshd has let in.
func logins(p *lab.Port) int { return strings.Count(p.Log(), "Accepted publickey for") }

// some draws as many of n clients as are tried at a time: with MITOGEN_SOAK all, for a minute.
func some(t *testing.T, n int) []int {
	all := testpython.Draw(t.Name()).Perm(n)
	if os.Getenv("MITOGEN_SOAK") != "" {
		return all
	}
	return all[:min(4, n)]
}

// repo makes a git repository with a commit, where there is a git.
func repo(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("git"); err != nil {
		return
	}
	script := "git init -q && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m first"
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v\n%s", err, out)
	}
}
