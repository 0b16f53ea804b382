package spawn

import (
	"context"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
)

const loginLine = `echo 'Authenticated to web ([10.0.0.1]:22) using "publickey".' >&2;`

// Whether an ssh was logged in is known however much its session has written afterwards.
func TestLoginIsRemembered(t *testing.T) {
	const much = `yes 'words of the session' | head -n 1000 >&2;`
	for _, tt := range []struct {
		name, method, script string
		printed              string // on stdout before EC0
		want                 bool
	}{
		{"said, and much after it", "ssh", loginLine + much + "exit 255", "", true},
		{"said", "ssh", loginLine + "exit 255", "", true},
		{"much, and not said", "ssh", much + "exit 255", "", false},
		{"said by a banner", "ssh", loginLine + much +
			`echo 'me@web: Permission denied (publickey).' >&2; exit 255`, "", false},
		{"printed", "ssh", "exit 255", "motd\n", true},
		{"another program", "sudo", loginLine + "exit 1", "motd\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := methods.Plan{Method: tt.method, Argv: []string{"sh", "-c", tt.script}}
			p, err := Start(context.Background(), plan, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.Note([]byte(tt.printed))
			p.Wait()
			if f := p.Failure(); f.LoggedIn != tt.want || p.LoggedIn() != tt.want {
				t.Errorf("got logged in %v, %v, want %v; text %.200q", f.LoggedIn, p.LoggedIn(), tt.want,
					f.Text)
			}
		})
	}
}
