package ansible_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// Relative names in ssh's arguments begin in the playbook's directory, as they do for the ssh
// plugin, and not in the daemon's.
func TestRelativeNames(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	cases, err := filepath.Abs("testdata/cases")
	if err != nil {
		t.Fatal(err)
	}
	relative := func(name string) string {
		rel, err := filepath.Rel(cases, name)
		if err != nil {
			t.Fatal(err)
		}
		return rel
	}
	for name, vars := range map[string][]string{
		"configuration": {"ansible_host=" + lab.Play,
			"ansible_ssh_common_args='-F " + relative(s.l.Config) + "'"},
		"files": {"ansible_host=" + s.l.Host, fmt.Sprint("ansible_port=", s.l.Port),
			"ansible_user=" + lab.Play,
			"ansible_ssh_common_args='-F none -i " + relative(s.l.Key) + " -o UserKnownHostsFile=" +
				relative(s.l.KnownHosts) + "'"},
	} {
		args := []string{"-e", python3}
		for _, v := range vars {
			args = append(args, "-e", v)
		}
		results, out := s.play("mitogen", "who.yml", "place", args...)
		if who := stdout(results)["place who"]; who != lab.Play {
			t.Errorf("relative names of %s: got %q, want %q\n%s", name, who, lab.Play, last(out))
		}
	}
	s.quiet(nil)
}

// A daemon that stays does what the ssh in the playbook's PATH would do, and not the one of the
// playbook that started it.
func TestEnvironmentOfThePlaybook(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	bin := filepath.Join(s.dir, "bin")
	mark := filepath.Join(s.dir, "used")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "ssh"),
		[]byte("#!/bin/sh\ntouch "+mark+"\nPATH=${PATH#*:} exec ssh \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Command(exe, "daemon", "stop", "--socket",
		filepath.Join(s.dir, "run", "mitogen", "daemon.sock")).Run()
	for _, path := range []string{os.Getenv("PATH"), bin + ":" + os.Getenv("PATH")} {
		s.env = append(s.env, "PATH="+path)
		results, out := s.play("mitogen", "pid.yml", lab.Play, "-e", "mitogen_persist=true", "-e",
			python3)
		if pid := stdout(results)[lab.Play+" pid"]; pid == "" || strings.Contains(pid, "unreachable") {
			t.Fatalf("got %q, want a number\n%s", pid, last(out))
		}
		_, err := os.Stat(mark)
		if used, want := err == nil, strings.HasPrefix(path, bin); used != want {
			t.Errorf("PATH=%s: its own ssh was used: got %v, want %v", path, used, want)
		}
	}
}
