package ansible

import (
	"reflect"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		``:                            nil,
		`a  b`:                        {"a", "b"},
		`/bin/sh -c 'a b && sleep 0'`: {"/bin/sh", "-c", "a b && sleep 0"},
		`x'a'"'"'b'y`:                 {"xa'by"},
		`'' "" a`:                     {"", "", "a"},
		`K='a "b"' python`:            {`K=a "b"`, "python"},
	} {
		if got, ok := words(line); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("words of %q: got %q, %t; want %q, true", line, got, ok, want)
		}
	}
	for _, line := range []string{`a$b`, "`a`", `a\b`, `a|b`, `a;b`, `a&b`, `'a`, `"a`, `"a$b"`,
		"\"a`b\"", `a>b`, `a*`, `~`, `a b # c`, "a\nb", `{a,b}`, `(a)`, `!x`} {
		if got, ok := words(line); ok {
			t.Errorf("%q: %q, though it means something to a shell", line, got)
		}
	}
}

func TestUnwrap(t *testing.T) {
	for command, want := range map[string]string{
		`/bin/sh -c '/usr/bin/python3 && sleep 0'`: `/usr/bin/python3`,
		`/bin/sh -c /usr/bin/python3`:              `/usr/bin/python3`,
		`/bin/sh -c 'echo ~ && sleep 0'`:           `echo ~`,
		`/bin/bash -c x`:                           ``,
		`echo raw`:                                 ``,
		`/bin/sh -c 'a' b`:                         ``,
	} {
		if got, _ := unwrap(command); got != want {
			t.Errorf("unwrap %q: got %q, want %q", command, got, want)
		}
	}
}

func TestInterpreter(t *testing.T) {
	python, env, ok := interpreter(`FOO='a b' BAR=1 /usr/bin/python3.11`)
	if !ok || python != "/usr/bin/python3.11" ||
		!reflect.DeepEqual(env, map[string]any{"FOO": "a b", "BAR": "1"}) {
		t.Error(python, env, ok)
	}
	for _, inner := range []string{`python3`, `/opt/my-venv/bin/python`,
		`/usr/libexec/platform-python`, `pypy3`} {
		if python, _, ok := interpreter(inner); inner != `/usr/libexec/platform-python` &&
			(!ok || python != inner) {
			t.Errorf("interpreter of %q: got %q, %t; want the same path, true", inner, python, ok)
		}
	}
	for _, inner := range []string{``, `PYTHONPATH=/x python3`, `LC_ALL=C python3`,
		`source /x && python`, `python3 -E`, `perl`, `/usr/bin/env python3`, `FOO=$BAR python3`,
		`OPENSSL_CONF=/x python3`, `OPENSSL_MODULES=/x python3`, `GCONV_PATH=/x python3`,
		`RES_OPTIONS=rotate python3`} {
		if python, _, ok := interpreter(inner); ok {
			t.Errorf("%q: taken for interpreter %q", inner, python)
		}
	}
}

// Known steps are those that releases of Ansible write. All other commands go to a shell.
func TestSteps(t *testing.T) {
	const dir = "/home/a/.ansible/tmp/ansible-tmp-1795857628.01-13220-2712"
	mkdir := "( umask 77 && mkdir -p \"` echo /home/a/.ansible/tmp `\"&& mkdir \"` echo " + dir +
		" `\" && echo ansible-tmp-1795857628.01-13220-2712=\"` echo " + dir + " `\" )"
	for inner, want := range map[string]step{
		mkdir: {do: []any{"mkdir", dir}, dir: dir,
			stdout: "ansible-tmp-1795857628.01-13220-2712=" + dir + "\n"},
		"rm -f -r " + dir + "/ > /dev/null 2>&1": {do: []any{"rm", dir}, dir: dir},
		"chmod u+x " + dir + "/ " + dir +
			"/source": {do: []any{"chmod", 0o100, []any{dir + "/", dir + "/source"}}},
		"chmod u+rwx " + dir + "/ " + dir +
			"/.source.j": {do: []any{"chmod", 0o700, []any{dir + "/", dir + "/.source.j"}}},
	} {
		if got, ok := steps(inner); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("steps of %q: got %v, %t; want %v, true", inner, got, ok, want)
		}
	}
	for _, inner := range []string{
		"rm -f -r / > /dev/null 2>&1", "rm -f -r /home/a/ > /dev/null 2>&1",
		"rm -f -r " + dir + "/.. > /dev/null 2>&1", "rm -f -r $HOME/" + dir[8:] + "/ > /dev/null 2>&1",
		"rm -f -r " + dir + "/ /etc > /dev/null 2>&1", "chmod u+x /etc/passwd",
		"chmod u+x " + dir + "/ /etc/passwd", "chmod a+x " + dir + "/", "chmod u+x " + dir + "/a/../../b",
		strings.Replace(mkdir, "echo /home/a/.ansible/tmp", "echo ~/.ansible/tmp", 1),
		strings.Replace(mkdir, dir, "/etc/"+dir[20:], 1),
	} {
		if got, ok := steps(inner); ok {
			t.Errorf("steps of %q: got %v, want none", inner, got)
		}
	}
	for path, want := range map[string]bool{dir + "/source": true, dir + "/a/b": false,
		"/etc/passwd": false, dir: false} {
		if inTemp.MatchString(path) != want {
			t.Error(path)
		}
	}
}
