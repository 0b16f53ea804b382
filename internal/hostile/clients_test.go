package hostile_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// client is a program that dials a local socket.
type client struct {
	name    string
	command func(t *testing.T, ctx context.Context, p *place) *exec.Cmd
	own     bool                          // it has a socket for each playbook besides the user's
	path    func(p *place, socket string) // how it is told its socket, if that isn't looked for
	must    bool                          // it fails if its socket can't be used
	release string                        // program, if it is Ansible
	only    []string                      // scenarios of the sample; nil: all
	few     int                           // rounds of a race
	many    int
	limit   time.Duration // of its time; 0: 10 min
}

// victims is in what clients send once they trust a socket.
const victims = "the-victims-password"

// clients returns all kinds of clients, with the releases of Ansible that are to be tested.
func clients(t *testing.T) []*client {
	t.Helper()
	calls := []string{"directory of another user", "shared, of another user", "handed over", "named"}
	all := []*client{
		{name: "tree", command: mitogen("tree"), must: true, few: 20, many: 200},
		{name: "stop", command: mitogen("daemon", "stop"), must: true, few: 20, many: 200},
		{name: "call", command: mitogen("call", "--daemon", "-t", "local", "os:getpid"), must: true,
			only: calls, few: 5, many: 30},
		{name: "example", command: example, must: true, few: 5, many: 30},
		{name: "askpass", command: mitogen("Password: "), must: true,
			path: func(p *place, socket string) {
				p.env = append(p.env, "MITOGEN_ASKPASS="+victims+":"+socket)
			}},
		{name: "proxy", command: mitogen("host", "22"), must: true, path: func(p *place, socket string) {
			p.env = append(p.env, "MITOGEN_PROXY="+victims+":"+socket)
		}},
	}
	for i, program := range releases(t) {
		name := "ansible-" + release(t, program)
		sample := []string{"directory of another user", "group writable", "handed over",
			"shared, of another user", "shared, home of another user"}
		all = append(all,
			&client{name: name + "-callback", command: play(program, "local"), release: program,
				own: true, only: sample, few: 1, many: 8},
			&client{name: name, command: play(program, "mitogen"), release: program, own: true,
				must: true, only: sample, few: 1, many: 5},
			&client{name: name + "-persist", release: program, must: true,
				command: play(program, "mitogen", "-e", "mitogen_persist=true"),
				only:    []string{"named", "shared, handed"}, few: 1, many: 5})
		for _, c := range all {
			if i > 0 && c.release == program {
				c.many = c.few // of other releases the sample: the plugin is the same
			} else if hostile.Long() && i == 0 {
				c.only = nil
			}
		}
	}
	return all
}

// meets tells whether the client is tried in a scenario.
func (c *client) meets(scenario string) bool {
	return c.only == nil || slices.Contains(c.only, scenario)
}

// sockets returns the names of a process's sockets.
func (c *client) sockets(pid int) []string {
	names := []string{"daemon.sock"}
	if c.own {
		names = append(names, fmt.Sprintf("ansible-%d.sock", pid))
	}
	return names
}

// mitogen is the command, which is this test's executable.
func mitogen(args ...string) func(*testing.T, context.Context, *place) *exec.Cmd {
	return func(t *testing.T, ctx context.Context, p *place) *exec.Cmd {
		return exec.CommandContext(ctx, executable(t), args...)
	}
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// example is a program that uses the client in Python.
func example(t *testing.T, ctx context.Context, p *place) *exec.Cmd {
	dir, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	const text = `import sys
sys.path.insert(0, sys.argv[1])
import mitogen_client
client = mitogen_client.Client(command=sys.argv[2], ask=lambda prompt: sys.argv[3])
print(client.contexts())
print(client.target('local', options={'sudo': {'password': sys.argv[3]}}).call('os:getpid'))`
	return exec.CommandContext(ctx, "python3", "-c", text, dir, executable(t), victims)
}

// play runs a playbook with a connection plugin, and with the callback, which asks daemons at the
// end.
func play(program, transport string,
	args ...string) func(*testing.T, context.Context, *place) *exec.Cmd {
	return func(t *testing.T, ctx context.Context, p *place) *exec.Cmd {
		l := lab.Need(t)
		here, err := filepath.Abs("testdata/secrets.yml")
		if err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-i", lab.Play + ",", here, "-e", "ansible_password=" + victims,
			"-e", "ansible_become_password=" + victims, "-e", "ansible_connection=" + transport}, args...)
		cmd := playbook(t, ctx, program, p.dir, l.Config, args...)
		p.env = append(cmd.Env, p.env...)
		return cmd
	}
}

// victim is a client that waits for its turn: its process id is known before it starts.
type victim struct {
	t      *testing.T
	cmd    *exec.Cmd
	pid    int
	in     io.WriteCloser
	out    *bufio.Reader
	cancel context.CancelFunc
}

func (c *client) start(t *testing.T, p *place) *victim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.limit, 10*time.Minute))
	cmd := c.command(t, ctx, p)
	if c.path != nil {
		c.path(p, filepath.Join(p.seen, c.sockets(0)[0]))
	}
	const wait = `echo $$; read go; exec "$@"`
	cmd.Args = append([]string{"/bin/sh", "-c", wait, "sh"},
		append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path, cmd.Env, cmd.Dir = "/bin/sh", p.env, p.cwd
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	v := &victim{t: t, cmd: cmd, cancel: cancel}
	var err error
	if v.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd.Stdout, cmd.Stderr = w, w
	v.out = bufio.NewReader(r)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); r.Close(); endDaemons(t, p) })
	line, _ := v.out.ReadString('\n')
	if v.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatalf("read the pid: got %q, %v; want a number", line, err)
	}
	return v
}

// finish lets the client go on, and returns what it printed and how it ended.
func (v *victim) finish() (string, error) {
	v.t.Helper()
	io.WriteString(v.in, "\n")
	v.in.Close()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(v.out)
		text <- string(b)
	}()
	err := v.cmd.Wait()
	if v.cmd.ProcessState.ExitCode() == -1 {
		v.t.Errorf("the client doesn't end: %v", err)
	}
	v.cancel()
	select {
	case out := <-text:
		return out, err
	case <-time.After(time.Minute):
		return "(its output is held open)", err
	}
}

// endDaemons ends the daemons that clients have started from a place: processes of this test's
// executable that have its environment.
func endDaemons(t *testing.T, p *place) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	exe := executable(t)
	for _, dir := range all {
		to, err := os.Readlink(dir + "/exe")
		if err != nil || to != exe {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && bytes.Contains(env, []byte("="+p.dir)) {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}
