package sshnative

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// FuzzAnswer checks that whatever ssh -G prints is read or refused.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("user me\nhostname h\nport 22\nciphers a,b\nidentityfile ~/.ssh/id\n" +
		"proxyjump none\n"))
	f.Add([]byte("port x\nrequiredrsasize -1\nUserKnownHostsFile ~/a \"b\n\nsendenv A*\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		c, err := parseAnswer(out)
		if err != nil {
			return
		}
		c.defaults = &config{values: map[string][]string{"ciphers": {"aes128-ctr"}}}
		c.port()
		c.rsaSize()
		c.algorithms()
		c.hasLostAlgorithms()
		for key, values := range c.values {
			c.get(key)
			c.list(key)
			for _, v := range values {
				splitJump(v)
				parseArguments([]string{"ssh", "-o", v, "--", "h"})
			}
		}
	})
}

const knownHost = "h ssh-ed25519 " +
	"AAAAC3NzaC1lZDI1NTE5AAAAIIbJKZscbOLzBsgY5y2QupKW4A2Wsa/BqILR2IZ0qWdA"

// FuzzHostLine checks that lines of lists of known hosts are read or refused, and that a line never
// matches a name that its patterns exclude.
func FuzzHostLine(f *testing.F) {
	f.Add(knownHost, "h")
	f.Add("@revoked *,!h "+knownHost[2:], "h")
	f.Add("|1|c2FsdA==|aGFzaA== ssh-rsa AAAA", "[h]:2222")
	f.Add("@cert-authority *.example.com ssh-rsa", "a.example.com")
	f.Fuzz(func(t *testing.T, line, name string) {
		l, matches, err := parseHostLine(line, name)
		if matches && (err != nil || l.key == nil) {
			t.Fatalf("%q matches %q without a key: %v", line, name, err)
		}
		if _, excluded, _ := parseHostLine("!"+name+","+line, name); excluded && name != "" &&
			!bytes.ContainsAny([]byte(name), " \t,*?|@#!") && line != "" && line[0] != '@' &&
			line[0] != '|' {
			t.Fatalf("%q is excluded and matches all the same: %q", name, line)
		}
		if !matchPattern("*"+strings.Trim(name, "*?")+"*", name) {
			t.Fatalf("%q doesn't match itself", name)
		}
	})
}

// FuzzKeys checks that files of keys are read or passed over.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(knownHost[2:] + " comment\n"))
	f.Add([]byte("# x\nssh-rsa AAAA\n-----BEGIN OPENSSH PRIVATE KEY-----\n" +
		"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, key := range []ssh.PublicKey{firstKey(text), headerKey(text)} {
			if key != nil {
				plainKey(key)
				rsaBits(key)
			}
		}
	})
}
