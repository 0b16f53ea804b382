package ansible

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// newLabBench is one for sessions of a user of the lab, over ssh.
func newLabBench(t *testing.T, user string) *bench {
	t.Helper()
	b := newBench(t, "/usr/bin/python3")
	b.way = Way{{Target: "ssh:" + user,
		Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: lab.Need(t).Config}}}}
	return b
}

// Files are the login's, whether root's context makes them with its rights, or can't take those.
func TestLends(t *testing.T) {
	python := "/usr/bin/python3"
	start := methods.QuoteCommand(boot.Command([]string{python}, boot.Pipe))
	for _, c := range []struct {
		name, become string
		logins       int
	}{
		{"lends", "sudo -n " + start, 0},
		{"can't", "sudo -n env -u SUDO_UID " + start, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newLabBench(t, lab.Free)
			conn, _ := b.dial()
			if _, _, end := b.ask(conn,
				&Message{Do: "connect", Account: "root", User: "root", Python: python,
					Become: &c.become}); end.Error != nil {
				t.Fatalf("connect: got error %+v, want none", end.Error)
			}
			name := filepath.Join(os.TempDir(), fmt.Sprintf("mitogen-lends-%d", os.Getpid()))
			defer os.Remove(name)
			if _, _, end := b.ask(conn, &Message{Do: "put", Name: name, Mode: 0o600},
				"text"); end.Error != nil {
				t.Fatalf("put %q: got error %+v, want none", name, end.Error)
			}
			st, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			u, err := user.Lookup(lab.Free)
			if err != nil {
				t.Fatal(err)
			}
			if sys := st.Sys().(*syscall.Stat_t); fmt.Sprint(sys.Uid, sys.Gid) != u.Uid+" "+u.Gid {
				t.Errorf("it is of %d, %d", sys.Uid, sys.Gid)
			}
			b.s.mu.Lock()
			defer b.s.mu.Unlock()
			if len(b.s.hosts) != c.logins {
				t.Errorf("%d logins", len(b.s.hosts))
			}
		})
	}
}

// If an account turns out not to be there for the asking, requests that use the login meanwhile go
// on. The account's requests are done from the login.
func TestDirectFails(t *testing.T) {
	b := newLabBench(t, lab.Free)
	first, _ := b.dial()
	second, _ := b.dial()
	fails := "sleep 1; exit 1"
	if _, _, end := b.ask(first, &Message{Do: "connect", Account: "root", User: "root",
		Python: "/usr/bin/python3", Become: &fails}); end.Error != nil {
		t.Fatalf("connect with a failing become: got error %+v, want none", end.Error)
	}
	inner := "id -un"
	asked := make(chan *End, 1)
	go func() {
		c := first
		if err := c.Write(&Message{Do: "exec", Command: "x", Inner: &inner, Shell: "/bin/sh",
			Account: "root", User: "root", EOF: true}, nil); err != nil {
			t.Error(err)
		}
		for {
			m := &Message{}
			data, err := c.Read(m, nil)
			switch {
			case err != nil:
				t.Error(err)
				asked <- nil
				return
			case m.Boot != "":
				command := "sudo -n /bin/sh -c " + methods.QuoteCommand([]string{m.Boot})
				c.Write(&Message{Become: &command}, nil)
			case m.Stream == "stdout" && string(data) != "root\n":
				t.Errorf("as root: %q", data)
			case m.End != nil:
				asked <- m.End
				return
			}
		}
	}()
	if out, _, end := b.ask(second,
		&Message{Do: "exec", Command: "sleep 2; id -un"}); out != lab.Free+"\n" || end.Error != nil {
		t.Errorf("as the login: %q, %+v", out, end)
	}
	if end := <-asked; end == nil || end.Error != nil {
		t.Errorf("as root: %+v", end)
	}
}
