package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// A kind is a connection of Ansible's or Mitogen's.
type kind struct {
	plugin   string   // whose options hold
	prefixes []string // of variables that only this connection has
	place    func(r *reader, o *connect.Options) []methods.Hop
}

var (
	sshKind = kind{"ssh", []string{"ansible_ssh_", "ansible_sshpass_", "ansible_private_key",
		"ansible_host_key_"}, (*reader).ssh}

	kinds = map[string]kind{
		"ssh":          sshKind,
		"paramiko_ssh": {"paramiko_ssh", []string{"ansible_paramiko_"}, (*reader).paramiko},
		"local":        {"local", []string{"ansible_local_"}, (*reader).local},
		"docker":       {"docker", []string{"ansible_docker_"}, (*reader).docker},
		"docker_api":   {"docker_api", []string{"ansible_docker_"}, (*reader).dockerAPI},
		"podman":       {"podman", []string{"ansible_podman_"}, (*reader).podman},
		"buildah":      {"buildah", []string{"ansible_buildah_"}, (*reader).buildah},
		"kubectl":      {"kubectl", []string{"ansible_kubectl_"}, (*reader).kubectl},
		"lxc":          {"lxc", []string{"ansible_lxc_"}, (*reader).lxc},
		"lxd":          {"lxd", []string{"ansible_lxd_"}, (*reader).lxd},
		"incus":        {"incus", []string{"ansible_incus_"}, (*reader).incus},
		"jail":         {"jail", []string{"ansible_jail_"}, (*reader).jail},
		"chroot":       {"chroot", []string{"ansible_chroot_"}, (*reader).chroot},
		"machinectl":   {"mitogen", nil, (*reader).machine},
		"nspawn":       {"mitogen", nil, (*reader).nspawn},
		"setns":        {"mitogen", nil, (*reader).setns},
		"mitogen_sudo": {"sudo", []string{"ansible_become_", "ansible_sudo_"}, accountOf("sudo")},
		"mitogen_su":   {"su", []string{"ansible_become_", "ansible_su_"}, accountOf("su")},
		"mitogen_doas": {"doas", []string{"ansible_become_", "ansible_doas_"}, accountOf("doas")},
	}

	// fullNames are the names of connections that have one in a collection.
	fullNames = map[string]string{
		"": "ssh", "smart": "ssh", "mitogen": "ssh",
		"ansible.builtin.ssh": "ssh", "ansible.legacy.ssh": "ssh", "ansible.legacy.smart": "ssh",
		"ansible.builtin.smart": "ssh",
		"paramiko":              "paramiko_ssh", "ansible.builtin.paramiko_ssh": "paramiko_ssh",
		"ansible.legacy.paramiko_ssh": "paramiko_ssh",
		"ansible.builtin.local":       "local", "ansible.legacy.local": "local",
		"community.docker.docker": "docker", "community.general.docker": "docker",
		"community.docker.docker_api": "docker_api",
		"containers.podman.podman":    "podman", "containers.podman.buildah": "buildah",
		"kubernetes.core.kubectl": "kubectl",
		"community.general.lxc":   "lxc", "community.general.lxd": "lxd",
		"community.general.incus": "incus",
		"community.general.jail":  "jail", "community.general.chroot": "chroot",
	}
)

// kind returns the host's connection. mitogen_target replaces every other setting.
func (r *reader) kind() kind {
	if target := r.text("mitogen", "target"); target != "" {
		k := sshKind
		k.place = func(r *reader, o *connect.Options) []methods.Hop { return r.target(target, o) }
		return k
	}
	s := r.given("any", "connection")
	text := r.asText(s.name, s.value)
	name := text
	if full, ok := fullNames[text]; ok {
		name = full
	}
	k, ok := kinds[name]
	if short, of := strings.CutPrefix(text, "mitogen_"); of && !ok {
		k, ok = kinds[short]
	}
	if !ok {
		r.fail(s.name, "%q is none that is known here: %s", text, strings.Join(sortedKeys(kinds), ", "))
		return kinds["local"]
	}
	return k
}

// target returns the hops of mitogen_target.
func (r *reader) target(text string, o *connect.Options) []methods.Hop {
	r.sshOptions(o)
	hops, err := methods.ParseTarget(text)
	if err != nil {
		r.fail("mitogen_target", "%v", err)
	}
	return hops
}

func (r *reader) local(*connect.Options) []methods.Hop { return []methods.Hop{{Method: "local"}} }

// ssh is the hop into a host. A name that can't be one of Ansible's hosts may be a target.
func (r *reader) ssh(o *connect.Options) []methods.Hop {
	r.sshOptions(o)
	return r.login("ssh", "host", o)
}

// login makes hops of the options that say where and as whom.
func (r *reader) login(plugin, option string, o *connect.Options) []methods.Hop {
	s := r.given(plugin, option)
	text := r.asText(s.name, s.value)
	hops, err := []methods.Hop(nil), error(nil)
	if s.name == "inventory_hostname" && r.host.line {
		hops, err = listed(text)
	}
	if err == nil && hops == nil {
		hops, err = loginAddress(text)
	}
	switch {
	case err == nil && s.name == "inventory_hostname" && !r.host.line && strings.Contains(text, "+"):
		r.fail(s.name, "%q may be meant as a target; mitogen_target can name one, and ansible_user"+
			" a user with a +", text)
		return nil
	case err != nil && s.name == "inventory_hostname":
		r.fail(s.name, "%v; mitogen_target can name a target", err)
		return nil
	case err != nil:
		r.fail(s.name, "%v", err)
		return nil
	case s.name != "inventory_hostname" && hops[0].Port != 0 && !strings.HasPrefix(text, "ssh://"):
		r.fail(s.name, "%q has a port in it: the variable for that is ansible_port", text)
	}
	return r.asWhom(plugin, s.name, hops, o)
}

// asWhom gives user and port to the last hop by ssh.
func (r *reader) asWhom(plugin, name string, hops []methods.Hop, o *connect.Options) []methods.Hop {
	user, port := r.text(plugin, "remote_user"), r.number(plugin, "port", "port", 1, 65535)
	at := len(hops) - 1
	for at > 0 && hops[at].Method != "ssh" {
		at--
	}
	if hops[at].Method != "ssh" && (user != "" || port != 0) {
		r.fail(name, "is entered by %s, and ansible_user and ansible_port are for ssh", hops[at].Method)
	}
	if user == "" {
		r.named(name, hops, o)
	} else {
		hops[at].User = user
		r.enter(r.given(plugin, "remote_user").name, hops[at])
	}
	if port != 0 {
		hops[at].Port = port
	}
	return hops
}

// named refuses two users: in ssh the one of its arguments goes before the one of "user@host", here
// it comes after.
func (r *reader) named(name string, hops []methods.Hop, o *connect.Options) {
	if hops[0].User != "" && slices.ContainsFunc(o.SSH.Args, namesUser.MatchString) {
		r.fail(name, "names a user, and so do the arguments for ssh: the variable for that is "+
			"ansible_user")
	}
}

// loginAddress reads "[user@]host" and "ssh://[user@]host[:port]" as ssh does, and a port behind a
// host, which ssh wouldn't take.
func loginAddress(text string) ([]methods.Hop, error) {
	if strings.HasPrefix(text, "ssh://") {
		h, err := methods.ParseHop(text)
		return []methods.Hop{h}, err
	}
	h := methods.Hop{Method: "ssh", Host: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		if h.User, h.Host = text[:i], text[i+1:]; h.User == "" {
			return nil, fmt.Errorf("%q has no user before its @", text)
		}
	}
	host, port, err := hostPort(h.Host)
	if err == nil {
		h.Host, h.Port = host, port
		_, err = methods.FormatTarget([]methods.Hop{h})
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no name or address of a host", text)
	}
	return []methods.Hop{h}, nil
}

// hostPort reads "host[:port]". A name with other colons is one of ssh's configuration, unless it
// begins as a hop of a target does.
func hostPort(text string) (host string, port int, err error) {
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if isAddress6(inner) {
		return inner, 0, nil
	}
	bracketed := inner != text && text[len(text)-1] == ']' // brackets are part of a name for ssh
	if strings.ContainsAny(text, `+\`) || strings.HasPrefix(text, "//") || bracketed {
		return "", 0, errors.New("part of a target")
	}
	hop, err := methods.ParseHop("ssh:" + text)
	if i := strings.LastIndexByte(text, ':'); err != nil && i >= 0 {
		method, _, _ := strings.Cut(text, ":")
		if strings.Trim(text[i+1:], "0123456789") == "" || slices.Contains(methods.Methods(), method) {
			return "", 0, err
		}
		return text, 0, nil
	}
	return hop.Host, hop.Port, err
}

func isAddress6(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// outside are the methods that a name with one hop may have. Other methods enter this machine
// itself.
var outside = []string{"ssh", "docker", "docker-run", "podman", "podman-run", "buildah", "kubectl",
	"lxc", "lxd", "incus", "jail"}

// listed reads a name that is a target rather than a host's: hops joined by +, or a method with its
// argument. Only a person who writes a line can mean that. A name in a mapping is often another
// author's (of machines that a program has found). It returns nil for all other names. Those are
// names for ssh, also if they are called like a method: "sudo", "local:2222".
func listed(name string) ([]methods.Hop, error) {
	method, argument, given := strings.Cut(name, ":")
	isHop := given && slices.Contains(methods.Methods(), method) &&
		strings.Trim(argument, "0123456789") != "" && !isAddress6(name)
	if !strings.Contains(name, "+") && !isHop {
		return nil, nil
	}
	hops, err := methods.ParseTarget(name)
	if err != nil {
		return nil, err
	}
	for _, h := range hops {
		if h.Method == "exec" || len(hops) == 1 && !slices.Contains(outside, h.Method) {
			return nil, fmt.Errorf("%q as a host's name would be a command on this machine", name)
		}
	}
	return hops, nil
}
