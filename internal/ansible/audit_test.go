package ansible_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// The daemon of a playbook keeps an audit log, where the environment names one.
func TestAuditOfPlaybooks(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	s := newStage(t, playbooks(t)[0])
	log := filepath.Join(s.dir, "audit")
	s.env = append(s.env, "MITOGEN_AUDIT="+log)
	_, out := s.play(
		"mitogen",
		"pid.yml",
		lab.Play,
		"-e",
		"ansible_python_interpreter=/usr/bin/python3",
	)
	s.quiet(nil) // the daemon has ended
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("read the audit log: %v; the play wrote: %s", err, last(out))
	}
	for _, want := range []string{
		`"event":"begin".*"command":"daemon"}`,
		`"event":"connect".*"context":"` + lab.Play + `","method":"ssh","host":"` + lab.Play + `"`,
		`"event":"up".*"context":"` + lab.Play + `"`, `"event":"service".*"name":"ansible module \S+"}`,
		`"event":"gone"`, `"event":"done"`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("got no line with %s in %s", want, text)
		}
	}
}
