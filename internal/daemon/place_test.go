package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// configured is an ssh configuration that tests change.
type configured struct {
	t    *testing.T
	lab  *lab.Lab
	dir  string
	d    *daemonclient.Client
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
	return fmt.Sprintf("Host %s\n  User %s\n  HostName %s\n  Port %d\n  IdentityFile %s\n  "+
		"IdentityAgent none\n  UserKnownHostsFile %s\n", host, user, c.lab.Host, c.lab.Port, c.lab.Key,
		c.lab.KnownHosts)
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
		{"includes what isn't there",
			func() { c.write("config", "Include "+included+"/*\n"+c.section("web1", lab.Free)) }, lab.Free,
			true},
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
			c.write("linked", fmt.Sprintf("Match originalhost web1 exec \"test -s %s/flag\"\n  User %s\n%s",
				c.dir, lab.Pass, c.section("web1", lab.Free)))
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

// What is relative is so to the client's directory, for the configuration, keys, programs and
// directories alike.
func TestClientsDirectory(t *testing.T) {
	c := newConfigured(t)
	for dir, user := range map[string]string{"a": lab.Free, "b": lab.Pass} {
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		section := c.section("web1", user)
		c.write(dir+"/config", section)
		c.write(dir+"/keyless", strings.Replace(section, c.lab.Key, "key", 1))
		c.write(dir+"/program", "#!/bin/sh\nexport WHERE="+user+"\nexec \"$@\"\n")
		os.Chmod(filepath.Join(c.dir, dir, "program"), 0o700)
	}
	key, err := os.ReadFile(c.lab.Key)
	if err != nil {
		t.Fatal(err)
	}
	c.write("a/key", string(key))
	for _, dir := range []string{"a", "b", "a"} {
		want := map[string]string{"a": lab.Free, "b": lab.Pass}[dir]
		t.Chdir(filepath.Join(c.dir, dir))
		for name, o := range map[string]connect.SSHOptions{"option": {ConfigFile: "config"},
			"argument": {Args: []string{"-Fconfig"}}} {
			c.opts.SSH = o
			if got, _ := c.who(); got != want {
				t.Errorf("%s in %s: reached %s, want %s", name, dir, got, want)
			}
		}
		var where string
		if err := call(start(t, client(t, c.d), "exec:./program", connect.Options{}), "variable", &where,
			"WHERE"); err != nil || where != want {
			t.Errorf("program in %s: ran that of %s (%v), want %s", dir, where, err, want)
		}
	}
	// The file of the key is in a, so the host lets in from there only.
	c.opts.SSH = connect.SSHOptions{ConfigFile: "keyless"}
	for dir, want := range map[string]error{"a": nil, "b": connect.ErrAuth} {
		t.Chdir(filepath.Join(c.dir, dir))
		err := call(start(t, client(t, c.d), "web1", c.opts), "pid", nil)
		if !errors.Is(err, want) {
			t.Errorf("key in %s: got %v, want %v", dir, err, want)
		}
	}
}

// Variables that lead elsewhere have the client's values, and those that the client lacks aren't
// the daemon's.
func TestClientsVariables(t *testing.T) {
	c := newConfigured(t)
	for name, user := range map[string]string{"free": lab.Free, "pass": lab.Pass} {
		c.write(name, c.section("web1", user))
	}
	c.write("config", "Match exec \"test $ACCOUNT = free\"\n Include "+c.dir+
		"/free\nMatch all\n Include "+c.dir+"/pass\n")
	for value, want := range map[string]string{"free": lab.Free, "pass": lab.Pass} {
		t.Setenv("ACCOUNT", value)
		if got, _ := c.who(); got != want {
			t.Errorf("a command that sees %s: reached %s, want %s", value, got, want)
		}
	}
	c.write("config", strings.Replace(c.section("web1", lab.Free), c.lab.Key, "${KEY}", 1))
	for value, want := range map[string]error{c.lab.Key: nil, "/nonexistent": connect.ErrAuth} {
		t.Setenv("KEY", value)
		if err := call(start(t, client(t, c.d), "web1", c.opts), "pid", nil); !errors.Is(err, want) {
			t.Errorf("key %s: got %v, want %v", value, err, want)
		}
	}
}

// The agent is the client's.
func TestClientsAgent(t *testing.T) {
	c := newConfigured(t)
	section := strings.Replace(c.section("web1", lab.Free), "  IdentityAgent none\n",
		"  IdentitiesOnly no\n", 1)
	c.write("config", strings.Replace(section, c.lab.Key, "/nonexistent", 1))
	agent := filepath.Join(c.dir, "agent")
	// ends with its standard input, however this test ends
	cmd := exec.Command("ssh-agent", "-a", agent, "cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	eventually(t, "the agent listens", func() bool { _, err := os.Stat(agent); return err == nil })
	t.Setenv("SSH_AUTH_SOCK", agent)
	if out, err := exec.Command("ssh-add", c.lab.Key).CombinedOutput(); err != nil {
		t.Fatalf("run ssh-add: %v; output: %s", err, out)
	}
	if got, _ := c.who(); got != lab.Free {
		t.Errorf("with the agent: reached %s", got)
	}
	os.Unsetenv("SSH_AUTH_SOCK")
	if err := call(start(t, client(t, c.d), "web1", c.opts), "pid", nil); !errors.Is(err,
		connect.ErrAuth) {
		t.Errorf("without it: got %v, want permission denied", err)
	}
}

// Each option of a request counts: of two that differ in one alone, none gets the other's context.
func TestKeysOfContexts(t *testing.T) {
	yes := true
	base := connect.Options{SSH: connect.SSHOptions{ConfigFile: "none"}}
	for name, change := range map[string]func(o *connect.Options){
		"python":      func(o *connect.Options) { o.Python = []string{"python3"} },
		"user":        func(o *connect.Options) { o.SSH.User = "x" },
		"port":        func(o *connect.Options) { o.SSH.Port = 1 },
		"key":         func(o *connect.Options) { o.SSH.IdentityFile = "/x" },
		"password":    func(o *connect.Options) { o.SSH.Password = "x" },
		"passphrase":  func(o *connect.Options) { o.SSH.Passphrase = "x" },
		"arguments":   func(o *connect.Options) { o.SSH.Args = []string{"-J", "x"} },
		"host keys":   func(o *connect.Options) { o.SSH.HostKeys = connect.HostKeysStrict },
		"native":      func(o *connect.Options) { o.SSH.Native = true },
		"from hop":    func(o *connect.Options) { o.SSH.FromHop = true },
		"compression": func(o *connect.Options) { o.SSH.Compression = &yes },
		"program":     func(o *connect.Options) { o.SSH.Path = "/x" },
	} {
		changed := base
		change(&changed)
		a, err := engine.Place("web1", base, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := engine.Place("web1", changed, nil)
		if err != nil || a == b {
			t.Errorf("%s: the same place (%v), want another", name, err)
		}
		for _, target := range []string{"web2", "me@web1", "web1:2222", "web1+sudo", "local+web1"} {
			if b, err := engine.Place(target, base, nil); err != nil || a == b {
				t.Errorf("%s: the place of web1 (%v), want another", target, err)
			}
		}
	}
}

// BenchmarkWarmRequest measures a request whose context is there: of ssh, with the usual
// configuration and with a configuration that includes files.
func BenchmarkWarmRequest(b *testing.B) {
	l := lab.Need(b)
	dir := b.TempDir()
	many := filepath.Join(dir, "many")
	text := "Include " + dir + "/more*\n" + fmt.Sprintf("Include %s\n", l.Config)
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("more", i)),
			fmt.Appendf(nil, "Host other%d\n  Port %d\n", i, i+1), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(many, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, config := range map[string]string{"one file": l.Config, "20 included": many} {
		b.Run(name, func(b *testing.B) {
			d, _ := running(b, Options{})
			o := connect.Options{SSH: connect.SSHOptions{ConfigFile: config}}
			e := client(b, d)
			for b.Loop() {
				if err := call(start(b, e, lab.Free, o), "pid", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
