package runtimetest

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/sessions"
)

// replay is a program that shows what was recorded, a byte at a time, and wants the recorded
// answer; it becomes a context if that was right.
const replay = `
import binascii, os, sys, termios
before, after, answer = [binascii.a2b_base64(a) for a in sys.argv[1:4]]
t = os.open('/dev/tty', os.O_RDWR)
mode = termios.tcgetattr(t)
mode[3] = mode[3] & ~termios.ECHO
termios.tcsetattr(t, termios.TCSANOW, mode)
for i in range(len(before)):
    os.write(t, before[i:i + 1])
if os.read(t, 100).rstrip() != answer:
    os._exit(9)
if sys.argv[4] == 'right':
    os.execvp(sys.argv[5], sys.argv[5:])
for i in range(len(after)):
    os.write(t, after[i:i + 1])
if after.endswith('mitogen-password'.encode()):
    os.read(t, 100)     # as sudo waits, which asks again
os._exit(1)
`

// A hop answers as the engine does (internal/spawn): recorded dialogues of real programs.
func TestSessions(t *testing.T) {
	all, err := sessions.Load()
	if err != nil {
		t.Fatal(err)
	}
	needles := map[string]string{"sudo": "mitogen-password", "doas": "password: ", "ssh": "password:",
		"ssh key": "passphrase for", "ssh host": "(yes/no"}
	var tests []test
	for _, s := range all {
		tests = append(tests, hopTest(s.Name(), func(t *testing.T, l *link) {
			before, after := s.Shown()
			needle := needles[s.Program]
			if needle == "" {
				needle = before
			}
			answer := map[string]string{"right": sessions.Password, "wrong": sessions.Wrong}[s.Case]
			if s.Program == "ssh key" && s.Case == "right" {
				answer = sessions.Passphrase
			}
			id := l.newID()
			p := l.plan(first, id, l.py)
			argv := []string{l.py.Path, "-c", replay}
			for _, text := range []string{before, after, answer} {
				argv = append(argv, base64.StdEncoding.EncodeToString([]byte(text)))
			}
			p["argv"], p["tty"] = append(append(argv, s.Case),
				boot.Command([]string{l.py.Path}, boot.Pipe)...), true
			p["prompts"] = []any{prompt(needle, answer)}
			if s.Case == "question" {
				p["prompts"] = []any{prompt(needle, nil)}
			}
			l.believe()
			c := l.connect(first, id, p)
			switch {
			case s.Case == "right":
				l.arrives(id)
				equal(t, "echo", l.callAt(id, "rt:echo", 1).value(), int64(1))
			case s.Case == "question":
				c.failsTo("unanswered", nil)
			case s.Program == "sudo":
				c.failsTo("repeated", nil)
			default:
				c.failsTo("exit", int64(1), fmt.Sprintf("%.5s", after[2:]))
			}
		}))
	}
	on(t, tests)
}
