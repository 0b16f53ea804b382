package sshnative

import (
	"bytes"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A hostCheck checks the key of one host by the known hosts. Whatever isn't plainly right is left
// to the ssh program, which refuses it or asks about it. No secret has been sent by then.
type hostCheck struct {
	c         *config
	name      string     // in the known hosts
	principal string     // in certificates
	lines     []hostLine // for the name
	bare      []hostLine // for the name without its port, if there is one
	files     []string   // of the user, where a new key goes
}

// newHostCheck reads the known hosts.
func newHostCheck(c *config) (*hostCheck, error) {
	files, err := c.files("userknownhostsfile")
	if err != nil {
		return nil, err
	}
	global, err := c.files("globalknownhostsfile")
	if err != nil {
		return nil, err
	}
	h := &hostCheck{c: c, files: files}
	all, err := readKnown(slices.Concat(files, global))
	if err != nil {
		return nil, err
	}
	h.principal = strings.ToLower(c.get("hostname"))
	h.name = h.principal
	switch alias := c.get("hostkeyalias"); {
	case alias != "":
		h.name, h.principal = alias, alias
	case c.port() != 22:
		h.name = "[" + h.principal + "]:" + strconv.Itoa(c.port())
		if h.bare, err = knownLines(all, h.principal); err != nil {
			return nil, err
		}
	}
	h.lines, err = knownLines(all, h.name)
	return h, err
}

// A pin lets a connection have the key that it began with, and no other when keys are renewed.
type pin struct {
	mu       sync.Mutex                // protects following
	first    func(ssh.PublicKey) error // checks the key; nil: has done so
	accepted []byte
}

// check is the ssh.HostKeyCallback.
func (p *pin) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		if !bytes.Equal(p.accepted, key.Marshal()) {
			return unsupported("another host key after the first")
		}
		return nil
	}
	err := p.first(key)
	if err == nil {
		p.first, p.accepted = nil, key.Marshal()
	}
	return err
}

// check checks the key with which the connection begins.
func (h *hostCheck) check(key ssh.PublicKey) error {
	cert, _ := key.(*ssh.Certificate)
	plain := key
	if cert != nil {
		plain = cert.Key
	}
	if h.revoked(plain) || cert != nil && h.revoked(cert.SignatureKey) {
		return unsupported("host key of %s is revoked", h.name)
	}
	if bits := rsaBits(plain); bits > 0 && bits < h.c.rsaSize() {
		return unsupported("host key of %s has %d bits", h.name, bits)
	}
	if cert != nil && h.certified(cert) {
		return h.validate(cert)
	}
	if has(h.lines, "", plain) || len(plainLines(h.lines)) == 0 && has(h.bare, "", plain) {
		return nil
	}
	return h.unknown(plain)
}

func (h *hostCheck) revoked(key ssh.PublicKey) bool {
	return has(h.lines, markRevoked, key) || has(h.bare, markRevoked, key)
}

// certified tells whether an authority for the host has signed a certificate.
func (h *hostCheck) certified(cert *ssh.Certificate) bool {
	return has(h.lines, markCA, cert.SignatureKey) || has(h.bare, markCA, cert.SignatureKey)
}

// validate checks a certificate of a known authority. ssh would look at the plain key if it isn't
// valid.
func (h *hostCheck) validate(cert *ssh.Certificate) error {
	switch {
	case cert.CertType != ssh.HostCert, cert.Signature == nil, len(cert.CriticalOptions) > 0:
	case !slices.Contains(cert.ValidPrincipals, h.principal):
	case !slices.Contains(h.c.list("casignaturealgorithms"), cert.Signature.Format):
	default:
		if err := (&ssh.CertChecker{}).CheckCert(h.principal, cert); err != nil {
			return unsupported("host certificate of %s: %v", h.name, err)
		}
		return nil
	}
	return unsupported("host certificate of %s", h.name)
}

// unknown goes by StrictHostKeyChecking: a new key is accepted and added, or left to ssh. So is
// the key of a host that has other keys.
func (h *hostCheck) unknown(key ssh.PublicKey) error {
	policy := h.c.get("stricthostkeychecking")
	if !slices.Contains([]string{"accept-new", "no", "false", "off"}, policy) ||
		len(plainLines(h.lines)) > 0 ||
		len(h.files) == 0 || h.c.hasLostAlgorithms() {
		return unsupported("host key of %s is not known", h.name)
	}
	home, err := h.c.home()
	if err != nil {
		return err
	}
	// as with ssh, an error is no reason not to connect
	addHost(home, h.files[0], h.name, key, h.c.yes("hashknownhosts"))
	return nil
}

// hasLostAlgorithms tells whether ssh could have chosen another key of the host by a list that the
// user has set.
func (c *config) hasLostAlgorithms() bool {
	if c.get("hostkeyalgorithms") == c.defaults.get("hostkeyalgorithms") {
		return false
	}
	return slices.ContainsFunc(c.list("hostkeyalgorithms"), func(name string) bool {
		return !strings.HasPrefix(name, "sk-") && !slices.Contains(able.HostKeys, name)
	})
}

func has(lines []hostLine, marker string, key ssh.PublicKey) bool {
	return slices.ContainsFunc(lines,
		func(l hostLine) bool { return l.marker == marker && equalKeys(l.key, key) })
}

// plainLines returns those without a marker.
func plainLines(lines []hostLine) (all []hostLine) {
	for _, l := range lines {
		if l.marker == "" {
			all = append(all, l)
		}
	}
	return all
}

func equalKeys(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
