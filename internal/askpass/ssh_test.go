package askpass_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/spawn"
	"github.com/mitogen-go/mitogen/secret"
)

// login carries out a plan for ssh as the engine does, with a command instead of a context.
func login(t *testing.T, hop methods.Hop, opt connect.Options, person connect.PromptFunc,
	here bool) (stdout string, err error) {
	t.Helper()
	plan, err := hop.Plan([]string{"sh", "-c", "echo I am `id -un`; cat"}, opt, here)
	if err != nil {
		t.Fatal(err)
	}
	a := askpass.NewAnswerer(opt.SSH, person,
		func(ctx context.Context) (askpass.Place, error) { return askpass.Locate(ctx, plan) })
	if plan.Ask == methods.AskPass {
		var s askpass.Server
		defer s.Close()
		env, release, err := s.Register(plan.Name, a.Answer)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		plan.Env = append(plan.Env, env...)
	}
	p, err := spawn.Start(t.Context(), plan, spawn.Options{Busy: a.Busy})
	if err != nil {
		return "", err
	}
	defer p.Close()
	a.Begin(p.Pid(), p.Fail)
	io.WriteString(p.Stdin, "and read")
	p.Stdin.Close()
	out, _ := io.ReadAll(p.Stdout)
	p.Wait()
	if f := p.Failure(); f.What != methods.WhatExit || f.Status != 0 {
		err = methods.Classify(plan.Method, a.Amend(f))
	}
	return string(out), err
}

// options keeps the machine's configuration out, as far as ssh allows that.
func options(t *testing.T, l *lab.Lab) connect.Options {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	text := "UserKnownHostsFile " + filepath.Join(dir, "known_hosts") +
		"\nGlobalKnownHostsFile /dev/null\nIdentityAgent none\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return connect.Options{SSH: connect.SSHOptions{ConfigFile: config, HostKeys: connect.HostKeysOff,
		IdentityFile: "/nonexistent"}}
}

func known(t *testing.T, opt connect.Options, lines string) {
	t.Helper()
	file := filepath.Join(filepath.Dir(opt.SSH.ConfigFile), "known_hosts")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
}

func at(l *lab.Lab, user string) methods.Hop {
	return methods.Hop{Method: "ssh", User: user, Host: l.Host, Port: l.Port}
}

const welcome = "I am mitofree\nand read"

func TestSSHLogins(t *testing.T) {
	l := lab.Need(t)
	for _, tt := range []struct {
		name string
		set  func(o *connect.Options)
		here bool
		want error
	}{
		{"key", func(o *connect.Options) { o.SSH.IdentityFile = l.Key }, true, nil},
		{"password", func(o *connect.Options) { o.SSH.Password = secret.Secret(l.Password) }, true, nil},
		{"passphrase", func(o *connect.Options) {
			o.SSH.IdentityFile, o.SSH.Passphrase = l.LockedKey, secret.Secret(l.Passphrase)
		}, true, nil},
		{"nothing", func(o *connect.Options) {}, true, connect.ErrAuth},
		{"wrong password", func(o *connect.Options) { o.SSH.Password = "wrong" }, true, connect.ErrAuth},
		{"wrong passphrase", func(o *connect.Options) {
			o.SSH.IdentityFile, o.SSH.Passphrase = l.LockedKey, "wrong"
		}, true, connect.ErrAuth},
		{"passphrase instead of password", func(o *connect.Options) { o.SSH.Passphrase = "pp" }, true,
			connect.ErrAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opt := options(t, l)
			tt.set(&opt)
			check(t, at(l, lab.Free), opt, nil, tt.here, tt.want)
		})
	}
}

func check(t *testing.T, hop methods.Hop, opt connect.Options, person connect.PromptFunc, here bool,
	want error) {
	t.Helper()
	out, err := login(t, hop, opt, person, here)
	if !errors.Is(err, want) || want == nil && out != welcome {
		t.Errorf("%q, %v, want %v", out, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "wrong") && opt.SSH.Password == "wrong") {
		t.Errorf("secret in %v", err)
	}
}

// A person may take longer than the timeout, err, and be asked several things.
func TestSSHPerson(t *testing.T) {
	l := lab.Need(t)
	opt := options(t, l)
	opt.Interactive, opt.SSH.HostKeys = true, connect.HostKeysDefault
	opt.Timeout = 5 * time.Second
	var kinds []connect.PromptKind
	person := func(_ context.Context, p connect.Prompt) (string, error) {
		kinds = append(kinds, p.Kind)
		switch {
		case p.Kind == connect.PromptHostKey:
			return "yes", nil
		case len(kinds) == 2:
			return "typo", nil
		}
		return l.Password, nil
	}
	check(t, at(l, lab.Free), opt, person, true, nil)
	if want := []connect.PromptKind{connect.PromptHostKey, connect.PromptPassword,
		connect.PromptPassword}; !slices.Equal(kinds, want) {
		t.Errorf("asked for %v", kinds)
	}
}

func TestSSHHostKeys(t *testing.T) {
	l := lab.Need(t)
	right, err := os.ReadFile(l.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(l.Key + ".pub") // some other key
	if err != nil {
		t.Fatal(err)
	}
	wrong := fmt.Sprintf("[%s]:%d %s", l.Host, l.Port, pub)
	for _, policy := range []struct {
		HostKeys               connect.HostKeys
		known, unknown, change error
	}{
		{connect.HostKeysDefault, nil, connect.ErrHostKey, connect.ErrHostKeyChanged},
		{connect.HostKeysStrict, nil, connect.ErrHostKey, connect.ErrHostKeyChanged},
		{connect.HostKeysAcceptNew, nil, nil, connect.ErrHostKeyChanged},
		{connect.HostKeysOff, nil, nil, nil},
	} {
		for _, c := range []struct {
			name, lines string
			want        error
		}{{"known", string(right), policy.known}, {"unknown", "", policy.unknown},
			{"changed", wrong, policy.change}} {
			for _, password := range []bool{false, true} { // asks no user, asks through askpass
				for _, here := range []bool{true, false} {
					if password && !here {
						continue // a hop's dialogue is the engine's
					}
					t.Run(fmt.Sprint(policy.HostKeys, " ", c.name, password, here), func(t *testing.T) {
						t.Parallel()
						opt := options(t, l)
						opt.SSH.HostKeys = policy.HostKeys
						if password {
							opt.SSH.Password = secret.Secret(l.Password)
						} else {
							opt.SSH.IdentityFile = l.Key
						}
						known(t, opt, c.lines)
						check(t, at(l, lab.Free), opt, nil, here, c.want)
					})
				}
			}
		}
	}
}

func TestSSHNetwork(t *testing.T) {
	l := lab.Need(t)
	opt := options(t, l)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	refuses := methods.Hop{Method: "ssh", Host: "127.0.0.1", Port: port}
	check(t, refuses, opt, nil, true, connect.ErrRefused)
	check(t, methods.Hop{Method: "ssh", Host: "mito.invalid"}, opt, nil, true, connect.ErrUnknownHost)

	mute, accepted := server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	impatient := opt
	impatient.Timeout = time.Second
	check(t, mute, impatient, nil, true, connect.ErrTimeout)
	<-accepted
	rude, _ := server(t, func(c net.Conn) { c.Close() })
	check(t, rude, opt, nil, true, connect.ErrDisconnected)

	opt.SSH.Path = "/nonexistent/ssh"
	check(t, refuses, opt, nil, true, connect.ErrNoCommand)
	opt.SSH.Path, opt.SSH.Args = "", []string{"-o", "Nonsense=yes"}
	check(t, refuses, opt, nil, true, connect.ErrSetup)
}

// server is no sshd.
func server(t *testing.T, serve func(net.Conn)) (hop methods.Hop, accepted chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		close(accepted)
		serve(c)
		c.Close()
	})
	t.Cleanup(func() { listener.Close(); wg.Wait() })
	return methods.Hop{Method: "ssh", Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port},
		accepted
}

// The words of a command arrive as they are, through a login shell; its status and stderr are its
// own.
func TestSSHCommand(t *testing.T) {
	l := lab.Need(t)
	opt := options(t, l)
	opt.SSH.IdentityFile = l.Key
	argv := []string{"sh", "-c", `printf '%s|' "$@"; echo permission denied >&2; exit 7`, "sh", "a b",
		`'"\!$HOME`, "", "é\n"}
	plan, err := at(l, lab.Free).Plan(argv, opt, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := spawn.Start(t.Context(), plan, spawn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, _ := io.ReadAll(p.Stdout)
	if want := "a b|" + `'"\!$HOME` + "||é\n|"; string(out) != want || p.Wait() != 7 {
		t.Errorf("%q, status %d, %q", out, p.Wait(), p.Text())
	}
	if !errors.Is(p.Err(), connect.ErrDied) {
		t.Error(p.Err())
	}
}
