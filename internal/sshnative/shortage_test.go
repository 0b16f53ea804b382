package sshnative

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// starved runs f in a process that can open no file.
func starved(t *testing.T, f func()) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	free := null.Fd()
	null.Close()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE,
		&unix.Rlimit{Cur: uint64(free), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	f()
}

// keyFiles writes a private key, its public half and a list of known hosts.
func keyFiles(t *testing.T) (private, known string, host ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, known = filepath.Join(dir, "id"), filepath.Join(dir, "known")
	host = sampleKey(t)
	for name, text := range map[string][]byte{private: pem.EncodeToMemory(block),
		known: []byte("web1 " + string(ssh.MarshalAuthorizedKey(host)))} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, known, host
}

// Whatever of a login lacks a descriptor, the error is that, and neither a missing key, an unknown
// host nor something that is left to ssh.
func TestLoginWithoutDescriptors(t *testing.T) {
	private, known, _ := keyFiles(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	with := func(keyword, value string) *config {
		c := &config{values: map[string][]string{keyword: {value}}, defaults: &config{}}
		c.values["hostname"] = []string{"web1"}
		return c
	}
	check := with("userknownhostsfile", known)
	check.values["globalknownhostsfile"] = []string{"none"}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "agent"))
	for name, step := range map[string]func() error{
		"ssh -G": func() error {
			_, err := execute(t.Context(), []string{"ssh", "-F", "none", "--", "web1"})
			return err
		},
		"known hosts": func() error {
			_, err := newHostCheck(check)
			return err
		},
		"key": func() error {
			_, err := with("identityfile", private).identityFiles()
			return err
		},
		"certificate": func() error {
			_, err := with("certificatefile", private+"-cert.pub").certificateFiles()
			return err
		},
		"keys to offer": func() error {
			_, err := (&login{c: with("identityfile", private)}).identities(nil)
			return err
		},
		"agent": func() error {
			_, _, err := with("identityagent", "SSH_AUTH_SOCK").dialAgent()
			return err
		},
		"dial": func() error {
			c := &config{values: map[string][]string{}}
			_, err := c.dial(t.Context(), "127.0.0.1", port)
			return dialError("web1", port, err)
		},
	} {
		var err error
		starved(t, func() { err = step() })
		if !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: got %v, want EMFILE, and not ErrUnsupported", name, err)
		}
	}
}

// A key whose file can't be read for now ends the login: no other key, and no password, is tried.
func TestNoAttemptWithoutKey(t *testing.T) {
	for name, lacks := range map[string]error{
		"descriptors": &os.PathError{Op: "open", Path: "id", Err: syscall.EMFILE},
		"system":      &os.PathError{Op: "open", Path: "id", Err: syscall.ENFILE},
		"memory":      fmt.Errorf("no signature: %w", syscall.ENOMEM),
	} {
		a := &login{c: &config{values: map[string][]string{"pubkeyauthentication": {"yes"},
			"passwordauthentication": {"yes"}}},
			conn: &sniffer{}, password: "secret", given: name == "system"}
		a.failed(nil, lacks)
		m, err := a.next(&ssh.ClientAuthContext{AllowedMethods: []string{methodKeys, methodPassword}})
		if m != nil || !errors.Is(err, lacks) {
			t.Errorf("%s: next attempt: got %v, %v, want the error", name, m, err)
		}
		if err := a.failure(context.Background(), errDenied); !errors.Is(err, errors.Unwrap(lacks)) ||
			errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: failure: got %v, want %v", name, err, lacks)
		}
	}
}
