package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/sshserve"
)

// When ssh ends its ProxyCommand, that ends at once, and without a word, though the other side goes
// on. Nor does it say anything about a connection that is reset.
func TestConnectSSHEnds(t *testing.T) {
	dir, err := os.MkdirTemp("", "mgo") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := peer.ListenPath(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := func() (cmd *exec.Cmd, said *bytes.Buffer, in io.Writer, c net.Conn) {
		cmd, said = exec.Command("mitogen", connectCommand, filepath.Join(dir, "s")), &bytes.Buffer{}
		cmd.Stderr = said
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if c, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return cmd, said, in, c
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		cmd, said, _, c := begin()
		defer c.Close()
		cmd.Process.Signal(sig)
		cmd.Wait()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signal() != sig || said.Len() > 0 {
			t.Errorf("%v: got status %v, %q, want its end by the signal", sig, cmd.ProcessState,
				said.Bytes())
		}
	}
	cmd, said, in, c := begin()
	io.WriteString(in, "two")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Close() // with something unread, which resets the connection
	if err := cmd.Wait(); err == nil || said.Len() > 0 {
		t.Errorf("reset: got %v, %q, want a status and no word", err, said.Bytes())
	}
}

// A file of the user's isn't replaced, and one of serve-ssh's is; it is removed at the end unless
// another has taken its place.
func TestPublish(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "config")
	for _, own := range []string{"Host mine\n", "", strings.ToLower(publishMark)} {
		if err := os.WriteFile(name, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := publish(name, "text"); err == nil {
			t.Errorf("file with %q: got no error", own)
		}
		if b, err := os.ReadFile(name); string(b) != own || err != nil {
			t.Errorf("file with %q: got %q, %v, want it as it was", own, b, err)
		}
	}
	os.Remove(name)
	for what, make := range map[string]func() error{
		"pipe": func() error { return syscall.Mkfifo(name, 0o600) },
		"link": func() error { return os.Symlink("/dev/null", name) },
		"open": func() error { return os.Chmod(dir, 0o777|os.ModeSticky) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := publish(name, "text"); err == nil {
			t.Errorf("%s: got no error", what)
		}
		os.Remove(name)
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeFirst, err := publish(name, "first")
	if err != nil {
		t.Fatal(err)
	}
	removeSecond, err := publish(name, "second")
	if err != nil {
		t.Fatal(err)
	}
	removeFirst()
	b, err := os.ReadFile(name)
	if string(b) != publishMark+"second" || err != nil {
		t.Errorf("got %q, %v, want what the second has written", b, err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", st, err)
	}
	removeSecond()
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("got %v, %v, want an empty directory", left, err)
	}
}

func TestListenAddress(t *testing.T) {
	for _, tt := range []struct{ given, network, address string }{
		{"unix", "unix", ""},
		{"0", "tcp", "127.0.0.1:0"},
		{"2222", "tcp", "127.0.0.1:2222"},
		{"127.0.0.2:22", "tcp", "127.0.0.2:22"},
		{"localhost:0", "tcp", "127.0.0.1:0"},
		{"[::1]:7", "tcp", "[::1]:7"},
	} {
		network, address, err := (&serveFlags{listen: tt.given}).address()
		if network != tt.network || address != tt.address || err != nil {
			t.Errorf("%q: got %s %s, %v, want %s %s", tt.given, network, address, err, tt.network,
				tt.address)
		}
	}
	for _, given := range []string{"", ":0", "*:0", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "web1:1",
		"127.0.0.1:", "127.0.0.1:x", "-1", "65536", "127.0.0.1:-1", "unix:/x", "/run/x"} {
		if network, address, err := (&serveFlags{listen: given}).address(); err == nil {
			t.Errorf("%q: got %s %s, want an error", given, network, address)
		}
	}
}

// One file can't be both configurations, however it is called.
func TestConfigurationsApart(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("a", 0o700), os.Symlink("a", "b")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		config, include string
		apart           bool
	}{
		{"", "", true}, {"x", "", true}, {"x", "y", true}, {"a/x", "x", true}, {"no/x", "x", true},
		{"x", "x", false}, {"x", "./x", false}, {"a/x", "b/x", false}, {"a/../x", "x", false},
	} {
		err := (&serveFlags{config: tt.config, include: tt.include}).apart()
		if (err == nil) != tt.apart {
			t.Errorf("%q and %q: got %v, want no error: %v", tt.config, tt.include, err, tt.apart)
		}
	}
}

// failingListener accepts nothing.
type failingListener struct{ net.Listener }

func (failingListener) Accept() (net.Conn, error) { return nil, errors.New("broken\x1b") }
func (failingListener) Close() error              { return nil }
func (failingListener) Addr() net.Addr            { return &net.TCPAddr{Port: 2222} }

// When the listener of the SSH server fails, the command ends with an error that says so.
func TestServeListenerFails(t *testing.T) {
	for _, json := range []bool{false, true} {
		said := &strings.Builder{}
		b := &withBackend{f: &fleet{s: &state{ui: newUI(said, io.Discard)}}}
		b.f.s.opt.json = json
		server, err := sshserve.New(sshBackend{b}, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, fail := context.WithCancelCause(t.Context())
		f := newFront(ctx, b, "test", true)
		f.fail = fail
		f.serveListener(server, failingListener{})()
		ended := (*serverEnded)(nil)
		if !errors.As(context.Cause(ctx), &ended) || ended.at != ":2222" {
			t.Fatalf("got %v, want the end of the server", context.Cause(ctx))
		}
		err = b.f.s.tellEnd(ended)
		if got := err.Error(); !json && got != `the SSH server at :2222 has ended: broken\x1b` {
			t.Errorf("got %q, want that the server has ended", got)
		}
		want := `{"event":"end","address":":2222","error":{`
		if got := said.String(); json != strings.HasPrefix(got, want) || json && err != exitError(1) {
			t.Errorf("--json %v: got %q, %v, want %s", json, got, err, want)
		}
	}
}

// What a configuration has in quotes or as a command is read as what it was.
func TestConfigPath(t *testing.T) {
	for path, want := range map[string]string{
		"/run/user/0/mitogen/mitogen-1/0": `"/run/user/0/mitogen/mitogen-1/0"`,
		"/home/a b/100%h":                 `"/home/a b/100%%h"`,
	} {
		if got := configPath(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// A name in known_hosts has no port 22.
func TestKnownName(t *testing.T) {
	for _, tt := range [][3]string{{"127.0.0.1", "2222", "[127.0.0.1]:2222"},
		{"127.0.0.1", "22", "127.0.0.1"}, {"::1", "22", "::1"}, {"::1", "220", "[::1]:220"}} {
		if got := knownName(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s port %s: got %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}
