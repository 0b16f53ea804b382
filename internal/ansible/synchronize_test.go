package ansible_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// posix returns the directory of collections that has the ansible.posix for a release, as
// scripts/ansible-posix.sh prints it.
func posix(t *testing.T, release string) string {
	t.Helper()
	dirs := strings.Fields(os.Getenv("MITOGEN_ANSIBLE_POSIX"))
	if len(dirs) == 0 {
		t.Skip("MITOGEN_ANSIBLE_POSIX isn't set: see scripts/ansible-posix.sh")
	}
	if release == "2.14" {
		return dirs[0]
	}
	return dirs[len(dirs)-1]
}

// synchronizeStage is a stage with ansible.posix.
func synchronizeStage(t *testing.T, playbook string) *stage {
	s := newStage(t, playbook)
	collections := posix(t, release(t, playbook))
	for _, name := range []string{"ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_COLLECTIONS_PATHS"} {
		s.env = append(s.env, name+"="+collections)
	}
	t.Cleanup(s.clear)
	return s
}

// synchronizeParts are the parts of TestSynchronize.
var synchronizeParts = map[string]func(s *stage){
	"files":    func(s *stage) { s.compareSynchronize("files") },
	"accounts": func(s *stage) { s.compareSynchronize("accounts") },
	"ways":     (*stage).synchronizeWays,
}

// `synchronize` goes where the play goes, and says why where it doesn't. Its results, and what is
// left, are as with the ssh plugin, where that can do it. A part is drawn, and a release; in
// `make test-ansible` it is all of them.
func TestSynchronize(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	all, parts := releases(t), slices.Sorted(maps.Keys(synchronizeParts))
	if !everything() {
		r := testpython.Draw(t.Name())
		n, m := r.IntN(len(all)), r.IntN(len(parts))
		all, parts = all[n:n+1], parts[m:m+1]
	}
	for _, playbook := range all {
		for _, part := range parts {
			t.Run(release(t, playbook)+" "+part, func(t *testing.T) {
				s := synchronizeStage(t, playbook)
				synchronizeParts[part](s)
				s.quiet(nil)
				s.noneLent()
			})
		}
	}
}

func (s *stage) compareSynchronize(tag string) {
	s.t.Helper()
	out := s.compare("synchronize.yml", lab.Play, "--tags", tag, "-e", python3,
		"-e", "lab_key="+s.l.Key, "-e", fmt.Sprint("lab_port=", s.l.Port))
	want := map[string]string{
		"files":    "1",
		"accounts": "3", // as another user, and by a key, too
	}[tag]
	if n := logins(out); n != want {
		s.t.Errorf("logins: got %s, want %s\n%s", n, want, last(out))
	}
}

// noneLent reports programs that were lent to tasks and are there still.
func (s *stage) noneLent() {
	s.t.Helper()
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "mitogen-[0-9]*", "sshpass"))
	for _, name := range left {
		to, _ := os.Readlink(name)
		if exe, _ := os.Executable(); to == exe {
			s.t.Errorf("left: %s", name)
		}
	}
}

// synchronizeHosts are hosts of synchronizeWays.
const synchronizeHosts = `
direct ansible_host=FREE
sudo ansible_host=OTHER ansible_become_password=SECRET
su ansible_host=OTHER ansible_become_user=OTHER ansible_become_password=SECRET METHOD=su
terminal ansible_host=TERMINAL ansible_become_password=SECRET
behind ansible_host=FREE mitogen_via=sudo
target mitogen_target=FREE+sudo+local
native ansible_host=FREE mitogen_native=true
given ansible_host=OTHER ansible_password=SECRET ansible_become_password=SECRET NOKEY
wrong ansible_host=OTHER ansible_become_password=wrong
missing ansible_host=OTHER
refused ansible_host=OTHER ansible_password=wrong NOKEY
nowhere ansible_host=mito-no-such-host.invalid
port mitogen_target=FREE other_port=1
closed ansible_host=FREE other_port=1
`

func (s *stage) synchronizeWays() {
	s.t.Helper()
	// Passwords are given without this program.
	sshpass := filepath.Join(s.dir, "sshpass")
	if err := os.WriteFile(sshpass, []byte("#!/bin/sh\nexit 9\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+s.dir+":"+os.Getenv("PATH"))
	inventory := s.inventory(strings.NewReplacer(
		"FREE", lab.Play, "SECRET", s.l.Password, "OTHER", lab.Pass, "TERMINAL", lab.TTY,
		"METHOD", "ansible_become_method",
		"NOKEY", `ansible_ssh_extra_args="-o PubkeyAuthentication=no"`,
	).Replace(synchronizeHosts))
	results, out := s.play("mitogen", "synchronize-ways.yml", lab.Play, "-i", inventory, "-l", "hosts")
	got := stdout(results)
	for host, who := range map[string]string{ // who has made files, with become and without
		"direct": "root " + lab.Play, "sudo": "root " + lab.Pass, "su": lab.Pass + " " + lab.Pass,
		"terminal": "root " + lab.TTY, "behind": "root " + lab.Play, "target": "root root",
		"native": "root " + lab.Play, "given": "root " + lab.Pass,
		"wrong": lab.Pass, "missing": lab.Pass, "port": "root", "closed": "root",
	} {
		if of := strings.Join(strings.Fields(got[host+" who"]), " "); of != who {
			s.t.Errorf("%s: got files of %q, want %q", host, of, who)
		}
	}
	for task, want := range map[string]string{
		"wrong push":    "ssh: Incorrect sudo password",
		"missing push":  "ssh: Missing sudo password",
		"refused push":  "ssh: .*Permission denied",
		"refused login": "ssh: .*Permission denied",
		"nowhere push":  "ssh: .*resolve hostname",
		"nowhere login": "ssh: .*resolve hostname",
		"port login":    "ssh: mitogen_target says how the host is reached",
		"closed login":  "ssh: .*Connection refused",

		"direct with a fact":          "mitogen_target is a fact of the host",
		"direct with a fact and PATH": "mitogen_target is a fact of the host",
		"direct with a fact and ssh":  "mitogen_target is a fact of the host",
	} {
		if !regexp.MustCompile(want).MatchString(got[task]) {
			s.t.Errorf("%s: got %q, want %s", task, got[task], want)
		}
	}
	if n := strings.Count(out, "by way of behind would need an ssh there that gets to direct"); n < 2 {
		s.t.Errorf("delegate_to another host: got %d refusals, want one for each item", n)
	}
	if s.t.Failed() {
		s.t.Log(last(out))
	}
}

// Options of rsync name its ssh where rsync takes them so, and nowhere else.
func TestRsyncNamesSSH(t *testing.T) {
	const program = `
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location('plugin', sys.argv[1])
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
print(json.dumps([plugin.names_ssh(o) for o in json.loads(sys.argv[2])]))
`
	cases := []struct {
		options []string
		names   bool
	}{
		{[]string{"--rsh=ssh"}, true}, {[]string{"-e", "ssh"}, true}, {[]string{"-essh"}, true},
		{[]string{"-avze ssh"}, true}, {[]string{"-f '- x' -e ssh"}, true},
		{[]string{"-f", "'- x'", "-zessh"}, true}, {[]string{"-B 9", "-vessh"}, true},
		{nil, false}, {[]string{"-f 'exclude x'"}, false}, {[]string{"-f", "'exclude x'"}, false},
		{[]string{"-vf '- e'"}, false}, {[]string{"-M--fake-super"}, false},
		{[]string{"-T", "-e"}, false},
		{[]string{"--exclude=e"}, false}, {[]string{"--delete"}, false}, {[]string{"-f 'open"}, false},
	}
	var options [][]string
	var want []bool
	for _, c := range cases {
		options, want = append(options, append([]string{}, c.options...)), append(want, c.names)
	}
	given, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	playbook := playbooks(t)[0]
	text, err := os.ReadFile(playbook)
	if err != nil {
		t.Fatal(err)
	}
	python, _, _ := strings.Cut(strings.TrimPrefix(string(text), "#!"), "\n")
	dir := t.TempDir()
	if _, _, err := ansible.Unpack(dir, "/nowhere/mitogen"); err != nil {
		t.Fatal(err)
	}
	argv := append(strings.Fields(python), "-c", program,
		filepath.Join(dir, "connection", "mitogen.py"), string(given))
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	var got []bool
	if failed := json.Unmarshal(out, &got); failed != nil || err != nil || len(got) != len(want) {
		t.Fatalf("got %q, %v, want %d values", out, err, len(want))
	}
	for i, c := range cases {
		if got[i] != want[i] {
			t.Errorf("%q: got %v, want %v", c.options, got[i], want[i])
		}
	}
}
