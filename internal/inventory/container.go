package inventory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// tell sets what a method's program is told.
func tell(o *connect.Options, method string, p connect.ProgramOptions) {
	if p.Path == "" && len(p.Args)+len(p.ExecArgs) == 0 {
		return
	}
	if o.Programs == nil {
		o.Programs = map[string]connect.ProgramOptions{}
	}
	o.Programs[method] = p
}

// with returns flag and value, or nothing.
func with(flag, value string) []string {
	if value == "" {
		return nil
	}
	return []string{flag, value}
}

// container is the hop into what a plugin's remote_addr names.
func (r *reader) container(method, plugin, option, user string) []methods.Hop {
	s := r.given(plugin, option)
	return r.enter(s.name, methods.Hop{Method: method, Host: r.asText(s.name, s.value), User: user})
}

// enter returns a hop that the variable names.
func (r *reader) enter(name string, h methods.Hop) []methods.Hop {
	if _, err := methods.FormatTarget([]methods.Hop{h}); err != nil {
		r.fail(name, "%v", err)
	}
	return []methods.Hop{h}
}

// docker is the client, which has its own configuration. Ansible cuts its arguments at blanks only.
func (r *reader) docker(o *connect.Options) []methods.Hop {
	tell(o, "docker", connect.ProgramOptions{
		Path: r.program("mitogen", "docker_path"),
		Args: strings.Fields(r.text("docker", "docker_extra_args")), ExecArgs: r.dockerExec("docker"),
	})
	user := r.given("docker", "remote_user")
	if user.value == nil { // ansible_ssh_user, which only this plugin falls back to
		user = r.given("any", "remote_user")
	}
	return r.container("docker", "docker", "remote_addr", r.asText(user.name, user.value))
}

func (r *reader) dockerExec(plugin string) []string {
	args := with("--workdir", r.text(plugin, "working_dir"))
	if privileged, _ := r.flag(plugin, "privileged"); privileged {
		args = append(args, "--privileged")
	}
	return args
}

// dockerAPI talks to the daemon without the client, so that the context that the client's
// configuration names is not for it.
func (r *reader) dockerAPI(o *connect.Options) []methods.Hop {
	args := []string{"--context", "default"}
	if host := r.text("docker_api", "docker_host"); host != "" {
		args = []string{"--host", host}
	}
	tls, _ := r.flag("docker_api", "tls")
	verify, _ := r.flag("docker_api", "validate_certs")
	if verify {
		args = append(args, "--tlsverify")
	} else if tls {
		args = append(args, "--tls")
	}
	for _, option := range []string{"ca_path --tlscacert", "client_cert --tlscert",
		"client_key --tlskey"} {
		name, flag, _ := strings.Cut(option, " ")
		args = append(args, with(flag, r.text("docker_api", name))...)
	}
	tell(o, "docker", connect.ProgramOptions{Path: r.program("mitogen", "docker_path"), Args: args,
		ExecArgs: r.dockerExec("docker_api")})
	return r.container("docker", "docker_api", "remote_addr", r.text("docker_api", "remote_user"))
}

func (r *reader) podman(o *connect.Options) []methods.Hop {
	tell(o, "podman", connect.ProgramOptions{Path: r.own("podman_executable", "podman", "podman_path"),
		Args:     r.words("podman", "podman_extra_args"),
		ExecArgs: with("--workdir", r.text("podman", "working_directory"))})
	return r.made("podman", "podman", r.text("podman", "remote_user"))
}

func (r *reader) buildah(o *connect.Options) []methods.Hop {
	tell(o, "buildah", connect.ProgramOptions{Path: r.own("buildah_executable", "buildah",
		"buildah_path"),
		Args:     r.words("buildah", "buildah_extra_args"),
		ExecArgs: with("--workingdir", r.text("buildah", "working_directory"))})
	user := r.text("buildah", "remote_user")
	if user == "root" { // Ansible leaves that to the container
		user = ""
	}
	return r.made("buildah", "buildah", user)
}

// own returns a program's path by the plugin's option, or else by Mitogen's.
func (r *reader) own(option, plugin, mitogen string) string {
	if path := r.program(plugin, option); path != "" {
		return path
	}
	return r.program("mitogen", mitogen)
}

// made is the hop into what a plugin enters that takes its place before it knows its options: a
// variable of its own that says otherwise is documented, but not followed.
func (r *reader) made(method, plugin, user string) []methods.Hop {
	s, at := r.given(plugin, "remote_addr"), r.addr()
	if s.value != at.value {
		if s.name == "inventory_hostname" {
			s.name = at.name
		}
		r.fail(s.name, "names another place than ansible_host and the host's name do, and Ansible "+
			"doesn't follow it")
	}
	return r.enter(at.name, methods.Hop{Method: method, Host: r.asText(at.name, at.value), User: user})
}

// addr returns what Ansible gives plugins that have no option of their own for it.
func (r *reader) addr() setting {
	if s := r.given("any", "remote_addr"); s.value != nil {
		return s
	}
	return setting{"inventory_hostname", r.host.Name}
}

// kubectl enters a pod, in the order of Ansible's arguments: of those that name the same, the last
// counts.
func (r *reader) kubectl(o *connect.Options) []methods.Hop {
	text := func(option string) string {
		if isFalse(r.given("kubectl", option).value) { // 0 and False are nothing to this plugin
			return ""
		}
		return r.text("kubectl", option)
	}
	args := slices.Concat(with("--kubeconfig", text("kubectl_kubeconfig")),
		with("--server", text("kubectl_host")),
		with("--client-certificate", text("client_cert")), with("--client-key", text("client_key")),
		with("--certificate-authority", text("ca_cert")))
	if s := r.given("kubectl", "validate_certs"); !isEmpty(s.value) {
		verify, _ := r.flag("kubectl", "validate_certs")
		args = append(args, "--insecure-skip-tls-verify="+strconv.FormatBool(!verify))
	}
	tell(o, "kubectl", connect.ProgramOptions{Path: r.program("mitogen", "kubectl_path"), Args: args,
		ExecArgs: strings.Fields(text("kubectl_extra_args"))})
	s := r.given("kubectl", "kubectl_pod")
	if isFalse(s.value) {
		s = r.addr()
	}
	pod := r.asText(s.name, s.value)
	namespace, container := text("kubectl_namespace"), text("kubectl_container")
	if strings.Contains(pod+namespace+container, "/") {
		r.fail(s.name, "pod %q, namespace %q, container %q: a name with a / in it", pod, namespace,
			container)
	}
	name := pod
	if namespace != "" || container != "" {
		name = namespace + "/" + name
	}
	if container != "" {
		name += "/" + container
	}
	return r.enter(s.name, methods.Hop{Method: "kubectl", User: text("kubectl_context"), Host: name})
}

func (r *reader) lxc(o *connect.Options) []methods.Hop {
	tell(o, "lxc", connect.ProgramOptions{Path: r.program("mitogen", "lxc_attach_path")})
	return r.container("lxc", "lxc", "remote_addr", "")
}

func (r *reader) lxd(o *connect.Options) []methods.Hop {
	return r.instance("lxd", r.program("mitogen", "lxc_path"),
		with("--project", r.text("lxd", "project")), o)
}

func (r *reader) incus(o *connect.Options) []methods.Hop {
	project := r.text("incus", "project")
	if project == "" {
		project = "default"
	}
	return r.instance("incus", r.program("mitogen", "incus_path"), with("--project", project), o)
}

// instance enters a container of lxd or incus: the first part of a name with dots, of the remote
// "local" unless another is named, whatever the client's own default is. Another user than root is
// become inside.
func (r *reader) instance(method, program string, args []string, o *connect.Options) []methods.Hop {
	tell(o, method, connect.ProgramOptions{Path: program, Args: args})
	s := r.given(method, "remote_addr")
	name, _, _ := strings.Cut(r.asText(s.name, s.value), ".")
	remote := "local"
	if given := r.given(method, "remote"); given.value != nil {
		if remote = r.asText(given.name, given.value); remote == "" {
			r.fail(given.name, "is empty, which names no remote")
		}
	}
	if strings.Contains(name, ":") || strings.Contains(remote, ":") {
		r.fail(s.name, "%q of remote %q: a name with a colon in it", name, remote)
	}
	hops := r.enter(s.name, methods.Hop{Method: method, Host: remote + ":" + name})
	user := r.text(method, "remote_user")
	if user == "" || user == "root" {
		return hops
	}
	o.Su.Path = r.program(method, method+"_become_method")
	if o.Su.Path == "" {
		o.Su.Path = "/bin/su"
	}
	return append(hops, r.enter("ansible_user", methods.Hop{Method: "su", User: user})...)
}

func (r *reader) jail(*connect.Options) []methods.Hop {
	user := r.text("jail", "remote_user")
	if s := r.given("any", "remote_user"); r.asText(s.name, s.value) != user {
		r.fail(r.given("jail", "remote_user").name,
			"names another user than ansible_user does, and Ansible doesn't follow it")
	}
	return r.made("jail", "jail", user)
}

func (r *reader) chroot(o *connect.Options) []methods.Hop {
	tell(o, "chroot", connect.ProgramOptions{Path: r.program("chroot", "chroot_exe")})
	return r.made("chroot", "chroot", "")
}

func (r *reader) machine(o *connect.Options) []methods.Hop {
	tell(o, "machinectl", connect.ProgramOptions{Path: r.program("mitogen", "machinectl_path")})
	return r.container("machinectl", "mitogen", "host", r.text("mitogen", "user"))
}

func (r *reader) nspawn(*connect.Options) []methods.Hop {
	return r.container("nspawn", "mitogen", "host", r.text("mitogen", "user"))
}

// setns enters a container's namespaces by way of mitogen_kind, or a process's by its number.
func (r *reader) setns(*connect.Options) []methods.Hop {
	for _, option := range []string{"docker_path", "podman_path", "lxc_path", "lxc_info_path",
		"incus_path", "machinectl_path"} {
		if s := r.given("mitogen", option); !isEmpty(s.value) {
			r.fail(s.name, "can't be used here: setns looks for programs in PATH")
		}
	}
	if user := r.given("mitogen", "user"); !isEmpty(user.value) && user.value != "root" {
		r.fail(user.name, "can't be used here: setns keeps the user")
	}
	s := r.given("mitogen", "host")
	host := r.asText(s.name, s.value)
	if kind := r.text("mitogen", "kind"); kind != "" {
		host = kind + "/" + host
	}
	return r.enter(s.name, methods.Hop{Method: "setns", Host: host})
}
