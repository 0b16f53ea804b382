package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	attacks "github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/lab/recorder"
	"github.com/mitogen-go/mitogen/secret"
)

const keyQuestion = "Enter passphrase for key '/home/me/.ssh/id_ed25519': "

// padded is a question for a passphrase that is as long as a screen, behind more text.
func padded(screen int) string {
	rest := strings.Repeat("k", screen-len("Enter passphrase for key '': "))
	return strings.Repeat("x", 3*screen) + "Enter passphrase for key '" + rest + "': "
}

// dialogues are questions that a hostile server asks by keyboard-interactive.
var dialogues = map[string][]recorder.Round{
	"key":               {{Questions: []string{keyQuestion}}},
	"key, lines before": {{Questions: []string{"\r\n\n" + keyQuestion}}},
	"key, screen":       {{Questions: []string{padded(4096)}}},
	"key, large":        {{Questions: []string{strings.Repeat("x\n", 60<<10) + keyQuestion}}},
	"key, cursor": {{Questions: []string{"\x1b[2J\x1b[H" + keyQuestion,
		"\r" + keyQuestion}}},
	"key, instruction":  {{Name: keyQuestion, Instruction: keyQuestion, Questions: []string{" "}}},
	"key, NUL":          {{Questions: []string{"\x00" + keyQuestion}}},
	"key, then code":    {{Questions: []string{keyQuestion, "Code: "}}},
	"own password":      {{Questions: []string{"me@127.0.0.1's password: "}}},
	"prefix":            {{Questions: []string{"(me@127.0.0.1) Password: "}}},
	"other account":     {{Questions: []string{"Password for root: "}}},
	"one-time":          {{Questions: []string{"One-time password: "}}},
	"PIN":               {{Questions: []string{"Enter PIN for authenticator: "}}},
	"new password":      {{Questions: []string{"New password: "}, Echo: true}},
	"look-alike":        {{Questions: []string{"Pаssword: "}}}, // a Cyrillic letter
	"full width":        {{Questions: []string{"Ｐａｓｓｗｏｒｄ: "}}},
	"right to left":     {{Questions: []string{"Password:\u202e "}}},
	"tab":               {{Questions: []string{"Password:\t"}}},
	"code and password": {{Questions: []string{"Code: ", "Password: "}}},
	"password and code": {{Questions: []string{"Password: ", "Code: "}}},
	"password, twice":   {{Questions: []string{"Password: ", "Password: "}}},
	"a thousand": {{Questions: slices.Repeat([]string{"Password: "}, 100)},
		{Questions: slices.Repeat([]string{"Password: "}, 100)}},
	"password, then a key":  {{Questions: []string{"Password: "}}, {Questions: []string{keyQuestion}}},
	"password, then a code": {{Questions: []string{"Password: "}}, {Questions: []string{"Code: "}}},
	"none, then a code":     {{}, {}, {Questions: []string{"Code: "}}},
}

// told are the answers that a server may get: the password to its first, single question for it.
var told = map[string]string{"password, then a key": "keyboard-interactive PASSWORD",
	"password, then a code": "keyboard-interactive PASSWORD"}

// roads lead to the host "last".
var roads = []struct {
	name, target string
	set          func(o *connect.SSHOptions)
}{
	{"ssh", "last", func(*connect.SSHOptions) {}},
	{"native", "last", func(o *connect.SSHOptions) { o.Native = true }},
	{"behind a hop", "local+last", func(*connect.SSHOptions) {}},
	{"native behind a hop", "local+last", func(o *connect.SSHOptions) { o.Native = true }},
	{"from a hop", "local+last", func(o *connect.SSHOptions) { o.FromHop = true }},
}

// A server is told the password once, if it asks for that alone, and never a passphrase, whatever
// it asks, and by whatever way.
func TestHostileDialogues(t *testing.T) {
	lab.Need(t)
	for n, name := range slices.Sorted(maps.Keys(dialogues)) {
		rounds := dialogues[name]
		for i, road := range roads {
			sample := n % 4
			if strings.HasPrefix(name, "key") {
				sample = 4 // a hop's terminal tells ssh's own questions by nothing but their words
			}
			if !attacks.Long() && i != sample {
				continue
			}
			t.Run(road.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := (&recorder.Server{Methods: []string{"keyboard-interactive"}, Rounds: rounds}).Serve(t)
				o := connect.SSHOptions{ConfigFile: sshConfig(t, r, "IdentityFile none"), Password: "PASSWORD",
					Passphrase: "PASSPHRASE"}
				road.set(&o)
				if _, err := engine(t, mitogen.Options{}).Connect(t.Context(), road.target,
					mitogen.ConnectOptions{Options: connect.Options{SSH: o}}); err == nil {
					t.Fatal("it let us in")
				} else if text := err.Error(); strings.Contains(text, "PASSPHRASE") ||
					strings.Contains(text, "PASSWORD") {
					t.Errorf("a secret is in %q", text)
				}
				for _, s := range r.Seen() {
					if s != "keyboard-interactive begun" && s != told[name] {
						t.Errorf("server was told %q", s)
					}
				}
			})
		}
	}
}

// What a server asks a person is shown as the server's, line by line.
func TestHostileLines(t *testing.T) {
	lab.Need(t)
	for _, road := range roads {
		t.Run(road.name, func(t *testing.T) {
			t.Parallel()
			r := (&recorder.Server{Methods: []string{"keyboard-interactive"},
				Rounds: []recorder.Round{{Questions: []string{"x\n" + keyQuestion}}}}).Serve(t)
			o := connect.SSHOptions{ConfigFile: sshConfig(t, r, "IdentityFile none")}
			road.set(&o)
			var shown []string
			e := engine(t, mitogen.Options{Prompt: func(_ context.Context, p connect.Prompt) (string,
				error) {
				shown = append(shown, strings.Split(p.Text, "\n")...)
				return "", errors.New("no")
			}})
			if _, err := e.Connect(t.Context(), road.target, mitogen.ConnectOptions{Options: connect.Options{
				SSH: o}}); err == nil {
				t.Fatal("it let us in")
			}
			if len(shown) < 2 || slices.ContainsFunc(shown,
				func(line string) bool { return !strings.HasPrefix(line, "(me@127.0.0.1) ") }) {
				t.Errorf("shown %q, want two lines in the name of me@127.0.0.1", shown)
			}
		})
	}
}

// A hop that plays an ssh gets no passphrase: it stays on this machine.
func TestHopPlaysSSH(t *testing.T) {
	lab.Need(t)
	dir := t.TempDir()
	fake, heard := filepath.Join(dir, "ssh"), filepath.Join(dir, "heard")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *-G*) echo 'user me'; echo 'hostname last'; "+
		"exit;; -V) echo OpenSSH_9.9 >&2; exit;; esac\n"+
		"printf %%s \"%s\" >/dev/tty\nread answer </dev/tty\necho \"got $answer\" >%s\n", keyQuestion,
		heard)
	if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, secrets := range []func(*mitogen.Options, *connect.SSHOptions){
		func(_ *mitogen.Options, s *connect.SSHOptions) { s.Passphrase = "PASSPHRASE" },
		func(_ *mitogen.Options, s *connect.SSHOptions) {
			s.Passphrase, s.Password = "PASSPHRASE", "PASSWORD"
		},
		func(o *mitogen.Options, _ *connect.SSHOptions) {
			o.Secrets = func(context.Context, secret.Place) (secret.Secret, error) {
				return "PASSPHRASE", nil
			}
		},
	} {
		opt, ssh := mitogen.Options{}, connect.SSHOptions{Path: fake, FromHop: true}
		secrets(&opt, &ssh)
		if _, err := engine(t, opt).Connect(t.Context(), "local+last",
			mitogen.ConnectOptions{Options: connect.Options{SSH: ssh}}); err == nil {
			t.Error("got no error")
		}
		b, err := os.ReadFile(heard)
		if err != nil {
			t.Errorf("the hop's ssh got no answer at all: %v", err)
		}
		if strings.Contains(string(b), "PASS") {
			t.Errorf("the hop was told %q", b)
		}
		os.Remove(heard)
	}
}

// asked is a source for tests, which notes the places that it is asked for.
type asked struct {
	secrets map[string]secret.Secret // by method, target and account
	mu      sync.Mutex
	places  []string
}

func (a *asked) find(_ context.Context, p secret.Place) (secret.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := fmt.Sprintf("%s %s %s@%s", p.Method, p.Target, p.User, p.Host)
	a.places = append(a.places, name)
	return a.secrets[name], nil
}

// Secrets are found by place: hops, jump hosts, accounts; each is asked for once, and given once.
func TestSecretsByPlace(t *testing.T) {
	l := lab.Need(t)
	jump := (&recorder.Server{Password: "of the jump", Methods: []string{"password"}}).Serve(t)
	last := (&recorder.Server{Password: "of the last",
		Methods: []string{"keyboard-interactive"}}).Serve(t)
	servers := sshConfig(t, last, "IdentityFile none", jump)
	password := secret.Secret(l.Password)
	for _, tt := range []struct {
		target  string
		ssh     connect.SSHOptions
		secrets map[string]secret.Secret
		want    error
		servers []string
	}{
		{"jump0+last", connect.SSHOptions{ConfigFile: servers},
			map[string]secret.Secret{"ssh jump0 me@127.0.0.1": "of the jump",
				"ssh jump0+last me@127.0.0.1": "of the last"}, nil,
			[]string{"password of the jump", "keyboard-interactive of the last"}},
		{"last", connect.SSHOptions{ConfigFile: servers, Args: []string{"-J", "you@jump0"}},
			map[string]secret.Secret{"ssh last you@127.0.0.1": "of the jump",
				"ssh last me@127.0.0.1": "of the last"}, nil,
			[]string{"password of the jump", "keyboard-interactive of the last"}},
		{"last", connect.SSHOptions{ConfigFile: servers, Native: true},
			map[string]secret.Secret{"ssh last me@127.0.0.1": "of the last"}, nil,
			[]string{"keyboard-interactive of the last"}},
		{"local+last", connect.SSHOptions{ConfigFile: servers, FromHop: true},
			map[string]secret.Secret{"ssh local+last me@127.0.0.1": "of the last"}, nil,
			[]string{"keyboard-interactive of the last"}},
		{"last", connect.SSHOptions{ConfigFile: servers},
			map[string]secret.Secret{"ssh last me@127.0.0.1": "wrong"}, connect.ErrAuth,
			[]string{"keyboard-interactive wrong"}},
		{lab.Pass + "+sudo", connect.SSHOptions{ConfigFile: l.Config},
			map[string]secret.Secret{"sudo " + lab.Pass + "+sudo root@" + lab.Pass: password}, nil, nil},
		{lab.Pass + "+sudo", connect.SSHOptions{ConfigFile: l.Config},
			map[string]secret.Secret{"sudo " + lab.Pass + "+sudo root@" + lab.Pass: "wrong"},
			connect.ErrSudoPassword, nil},
		{"sudo:" + lab.Pass + "+sudo", connect.SSHOptions{},
			map[string]secret.Secret{"sudo sudo:" + lab.Pass + "+sudo root@": password}, nil, nil},
		{"sudo:" + lab.Free + "+su:" + lab.Pass, connect.SSHOptions{},
			map[string]secret.Secret{"su sudo:" + lab.Free + "+su:" + lab.Pass + " " + lab.Pass +
				"@": password}, nil, nil},
		{lab.Pass + "+sudo", connect.SSHOptions{ConfigFile: l.Config},
			map[string]secret.Secret{"sudo " + lab.Pass + "+sudo root@" + lab.Pass: ""},
			connect.ErrPasswordRequired, nil},
	} {
		a := &asked{secrets: tt.secrets}
		_, err := engine(t, mitogen.Options{Secrets: a.find}).Connect(t.Context(), tt.target,
			mitogen.ConnectOptions{Options: connect.Options{SSH: tt.ssh}})
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.target, err, tt.want)
		}
		slices.Sort(a.places)
		want := []string{}
		for name := range tt.secrets {
			want = append(want, name)
		}
		slices.Sort(want)
		if !slices.Equal(a.places, want) {
			t.Errorf("%s: asked for %q, want %q", tt.target, a.places, want)
		}
		if got := append(jump.Seen(), last.Seen()...); !slices.Equal(got, tt.servers) {
			t.Errorf("%s: servers saw %q, want %q", tt.target, got, tt.servers)
		}
	}
}

// A password goes to the hop that it was given for, and the one for sudo to no machine before the
// last.
func TestPasswordsByHop(t *testing.T) {
	l := lab.Need(t)
	password := secret.Secret(l.Password)
	only := func(hop string) secret.Table {
		table, err := secret.NewTable(map[string]secret.Secret{hop: password})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	config := connect.SSHOptions{ConfigFile: l.Config}
	for _, tt := range []struct {
		name, target string
		options      mitogen.ConnectOptions
		want         error
	}{
		{"by hop", lab.Pass + "+sudo",
			mitogen.ConnectOptions{Options: connect.Options{Passwords: only(lab.Pass + "+sudo")}}, nil},
		{"another hop's", lab.Pass + "+sudo",
			mitogen.ConnectOptions{Options: connect.Options{Passwords: only(lab.Free + "+sudo")}},
			connect.ErrPasswordRequired},
		{"wins", lab.Pass + "+sudo",
			mitogen.ConnectOptions{Options: connect.Options{Sudo: connect.SudoOptions{Password: "wrong"},
				Passwords: only("sudo")}}, nil},
		{"two machines", lab.Pass + "+sudo+" + lab.TTY + "+sudo",
			mitogen.ConnectOptions{Options: connect.Options{Sudo: connect.SudoOptions{Password: password}}},
			connect.ErrPasswordRequired},
		{"two machines, each its own", lab.Pass + "+sudo+" + lab.TTY + "+sudo",
			mitogen.ConnectOptions{Options: connect.Options{Sudo: connect.SudoOptions{Password: password},
				Passwords: only(lab.Pass + "+sudo")}}, nil},
	} {
		tt.options.SSH = config
		c, err := engine(t, mitogen.Options{}).Connect(t.Context(), tt.target, tt.options)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if err == nil {
			if uid, err := mitogen.Call[int](t.Context(), c, "os:getuid"); err != nil || uid != 0 {
				t.Errorf("%s: got uid %d, %v", tt.name, uid, err)
			}
		}
	}
}
