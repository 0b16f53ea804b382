package sshnative

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/connect"
)

func sampleKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	return sampleSigner(t).PublicKey()
}

func sampleSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An asker is a server that asks what a test wants and lets no one in.
type asker struct {
	port int
	key  ssh.PublicKey

	mu      sync.Mutex // protects following
	answers []string   // what it was told, passwords too
}

// A round is a set of questions; those that end with "echo" are echoed.
type round []string

// ask starts a server that asks in rounds.
func startAsker(t *testing.T, rounds ...round) *asker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	host := sampleSigner(t)
	a := &asker{port: l.Addr().(*net.TCPAddr).Port, key: host.PublicKey()}
	o := &ssh.ServerConfig{
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			a.told(string(password))
			return nil, errors.New("no")
		},
	}
	if len(rounds) > 0 {
		o.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata,
			ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			for _, questions := range rounds {
				var texts []string
				var echos []bool
				for _, q := range questions {
					text, echo := strings.CutSuffix(q, "echo")
					texts, echos = append(texts, text), append(echos, echo)
				}
				answers, err := ask("", "", texts, echos)
				if err != nil {
					return nil, err
				}
				a.told(answers...)
			}
			return nil, errors.New("no")
		}
	}
	o.AddHostKey(host)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go ssh.NewServerConn(conn, o)
		}
	}()
	return a
}

func (a *asker) told(answers ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, answers...)
}

func (a *asker) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.answers)
}

// knock connects to a server with a password.
func (a *asker) knock(t *testing.T, interactive bool, secrets connect.SSHOptions,
	lines ...string) error {
	t.Helper()
	dir := t.TempDir()
	known := filepath.Join(dir, "known")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s", a.port, ssh.MarshalAuthorizedKey(a.key)))
	config := filepath.Join(dir, "config")
	write(t, config, fmt.Sprintf("Host *\nHostName 127.0.0.1\nUser me\nPort %d\nUserKnownHostsFile "+
		"%s\nIdentityFile none\nIdentityAgent none\n%s\n",
		a.port, known, strings.Join(lines, "\n")))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := Start(ctx, Options{Argv: []string{"ssh", "-F", config, "--", "x"}, Command: "true",
		SSH: secrets, Interactive: interactive})
	if err == nil {
		p.Close()
		t.Fatal("it let us in")
	}
	return err
}

// A password is told to a single question for it, once, and nothing else is told.
func TestQuestions(t *testing.T) {
	secrets := connect.SSHOptions{Password: "PASSWORD", Passphrase: "PASSPHRASE"}
	for _, tt := range []struct {
		name   string
		rounds []round
		want   string
	}{
		{"password", []round{{"Password: "}}, "PASSWORD"},
		{"as FreeBSD asks", []round{{"Password for me@host:"}}, "PASSWORD"},
		{"with another account", []round{{"(root@bastion) Password: "}}, ""},
		{"for another account", []round{{"Password for root: "}}, ""},
		{"expired", []round{{"(current) UNIX password: "}}, ""},
		{"expired, in other words", []round{{"Current Password: "}}, ""},
		{"of something else", []round{{"[sudo] password: "}}, ""},
		{"of a key", []round{{"Private key password: "}}, ""},
		{"twice", []round{{"Password: "}, {"Password: "}}, "PASSWORD"},
		{"then a new one", []round{{"Password: "}, {"New password: "}}, "PASSWORD"},
		{"then a code", []round{{"Password: "}, {"Verification code: "}}, "PASSWORD"},
		{"none", nil, "PASSWORD"}, // by the method for passwords
		{"nothing", []round{{}}, "PASSWORD"},
		{"code", []round{{"Verification code: "}}, ""},
		{"one-time", []round{{"Your one-time password: "}}, ""},
		{"one-time code", []round{{"Your one-time password code:"}}, ""},
		{"PIN", []round{{"Enter PIN for key: "}}, ""},
		{"passphrase", []round{{"Enter passphrase for key '/home/me/.ssh/id_ed25519': "}}, ""},
		{"host key", []round{{"Are you sure you want to continue connecting (yes/no)? "}}, ""},
		{"echoed", []round{{"Password: echo"}}, ""},
		{"two questions", []round{{"Password: ", "Password: "}}, ""},
		{"lines", []round{{"Enter passphrase\nPassword: "}}, ""},
		{"words after", []round{{"password: of your key"}}, ""},
		{"empty", []round{{""}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := startAsker(t, tt.rounds...)
			err := a.knock(t, false, secrets)
			if got := strings.Join(a.all(), ","); got != tt.want {
				t.Errorf("the server was told %q, want %q", got, tt.want)
			}
			if left := errors.Is(err, ErrUnsupported); left != (tt.want == "") {
				t.Errorf("left to ssh: %v (%v), want it only if nothing was told", left, err)
			}
			if given := errors.Is(err, ErrPasswordGiven); given != (tt.want != "") {
				t.Errorf("says that a password was given: %v (%v)", given, err)
			}
			if tt.want != "" && !strings.Contains(err.Error(), "Permission denied (") {
				t.Errorf("got %v, want that permission is denied", err)
			}
		})
	}
}

// No password that wasn't given, and none where the configuration says so.
func TestNoPassword(t *testing.T) {
	given := connect.SSHOptions{Password: "PASSWORD"}
	for _, tt := range []struct {
		name        string
		interactive bool
		secrets     connect.SSHOptions
		line        string
		want        string
		left        bool
	}{
		{"none given", false, connect.SSHOptions{}, "", "", false},
		{"passphrase only", false, connect.SSHOptions{Passphrase: "PASSPHRASE"}, "", "", false},
		{"a user is there", true, connect.SSHOptions{}, "", "", true},
		{"a user is there, questions", true, given, "", "", true},
		{"a user is there, no questions", true, given, "KbdInteractiveAuthentication no", "PASSWORD",
			false},
		{"batch mode", true, given, "BatchMode yes", "", false},
		{"no prompts", false, given, "NumberOfPasswordPrompts 0", "", false},
		{"other methods preferred", false, given, "PreferredAuthentications publickey", "", false},
		{"both off", false, given, "KbdInteractiveAuthentication no\nPasswordAuthentication no", "",
			false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := startAsker(t, round{"Password: "})
			err := a.knock(t, tt.interactive, tt.secrets, tt.line)
			if got := strings.Join(a.all(), ","); got != tt.want {
				t.Errorf("the server was told %q, want %q", got, tt.want)
			}
			if errors.Is(err, ErrUnsupported) != tt.left {
				t.Errorf("got %v, want it left to ssh: %v", err, tt.left)
			}
		})
	}
}

// A jump host is told nothing: the secrets are for the last one.
func TestJumpIsToldNothing(t *testing.T) {
	jump, last := startAsker(t, round{"Password: "}), startAsker(t)
	known := filepath.Join(t.TempDir(), "jump")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s", jump.port, ssh.MarshalAuthorizedKey(jump.key)))
	err := last.knock(t, false, connect.SSHOptions{Password: "PASSWORD", Passphrase: "PASSPHRASE"},
		"Match host 127.0.0.1 originalhost x", fmt.Sprintf("ProxyJump me@127.0.0.1:%d", jump.port),
		"Match all", "GlobalKnownHostsFile "+known)
	if got := slices.Concat(jump.all(), last.all()); len(got) > 0 {
		t.Errorf("told %q, want nothing", got)
	}
	if errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "Permission denied (") {
		t.Errorf("got %v, want that permission is denied", err)
	}
}

// The error of a connection that isn't made has ssh's words, and is the system's.
func TestDialErrors(t *testing.T) {
	for _, err := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.EMFILE, syscall.ENOBUFS,
	} {
		got := dialError("h", 22, &net.OpError{Op: "dial", Err: os.NewSyscallError("x", err)})
		if !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "ssh: connect to host h port 22: ") {
			t.Errorf("%v: got %q, want it in the words of ssh", err, got)
		}
	}
}
