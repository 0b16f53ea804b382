package sshnative

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// An identity is a key or certificate that ssh would offer.
type identity struct {
	key    ssh.PublicKey // nil: known only once the file has been read
	file   string        // of the private key; empty: the agent has it
	held   ssh.Signer    // the agent's; or nil
	sha1   bool          // ssh could also sign with SHA-1
	signer ssh.MultiAlgorithmSigner
}

// identities returns what ssh would offer, in its order: certificates of CertificateFile, keys that
// both agent and configuration have, other keys of the agent (agentOrder), other files.
func (a *login) identities(held []ssh.Signer) ([]*identity, error) {
	files, err := a.c.identityFiles()
	if err != nil {
		return nil, err
	}
	all, err := a.c.certificateFiles()
	if err != nil {
		return nil, err
	}
	var others []*identity
	for _, s := range held {
		key, err := ssh.ParsePublicKey(s.PublicKey().Marshal())
		if err != nil {
			return nil, unsupported("a key of the agent: %v", err)
		}
		i := slices.IndexFunc(files,
			func(f *identity) bool { return f.key != nil && equalKeys(f.key, key) })
		switch {
		case i >= 0:
			files[i].held = s
			all = append(all, files[i])
			files = slices.Delete(files, i, i+1)
		case !a.c.yes("identitiesonly"):
			others = append(others, &identity{key: key, held: s})
		}
	}
	if others, err = a.agentOrder(others); err != nil {
		return nil, err
	}
	all = slices.Concat(all, others, files)
	var offered []*identity
	for _, id := range all {
		if a.offers(id, all) {
			offered = append(offered, id)
		}
	}
	return offered, nil
}

// agentOrder puts keys of the agent into the order of the ssh that is installed: as of OpenSSH 10.5
// certificates come first.
func (a *login) agentOrder(keys []*identity) ([]*identity, error) {
	var certificates, plain []*identity
	token := false
	for _, id := range keys {
		if _, ok := id.key.(*ssh.Certificate); ok {
			certificates = append(certificates, id)
			token = token || strings.HasPrefix(id.key.Type(), "sk-")
		} else {
			plain = append(plain, id)
		}
	}
	if len(certificates) == 0 || releaseOf(a.c.program).before(10, 5) {
		return keys, nil
	}
	if token && len(certificates) > 1 {
		return nil, unsupported("the order of certificates for security keys")
	}
	return append(certificates, plain...), nil
}

// offers tells whether ssh would offer a key, and prepares it for that.
func (a *login) offers(id *identity, all []*identity) bool {
	open := func() (ssh.AlgorithmSigner, error) { return a.open(id, all) }
	if id.key == nil {
		s, err := a.open(id, all)
		if errors.Is(err, os.ErrNotExist) {
			return false
		}
		if err != nil {
			a.skip(err)
			return false
		}
		id.key = s.PublicKey()
	}
	var names []string
	if names, id.sha1 = a.c.signing(id.key.Type()); len(names) == 0 {
		if id.sha1 {
			a.skip(unsupported("a signature with SHA-1 for %s", id))
		}
		return false
	}
	if bits := rsaBits(id.key); bits > 0 && bits < a.c.rsaSize() {
		return false
	}
	id.signer = &signer{id.key, names, open, func() { a.signed = id.key },
		func(err error) { a.failed(id, err) }}
	return true
}

// rotate puts the identities after the one of a key first. ssh goes on with them after a key that
// was accepted and isn't enough.
func rotate(all []*identity, key ssh.PublicKey) []*identity {
	i := slices.IndexFunc(all, func(id *identity) bool { return key != nil && equalKeys(id.key, key) })
	return slices.Concat(all[i+1:], all[:i+1])
}

// String names an identity for messages.
func (id *identity) String() string {
	if id.file != "" {
		return id.file
	}
	return "a key of the agent"
}

// open returns what signs for an identity: the agent, or the private key.
func (a *login) open(id *identity, all []*identity) (ssh.AlgorithmSigner, error) {
	if cert, ok := id.key.(*ssh.Certificate); ok && id.held == nil {
		for _, other := range all {
			if other.key != nil && equalKeys(other.key, cert.Key) {
				id = other
				break
			}
		}
	}
	if s, ok := id.held.(ssh.AlgorithmSigner); ok {
		return s, nil
	}
	return a.private(id)
}

// private reads a private key. ssh reads no file of the user's own that other users can read.
func (a *login) private(id *identity) (ssh.AlgorithmSigner, error) {
	info, err := os.Stat(id.file)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Getuid() && st.Mode&0o077 != 0 {
		return nil, unsupported("mode of %s", id.file)
	}
	text, err := os.ReadFile(id.file)
	if err != nil {
		return nil, err
	}
	if bytes.ContainsRune(text, '\r') { // which not every ssh can read
		return nil, unsupported("line ends of %s", id.file)
	}
	s, err := ssh.ParsePrivateKey(text)
	if locked := (*ssh.PassphraseMissingError)(nil); errors.As(err, &locked) && a.passphrase != "" {
		s, err = ssh.ParsePrivateKeyWithPassphrase(text, a.passphrase.Bytes())
	}
	if err != nil {
		return nil, unsupported("%s: %v", id.file, err)
	}
	if id.key != nil && !equalKeys(plainKey(id.key), s.PublicKey()) {
		return nil, unsupported("%s isn't the key whose public half is known", id.file)
	}
	return s.(ssh.AlgorithmSigner), nil
}

// identityFiles returns the identities of IdentityFile, each followed by the certificate beside it.
func (c *config) identityFiles() (all []*identity, err error) {
	for _, name := range c.values["identityfile"] {
		if strings.EqualFold(name, "none") {
			continue
		}
		file, err := c.expand(name)
		if err != nil {
			return nil, err
		}
		key, err := publicKey(file)
		if err != nil {
			return nil, err
		}
		all = append(all, &identity{key: key, file: file})
		if len(c.values["certificatefile"]) > 0 {
			continue
		}
		if all, err = appendCertificate(all, file+"-cert", file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// appendCertificate adds the certificate that file holds for a key, if it holds one.
func appendCertificate(all []*identity, file, key string) ([]*identity, error) {
	public, err := publicKey(file)
	if cert, ok := public.(*ssh.Certificate); ok && cert.CertType == ssh.UserCert {
		all = append(all, &identity{key: cert, file: key})
	}
	return all, err
}

// certificateFiles returns the certificates of CertificateFile.
func (c *config) certificateFiles() (all []*identity, err error) {
	for _, name := range c.values["certificatefile"] {
		file, err := c.expand(name)
		if err != nil {
			return nil, err
		}
		if all, err = appendCertificate(all, file, file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// publicKey returns the public half of a key as ssh finds it: in the file itself, in the one with
// ".pub", or before the encrypted part of a private key. Nil: nowhere. As with ssh, a file that
// can't be read has none; the error is that nothing could be read now, whatever the file.
func publicKey(file string) (ssh.PublicKey, error) {
	for _, name := range []string{file, file + ".pub"} {
		text, err := os.ReadFile(name)
		if methods.Shortage(err) != nil {
			return nil, err
		}
		if key := firstKey(text); key != nil {
			return key, nil
		}
	}
	text, err := os.ReadFile(file)
	if methods.Shortage(err) != nil {
		return nil, err
	}
	return headerKey(text), nil
}

// firstKey returns the key on the first line that holds one.
func firstKey(text []byte) ssh.PublicKey {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || fields[0][0] == '#' {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(string(fields[1]))
		if err != nil {
			continue
		}
		if key, err := ssh.ParsePublicKey(raw); err == nil && key.Type() == string(fields[0]) {
			return key
		}
	}
	return nil
}

// headerKey returns the public key in the part of a private key that is never encrypted. Only
// OpenSSH's own form has one.
func headerKey(text []byte) ssh.PublicKey {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok {
		return nil
	}
	var header struct {
		Cipher, KDF, Options string
		Number               uint32
		Public               []byte
		Private              []byte
		Rest                 []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(rest, &header); err != nil || header.Number != 1 {
		return nil
	}
	key, err := ssh.ParsePublicKey(header.Public)
	if err != nil {
		return nil
	}
	return key
}

func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// rsaBits returns the size of an RSA key or certificate, and 0 for other kinds.
func rsaBits(key ssh.PublicKey) int {
	if k, ok := plainKey(key).(ssh.CryptoPublicKey); ok {
		if k, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	return 0
}

// rsaSize returns the least size of RSA keys.
func (c *config) rsaSize() int {
	return max(1024, c.number("requiredrsasize", c.number("rsaminsize", 1024)))
}

// A signer offers a key before its private half is at hand, as ssh does.
type signer struct {
	key   ssh.PublicKey
	names []string // of signatures, the preferred first
	open  func() (ssh.AlgorithmSigner, error)
	made  func()      // is told of a signature
	fail  func(error) // is told why there is no signature
}

func (s *signer) PublicKey() ssh.PublicKey { return s.key }
func (s *signer) Algorithms() []string     { return s.names }

func (s *signer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.names[0])
}

func (s *signer) SignWithAlgorithm(rand io.Reader, data []byte, name string) (*ssh.Signature,
	error) {
	private, err := s.open()
	if err == nil {
		var made *ssh.Signature
		if made, err = private.SignWithAlgorithm(rand, data, name); err == nil {
			s.made()
			return made, nil
		}
	}
	s.fail(noSignature(err))
	return nil, err
}

func noSignature(err error) error {
	if methods.Shortage(err) != nil {
		return fmt.Errorf("no signature: %w", err)
	}
	return unsupported("no signature: %v", err)
}

// agentVariable is an IdentityAgent that names a variable of the environment.
var agentVariable = lazyregexp.New(`^\$[A-Za-z_][A-Za-z0-9_]*$`)

// agentSocket returns the path of the agent's socket; "": there is none.
func (c *config) agentSocket() (string, error) {
	switch name := c.get("identityagent"); {
	case name == "none":
		return "", nil
	case name == "" || name == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK"), nil
	case agentVariable.MatchString(name):
		return os.Getenv(name[1:]), nil
	case strings.HasPrefix(name, "$"):
		return "", unsupported("identityagent %s", name)
	default:
		return c.expand(name)
	}
}

// dialAgent returns the agent that the configuration names; nil: there is none.
func (c *config) dialAgent() (agent.ExtendedAgent, io.Closer, error) {
	socket, err := c.agentSocket()
	if err != nil || socket == "" {
		return nil, nil, err
	}
	conn, err := net.Dial("unix", socket)
	switch {
	case methods.Shortage(err) != nil:
		return nil, nil, says("connect to the agent: %w", err)
	case err != nil:
		return nil, nil, nil
	}
	return agent.NewClient(conn), conn, nil
}
