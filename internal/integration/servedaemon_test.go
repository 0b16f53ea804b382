package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// With --daemon, commands that serve ssh have one login. When a command is over, its sessions leave
// nothing behind, though the daemon's context stays.
func TestServeByDaemon(t *testing.T) {
	l := lab.Need(t)
	need(t, "/usr/bin/ssh")
	program, port, dir := buildMitogen(t), l.NewPort(t), t.TempDir()
	before := logins(port)
	env := append(os.Environ(), runtimeDir(t), "MITOGEN_BECOME_PASSWORD="+l.Password)
	t.Cleanup(func() { stopDaemon(program, env) })
	for i, options := range []string{"", "-S none"} {
		name := filepath.Join(dir, fmt.Sprint(i))
		cmd := exec.Command(program, "serve-ssh", "--daemon", "-F", l.Config, "--host-keys", "off",
			"-p", fmt.Sprint(port.Number), "-t", "web="+lab.Pass+"+sudo", "--", "sh", "-c",
			fmt.Sprintf(`ssh -F $MITOGEN_SSH_CONFIG %s web 'id -un; sleep 1000 >&- 2>&- & echo $! >%s'`,
				options, name))
		cmd.Env, cmd.WaitDelay = env, time.Second
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "root\n") {
			t.Errorf("session %d: got %q, %v, want root", i, out, err)
		}
		pid, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		goes(t, "/proc/"+strings.TrimSpace(string(pid))+"/cwd")
	}
	if n := logins(port) - before; n != 1 {
		t.Errorf("got %d logins, want 1", n)
	}
	cmd := exec.Command(program, "tree")
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 clients, 2 in") {
		t.Errorf("tree: got %v, want a context that had two clients:\n%s", err, out)
	}
}

// When the daemon is lost, or has to give a context up, the sessions there end with an error, and
// the next one is well.
func TestServeDaemonLost(t *testing.T) {
	need(t, "/usr/bin/ssh")
	program := buildMitogen(t)
	env := append(os.Environ(), runtimeDir(t), "M="+program)
	t.Cleanup(func() { stopDaemon(program, env) })
	const lose = `mkfifo up
		for lose in "$M daemon stop" "$M daemon disconnect local" "kill -9 \$D"; do
		for o in "" "-S none"; do
			D=$($M tree | sed -n 's/.*pid //p;q')
			ssh -F $MITOGEN_SSH_CONFIG $o web 'echo; sleep 1000' >up & read x <up
			eval "$lose" >/dev/null; wait $!; echo "$? by $o"
			ssh -F $MITOGEN_SSH_CONFIG $o web echo well; done; done`
	cmd := exec.Command(program, "serve-ssh", "--daemon", "-t", "web=local", "--", "sh", "-c", lose)
	cmd.Dir, cmd.Env, cmd.WaitDelay = t.TempDir(), env, time.Second
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	out, err := cmd.Output()
	want := strings.Repeat("255 by \nwell\n255 by -S none\nwell\n", 3)
	if string(out) != want || err != nil {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
