package hostile_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/hostile"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// Where the user's daemon is, by what the environment says: docs/protocol, section 9, has the
// rule.
var places = map[string]func(p *place) (socket string){
	"runtime directory": func(p *place) string {
		dir := p.mkdir("run", "root", 0o700)
		p.env = append(p.env, "XDG_RUNTIME_DIR="+dir)
		return dir + "/mitogen/daemon.sock"
	},
	"runtime directory that is missing": func(p *place) string {
		p.env = append(p.env, "XDG_RUNTIME_DIR="+p.at("none"))
		return p.at("none/mitogen/daemon.sock")
	},
	"system's": func(p *place) string {
		p.take(system)
		p.mkdir(system, "root", 0o700)
		return system + "/mitogen/daemon.sock"
	},
	"system's, open": func(p *place) string {
		p.take(system)
		p.mkdir(system, "root", 0o755)
		return p.at("own-home/.cache/mitogen/daemon.sock")
	},
	"home": func(p *place) string { return p.at("own-home/.cache/mitogen/daemon.sock") },
	"home that others can write to": func(p *place) string {
		p.take(shared)
		p.env = append(p.env, "HOME="+p.mkdir("home", "root", 0o777))
		return shared + "/daemon.sock"
	},
	"long home": func(p *place) string {
		p.take(shared)
		p.env = append(p.env, "HOME="+p.mkdir(strings.Repeat("long", 20), "root", 0o700))
		return shared + "/daemon.sock"
	},
	"no home": func(p *place) string { p.share(); return shared + "/daemon.sock" },
	"relative": func(p *place) string {
		p.env = append(p.env, "XDG_RUNTIME_DIR=run")
		p.mkdir("own-cwd/run/mitogen", "root", 0o700)
		return p.at("own-home/.cache/mitogen/daemon.sock")
	},
	"named": func(p *place) string {
		p.env = append(p.env, "MITOGEN_SOCKET="+p.mkdir("mine", "root", 0o700)+"/s")
		return p.at("mine/s")
	},
}

// All clients and the daemon agree on where the user's daemon is.
func TestPlaces(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for name, lay := range places {
		t.Run(name, func(t *testing.T) {
			lab.Need(t)
			p := newPlace(t, "")
			socket := lay(p)
			plays := hostile.Long() || name == "home" || name == "no home"
			// it goes on while all clients come
			daemon := (&client{command: mitogen("daemon"), limit: time.Hour}).start(t, p)
			await(t, daemon, socket)
			for _, c := range clients(t) {
				if !c.must || c.own || c.path != nil || c.name == "stop" || c.release != "" && !plays {
					continue
				}
				v := c.start(t, p)
				if output, err := v.finish(); err != nil {
					t.Errorf("client %s: got %v, want success; output: %s", c.name, err, output)
				}
			}
			tree := (&client{command: mitogen("tree")}).start(t, p)
			if output, err := tree.finish(); err != nil || strings.Contains(output, lab.Play) != plays {
				t.Errorf("got %v, want a context for %s: %v, of the playbook:\n%s", err, lab.Play, plays,
					output)
			}
			stop := (&client{command: mitogen("daemon", "stop")}).start(t, p)
			if output, err := stop.finish(); err != nil {
				t.Errorf("stop: %v: %s", err, output)
			}
			if err := daemon.cmd.Wait(); err != nil {
				t.Errorf("the daemon: %v", err)
			}
		})
	}
}

// await lets a daemon start, and returns when it has its socket.
func await(t *testing.T, daemon *victim, socket string) {
	t.Helper()
	daemon.in.Write([]byte("\n"))
	for range 6000 {
		if _, err := os.Lstat(socket); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the daemon has no socket at %s", socket)
}
