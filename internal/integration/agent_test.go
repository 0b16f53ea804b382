package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// sshAgent starts an ssh-agent, and returns the path of its socket.
func sshAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	bufio.NewReader(out).ReadString('\n') // it listens by then
	return path
}

// sshAdd runs ssh-add for an agent, and returns what it prints.
func sshAdd(agent string, args ...string) string {
	cmd := exec.Command("ssh-add", args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

// agentUse tries at a target what it can do with the agent that is forwarded: it lists and signs,
// and is refused all else.
const agentUse = `
ssh-add -l | grep -c lab
ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
	-o LogLevel=ERROR -o IdentityFile=/dev/null -p %d %s@%s id -un </dev/null
ssh-add -D 2>/dev/null || echo refused
ssh-add -d %[4]s 2>/dev/null || echo refused
ssh-add -t 1 %[4]s 2>/dev/null || echo refused
ssh-add -l | grep -c lab
stat -c %%a $SSH_AUTH_SOCK $(dirname $SSH_AUTH_SOCK)
test "$(stat -c %%u $SSH_AUTH_SOCK)" = "$(id -u)" && id -un
echo $SSH_AUTH_SOCK
`

// An agent is forwarded by each command that does so, to each account, for lists and signatures
// only.
func TestAgentForwarding(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	agent := sshAgent(t)
	if said := sshAdd(agent, l.Key); !strings.Contains(said, "added") {
		t.Fatal(said)
	}
	pub := filepath.Join(t.TempDir(), "key.pub") // every account can read it
	for at := filepath.Dir(pub); at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		os.Chmod(at, 0o755)
	}
	b, err := os.ReadFile(l.Key + ".pub")
	if err == nil {
		err = os.WriteFile(pub, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	use := filepath.Join(filepath.Dir(pub), "use")
	text := fmt.Sprintf(agentUse, l.Port, lab.None, l.Host, pub)
	if err := os.WriteFile(use, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	bastion := lab.Free + "+" + lab.Pass + "+sudo"
	with := func(target, script string) []string {
		return []string{"with", "-F", l.Config, "-t", "web=" + target, "--", "sh", "-c", script}
	}
	serve := func(target, script string) []string {
		args := with(target, script)
		return append([]string{"serve-ssh", "-A", "--listen", "unix"}, args[1:]...)
	}
	for _, tt := range []struct {
		name, variable, account string
		args                    []string
	}{
		{"exec", "SSH_AUTH_SOCK", lab.Free,
			[]string{"exec", "-A", "-F", l.Config, "-t", lab.Free, "--", "sh", use}},
		{"exec, hops", "SSH_AUTH_SOCK", "root",
			[]string{"exec", "-A", "-F", l.Config, "-t", bastion, "--", "sh", use}},
		{"exec, sudo", "SSH_AUTH_SOCK", lab.None,
			[]string{"exec", "--forward-agent", "-t", "sudo:" + lab.None, "--", "sh", use}},
		{"exec, no Python", "SSH_AUTH_SOCK", lab.Free,
			[]string{"exec", "-A", "-F", l.Config, "-t", lab.Free, "--python", "no-such-python", "--", "sh",
				use}},
		{"ssh -A", "SSH_AUTH_SOCK", lab.Free, with(lab.Free, "ssh -A web sh "+use)},
		{"ssh -A, hops", "SSH_AUTH_SOCK", "root", with(bastion, "ssh -aA web sh "+use)},
		{"ssh -tt", "SSH_AUTH_SOCK", lab.Free, with(lab.Free, "ssh -tt -A web sh "+use+" </dev/null")},
		{"ForwardAgent", "SSH_AUTH_SOCK", lab.Free,
			with(lab.Free, "ssh -o ForwardAgent=yes web sh "+use)},
		{"ForwardAgent, a variable", "OTHER", lab.Free,
			with(lab.Free, `ssh -o 'ForwardAgent=$OTHER' web sh `+use)},
		{"ForwardAgent, a path", "OTHER", lab.Free,
			with(lab.Free, `cd $(dirname $OTHER); ssh -o ForwardAgent=agent web sh `+use)},
		{"IdentityAgent", "OTHER", lab.Free,
			with(lab.Free, `ssh -A -o IdentityAgent=$OTHER web sh `+use)},
		{"OpenSSH's", "SSH_AUTH_SOCK", lab.Free,
			with(lab.Free, "/usr/bin/ssh -A -F $MITOGEN_SSH_CONFIG web sh "+use)},
		{"serve-ssh", "SSH_AUTH_SOCK", "root",
			serve(bastion, "/usr/bin/ssh -A -F $MITOGEN_SSH_CONFIG web sh "+use)},
		{"serve-ssh, its server", "SSH_AUTH_SOCK", "root",
			serve(bastion, "/usr/bin/ssh -S none -A -F $MITOGEN_SSH_CONFIG web sh "+use)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program, tt.args...)
			cmd.Env = append(os.Environ(), runtimeDir(t), "MITOGEN_BECOME_PASSWORD="+l.Password,
				tt.variable+"="+agent)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			got := strings.Fields(string(out))
			want := strings.Fields("1 " + lab.None + " refused refused refused 1 600 700 " + tt.account)
			if err != nil || len(got) != len(want)+1 || fmt.Sprint(got[:len(want)]) != fmt.Sprint(want) {
				t.Fatalf("got %v, %v: %s; want %v and a path", got, err, errs.String(), want)
			}
			goes(t, filepath.Dir(got[len(want)]))
		})
	}
	t.Cleanup(func() {
		if said := sshAdd(agent, "-l"); strings.Count(said, "\n") != 1 {
			t.Errorf("got keys %q after all, want the one", said)
		}
	})
}

// Where no agent is asked for, or there is none, the program has none; as with ssh, that is no
// error.
func TestNoAgentForwarding(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	agent := sshAgent(t)
	for name, tt := range map[string]struct{ script, agent string }{
		"not asked":              {"ssh", agent},
		"-a":                     {"ssh -A -a", agent},
		"-a before ForwardAgent": {"ssh -a -o ForwardAgent=yes", agent},
		"no":                     {"ssh -o ForwardAgent=no -o ForwardAgent=yes", agent},
		"no IdentityAgent":       {"ssh -A -o IdentityAgent=none", agent},
		"another":                {"ssh -o ForwardAgent=/nonexistent", agent},
		"not set":                {"ssh -A", ""},
		"nothing listens":        {"ssh -A", "/nonexistent"},
		"OpenSSH's, not set":     {"/usr/bin/ssh -A -F $MITOGEN_SSH_CONFIG", ""},
		"OpenSSH's, not asked":   {"/usr/bin/ssh -F $MITOGEN_SSH_CONFIG", agent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program, "with", "-F", l.Config, "-t", "web="+lab.Free, "--", "sh", "-c",
				tt.script+` web 'echo agent $SSH_AUTH_SOCK.' </dev/null`)
			cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+tt.agent)
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "agent ." {
				t.Errorf("got %q, %v, want no agent", out, err)
			}
		})
	}
	for name, script := range map[string]string{
		"serve-ssh without -A":             "/usr/bin/ssh -A -F $MITOGEN_SSH_CONFIG",
		"serve-ssh without -A, its server": "/usr/bin/ssh -S none -A -F $MITOGEN_SSH_CONFIG",
	} {
		cmd := exec.Command(program, "serve-ssh", "--listen", "0", "-t", "web=local", "--", "sh", "-c",
			script+` web 'echo agent ${SSH_AUTH_SOCK#'$SSH_AUTH_SOCK'}.' </dev/null`)
		cmd.Env = append(os.Environ(), runtimeDir(t), "SSH_AUTH_SOCK="+agent)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "agent ." {
			t.Errorf("%s: got %q, %v, want no agent but this machine's own", name, out, err)
		}
	}
	for name, path := range map[string]string{"not set": "", "nothing listens": "/nonexistent"} {
		cmd := exec.Command(program, "exec", "-A", "-t", "local", "--", "true")
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+path)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "SSH_AUTH_SOCK") ||
			strings.Count(string(out), "error:") != 1 {
			t.Errorf("exec -A, %s: got %q, %v, want an error with SSH_AUTH_SOCK", name, out, err)
		}
	}
}

// agentHolder is an exec -A that goes on.
type agentHolder struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	socket string // at the target
}

// holdAgent starts one at account Free.
func holdAgent(t *testing.T, l *lab.Lab, program, agent string) *agentHolder {
	t.Helper()
	h := &agentHolder{cmd: exec.Command(program, "exec", "-A", "-F", l.Config, "-t", lab.Free, "--",
		"sh", "-c", "echo $SSH_AUTH_SOCK; cat")}
	h.cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent)
	h.cmd.Stderr = os.Stderr
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	h.socket = strings.TrimSpace(line)
	return h
}

// as lists the keys of the socket as an account of the lab.
func (h *agentHolder) as(account string) string {
	argv := lab.As(account, "env", "SSH_AUTH_SOCK="+h.socket, "ssh-add", "-l")
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out)
}

// goes waits until a file is gone.
func goes(t *testing.T, name string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Lstat(name); os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is there after a minute", name)
		}
	}
}

// The socket is for the account alone, and goes with the session, however that ends.
func TestAgentSocket(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	agent := sshAgent(t)
	sshAdd(agent, l.Key)
	for what, end := range map[string]func(h *agentHolder){
		"end":     func(h *agentHolder) { h.stdin.Close() },
		"SIGINT":  func(h *agentHolder) { h.cmd.Process.Signal(os.Interrupt) },
		"SIGKILL": func(h *agentHolder) { h.cmd.Process.Kill() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := holdAgent(t, l, program, agent)
			if said := h.as(lab.Free); !strings.Contains(said, "ED25519") {
				t.Errorf("the account: got %q, want a key", said)
			}
			for _, other := range []string{lab.Other, lab.None} {
				if said := h.as(other); !strings.Contains(said, "Permission denied") {
					t.Errorf("%s: got %q, want permission denied", other, said)
				}
			}
			end(h)
			goes(t, filepath.Dir(h.socket))
		})
	}
}

// A target that opens connections without end doesn't hold up its own use of the agent, once they
// have gone. Nor does it hold up another session meanwhile.
func TestAgentFlood(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	agent := sshAgent(t)
	sshAdd(agent, l.Key)
	h := holdAgent(t, l, program, agent)
	flood := exec.Command("python3", "-c", `
import os, socket, sys
path, all, n = sys.argv[1], [], 0
for i in range(3000):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(path)
        s.send([b"\0\0\0\1\13", b"\0\0\0\0", b"\377\377\377\377", b"\0\0"][i % 4])
        all.append(s)
    except OSError:
        pass
print(len(all))
sys.stdout.flush()
sys.stdin.read()
`, h.socket)
	stop, err := flood.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := flood.StdoutPipe()
	if err == nil {
		err = flood.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	t.Logf("connections at a time: %s", line)
	if other := holdAgent(t, l, program, agent); !strings.Contains(other.as(lab.Free), "ED25519") {
		t.Errorf("another session: got %q, want a key", other.as(lab.Free))
	}
	stop.Close()
	flood.Wait()
	if said := h.as(lab.Free); !strings.Contains(said, "ED25519") {
		t.Errorf("after the flood: got %q, want a key", said)
	}
}

// Keys that are for certain hosts are not for a target: it could say that it is one of those.
func TestAgentBoundKeys(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	agent := sshAgent(t)
	host := fmt.Sprintf("[%s]:%d", l.Host, l.Port)
	if said := sshAdd(agent, "-h", host, "-H", l.KnownHosts, l.Key); !strings.Contains(said, "added") {
		t.Skipf("this ssh-add binds no keys to hosts: %s", said)
	}
	if said := sshAdd(agent, "-l"); !strings.Contains(said, "ED25519") {
		t.Fatalf("here: got %q, want a key", said)
	}
	h := holdAgent(t, l, program, agent)
	if said := h.as(lab.Free); !strings.Contains(said, "no identities") {
		t.Errorf("there: got %q, want no key", said)
	}
}
