package ansible_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the callback prints of a host's name is one line, and does nothing to a terminal.
func TestCallbackNames(t *testing.T) {
	const program = `
import sys
sys.path.insert(0, sys.argv[1])
from ansible.cli import CLI
import mitogen
class display(object):
    banner = display = lambda self, text: sys.stdout.write(text + '\n')
callback = mitogen.CallbackModule()
callback._display = display()
keys = ('logins', 'round_trips', 'modules', 'literal', 'files', 'bytes_down', 'bytes_up')
for name in ('web1', 'w\xe9b', 'a\nweb1 : logins=0', 'b\x1b[2J', 'c\x9b2J', 'd\u202eb',
             'e\u2028f\r'):
    callback.show([dict([(key, 1) for key in keys], host=name)])
`
	file := placed(t)["callback"]
	cmd := exec.Command("/usr/bin/python3", "-c", program, filepath.Dir(file))
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run the callback plugin: %v; output: %s", err, out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, rest, ok := strings.Cut(line, " : logins=1"); ok && strings.HasSuffix(rest, "down=1\n") {
			names = append(names, strings.TrimRight(name, " "))
		} else if line != "MITOGEN\n" {
			t.Errorf("got the line %q", line)
		}
	}
	want := `web1|wéb|a\u000aweb1 : logins=0|b\u001b[2J|c\u009b2J|d\u202eb|e\u2028f\u000d`
	if got := strings.Join(names, "|"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
