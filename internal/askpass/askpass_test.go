package askpass

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		hint, text string
		want       Kind
	}{
		{"", "me@h's password: ", Password},
		{"", "(me@h) Password: ", Password},
		{"", "(me@h) Password for me@h:", Password},
		{"", "Enter passphrase for key '/home/me/password': ", Passphrase},
		{"", "Enter PIN for ED25519-SK key /home/me/k: ", PIN},
		{"", "Enter PIN and confirm user presence for ED25519-SK key SHA256:x: ", PIN},
		{"", "The authenticity of host 'password (::1)' can't be established.\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ", HostKey},
		{"", "Please type 'yes', 'no' or the fingerprint: ", HostKey},
		{"confirm", "Allow use of key password?", Confirm},
		{"none", "Confirm user presence for key ED25519-SK SHA256:x", Notice},
		{"", "(me@h) Verification code: ", Other},
	} {
		if got := (question{hint: tt.hint, text: tt.text}).kind(); got != tt.want {
			t.Errorf("%q %q is %v, want %v", tt.hint, tt.text, got, tt.want)
		}
	}
}

func TestAnswerer(t *testing.T) {
	type step struct {
		kind Kind
		text string
		want string // "!": refused
	}
	both := connect.SSHOptions{Password: "pw", Passphrase: "pp"}
	yes := func(_ context.Context, p Prompt) (string, error) { return "person: " + p.Text, nil }
	no := func(context.Context, Prompt) (string, error) { return "", errors.New("no") }
	for _, tt := range []struct {
		name    string
		opt     connect.SSHOptions
		person  Func
		steps   []step
		problem string
	}{
		{"password once", both, yes, []step{{Password, "a", "pw"}, {Password, "b", "!"}}, connect.WhatRepeated},
		{"passphrase once a key", both, nil, []step{{Passphrase, "a", "pp"}, {Passphrase, "b", "pp"}, {Passphrase, "a", "!"}}, connect.WhatRepeated},
		{"person", connect.SSHOptions{}, yes, []step{{Password, "a", "person: a"}, {Password, "b", "person: b"}, {HostKey, "c", "person: c"}, {Other, "d", "person: d"}}, ""},
		{"nobody", connect.SSHOptions{}, nil, []step{{Password, "a", "!"}, {Notice, "n", ""}}, connect.WhatUnanswered},
		{"unwilling", connect.SSHOptions{}, no, []step{{PIN, "a", "!"}}, connect.WhatUnanswered},
		{"the password is for passwords", both, nil, []step{{Other, "code", "!"}, {PIN, "pin", "!"}}, connect.WhatUnanswered},
		{"host key strict", connect.SSHOptions{HostKeys: connect.HostKeysStrict}, yes, []step{{HostKey, "a", "!"}}, connect.WhatUnanswered},
		{"host key off", connect.SSHOptions{HostKeys: connect.HostKeysOff}, nil, []step{{HostKey, "a", "yes"}}, ""},
		{"confirmed", connect.SSHOptions{}, func(context.Context, Prompt) (string, error) { return "YES", nil }, []step{{Confirm, "a", "YES"}}, ""},
		{"not confirmed", connect.SSHOptions{}, yes, []step{{Confirm, "a", "!"}}, ""},
	} {
		a := NewAnswerer(tt.opt, tt.person)
		for _, s := range tt.steps {
			got, err := a.Answer(t.Context(), Prompt{Kind: s.kind, Text: s.text})
			if err != nil {
				got = "!"
			}
			if got != s.want {
				t.Errorf("%s: %v %q is answered %q, want %q", tt.name, s.kind, s.text, got, s.want)
			}
		}
		want := connect.WhatExit
		if tt.problem != "" {
			want = tt.problem
		}
		if got := a.Amend(connect.Failure{What: connect.WhatExit, Status: 255}).What; got != want {
			t.Errorf("%s: failure is %q, want %q", tt.name, got, want)
		}
		if got := a.Amend(connect.Failure{What: connect.WhatExit, Status: 1}).What; got != connect.WhatExit {
			t.Errorf("%s: the remote command's failure is %q", tt.name, got)
		}
	}
}

func TestBusyWhileAsking(t *testing.T) {
	var a *Answerer
	busy := false
	a = NewAnswerer(connect.SSHOptions{}, func(context.Context, Prompt) (string, error) { busy = a.Busy(); return "", nil })
	a.Answer(t.Context(), Prompt{Kind: Password})
	if !busy || a.Busy() {
		t.Errorf("busy %v while asking, %v afterwards", busy, a.Busy())
	}
}

// execute runs this test binary as ssh would.
func execute(ctx context.Context, env []string, prompt string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], prompt)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func register(t *testing.T, s *Server, answer Func) []string {
	t.Helper()
	env, release, err := s.Register("web1", answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return env
}

func TestClientProcess(t *testing.T) {
	var s Server
	defer s.Close()
	var got Prompt
	env := register(t, &s, func(_ context.Context, p Prompt) (string, error) {
		got = p
		return "sesame", nil
	})
	out, err := execute(t.Context(), env, "the\x1b[2J password: ").Output()
	if err != nil || string(out) != "sesame\n" {
		t.Errorf("%q, %v", out, err)
	}
	if got != (Prompt{Hop: "web1", Kind: Password, Text: `the\x1b[2J password: `}) {
		t.Errorf("%+v", got)
	}
	if strings.Contains(strings.Join(env, " "), "sesame") {
		t.Error(env)
	}
}

func TestClientIsRefused(t *testing.T) {
	var s Server
	defer s.Close()
	env := register(t, &s, func(context.Context, Prompt) (string, error) { return "sesame", ErrRefused })
	_, path, _ := strings.Cut(strings.TrimPrefix(env[2], envName+"="), ":")
	for name, env := range map[string][]string{
		"refused":     env,
		"wrong token": {envName + "=x:" + path},
		"no token":    {envName + "=:" + path},
		"no server":   {envName + "=x:/nonexistent/s"},
		"empty":       {envName + "="},
	} {
		out, err := execute(t.Context(), env, "password: ").Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) != 0 {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	info, err := os.Stat(path[:strings.LastIndex(path, "/")])
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
}

func TestReleaseEndsAnswers(t *testing.T) {
	var s Server
	defer s.Close()
	env, release, err := s.Register("web1", func(context.Context, Prompt) (string, error) { return "sesame", nil })
	if err != nil {
		t.Fatal(err)
	}
	release()
	if out, err := execute(t.Context(), env, "password: ").Output(); err == nil {
		t.Errorf("%q", out)
	}
}

// The end of the server ends waiting clients and Funcs, and leaves no file.
func TestCloseEndsClients(t *testing.T) {
	var s Server
	asked := make(chan struct{})
	env := register(t, &s, func(ctx context.Context, _ Prompt) (string, error) {
		close(asked)
		<-ctx.Done()
		return "", ctx.Err()
	})
	cmd := execute(t.Context(), env, "password: ")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("client got an answer")
	}
	var socket string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, envName+"="); ok {
			_, socket, _ = strings.Cut(v, ":")
		}
	}
	if _, err := os.Stat(filepath.Dir(socket)); socket == "" || !os.IsNotExist(err) {
		t.Errorf("directory: %v", err)
	}
	if _, _, err := s.Register("web1", nil); err == nil {
		t.Error("registered with a closed server")
	}
	var unused Server
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
}

// A notice stays up until ssh takes it away.
func TestNotice(t *testing.T) {
	var s Server
	defer s.Close()
	shown, gone := make(chan string, 1), make(chan struct{})
	env := register(t, &s, NewAnswerer(connect.SSHOptions{}, func(ctx context.Context, p Prompt) (string, error) {
		shown <- p.Kind.String()
		<-ctx.Done()
		close(gone)
		return "", nil
	}).Answer)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := execute(ctx, append(env, "SSH_ASKPASS_PROMPT=none"), "Confirm user presence for key")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if kind := <-shown; kind != "notice" {
		t.Error(kind)
	}
	cancel()
	cmd.Wait()
	<-gone
}

func TestHostileClient(t *testing.T) {
	var s Server
	defer s.Close()
	env := register(t, &s, func(context.Context, Prompt) (string, error) { return "sesame", nil })
	token, path, _ := strings.Cut(strings.TrimPrefix(env[2], envName+"="), ":")
	long := append(question{token: token}.append(nil)[:4+len(token)], 0xff, 0xff, 0xff, 0xff)
	for _, b := range [][]byte{nil, {0}, {0xff, 0xff, 0xff, 0xff}, long, bytes.Repeat([]byte("x"), 1<<17)} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(b)
		c.(*net.UnixConn).CloseWrite()
		reply := make([]byte, 1)
		if n, _ := c.Read(reply); n != 0 {
			t.Errorf("%.20q is answered", b)
		}
		c.Close()
	}
}

func FuzzReadQuestion(f *testing.F) {
	f.Add(question{"t", "none", "password"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readQuestion(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, q.append(nil)) {
			t.Errorf("%q is read as %+v", b, q)
		}
	})
}
