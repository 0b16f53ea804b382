package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// What sudo and su ask, here and behind hops, goes to the engine's Prompt if no option answers it.
func TestAsk(t *testing.T) {
	l := lab.Need(t)
	var mu sync.Mutex
	var asked []string
	answers := map[string][]string{}
	e := engine(t, mitogen.Options{Prompt: func(_ context.Context, p connect.Prompt) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, p.Hop)
		next := answers[p.Hop]
		if len(next) == 0 {
			return "", errors.New("nobody here")
		}
		answers[p.Hop] = next[1:]
		return next[0], nil
	}})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	who := func(target string, given map[string][]string) (string, error) {
		mu.Lock()
		asked, answers = nil, given
		mu.Unlock()
		c, err := e.Connect(t.Context(), target, o)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return mitogen.Call[string](t.Context(), c, "getpass:getuser")
	}
	for _, tt := range []struct {
		target  string
		answers map[string][]string
		want    string
		asked   string
	}{
		{lab.Pass + "+sudo", map[string][]string{"sudo": {l.Password}}, "root", "sudo"},
		{lab.TTY + "+sudo", map[string][]string{"sudo": {"wrong", l.Password}}, "root", "sudo sudo"},
		{lab.Pass + "+sudo+sudo:" + lab.Pass, map[string][]string{"sudo": {l.Password}}, lab.Pass,
			"sudo"},
		{lab.Free + "+sudo", nil, "root", ""},
		{lab.Free + "+su:" + lab.Pass, map[string][]string{"su:" + lab.Pass: {l.Password}}, lab.Pass,
			"su:" + lab.Pass},
	} {
		got, err := who(tt.target, tt.answers)
		if err != nil || got != tt.want || strings.Join(asked, " ") != tt.asked {
			t.Errorf("%s: %q, %v; asked %q", tt.target, got, err, asked)
		}
	}
	if _, err := who(lab.Pass+"+sudo", nil); !errors.Is(err, connect.ErrPasswordRequired) {
		t.Errorf("nobody answers: %v", err)
	}
	if _, err := who(lab.Pass+"+sudo",
		map[string][]string{"sudo": {"wrong", "wrong", "wrong"}}); !errors.Is(err,
		connect.ErrSudoPassword) {
		t.Errorf("wrong ones: %v", err)
	}
	// A process of this machine asks too: one of another user's, who needs a password.
	got, err := who("sudo:"+lab.Pass+"+sudo", map[string][]string{"sudo": {l.Password}})
	if err != nil || got != "root" {
		t.Errorf("here: %q, %v; asked %q", got, err, asked)
	}
}
