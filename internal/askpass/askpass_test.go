package askpass

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/confine"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/sessions"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		hint, text string
		want       connect.PromptKind
	}{
		{"", "me@h's password: ", connect.PromptPassword},
		{"", "(me@h) Password: ", connect.PromptPassword},
		{"", "(me@h) Password for me@h:", connect.PromptPassword},
		{"", "Enter passphrase for key '/home/me/password': ", connect.PromptPassphrase},
		{"", "Enter PIN for ED25519-SK key /home/me/k: ", connect.PromptPIN},
		{"", "Enter PIN and confirm user presence for ED25519-SK key SHA256:x: ", connect.PromptPIN},
		{"", "The authenticity of host 'password (::1)' can't be established.\n" +
			"Are you sure you want to continue connecting (yes/no/[fingerprint])? ", connect.PromptHostKey},
		{"", "Please type 'yes', 'no' or the fingerprint: ", connect.PromptHostKey},
		{"confirm", "Allow use of key password?", connect.PromptConfirm},
		{"none", "Confirm user presence for key ED25519-SK SHA256:x", connect.PromptNotice},
		{"", "(me@h) Verification code: ", connect.PromptOther},
		{"", "(me@h) Enter passphrase for key '/home/me/.ssh/id_ed25519': ", connect.PromptOther},
		{"", "(me@h) me\nEnter passphrase for key '/home/me/.ssh/id_ed25519': ", connect.PromptOther},
		{"", "x\nEnter passphrase for key '/home/me/.ssh/id_ed25519': ", connect.PromptOther},
		{"", "Enter passphrase for key '/home/me/.ssh/id_ed25519': \nPassword: ", connect.PromptOther},
		{"", "(me@h) Enter PIN for ED25519-SK key /home/me/k: ", connect.PromptOther},
		{"", "(me@h) Are you sure you want to continue connecting (yes/no)? ", connect.PromptOther},
		{"", "(me@h) Your one-time password code: ", connect.PromptOther},
		{"", "(me@h) One-time password (OTP) for me: ", connect.PromptOther},
		{"", "(me@h) New password: ", connect.PromptOther},
		{"", "(me@h) Current password: ", connect.PromptOther},
		{"", "(me@h) (current) UNIX password: ", connect.PromptOther},
		{"", "(me@h) Retype new password: ", connect.PromptOther},
		{"", "(me@h) [sudo] password for me: ", connect.PromptOther},
		{"", "(me@h) Password & verification code: ", connect.PromptOther},
		{"", "(me@h) Password for root:", connect.PromptOther},
		{"", "Enter me@h's old password: ", connect.PromptOther},
		{"", "Enter me@h's new password: ", connect.PromptOther},
		{"", "Retype me@h's new password: ", connect.PromptOther},
	} {
		if got := kindOf(tt.hint, tt.text); got != tt.want {
			t.Errorf("%q %q is %v, want %v", tt.hint, tt.text, got, tt.want)
		}
	}
}

// place has the account and host of the tests' Answerers.
var place = Place{User: "me", Host: "h", Knows: true}

const (
	ownPassword = "me@h's password: "
	ownKey      = "Enter passphrase for key '/k': "
	pid         = 4711
)

// answerer makes one for an ssh that has been started. Its process is ended by a question that is
// refused.
func answerer(opt connect.SSHOptions, person connect.PromptFunc, p Place) (a *Answerer,
	ended *string) {
	ended = new(string)
	a = NewAnswerer(opt, person, func(context.Context) (Place, error) { return p, nil })
	a.Begin(pid, func(what string) { *ended = what })
	return a, ended
}

func TestAnswerer(t *testing.T) {
	type step struct {
		text string
		want string // "!": refused; "!!": and ssh is ended
	}
	type steps = []step
	both := connect.SSHOptions{Password: "pw", Passphrase: "pp"}
	yes := func(_ context.Context, p connect.Prompt) (string, error) {
		return p.Hop + " " + p.Kind.String(), nil
	}
	no := func(context.Context, connect.Prompt) (string, error) { return "", errors.New("no") }
	const unknown = "The authenticity of host 'h' can't be established.\nAre you sure you want to " +
		"continue connecting (yes/no)? "
	old, jump := place, place
	old.Knows, jump.Jump = false, "j"
	for _, tt := range []struct {
		name    string
		opt     connect.SSHOptions
		person  connect.PromptFunc
		place   Place
		asker   int
		steps   steps
		problem string
		says    string
	}{
		{"password once", both, yes, place, pid, steps{{ownPassword, "pw"}, {ownPassword, "!!"}},
			methods.WhatRepeated, "me@h: password was refused"},
		{"password by another method", both, yes, place, pid,
			steps{{"(me@h) Password: ", "pw"}, {ownPassword, "!!"}}, methods.WhatRepeated,
			"me@h: password was refused"},
		{"passphrase once a key", both, nil, place, pid,
			steps{{ownKey, "pp"}, {"Enter passphrase for key '/l': ", "pp"}, {ownKey, "!"}},
			methods.WhatRepeated, ""},
		{"person", connect.SSHOptions{}, yes, place, pid,
			steps{{ownPassword, "web1 password"}, {ownPassword, "web1 password"}, {unknown, "web1 host key"},
				{"(me@h) Code: ", "web1 other"}}, "", ""},
		{"no person", connect.SSHOptions{}, nil, place, pid, steps{{ownKey, "!"}, {ownPassword, "!!"}},
			methods.WhatUnanswered, `web1 asks "me@h's password:"`},
		{"unwilling", connect.SSHOptions{}, no, place, pid, steps{{"Enter PIN for k: ", "!"}},
			methods.WhatUnanswered, ""},
		{"other account", both, nil, place, pid, steps{{"you@h's password: ", "!!"}},
			methods.WhatUnanswered, "you@h"},
		{"other host", both, nil, place, pid, steps{{"me@i's password: ", "!!"}}, methods.WhatUnanswered,
			"me@i"},
		{"other host by kbd-interactive", both, nil, place, pid, steps{{"(me@i) Password: ", "!!"}},
			methods.WhatUnanswered, "(me@i)"},
		{"host's case", both, nil, place, pid, steps{{"me@H's password: ", "pw"}}, "", ""},
		{"PAM of FreeBSD", both, nil, place, pid, steps{{"(me@h) Password for me@there:", "pw"}}, "", ""},
		{"code", both, nil, place, pid, steps{{"(me@h) Your one-time password code: ", "!!"}},
			methods.WhatUnanswered, "code"},
		{"expired", both, nil, place, pid,
			steps{{ownPassword, "pw"}, {"Enter me@h's new password: ", "!!"}}, methods.WhatUnanswered,
			"new password"},
		{"server plays ssh", both, nil, place, pid, steps{{"(me@h) " + ownKey, "!!"}},
			methods.WhatUnanswered, "passphrase"},
		{"server plays an old ssh", both, nil, old, pid, steps{{ownKey, "!"}}, methods.WhatUnanswered,
			""},
		{"old ssh, key alone", connect.SSHOptions{Passphrase: "pp"}, nil, old, pid, steps{{ownKey, "pp"}},
			"", ""},
		{"old ssh, password", both, nil, old, pid, steps{{"Password: ", "pw"}}, "", ""},
		{"new ssh never asks so", both, nil, place, pid, steps{{"Password: ", "!!"}},
			methods.WhatUnanswered, "Password"},
		{"jump host", both, nil, jump, 1, steps{{ownPassword, "!!"}}, methods.WhatUnanswered,
			"web1 (jump host me@h)"},
		{"jump host and person", both, yes, jump, 1,
			steps{{"(you@j) Password: ", "web1 (jump host you@j) password"}}, "", ""},
		{"jump host of an old ssh", both, nil, Place{User: "me", Host: "h", Jump: "j"}, 1,
			steps{{"Password: ", "!!"}}, methods.WhatUnanswered, "web1 (jump host j)"},
		{"script that starts ssh", both, nil, place, 1, steps{{ownPassword, "pw"}}, "", ""},
		{"host key strict", connect.SSHOptions{HostKeys: connect.HostKeysStrict}, yes, place, pid,
			steps{{unknown, "!"}}, methods.WhatUnanswered, ""},
		{"host key off", connect.SSHOptions{HostKeys: connect.HostKeysOff}, nil, place, pid,
			steps{{unknown, "yes"}}, "", ""},
	} {
		a, ended := answerer(tt.opt, tt.person, tt.place)
		for _, s := range tt.steps {
			*ended = ""
			got, err := a.Answer(withAsker(t.Context(), strconv.Itoa(tt.asker)),
				connect.Prompt{Hop: "web1", Kind: KindOf(s.text), Text: s.text})
			if err != nil {
				got = "!"
			}
			if *ended != "" {
				got += "!"
			}
			if got != s.want {
				t.Errorf("%s: %q is answered %q, want %q", tt.name, s.text, got, s.want)
			}
		}
		want := methods.WhatExit
		if tt.problem != "" {
			want = tt.problem
		}
		if got := a.Amend(methods.Failure{What: methods.WhatExit, Status: 255}); got.What != want ||
			!strings.Contains(got.Text, tt.says) {
			t.Errorf("%s: failure is %+v, want %q that says %q", tt.name, got, want, tt.says)
		}
		if got := a.Amend(methods.Failure{What: methods.WhatExit,
			Status: 1}).What; got != methods.WhatExit {
			t.Errorf("%s: the remote command's failure is %q", tt.name, got)
		}
	}
}

func TestConfirmations(t *testing.T) {
	for answer, want := range map[string]error{"YES": nil, "no": ErrRefused} {
		a, _ := answerer(connect.SSHOptions{},
			func(context.Context, connect.Prompt) (string, error) { return answer, nil }, place)
		if _, err := a.Answer(t.Context(), connect.Prompt{Kind: connect.PromptConfirm,
			Text: "Allow?"}); err != want {
			t.Errorf("confirm %q: got %v, want %v", answer, err, want)
		}
	}
	a, _ := answerer(connect.SSHOptions{}, nil, place)
	if _, err := a.Answer(t.Context(), connect.Prompt{Kind: connect.PromptNotice}); err != nil {
		t.Errorf("notice without a person: got %v, want no error", err)
	}
}

// What real programs have shown on a terminal.
func TestRecordedQuestions(t *testing.T) {
	all, err := sessions.Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]connect.PromptKind{"ssh": connect.PromptPassword,
		"ssh key": connect.PromptPassphrase, "ssh host": connect.PromptHostKey}
	seen := 0
	for _, s := range all {
		want, ours := kinds[s.Program]
		if !ours {
			continue
		}
		seen++
		before, _ := s.Shown()
		if got := KindOf(strings.TrimLeft(before, "\r\n")); got != want {
			t.Errorf("%s: %q is %v, want %v", s.Name(), before, got, want)
		}
	}
	if seen < 5 {
		t.Errorf("%d sessions of ssh, want 5 or more", seen)
	}
}

func TestReadPlace(t *testing.T) {
	for _, tt := range []struct {
		config, version string
		want            Place
	}{
		{"host x\nuser me\nhostname h\n", "OpenSSH_9.2p1 Debian",
			Place{User: "me", Host: "h", Knows: true}},
		{"user me\nhostname h\nhostkeyalias a\n", "OpenSSH_8.8", Place{User: "me", Host: "a"}},
		{"user me\nhostname h\nproxyjump u@j:22\n", "OpenSSH_10.0p2",
			Place{User: "me", Host: "h", Jump: "u@j:22", Knows: true}},
		{"user me\nhostname h\nproxycommand none\n", "", Place{User: "me", Host: "h"}},
		{"user me\nhostname h\nproxycommand ssh -W %h:%p j\n", "OpenSSH_for_Windows_8.9",
			Place{User: "me", Host: "h", Jump: "ssh -W %h:%p j", Knows: true}},
	} {
		if got := ReadPlace([]byte(tt.config), tt.version); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.config, got, tt.want)
		}
	}
}

func TestBusyWhileAsking(t *testing.T) {
	var a *Answerer
	busy := false
	a, _ = answerer(connect.SSHOptions{},
		func(context.Context, connect.Prompt) (string, error) { busy = a.Busy(); return "", nil }, place)
	a.Answer(t.Context(), connect.Prompt{Kind: connect.PromptPassword})
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

func register(t *testing.T, s *Server, answer connect.PromptFunc) []string {
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
	var got connect.Prompt
	env := register(t, &s, func(_ context.Context, p connect.Prompt) (string, error) {
		got = p
		return "sesame", nil
	})
	out, err := execute(t.Context(), env, "me@\x1b[2J's password: ").Output()
	if err != nil || string(out) != "sesame\n" {
		t.Errorf("ask for a password: got %q, %v; want \"sesame\\n\"", out, err)
	}
	if got != (connect.Prompt{Hop: "web1", Kind: connect.PromptPassword,
		Text: `me@\x1b[2J's password: `}) {
		t.Errorf("the prompt: got %+v, want a password's, escaped, for web1", got)
	}
	if strings.Contains(strings.Join(env, " "), "sesame") {
		t.Error(env)
	}
}

func TestClientIsRefused(t *testing.T) {
	var s Server
	defer s.Close()
	env := register(t, &s, func(context.Context, connect.Prompt) (string, error) {
		return "sesame", ErrRefused
	})
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
			t.Errorf("ask with %s: got %q, %v; want status 1 and no output", name, out, err)
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
	env, release, err := s.Register("web1",
		func(context.Context, connect.Prompt) (string, error) { return "sesame", nil })
	if err != nil {
		t.Fatal(err)
	}
	release()
	if out, err := execute(t.Context(), env, "password: ").Output(); err == nil {
		t.Errorf("ask after the release: got %q, want an error", out)
	}
}

// The end of the server ends waiting clients and Funcs, and leaves no file.
func TestCloseEndsClients(t *testing.T) {
	var s Server
	asked := make(chan struct{})
	env := register(t, &s, func(ctx context.Context, _ connect.Prompt) (string, error) {
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
	a, _ := answerer(connect.SSHOptions{}, func(ctx context.Context, p connect.Prompt) (string,
		error) {
		shown <- p.Kind.String()
		<-ctx.Done()
		close(gone)
		return "", nil
	}, place)
	env := register(t, &s, a.Answer)
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
	env := register(t, &s, func(context.Context, connect.Prompt) (string, error) {
		return "sesame",
			nil
	})
	token, path, _ := strings.Cut(strings.TrimPrefix(env[2], envName+"="), ":")
	long := append(question{token: token}.append(nil)[:4+len(token)], 0xff, 0xff, 0xff, 0xff)
	for _, b := range [][]byte{nil, {0}, {0xff, 0xff, 0xff, 0xff}, long,
		bytes.Repeat([]byte("x"), 1<<17)} {
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
	f.Add(question{"t", "none", "password", "1"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readQuestion(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, q.append(nil)) {
			t.Errorf("%q is read as %+v", b, q)
		}
	})
}

// The client has given up all that it doesn't need by the time its question is known here.
func TestClientIsConfined(t *testing.T) {
	if s := confine.Look(); s.Landlock == 0 || !s.Seccomp {
		t.Skip(s.Missing)
	}
	var s Server
	defer s.Close()
	pids, seen := make(chan int, 1), make(chan string, 1)
	env := register(t, &s, func(context.Context, connect.Prompt) (string, error) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", <-pids))
		seen <- string(b)
		return "sesame", err
	})
	cmd := execute(t.Context(), env, "me@web1's password: ")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids <- cmd.Process.Pid
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	status := <-seen
	if !strings.Contains(status, "NoNewPrivs:\t1") || !strings.Contains(status, "Seccomp:\t2") {
		if strings.Contains(status, "NoNewPrivs:\t0") &&
			strings.Contains(buildSettings(), "CGO_ENABLED=1") {
			t.Skip("a program with C can't restrict all of its threads")
		}
		t.Errorf("got %s, want a process that can gain no rights, with a filter", status)
	}
}

func buildSettings() string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprint(info)
}
