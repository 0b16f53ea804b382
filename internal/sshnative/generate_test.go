package sshnative

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/secret"
)

// pools are lines of configurations by keyword. A generated case has some of them; "" is none.
var pools = [][]string{
	{"", "", "HostKeyAlgorithms ssh-ed25519", "HostKeyAlgorithms rsa-sha2-256,ssh-ed25519",
		"HostKeyAlgorithms ^ecdsa-sha2-nistp256",
		"HostKeyAlgorithms -ssh-ed25519", "HostKeyAlgorithms +ssh-rsa",
		"HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", "HostKeyAlgorithms rsa-sha2-512"},
	{"", "", "", "KexAlgorithms curve25519-sha256@libssh.org,diffie-hellman-group14-sha256",
		"KexAlgorithms -sntrup*", "KexAlgorithms ecdh-sha2-nistp521",
		"KexAlgorithms diffie-hellman-group14-sha1"},
	{"", "", "", "Ciphers aes128-ctr,aes256-gcm@openssh.com", "Ciphers aes256-cbc,aes128-ctr",
		"Ciphers -chacha20*"},
	{"", "", "", "MACs hmac-sha2-512-etm@openssh.com", "MACs umac-128@openssh.com,hmac-sha2-256",
		"MACs hmac-sha1"},
	{"", "", "", "PubkeyAcceptedAlgorithms ssh-ed25519", "PubkeyAcceptedAlgorithms -rsa*",
		"PubkeyAcceptedAlgorithms rsa-sha2-256,ecdsa-sha2-nistp256",
		"PubkeyAcceptedAlgorithms *-cert-v01@openssh.com"},
	{"", "", "", "RequiredRSASize 2048", "RequiredRSASize 3072"},
	{"", "", "", "CASignatureAlgorithms ssh-ed25519", "CASignatureAlgorithms rsa-sha2-512"},
	{"", "", "", "PreferredAuthentications publickey", "PreferredAuthentications password",
		"PreferredAuthentications password,publickey",
		"PreferredAuthentications keyboard-interactive,publickey"},
	{"", "", "", "PubkeyAuthentication no", "PubkeyAuthentication unbound"},
	{"", "", "", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "BatchMode yes"},
	{"", "IdentityFile {dir}/id-unknown", "IdentityFile {dir}/id-rsa",
		"IdentityFile {dir}/id-certified", "IdentityFile {dir}/id-short", "IdentityFile {tmp}/open"},
	{"", "IdentityFile {dir}/id-ecdsa", "IdentityFile {dir}/id-locked", "IdentityFile {dir}/id-pem",
		"IdentityFile {dir}/id-unknown2", "IdentityFile none", "IdentityFile {dir}/id-ed25519"},
	{"", "", "CertificateFile {dir}/id-certified-cert.pub",
		"CertificateFile {dir}/id-rsacertified-cert.pub", "CertificateFile {dir}/missing"},
	{"", "IdentityAgent {agent}"},
	{"", "", "IdentitiesOnly yes"},
	{"StrictHostKeyChecking yes", "StrictHostKeyChecking accept-new", "StrictHostKeyChecking no",
		"StrictHostKeyChecking ask"},
	{"", "", "", "HashKnownHosts yes"},
	{"", "", "", "HostKeyAlias alias", "HostKeyAlias other"},
	{"", "", "", "CheckHostIP yes", "AddressFamily inet", "GSSAPIAuthentication yes",
		"UpdateHostKeys no"},
	{"", "", "", "ProxyJump mitopass@127.0.0.1:{port:rsa}"},
	{"", "", "", "UserKnownHostsFile {tmp}/known /dev/null", "UserKnownHostsFile /dev/null",
		"GlobalKnownHostsFile {tmp}/known"},
}

var (
	poolHosts = []string{"{at:SERVER}", "{at:SERVER}", "127.0.0.1", "*", "alias", "other",
		"[127.0.*]:*", "!{at:SERVER},*", "x,{at:SERVER},y", "{at:rsa}"}
	poolMarkers = []string{"", "", "", "", "@cert-authority ", "@cert-authority ", "@revoked ",
		"@other ", "# "}
	poolEnds = []string{"\n", "\n", " comment\n", "\r\n", "\n\n"}
	poolKeys = []string{"host-ed25519", "host-rsa", "host-ecdsa", "ca", "otherca", "rsaca",
		"cert-good", "cert-expired", "stranger"}
	poolServers = []string{"plain", "plain", "plain", "good", "good", "rsa", "expired", "rsaca",
		"group14", "ctr", "two", "nokeys"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// generated makes a case of a seed.
func generated(seed uint64) diffCase {
	r := rand.New(rand.NewPCG(seed, 27))
	c := diffCase{name: fmt.Sprint("seed ", seed), server: pick(r, poolServers), agent: []string{}}
	for _, pool := range pools {
		// Few lines at a time: with many of them nearly all is refused.
		if line := pick(r, pool); line != "" && (r.IntN(3) == 0 || strings.HasPrefix(line, "Strict")) {
			c.config = append(c.config, line)
		}
	}
	if !strings.Contains(strings.Join(c.config, "\n"), "IdentityFile ") || r.IntN(2) == 0 {
		c.config = append(c.config, "IdentityFile {dir}/id-ed25519")
	}
	for range r.IntN(4) {
		c.known += pick(r, poolMarkers) + pick(r, poolHosts) + " {key:" + pick(r, poolKeys) + "}" +
			pick(r, poolEnds)
	}
	if r.IntN(2) == 0 { // which is right, in the end
		for _, key := range hostKeysOf(c.server) {
			c.known += "{at:SERVER} {key:" + key + "}\n"
		}
	}
	c.known = strings.ReplaceAll(c.known, "SERVER", c.server)
	if c.known == "" {
		c.known = "# nothing\n"
	}
	if strings.Contains(strings.Join(c.config, "\n"), "{port:rsa}") {
		c.known += "{at:rsa} {key:host-rsa}\n"
	}
	for _, key := range []string{"id-unknown", "id-rsa", "id-certified", "id-ed25519", "id-unlocked"} {
		if r.IntN(3) == 0 {
			c.agent = append(c.agent, key)
		}
	}
	c.set = pick(r, []connect.SSHOptions{{}, {}, {Password: "lab"}, {Password: "wrong"},
		{Passphrase: "secret"}, {Password: "lab", Passphrase: "secret"}})
	return c
}

// Generated configurations lead both to the same.
func TestAsSSHGenerated(t *testing.T) {
	w := newWorld(t)
	first, n := uint64(1), uint64(20)
	if os.Getenv("MITOGEN_SOAK") != "" {
		first, n = rand.Uint64N(1<<40), 2000
		t.Logf("seeds from %d", first)
	}
	for seed := first; seed < first+n; seed++ {
		c := generated(seed)
		if c.set.Password == "lab" {
			c.set.Password = secret.Secret(w.Password)
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ssh, native := w.stage(t).compare(t, c)
			if t.Failed() {
				t.Logf("server %s\n%s\nknown hosts\n%s\nagent %v, secrets %+v\nssh: %+v\nnative: %+v", c.server,
					strings.Join(c.config, "\n"), c.known,
					c.agent, slices.Collect(secretsOf(c)), ssh, native)
			}
		})
	}
}

func secretsOf(c diffCase) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, s := range []secret.Secret{c.set.Password, c.set.Passphrase} {
			if !yield(string(s)) {
				return
			}
		}
	}
}
