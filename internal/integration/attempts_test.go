package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/lab/recorder"
	"github.com/mitogen-go/mitogen/internal/testpython"
	"github.com/mitogen-go/mitogen/secret"
)

// sshConfig is a configuration for recorders: the host "last", and whatever more says.
func sshConfig(t *testing.T, last *recorder.Server, more string, jumps ...*recorder.Server) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "Host last\n  Port %d\n", last.Port)
	for i, j := range jumps {
		fmt.Fprintf(&b, "Host jump%d\n  Port %d\n", i, j.Port)
	}
	fmt.Fprintf(&b, "Host *\n  HostName 127.0.0.1\n  User me\n  IdentityAgent none\n  "+
		"StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  IdentityFile %s\n  %s\n",
		lab.Dir+"/key", more)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var ownOptions = []string{"", "NumberOfPasswordPrompts 5",
	"PreferredAuthentications keyboard-interactive,password", "BatchMode no"}

// A server sees one attempt with a password that was given for it, and none with any other,
// whatever the user's configuration says. One case in three is tried each day; all in `make
// hostile`.
func TestAttempts(t *testing.T) {
	lab.Need(t)
	const right, wrong = "right", "wrong"
	for _, methods := range [][]string{{"password"}, {"keyboard-interactive"}, nil} {
		for _, own := range append(ownOptions, "BatchMode yes") {
			for _, given := range []string{"", right, wrong} {
				t.Run(fmt.Sprint(methods, own, given), func(t *testing.T) {
					testpython.OneIn(t, 3)
					t.Parallel()
					r := (&recorder.Server{Password: right, Methods: methods}).Serve(t)
					o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
						ConfigFile: sshConfig(t, r, own),
						Password:   secret.Secret(given)}}}
					_, err := engine(t, mitogen.Options{}).Connect(t.Context(), "last", o)
					status, execErr := engine(t, mitogen.Options{}).Exec(t.Context(), "last", o,
						mitogen.Command{Args: []string{"sh", "-c", "exit 7"}})
					checkAttempts(t, r, given, 2)
					for _, err := range []error{err, execErr} {
						checkRefusal(t, err, given == right, given == wrong)
					}
					if given == right && status != 7 {
						t.Errorf("exec: got status %d, want 7", status)
					}
				})
			}
		}
	}
}

// checkAttempts wants each of n tries to have shown the server the password once, or nothing.
func checkAttempts(t *testing.T, r *recorder.Server, given string, n int) {
	t.Helper()
	got := r.Seen()
	want := 0
	if given != "" {
		want = n
	}
	if len(got) != want || slices.ContainsFunc(got,
		func(s string) bool { return !strings.HasSuffix(s, " "+given) }) {
		t.Errorf("server saw %q, want %d times %q", got, want, given)
	}
}

func checkRefusal(t *testing.T, err error, well, refused bool) {
	t.Helper()
	var failed *connect.Error
	switch {
	case well && err != nil:
		t.Errorf("got %v, want no error", err)
	case well:
	case !errors.Is(err, connect.ErrAuth) || !errors.As(err, &failed):
		t.Errorf("got %v, want permission denied", err)
	case refused && !strings.Contains(err.Error(), "me@127.0.0.1: password was refused"):
		t.Errorf("got %v, want an error that says whose password was refused", err)
	}
}

// What a server asks in other words, or after the password, isn't told any secret. Half of the
// questions are asked each day, all in `make hostile`.
func TestHostileQuestions(t *testing.T) {
	l := lab.Need(t)
	for _, question := range []string{
		"Enter passphrase for key '" + l.LockedKey + "': ",
		"x\nEnter passphrase for key '" + l.LockedKey + "': ", "Your one-time password code: ",
		"Enter PIN for Key: ",
		"New Password: ", "Current Password: ", "(current) UNIX Password: ", "Retype new Password: ",
		"me@127.0.0.1's new Password: ", "[sudo] password for me: ",
		"Password for root:", "Verification code: ", "you@127.0.0.1's Password: ",
		"me@elsewhere's Password: ", "(you@127.0.0.1) Password: ",
	} {
		for name, secrets := range map[string]connect.SSHOptions{"both": {Password: "secret",
			Passphrase: "phrase"}, "passphrase": {Passphrase: "phrase"}} {
			t.Run(name+question, func(t *testing.T) {
				testpython.OneIn(t, 2)
				t.Parallel()
				r := (&recorder.Server{Password: "secret", Methods: []string{"keyboard-interactive"},
					Question: question}).Serve(t)
				o := mitogen.ConnectOptions{Options: connect.Options{SSH: secrets}}
				o.SSH.ConfigFile = sshConfig(t, r, "")
				_, err := engine(t, mitogen.Options{}).Connect(t.Context(), "last", o)
				if err == nil || !errors.Is(err, connect.ErrAuth) &&
					!errors.Is(err, connect.ErrPasswordRequired) {
					t.Errorf("got %v, want a refusal", err)
				}
				for _, s := range r.Seen() {
					if s != "keyboard-interactive begun" {
						t.Errorf("server was told %q", s)
					}
				}
			})
		}
	}
}

// The passphrase unlocks the key, the password is the second factor. Without that, the error says
// what is wanted.
func TestFactors(t *testing.T) {
	l := lab.Need(t)
	r := (&recorder.Server{Password: "secret", Methods: []string{"keyboard-interactive"},
		AndMore: true}).Serve(t)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: sshConfig(
		t, r, ""),
		IdentityFile: l.LockedKey, Passphrase: secret.Secret(l.Passphrase)}}}
	_, err := engine(t, mitogen.Options{}).Connect(t.Context(), "last", o)
	if !errors.Is(err, connect.ErrAuth) || !strings.Contains(err.Error(), "keyboard-interactive") ||
		len(r.Seen()) > 0 {
		t.Errorf("without a Password: got %v, want an error that names the method, and no attempt", err)
	}
	o.SSH.Password = "secret"
	if _, err = engine(t, mitogen.Options{}).Connect(t.Context(), "last", o); err != nil {
		t.Error(err)
	}
	if got := r.Seen(); !slices.Equal(got, []string{"keyboard-interactive secret"}) {
		t.Errorf("server saw %q, want the password once", got)
	}
}

// ways lead to last by a jump host: the configuration's two forms, a list of two, an argument, a
// hop.
var ways = []struct {
	name, more, target string
	args               []string
}{
	{"ProxyJump", "Match originalhost last\n ProxyJump jump0", "last", nil},
	{"two jumps", "Match originalhost last\n ProxyJump jump1,jump0", "last", nil},
	{"jump of a jump", "Match originalhost last\n ProxyJump jump0\nMatch originalhost jump0\n " +
		"ProxyJump jump1", "last", nil},
	{"ProxyCommand", "Match originalhost last\n ProxyCommand ssh -F %%s -W %%h:%%p jump0", "last",
		nil},
	{"argument", "", "last", []string{"-J", "jump0"}},
	{"hop", "", "jump0+last", nil},
}

// A jump host that asks is never told the last host's password, which that gets all the same. All
// are the same account at the same address. One case in three is tried each day; all in `make
// hostile`.
func TestJumpAttempts(t *testing.T) {
	lab.Need(t)
	for _, way := range ways {
		for _, method := range []string{"password", "keyboard-interactive"} {
			for _, given := range []string{"", "right", "wrong"} {
				for _, key := range []bool{true, false} { // the jump host takes one
					if !key && given == "wrong" {
						continue // the last host isn't reached
					}
					t.Run(fmt.Sprint(way.name, method, given, key), func(t *testing.T) {
						testpython.OneIn(t, 3)
						t.Parallel()
						jump := (&recorder.Server{Password: "jump", Methods: []string{method}, Key: key}).Serve(t)
						other := (&recorder.Server{Key: true}).Serve(t)
						last := (&recorder.Server{Password: "right", Methods: []string{method}}).Serve(t)
						file := sshConfig(t, last, "", jump, other)
						text, err := os.ReadFile(file)
						if err != nil {
							t.Fatal(err)
						}
						more := strings.ReplaceAll(strings.ReplaceAll(way.more, "%%s", file), "%%", "%")
						if err := os.WriteFile(file, append(text, more...), 0o600); err != nil {
							t.Fatal(err)
						}
						o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: file,
							Password: secret.Secret(given), Args: way.args}}}
						_, err = engine(t, mitogen.Options{}).Connect(t.Context(), way.target, o)
						for _, s := range jump.Seen() {
							if way.name != "hop" && s == "keyboard-interactive begun" {
								continue // ssh itself begins that
							}
							t.Errorf("jump host was told %q", s)
						}
						if key {
							checkAttempts(t, last, given, 1)
							checkRefusal(t, err, given == "right", given == "wrong")
							return
						}
						checkAttempts(t, last, "", 1)
						if err == nil {
							t.Error("got no error, want that of the jump host")
						}
					})
				}
			}
		}
	}
}

// A person is asked by the jump host's name, and the last host gets the password that there is.
func TestJumpAsksPerson(t *testing.T) {
	lab.Need(t)
	jump := (&recorder.Server{Password: "jump", Methods: []string{"password"}}).Serve(t)
	last := (&recorder.Server{Password: "right", Methods: []string{"password"}}).Serve(t)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: sshConfig(
		t, last, "", jump),
		Password: "right", Args: []string{"-J", "you@jump0"}}}}
	var asked []connect.Prompt
	e := engine(t, mitogen.Options{Prompt: func(_ context.Context, p connect.Prompt) (string, error) {
		asked = append(asked, p)
		return "jump", nil
	}})
	if _, err := e.Connect(t.Context(), "last", o); err != nil {
		t.Error(err)
	}
	if len(asked) != 1 || asked[0].Hop != "last (jump host you@127.0.0.1)" {
		t.Errorf("asked %+v, want one question in the name of you@127.0.0.1", asked)
	}
	if got := append(jump.Seen(), last.Seen()...); !slices.Equal(got,
		[]string{"password jump", "password right"}) {
		t.Errorf("servers saw %q", got)
	}
}

// The same, where a hop starts ssh; half of the cases each day.
func TestAttemptsFromHop(t *testing.T) {
	lab.Need(t)
	for _, method := range []string{"password", "keyboard-interactive"} {
		for _, given := range []string{"", "right", "wrong"} {
			for _, jumps := range []bool{false, true} {
				t.Run(fmt.Sprint(method, given, jumps), func(t *testing.T) {
					testpython.OneIn(t, 2)
					t.Parallel()
					jump := (&recorder.Server{Password: "jump", Methods: []string{method}}).Serve(t)
					last := (&recorder.Server{Password: "right", Methods: []string{method}}).Serve(t)
					o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
						ConfigFile: sshConfig(t, last, "", jump),
						Password:   secret.Secret(given), FromHop: true}}}
					if jumps {
						o.SSH.Args = []string{"-J", "jump0"}
					}
					_, err := engine(t, mitogen.Options{}).Connect(t.Context(), "local+last", o)
					if jumps {
						checkAttempts(t, last, "", 1)
						if got := jump.Seen(); method == "password" && len(got) > 0 ||
							slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, " begun") }) ||
							err == nil {
							t.Errorf("jump host was told %q, error %v", got, err)
						}
						return
					}
					checkAttempts(t, last, given, 1)
					checkRefusal(t, err, given == "right", given == "wrong")
				})
			}
		}
	}
}

// A server that hangs up on a wrong password isn't tried with it again.
func TestHangUpIsNoRetry(t *testing.T) {
	lab.Need(t)
	r := (&recorder.Server{Password: "right", Methods: []string{"password"}, HangUp: true}).Serve(t)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: sshConfig(
		t, r, ""),
		Password: "wrong"}}}
	_, err := engine(t, mitogen.Options{}).Connect(t.Context(), "last", o)
	var failed *connect.Error
	if !errors.As(err, &failed) || !failed.Given {
		t.Errorf("got %v, want an error that knows of the attempt", err)
	}
	checkAttempts(t, r, "wrong", 1)
}

// A password that was refused isn't tried again by a loop, whatever of what isn't the place
// differs; another one is.
func TestRefusedIsNoRetry(t *testing.T) {
	lab.Need(t)
	for _, target := range []string{"last", "local+last"} {
		for _, fromHop := range []bool{false, target != "last"} {
			r := (&recorder.Server{Password: "right", Methods: []string{"password"}}).Serve(t)
			o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
				ConfigFile: sshConfig(t, r, ""),
				Password:   "wrong", FromHop: fromHop}}}
			e := engine(t, mitogen.Options{})
			for range 3 {
				_, err := e.Connect(t.Context(), target, o)
				checkRefusal(t, err, false, true)
			}
			checkAttempts(t, r, "wrong", 1)
			o.SSH.Password = "right"
			if _, err := e.Connect(t.Context(), target, o); err != nil {
				t.Errorf("%s: the right password: %v", target, err)
			}
		}
	}
}
