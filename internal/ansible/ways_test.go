package ansible_test

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// mounted is a directory where this machine's files are once more.
func mounted(t *testing.T) string {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "--rbind", "--make-rslave", "/",
		dir).CombinedOutput(); err != nil {
		t.Fatalf("mount / at another place: %v; output: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--recursive", "--lazy", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount %s: %v; output: %s", dir, err, out)
		}
	})
	return dir
}

// Hosts are reached through other hosts, and in other ways than ssh.
func TestWays(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	root := mounted(t)
	asks := filepath.Join(s.dir, "ssh-that-only-tells")
	if err := os.WriteFile(asks, []byte("#!/bin/sh\ncase \" $* \" in *' -G '*) exec ssh \"$@\";; "+
		"esac\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	inventory := s.inventory(strings.NewReplacer("ROOT", root, "ASKS", asks, "FREE", lab.Play,
		"SECRET", s.l.Password, "OTHER", lab.Pass, "TERMINAL", lab.TTY).Replace(`direct ansible_host=FREE
bastion ansible_host=OTHER ansible_become_password=SECRET
behind ansible_host=FREE mitogen_via=bastion
deep ansible_host=FREE mitogen_via=behind
stranger ansible_host=FREE mitogen_via=OTHER
target mitogen_target=FREE+sudo+local
here mitogen_target=local
jail mitogen_target=FREE+sudo+chroot:ROOT ansible_become=false
jail2 mitogen_target=FREE+sudo+chroot:ROOT/. ansible_become=false
native ansible_host=FREE mitogen_native=true ansible_ssh_executable=ASKS
doas ansible_host=OTHER ansible_become_method=mito_doas ansible_become_password=SECRET
terminal ansible_host=TERMINAL ansible_become_password=SECRET
given ansible_host=OTHER ansible_password=SECRET ansible_become_password=SECRET ` +
		`ansible_ssh_extra_args="-o PubkeyAuthentication=no"
wrong ansible_host=OTHER ansible_password=wrong ansible_ssh_extra_args="-o PubkeyAuthentication=no"
mistake mitogen_target=a:b:c
nowhere ansible_host=mito-no-such-host.invalid
python ansible_host=FREE ansible_python_interpreter=/no/such/python
`))
	large := make([]byte, 60_000)
	rand.NewChaCha8([32]byte{1}).Read(large)
	if err := os.WriteFile(filepath.Join(s.dir, "large"), large, 0o600); err != nil {
		t.Fatal(err)
	}
	results, out := s.play("mitogen", "ways.yml", lab.Play, "-i", inventory, "-l", "hosts", "-e",
		"large="+filepath.Join(s.dir, "large"))
	got := stdout(results)
	for host, who := range map[string]string{"direct": lab.Play, "bastion": lab.Pass,
		"behind": lab.Play, "deep": lab.Play, "stranger": lab.Play, "target": "root", "here": "root",
		"jail": "root", "jail2": "root", "native": lab.Play, "doas": lab.Pass, "given": lab.Pass,
		"terminal": lab.TTY} {
		if got[host+" who"] != who || got[host+" root"] != "root" {
			t.Errorf("host %s: got user %q, as root %q; want %q, root",
				host, got[host+" who"], got[host+" root"], who)
		}
	}
	for host, want := range map[string]string{"wrong": "unreachable: .*Permission denied",
		"mistake": "unreachable: .*too many colons", "nowhere": "unreachable: .*resolve hostname",
		"python": "failed: "} {
		if !regexp.MustCompile(want).MatchString(got[host+" who"]) {
			t.Errorf("host %s: got %q, want a match of %s", host, got[host+" who"], want)
		}
	}
	if m := regexp.MustCompile(`(?m)^direct +: logins=1 +round_trips=([1-9]\d*) +modules=([1-9]\d*) ` +
		`+literal=\d+ +files=[1-9]\d* +up=[1-9]\d{4,} down=[1-9]\d+$`).FindString(out); m == "" {
		t.Error("no report")
	}
	checked := 0
	for _, r := range results {
		if st, ok := r.Value["stat"].(map[string]any); ok && r.Task == "sum" {
			checked++
			if want := fmt.Sprintf("%x", sha1.Sum(large)); st["checksum"] != want {
				t.Errorf("%s: the large file is %v", r.Host, st)
			}
		}
	}
	if checked < 10 {
		t.Errorf("%d hosts have the large file", checked)
	}
	// Files, and what modules are made of, cross the link to the hop before them once, and don't count
	// as theirs.
	for _, host := range []string{"jail", "jail2"} {
		m := regexp.MustCompile(`(?m)^` + host +
			` +: .* modules=([1-9]\d*) .* up=(\d+) `).FindStringSubmatch(out)
		if m == nil || len(m[2]) > 5 || m[2] > "30000" {
			t.Errorf("figures of host %s: got %q, want modules, and below 30001 bytes sent", host, m)
		}
	}
	if t.Failed() {
		t.Log(last(out))
	}
	s.quiet(nil)
}
