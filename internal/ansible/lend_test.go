package ansible

import (
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/muxserve"
)

// What a task's rsync has its ssh execute is executed as the account that the task becomes.
func TestLentCommands(t *testing.T) {
	as := func(become, login bool) *lending {
		l := &leaf{user: "app"}
		return &lending{names: []string{"web1"}, become: become, login: login, l: l}
	}
	const home, server = `h=$HOME; HOME=$PWD; exec env HOME="$h" `, "rsync --server . ~/x"
	for _, tt := range []struct {
		name    string
		n       *lending
		command string
		want    string // of sh; "": the login's shell executes the command
		refused string
	}{
		{"the login's", as(false, true), "sudo -u app " + server, "", ""},
		{"sudo", as(true, true), "sudo -u app " + server, home + server, ""},
		{"sudo without a name", as(true, true), "sudo " + server, home + server, ""},
		{"another method", as(true, true), server, home + server, ""},
		{"a container", as(true, false), "sudo -u app " + server, server, ""},
		{"another account", as(true, true), "sudo -u root " + server, "",
			`got "sudo -u root rsync", want rsync, to become app`},
		{"another program", as(true, true), "/opt/" + server, "", "got /opt/rsync, want rsync"},
		{"another name", as(true, true), "rsync2 --server", "", "got rsync2, want rsync"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := tt.n.spec(tt.command)
			if !says(err, tt.refused) {
				t.Fatalf("%s: got %v, want %q", tt.command, err, tt.refused)
			}
			var want []string
			if tt.want != "" {
				want = []string{"/bin/sh", "-c", tt.want}
			}
			if err == nil && !slices.Equal(spec.Args, want) {
				t.Errorf("%s: got %q, want %q", tt.command, spec.Args, want)
			}
			if want == nil && spec.Command != tt.command {
				t.Errorf("%s: got %q, want it as it is", tt.command, spec.Command)
			}
		})
	}
}

// says tells whether err has a text; "": whether there is no error.
func says(err error, text string) bool {
	if text == "" || err == nil {
		return text == "" && err == nil
	}
	return strings.Contains(err.Error(), text)
}

// An ssh that leads elsewhere, or is to do something else, is refused.
func TestLentRequests(t *testing.T) {
	const server, plain = "rsync --server", "a command without a terminal"
	n := &lending{names: []string{"deploy@web1", "web1"}}
	failed := &lending{names: n.names, refused: "the login failed"}
	for _, tt := range []struct {
		name    string
		n       *lending
		r       muxserve.Request
		refused string
	}{
		{"by name", n, muxserve.Request{Target: "web1", Command: server}, ""},
		{"with the user", n, muxserve.Request{Target: "deploy@web1", Command: server}, ""},
		{"another host", n, muxserve.Request{Target: "web2", Command: server}, "not to web2"},
		{"another user", n, muxserve.Request{Target: "root@web1", Command: server}, "not to root@web1"},
		{"no host", n, muxserve.Request{Command: server}, "leads to deploy@web1"},
		{"a shell", n, muxserve.Request{Target: "web1"}, plain},
		{"a terminal", n, muxserve.Request{Target: "web1", Command: server, TTY: true}, plain},
		{"a subsystem", n, muxserve.Request{Target: "web1", Command: "x", Subsystem: true}, plain},
		{"an agent", n, muxserve.Request{Target: "web1", Command: server, Agent: true}, plain},
		{"no login", failed, muxserve.Request{Target: "web1", Command: server}, failed.refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.n.Check(t.Context(), &tt.r); !says(err, tt.refused) {
				t.Errorf("%+v: got %v, want %q", tt.r, err, tt.refused)
			}
		})
	}
}
