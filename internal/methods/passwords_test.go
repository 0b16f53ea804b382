package methods

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/secret"
)

// Each hop has its own passwords, and no other passwords.
func TestForHop(t *testing.T) {
	o := connect.Options{
		SSH: connect.SSHOptions{Password: "last-host"}, Sudo: connect.SudoOptions{Password: "sudo"},
		Su: connect.SuOptions{Password: "su"}, Doas: connect.DoasOptions{Password: "doas"},
	}
	for _, tt := range []struct {
		target, before string
		own            map[string]secret.Secret
		want           string // what each hop is told
	}{
		{"web1", "", nil, "last-host"},
		{"web1+sudo", "", nil, "last-host sudo"},
		{"bastion+web1", "", nil, "- last-host"},
		{"bastion+sudo+web1+su:x", "", nil, "- - last-host su"},
		{"bastion+sudo+web1", "", nil, "- sudo last-host"},
		{"bastion+sudo:x+sudo+web1", "", nil, "- sudo sudo last-host"},
		{"sudo+docker:x+doas", "", nil, "sudo - doas"},
		{"web1", "bastion", map[string]secret.Secret{"bastion+web1": "own"}, "own"},
		{"web1", "bastion", map[string]secret.Secret{"other+web1": "own"}, "last-host"},
		{"bastion+web1", "", map[string]secret.Secret{"bastion": "own"}, "own last-host"},
		{"bastion+web1", "", map[string]secret.Secret{"ssh:bastion": "own"}, "own last-host"},
		{"bastion+web1", "", map[string]secret.Secret{"web1": "own"}, "- own"},
		{"web1+sudo+web2+sudo", "", map[string]secret.Secret{"web1+sudo": "first"},
			"- first last-host sudo"},
		{"web1+sudo+web2+sudo", "", map[string]secret.Secret{"sudo": "any", "web2+sudo": "second"},
			"- any last-host second"},
		{"web1+sudo:pg", "", map[string]secret.Secret{"sudo": "other"}, "last-host sudo"},
		{"web1+sudo:pg", "", map[string]secret.Secret{"sudo:pg": "own", "web1+sudo:pg": "more"},
			"last-host more"},
		{`CORP\+me@web1`, "", map[string]secret.Secret{"me@web1": "other"}, "last-host"},
		{`web1+sudo:a\+pg`, "b", map[string]secret.Secret{"sudo:pg": "other", "pg": "another"},
			"last-host sudo"},
		{`b+CORP\+me@web1`, "", map[string]secret.Secret{`CORP\+me@web1`: "own"}, "- own"},
		{`b+CORP\me@web1`, "", map[string]secret.Secret{`b+CORP\\me@web1`: "own"}, "- own"},
		{"xweb1", "", map[string]secret.Secret{"web1": "other"}, "last-host"},
		{"me@web1", "", map[string]secret.Secret{"web1": "other"}, "last-host"},
		{"web1+su:x", "", map[string]secret.Secret{"web1+sudo:x": "other"}, "last-host su"},
	} {
		hops, err := ParseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		o := o
		if o.Passwords, err = secret.NewTable(tt.own); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, h := range hops {
			one, err := ForHop(o, tt.before, hops, i)
			if err != nil {
				t.Fatalf("options for target %s: got error %v, want none", tt.target, err)
			}
			told := "-"
			if p := password(&one, h.Method); p != nil && *p != "" {
				told = string(*p)
			}
			got = append(got, told)
			if one.Passwords != "" {
				t.Errorf("%s: hop %s has the others' passwords", tt.target, h)
			}
		}
		if all := strings.Join(got, " "); all != tt.want {
			t.Errorf("%s behind %q with %d of its own: hops are told %q, want %q", tt.target, tt.before,
				len(tt.own), all, tt.want)
		}
	}
	for _, name := range []string{"docker:x", "web1+docker:x", "web1+", "-x", "local"} {
		table, err := secret.NewTable(map[string]secret.Secret{name: "hush"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ForHop(connect.Options{Passwords: table}, "", []Hop{{Method: "sudo"}},
			0); err == nil ||
			strings.Contains(err.Error(), "hush") {
			t.Errorf("a password for %q: got %v, want an error", name, err)
		}
	}
}

// ssh tries a secret of a source as often as a secret of the options: once.
func TestSourcedAttempts(t *testing.T) {
	h := Hop{Method: "ssh", Host: "web1"}
	for _, tt := range []struct {
		opt  connect.Options
		here bool
		want string
	}{
		{connect.Options{Sourced: true}, true, "BatchMode=no -o NumberOfPasswordPrompts=1"},
		{connect.Options{Sourced: true, Interactive: true}, true,
			"BatchMode=no -o NumberOfPasswordPrompts=1"},
		{connect.Options{SSH: connect.SSHOptions{Passphrase: "pp"}}, true, "BatchMode=no"},
	} {
		p, err := h.Plan([]string{"true"}, tt.opt, tt.here)
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprint(p.Argv); !strings.Contains(line, tt.want) {
			t.Errorf("here %v: got %s, want %s", tt.here, line, tt.want)
		}
	}
	p, err := Hop{Method: "su"}.Plan([]string{"true"}, connect.Options{Sourced: true}, true)
	if err != nil || !p.TTY || len(p.Prompts) == 0 {
		t.Errorf("su: got %+v, %v, want a terminal to answer on", p, err)
	}
}
