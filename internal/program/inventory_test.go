package program

import (
	"context"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/secret"
)

// TestHopsAreShared: hosts share a hop if its options are the same, and only then. Other options
// may enter another account.
func TestHopsAreShared(t *testing.T) {
	e, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	s := &session{engine: e, ctx: context.Background()}
	before := func(of connect.Options, hop connect.Options) *engine.Context {
		t.Helper()
		ways := []inventory.Way{{Name: "gate", Target: "local", Options: hop}, {Name: "web"}}
		c, err := s.before(ways, engine.ConnectOptions{Options: of})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	user := func(name string) connect.Options {
		return connect.Options{SSH: connect.SSHOptions{User: name}}
	}
	password := func(text secret.Secret) connect.Options {
		return connect.Options{Sudo: connect.SudoOptions{Password: text}}
	}
	first := before(user("a"), password("p"))
	for _, c := range []struct {
		name    string
		of, hop connect.Options
		same    bool
	}{
		{"the same options", user("a"), password("p"), true},
		{"another user of the program's", user("b"), password("p"), false},
		{"another password of the inventory's", user("a"), password("q"), false},
		{"an inventory without options", user("a"), connect.Options{}, false},
	} {
		got := before(c.of, c.hop)
		if (got == first) != c.same {
			t.Errorf("%s: got the same hop: %v, want %v", c.name, got == first, c.same)
		}
		if before(c.of, c.hop) != got {
			t.Errorf("%s: got another hop the second time, want one", c.name)
		}
	}
	first.Close()
	<-first.Done()
	if before(user("a"), password("p")) == first {
		t.Error("after its end: got the hop that has ended, want a new one")
	}
}
