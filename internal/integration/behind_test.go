package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// behindSSH are uses of ssh -f: scripts in an empty directory, which print what is wanted. until
// waits for a file.
var behindSSH = []struct{ name, script, want string }{
	{"it returns before the program's end",
		`ssh -f web "cd $PWD; $until go; echo late; touch done"; echo first $?; touch go; $until done`,
		"first 0\nlate\n"},
	{"ForkAfterAuthentication",
		`ssh -oForkAfterAuthentication=yes web "cd $PWD; $until go; touch done"; echo first; ` +
			`touch go; $until done`,
		"first\n"},
	{"the output is the caller's",
		`echo "got $(ssh -f web 'echo out; echo err >&2' 2>err)" $(cat err)`,
		"got out err\n"},
	{"there is no input",
		`echo none | ssh -f web "cat; cd $PWD; echo end; touch done"; $until done`, "end\n"},
	{"a status is not waited for",
		`ssh -f web "touch $PWD/done; exit 3"; echo $?; $until done`, "0\n"},
	{"what it forwards is there",
		`ssh -fNL $PWD/s:/nonexistent web; echo $?; test -S s && echo there`, "0\nthere\n"},
	{"with a program", `ssh -fL $PWD/s:/nonexistent web "cd $PWD; $until go; touch done"
		test -S s && echo there
		touch go; $until done; while test -e s; do sleep .02; done; echo gone`, "there\ngone\n"},
	{"-O check", `ssh -fO check web 2>/dev/null; echo $?`, "0\n"},
	{"no target",
		`ssh -f other true 2>err; echo $? $(cut -d' ' -f1-4 err)`, "255 ssh: no target is\n"},
	{"nothing to do", `ssh -f web 2>err; echo $? $(cut -d' ' -f1-3 err)`, "255 ssh: got -f\n"},
	{"a place that is taken",
		`touch s; ssh -fNL $PWD/s:/nonexistent web 2>err; echo $? $(cut -d' ' -f1-2 err)`,
		"255 ssh: -L\n"},
	{"another account",
		`ssh -f nosuch@web true 2>err; echo $? $(cut -d' ' -f1-3 err)`, "255 ssh: the account\n"},
}

func TestBehindSSH(t *testing.T) {
	program := buildMitogen(t)
	for _, tt := range behindSSH {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			until := filepath.Join(t.TempDir(), "until")
			loop := []byte("while test ! -e $1; do sleep .02; done\n")
			if err := os.WriteFile(until, loop, 0o644); err != nil {
				t.Fatal(err)
			}
			got := withLocal(t, program, "until='sh "+until+"'; cd "+t.TempDir()+"; "+tt.script)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A target that can't be reached is an error of ssh -f itself.
func TestBehindUnreachable(t *testing.T) {
	cmd := exec.Command(buildMitogen(t), "with", "--lazy", "-t", "web=127.0.0.1:1", "--",
		"sh", "-c", "ssh -f web true 2>/dev/null; echo $?; ssh -fN web 2>/dev/null; echo $?")
	out, err := cmd.Output()
	if err != nil || string(out) != "255\n255\n" {
		t.Errorf("got %q, %v, want 255 twice", out, err)
	}
}

// What ssh -f has left in the background ends with the command of `mitogen with`: the program, the
// socket that is listened at, and the process that stands for ssh.
func TestBehindEndsWithCommand(t *testing.T) {
	program := buildMitogen(t)
	dir := t.TempDir()
	got := withLocal(t, program, "cd "+dir+`
		ssh -f web "cd $PWD; echo \$\$ >pid.new; mv pid.new pid; exec sleep 1000"
		ssh -fNL $PWD/s:/nonexistent web; while test ! -e pid; do sleep .02; done
		test -S s && echo there`)
	if got != "there\n" {
		t.Fatalf("got %q, want that it listens, and nothing of the end", got)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	left := func() string {
		if st, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat"); err == nil &&
			!strings.Contains(string(st), ") Z ") {
			return "the program"
		}
		if _, err := os.Lstat(filepath.Join(dir, "s")); err == nil {
			return "the socket"
		}
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range all {
			if line, _ := os.ReadFile(name); strings.HasPrefix(string(line), "mitogen-ssh-f\x00") &&
				strings.Contains(string(line), dir) {
				return "its process"
			}
		}
		return ""
	}
	for end := time.Now().Add(time.Minute); left() != ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute there is %s", left())
		}
	}
}
