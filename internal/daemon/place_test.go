package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// configured is an ssh configuration that tests change.
type configured struct {
	t    *testing.T
	lab  *lab.Lab
	dir  string
	d    *Client
	opts connect.Options
}

func newConfigured(t *testing.T) *configured {
	t.Helper()
	d, _ := running(t, Options{})
	c := &configured{t: t, lab: lab.Need(t), dir: t.TempDir(), d: d}
	c.opts.SSH.ConfigFile = filepath.Join(c.dir, "config")
	return c
}

// section has host be a user of the lab.
func (c *configured) section(host, user string) string {
	return fmt.Sprintf("Host %s\n  User %s\n  HostName %s\n  Port %d\n  IdentityFile %s\n  IdentityAgent none\n  UserKnownHostsFile %s\n", host, user, c.lab.Host, c.lab.Port, c.lab.Key, c.lab.KnownHosts)
}

// write replaces a file, with a status of its own.
func (c *configured) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// who returns the account at web1, and the context that serves it.
func (c *configured) who() (user string, context int) {
	c.t.Helper()
	x := start(c.t, client(c.t, c.d), "web1", c.opts)
	if err := call(x, "user", &user); err != nil {
		c.t.Fatal(err)
	}
	if err := call(x, "ppid", &context); err != nil {
		c.t.Fatal(err)
	}
	return user, context
}

// A changed configuration leads to the new place, an equal one to the context that is there.
func TestConfigurationChanges(t *testing.T) {
	c := newConfigured(t)
	included := filepath.Join(c.dir, "more")
	other := filepath.Join(c.dir, "elsewhere")
	for _, step := range []struct {
		name   string
		change func()
		want   string
		fresh  bool
	}{
		{"first", func() { c.write("config", c.section("web1", lab.Free)) }, lab.Free, true},
		{"unchanged", func() {}, lab.Free, false},
		{"written again", func() { c.write("config", c.section("web1", lab.Free)) }, lab.Free, false},
		{"other user", func() { c.write("config", c.section("web1", lab.Pass)) }, lab.Pass, true},
		{"back", func() { c.write("config", c.section("web1", lab.Free)) }, lab.Free, false},
		{"includes what isn't there", func() { c.write("config", "Include "+included+"/*\n"+c.section("web1", lab.Free)) }, lab.Free, true},
		{"still not there", func() {}, lab.Free, false},
		{"appears", func() {
			os.Mkdir(included, 0o700)
			c.write("more/b", c.section("web1", lab.Pass))
		}, lab.Pass, true},
		{"another before it", func() { c.write("more/a", c.section("web1", lab.TTY)) }, lab.TTY, true},
		{"is edited", func() { c.write("more/a", c.section("web1", lab.None)) }, lab.None, true},
		{"nested", func() {
			c.write("more/a", "Host web1\n  Include "+other+"\n")
			c.write("elsewhere", c.section("web1", lab.Log))
		}, lab.Log, true},
		{"nested is edited", func() { c.write("elsewhere", c.section("web1", lab.TTY)) }, lab.TTY, true},
		{"vanishes", func() { os.Remove(other) }, lab.Pass, true},
		{"all vanish", func() { os.RemoveAll(included) }, lab.Free, false},
		{"link to another", func() {
			c.write("linked", c.section("web1", lab.Pass))
			os.Remove(filepath.Join(c.dir, "config"))
			os.Symlink("linked", filepath.Join(c.dir, "config"))
		}, lab.Pass, false},
		{"its target is edited", func() { c.write("linked", c.section("web1", lab.TTY)) }, lab.TTY, true},
		{"a command decides", func() {
			c.write("flag", "")
			c.write("linked", fmt.Sprintf("Match originalhost web1 exec \"test -s %s/flag\"\n  User %s\n%s", c.dir, lab.Pass, c.section("web1", lab.Free)))
		}, lab.Free, true},
		{"it decides otherwise", func() { c.write("flag", "x") }, lab.Pass, true},
	} {
		step.change()
		before := c.contexts()
		user, context := c.who()
		if user != step.want {
			t.Errorf("%s: reached %s, want %s", step.name, user, step.want)
		}
		if fresh := !before[context]; fresh != step.fresh {
			t.Errorf("%s: a new context %v, want %v", step.name, fresh, step.fresh)
		}
	}
}

// contexts are the processes that the daemon has.
func (c *configured) contexts() map[int]bool {
	c.t.Helper()
	_, all, err := c.d.List()
	if err != nil {
		c.t.Fatal(err)
	}
	pids := map[int]bool{}
	for _, x := range all {
		pids[x.PID] = true
	}
	return pids
}
