package spawn

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// The real programs, at their question, are seen to ask; ps and /proc agree. The terminal says it too.
func TestAskersAreSeen(t *testing.T) {
	l := lab.Need(t)
	o := connect.Options{Su: connect.SuOptions{Password: connect.Secret(l.Password)}}
	for _, tt := range []struct{ name, user, target string }{
		{"sudo", lab.Pass, "sudo"}, {"sudo, use_pty", lab.TTY, "sudo"}, {"su", lab.Free, "su:" + lab.Pass}, {"doas", lab.Pass, "doas"},
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
			p = run(t, plan, Options{Ask: func() (string, error) {
				<-started
				out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "uid=", "-o", "state=", "-o", "comm=").Output()
				byPS := judge(p.pid, askers, parsePS(string(out), 12345))
				q, lookErr := lookProcess(p.pid)
				if err != nil || lookErr != nil || byPS != perhaps || q.waited || !q.root || len(q.children) > 0 || !p.tty.quiet() {
					seen <- strings.TrimSpace(string(out))
				} else {
					seen <- ""
				}
				return l.Password, nil
			}})
			close(started)
			in := make([]byte, 3)
			if _, err := io.ReadFull(p.Stdout, in); err != nil {
				t.Fatalf("%v, %+v", err, p.Failure())
			}
			if what := <-seen; what != "" {
				t.Errorf("at its question it wasn't seen to ask: %s", what)
			}
			if got := judge(p.pid, askers, processes()); got != begun {
				t.Errorf("its command runs: got %d, want %d", got, begun)
			}
		})
	}
}
