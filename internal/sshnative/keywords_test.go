package sshnative

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everything sets every keyword of ssh_config, of OpenSSH 8.0 to 10.2, to a value that isn't the
// usual one.
const everything = `AddKeysToAgent yes
AddressFamily inet
BatchMode yes
BindAddress 127.0.0.2
BindInterface lo
CanonicalDomains example.com
CanonicalizeFallbackLocal yes
CanonicalizeHostname always
CanonicalizeMaxDots 3
CanonicalizePermittedCNAMEs *.a:*.b
CASignatureAlgorithms ssh-ed25519
CertificateFile /none
ChannelTimeout *=1m
CheckHostIP yes
Ciphers aes256-ctr
ClearAllForwardings no
Compression yes
ConnectionAttempts 3
ConnectTimeout 7
ControlMaster auto
ControlPath /
ControlPersist yes
DynamicForward 1
EnableEscapeCommandline yes
EnableSSHKeysign yes
EscapeChar none
ExitOnForwardFailure yes
FingerprintHash md5
ForkAfterAuthentication yes
ForwardAgent yes
ForwardX11 yes
ForwardX11Timeout 1m
ForwardX11Trusted no
GatewayPorts yes
GlobalKnownHostsFile /none
GSSAPIAuthentication yes
GSSAPIClientIdentity a
GSSAPIDelegateCredentials yes
GSSAPIKexAlgorithms gss-gex-sha1-
GSSAPIKeyExchange yes
GSSAPIRenewalForcesRekey yes
GSSAPIServerIdentity b
GSSAPITrustDns yes
HashKnownHosts yes
HostbasedAcceptedAlgorithms ssh-ed25519
HostbasedAuthentication yes
HostKeyAlgorithms ssh-ed25519
HostKeyAlias alias
Hostname 127.0.0.1
IdentitiesOnly yes
IdentityAgent none
IdentityFile /none
IPQoS none
KbdInteractiveAuthentication no
KbdInteractiveDevices pam
KexAlgorithms curve25519-sha256
KnownHostsCommand /bin/true
LocalCommand true
LocalForward 2 localhost:2
LogLevel DEBUG3
LogVerbose kex.c:*:*
MACs hmac-sha2-256
NoHostAuthenticationForLocalhost yes
NumberOfPasswordPrompts 1
ObscureKeystrokeTiming no
PasswordAuthentication no
PermitLocalCommand yes
PermitRemoteOpen a:1
PKCS11Provider /none
Port 7
PreferredAuthentications publickey
ProxyCommand true
ProxyJump none
ProxyUseFdpass yes
PubkeyAcceptedAlgorithms ssh-ed25519
PubkeyAuthentication host-bound
RefuseConnection no
RekeyLimit 1G 1h
RemoteCommand true
RemoteForward 3 localhost:3
RequestTTY force
RequiredRSASize 4096
RevokedHostKeys /none
SecurityKeyProvider /none
SendEnv A
ServerAliveCountMax 7
ServerAliveInterval 7
SessionType subsystem
SetEnv A=b
StdinNull yes
StreamLocalBindMask 0777
StreamLocalBindUnlink yes
StrictHostKeyChecking accept-new
SyslogFacility LOCAL0
Tag tag
TCPKeepAlive no
Tunnel ethernet
TunnelDevice 1:1
UpdateHostKeys ask
User user
UserKnownHostsFile /none
VerifyHostKeyDNS yes
VersionAddendum words
VisualHostKey yes
WarnWeakCrypto no
XAuthLocation /none
`

// unprinted are keywords of ssh_config that ssh -G has no line for.
var unprinted = []string{"host", "match", "include", "ignoreunknown"}

// refusing is a keyword with which ssh ends, ssh -G too, as of OpenSSH 10.0.
const refusing = "RefuseConnection no\n"

// printed returns what ssh -G says of a configuration in which unknown keywords don't matter.
func printed(t *testing.T, text string) *config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, "IgnoreUnknown *\n"+text)
	cmd := exec.Command("ssh", "-G", "-F", file, "127.0.0.1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ssh -G: %v: %s", err, stderr.String())
	}
	c, err := parseAnswer(out)
	if err != nil {
		t.Fatal(err)
	}
	c.defaults = &config{}
	return c
}

// Every keyword that the installed ssh -G prints has a row.
func TestKeywordsOfSSH(t *testing.T) {
	all := strings.Replace(everything, refusing, "", 1)
	for _, text := range []string{all, "", "ProxyJump a,b\nControlMaster yes\n"} {
		for key := range printed(t, text).values {
			if _, known := keywords[key]; !known {
				t.Errorf("ssh -G prints %s, and no row of the table has it", key)
			}
		}
	}
}

// Each value that a keyword is refused for, alone in a configuration, leaves the host to ssh.
func TestKeywordsRefused(t *testing.T) {
	usual := printed(t, "")
	for line := range strings.Lines(everything) {
		key := strings.ToLower(strings.Fields(line)[0])
		row, known := keywords[key]
		if !known {
			t.Errorf("no row for %s", key)
			continue
		}
		if key == "forkafterauthentication" { // ssh -G wants a command for it
			line += "RemoteCommand true\n"
		}
		if line == refusing && !sshBefore(10, 0) {
			file := filepath.Join(t.TempDir(), "config")
			write(t, file, line)
			_, err := configFor(t.Context(), []string{"ssh", "-F", file, "--", "127.0.0.1"})
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "RefuseConnection") {
				t.Errorf("%q: got %v, want ErrUnsupported that names the keyword", line, err)
			}
			continue
		}
		c := printed(t, line)
		// this ssh has no such keyword
		if row.role != refused || c.get(key) == "" || c.get(key) == usual.get(key) {
			continue
		}
		if err := c.supported(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%q: got %v, want an error that names the keyword", strings.TrimSpace(line), err)
		}
	}
}

func TestKeywordsHaveReasons(t *testing.T) {
	for key, row := range keywords {
		if row.why == "" || row.role == refused && row.allow == nil &&
			!slices.Contains([]string{"localforward", "remoteforward", "dynamicforward", "refuseconnection"},
				key) {
			t.Errorf("%s: got %+v, want a reason, and the values that are none to refuse", key, row)
		}
	}
}

// A keyword that no table has leaves the host to ssh.
func TestUnknownKeyword(t *testing.T) {
	c := printed(t, "")
	if err := c.supported(); err != nil {
		t.Error(err)
	}
	c.values["newkeyword"] = []string{"no"}
	if err := c.supported(); err == nil {
		t.Error("a keyword that isn't in the table is taken")
	}
}

// The configuration of these tests has every keyword of the installed manual.
func TestKeywordsOfTheManual(t *testing.T) {
	f, err := os.Open("/usr/share/man/man5/ssh_config.5.gz")
	if err != nil {
		t.Skip("no manual here")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, key := range keywordsOf(string(text)) {
		found++
		if !slices.Contains(unprinted, key) &&
			!strings.Contains(strings.ToLower("\n"+everything), "\n"+key+" ") {
			t.Errorf("%s is in the manual, and not in the configuration", key)
		}
	}
	if found < 80 {
		t.Errorf("the manual: got %d keywords, want at least 80", found)
	}
}

// keywordsOf returns the items of the manual's outer lists. Lists in these are of values.
func keywordsOf(manual string) (keys []string) {
	depth := 0
	for line := range strings.Lines(manual) {
		switch words := strings.Fields(line); {
		case len(words) == 0:
		case words[0] == ".Bl":
			depth++
		case words[0] == ".El":
			depth--
		case depth == 1 && len(words) > 2 && words[0] == ".It" && words[1] == "Cm":
			keys = append(keys, strings.ToLower(words[2]))
		}
	}
	return keys
}

// Each keyword about algorithms has a case in which it keeps a server or a key out, and one in
// which it doesn't.
func TestAlgorithmsAreTried(t *testing.T) {
	for _, keyword := range []string{"HostKeyAlgorithms", "KexAlgorithms", "Ciphers", "MACs",
		"CASignatureAlgorithms", "RequiredRSASize",
		"PubkeyAcceptedAlgorithms", "PreferredAuthentications"} {
		if k := keywords[strings.ToLower(keyword)]; k.role == harmless {
			t.Errorf("%s is harmless, want it used or refused", keyword)
		}
		out, in := 0, 0
		for _, c := range diffCases {
			switch line := strings.Join(c.config, "\n"); {
			case !strings.Contains(line, keyword+" "):
			case c.refused:
				out++
			default:
				in++
			}
		}
		if out == 0 || in == 0 {
			t.Errorf("%s: got %d cases that are refused and %d that aren't, want both", keyword, out, in)
		}
	}
}
