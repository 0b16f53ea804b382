package inventory

import (
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A connectionOption is an option of Ansible's configuration that says where or as whom plays go.
// It isn't used here, where the inventory alone says that, so the user is told.
type connectionOption struct {
	readingOption
	plugin string // the connection that it is for; "" for all but local
	vars   string // with "," between: a host that has one of them doesn't need the option
}

var connectionOptions = []connectionOption{
	{readingOption{"ANSIBLE_REMOTE_USER", "defaults", "remote_user", ""}, "",
		"ansible_user,ansible_ssh_user"},
	{readingOption{"ANSIBLE_REMOTE_PORT", "defaults", "remote_port", "22"}, "ssh",
		"ansible_port,ansible_ssh_port"},
	{readingOption{"ANSIBLE_PRIVATE_KEY_FILE", "defaults", "private_key_file", ""}, "ssh",
		"ansible_ssh_private_key_file,ansible_private_key_file"},
	{readingOption{"ANSIBLE_TRANSPORT", "defaults", "transport", "smart|ssh"}, "",
		"ansible_connection"},
	{readingOption{"ANSIBLE_SSH_ARGS", "ssh_connection", "ssh_args", ""}, "ssh", "ansible_ssh_args"},
	{readingOption{"ANSIBLE_SSH_COMMON_ARGS", "ssh_connection", "ssh_common_args", ""}, "ssh",
		"ansible_ssh_common_args"},
	{readingOption{"ANSIBLE_SSH_EXTRA_ARGS", "ssh_connection", "ssh_extra_args", ""}, "ssh",
		"ansible_ssh_extra_args"},
	{readingOption{"ANSIBLE_SSH_EXECUTABLE", "ssh_connection", "ssh_executable", "ssh"}, "ssh",
		"ansible_ssh_executable"},
	{readingOption{"ANSIBLE_BECOME", "privilege_escalation", "become", "no|No|false|False|0"}, "",
		"ansible_become"},
	{readingOption{"ANSIBLE_BECOME_USER", "privilege_escalation", "become_user", "root"}, "",
		"ansible_become_user"},
	{readingOption{"ANSIBLE_BECOME_METHOD", "privilege_escalation", "become_method", "sudo"}, "",
		"ansible_become_method"},
	{readingOption{"ANSIBLE_BECOME_EXE", "privilege_escalation", "become_exe", ""}, "",
		"ansible_become_exe"},
	{readingOption{"ANSIBLE_BECOME_FLAGS", "privilege_escalation", "become_flags", ""}, "",
		"ansible_become_flags"},
	{readingOption{"ANSIBLE_SUDO_USER", "sudo_become_plugin", "user", "root"}, "",
		"ansible_become_user,ansible_sudo_user"},
	{readingOption{"ANSIBLE_SUDO_FLAGS", "sudo_become_plugin", "flags", ""}, "",
		"ansible_become_flags,ansible_sudo_flags"},
	{readingOption{"ANSIBLE_SUDO_EXE", "sudo_become_plugin", "executable", "sudo"}, "",
		"ansible_become_exe,ansible_sudo_exe"},
	{readingOption{"ANSIBLE_SU_USER", "su_become_plugin", "user", "root"}, "",
		"ansible_become_user,ansible_su_user"},
	{readingOption{"ANSIBLE_SU_FLAGS", "su_become_plugin", "flags", ""}, "",
		"ansible_become_flags,ansible_su_flags"},
	{readingOption{"ANSIBLE_SU_EXE", "su_become_plugin", "executable", "su"}, "",
		"ansible_become_exe,ansible_su_exe"},
	{readingOption{"ANSIBLE_PYTHON_INTERPRETER", "defaults", "interpreter_python",
		"auto|auto_silent|auto_legacy|auto_legacy_silent"}, "",
		"ansible_python_interpreter"},
	{readingOption{"", "docker_connection", "extra_cli_args", ""}, "docker",
		"ansible_docker_extra_args"},
	{readingOption{"ANSIBLE_PODMAN_EXTRA_ARGS", "", "", ""}, "podman", "ansible_podman_extra_args"},
	{readingOption{"K8S_AUTH_KUBECONFIG", "", "", ""}, "kubectl",
		"ansible_kubectl_kubeconfig,ansible_kubectl_config"},
	{readingOption{"K8S_AUTH_CONTEXT", "", "", ""}, "kubectl", "ansible_kubectl_context"},
	{readingOption{"K8S_AUTH_NAMESPACE", "", "", ""}, "kubectl", "ansible_kubectl_namespace"},
	{readingOption{"K8S_AUTH_CONTAINER", "", "", ""}, "kubectl", "ansible_kubectl_container"},
	{readingOption{"K8S_AUTH_POD", "", "", ""}, "kubectl", "ansible_kubectl_pod"},
	{readingOption{"K8S_AUTH_HOST", "", "", ""}, "kubectl",
		"ansible_kubectl_host,ansible_kubectl_server"},
}

// harmlessArgs are arguments of ssh that only say how a connection is shared, packed and kept.
var harmlessArgs = lazyregexp.New(`(?i)^(?:\s*(?:-C|(?:-o\s*)?['"]?(?:Control(?:Master|Persist|` +
	`Path)|ServerAlive(?:Interval|CountMax)|Compression)[= ]\S+))*\s*$`)

// unused warns of options of Ansible's configuration that would lead a host elsewhere in Ansible.
func (v *Inventory) unused(dir string) {
	config := findConfig(dir)
	for _, o := range connectionOptions {
		value, at := config.get(o.readingOption)
		usual := slices.Contains(strings.Split(o.usual, "|"), value) ||
			o.key == "ssh_args" && harmlessArgs.MatchString(value)
		if at == nil || usual || !slices.ContainsFunc(v.hostOrder,
			func(h *Host) bool { return v.lacks(h, o) }) {
			continue
		}
		key := o.key + " "
		if at.line == 0 {
			key = "" // the place is a variable of the environment
		}
		v.warn("%s: %sis not used here: the variable for that is %s", at.where(), key, o.names()[0])
	}
}

func (o connectionOption) names() []string { return strings.Split(o.vars, ",") }

// lacks says whether the option would change something for a host: the option is for the host's
// connection, and the host has no variable for it.
func (v *Inventory) lacks(h *Host, o connectionOption) bool {
	vars := v.Vars(h)
	connection, _ := vars["ansible_connection"].Value.(string)
	if short, ok := fullNames[connection]; ok {
		connection = short
	}
	has := func(name string) bool { return vars[name].Value != nil || vars[name].Vault }
	return connection != "local" && (o.plugin == "" || o.plugin == connection) &&
		!slices.ContainsFunc(o.names(), has)
}
