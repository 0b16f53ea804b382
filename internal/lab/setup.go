package lab

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const sudoersFile = "/etc/sudoers.d/mitogen-lab"

// worksTimeout bounds how long a lab that other processes use may look as if it didn't work. On a
// busy machine its sshd may not answer within a second.
const worksTimeout = time.Minute

// up returns the lab that is there, if it works, or makes it anew if no process uses it.
func up() (*Lab, error) {
	var l *Lab
	works, err := worksOrUnused(useLock, worksTimeout, func() bool {
		var err error
		l, err = Find()
		return err == nil && l.works()
	})
	if err != nil {
		return nil, err
	}
	if works {
		return l, l.addUsers() // it may be of a release that has fewer
	}
	if err := down(); err != nil { // remains of an interrupted run
		return nil, err
	}
	if err := os.MkdirAll(file("home"), 0o755); err != nil {
		return nil, err
	}
	l = &Lab{
		Host: "127.0.0.1", Password: rand.Text(), Passphrase: rand.Text(),
		Key: file("key"), LockedKey: file("locked_key"), KnownHosts: file("known_hosts"),
		Config: file("ssh_config"),
	}
	for _, step := range []func() error{l.makeKeys, l.addUsers, l.addSudoers, addDoas, l.startSSHD,
		l.writeClient, l.save} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// worksOrUnused waits until works returns true or no process has the lock, and tells which.
func worksOrUnused(name string, wait time.Duration, works func() bool) (bool, error) {
	for end := time.Now().Add(wait); !works(); time.Sleep(100 * time.Millisecond) {
		f, err := lock(name, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			f.Close()
			return false, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return false, err
		}
		if !time.Now().Before(end) {
			return false, errInUse
		}
	}
	return true, nil
}

func (l *Lab) works() bool {
	c, err := net.DialTimeout("tcp", l.address(), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	_, err = os.Stat(sudoersFile)
	return err == nil && isSSHD(l.Pid)
}

func (l *Lab) address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// sshd must be started by its whole path.
const sshd = "/usr/sbin/sshd"

func checkTools() error {
	for tool, pkg := range map[string]string{
		sshd: "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "sudo": "sudo",
		"useradd": "passwd", "setpriv": "util-linux", "visudo": "sudo",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: apt-get install %s", tool, pkg)
		}
	}
	return nil
}

func run(stdin string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, bytes.TrimSpace(out))
	}
	return nil
}

func (l *Lab) makeKeys() error {
	var authorized []byte
	for name, passphrase := range map[string]string{l.Key: "", l.LockedKey: l.Passphrase,
		file("host_key"): ""} {
		if err := run("", "ssh-keygen", "-q", "-t", "ed25519", "-C", "mitogen lab", "-N", passphrase,
			"-f", name); err != nil {
			return err
		}
		if name == file("host_key") {
			continue
		}
		pub, err := os.ReadFile(name + ".pub")
		if err != nil {
			return err
		}
		authorized = append(authorized, pub...)
	}
	return os.WriteFile(file("authorized_keys"), authorized, 0o644)
}

// addUsers makes the users that are missing.
func (l *Lab) addUsers() error {
	for _, name := range users {
		if _, err := user.Lookup(name); err == nil {
			continue
		}
		if err := l.addUser(name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) addSudoers() error {
	text := "User_Alias MITOLAB = " + strings.Join(users, ", ") + "\n" +
		"Defaults:MITOLAB !lecture, timestamp_timeout=0, passwd_tries=3\n" +
		"Defaults:" + TTY + " requiretty, use_pty\n" +
		"Defaults:" + Log + " log_input, log_output, iolog_dir=" + file("iolog") + "\n"
	for name, tag := range map[string]string{Free: "NOPASSWD: ", Pass: "", TTY: "", Log: "NOPASSWD: ",
		Play: "NOPASSWD: "} {
		text += name + " ALL=(ALL:ALL) " + tag + "ALL\n"
	}
	draft := file("sudoers")
	if err := os.WriteFile(draft, []byte(text), 0o440); err != nil {
		return err
	}
	if err := run("", "visudo", "-c", "-q", "-f", draft); err != nil { // a bad file would lock sudo
		return err
	}
	return run("", "install", "-m", "440", draft, sudoersFile)
}

// addDoas allows doas to those whom it allows sudo, unless it is configured already.
func addDoas() error {
	if _, err := os.Stat(doasFile); err == nil {
		return nil
	}
	return os.WriteFile(doasFile, []byte(doasMark+"permit nopass "+Free+"\npermit "+Pass+"\n"), 0o644)
}

// HasDoas tells whether doas is there, and configured for the lab.
func HasDoas() bool {
	text, err := os.ReadFile(doasFile)
	_, missing := exec.LookPath("doas")
	return err == nil && missing == nil && strings.HasPrefix(string(text), doasMark)
}

const (
	doasFile = "/etc/doas.conf"
	doasMark = "# made by mitogen-lab\n"
)

const sshdConfig = `ListenAddress %s
Port %d
HostKey %s
PidFile none
AuthorizedKeysFile %s
PasswordAuthentication yes
KbdInteractiveAuthentication no
UsePAM no
AcceptEnv LANG LC_*
UseDNS no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
MaxStartups 1000
MaxSessions 1000
Subsystem sftp internal-sftp
Match User %s
  AllowTcpForwarding no
`

// startSSHD tries ports until one is free.
func (l *Lab) startSSHD() error {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // the package's own place for this
		return err
	}
	var err error
	for range 20 {
		l.Port = 20000 + mrand.IntN(12000)
		if err = l.trySSHD(); err == nil {
			return nil
		}
	}
	return err
}

func (l *Lab) trySSHD() error {
	config := file("sshd_config")
	text := fmt.Sprintf(sshdConfig, l.Host, l.Port, file("host_key"), file("authorized_keys"), Log)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	argv := []string{sshd, "-D", "-e", "-f", config}
	// Since OpenSSH 9.8, tests of wrong passwords would shut us out.
	if noPenalty := []string{"-o", "PerSourcePenalties=no"}; run("",
		append([]string{sshd, "-t", "-f", config}, noPenalty...)...) == nil {
		argv = append(argv, noPenalty...)
	}
	// Through a shell that ends, so that it isn't a child of whichever test comes first.
	const script = `log=$1; shift; setsid "$@" </dev/null >"$log" 2>&1 & echo $!`
	out, err := exec.Command("sh",
		append([]string{"-c", script, "sh", file("sshd.log")}, argv...)...).Output()
	if err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	if l.Pid, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	return l.awaitSSHD()
}

func (l *Lab) awaitSSHD() error {
	for range 200 {
		log, err := os.ReadFile(file("sshd.log"))
		if err == nil && bytes.Contains(log, []byte("Server listening on")) {
			return nil
		}
		if syscall.Kill(l.Pid, 0) != nil || bytes.Contains(log, []byte("Cannot bind")) {
			return fmt.Errorf("sshd ended: %s", bytes.TrimSpace(log))
		}
		time.Sleep(25 * time.Millisecond)
	}
	stop(l.Pid)
	return fmt.Errorf("sshd doesn't listen")
}

// writeClient makes what ssh needs to log in. A host named like a user is that user here.
func (l *Lab) writeClient() error {
	pub, err := os.ReadFile(file("host_key.pub"))
	if err != nil {
		return err
	}
	key := strings.Join(strings.Fields(string(pub))[:2], " ")
	if err := os.WriteFile(l.KnownHosts, fmt.Appendf(nil, "[%s]:%d %s\n", l.Host, l.Port, key),
		0o644); err != nil {
		return err
	}
	text := "Host mito\n  User " + Free + "\n"
	for _, name := range append(users, "root") {
		text += "Host " + name + "\n  User " + name + "\n"
	}
	text += fmt.Sprintf(`Host mito %s root
  HostName %s
  Port %d
  IdentityFile %s
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %s
  StrictHostKeyChecking yes
`, strings.Join(users, " "), l.Host, l.Port, l.Key, l.KnownHosts)
	return os.WriteFile(l.Config, []byte(text), 0o644)
}

func (l *Lab) save() error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file("lab.json"), b, 0o600)
}

// down removes whatever there is.
func down() error {
	if l, err := Find(); err == nil && isSSHD(l.Pid) {
		stop(l.Pid)
	}
	for _, name := range users {
		if err := removeUser(name); err != nil {
			return err
		}
	}
	if err := os.Remove(sudoersFile); err != nil && !os.IsNotExist(err) {
		return err
	}
	if text, err := os.ReadFile(doasFile); err == nil && strings.HasPrefix(string(text), doasMark) {
		if err := os.Remove(doasFile); err != nil {
			return err
		}
	}
	return os.RemoveAll(Dir)
}

func isSSHD(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(cmdline, []byte(file("sshd_config")))
}

// stop ends a process and waits a little for that.
func stop(pid int) {
	syscall.Kill(pid, syscall.SIGTERM)
	for range 100 {
		if !isSSHD(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	syscall.Kill(pid, syscall.SIGKILL)
}

// endProcesses kills what runs as one of our users.
func endProcesses(uid string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		var st syscall.Stat_t
		if syscall.Stat(dir, &st) == nil && strconv.Itoa(int(st.Uid)) == uid {
			if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}
