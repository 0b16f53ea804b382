package inventory

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A use says what the program does with an option of Ansible's plugins.
type use int

const (
	used     use = iota // leads where Ansible would go
	harmless            // changes nothing of who is reached, as whom, by what way and how surely
	refused             // would change that, and can't be done here: an error names the variable
)

// A row is one option of one plugin. Of its variables, the last that has a value counts.
type row struct {
	plugin, option string
	use            use
	allowed        []string // refused: values that change nothing
	vars           []string
	why            string // harmless and refused
}

// vocabulary has a line for each option: plugin, option, use, variables, reason. Plugin "any" has
// what holds for all connections, and "mitogen" what isn't Ansible's own. A value in brackets is no
// reason to refuse. A line that begins with a tab goes on with the one before.
const vocabulary = `
any connection          used      ansible_connection
any remote_addr         used      ansible_host,ansible_ssh_host
any remote_user         used      ansible_user,ansible_ssh_user
any become              used      ansible_become
any become_method       used      ansible_become_method
any python              used      ansible_python_interpreter
any shell_type          refused[sh,bash,csh,fish,ksh,zsh,dash] ansible_shell_type
	| only shells of UNIX are spoken to
any timeout             used      ansible_timeout
any shell_executable    harmless  ansible_shell_executable         | sh only starts the interpreter
any module_compression  harmless  ansible_module_compression       | Ansible's modules aren't used
any pipelining          harmless  ansible_ssh_pipelining,ansible_pipelining
	| what is sent never touches a disk
any network_os          harmless  ansible_network_os               | names a module's dialect
any connection_user     harmless  ansible_connection_user          | is for modules
any python_fallback     harmless  ansible_interpreter_python_fallback
	| only names where Python may be
any allow_same_user     harmless  ansible_become_allow_same_user   | only saves a step

mitogen host            used      inventory_hostname,ansible_host
mitogen user            used      ansible_user
mitogen password        used      ansible_password
mitogen via             used      mitogen_via
mitogen target          used      mitogen_target
mitogen kind            used      mitogen_kind
mitogen docker_path     used      mitogen_docker_path
mitogen podman_path     used      mitogen_podman_path
mitogen buildah_path    used      mitogen_buildah_path
mitogen kubectl_path    used      mitogen_kubectl_path
mitogen incus_path      used      mitogen_incus_path
mitogen lxc_path        used      mitogen_lxc_path
mitogen lxc_attach_path used      mitogen_lxc_attach_path
mitogen machinectl_path used      mitogen_machinectl_path
mitogen lxc_info_path   used      mitogen_lxc_info_path
mitogen compression     harmless  mitogen_ssh_compression          | only the speed
mitogen debug_level     harmless  mitogen_ssh_debug_level          | only what is logged
mitogen keepalive_count harmless  mitogen_ssh_keepalive_count
	| the engine has heartbeats of its own
mitogen keepalive_interval harmless mitogen_ssh_keepalive_interval
	| the engine has heartbeats of its own
mitogen mask            harmless  mitogen_mask_remote_name         | a name in the list of processes
mitogen isolation       harmless  mitogen_task_isolation           | is for playbooks

sh admin_users          harmless  ansible_admin_users
	| is for Ansible's temporary files
sh async_dir            harmless  ansible_async_dir
	| is for Ansible's temporary files
sh common_remote_group  harmless  ansible_common_remote_group
	| is for Ansible's temporary files
sh remote_tmp           harmless  ansible_remote_tmp
	| is for Ansible's temporary files
sh system_tmpdirs       harmless  ansible_system_tmpdirs
	| is for Ansible's temporary files
sh world_readable_temp  harmless  ansible_shell_allow_world_readable_temp
	| is for Ansible's temporary files

ssh host                used      inventory_hostname,ansible_host,ansible_ssh_host
ssh port                used      ansible_port,ansible_ssh_port
ssh remote_user         used      ansible_user,ansible_ssh_user
ssh password            used      ansible_password,ansible_ssh_pass,ansible_ssh_password
ssh private_key_file    used      ansible_private_key_file,ansible_ssh_private_key_file
ssh private_key_passphrase used   ansible_private_key_passphrase,ansible_ssh_private_key_passphrase
ssh host_key_checking   used      ansible_host_key_checking,ansible_ssh_host_key_checking
ssh ssh_args            used      ansible_ssh_args
ssh ssh_common_args     used      ansible_ssh_common_args
ssh ssh_extra_args      used      ansible_ssh_extra_args
ssh ssh_executable      used      ansible_ssh_executable
ssh timeout             used      ansible_ssh_timeout
ssh password_mechanism  used      ansible_ssh_password_mechanism
ssh sshpass_prompt      used      ansible_sshpass_prompt
ssh private_key         refused   ansible_private_key,ansible_ssh_private_key
	| a key is read from a file or the agent: ansible_ssh_private_key_file
ssh pkcs11_provider     refused   ansible_ssh_pkcs11_provider
	| the PIN can't be typed: name the provider in ssh's configuration, ` +
	`with an agent that holds the PIN
ssh control_path        harmless  ansible_control_path             | no master is left behind
ssh control_path_dir    harmless  ansible_control_path_dir         | no master is left behind
ssh pipelining          harmless  ansible_pipelining,ansible_ssh_pipelining
	| what is sent never touches a disk
ssh reconnection_retries harmless ansible_ssh_retries
	| how often to try again is --retries
ssh scp_executable      harmless  ansible_scp_executable           | no files are copied
ssh scp_extra_args      harmless  ansible_scp_extra_args           | no files are copied
ssh scp_if_ssh          harmless  ansible_scp_if_ssh               | no files are copied
ssh sftp_batch_mode     harmless  ansible_sftp_batch_mode          | no files are copied
ssh sftp_executable     harmless  ansible_sftp_executable          | no files are copied
ssh sftp_extra_args     harmless  ansible_sftp_extra_args          | no files are copied
ssh ssh_transfer_method harmless  ansible_ssh_transfer_method      | no files are copied
ssh use_tty             harmless  ansible_ssh_use_tty
	| sudo and su have a terminal of their own
ssh verbosity           harmless  ansible_ssh_verbosity            | only what is logged

paramiko_ssh remote_addr used     inventory_hostname,ansible_host,ansible_ssh_host,
	ansible_paramiko_host
paramiko_ssh port       used      ansible_port,ansible_ssh_port,ansible_paramiko_port
paramiko_ssh remote_user used     ansible_user,ansible_ssh_user,ansible_paramiko_user
paramiko_ssh password   used      ansible_password,ansible_ssh_pass,ansible_ssh_password,
	ansible_paramiko_pass,ansible_paramiko_password
paramiko_ssh private_key_file used ansible_private_key_file,ansible_ssh_private_key_file,
	ansible_paramiko_private_key_file
paramiko_ssh host_key_checking used ansible_host_key_checking,ansible_ssh_host_key_checking,
	ansible_paramiko_host_key_checking
paramiko_ssh proxy_command used   ansible_paramiko_proxy_command
paramiko_ssh timeout    used      ansible_ssh_timeout,ansible_paramiko_timeout
paramiko_ssh ssh_args   used      ansible_ssh_args
paramiko_ssh ssh_common_args used ansible_ssh_common_args
paramiko_ssh ssh_extra_args used  ansible_ssh_extra_args
paramiko_ssh use_rsa_sha2_algorithms refused[true,yes,on,1,t,
	y] ansible_paramiko_use_rsa_sha2_algorithms
	| SHA-1 isn't gone back to

local pipelining        harmless  ansible_pipelining
	| what is sent never touches a disk
local become_strip_preamble harmless ansible_local_become_strip_preamble | is for Ansible's dialogue
local become_success_timeout harmless ansible_local_become_success_timeout
	| is for Ansible's dialogue

docker remote_addr      used      inventory_hostname,ansible_host,ansible_docker_host
docker remote_user      used      ansible_user,ansible_docker_user
docker docker_extra_args used     ansible_docker_extra_args
docker privileged       used      ansible_docker_privileged
docker working_dir      used      ansible_docker_working_dir
docker extra_env        refused ansible_docker_extra_env       | an environment there can't be given
docker container_timeout harmless ansible_docker_timeout
	| how long to wait is --connect-timeout

docker_api remote_addr  used      inventory_hostname,ansible_host,ansible_docker_host
docker_api remote_user  used      ansible_user,ansible_docker_user
docker_api docker_host  used      ansible_docker_docker_host
docker_api tls          used      ansible_docker_tls
docker_api validate_certs used    ansible_docker_validate_certs
docker_api ca_path      used      ansible_docker_ca_cert,ansible_docker_ca_path
docker_api client_cert  used      ansible_docker_client_cert
docker_api client_key   used      ansible_docker_client_key
docker_api privileged   used      ansible_docker_privileged
docker_api working_dir  used      ansible_docker_working_dir
docker_api tls_hostname refused   ansible_docker_tls_hostname
	| docker checks the name that it connects to
docker_api extra_env    refused ansible_docker_extra_env       | an environment there can't be given
docker_api api_version  harmless  ansible_docker_api_version       | docker finds the version
docker_api timeout      harmless  ansible_docker_timeout
	| how long to wait is --connect-timeout
docker_api container_timeout harmless ansible_docker_timeout
	| how long to wait is --connect-timeout

podman remote_addr      used      inventory_hostname,ansible_host,ansible_podman_host
podman remote_user      used      ansible_user
podman podman_executable used     ansible_podman_executable
podman podman_extra_args used     ansible_podman_extra_args
podman working_directory used     ansible_podman_working_directory
podman privilege_escalation_method refused[auto,none] ansible_podman_privilege_escalation
	| ansible_become does this
podman extra_env_vars   refused ansible_podman_extra_env       | an environment there can't be given
podman container_timeout harmless ansible_podman_timeout
	| how long to wait is --connect-timeout
podman mount_detection  harmless  ansible_podman_mount_detection   | no files are copied
podman ignore_mount_errors harmless ansible_podman_ignore_mount_errors | no files are copied

buildah remote_addr     used      inventory_hostname,ansible_host,ansible_buildah_host
buildah remote_user     used      ansible_user
buildah buildah_executable used   ansible_buildah_executable
buildah buildah_extra_args used   ansible_buildah_extra_args
buildah working_directory used    ansible_buildah_working_directory
buildah auto_commit     refused[false,no,off,0,f,n] ansible_buildah_auto_commit
	| nothing is committed
buildah extra_env_vars  refused ansible_buildah_extra_env      | an environment there can't be given
buildah container_timeout harmless ansible_buildah_timeout
	| how long to wait is --connect-timeout
buildah mount_detection harmless  ansible_buildah_mount_detection  | no files are copied
buildah ignore_mount_errors harmless ansible_buildah_ignore_mount_errors | no files are copied

kubectl kubectl_pod       used    ansible_kubectl_pod
kubectl kubectl_container used    ansible_kubectl_container
kubectl kubectl_namespace used    ansible_kubectl_namespace
kubectl kubectl_context   used    ansible_kubectl_context
kubectl kubectl_kubeconfig used   ansible_kubectl_kubeconfig,ansible_kubectl_config
kubectl kubectl_host      used    ansible_kubectl_host,ansible_kubectl_server
kubectl client_cert       used    ansible_kubectl_cert_file,ansible_kubectl_client_cert
kubectl client_key        used    ansible_kubectl_key_file,ansible_kubectl_client_key
kubectl ca_cert           used    ansible_kubectl_ssl_ca_cert,ansible_kubectl_ca_cert
kubectl validate_certs    used    ansible_kubectl_verify_ssl,ansible_kubectl_validate_certs
kubectl kubectl_extra_args used   ansible_kubectl_extra_args
kubectl kubectl_username  refused ansible_kubectl_username,ansible_kubectl_user
	| with its password it would stand in the list of processes: use a kubeconfig
kubectl kubectl_password  refused ansible_kubectl_password
	| it would stand in the list of processes: use a kubeconfig
kubectl kubectl_token     refused ansible_kubectl_token,ansible_kubectl_api_key
	| it would stand in the list of processes: use a kubeconfig
kubectl kubectl_local_env_vars refused ansible_kubectl_local_env_vars
	| kubectl has the environment of this program

lxc remote_addr         used      inventory_hostname,ansible_host,ansible_lxc_host
lxc executable          harmless  ansible_executable,ansible_lxc_executable
	| sh only starts the interpreter

lxd remote_addr         used      inventory_hostname,ansible_host,ansible_lxd_host
lxd remote              used      ansible_lxd_remote
lxd project             used      ansible_lxd_project
lxd remote_user         used      ansible_user
lxd lxd_become_method   used      lxd_become_method
lxd executable          harmless  ansible_executable,ansible_lxd_executable
	| sh only starts the interpreter

incus remote_addr       used      inventory_hostname,ansible_host,ansible_incus_host
incus remote            used      ansible_incus_remote
incus project           used      ansible_incus_project
incus remote_user       used      ansible_user
incus incus_become_method used    incus_become_method
incus executable        harmless  ansible_executable,ansible_incus_executable
	| sh only starts the interpreter
incus remote_user_id_command harmless ansible_incus_user_id_command | no files are copied

jail remote_addr        used      inventory_hostname,ansible_host,ansible_jail_host
jail remote_user        used      ansible_user,ansible_jail_user

chroot remote_addr      used      inventory_hostname,ansible_host
chroot chroot_exe       used      ansible_chroot_exe
chroot disable_root_check harmless ansible_chroot_disable_root_check | chroot itself says who may
chroot executable       harmless  ansible_executable               | sh only starts the interpreter

sudo become_user        used      ansible_become_user,ansible_sudo_user
sudo become_pass        used      ansible_become_password,ansible_become_pass,ansible_sudo_pass
sudo become_exe         used      ansible_become_exe,ansible_sudo_exe
sudo become_flags       used      ansible_become_flags,ansible_sudo_flags
sudo sudo_chdir         refused   ansible_sudo_chdir
	| the directory there can't be given

su become_user          used      ansible_become_user,ansible_su_user
su become_pass          used      ansible_become_password,ansible_become_pass,ansible_su_pass
su become_exe           used      ansible_become_exe,ansible_su_exe
su become_flags         used      ansible_become_flags,ansible_su_flags
su prompt_l10n          refused ansible_su_prompt_l10n
	| questions are known in su's own languages

doas become_user        used      ansible_become_user,ansible_doas_user
doas become_pass        used      ansible_become_password,ansible_become_pass,ansible_doas_pass
doas become_exe         used      ansible_become_exe,ansible_doas_exe
doas become_flags       used      ansible_become_flags,ansible_doas_flags
doas prompt_l10n        refused ansible_doas_prompt_l10n       | doas asks in English
doas allow_pipelining   harmless  ansible_doas_allow_pipelining
	| what is sent never touches a disk

machinectl become_user  used      ansible_become_user,ansible_machinectl_user
machinectl become_exe   used      ansible_become_exe,ansible_machinectl_exe
machinectl become_flags refused   ansible_become_flags,ansible_machinectl_flags
	| they could name another machine
machinectl become_pass  refused   ansible_become_password,ansible_become_pass,
	ansible_machinectl_pass
	| machinectl's question can't be answered
`

// folded joins the lines of a row.
var folded = strings.NewReplacer("\n\t|", " |", ",\n\t", ",")

// rows returns the vocabulary by plugin, then by option. It is parsed at the first call: most
// commands have no inventory.
var rows = sync.OnceValue(func() map[string]map[string]row { return parseVocabulary(vocabulary) })

func parseVocabulary(text string) map[string]map[string]row {
	all := map[string]map[string]row{}
	for line := range strings.Lines(folded.Replace(text)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		r, err := parseRow(line)
		if err != nil {
			panic(err) // a mistake in this file
		}
		if all[r.plugin] == nil {
			all[r.plugin] = map[string]row{}
		}
		all[r.plugin][r.option] = r
	}
	return all
}

func parseRow(line string) (row, error) {
	fields, why, _ := strings.Cut(line, "|")
	f := strings.Fields(fields)
	if len(f) != 4 {
		return row{}, fmt.Errorf("vocabulary: got %d columns, want 4: %s", len(f), line)
	}
	name, allowed, _ := strings.Cut(f[2], "[")
	u := slices.Index([]string{"used", "harmless", "refused"}, name)
	if u < 0 || (use(u) == used) != (why == "") {
		return row{}, fmt.Errorf("vocabulary: neither used, nor harmless or refused with a reason: %s",
			line)
	}
	r := row{plugin: f[0], option: f[1], use: use(u), vars: strings.Split(f[3], ","),
		why: strings.TrimSpace(why)}
	if allowed != "" {
		r.allowed = strings.Split(strings.TrimSuffix(allowed, "]"), ",")
	}
	return r, nil
}

// knows says whether an option of one of the plugins is set by the variable.
func knows(name string, plugins ...string) bool {
	for _, p := range plugins {
		for _, r := range rows()[p] {
			if slices.Contains(r.vars, name) {
				return true
			}
		}
	}
	return false
}
