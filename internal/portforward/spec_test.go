package portforward

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

var (
	nowhere = Address{}
	db      = Address{"tcp", "db:5432"}
	sock    = Address{"unix", "/tmp/b"}
)

func tcp(text string) Address { return Address{"tcp", text} }

// values are of options; a Spec without a kind is an error.
var values = []struct {
	kind byte
	text string
	want Spec
}{
	{'L', "8080:db:5432", Spec{'L', tcp("localhost:8080"), db}},
	{'L', "0:db:5432", Spec{'L', tcp("localhost:0"), db}},
	{'L', ":8080:db:5432", Spec{'L', tcp("*:8080"), db}},
	{'L', "*:8080:db:5432", Spec{'L', tcp("*:8080"), db}},
	{'L', "127.0.0.1:8080:db:5432", Spec{'L', tcp("127.0.0.1:8080"), db}},
	{'L', "[::1]:8080:[fe80::1]:80", Spec{'L', tcp("[::1]:8080"), tcp("[fe80::1]:80")}},
	{'L', "/tmp/a:/tmp/b", Spec{'L', Address{"unix", "/tmp/a"}, sock}},
	{'L', "/tmp/a:db:5432", Spec{'L', Address{"unix", "/tmp/a"}, db}},
	{'L', `/tmp/a\:b:db:5432`, Spec{'L', Address{"unix", "/tmp/a:b"}, db}},
	{'L', "8080:/tmp/b", Spec{'L', tcp("localhost:8080"), sock}},
	{'L', "lo:8080:/tmp/b", Spec{'L', tcp("lo:8080"), sock}},
	{'L', "[::1]:1:/tmp/b", Spec{'L', tcp("[::1]:1"), sock}},
	{'L', "8080:db:5432:", Spec{'L', tcp("localhost:8080"), db}},
	{'L', "8080:db:5432 ", Spec{}},
	{'L', "8080:db:http", Spec{'L', tcp("localhost:8080"), tcp("db:80")}},
	{'R', "8080", Spec{'R', tcp("localhost:8080"), nowhere}},
	{'R', "b:8080", Spec{'R', tcp("b:8080"), nowhere}},
	{'R', "/tmp/x", Spec{'R', Address{"unix", "/tmp/x"}, nowhere}},
	{'R', "0:db:5432", Spec{'R', tcp("localhost:0"), db}},
	{'R', ":80:db:5432", Spec{'R', tcp("*:80"), db}},
	{'D', "1080", Spec{'D', tcp("localhost:1080"), nowhere}},
	{'D', "*:1080", Spec{'D', tcp("*:1080"), nowhere}},
	{'D', "[::1]:1080", Spec{'D', tcp("[::1]:1080"), nowhere}},
	{'D', "/tmp/s", Spec{'D', Address{"unix", "/tmp/s"}, nowhere}},
	{'L', "", Spec{}},
	{'L', ":", Spec{}},
	{'L', "8080", Spec{}},
	{'L', "a:b:c", Spec{}},
	{'L', "8080:db:", Spec{}},
	{'L', "1:2:3:4:5", Spec{}},
	{'L', "70000:a:1", Spec{}},
	{'L', "-1:a:1", Spec{}},
	{'L', "a:b:c:80", Spec{}},
	{'L', "[::1:1:b:2", Spec{}},
	{'L', "[::1]x:1:b:2", Spec{}},
	{'L', "/tmp/a", Spec{}},
	{'L', `1:a:2\`, Spec{}},
	{'R', "1:a:0", Spec{}},
	{'R', "", Spec{}},
	{'D', "1:2:3", Spec{}},
	{'D', "", Spec{}},
	{'D', "x", Spec{}},
}

// accepted values differ from ssh: the system may choose a port of this machine.
var accepted = map[string]bool{"0:db:5432": true}

// told returns the words in which ssh tells what it has read.
func told(s Spec) string {
	part := func(a Address) string {
		if a.Network == "unix" {
			return a.Text
		}
		i := strings.LastIndexByte(a.Text, ':')
		host, port := strings.Trim(a.Text[:i], "[]"), a.Text[i+1:]
		if host == loopback {
			return port
		}
		return "[" + host + "]:" + port
	}
	names := map[byte]string{'L': "localforward ", 'R': "remoteforward ", 'D': "dynamicforward "}
	line := names[s.Kind] + part(s.Listen)
	switch {
	case s.Kind == 'R' && s.SOCKS():
		return line + " [socks]:0"
	case s.Kind == 'D':
		return line
	}
	return line + " " + part(s.To)
}

// Values are read as by ssh, which is asked where it is installed.
func TestParse(t *testing.T) {
	_, missing := exec.LookPath("ssh")
	lines := regexp.MustCompile(`(?m)^(local|remote|dynamic)forward .*$`)
	for _, tt := range values {
		t.Run(fmt.Sprintf("-%c %s", tt.kind, tt.text), func(t *testing.T) {
			got, err := Parse(tt.kind, tt.text)
			bad := (*Error)(nil)
			ok := got == tt.want && (err == nil) == (tt.want != Spec{})
			if !ok || err != nil && !errors.As(err, &bad) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			if missing != nil || accepted[tt.text] && tt.kind == 'L' {
				return
			}
			ssh := exec.Command("ssh", "-G", "-F", "none", "-"+string(tt.kind), tt.text, "x")
			out, failed := ssh.CombinedOutput()
			if (failed != nil) != (err != nil) {
				t.Fatalf("got %v, ssh has %v: %s", err, failed, out)
			}
			if err != nil {
				return
			}
			// In OpenSSH's output "" and * are different texts for the same.
			said := strings.Join(lines.FindAllString(string(out), -1), "\n")
			said = strings.ReplaceAll(said, "[]", "[*]")
			if want := told(got); !strings.Contains("\n"+said+"\n", "\n"+want+"\n") {
				t.Errorf("got %q, ssh has %q", want, said)
			}
		})
	}
}

// kubectl's form, and -W's.
func TestParsePorts(t *testing.T) {
	for text, want := range map[string]Spec{
		"8080:80": {'L', tcp("localhost:8080"), tcp("localhost:80")},
		"8080":    {'L', tcp("localhost:8080"), tcp("localhost:8080")},
		":80":     {'L', tcp("localhost:0"), tcp("localhost:80")},
		"0:80":    {'L', tcp("localhost:0"), tcp("localhost:80")},
		"":        {},
		"0":       {},
		":":       {},
		"80:":     {},
		"a:b":     {},
		"1:2:3":   {},
		"65536":   {},
	} {
		got, err := ParsePorts(text)
		if want != got && err == nil || (err != nil) != (want == Spec{}) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]Address{
		"db:5432": db, "[::1]:1": tcp("[::1]:1"), "/tmp/b": sock,
		"db": nowhere, "1": nowhere, ":1": nowhere, "a:1:2": nowhere,
	} {
		got, err := Parse(Stdio, text)
		if got.To != want || (err != nil) != (want == nowhere) {
			t.Errorf("-W %q: got %v, %v, want %v", text, got.To, err, want)
		}
	}
}

// Whatever is typed is an error, or has a place to listen at and one to connect to.
func FuzzParse(f *testing.F) {
	for _, tt := range values {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []byte{Local, Remote, Dynamic, Stdio} {
			s, err := Parse(kind, text)
			if err == nil && (kind == Stdio) != (s.Listen == nowhere) {
				t.Errorf("-%c %q: got %v", kind, text, s)
			}
		}
		ParsePorts(text)
	})
}
