package daemonclient

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshconf"
)

// A request means what it would mean in the client's process: relative names begin in the client's
// directory, and the variables that lead programs elsewhere have the client's values. The daemon
// has a directory and an environment of its own, of the client that started it.

// leading are the variables that decide where programs of connection methods lead, besides those
// that ssh's configuration uses.
var leading = []string{"PATH", "HOME", "LANG", "SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "KRB5CCNAME",
	"KRB5_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "KUBECONFIG"}

// leadingPrefixes begin the names of further ones.
var leadingPrefixes = []string{"DOCKER_", "CONTAINER_", "CONTAINERS_", "PODMAN_", "BUILDAH_",
	"LXD_", "INCUS_", "LXC_",
	// what ssh sends, as it is usually configured, and what an interpreter goes by that starts
	"LC_", "PYTHON"}

// Origin is the part of a client's environment that its requests depend on. A variable of null
// isn't set there.
type Origin struct {
	Dir string             `json:"dir,omitempty"`
	Env map[string]*string `json:"env,omitempty"`
}

// here returns this process's origin for a target.
func here(target string, o connect.Options) *Origin {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	names := slices.Concat(leading, environNames())
	if hops, err := methods.ParseTarget(target); err == nil {
		for i, h := range hops {
			if h.Method == "ssh" && (i == 0 || !o.SSH.FromHop) {
				names = append(names, engine.SSHVariables(h, o)...)
			}
		}
	}
	x := &Origin{Dir: dir, Env: map[string]*string{}}
	for _, name := range names {
		x.Env[name] = nil
		if value, set := os.LookupEnv(name); set {
			x.Env[name] = &value
		}
	}
	return x
}

// environNames are the names in this process's environment that have one of the prefixes.
func environNames() []string {
	var names []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if slices.ContainsFunc(leadingPrefixes,
			func(p string) bool { return strings.HasPrefix(name, p) }) {
			names = append(names, name)
		}
	}
	return names
}

// Engine returns x as an engine has it. What only the daemon has is taken away. Nil, of clients
// that don't say, is the daemon's own.
func (x *Origin) Engine() *engine.Origin {
	if x == nil {
		return nil
	}
	env := map[string]*string{}
	for _, name := range environNames() {
		env[name] = nil
	}
	maps.Copy(env, x.Env)
	e := &engine.Origin{Dir: x.Dir}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if value := env[name]; value != nil {
			name += "=" + *value
		}
		e.Env = append(e.Env, name)
	}
	return e
}

// Absolute returns o with names of files as they are anywhere, for a client in dir. What is
// executed in a hop isn't this machine's.
func Absolute(target string, o connect.Options, dir string) connect.Options {
	o.SSH.ConfigFile = sshconf.AbsoluteFile(o.SSH.ConfigFile, dir)
	o.SSH.IdentityFile = sshconf.AbsoluteFile(o.SSH.IdentityFile, dir)
	o.SSH.Args, o.SSH.FirstArgs = sshconf.Absolute(o.SSH.Args, dir), sshconf.Absolute(o.SSH.FirstArgs,
		dir)
	return absolutePrograms(target, o, dir)
}

// absolutePrograms does the same for the program of a target's first hop.
func absolutePrograms(target string, o connect.Options, dir string) connect.Options {
	hops, err := methods.ParseTarget(target)
	if err != nil {
		return o
	}
	paths := map[string]*string{"ssh": &o.SSH.Path, "sudo": &o.Sudo.Path, "su": &o.Su.Path,
		"doas": &o.Doas.Path}
	if path := paths[hops[0].Method]; path != nil {
		*path = absoluteProgram(*path, dir)
		return o
	}
	if p, set := o.Programs[hops[0].Method]; set {
		p.Path = absoluteProgram(p.Path, dir)
		o.Programs = maps.Clone(o.Programs)
		o.Programs[hops[0].Method] = p
	}
	return o
}

// absoluteProgram leaves what is looked for in PATH.
func absoluteProgram(path, dir string) string {
	if !strings.Contains(path, "/") || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Locate returns where a relative name of the client's leads, which isn't in the daemon's own
// directory.
func (m *Message) Locate(name string) (string, error) {
	switch {
	case filepath.IsAbs(name):
		return name, nil
	case m.Origin == nil || !filepath.IsAbs(m.Origin.Dir):
		return "", fmt.Errorf("search path: %s is relative, and the request has no directory",
			printable.Line(name))
	}
	return filepath.Join(m.Origin.Dir, name), nil
}
