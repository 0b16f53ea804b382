package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/linksim"
)

// Net is a row of hosts, each in a network namespace of its own with an sshd: this machine reaches
// the first alone, that the second, and so on. They share users, keys and files with the lab.
type Net struct {
	// ssh configuration, which knows the hosts by name; without any way from one to the next
	Config string
	Names  []string // "hop1", …; an account that may use sudo

	prefix    string
	subnet    int // a number that no other row has
	sshds     []*exec.Cmd
	links     []*linksim.Link
	emulate   bool
	emulators []*linksim.Emulator
}

// NewBadNet makes a row of n hosts whose links do what Link tells them to. It skips the test where
// there can't be any.
func NewBadNet(t testing.TB, n int) *Net {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("bad links need TUN devices: %v", err)
	}
	return newNet(t, n, 0, true)
}

// Link is the one before host i, of a NewBadNet.
func (n *Net) Link(i int) *linksim.Emulator { return n.emulators[i-1] }

// NewNet makes a row of n hosts, with a round-trip time on each link besides the network's own. It
// skips the test where there can't be any.
func NewNet(t testing.TB, n int, rtt time.Duration) *Net {
	t.Helper()
	return newNet(t, n, rtt, false)
}

func newNet(t testing.TB, n int, rtt time.Duration, emulate bool) *Net {
	t.Helper()
	l := Need(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need iproute2")
	}
	hosts := &Net{
		Config:  filepath.Join(t.TempDir(), "config"),
		emulate: emulate,
	}
	hosts.subnet = claim(t)
	hosts.prefix = fmt.Sprintf("mi%ds%d", os.Getpid()%100000, hosts.subnet)
	t.Cleanup(hosts.down)
	if out, err := exec.Command("ip", "netns", "add",
		hosts.namespace(1)).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %s", out)
	}
	key, err := os.ReadFile(file("host_key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	known, config := "", ""
	for i := 1; i <= n; i++ {
		if err := hosts.add(t, i); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("hop%d", i)
		hosts.Names = append(hosts.Names, name)
		known += name + " " + strings.Join(strings.Fields(string(key))[:2], " ") + "\n"
		host, port := hosts.Address(i), 22
		if rtt > 0 {
			if err := hosts.slow(i, rtt); err != nil {
				t.Fatal(err)
			}
			host, port = hosts.near(i), slowPort
		}
		config += fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  HostKeyAlias %s\n", name, host, port,
			name)
	}
	knownHosts := filepath.Join(t.TempDir(), "known_hosts")
	config += fmt.Sprintf("Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  "+
		"IdentityAgent none\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n",
		Free, l.Key, knownHosts)
	for name, text := range map[string]string{hosts.Config: config, knownHosts: known} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return hosts
}

func (n *Net) namespace(i int) string { return fmt.Sprintf("%s-%d", n.prefix, i) }

// claim returns a number that no other row has, in any process, until the test ends. All rows begin
// in this machine's own network: with the same addresses, the one would be reached by the other's
// link.
func claim(t testing.TB) int {
	t.Helper()
	for number := 1; number < 255; number++ {
		place := filepath.Join(setupLock, "mitogen-subnets", strconv.Itoa(number))
		if err := os.MkdirAll(place, 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := lock(place, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			t.Cleanup(func() { f.Close() })
			return number
		}
	}
	t.Fatal("all 254 networks for tests are in use")
	return 0
}

// Address returns the address of host i, on the side of the host before. A link has four addresses.
func (n *Net) Address(i int) string { return fmt.Sprintf("10.213.%d.%d", n.subnet, 4*i+2) }

// near is the other side's.
func (n *Net) near(i int) string { return fmt.Sprintf("10.213.%d.%d", n.subnet, 4*i+1) }

// slowPort is the port at which the simulated link to a host begins, on the side of the host
// before.
const slowPort = 2222

// slow makes a link to host i's sshd that has a round-trip time.
func (n *Net) slow(i int, rtt time.Duration) error {
	var l net.Listener
	err := n.within(i-1, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(n.near(i), strconv.Itoa(slowPort)))
		return err
	})
	if err != nil {
		return err
	}
	n.links = append(n.links, linksim.New(l, func() (c net.Conn, err error) {
		err = n.within(i-1, func() (err error) {
			c, err = net.DialTimeout("tcp", net.JoinHostPort(n.Address(i), "22"), 10*time.Second)
			return err
		})
		return c, err
	}, rtt))
	return nil
}

// within calls f where host i is: the sockets that it makes are there for good.
func (n *Net) within(i int, f func() error) error {
	if i == 0 {
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		where, err := os.Open("/run/netns/" + n.namespace(i))
		if err == nil {
			err = unix.Setns(int(where.Fd()), unix.CLONE_NEWNET)
			where.Close()
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// in makes a command that is executed where host i is; 0 is this machine.
func (n *Net) in(i int, argv ...string) []string {
	if i == 0 {
		return argv
	}
	return append([]string{"ip", "netns", "exec", n.namespace(i)}, argv...)
}

// add makes host i, and its link to the one before.
func (n *Net) add(t testing.TB, i int) error {
	near, far := fmt.Sprintf("%sn%d", n.prefix, i), fmt.Sprintf("%sf%d", n.prefix, i)
	if i > 1 {
		if err := run("", "ip", "netns", "add", n.namespace(i)); err != nil {
			return err
		}
	}
	if n.emulate {
		if err := n.addEmulator(i, near, far); err != nil {
			return err
		}
	} else if err := n.addCable(i, near, far); err != nil {
		return err
	}
	for _, argv := range [][]string{
		n.in(i, "ip", "addr", "add", n.Address(i)+"/30", "dev", far),
		n.in(i, "ip", "link", "set", far, "up"),
		n.in(i, "ip", "link", "set", "lo", "up"),
		n.in(i-1, "ip", "addr", "add", n.near(i)+"/30", "dev", near),
		n.in(i-1, "ip", "link", "set", near, "up"),
	} {
		if err := run("", argv...); err != nil {
			return err
		}
	}
	config := filepath.Join(t.TempDir(), "sshd_config")
	text := fmt.Sprintf(sshdConfig, n.Address(i), 22, file("host_key"), file("authorized_keys"), Log)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	argv := n.in(i, sshd, "-D", "-e", "-f", config)
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return err
	}
	n.sshds = append(n.sshds, cmd)
	return n.await(i)
}

// addCable makes the two ends of a link.
func (n *Net) addCable(i int, near, far string) error {
	for _, argv := range [][]string{
		{"ip", "link", "add", near, "type", "veth", "peer", "name", far},
		{"ip", "link", "set", far, "netns", n.namespace(i)},
	} {
		if err := run("", argv...); err != nil {
			return err
		}
	}
	if i == 1 {
		return nil
	}
	return run("", "ip", "link", "set", near, "netns", n.namespace(i-1))
}

// addEmulator makes the two ends of a link whose conditions can be set.
func (n *Net) addEmulator(i int, near, far string) error {
	var ends [2]*os.File
	for k, name := range []string{near, far} {
		err := n.within(i-1+k, func() (err error) {
			ends[k], err = linksim.OpenTUN(name)
			return err
		})
		if err != nil {
			return err
		}
	}
	n.emulators = append(n.emulators, linksim.Emulate(ends[0], ends[1], uint64(i)))
	return nil
}

// await returns when host i's sshd listens.
func (n *Net) await(i int) error {
	argv := n.in(i, "bash", "-c", "exec 3<>/dev/tcp/"+n.Address(i)+"/22")
	var err error
	for range 200 {
		if err = run("", argv...); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("sshd in a network namespace doesn't listen: %w", err)
}

// Cut takes the link before host i down, and tells no process of it; Mend restores it.
func (n *Net) Cut(i int) error { return n.link(i, "down") }

// Mend undoes Cut.
func (n *Net) Mend(i int) error { return n.link(i, "up") }

func (n *Net) link(i int, state string) error {
	return run("", n.in(i-1, "ip", "link", "set", fmt.Sprintf("%sn%d", n.prefix, i), state)...)
}

func (n *Net) down() {
	for _, k := range n.links {
		k.Close()
	}
	for _, e := range n.emulators {
		e.Close()
	}
	for _, cmd := range n.sshds {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for i := len(n.sshds) + 1; i > 0; i-- {
		run("", "ip", "netns", "del", n.namespace(i))
	}
	run("", "ip", "link", "del", n.prefix+"n1")
}
