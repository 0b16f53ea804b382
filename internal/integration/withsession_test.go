package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// sessionsOfSSH are shell scripts for the uses of ssh other than running a program. Each script
// runs with the $SSH that `mitogen with` puts in the way, and with the machine's own ssh by each of
// its ways. The scripts print only the wanted text.
var sessionsOfSSH = []struct{ name, script, want string }{
	{"waits for all output", `$SSH web 'sh -c "(sleep 3; echo late) & echo now"'`, "now\nlate\n"},
	{"waits, with a status", `$SSH web 'sh -c "(sleep 3; echo late) & echo now; exit 3"'; echo $?`,
		"now\nlate\n3\n"},
	{"a reader that leaves", `$SSH web yes | head -n 1`, "y\n"},
	{"a reader of stderr that leaves", `$SSH web 'yes >&2' 2>&1 >/dev/null | head -n 1`, "y\n"},
	{"a reader that leaves a program that goes on",
		`{ $SSH web 'trap "" PIPE; yes 2>/dev/null; exit 5'; echo $? >&3; } 3>&2 | head -n 1`, "y\n5\n"},
}

// A sshWay has scripts use an ssh.
type sshWay struct {
	command []string // of mitogen, and its flags
	ssh     string
}

// sshWays returns the ways to an ssh that goes through the tree, by their names.
func sshWays() map[string]sshWay {
	ways := map[string]sshWay{"ours": {[]string{"with"}, "ssh"}}
	if _, err := os.Stat("/usr/bin/ssh"); err != nil {
		return ways
	}
	ssh := "/usr/bin/ssh -F $MITOGEN_SSH_CONFIG"
	ways["OpenSSH's"] = sshWay{[]string{"with"}, ssh}
	ways["serve-ssh"] = sshWay{[]string{"serve-ssh"}, ssh}
	ways["serve-ssh, port"] = sshWay{[]string{"serve-ssh", "--listen", "0"}, ssh + " -S none"}
	ways["serve-ssh, socket"] = sshWay{[]string{"serve-ssh", "--listen", "unix"}, ssh + " -S none"}
	return ways
}

// withLocal runs a script by `mitogen with`, whose target web is this machine.
func withLocal(t *testing.T, program, script string) string {
	t.Helper()
	return localBy(t, program, []string{"with"}, script)
}

// localBy is withLocal by another command.
func localBy(t *testing.T, program string, command []string, script string) string {
	t.Helper()
	args := append(slices.Clone(command), "-t", "web=local", "--", "sh", "-c", script)
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), runtimeDir(t))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Run(); err != nil {
		return out.String() + err.Error()
	}
	return out.String()
}

func TestSessionsOfSSH(t *testing.T) {
	program := buildMitogen(t)
	for name, way := range sshWays() {
		for _, tt := range sessionsOfSSH {
			if strings.HasPrefix(name, "serve-ssh, ") && tt.name == "a reader of stderr that leaves" {
				continue // OpenSSH's ssh doesn't tell a server
			}
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				script := fmt.Sprintf("SSH=%q; %s", way.ssh, tt.script)
				got := strings.ReplaceAll(localBy(t, program, way.command, script), "\r\n", "\n")
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// typing is text that is typed, and the pattern that has to be shown before the next: a program
// takes all that is typed before its end.
type typing struct{ text, answer string }

// typeInShell types in a shell on a terminal of its own, which ends by itself. env are its
// variables besides the test's.
func typeInShell(t *testing.T, shell string, env []string, steps []typing) {
	t.Helper()
	for _, name := range []string{"script", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("not installed: %s", name)
		}
	}
	keys, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	cmd := exec.Command("script", "-qfec", shell, "/dev/null")
	shown, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Env = keys, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	keys.Close()
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	all := ""
	for _, step := range steps {
		typed.WriteString(step.text)
		answer := regexp.MustCompile("(?s)" + step.answer)
		for from, b := len(all), make([]byte, 4096); !answer.MatchString(all[from:]); {
			n, err := shown.Read(b)
			all += string(b[:n])
			if err != nil {
				t.Fatalf("got %q, want %q after %q", all, step.answer, step.text)
			}
		}
	}
	cmd.Wait()
}

// In a shell with job control, ssh reads the terminal, and ~. hangs up.
func TestKeyboardOfSSH(t *testing.T) {
	shell := buildMitogen(t) + " with -t web=local -- bash --norc -i"
	typeInShell(t, shell, nil, []typing{ // ssh takes all that is typed before its end
		{"PS1='rea''dy> '\n", "ready> "},
		{"ssh web 'echo on; tr a-z A-Z'\n", "on\r\n"},
		{"hello\n\x04", "HELLO.*ready> "},
		{"echo status$?\n", "status0.*ready> "},
		{"ssh -t web 'echo on$((1+2)); cat'\n", "on3"},
		{"once\n~.", "escape character.*ready> "},
		{"echo status$?\n", "status255.*ready> "},
		{"exit\n", ""},
	})
}
