package sshnative

import (
	"bytes"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// A world has the keys of servers and users.
type world struct {
	*lab.Lab
	dir string
}

// hostKeys are the host keys, by file; those with a certificate after the name have one of the
// authority.
var serverKeys = [][]string{
	{"-t", "ed25519", "-f", "host-ed25519"}, {"-t", "ecdsa", "-f", "host-ecdsa"},
	{"-t", "rsa", "-b", "2048", "-f", "host-rsa"},
	{"-t", "ed25519", "-f", "ca"}, {"-t", "ed25519", "-f", "otherca"},
	{"-t", "rsa", "-b", "2048", "-f", "rsaca"},
	{"-t", "ed25519", "-f", "cert-good"}, {"-t", "ed25519", "-f", "cert-expired"},
	{"-t", "ed25519", "-f", "cert-elsewhere"}, {"-t", "ed25519", "-f", "cert-user"},
	{"-t", "ed25519", "-f", "cert-rsaca"}, {"-t", "ecdsa", "-f", "stranger"},
	// Of users.
	{"-t", "ed25519", "-f", "id-ed25519"}, {"-t", "ecdsa", "-f", "id-ecdsa"},
	{"-t", "rsa", "-b", "2048", "-f", "id-rsa"}, {"-t", "ed25519", "-f", "id-unknown"},
	{"-t", "ecdsa", "-f", "id-unknown2"}, {"-t", "rsa", "-b", "1024", "-f", "id-short"},
	{"-t", "ed25519", "-f", "id-certified"},
	{"-t", "rsa", "-b", "2048", "-f", "id-rsacertified"}, {"-t", "ecdsa", "-f", "id-usercertexpired"},
}

// certificates are made by ssh-keygen with these arguments.
var certificates = [][]string{
	{"-s", "ca", "-h", "-I", "good", "-n", "127.0.0.1,other", "cert-good.pub"},
	{"-s", "ca", "-h", "-I", "expired", "-n", "127.0.0.1", "-V", "20010101:20020101",
		"cert-expired.pub"},
	{"-s", "ca", "-h", "-I", "elsewhere", "-n", "elsewhere", "cert-elsewhere.pub"},
	{"-s", "ca", "-I", "user", "-n", "127.0.0.1", "cert-user.pub"},
	{"-s", "rsaca", "-h", "-I", "rsaca", "-t", "rsa-sha2-256", "-n", "127.0.0.1", "cert-rsaca.pub"},
	{"-s", "ca", "-I", "certified", "-n", lab.Free + "," + lab.Pass, "id-certified.pub"},
	{"-s", "ca", "-I", "rsacertified", "-n", lab.Free, "id-rsacertified.pub"},
	{"-s", "ca", "-I", "expired", "-n", lab.Free, "-V", "20010101:20020101", "id-usercertexpired.pub"},
}

// settings are the servers, by name.
var settings = map[string]string{
	"plain":     "HostKey host-ed25519\nHostKey host-rsa\nHostKey host-ecdsa\n",
	"sha1":      "HostKey host-rsa\nHostKeyAlgorithms ssh-rsa\n",
	"rsa":       "HostKey host-rsa\n",
	"good":      "HostKey cert-good\nHostCertificate cert-good-cert.pub\nHostKey host-rsa\n",
	"expired":   "HostKey cert-expired\nHostCertificate cert-expired-cert.pub\n",
	"elsewhere": "HostKey cert-elsewhere\nHostCertificate cert-elsewhere-cert.pub\n",
	"rsaca":     "HostKey cert-rsaca\nHostCertificate cert-rsaca-cert.pub\n",
	"group14": "HostKey host-ed25519\nKexAlgorithms " +
		"diffie-hellman-group14-sha1,diffie-hellman-group14-sha256\n",
	"oldname": "HostKey host-ed25519\nKexAlgorithms curve25519-sha256@libssh.org\n",
	"cbc":     "HostKey host-ed25519\nCiphers aes128-cbc\nMACs hmac-sha1\n",
	"ctr":     "HostKey host-ed25519\nCiphers aes128-ctr\nMACs hmac-sha1,hmac-sha2-256\n",
	"two":     "HostKey host-ed25519\nAuthenticationMethods publickey,password\n",
	"twokeys": "HostKey host-ed25519\nAuthenticationMethods publickey,publickey\n",
	"nokeys":  "HostKey host-ed25519\nPubkeyAuthentication no\n",
	"oldsigs": "HostKey host-ed25519\nPubkeyAcceptedAlgorithms ssh-rsa\n",
	"pam": "HostKey host-ed25519\nUsePAM yes\nKbdInteractiveAuthentication yes\n" +
		"PasswordAuthentication no\n",
	"gssapi":    "HostKey host-ed25519\nGSSAPIAuthentication yes\n",
	"noforward": "HostKey host-ed25519\nAllowTcpForwarding no\n",
}

// sshd is called by its whole name, for it starts itself again.
var sshd = func() string {
	if path, err := exec.LookPath("sshd"); err == nil {
		return path
	}
	return "/usr/sbin/sshd"
}()

const serverConfig = `StrictModes no
LogLevel DEBUG1
UseDNS no
UsePAM no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
AcceptEnv *
MaxAuthTries 20
`

// newWorld makes keys and certificates.
func newWorld(t *testing.T) *world {
	w := &world{lab.Need(t), t.TempDir()}
	for _, dir := range []string{w.dir, filepath.Dir(w.dir)} { // for the account that logs in
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range serverKeys {
		w.keygen(t, append([]string{"-N", "", "-C", ""}, args...)...)
	}
	for _, args := range certificates {
		w.keygen(t, args...)
	}
	w.keygen(t, "-t", "ed25519", "-N", "secret", "-C", "", "-f", "id-locked")
	w.keygen(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "", "-f", "id-pem")
	w.keygen(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret", "-C", "", "-f", "id-lockedpem")
	w.write(t, "id-unlocked", string(w.read(t, "id-locked")), 0o600)
	w.keygen(t, "-p", "-P", "secret", "-N", "", "-f", "id-unlocked")
	w.write(t, "crlf", strings.ReplaceAll(string(w.read(t, "id-ed25519")), "\n", "\r\n"), 0o600)
	var authorized []byte
	for _, name := range []string{"id-ed25519", "id-ecdsa", "id-rsa", "id-short", "id-locked",
		"id-pem", "id-lockedpem"} {
		authorized = append(authorized, w.read(t, name+".pub")...)
	}
	authorized = append(authorized, "cert-authority "+string(w.read(t, "ca.pub"))...)
	w.write(t, "authorized_keys", string(authorized), 0o644)
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(w.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(w.file(name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.file(name), mode); err != nil {
		t.Fatal(err)
	}
}

func (w *world) keygen(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...)
	cmd.Dir = w.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
	}
}

var fileSetting = regexp.MustCompile(`(?m)^(HostKey|HostCertificate) `)

// A stage has the servers of one case. Each connection has an sshd of its own, whose log holds
// nothing else.
type stage struct {
	*world
	tmp     string
	servers map[string]*server

	mu    sync.Mutex // protects following, and what servers log
	conns int        // that have an sshd
	ended sync.Cond  // one of them has ended
}

// A server starts sshd for each connection.
type server struct {
	port int
	logs []*bytes.Buffer
}

func (w *world) stage(t *testing.T) *stage {
	s := &stage{world: w, tmp: t.TempDir(), servers: map[string]*server{}}
	s.ended.L = &s.mu
	return s
}

// server returns a server by name, listening.
func (s *stage) server(t *testing.T, name string) *server {
	t.Helper()
	if v := s.servers[name]; v != nil {
		return v
	}
	own, known := settings[name]
	if !known {
		t.Fatalf("no server %q", name)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	v := &server{port: l.Addr().(*net.TCPAddr).Port}
	s.servers[name] = v
	conf := filepath.Join(s.tmp, name+".conf")
	// What is said first holds.
	write(t, conf, fileSetting.ReplaceAllString(own, "$1 "+s.dir+"/")+serverConfig+
		"AuthorizedKeysFile "+s.file("authorized_keys")+"\n")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(t, v, conn.(*net.TCPConn), conf)
		}
	}()
	return v
}

// serve starts sshd for a connection.
func (s *stage) serve(t *testing.T, v *server, conn *net.TCPConn, conf string) {
	socket, err := conn.File()
	conn.Close()
	if err != nil {
		t.Error(err)
		return
	}
	log := &bytes.Buffer{}
	cmd := exec.Command(sshd, "-i", "-e", "-f", conf)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, log
	s.mu.Lock()
	v.logs = append(v.logs, log)
	s.conns++
	s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		t.Error(err)
	}
	socket.Close()
	go func() {
		cmd.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns--
		s.ended.Signal()
	}()
}

// seen counts the requests to the servers in one connection attempt.
type seen struct {
	offered   []string // keys and certificates
	passwords int      // for the account of the host x
	strays    int      // for other accounts
	accepted  []string // "server: account"
	strangers []string // accounts that no server has
}

var (
	offeredLine  = regexp.MustCompile(`userauth_pubkey: publickey test pkalg (\S+) pkblob (\S+ \S+)`)
	passwordLine = regexp.MustCompile(`(?:Failed|Accepted) (?:password|` +
		`keyboard-interactive/pam) for (\S+) from`)
	strangerLine = regexp.MustCompile(`Invalid user (.*) from`)
	acceptedLine = regexp.MustCompile(`Accepted \S+ for (\S+) from`)
)

// watch calls f and returns what the servers were asked meanwhile.
func (s *stage) watch(f func()) (r seen) {
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.conns > 0 {
		s.ended.Wait()
	}
	for _, name := range slices.Sorted(maps.Keys(s.servers)) {
		for _, log := range s.servers[name].logs {
			r.read(name, log.Bytes())
		}
		s.servers[name].logs = nil
	}
	return r
}

func (r *seen) read(name string, log []byte) {
	for line := range bytes.Lines(log) {
		if m := offeredLine.FindSubmatch(line); m != nil {
			r.offered = append(r.offered, name+": "+string(m[1])+" "+string(m[2]))
		}
		if m := passwordLine.FindSubmatch(line); m != nil && string(m[1]) == lab.Free {
			r.passwords++
		} else if m != nil {
			r.strays++
		}
		if m := strangerLine.FindSubmatch(line); m != nil {
			r.strangers = append(r.strangers, string(m[1]))
		}
		if m := acceptedLine.FindSubmatch(line); m != nil {
			r.accepted = append(r.accepted, name+": "+string(m[1]))
		}
	}
}
