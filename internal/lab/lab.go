// Package lab is the machine that tests connect to: an sshd on a loopback port with throw-away
// keys, and users with different kinds of sudo. It needs root, and is shared by all test processes:
// the first one sets it up, the last one takes it down, unless "lab up" (./cmd/lab) has asked to
// keep it.
//
// Everything lives in Dir, except for the users (their names begin with "mito"), one file in
// /etc/sudoers.d, doas.conf where there was none, and the tree of Root, which is kept.
package lab

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// Dir holds keys, configurations and homes.
const Dir = "/run/mitogen-lab"

// The users. All log in by the lab's key or password.
const (
	Free = "mitofree" // sudo without a password
	Pass = "mitopass" // sudo with a password
	TTY  = "mitotty"  // the same, with requiretty and use_pty
	// without a password, with input and output logged; sshd makes no connections for it
	Log   = "mitolog"
	None  = "mitonone"  // not in sudoers
	Play  = "mitoplay"  // as Free, for playbooks: their tests look for whatever is left of this user
	Other = "mitoother" // as None, and hostile: what belongs to this user is a trap (package hostile)
)

var users = []string{Free, Pass, TTY, Log, None, Play, Other}

// A Lab holds the addresses and secrets that a test needs.
type Lab struct {
	Host       string // of sshd, an address
	Port       int
	Password   string // of all users
	Key        string // file of a private key that logs in as any user, and root
	LockedKey  string // another one, with a passphrase
	Passphrase string
	KnownHosts string // file that holds sshd's key
	// ssh configuration: the host "mito" is user Free there, a host named like a user is that user
	Config string
	Pid    int // of sshd

	use *os.File // locked, shared, while in use
}

// errInUse says that tests are running.
var errInUse = errors.New("lab is in use")

// Need returns the lab for a test, and skips the test where there can't be one: that needs root.
func Need(t testing.TB) *Lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the lab needs root")
	}
	l, err := Use()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

// Main runs a package's tests with the lab up all the time, if there can be one: for its TestMain.
// More of them than there are processors run at a time, as they mostly wait for what they have
// started, unless -parallel says how many.
func Main(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
	if os.Getuid() == 0 {
		l, err := Use()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer l.Release()
	}
	return m.Run()
}

// Use sets the lab up, or finds it, and keeps it until Release or this process's end.
func Use() (l *Lab, err error) {
	err = locked(func() error {
		if l, err = up(); err != nil {
			return err
		}
		l.use, err = lock(useLock, syscall.LOCK_SH)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("set up lab: %w", err)
	}
	return l, nil
}

// Release gives the lab back. The last one to do so takes it down.
func (l *Lab) Release() {
	l.use.Close()
	locked(func() error {
		if _, err := os.Stat(file("keep")); err == nil {
			return nil
		}
		return downUnused(0)
	})
}

// Up sets the lab up, to stay until Down.
func Up() (l *Lab, err error) {
	syscall.Umask(0o022) // other users are to read what it makes
	err = locked(func() error {
		if l, err = up(); err != nil {
			return err
		}
		return os.WriteFile(file("keep"), nil, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("set up lab: %w", err)
	}
	return l, nil
}

// Down removes every trace. It waits up to 10 s for tests to finish.
func Down() error {
	if err := locked(func() error { return downUnused(10 * time.Second) }); err != nil {
		return fmt.Errorf("take down lab: %w", err)
	}
	return nil
}

// Find returns the lab if it is up.
func Find() (*Lab, error) {
	b, err := os.ReadFile(file("lab.json"))
	if err != nil {
		return nil, fmt.Errorf("find lab: %w", err)
	}
	l := &Lab{}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("find lab: %w", err)
	}
	return l, nil
}

// As makes a command that is executed as one of the users: what is done by root can't show what
// sudo asks.
func As(user string, argv ...string) []string {
	return append([]string{"setpriv", "--reuid=" + user, "--regid=" + user, "--init-groups", "--"},
		argv...)
}

func file(name string) string { return filepath.Join(Dir, name) }

// locked runs f while no other process sets the lab up or takes it down.
func locked(f func() error) error {
	if err := checkTools(); err != nil {
		return err
	}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	l, err := lock(setupLock, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	return f()
}

// Locked directories: they are there anyhow, and no other program locks them.
const (
	setupLock = "/run"
	useLock   = "/etc/sudoers.d"
)

// Alone waits until no other test, in any process, has what this name stands for, and keeps it
// until the test ends.
func Alone(t testing.TB, name string) {
	t.Helper()
	place := filepath.Join(setupLock, "mitogen-"+name)
	err := os.MkdirAll(place, 0o700)
	var f *os.File
	if err == nil {
		f, err = lock(place, syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// lock waits for a lock, which lasts until the file is closed.
func lock(name string, how int) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// An aloneness is of an account's home.
type aloneness struct {
	tests int
	file  *os.File // the home, locked
}

var (
	alone   = map[string]*aloneness{} // by the account
	aloneMu sync.Mutex                // protects alone
)

// Alone keeps tests of other processes that ask for it away from an account until t ends: what
// tests look for in a home, or among an account's processes, must be their own. Tests of one
// process share it.
func (l *Lab) Alone(t testing.TB, account string) {
	t.Helper()
	aloneMu.Lock()
	defer aloneMu.Unlock()
	a := alone[account]
	if a == nil {
		f, err := lock(file(filepath.Join("home", account)), syscall.LOCK_EX)
		if err != nil {
			t.Fatal(err)
		}
		a = &aloneness{file: f}
		alone[account] = a
	}
	a.tests++
	t.Cleanup(func() {
		aloneMu.Lock()
		defer aloneMu.Unlock()
		if a.tests--; a.tests == 0 {
			a.file.Close()
			delete(alone, account)
		}
	})
}

func downUnused(wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
		f, err := lock(useLock, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			defer f.Close()
			return down()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if !time.Now().Before(end) {
			return errInUse
		}
	}
}
