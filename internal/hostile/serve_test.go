package hostile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// serving is a `mitogen serve-ssh`.
type serving struct {
	cmd                                            *exec.Cmd
	Config, Include, Address, Identity, KnownHosts string
	Socket                                         string `json:"control_path"`
}

// serveSSH starts one whose target x is this machine. Other users can enter the directory above its
// own.
func serveSSH(t *testing.T, program string, flags ...string) *serving {
	t.Helper()
	at, err := os.MkdirTemp("/tmp", "serve") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(at) })
	if err := os.Chmod(at, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &serving{}
	args := []string{"serve-ssh", "-t", "x=local", "--json"}
	s.cmd = exec.Command(program, append(args, flags...)...)
	s.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+at)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"host":"x"`) {
			break
		}
	}
	if err := json.Unmarshal(lines.Bytes(), s); err != nil {
		t.Fatalf("got %q: %v", lines.Text(), err)
	}
	return s
}

// buildProgram makes the command.
func buildProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mitogen")
	out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", name,
		"../../cmd/mitogen").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return name
}

// asOther runs a shell's script as the other user.
func asOther(script string) string {
	argv := lab.As(lab.Other, "sh", "-c", script)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// Another user can neither use what serve-ssh serves, nor put something in its place.
func TestServeSSH(t *testing.T) {
	lab.Need(t)
	program := buildProgram(t)
	s := serveSSH(t, program, "--listen", "0")
	dir := filepath.Dir(s.Config)
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := filepath.Glob(dir + "/*")
	if err != nil || len(sockets) < 6 {
		t.Fatalf("got %q, %v, want sockets, keys and configurations", sockets, err)
	}
	for _, name := range sockets {
		script := fmt.Sprintf(`cat %[1]s; echo x >%[1]s; ln -sf /etc/hostname %[1]s; rm -f %[1]s
			%[2]s -c 'from socket import *
socket(AF_UNIX).connect("%[1]s")
print("connected")'`, name, python)
		if said := asOther(script); strings.Contains(said, "connected") ||
			strings.Contains(said, "PRIVATE KEY") || strings.Count(said, "ermission denied") < 4 {
			t.Errorf("%s: got %q, want that it is denied", name, said)
		}
	}
	// With a key of its own, and by each of the ways in without one.
	for _, how := range []string{"-i $dir/key -o IdentitiesOnly=yes", "-o PubkeyAuthentication=no"} {
		said := asOther(fmt.Sprintf(`dir=$(mktemp -d); ssh-keygen -q -t ed25519 -N '' -f $dir/key
			ssh -F none -p %s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
				-o BatchMode=yes %s x@%s echo in
			rm -r $dir`, port, how, host))
		if strings.Contains(said, "in\n") || !strings.Contains(said, "Permission denied (publickey)") {
			t.Errorf("ssh %s: got %q, want that it is denied", how, said)
		}
	}
	// It holds as many connections as there may be, and more, while this user connects.
	hold := fmt.Sprintf(`import socket, sys
held = [socket.create_connection(("%s", %s)) for i in range(200)]
print("ready", flush=True)
sys.stdin.read()`, host, port)
	l := start(t, command(hold))
	ssh := func(args ...string) (string, error) {
		cmd := exec.Command("ssh", append([]string{"-F", s.Config, "-o", "BatchMode=yes"}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if said, err := ssh("-S", "none", "x", "echo in"); said != "in\n" || err != nil {
		t.Errorf("beside held connections: got %q, %v, want in", said, err)
	}
	l.in.Close()
	l.cmd.Wait()

	// When it was killed, what it has left leads nowhere, if the other user listens in its place too.
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.cmd.Wait()
	old := time.Now().Add(-time.Hour)
	for _, swept := range []bool{false, true} {
		if swept {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
			next := exec.Command(program, "serve-ssh", "-t", "x=local", "--", "true")
			next.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+filepath.Dir(filepath.Dir(dir)))
			if out, err := next.CombinedOutput(); err != nil {
				t.Fatalf("the next one: %v\n%s", err, out)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Fatalf("%s: not removed by the next one", dir)
			}
		}
		script := fmt.Sprintf(`mkdir -p %s && echo made`, dir)
		if said := asOther(script); strings.Contains(said, "made\n") && swept {
			t.Errorf("got %q, want that the directory can't be made", said)
		}
		other := fmt.Sprintf(`import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("%s", %s))
s.listen(5)
print("ready", flush=True)
c, _ = s.accept()
c.sendall(b"SSH-2.0-other\r\n")
c.recv(100)
print("heard", flush=True)`, host, port)
		l := start(t, command(other))
		said, err := ssh("x", "echo in")
		if err == nil || strings.Contains(said, "in\n") {
			t.Errorf("swept %v: got %q, %v, want an error", swept, said, err)
		}
		l.cmd.Process.Kill()
		io.Copy(io.Discard, l.out)
		l.cmd.Wait()
	}
}
