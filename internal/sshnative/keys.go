package sshnative

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/mitogen-go/mitogen/internal/askpass"
)

// auth are the ways to authenticate, in ssh's order.
func (d *dialer) auth(ctx context.Context, c *config) (methods []ssh.AuthMethod, done func()) {
	done = func() {}
	if c.yes("pubkeyauthentication") {
		a, conn := connectAgent(c)
		if conn != nil {
			done = func() { conn.Close() }
		}
		methods = append(methods, ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return d.signers(ctx, c, a), nil }))
	}
	if d.opt.SSH.Password == "" && d.opt.Ask == nil {
		return methods, done
	}
	where := c.get("user") + "@" + c.get("hostname")
	once := false
	password := func(text string) (string, error) {
		if d.opt.SSH.Password != "" {
			if once {
				return "", errors.New("the password is wrong")
			}
			once = true
			return string(d.opt.SSH.Password), nil
		}
		return d.opt.Ask(ctx, askpass.Password, text)
	}
	if c.yes("kbdinteractiveauthentication") {
		methods = append(methods, ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			var answers []string
			for _, q := range questions {
				a, err := password(q)
				if err != nil {
					return nil, err
				}
				answers = append(answers, a)
			}
			return answers, nil
		}))
	}
	if c.yes("passwordauthentication") {
		methods = append(methods, ssh.PasswordCallback(func() (string, error) { return password(where + "'s password: ") }))
	}
	return methods, done
}

func connectAgent(c *config) (agent.ExtendedAgent, net.Conn) {
	socket := c.get("identityagent")
	switch {
	case socket == "none":
		return nil, nil
	case socket == "" || socket == "SSH_AUTH_SOCK":
		socket = os.Getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(socket, "$"):
		socket = os.Getenv(strings.Trim(socket, "${}"))
	}
	if socket == "" {
		return nil, nil
	}
	conn, err := net.Dial("unix", c.file(socket))
	if err != nil {
		return nil, nil
	}
	return agent.NewClient(conn), conn
}

// signers are the agent's keys that the configuration names, its others, then those of files.
func (d *dialer) signers(ctx context.Context, c *config, a agent.ExtendedAgent) []ssh.Signer {
	var named, others, files []ssh.Signer
	inAgent := map[string]bool{}
	var public []ssh.PublicKey
	for _, name := range c.values["identityfile"] {
		if key := publicOf(c.file(name)); key != nil {
			public = append(public, key)
		}
	}
	if a != nil {
		held, _ := a.Signers()
		for _, s := range held {
			wanted := false
			for _, p := range public {
				wanted = wanted || bytes.Equal(p.Marshal(), s.PublicKey().Marshal())
			}
			switch {
			case wanted:
				named = append(named, s)
				inAgent[string(s.PublicKey().Marshal())] = true
			case !c.yes("identitiesonly"):
				others = append(others, s)
			}
		}
	}
	for _, name := range c.values["identityfile"] {
		file := c.file(name)
		if key := publicOf(file); key != nil && inAgent[string(key.Marshal())] {
			continue
		}
		if s := d.signerOf(ctx, file); s != nil {
			files = append(files, s)
		}
	}
	all := append(append(named, others...), files...)
	return append(certified(c, all), all...)
}

// publicOf reads the public half that lies beside a key, or the key's own where it isn't encrypted.
func publicOf(file string) ssh.PublicKey {
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return key
}

// signerOf reads a private key; nil: there is none, or nobody knows its passphrase.
func (d *dialer) signerOf(ctx context.Context, file string) ssh.Signer {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	s, err := ssh.ParsePrivateKey(text)
	if locked := (*ssh.PassphraseMissingError)(nil); errors.As(err, &locked) {
		passphrase := string(d.opt.SSH.Passphrase)
		if passphrase == "" && d.opt.Ask != nil {
			passphrase, err = d.opt.Ask(ctx, askpass.Passphrase, "Enter passphrase for key '"+file+"': ")
			if err != nil {
				return nil
			}
		}
		s, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
	}
	if err != nil {
		return nil
	}
	return s
}

// certified are the signers that a certificate goes with: of CertificateFile, or beside a key.
func certified(c *config, signers []ssh.Signer) (all []ssh.Signer) {
	files := c.values["certificatefile"]
	for _, name := range c.values["identityfile"] {
		files = append(files, name+"-cert.pub")
	}
	for _, name := range files {
		text, err := os.ReadFile(c.file(name))
		if err != nil {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			continue
		}
		cert, ok := key.(*ssh.Certificate)
		if !ok {
			continue
		}
		for _, s := range signers {
			if bytes.Equal(cert.Key.Marshal(), s.PublicKey().Marshal()) {
				if certSigner, err := ssh.NewCertSigner(cert, s); err == nil {
					all = append(all, certSigner)
				}
			}
		}
	}
	return all
}
