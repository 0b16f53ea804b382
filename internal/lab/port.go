package lab

import (
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Port is a further sshd of the lab at the same address, as of a forwarded port: the same users,
// keys and host key.
type Port struct {
	Number int
	log    string
}

// NewPort starts an sshd on another port, which ends with the test. Its log counts attempts.
func (l *Lab) NewPort(t testing.TB) *Port {
	t.Helper()
	for range 20 {
		p := &Port{Number: 20000 + mrand.IntN(12000), log: filepath.Join(t.TempDir(), "sshd.log")}
		if p.start(t) {
			return p
		}
	}
	t.Fatal("no sshd listens on another port")
	return nil
}

func (p *Port) start(t testing.TB) bool {
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	argv := []string{"-D", "-e", "-f", file("sshd_config"), "-p", fmt.Sprint(p.Number), "-o",
		"LogLevel=VERBOSE", "-o", "MaxAuthTries=20"}
	if noPenalty := []string{"-o", "PerSourcePenalties=no"}; run("",
		append([]string{sshd, "-t", "-f", file("sshd_config")}, noPenalty...)...) == nil {
		argv = append(argv, noPenalty...)
	}
	cmd := exec.Command(sshd, argv...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for range 200 {
		if strings.Contains(p.Log(), "Server listening on") {
			t.Cleanup(func() { cmd.Process.Kill(); <-ended })
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(25 * time.Millisecond):
		}
	}
	cmd.Process.Kill()
	<-ended
	return false
}

// Log returns what the sshd has said.
func (p *Port) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// Passwords counts the passwords that were tried, right and wrong.
func (p *Port) Passwords() (right, wrong int) {
	log := p.Log()
	return strings.Count(log, "Accepted password for"), strings.Count(log, "Failed password for")
}
