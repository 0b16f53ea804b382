package sshnative

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/mitogen-go/mitogen/internal/askpass"
)

// hostKeys checks a host's key as the configuration says, and names the algorithms of those that are known, which are asked for first.
func (d *dialer) hostKeys(ctx context.Context, c *config) (check ssh.HostKeyCallback, algorithms []string, err error) {
	var files []string
	for _, name := range append(c.words("userknownhostsfile"), c.words("globalknownhostsfile")...) {
		if name = c.file(name); readable(name) {
			files = append(files, name)
		}
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: known hosts: %v", ErrUnsupported, err)
	}
	name := net.JoinHostPort(c.get("hostname"), strconv.Itoa(c.port()))
	if alias := c.get("hostkeyalias"); alias != "" {
		name = net.JoinHostPort(alias, "22")
	}
	check = func(_ string, remote net.Addr, key ssh.PublicKey) error {
		err := known(name, nowhere{}, key)
		var unknown *knownhosts.KeyError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &unknown) && len(unknown.Want) == 0:
			return d.unknownHost(ctx, c, name, key)
		case errors.As(err, &unknown):
			return errChanged
		}
		return err
	}
	return check, knownAlgorithms(known, name), nil
}

var (
	errChanged = says("REMOTE HOST IDENTIFICATION HAS CHANGED")
	errUnknown = says("Host key verification failed.")
)

// nowhere is an address that no list of known hosts has.
type nowhere struct{}

func (nowhere) Network() string { return "tcp" }
func (nowhere) String() string  { return "0.0.0.0:0" }

func readable(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// knownAlgorithms asks for a key that nobody has: the answer says which are known.
func knownAlgorithms(known ssh.HostKeyCallback, name string) (all []string) {
	err := known(name, nowhere{}, noKey{})
	var unknown *knownhosts.KeyError
	if !errors.As(err, &unknown) {
		return nil
	}
	for _, k := range unknown.Want {
		if k.Key.Type() == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
		all = append(all, k.Key.Type())
	}
	return all
}

type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// unknownHost goes by StrictHostKeyChecking.
func (d *dialer) unknownHost(ctx context.Context, c *config, name string, key ssh.PublicKey) error {
	switch policy := c.get("stricthostkeychecking"); {
	case policy == "accept-new" || policy == "no" || policy == "false" || policy == "off":
	case (policy == "ask" || policy == "") && d.opt.Ask != nil:
		text := fmt.Sprintf("The authenticity of host '%s' can't be established.\n%s key fingerprint is %s.\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ",
			c.get("hostname"), key.Type(), ssh.FingerprintSHA256(key))
		answer, err := d.opt.Ask(ctx, askpass.HostKey, text)
		if err != nil || answer != "yes" && answer != ssh.FingerprintSHA256(key) {
			return errUnknown
		}
	default:
		return errUnknown
	}
	for _, file := range c.words("userknownhostsfile") {
		return keep(c.file(file), name, key, c.yes("hashknownhosts"))
	}
	return nil
}

// keep adds a host's key to a file. That it can't be written is no reason not to connect.
func keep(file, name string, key ssh.PublicKey, hashed bool) error {
	if file == os.DevNull || file == "none" {
		return nil
	}
	name = knownhosts.Normalize(name)
	if hashed {
		name = knownhosts.HashHostname(name)
	}
	os.MkdirAll(filepath.Dir(file), 0o700)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil
	}
	defer f.Close()
	fmt.Fprintln(f, name+" "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	return nil
}
