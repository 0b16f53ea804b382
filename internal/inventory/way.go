package inventory

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// A Way is how one host is entered from the one before it.
type Way struct {
	Name    string          // of the host
	Target  string          // hops, joined by +
	Options connect.Options // what the inventory says; zero where it says nothing
}

// Chain returns the ways to h: those that lead to it, as its variable mitogen_via says, then its own. The variables are
// Ansible's: ansible_connection, ansible_host, _port, _user, _password, ansible_ssh_…, ansible_become and ansible_become_…,
// ansible_python_interpreter; and mitogen_target, which is a target in place of all that says where. An error names the
// variable and where it was given.
func (v *Inventory) Chain(h *Host) ([]Way, error) {
	return v.chain(h, nil)
}

func (v *Inventory) chain(h *Host, below []string) ([]Way, error) {
	if slices.Contains(below, h.Name) {
		return nil, fmt.Errorf("host %s: mitogen_via leads in a circle: %s", h.Name, strings.Join(append(below, h.Name), ", "))
	}
	vars := &reader{host: h, vars: v.Vars(h)}
	way, via := vars.way(), vars.text("mitogen_via")
	if vars.err != nil {
		return nil, vars.err
	}
	if via == "" {
		return []Way{way}, nil
	}
	chain, err := v.via(via, append(below, h.Name))
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return append(chain, way), nil
}

// via reads "[[become_method:]become_user@]inventory_host", where a host that the inventory hasn't is a target.
func (v *Inventory) via(text string, below []string) ([]Way, error) {
	if h := v.hosts[text]; h != nil {
		return v.chain(h, below)
	}
	account, name, become := strings.Cut(text, "@")
	h := v.hosts[name]
	if !become || h == nil {
		if _, err := connect.ParseTarget(text); err != nil {
			return nil, fmt.Errorf("mitogen_via %q is no host of the inventory, and no target: %w", text, err)
		}
		return []Way{{Name: text, Target: text}}, nil
	}
	chain, err := v.chain(h, below)
	if err != nil {
		return nil, err
	}
	method, user, ok := strings.Cut(account, ":")
	if !ok {
		method, user = "sudo", account
	}
	last := &chain[len(chain)-1]
	last.Name = text
	last.Target += "+" + connect.Hop{Method: method, User: user}.String()
	if _, err := connect.ParseTarget(last.Target); err != nil {
		return nil, fmt.Errorf("mitogen_via %q: %w", text, err)
	}
	return chain, nil
}

// reader reads a host's variables; err is the first problem.
type reader struct {
	host *Host
	vars map[string]Var
	err  error
}

func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("host %s: %s: %s", r.host.Name, name, fmt.Sprintf(format, args...))
		if where := r.vars[name].Where; where != "" {
			r.err = fmt.Errorf("%s: %w", where, r.err)
		}
	}
}

var reference = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// text is the first of the variables that is there, as text. References to other variables are followed.
func (r *reader) text(names ...string) string {
	for _, name := range names {
		v, ok := r.vars[name]
		if !ok {
			continue
		}
		if v.Vault {
			r.fail(name, "is encrypted")
			return ""
		}
		return r.resolve(name, v.Value, 0)
	}
	return ""
}

func (r *reader) resolve(name string, value any, depth int) string {
	switch x := value.(type) {
	case nil:
		return ""
	case string:
		if !strings.Contains(x, "{{") && !strings.Contains(x, "{%") {
			return x
		}
		text := reference.ReplaceAllStringFunc(x, func(m string) string {
			other := reference.FindStringSubmatch(m)[1]
			if other == "inventory_hostname" {
				return r.host.Name
			}
			v, ok := r.vars[other]
			if !ok || v.Vault || depth > 10 {
				r.fail(name, "refers to %s, which isn't known here", other)
				return ""
			}
			return r.resolve(name, v.Value, depth+1)
		})
		if strings.Contains(text, "{{") || strings.Contains(text, "{%") {
			r.fail(name, "is a template that only Ansible can fill in")
		}
		return text
	case bool:
		return map[bool]string{true: "yes", false: "no"}[x]
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	r.fail(name, "is not text")
	return ""
}

func (r *reader) flag(names ...string) bool {
	text := strings.ToLower(r.text(names...))
	return slices.Contains([]string{"yes", "true", "1", "on", "y", "t"}, text)
}

func (r *reader) words(names ...string) []string {
	w, err := shellWords(r.text(names...))
	if err != nil {
		r.fail(names[0], "%v", err)
	}
	return w
}

// containers are connections, by Ansible's names for them, and the methods that are their like.
var containers = map[string]string{
	"docker": "docker", "community.docker.docker": "docker", "community.docker.docker_api": "docker",
	"podman": "podman", "containers.podman.podman": "podman",
	"buildah": "buildah", "containers.podman.buildah": "buildah",
	"kubectl": "kubectl", "kubernetes.core.kubectl": "kubectl",
	"lxc": "lxc", "community.general.lxc": "lxc",
	"lxd": "lxd", "community.general.lxd": "lxd",
	"incus": "incus", "community.general.incus": "incus",
	"jail": "jail", "community.general.jail": "jail",
	"chroot": "chroot", "community.general.chroot": "chroot",
	"machinectl": "machinectl", "nspawn": "nspawn", "setns": "setns",
	"mitogen_docker": "docker", "mitogen_podman": "podman", "mitogen_buildah": "buildah", "mitogen_kubectl": "kubectl",
	"mitogen_lxc": "lxc", "mitogen_lxd": "lxd", "mitogen_incus": "incus", "mitogen_jail": "jail", "mitogen_machinectl": "machinectl",
}

// way makes target and options.
func (r *reader) way() Way {
	w := Way{Name: r.host.Name}
	o := &w.Options
	if python := r.text("ansible_python_interpreter"); python != "" && !strings.HasPrefix(python, "auto") {
		o.Python = []string{python}
	}
	o.SSH = connect.SSHOptions{
		Path:         r.text("ansible_ssh_executable"),
		IdentityFile: r.text("ansible_ssh_private_key_file", "ansible_private_key_file"),
		Password:     connect.Secret(r.text("ansible_ssh_password", "ansible_ssh_pass", "ansible_password")),
		Passphrase:   connect.Secret(r.text("ansible_ssh_private_key_passphrase")),
		Args:         append(r.words("ansible_ssh_common_args"), r.words("ansible_ssh_extra_args")...),
	}
	if _, given := r.vars["ansible_ssh_host_key_checking"]; given && !r.flag("ansible_ssh_host_key_checking") {
		o.SSH.HostKeys = connect.HostKeysOff
	}
	var hops []string
	if target := r.text("mitogen_target"); target != "" {
		hops = append(hops, target)
	} else {
		hops = append(hops, r.place())
	}
	if r.flag("ansible_become") {
		hops = append(hops, r.become(o))
	}
	w.Target = strings.Join(hops, "+")
	if _, err := connect.ParseTarget(w.Target); err != nil && r.err == nil {
		r.err = fmt.Errorf("host %s: %w", r.host.Name, err)
	}
	return w
}

// place is the hop into the host.
func (r *reader) place() string {
	kind := r.text("ansible_connection")
	host := r.text("ansible_host", "ansible_ssh_host")
	user := r.text("ansible_user", "ansible_ssh_user")
	port := 0
	if method, ok := containers[kind]; ok {
		if host == "" {
			host = r.host.Name
		}
		name := r.text("ansible_"+method+"_host", "ansible_"+method+"_pod")
		if name == "" {
			name = host
		}
		if method == "kubectl" {
			name = r.pod(name)
			user = r.text("ansible_kubectl_context")
		}
		return connect.Hop{Method: method, User: user, Host: name}.String()
	}
	switch kind {
	case "local", "ansible.builtin.local":
		return "local"
	case "", "ssh", "smart", "paramiko", "paramiko_ssh", "mitogen", "mitogen_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh":
	default:
		r.fail("ansible_connection", "%q is none that is known here", kind)
		return "local"
	}
	if host == "" {
		if r.host.Name == "localhost" && kind == "" && user == "" {
			return "local" // as Ansible's implicit one
		}
		host = r.host.Name
		switch hops, err := connect.ParseTarget(host); {
		case err != nil: // an IPv6 address without brackets, or else it is refused later
		case len(hops) > 1 || hops[0].Method != "ssh":
			return host // a line of a plain list
		default:
			host, port = hops[0].Host, hops[0].Port
			if user == "" {
				user = hops[0].User
			}
		}
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, host = host[:i], host[i+1:]
	}
	if text := r.text("ansible_port", "ansible_ssh_port"); text != "" {
		var err error
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			r.fail("ansible_port", "bad port %q", text)
		}
	}
	if strings.HasPrefix(host, "[") {
		host = strings.Trim(host, "[]")
	}
	return connect.Hop{Method: "ssh", User: user, Host: host, Port: port}.String()
}

// pod is "[namespace/]pod[/container]".
func (r *reader) pod(name string) string {
	namespace, container := r.text("ansible_kubectl_namespace"), r.text("ansible_kubectl_container")
	if namespace != "" || container != "" {
		name = namespace + "/" + name
	}
	if container != "" {
		name += "/" + container
	}
	return name
}

// become is the hop into another account.
func (r *reader) become(o *connect.Options) string {
	method := r.text("ansible_become_method")
	if method == "" {
		method = "sudo"
	}
	method = strings.TrimPrefix(strings.TrimPrefix(method, "ansible.builtin."), "community.general.")
	user := r.text("ansible_become_user", "ansible_sudo_user")
	password := connect.Secret(r.text("ansible_become_password", "ansible_become_pass", "ansible_sudo_password", "ansible_sudo_pass"))
	path := r.text("ansible_become_exe", "ansible_sudo_exe")
	switch method {
	case "sudo":
		o.Sudo = connect.SudoOptions{Path: path, Password: password}
		for _, f := range r.words("ansible_become_flags", "ansible_sudo_flags") {
			switch f {
			case "-H":
				o.Sudo.SetHome = true
			case "-i":
				o.Sudo.Login = true
			case "-S", "-n":
			default:
				o.Sudo.Args = append(o.Sudo.Args, f)
			}
		}
	case "su":
		o.Su = connect.SuOptions{Path: path, Password: password, Args: r.words("ansible_become_flags", "ansible_su_flags")}
	case "doas":
		o.Doas = connect.DoasOptions{Path: path, Password: password, Args: r.words("ansible_become_flags", "ansible_doas_flags")}
	case "machinectl":
		return connect.Hop{Method: method, User: user, Host: ".host"}.String()
	default:
		r.fail("ansible_become_method", "%q is none that is known here: sudo, su, doas, machinectl", method)
	}
	return connect.Hop{Method: method, User: user}.String()
}
