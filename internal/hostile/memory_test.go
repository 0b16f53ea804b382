package hostile_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/lab/recorder"
)

// owned starts mitogen as an account of the lab, in a directory of that account, and returns it
// with what it writes.
func owned(t *testing.T, account string, env []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hostile.Hand(t, dir, account)
	for at := filepath.Dir(dir); at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "mitogen") // which the account can read
	text, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	argv := lab.As(account, append([]string{program}, args...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir,
		asCommand + "=1"}, env...)
	said := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = said, said
	return cmd, said
}

// readable lists files of a process that another process of an account can read, of those that have
// its secrets.
func readable(t *testing.T, account string, pid int) []string {
	t.Helper()
	const script = `for f in environ mem auxv maps fd/0 exe cwd; do
	{ test $f = mem || cat /proc/$0/$f; } >/dev/null 2>&1 && test $f != mem && echo $f
done
dd if=/proc/$0/mem bs=1 count=1 of=/dev/null 2>&1 | grep -q 'Input/output' && echo mem
(exec 3</proc/$0/mem) 2>/dev/null && echo mem; true`
	argv := lab.As(account, "sh", "-c", script, strconv.Itoa(pid))
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("look at the process as %s: %v; output: %s", account, err, out)
	}
	return strings.Fields(string(out))
}

// Another process of the same user can't read the memory or the environment of daemon and engine.
func TestClosedToSameUser(t *testing.T) {
	lab.Need(t)
	if got := strings.Join(readable(t, lab.Free, open(t, lab.Free)),
		" "); !strings.Contains(got, "environ") || !strings.Contains(got, "mem") {
		t.Fatalf("of an ordinary process %q can be read: the test sees nothing", got)
	}
	for name, args := range map[string][]string{
		"daemon": {"daemon", "--socket", "own/s", "--owner", strconv.Itoa(os.Getpid())},
		"engine": {"call", "-t", "local", "time:sleep", "60"},
	} {
		cmd, said := owned(t, lab.Free, []string{"MITOGEN_SSH_PASSWORD=in-the-environment"}, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
		eventually(t, name+" is closed", func() bool { return dumpable(cmd.Process.Pid) == "0" })
		if got := readable(t, lab.Free, cmd.Process.Pid); len(got) > 0 {
			t.Errorf("%s: another process of the user can read %q (%s)", name, got, said)
		}
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
		if line := lineOf(limits, "Max core file size"); err != nil || len(line) < 5 || line[4] != "0" {
			t.Errorf("%s: limits say %q, want no core dumps", name, line)
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
		if err != nil || bytes.Contains(environ, []byte("in-the-environment")) {
			t.Errorf("%s: the environment still has the password, %v", name, err)
		}
	}
}

// open starts an ordinary process.
func open(t *testing.T, account string) (pid int) {
	t.Helper()
	argv := lab.As(account, "sleep", "60")
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "sleep runs", func() bool {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return string(name) == "sleep\n"
	})
	return cmd.Process.Pid
}

// dumpable tells by the owner of its files whether a process's memory is open to its user.
func dumpable(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	st, statErr := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || statErr != nil || filepath.Base(exe) != "mitogen" {
		return "?"
	}
	if st.Sys().(*syscall.Stat_t).Uid == 0 {
		return "0"
	}
	return "1"
}

func lineOf(text []byte, begin string) []string {
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, begin) {
			return strings.Fields(line)
		}
	}
	return nil
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 6000 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: not within 2 min", what)
}

// copies counts a text in all that a process has in memory and could write.
func copies(t *testing.T, pid int, text string) (n int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); !strings.HasPrefix(mode, "rw") ||
			to-from > 1<<28 {
			continue
		}
		region := make([]byte, to-from)
		got, _ := memory.ReadAt(region, from)
		n += bytes.Count(region[:got], []byte(text))
	}
	return n
}

// What a daemon was given to connect with isn't in its memory once it is connected, or has failed.
func TestDaemonForgets(t *testing.T) {
	l := lab.Need(t)
	dir, err := os.MkdirTemp("", "mgo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "d", "s")
	daemon := exec.Command(executable(t), "daemon", "--socket", socket, "--owner",
		strconv.Itoa(os.Getpid()))
	daemon.Env = append(os.Environ(), asCommand+"=1")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Signal(syscall.SIGTERM); daemon.Wait() })
	eventually(t, "the daemon listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	secret := rand.Text()
	server := (&recorder.Server{Password: secret, Methods: []string{"password"}}).Serve(t)
	questions := (&recorder.Server{Password: secret,
		Methods: []string{"keyboard-interactive"}}).Serve(t)
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf("Host one\n Port %d\nHost two\n Port %d\nHost *\n HostName 127.0.0.1\n User "+
		"me\n IdentityAgent none\n IdentityFile none\n StrictHostKeyChecking no\n UserKnownHostsFile "+
		"/dev/null\n",
		server.Port, questions.Port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		fine bool
		most int // copies that stay with what isn't ours
	}{
		{"ssh", []string{"-F", config, "-t", "one"}, true, 0},
		{"ssh, questions", []string{"-F", config, "-t", "two"}, true, 0},
		{"password of one hop", []string{"-F", config, "-t", "local+one", "--password-of",
			"one=env:SECRET"}, true, 0},
		{"command", []string{"-F", config, "-t", "one+local", "--password-command",
			"sh -c 'echo $SECRET'"}, true, 0},
		{"sudo, wrong", []string{"-F", l.Config, "-t", lab.Pass + "+sudo"}, false, 0},
		{"sudo", []string{"-F", l.Config, "-t", lab.Pass + "+sudo"}, true, 0},
		// With AES-GCM, which sshnative prefers, x/crypto/ssh leaves two packets that hold the
		// password to the garbage collector, which doesn't wipe them. This project has no
		// reference to either. The first is the message that passwordCallback.auth makes by
		// Marshal. The second is gcmCipher.buf: writeCipherPacket copies the message there and
		// makes it as long as the packet without the tag, so that Seal, which appends the tag,
		// encrypts into other memory. ChaCha20-Poly1305 encrypts in buf itself: with that cipher
		// one copy stays, and encryption takes seven times as long on amd64.
		{"native", []string{"-F", config, "-t", "one", "--ssh-native"}, true, 2},
	} {
		secret := secret
		if tt.name == "sudo" {
			secret = l.Password
		}
		if sample := tt.name == "ssh" || tt.name == "sudo" || tt.name == "command" ||
			tt.name == "sudo, wrong"; !sample && !hostile.Long() {
			continue
		}
		cmd := exec.Command(executable(t),
			append([]string{"ping", "--daemon", "--socket", socket}, tt.args...)...)
		cmd.Env = append(os.Environ(), asCommand+"=1", "MITOGEN_SSH_PASSWORD="+secret,
			"MITOGEN_BECOME_PASSWORD="+secret, "SECRET="+secret)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.CombinedOutput()
		if fine := err == nil; fine != tt.fine || strings.Contains(string(out), secret) {
			t.Errorf("%s: got %v: %s", tt.name, err, out)
		}
		n := 0
		for range 300 {
			if n = copies(t, daemon.Process.Pid, secret); n <= tt.most {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n > tt.most {
			t.Errorf("%s: the daemon has %d copies of the password, want at most %d", tt.name, n, tt.most)
		}
	}
}

// A typed password isn't in the memory of the command any more once it was given to its program. A
// password that holds for all targets is there once.
func TestTypedPasswordIsForgotten(t *testing.T) {
	l := lab.Need(t)
	const script = "import sys, time\nsys.stdout.write('it is ' + 'in\\n')\nsys.stdout.flush()\n" +
		"time.sleep(60)"
	for _, tt := range []struct {
		name    string
		account string // that runs the command; "": root
		args    []string
		most    int
	}{
		{"sudo of a hop", "", []string{"-F", l.Config, "-t", lab.Pass + "+sudo"}, 0},
		{"own sudo", lab.Pass, []string{"-t", "sudo"}, 0},
		{"for all targets", lab.Pass, []string{"-K", "-t", "sudo"}, 1},
		{"ssh", "", []string{"-F", l.Config, "-t", lab.Pass, "--ssh-arg=-oPubkeyAuthentication=no"}, 0},
	} {
		if sample := tt.account == "" && tt.name != "ssh" || tt.most > 0; !sample && !hostile.Long() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(executable(t), append([]string{"run"}, append(tt.args, "-c", script)...)...)
			cmd.Env = append(os.Environ(), asCommand+"=1")
			if tt.account != "" {
				cmd, _ = owned(t, tt.account, nil, append([]string{"run"}, append(tt.args, "-c", script)...)...)
				cmd.Stdout, cmd.Stderr = nil, nil
			}
			terminal, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); terminal.Close(); cmd.Wait() })
			until := func(words string) {
				t.Helper()
				var seen []byte
				buf := make([]byte, 4096)
				for !strings.Contains(string(seen), words) {
					terminal.SetReadDeadline(time.Now().Add(2 * time.Minute))
					n, err := terminal.Read(buf)
					if seen = append(seen, buf[:n]...); err != nil {
						t.Fatalf("no %q in %q: %v", words, seen, err)
					}
				}
			}
			until("assword")
			time.Sleep(200 * time.Millisecond) // in which the rest of the question comes
			if _, err := terminal.WriteString(l.Password + "\r"); err != nil {
				t.Fatal(err)
			}
			until("it is in")
			n := 0
			for end := time.Now().Add(time.Minute); time.Now().Before(end); {
				if n = copies(t, cmd.Process.Pid, l.Password); n <= tt.most {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if n > tt.most {
				t.Errorf("the command has %d copies of the password, want at most %d", n, tt.most)
			}
		})
	}
}
