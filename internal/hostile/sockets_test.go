package hostile_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// place is an environment in which a client of a local socket looks for its daemon, after another
// user has been there.
type place struct {
	t   *testing.T
	dir string   // scratch, which all users can enter
	env []string // of the client
	cwd string

	listen string      // directory that the other user listens in; "": none
	owner  string      // of that directory, afterwards
	mode   os.FileMode // the same
	seen   string      // that directory's path, as the client has it
	closed []string    // directories whose mode is 0700 afterwards
	// What an error has to name. "": the client has another place, or can do without.
	refused string
}

func (p *place) at(name string) string { return filepath.Join(p.dir, name) }

func (p *place) mkdir(name, owner string, mode os.FileMode) string {
	p.t.Helper()
	path := name
	if !filepath.IsAbs(name) {
		path = p.at(name)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		p.t.Fatal(err)
	}
	hostile.Hand(p.t, path, owner)
	return path
}

// own makes a runtime directory of the victim's, named to it.
func (p *place) own() string {
	dir := p.mkdir("run", "root", 0o755) // or the other user couldn't enter to listen
	p.env = append(p.env, "XDG_RUNTIME_DIR="+dir)
	p.closed = append(p.closed, dir)
	return dir
}

// trap has the other user listen in a directory, which is given to owner and has a mode afterwards.
// The client is to refuse it.
func (p *place) trap(dir, owner string, mode os.FileMode) {
	p.listen, p.owner, p.mode = dir, owner, mode
	p.seen, p.refused = dir, dir
}

// aside is a trap that the client isn't to look at.
func (p *place) aside(dir, owner string, mode os.FileMode) {
	p.trap(dir, owner, mode)
	p.refused = ""
}

// fixed are paths that only one test at a time can use, while no other looks for them.
var fixed sync.RWMutex

// take reserves a path that all victims have in common, also those of other test processes. A file
// that is there already is put aside until the test ends.
func (p *place) take(path string) {
	p.t.Helper()
	lab.Alone(p.t, "hostile")
	aside := path + ".hostile-test"
	if _, err := os.Lstat(aside); err == nil {
		os.RemoveAll(path) // a test that was killed has left both
	} else if err := os.Rename(path, aside); err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		os.RemoveAll(path)
		os.Rename(aside, path)
	})
}

// share has the victim without a home directory, so that it takes the shared place.
func (p *place) share() {
	p.take(shared)
	p.env = append(p.env, "HOME="+p.at("no-home"))
}

// Places of root's: in the directory that all users can write to, and the directory that the system
// makes at a login.
const (
	shared = "/tmp/mitogen-0"
	system = "/run/user/0"
)

// home gives the victim a home directory with an owner.
func (p *place) home(owner string) { p.env = append(p.env, "HOME="+p.mkdir("home", owner, 0o755)) }

// link puts the other user's trap at the end of a link. The trap may belong to another owner.
func (p *place) link(path, to, owner string) {
	p.t.Helper()
	if err := os.Symlink(p.at(to), path); err != nil {
		p.t.Fatal(err)
	}
	hostile.Hand(p.t, path, owner)
	p.trap(p.at(to), owner, 0o700)
	p.seen, p.refused = path, path
}

// laid says what the other user has done, by scenario. Those with "shared" or "system" in their
// names use fixed paths.
var laid = map[string]func(p *place){
	"runtime directory of another user": func(p *place) {
		p.env = append(p.env, "XDG_RUNTIME_DIR="+p.mkdir("run", lab.Other, 0o755))
		p.trap(p.at("run/mitogen"), lab.Other, 0o700)
	},
	"directory of another user": func(p *place) { p.trap(p.own()+"/mitogen", lab.Other, 0o700) },
	"link to another user's":    func(p *place) { p.link(p.own()+"/mitogen", "theirs", lab.Other) },
	"link to one's own":         func(p *place) { p.link(p.own()+"/mitogen", "mine", "root") },
	"handed over":               func(p *place) { p.trap(p.own()+"/mitogen", "root", 0o700) },
	"group writable":            func(p *place) { p.trap(p.own()+"/mitogen", "root", 0o770) },
	"world writable":            func(p *place) { p.trap(p.own()+"/mitogen", "root", 0o777) },
	"sticky": func(p *place) {
		p.trap(p.own()+"/mitogen", "root", 0o777|os.ModeSticky)
	},
	"open to others": func(p *place) { p.trap(p.own()+"/mitogen", "root", 0o711) },
	"relative": func(p *place) {
		p.cwd = p.mkdir("cwd", lab.Other, 0o755)
		p.env = append(p.env, "XDG_RUNTIME_DIR=run")
		p.aside(p.at("cwd/run/mitogen"), lab.Other, 0o700)
	},
	"home, handed": func(p *place) {
		p.home("root")
		p.trap(p.at("home/.cache/mitogen"), "root", 0o700)
	},
	"home, link": func(p *place) {
		p.home("root")
		p.mkdir("home/.cache", "root", 0o700)
		p.link(p.at("home/.cache/mitogen"), "theirs", lab.Other)
	},
	"shared, home of another user": func(p *place) {
		p.take(shared)
		p.home(lab.Other)
		p.aside(p.at("home/.cache/mitogen"), lab.Other, 0o700)
	},
	"shared, cache of another user": func(p *place) {
		p.take(shared)
		p.home("root")
		p.mkdir("home/.cache", lab.Other, 0o755)
		p.aside(p.at("home/.cache/mitogen"), "root", 0o700)
	},
	"shared, though there is a home": func(p *place) {
		p.take(shared)
		p.aside(shared, lab.Other, 0o700)
	},
	"shared, of another user": func(p *place) { p.share(); p.trap(shared, lab.Other, 0o700) },
	"shared, handed":          func(p *place) { p.share(); p.trap(shared, "root", 0o700) },
	"shared, open":            func(p *place) { p.share(); p.trap(shared, lab.Other, 0o777) },
	"shared, link":            func(p *place) { p.share(); p.link(shared, "theirs", lab.Other) },
	"shared, empty": func(p *place) {
		p.env = append(p.env, "XDG_RUNTIME_DIR=")
		p.share()
		p.trap(shared, lab.Other, 0o700)
	},
	"shared, missing": func(p *place) {
		p.env = append(p.env, "XDG_RUNTIME_DIR="+p.at("none"))
		p.share()
		p.aside(shared, lab.Other, 0o755)
	},
	"system's, of another user": func(p *place) {
		p.take(system)
		p.mkdir(system, lab.Other, 0o755)
		p.aside(system+"/mitogen", lab.Other, 0o700)
	},
	"system's, handed": func(p *place) {
		p.take(system)
		p.closed = append(p.closed, p.mkdir(system, "root", 0o755))
		p.trap(system+"/mitogen", "root", 0o700)
	},
	"named": func(p *place) {
		p.env = append(p.env, "MITOGEN_SOCKET="+p.at("theirs/daemon.sock"))
		p.trap(p.at("theirs"), lab.Other, 0o700)
	},
	"named, handed": func(p *place) {
		p.env = append(p.env, "MITOGEN_SOCKET="+p.at("mine/daemon.sock"))
		p.trap(p.at("mine"), "root", 0o700)
	},
	"named, below a directory of another user": func(p *place) {
		p.env = append(p.env, "MITOGEN_SOCKET="+p.at("theirs/mine/daemon.sock"))
		p.mkdir("theirs", lab.Other, 0o755)
		p.trap(p.at("theirs/mine"), "root", 0o700)
		p.refused = p.at("theirs")
	},
	"file instead of a directory": func(p *place) {
		p.seen = p.own() + "/mitogen"
		p.refused = p.seen
		os.WriteFile(p.seen, nil, 0o600)
	},
	// as a daemon that was killed leaves it: it is replaced
	"file instead of a socket": func(p *place) {
		p.seen = p.mkdir(p.own()+"/mitogen", "root", 0o700)
		os.WriteFile(p.seen+"/daemon.sock", nil, 0o777)
		hostile.Hand(p.t, p.seen+"/daemon.sock", lab.Other)
	},
}

// newPlace makes the place of a scenario, or one where nothing has happened.
func newPlace(t *testing.T, scenario string) *place {
	t.Helper()
	lab.Need(t)
	if strings.HasPrefix(scenario, "shared") || strings.HasPrefix(scenario, "system") {
		fixed.Lock()
		t.Cleanup(fixed.Unlock)
	} else if scenario != "" {
		fixed.RLock()
		t.Cleanup(fixed.RUnlock)
	}
	dir, err := os.MkdirTemp("", "hostile-") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, dir: dir}
	p.mkdir(dir, "root", 0o755)
	p.env = append(plainEnviron(), asCommand+"=1", "HOME="+p.mkdir("own-home", "root", 0o700))
	p.cwd = p.mkdir("own-cwd", "root", 0o755)
	if lay := laid[scenario]; lay != nil {
		lay(p)
	}
	return p
}

// spring has the other user listen in the trap, and makes it look as it is to look.
func (p *place) spring(sockets []string) *hostile.Listener {
	p.t.Helper()
	if p.listen == "" {
		return nil
	}
	p.mkdir(p.listen, lab.Other, 0o755)
	for dir := filepath.Dir(p.listen); dir != p.dir &&
		strings.HasPrefix(dir, p.dir); dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&1 == 0 {
			p.t.Fatalf("%s can't be entered", dir)
		}
	}
	var all []string
	for _, name := range sockets {
		all = append(all, filepath.Join(p.listen, name))
	}
	l := hostile.Listen(p.t, all...)
	p.mkdir(p.listen, p.owner, p.mode)
	for _, dir := range p.closed {
		p.mkdir(dir, "root", 0o700)
	}
	return l
}

// squeezed leaves the white space out: Ansible wraps its warnings.
func squeezed(text string) string { return strings.Join(strings.Fields(text), "") }

// silent fails the test if the other user was sent anything.
func silent(t *testing.T, heard []hostile.Heard, output string) {
	t.Helper()
	for _, h := range heard {
		if h.Bytes != "" {
			t.Errorf("another user's socket %s was sent %.400q; the client printed:\n%s", h.Socket, h.Bytes,
				output)
		}
	}
}

// No client of a local socket sends a byte to another user.
func TestSockets(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range clients(t) {
		for scenario := range laid {
			if !c.meets(scenario) {
				continue
			}
			t.Run(c.name+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, scenario)
				v := c.start(t, p)
				l := p.spring(c.sockets(v.pid))
				output, err := v.finish()
				if l != nil {
					silent(t, l.Close(t), output)
				}
				must := c.must && p.refused != ""
				if c.own && strings.HasPrefix(scenario, "named") {
					must = false // what is named is the user's daemon, and a playbook has its own elsewhere
				}
				if must && err == nil || !strings.Contains(squeezed(output), p.refused) {
					t.Errorf("got %v, want an error that names %s:\n%s", err, p.refused, output)
				}
			})
		}
	}
}

// A directory that is exchanged between check and connection is no way to a client's secrets: its
// parent is in a directory of the other user's.
func TestSocketsRace(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range clients(t) {
		if c.path != nil {
			continue // other users can't write to its directory
		}
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, "")
			p.mkdir("home", lab.Other, 0o755)
			mine, theirs := p.mkdir("home/run", "root", 0o755), p.mkdir("home/theirs", lab.Other, 0o755)
			p.env = append(p.env, "XDG_RUNTIME_DIR="+mine)
			p.trap(p.mkdir("home/theirs/mitogen", lab.Other, 0o755), lab.Other, 0o755)
			for range hostile.Rounds(c.few, c.many) {
				v := c.start(t, p)
				// so that the right daemon is no faster to see than the other
				for _, name := range c.sockets(v.pid) {
					p.serve(filepath.Join(p.mkdir("home/run/mitogen", "root", 0o700), name))
				}
				l := p.spring(c.sockets(v.pid))
				s := hostile.Swap(t, mine, theirs)
				output, _ := v.finish()
				s.Close(t)
				silent(t, l.Close(t), output)
			}
		})
	}
}

// serve listens on a socket and hangs up on each client.
func (p *place) serve(socket string) {
	p.t.Helper()
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		p.t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	p.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// The listener of these tests hears the bytes that are sent to it.
func TestListener(t *testing.T) {
	p := newPlace(t, "directory of another user")
	l := p.spring([]string{"a", "b"})
	for _, name := range []string{"a", "b", "b"} {
		c, err := net.Dial("unix", filepath.Join(p.listen, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "to %s", name)
		c.Close()
	}
	if got := fmt.Sprint(l.Close(t)); strings.Count(got, "to b") != 2 ||
		strings.Count(got, "to a") != 1 {
		t.Errorf("got %s, want two words to b and one to a", got)
	}
}
