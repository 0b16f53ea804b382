package sshmux

import (
	"os"
	"path/filepath"
	"testing"
)

func TestConfigured(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "ssh")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ssh", "#!/bin/sh\n")
	defer func(old []string) { usualPrograms = old }(usualPrograms)
	usualPrograms = []string{program}
	write("shared", "Host *\n\tcontrolPATH=~/.ssh/%C\n")
	write("plain", "Host *\n\tPort 22\n")
	for _, c := range []struct {
		name, config string
		args         []string
		want         bool
	}{
		{name: "none", config: "Host a\n  Port 1\n"},
		{name: "one", config: "Host a\n  ControlPath /tmp/x\n", want: true},
		{name: "included", config: "Include " + dir + "/sh*d " + dir + "/plain\n", want: true},
		{name: "included in quotes", config: "include=\"" + dir + "/shared\"\n", want: true},
		{name: "included one without", config: "Include " + dir + "/pl*\n"},
		{name: "included nothing", config: "Include " + dir + "/absent*\n"},
		{name: "included by a token", config: "Include %d/x\n", want: true},
		{name: "included by itself", config: "Include " + dir + "/config\n", want: true},
		{name: "option", args: []string{"-o", "ControlPath=/tmp/x"}, want: true},
		{name: "flag", args: []string{"-S", "/tmp/x"}, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			argv := append([]string{program, "-F", write("config", c.config)}, c.args...)
			if got := Configured(argv); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if Configured([]string{program, "-F", "none"}) {
		t.Error("no file at all has one")
	}
	if !Configured([]string{write("other", "#!/bin/sh\n"), "-F", "none"}) {
		t.Error("another program may look elsewhere")
	}
}
