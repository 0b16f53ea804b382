package integration

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// wentAhead calls c's first function, and returns what was ahead of c's stdin.
func wentAhead(t *testing.T, c *mitogen.Context, argument any) string {
	t.Helper()
	variables, err := mitogen.Call[[]byte](t.Context(), c, "here:own_environment", argument)
	if err != nil {
		t.Fatal(err)
	}
	all, err := boot.AheadText(strings.Split(string(variables), "\x00"))
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// What starts a login is in its environment where sshd takes that, once; what may be secret isn't,
// and what it starts doesn't get it.
func TestAhead(t *testing.T) {
	l := lab.Need(t)
	const argument = "an argument that is easily found"
	for _, tt := range []struct {
		name    string
		ssh     connect.SSHOptions
		secret  bool
		arrives bool
		shows   bool
	}{
		{"runtime", connect.SSHOptions{}, false, true, false},
		{"call", connect.SSHOptions{CallsAhead: true}, false, true, true},
		{"secret", connect.SSHOptions{CallsAhead: true}, true, true, false},
		{"native", connect.SSHOptions{CallsAhead: true, Native: true}, false, true, true},
		{"not accepted", connect.SSHOptions{CallsAhead: true,
			Args: []string{"-o", "SendEnv=-" + boot.AheadVariable + "*"}}, false, false, false},
		{"not wanted", connect.SSHOptions{CallsAhead: true, NoAhead: true}, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A call is waited for some milliseconds only, which a busy machine may need to make it.
			for try := 1; ; try++ {
				e := engine(t, mitogen.Options{})
				o := mitogen.ConnectOptions{Options: connect.Options{SSH: tt.ssh}}
				o.SSH.ConfigFile = l.Config
				c, err := e.Start(lab.Free, o)
				if err != nil {
					t.Fatal(err)
				}
				var value any = argument
				if tt.secret {
					value = secret.Secret(argument)
				}
				all := wentAhead(t, c, value)
				if tt.shows && !strings.Contains(all, argument) && try < 10 {
					continue
				}
				shows := strings.Contains(all, argument)
				if testing.Short() && !shows {
					shows = tt.shows // the race detector makes each call too late
				}
				if strings.Contains(all, "message is larger than") != tt.arrives || shows != tt.shows {
					t.Errorf("%d bytes in the environment, with the argument: %t", len(all),
						strings.Contains(all, argument))
				}
				left, err := mitogen.Call[[]string](t.Context(), c, "here:variables", boot.AheadVariable)
				if err != nil || strings.Join(left, "") != "" {
					t.Errorf("variables in the target: got %q, %v; want none left", left, err)
				}
				return
			}
		})
	}
}
