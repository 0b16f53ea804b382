package demo

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// How long a session's processes may take to end by themselves once their connection is gone, and
// how long output may follow the end of the process that was asked for.
const (
	endPatience    = 400 * time.Millisecond
	outputPatience = 200 * time.Millisecond
)

// serveSession waits for a command and runs it. It returns when its process is gone.
func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	var env []string
	for r := range requests {
		command, ok := commandOf(r)
		if !ok {
			set, ok := variableOf(r)
			env = append(env, set...)
			r.Reply(ok, nil) // no terminals and the rest
			continue
		}
		p, err := startProcess(command, env)
		r.Reply(err == nil, nil)
		if err != nil {
			return
		}
		gone := make(chan struct{})
		go func() { // the requests end with the connection
			defer close(gone)
			for r := range requests {
				r.Reply(false, nil)
			}
		}()
		p.serve(channel, gone)
		return
	}
}

// commandOf reads an exec or shell request.
func commandOf(r *ssh.Request) (argv []string, ok bool) {
	switch r.Type {
	case "shell":
		return []string{"sh"}, true
	case "exec":
		var payload struct{ Command string }
		if ssh.Unmarshal(r.Payload, &payload) == nil {
			return []string{"sh", "-c", payload.Command}, true
		}
	}
	return nil, false
}

// variableOf reads a request to set a variable of the environment, if Debian's sshd takes it
// (AcceptEnv LANG LC_*).
func variableOf(r *ssh.Request) (set []string, ok bool) {
	var v struct{ Name, Value string }
	if r.Type != "env" || ssh.Unmarshal(r.Payload, &v) != nil ||
		v.Name != "LANG" && !strings.HasPrefix(v.Name, "LC_") || strings.ContainsAny(v.Name, "=\x00") ||
		strings.Contains(v.Value, "\x00") {
		return nil, false
	}
	return []string{v.Name + "=" + v.Value}, true
}

// process is the command of a session: a process group of its own, with pipes.
type process struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr io.ReadCloser
	done           chan struct{} // closed when reaped
}

func startProcess(argv, env []string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(loginEnv(), env...)
	if home, err := os.UserHomeDir(); err == nil {
		if st, err := os.Stat(home); err == nil && st.IsDir() {
			p.cmd.Dir = home
		}
	}
	var ours, theirs [3]*os.File
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:], theirs[:])
			return nil, err
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.stdin, p.stdout, p.stderr = ours[0], ours[1], ours[2]
	err := p.cmd.Start()
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	go func() {
		p.cmd.Wait() // the status is looked up later
		close(p.done)
	}()
	return p, nil
}

func closeAll(lists ...[]*os.File) {
	for _, files := range lists {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
}

// loginEnv is the environment without what a login elsewhere wouldn't have.
func loginEnv() []string {
	var env []string
	for _, s := range os.Environ() {
		name, _, _ := strings.Cut(s, "=")
		if !strings.HasPrefix(name, "MITOGEN_") && !strings.HasPrefix(name, "SSH_") &&
			!strings.HasPrefix(name, "PYTHON") {
			env = append(env, s)
		}
	}
	return append(env, "SSH_CONNECTION=127.0.0.1 0 127.0.0.1 0")
}

// serve carries bytes until the process has ended, or gone is closed. It leaves no process of the
// group behind.
func (p *process) serve(channel ssh.Channel, gone <-chan struct{}) {
	copied := make(chan struct{})
	go func() {
		defer p.stdin.Close()
		io.Copy(p.stdin, channel)
	}()
	go func() {
		defer close(copied)
		errs := make(chan struct{})
		go func() {
			defer close(errs)
			io.Copy(channel.Stderr(), p.stderr)
		}()
		io.Copy(channel, p.stdout)
		<-errs
	}()
	select {
	case <-p.done:
		within(copied, outputPatience)
		sendStatus(channel, p.cmd.ProcessState)
	case <-gone:
		closePipes(p)
		within(p.done, endPatience)
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the group, also when its leader is gone
	<-p.done
	closePipes(p)
}

func closePipes(p *process) {
	p.stdin.Close()
	p.stdout.Close()
	p.stderr.Close()
}

func within(done <-chan struct{}, d time.Duration) {
	select {
	case <-done:
	case <-time.After(d):
	}
}

// signalNames are those that SSH has names for and that end processes here.
var signalNames = map[syscall.Signal]string{syscall.SIGHUP: "HUP", syscall.SIGINT: "INT",
	syscall.SIGKILL: "KILL",
	syscall.SIGTERM: "TERM", syscall.SIGPIPE: "PIPE", syscall.SIGSEGV: "SEGV", syscall.SIGABRT: "ABRT"}

// sendStatus says how the process has ended.
func sendStatus(channel ssh.Channel, state *os.ProcessState) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		name, known := signalNames[status.Signal()]
		if known {
			channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Name    string
				Core    bool
				Message string
				Tag     string
			}{name, false, "", ""}))
			return
		}
	}
	channel.SendRequest("exit-status", false,
		ssh.Marshal(struct{ Status uint32 }{uint32(max(0, state.ExitCode()))}))
}
