package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// toolsBySSH are programs that keep, copy or mount what is elsewhere, and start an ssh for that.
// Each is a script as in clients, in a directory with a directory `data`. Nothing but the target
// sees the directory $THERE, so that a program that stays here fails.
var toolsBySSH = []client{
	{"borg", "borg", `export BORG_PASSPHRASE=x BORG_BASE_DIR=$PWD/borg
		borg init -e repokey web:$THERE/borg 2>/dev/null
		borg create web:$THERE/borg::a data && borg check ssh://web$THERE/borg
		mkdir back; cd back; borg extract web:$THERE/borg::a; diff -r ../data data`},
	{"restic", "restic", `export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$PWD/cache
		export RESTIC_REPOSITORY=sftp:web:$THERE/restic; restic -q init
		restic -q backup data; restic -q check --read-data; restic -q restore latest --target back
		diff -r data $(find back -name data)`},
	{"unison", "unison", `export UNISON=$PWD/unison; ssh web mkdir $THERE/u
		unison data ssh://web/$THERE/u -batch -silent
		echo here >data/here; ssh web "echo there >$THERE/u/there"
		unison data ssh://web/$THERE/u -batch -silent
		test "$(cat data/there)" = there; test "$(ssh web cat $THERE/u/here)" = here`},
	{"sshfs", "sshfs", `test -w /dev/fuse || exit 0; mkdir m; sshfs web:$THERE m
		trap 'fusermount3 -u m || fusermount -u m' EXIT; cp -r data m/; diff -r data m/data
		mv m/data/bytes m/data/moved; ssh web cat $THERE/data/moved | cmp - data/bytes
		ln -s moved m/data/link; test "$(ssh web readlink $THERE/data/link)" = moved; rm -r m/data`},
	{"lftp, sftp", "lftp", `all="mirror -R data $THERE/l; mirror $THERE/l back; bye"
		lftp -e "set sftp:auto-confirm yes; $all" sftp://web; diff -r data back`},
	{"lftp, fish", "lftp", `all="mirror -R data $THERE/l; mirror $THERE/l back; bye"
		lftp -e "set fish:auto-confirm yes; $all" fish://web; diff -r data back`},
	{"svn", "svn", `ssh web svnadmin create $THERE/svn; svn -q checkout svn+ssh://web$THERE/svn w
		cp data/bytes w/; (cd w; svn -q add bytes; svn -q commit -m x)
		svn cat svn+ssh://web$THERE/svn/bytes | cmp - data/bytes`},
	{"cvs", "cvs", `export CVSROOT=:ext:web:$THERE/cvs; cvs -Q init
		(cd data; cvs -Q import -m x mod v r); cvs -Q checkout mod; diff -r -x CVS data mod`},
	{"rdiff-backup", "rdiff-backup", `rdiff-backup backup data web::$THERE/r
		rdiff-backup restore web::$THERE/r back; diff -r data back`},
	{"hg", "hg", `hg init r; cd r; cp ../data/bytes .; hg -q add bytes; hg -q commit -u x -m m
		hg -q clone . ssh://web/$THERE/hg; hg -q clone ssh://web/$THERE/hg ../back; cd ../back
		cmp bytes ../data/bytes; echo x >more; hg -q add more; hg -q commit -u x -m n; hg -q push`},
	{"bup", "bup", `export BUP_DIR=$PWD/bup; bup init; ssh web "BUP_DIR=$THERE/bup bup init"
		bup index data; bup save -q -r web:$THERE/bup -n x data
		ssh web "BUP_DIR=$THERE/bup bup ls x/latest" | grep -q .`},
	{"git-annex", "git-annex", `export HOME=$PWD
		git config --global user.name x; git config --global user.email x@x
		git init -q r; cd r; git annex init -q a
		ssh web "export HOME=$THERE; cd $THERE; git init -q --bare an.git; cd an.git
			git config user.name x; git config user.email x@x; git annex init -q b"
		cp ../data/bytes .; git annex add -q bytes; git commit -qm x
		git remote add o ssh://web$THERE/an.git; git annex sync -q --content
		git annex drop -q bytes; git annex get -q bytes; cmp bytes ../data/bytes`},
	{"tar", "tar", `tar cf - data | ssh web tar xf - -C $THERE; mkdir back
		ssh web tar cf - -C $THERE data | tar xf - -C back; diff -r data back/data`},
	{"git archive", "git", `ssh web git init -q --bare $THERE/g.git; git init -q r
		(cd r; cp ../data/bytes .; git add bytes; git -c user.name=x -c user.email=x@x commit -qm x
		git push -q ssh://web$THERE/g.git HEAD:refs/heads/m)
		git archive --remote=ssh://web$THERE/g.git m | tar tf - | grep -q bytes`},
	// as editors that start a server of theirs: a shell without a terminal is told what to do, and
	// its connections go to the server by SOCKS
	{"a server of an editor", "curl", `mkfifo in; echo hi >page
		port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])')
		ssh -T -D $port web sh <in >out & exec 9>in
		echo "cd $THERE && mkdir s && echo hi >s/page && cd s && python3 -u -c '
import http.server
s = http.server.HTTPServer((\"127.0.0.1\", 0), http.server.SimpleHTTPRequestHandler)
print(\"port %d listens\" % s.server_port)
s.serve_forever()' 2>/dev/null" >&9
		while ! grep -q listens out; do sleep .1; kill -0 $!; done
		curl -s --socks5-hostname 127.0.0.1:$port http://127.0.0.1:$(tr -dc 0-9 <out)/page | cmp - page
		kill $!`},
}

// privately returns a target whose directory /srv is its own.
func privately(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("takes root")
	}
	need(t, "unshare")
	return "exec:unshare -m --propagation private " + script(t, `mount -t tmpfs x /srv && exec "$@"`)
}

// Programs that start an ssh reach targets that see other files, by each way that there is. With
// MITOGEN_SOAK all of them are tried, and by a plain ssh to a login too, which tries the scripts.
func TestToolsBySSH(t *testing.T) {
	l := lab.Need(t)
	for _, name := range []string{"ssh", "scp", "sftp"} {
		need(t, "/usr/bin/"+name)
	}
	alone := privately(t)
	for name, w := range map[string]toolTest{
		"with":        {target: lab.Pass + "+sudo+" + alone, command: []string{"with"}},
		"ControlPath": {target: alone, command: []string{"serve-ssh"}, shims: true},
		"port": {target: lab.Free + "+sudo+" + alone, shims: true, options: "-S none",
			command: []string{"serve-ssh", "--listen", "0"}},
		"daemon": {target: lab.Pass + "+sudo+" + alone, shims: true,
			command: []string{"serve-ssh", "--daemon"}},
		"ssh": {shims: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if w.command == nil && os.Getenv("MITOGEN_SOAK") == "" {
				t.Skip("MITOGEN_SOAK is not set")
			}
			w.run(t, l)
		})
	}
}

// A toolTest has tools use the ssh of a command of mitogen, or the machine's own if it has no
// command.
type toolTest struct {
	target  string
	command []string // and its flags
	shims   bool     // ssh, scp and sftp are the machine's own, with the configuration and options
	options string   // of them
}

func (w *toolTest) run(t *testing.T, l *lab.Lab) {
	dir, there := t.TempDir(), "/srv/there"
	lines := []string{"export HOME=" + dir}
	if w.shims {
		lines = append(lines, fmt.Sprintf(openSSH, w.options))
	}
	bytes := make([]byte, 300_000)
	rand.Read(bytes)
	argv := []string{"sh", filepath.Join(dir, "all")}
	env := append(os.Environ(), runtimeDir(t), "MITOGEN_BECOME_PASSWORD="+l.Password,
		"CVS_RSH=ssh")
	if w.command == nil {
		there = "/tmp/mitogen-there-" + lab.Free
		env = append(env, "MITOGEN_SSH_CONFIG="+plainConfig(t, l))
	} else {
		program := buildMitogen(t)
		argv = slices.Concat([]string{program}, w.command, []string{"-F", l.Config, "--host-keys", "off",
			"-t", "web=" + w.target, "--"}, argv)
		t.Cleanup(func() { stopDaemon(program, env) })
	}
	lines = append(lines, "export THERE="+there)
	for _, i := range some(t, len(toolsBySSH)) {
		one := toolsBySSH[i]
		if _, err := exec.LookPath(one.needs); err != nil {
			t.Logf("not installed, and so not tried: %s", one.needs)
			continue
		}
		at := filepath.Join(dir, fmt.Sprint(i))
		err := errors.Join(os.MkdirAll(filepath.Join(at, "data", "in"), 0o755),
			os.WriteFile(filepath.Join(at, "data", "bytes"), bytes, 0o644),
			os.WriteFile(filepath.Join(at, "data", "in", "small"), bytes[:1], 0o644),
			os.WriteFile(filepath.Join(at, "script"), []byte(one.script), 0o644))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("cd %s; ssh web 'rm -rf %[2]s; mkdir %[2]s' </dev/null; "+
			"sh -e script </dev/null && echo 'well: %[3]s' || echo 'failed: %[3]s'", at, there, one.name))
	}
	lines = append(lines, "ssh web rm -r "+there+"; echo ended")
	err := os.WriteFile(filepath.Join(dir, "all"), []byte(strings.Join(lines, "\n")), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.WaitDelay = env, time.Second
	out, err := cmd.CombinedOutput()
	said := string(out)
	if err != nil || strings.Contains(said, "failed: ") || !strings.HasSuffix(said, "ended\n") {
		t.Errorf("got %v, want no failure:\n%s", err, said)
	}
	if _, err := os.Lstat("/srv/there"); err == nil {
		t.Error("a program has written here, want at the target")
	}
}

// plainConfig returns a configuration for a plain ssh, whose host web is a login.
func plainConfig(t *testing.T, l *lab.Lab) string {
	t.Helper()
	text, err := os.ReadFile(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "config")
	all := regexp.MustCompile(`(?m)^Host (.*\b)?`+lab.Free+`\b`).ReplaceAll(text, []byte("$0 web"))
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// stopDaemon ends the daemon of an environment, if there is one.
func stopDaemon(program string, env []string) {
	cmd := exec.Command(program, "daemon", "stop")
	cmd.Env = env
	cmd.Run()
}
