package sshnative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/secret"
)

// sshBefore tells whether the installed ssh is older than a release.
func sshBefore(major, minor int) bool {
	return releaseOf("ssh").before(major, minor)
}

// A diffCase is a configuration with which ssh and the transport connect to the same server.
// In its texts {dir} is the directory of the keys, {port:NAME} a server's port, {key:NAME} a public
// key, {at:NAME} the server's name in known hosts.
type diffCase struct {
	name    string
	server  string   // "plain" if empty
	config  []string // lines for the host x
	known   string   // the file {dir}/known; as it is right for the server if empty
	set     connect.SSHOptions
	agent   []string // keys that an agent holds, at {agent}
	env     bool     // its socket is in the environment
	left    bool     // the transport has to leave it to ssh
	refused bool     // ssh refuses

	stranger bool // the server has no such account
}

// result holds the effects of a connection attempt.
type result struct {
	seen
	left    error  // the transport's ErrUnsupported
	reached bool   // the command was executed
	output  string // the command's
	known   string // known hosts afterwards
	why     string
}

const probe = `echo "$USER $LC_TEST $LC_SET"; kill -0 $$`

// run makes one attempt, from the same state.
func (s *stage) run(t *testing.T, c diffCase, native bool) (r result) {
	t.Helper()
	dir := t.TempDir()
	argv := s.prepare(t, c, dir)
	r.seen = s.watch(func() {
		if native {
			s.runNative(t, c, argv, &r)
		} else {
			s.runSSH(c, argv, dir, &r)
		}
	})
	b, _ := os.ReadFile(filepath.Join(dir, "known"))
	r.known = unhash.ReplaceAllString(string(b), "HASHED")
	return r
}

var unhash = regexp.MustCompile(`(?m)^\|1\|\S+`)

// prepare writes configuration and known hosts, and returns ssh's command line up to the host.
func (s *stage) prepare(t *testing.T, c diffCase, dir string) []string {
	known := c.known
	if known == "" {
		known = s.rightKnown(t, c.server)
	}
	if known != "-" {
		write(t, filepath.Join(dir, "known"), s.fill(t, known, dir))
	}
	text := "Host x\n"
	for _, line := range []string{"HostName 127.0.0.1", "User " + lab.Free} {
		if key, _, _ := strings.Cut(line, " "); !strings.Contains(c.first(), key+" ") {
			text += "  " + line + "\n"
		}
	}
	if all := strings.Join(c.config, "\n"); !strings.Contains(all, "Port ") ||
		strings.Contains(all, "Host y") {
		text += "  Port {port:" + c.server + "}\n"
	}
	for _, line := range c.config {
		text += "  " + line + "\n"
	}
	text += "Host *\n"
	for key, line := range map[string]string{"UserKnownHostsFile": "{tmp}/known",
		"GlobalKnownHostsFile": "/dev/null",
		"IdentityFile":         "{dir}/id-ed25519", "IdentityAgent": "none",
		"StrictHostKeyChecking": "yes"} {
		if key != "IdentityFile" || !strings.Contains(text, "IdentityFile ") {
			text += "  " + key + " " + line + "\n"
		}
	}
	write(t, filepath.Join(dir, "config"), s.fill(t, text, dir))
	argv := []string{"ssh", "-T", "-F", filepath.Join(dir, "config"), "-o", "LogLevel=ERROR", "-o",
		"ControlMaster=no",
		"-o", "ClearAllForwardings=yes", "-o", "NumberOfPasswordPrompts=1"}
	if c.set.Password == "" && c.set.Passphrase == "" {
		argv = append(argv, "-o", "BatchMode=yes")
	}
	for _, arg := range c.set.Args {
		argv = append(argv, s.fill(t, strings.ReplaceAll(arg, "{port}", "{port:"+c.server+"}"), dir))
	}
	write(t, filepath.Join(dir, "open"), string(s.read(t, "id-ed25519")))
	os.Chmod(filepath.Join(dir, "open"), 0o644)
	return append(argv, "--", "x")
}

// first returns the lines for the host x.
func (c diffCase) first() string {
	text, _, _ := strings.Cut(strings.Join(c.config, "\n"), "Host y")
	return text
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rightKnown has the keys of a server.
func (s *stage) rightKnown(t *testing.T, server string) (text string) {
	for _, key := range hostKeysOf(server) {
		text += "{at:" + server + "} {key:" + key + "}\n"
	}
	return text
}

// hostKeysOf returns the names of a server's keys.
func hostKeysOf(server string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^HostKey (\S+)`).FindAllStringSubmatch(settings[server],
		-1) {
		all = append(all, m[1])
	}
	return all
}

var placeholder = regexp.MustCompile(`\{(\w+)(?::([\w-]+))?\}`)

func (s *stage) fill(t *testing.T, text, tmp string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		m := placeholder.FindStringSubmatch(found)
		switch m[1] {
		case "dir":
			return s.dir
		case "tmp":
			return tmp
		case "agent":
			return filepath.Join(s.tmp, "agent")
		case "port":
			return fmt.Sprint(s.server(t, m[2]).port)
		case "at":
			return fmt.Sprintf("[127.0.0.1]:%d", s.server(t, m[2]).port)
		case "key":
			return strings.Join(strings.Fields(string(s.read(t, m[2]+".pub")))[:2], " ")
		}
		return found
	})
}

// runSSH has the ssh program answer what it asks as mitogen does: each secret once.
func (s *stage) runSSH(c diffCase, argv []string, dir string, r *result) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(slices.Clone(argv[1:]), probe)...)
	script := filepath.Join(dir, "askpass")
	os.WriteFile(script, fmt.Appendf(nil, `#!/bin/sh
case $1 in
"Enter passphrase for key '"*)
	[ -n '%[2]s' ] && [ ! -e %[3]s/p ] && echo '%[2]s' && touch %[3]s/p ;;
"(%[4]s@"*"assword: " | "%[4]s@"*"'s password: ")
	[ -n '%[1]s' ] && [ ! -e %[3]s/w ] && echo '%[1]s' && touch %[3]s/w ;;
*) false ;;
esac
`, string(c.set.Password), string(c.set.Passphrase), dir, lab.Free), 0o700)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+script, "SSH_ASKPASS_REQUIRE=force")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r.reached, r.output, r.why = err == nil, out.String(), errs.String()
}

func (s *stage) runNative(t *testing.T, c diffCase, argv []string, r *result) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p, err := Start(ctx, Options{Argv: argv, Command: probe, SSH: c.set})
	if err != nil {
		r.why = err.Error()
		if errors.Is(err, ErrUnsupported) {
			r.left = err
		}
		return
	}
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Error(err)
	}
	<-p.Done()
	r.reached, r.output = p.Failure().Status == 0, string(out)
}

// compare runs a case in both ways.
func (s *stage) compare(t *testing.T, c diffCase) (ssh, native result) {
	t.Helper()
	if c.server == "" {
		c.server = "plain"
	}
	s.server(t, c.server)
	s.fill(t, strings.Join(c.config, ""), "") // starts the other servers
	s.agent(t, c)
	ssh, native = s.run(t, c, false), s.run(t, c, true)
	if native.left != nil {
		if native.passwords > 0 {
			t.Errorf("%d passwords were tried, and then the host is left to ssh: %v", native.passwords,
				native.left)
		}
		if native.known != s.fill(t, s.initial(t, c), "") && native.known != ssh.known {
			t.Errorf("known hosts became %q, and then the host is left to ssh", native.known)
		}
		return ssh, native
	}
	report := func(what string, program, transport any) {
		if fmt.Sprint(program) != fmt.Sprint(transport) {
			t.Errorf("%s: ssh %v, native %v\nssh said %s\nnative said %s", what, program, transport, ssh.why,
				native.why)
		}
	}
	report("reached", ssh.reached, native.reached)
	report("output", ssh.output, native.output)
	report("unknown accounts", ssh.strangers, native.strangers)
	report("offered keys", strings.Join(ssh.offered, "\n"), strings.Join(native.offered, "\n"))
	most := 0 // an ssh that isn't answered sends an empty one
	if c.set.Password != "" {
		most = min(ssh.passwords, 1)
	}
	report("passwords", most, native.passwords)
	report("passwords for jumps", 0, native.strays)
	report("logins", ssh.accepted, native.accepted)
	report("known hosts", ssh.known, native.known)
	return ssh, native
}

func (s *stage) initial(t *testing.T, c diffCase) string {
	if c.known == "" {
		return s.rightKnown(t, c.server)
	}
	return c.known
}

// agent starts an agent with keys for one test.
func (s *stage) agent(t *testing.T, c diffCase) {
	t.Helper()
	if c.agent == nil {
		return
	}
	socket := filepath.Join(s.tmp, "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if c.env {
		t.Setenv("SSH_AUTH_SOCK", socket)
	}
	for range 400 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	known := t.TempDir()
	write(t, filepath.Join(known, "known"), s.fill(t, allKnown, ""))
	for _, key := range c.agent {
		args := strings.Fields(s.fill(t, key, known))
		args[len(args)-1] = s.file(args[len(args)-1])
		if out, err := add(socket, args); err != nil {
			t.Fatalf("ssh-add: %v: %s", err, out)
		}
	}
}

func add(socket string, args []string) ([]byte, error) {
	cmd := exec.Command("ssh-add", append([]string{"-q"}, args...)...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	return cmd.CombinedOutput()
}

// The transport reaches what ssh reaches, in its way and with its checks, or leaves it to ssh. Half
// of the cases are tried each day, all in `make soak`.
func TestAsSSH(t *testing.T) {
	w := newWorld(t)
	t.Setenv("LC_TEST", "sent")
	for _, c := range diffCases {
		t.Run(c.name, func(t *testing.T) {
			testpython.OneIn(t, 2)
			if c.set.Password == "lab" {
				c.set.Password = secret.Secret(w.Password)
			}
			if !c.env {
				t.Parallel()
			}
			ssh, native := w.stage(t).compare(t, c)
			if (native.left != nil) != c.left {
				t.Errorf("left to ssh: %v, want %v", native.left, c.left)
			}
			if c.stranger && len(ssh.strangers) == 0 {
				t.Error("ssh has asked for no unknown account")
			}
			if ssh.reached == c.refused {
				t.Errorf("ssh reached it: %v, want %v: %s", ssh.reached, !c.refused, ssh.why)
			}
			if testing.Verbose() {
				t.Logf("ssh: %v %s", ssh.seen, ssh.why)
				t.Logf("native: %v %s", native.seen, native.why)
			}
		})
	}
}
