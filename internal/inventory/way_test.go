package inventory

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// one returns the inventory of a host h with variables in a line of INI.
func one(t *testing.T, vars string) *Inventory {
	t.Helper()
	return list(t, "h "+vars)
}

func list(t *testing.T, text string) *Inventory {
	t.Helper()
	v, err := Load(context.Background(), []string{"-"}, strings.NewReader(text+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shown writes a chain as targets with what the options tell each method's program.
func shown(t *testing.T, chain []Way) string {
	t.Helper()
	var all []string
	for _, w := range chain {
		text := w.Target
		hops, err := methods.ParseTarget(w.Target)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hops {
			p, err := h.Plan([]string{"BOOT"}, w.Options, true)
			if err != nil {
				t.Fatal(err)
			}
			text += " | " + terse(strings.Join(p.Argv, " "))
			for _, prompt := range p.Prompts[:min(1, len(p.Prompts))] {
				if prompt.Answer != nil {
					text += " < " + string(prompt.Answer)
				}
			}
			if h.Method == "ssh" && w.Options.SSH.Password+w.Options.SSH.Passphrase != "" {
				text += " < " + string(w.Options.SSH.Password) + string(w.Options.SSH.Passphrase)
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, " > ")
}

// terse leaves out what every command of ssh and sudo has.
func terse(argv string) string {
	for _, always := range []string{" -o LogLevel=VERBOSE -o ControlMaster=no -o ForwardX11=no -o " +
		"ClearAllForwardings=yes", " -o ConnectTimeout=30",
		" -o BatchMode=yes", " -o BatchMode=no", " -o NumberOfPasswordPrompts=1", " -o Compression=yes",
		" -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no", " -T",
		" -p mitogen-password"} {
		argv = strings.Replace(argv, always, "", 1)
	}
	return argv
}

func TestWays(t *testing.T) {
	t.Setenv("MITOGEN_WAY", "from.env")
	for _, tt := range []struct{ vars, want string }{
		{"", "h | ssh -- h 'BOOT'"},
		{"ansible_connection=ssh ansible_host=10.0.0.1 ansible_port=2222 ansible_user=me",
			"me@10.0.0.1:2222 | ssh -l me -p 2222 -- 10.0.0.1 'BOOT'"},
		{"ansible_connection=smart ansible_host=fe80::1%eth0",
			"[fe80::1%eth0] | ssh -- fe80::1%eth0 'BOOT'"},
		{"ansible_host=[::1]", "[::1] | ssh -- ::1 'BOOT'"},
		{"ansible_host=me@far", "me@far | ssh -l me -- far 'BOOT'"},
		{"ansible_host=me@far ansible_ssh_extra_args='-o UserKnownHostsFile=/x'",
			"me@far | ssh -l me -o UserKnownHostsFile=/x -- far 'BOOT'"},
		{"ansible_host=you@far ansible_user=me", "me@far | ssh -l me -- far 'BOOT'"},
		{"ansible_host=sudo", "ssh:sudo | ssh -- sudo 'BOOT'"},

		// Names as ssh takes them, and users of domains.
		{"ansible_host=db:replica", "[db:replica] | ssh -- db:replica 'BOOT'"},
		{"ansible_host=prod/web", "prod/web | ssh -- prod/web 'BOOT'"},
		{"ansible_host=a,b", "a,b | ssh -- a,b 'BOOT'"},
		{"ansible_host=ssh://you@far:2222", "you@far:2222 | ssh -l you -p 2222 -- far 'BOOT'"},
		{"ansible_host=ssh://you@far:2222 ansible_port=23 ansible_user=me",
			"me@far:23 | ssh -l me -p 23 -- far 'BOOT'"},
		{"ansible_user=CORP+jdoe", `CORP\+jdoe@h | ssh -l CORP+jdoe -- h 'BOOT'`},
		{`ansible_user='CORP\jdoe'`, `CORP\jdoe@h | ssh -l CORP\jdoe -- h 'BOOT'`},
		{"ansible_user=jdoe@corp.example", "jdoe@corp.example@h | ssh -l jdoe@corp.example -- h 'BOOT'"},
		{"ansible_user='domain admin'", "domain admin@h | ssh -l domain admin -- h 'BOOT'"},
		{"ansible_host=CORP+jdoe@far", `CORP\+jdoe@far | ssh -l CORP+jdoe -- far 'BOOT'`},
		{"ansible_user=x+local", `x\+local@h | ssh -l x+local -- h 'BOOT'`},
		{"ansible_become=1 ansible_become_user=CORP+pg",
			`h+sudo:CORP\+pg | ssh -- h 'BOOT' | sudo -u CORP+pg -H -- BOOT`},
		{`ansible_become=1 ansible_become_method=su ansible_become_user='CORP\pg admin'`,
			`h+su:CORP\pg admin | ssh -- h 'BOOT' | su CORP\pg admin -c 'BOOT'`},
		{"ansible_connection=docker ansible_user=a+b",
			`docker:a\+b@h | docker exec --interactive --user a+b h BOOT`},

		// The last spelling wins that Ansible documents, whatever their order here.
		{"ansible_ssh_host=a ansible_host=b ansible_ssh_port=1 ansible_port=2 ansible_ssh_user=a " +
			"ansible_user=b", "a@a:1 | ssh -l a -p 1 -- a 'BOOT'"},
		{"ansible_user=b ansible_ssh_user=''", "h | ssh -- h 'BOOT'"},
		{"ansible_ssh_password=c ansible_ssh_pass=b ansible_password=a", "h | ssh -- h 'BOOT' < c"},
		{"ansible_ssh_pass=b ansible_password=a", "h | ssh -- h 'BOOT' < b"},
		{"ansible_ssh_password='' ansible_ssh_pass=b ansible_password=a", "h | ssh -- h 'BOOT' < b"},
		{"ansible_ssh_private_key_passphrase=pp ansible_private_key_passphrase=no",
			"h | ssh -- h 'BOOT' < pp"},
		{"ansible_private_key_file=a ansible_ssh_private_key_file=~/b",
			`h | ssh -o IdentityFile="~/b" -- h 'BOOT'`},

		// ssh takes the first value of an option.
		{"ansible_ssh_args='-o User=x -C' ansible_user=me ansible_ssh_extra_args=-e " +
			"ansible_ssh_common_args='-o \"A=b c\"'",
			"me@h | ssh -o User=x -C -l me -o A=b c -e -- h 'BOOT'"},
		{"ansible_ssh_args='-o ProxyJump=bastion'", "h | ssh -o ProxyJump=bastion -- h 'BOOT'"},
		{"ansible_ssh_common_args='-o X=#y'", "h | ssh -o X=#y -- h 'BOOT'"},
		{"ansible_host_key_checking=no", "h | ssh -o StrictHostKeyChecking=no -- h 'BOOT'"},
		{"ansible_host_key_checking=no ansible_ssh_host_key_checking=True", "h | ssh -- h 'BOOT'"},
		{"ansible_ssh_executable=/opt/ssh", "h | /opt/ssh -- h 'BOOT'"},
		{"ansible_timeout=20", "h | ssh -o ConnectTimeout=20 -- h 'BOOT'"},
		{"ansible_timeout=20 ansible_ssh_timeout=5", "h | ssh -o ConnectTimeout=5 -- h 'BOOT'"},
		{"ansible_connection=paramiko_ssh ansible_paramiko_proxy_command='nc %h' " +
			"ansible_paramiko_user=p ansible_user=u",
			"p@h | ssh -F none -o ProxyCommand=nc %h -l p -- h 'BOOT'"},

		{"ansible_connection=local ansible_user=me ansible_host=far", "local | BOOT"},
		{"ansible_connection=mitogen_local", "local | BOOT"},
		{"ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'",
			"local | BOOT"},
		{"ansible_connection=mitogen_sudo ansible_user=pg ansible_password=pw",
			"sudo:pg | sudo -u pg -H -- BOOT < pw"},
		{"ansible_connection=mitogen_su ansible_user=pg", "su:pg | su pg -c 'BOOT'"},
		{"ansible_connection=mitogen_doas", "doas | doas -u root -- BOOT"},

		{"ansible_connection=docker ansible_ssh_user=www",
			"docker:www@h | docker exec --interactive --user www h BOOT"},
		{"ansible_connection=docker ansible_host=app ansible_user=www ansible_docker_user=web",
			"docker:web@app | docker exec --interactive --user web app BOOT"},
		{"ansible_connection=community.docker.docker ansible_docker_extra_args='-H  " +
			"tcp://10.0.0.9:2375' ansible_docker_privileged=yes ansible_docker_working_dir=/srv",
			"docker:h | docker -H tcp://10.0.0.9:2375 exec --interactive --workdir /srv --privileged h " +
				"BOOT"},
		{"ansible_connection=community.docker.docker_api ansible_docker_docker_host=tcp://d:2376 " +
			"ansible_docker_validate_certs=1 ansible_docker_ca_path=ca",
			"docker:h | docker --host tcp://d:2376 --tlsverify --tlscacert ca exec --interactive h BOOT"},
		{"ansible_connection=docker_api ansible_docker_tls=yes",
			"docker:h | docker --context default --tls exec --interactive h BOOT"},
		{"ansible_connection=podman ansible_podman_extra_args='--connection \"a b\"' " +
			"ansible_podman_executable=/opt/podman",
			"podman:h | /opt/podman --connection a b exec --interactive h BOOT"},
		{"ansible_connection=buildah ansible_buildah_extra_args='--root /x' ansible_user=root " +
			"ansible_buildah_working_directory=/w",
			"buildah:h | buildah --root /x run --workingdir /w -- h BOOT"},
		{"ansible_connection=kubectl ansible_kubectl_namespace=ns ansible_kubectl_container=side " +
			"ansible_kubectl_context=prod ansible_user=me",
			"kubectl:prod@ns/h/side | kubectl --context prod --namespace ns exec --stdin --quiet h " +
				"--container side -- BOOT"},
		{"ansible_connection=kubernetes.core.kubectl ansible_kubectl_kubeconfig=k " +
			"ansible_kubectl_host=https://x ansible_kubectl_pod=p ansible_kubectl_verify_ssl=no " +
			"ansible_kubectl_ca_cert=c ansible_kubectl_extra_args='--context b'",
			"kubectl:p | kubectl --kubeconfig k --server https://x --certificate-authority c " +
				"--insecure-skip-tls-verify=true exec --stdin --quiet --context b p -- BOOT"},
		{"ansible_connection=lxc ansible_user=me ansible_lxc_host=c1",
			"lxc:c1 | lxc-attach --clear-env --name c1 -- BOOT"},
		{"ansible_connection=lxd ansible_host=c1.example",
			"lxd:local:c1 | lxc exec local:c1 --mode non-interactive -- BOOT"},
		{"ansible_connection=lxd ansible_lxd_remote=far ansible_lxd_project=p ansible_user=me",
			"lxd:far:h+su:me | lxc --project p exec far:h --mode non-interactive -- BOOT | /bin/su me -c " +
				"'BOOT'"},
		{"ansible_connection=community.general.incus ansible_incus_remote=far",
			"incus:far:h | incus --project default exec far:h --mode non-interactive -- BOOT"},
		{"ansible_connection=jail ansible_user=www ansible_jail_user=www",
			"jail:www@h | jexec -U www h BOOT"},
		{"ansible_connection=chroot ansible_host=/srv/x ansible_chroot_exe=/opt/chroot ansible_user=me",
			"chroot:/srv/x | /opt/chroot /srv/x BOOT"},
		{"ansible_connection=setns mitogen_kind=docker ansible_host=app",
			"setns:docker/app | sh -c p=`docker inspect --type container --format '{{.State.Pid}}' 'app'` " +
				`&& exec 'nsenter' '--all' --target "$p" -- "$@" sh BOOT`},
		{"ansible_connection=mitogen_machinectl ansible_user=me",
			"machinectl:me@h | machinectl --quiet shell me@h /usr/bin/env BOOT"},

		{"ansible_become=true", "h+sudo | ssh -- h 'BOOT' | sudo -u root -H -- BOOT"},
		{"ansible_become='{{ x }}' x=T ansible_become_user=b ansible_sudo_user=a ansible_sudo_pass=c " +
			"ansible_become_pass=b ansible_become_password=a",
			"h+sudo:a | ssh -- h 'BOOT' | sudo -u a -H -- BOOT < c"},
		{"ansible_become=1 ansible_become_flags='-HSni -g wheel --preserve-env=A,B' " +
			"ansible_become_exe=/opt/sudo",
			"h+sudo | ssh -- h 'BOOT' | /opt/sudo -u root -H -i -g wheel --preserve-env=A,B -- BOOT"},
		{"ansible_become=1 ansible_become_flags=''", "h+sudo | ssh -- h 'BOOT' | sudo -u root -- BOOT"},
		{"ansible_become=no ansible_become_method=nonesuch ansible_become_typo=x", "h | ssh -- h 'BOOT'"},
		{"ansible_become=1 ansible_become_method=su ansible_su_pass=s ansible_su_user=x " +
			"ansible_su_flags='- -s /bin/sh' ansible_sudo_user=y",
			"h+su:x | ssh -- h 'BOOT' | su -s /bin/sh - x -c 'BOOT' < s"},
		{"ansible_become=1 ansible_become_method=community.general.doas ansible_doas_user=x " +
			"ansible_doas_exe=/opt/doas ansible_doas_flags=-n",
			"h+doas:x | ssh -- h 'BOOT' | /opt/doas -u x -n -- BOOT"},
		{"ansible_become=1 ansible_become_method=machinectl ansible_become_user=x",
			"h+machinectl:x@.host | ssh -- h 'BOOT' | machinectl --quiet shell x@.host /usr/bin/env BOOT"},

		{"mitogen_target=bastion+docker:app ansible_become=1",
			"bastion+docker:app+sudo | ssh -- bastion 'BOOT' | docker exec --interactive app BOOT | sudo " +
				"-u root -H -- BOOT"},
		{"mitogen_target=bastion+web1 ansible_password=pw",
			"bastion | ssh -- bastion 'BOOT' > web1 | ssh -- web1 'BOOT' < pw"},
		{"mitogen_via=jump+sudo", "jump+sudo | ssh -- jump 'BOOT' | sudo -u root -- BOOT > h | ssh -- " +
			"h 'BOOT'"},
		{"mitogen_via=sudo", "ssh:sudo | ssh -- sudo 'BOOT' > h | ssh -- h 'BOOT'"},

		// Variables of other connections don't matter, nor do those that change nothing.
		{"ansible_docker_docker_host=tcp://x ansible_kubectl_token=x ansible_sudo_flags=-u",
			"h | ssh -- h 'BOOT'"},
		{"ansible_ssh_retries=3 ansible_pipelining=yes ansible_scp_if_ssh=x ansible_ssh_use_tty=no " +
			"ansible_ssh_host_key_rsa_public=x ansible_control_path=x", "h | ssh -- h 'BOOT'"},
		{"ansible_perl_interpreter=x mitogen_version=1 lxd_image=x mitogen_lxc_info_path=x " +
			"ansible_shell_type=fish ansible_network_os='{{ nonesuch }}'", "h | ssh -- h 'BOOT'"},
		{"ansible_ssh_pkcs11_provider='' ansible_docker_extra_env='' ansible_connection=docker " +
			"ansible_user=", "docker:h | docker exec --interactive h BOOT"},

		{`ansible_host="{{ a | default('x.example') }}" ansible_user='{{inventory_hostname_short}}-{{ ` +
			`b }}' b="{{ c | default(d) }}" d=7`,
			"h-7@x.example | ssh -l h-7 -- x.example 'BOOT'"},
		{`ansible_host="{{ lookup('env', 'MITOGEN_WAY') ` +
			`}}{{lookup('ansible.builtin.env','MITOGEN_NO_WAY')}}"`, "from.env | ssh -- from.env 'BOOT'"},
		{`ansible_user="{{ a | default(omit) }}" ansible_port="{{ empty | default(22, true) }}" empty=''`,
			"h:22 | ssh -p 22 -- h 'BOOT'"},
	} {
		v := one(t, tt.vars)
		chain, err := v.Chain(v.Host("h"))
		if err != nil {
			t.Errorf("%s: %v, want %s", tt.vars, err, tt.want)
			continue
		}
		if got := shown(t, chain); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.vars, got, tt.want)
		}
	}
}

// Each is named with its place, and no secret is.
func TestWaysRefused(t *testing.T) {
	for _, tt := range []struct{ vars, want string }{
		{"ansible_port=x", `(standard input):1: host h: ansible_port: bad port "x"`},
		{"ansible_port=0", "ansible_port: bad port"},
		{"ansible_ssh_port=65536", "ansible_ssh_port: bad port"},
		{"ansible_port=22.5", "ansible_port: bad port"},
		{"ansible_connection=winrm", "ansible_connection"},
		{"ansible_connection=mitogen_nonesuch", "ansible_connection"},
		{"ansible_host=[x]", "ansible_host"},
		{"ansible_host=a+local", "ansible_host"},
		{"ansible_host=me@a+local", "ansible_host"},
		{`ansible_host='a\+local'`, "ansible_host"},
		{"ansible_host=ssh://far:x", "ansible_host"},
		{"ansible_host=db:replica:22", "ansible_host"},
		{"ansible_user='x -oProxyCommand=y'", "ansible_user"},
		{"ansible_become=1 ansible_become_user='a;b'", "ansible_become_user"},
		{"ansible_host=web:22", "ansible_host"},
		{"ansible_host=@x", "ansible_host"},
		{"ansible_host=-oProxyCommand=x", "ansible_host"},
		{"ansible_host=docker:app", "ansible_host"},
		{"ansible_host=''", "ansible_host"},
		{"ansible_ssh_user=-x", "ansible_ssh_user"},
		{"ansible_host=me@far ansible_ssh_common_args='-o User=you'", "ansible_host"},
		{"ansible_host=me@far ansible_port=22 ansible_ssh_extra_args='-l you'", "ansible_host"},
		{"ansible_connection=docker ansible_docker_host=me@x", "ansible_docker_host"},
		{"ansible_connection=kubectl ansible_kubectl_pod=a/b", "ansible_kubectl_pod"},
		{"ansible_connection=lxd ansible_host=a:b", "ansible_host"},
		{"ansible_connection=lxd ansible_lxd_remote=''", "ansible_lxd_remote"},
		{"ansible_connection=incus ansible_incus_remote=''", "ansible_incus_remote"},
		{"ansible_connection=chroot ansible_host=srv", "ansible_host"},
		{"ansible_become=maybe", "ansible_become: is neither yes nor no"},
		{"ansible_become=2", "ansible_become"},
		{"ansible_host_key_checking=maybe", "ansible_host_key_checking"},
		{"ansible_become=1 ansible_become_method=runas", "ansible_become_method"},
		{"ansible_become=1 ansible_become_method=community.general.sudo", "ansible_become_method"},
		{"ansible_become=1 ansible_become_flags='-u postgres'",
			"ansible_become_flags: \"-u\" can't be used here: the variable for a user is " +
				"ansible_become_user"},
		{"ansible_become=1 ansible_sudo_flags=-Hu ", "ansible_sudo_flags"},
		{"ansible_become=1 ansible_become_flags='--user=x'", "ansible_become_flags"},
		{"ansible_become=1 ansible_become_flags='-g'", "has no value"},
		{"ansible_become=1 ansible_become_flags='x'", "ansible_become_flags"},
		{"ansible_become=1 ansible_become_method=su ansible_su_flags='root'", "ansible_su_flags"},
		{"ansible_become=1 ansible_become_method=su ansible_su_flags='-c id'", "ansible_su_flags"},
		{"ansible_become=1 ansible_become_exe='sudo su -'", "ansible_become_exe"},
		{"ansible_become=1 ansible_sudo_chdir=/", "ansible_sudo_chdir"},
		{"ansible_become=1 ansible_become_method=machinectl ansible_become_flags=--machine=x",
			"ansible_become_flags"},
		{"ansible_become=1 ansible_connection=mitogen_sudo", "ansible_become"},
		{"ansible_become=1 ansible_become_method=su ansible_connection=lxd ansible_user=me",
			"ansible_become"},
		{"ansible_ssh_pkcs11_provider=/lib/x.so", "ansible_ssh_pkcs11_provider"},
		{"ansible_ssh_private_key=hunter2", "ansible_ssh_private_key"},
		{"ansible_password=hunter2 ansible_sshpass_prompt=PIN", "ansible_sshpass_prompt"},
		{"ansible_password=hunter2 ansible_ssh_password_mechanism=disable",
			"ansible_ssh_password_mechanism"},
		{"ansible_ssh_common_args=\"-o 'x\"", "ansible_ssh_common_args"},
		{"ansible_timeout=soon", "ansible_timeout"},
		{"ansible_shell_type=powershell", "ansible_shell_type"},
		{"ansible_connection=docker ansible_docker_docker_host=tcp://x", "ansible_docker_docker_host"},
		{"ansible_connection=docker ansible_docker_extra_env='{\"A\": \"b\"}'",
			"ansible_docker_extra_env"},
		{"ansible_connection=kubectl ansible_kubectl_token=hunter2", "ansible_kubectl_token"},
		{"ansible_connection=kubectl ansible_kubectl_api_key=hunter2", "ansible_kubectl_api_key"},
		{"ansible_connection=kubectl ansible_kubectl_password=hunter2", "ansible_kubectl_password"},
		{"ansible_connection=podman ansible_podman_privilege_escalation=su",
			"ansible_podman_privilege_escalation"},
		{"ansible_connection=podman ansible_podman_host=x", "ansible_podman_host"},
		{"ansible_connection=podman ansible_host=x ansible_ssh_host=y", "ansible_host"},
		{"ansible_connection=jail ansible_jail_user=www", "ansible_jail_user"},
		{"ansible_connection=buildah ansible_buildah_auto_commit=yes", "ansible_buildah_auto_commit"},
		{"ansible_connection=paramiko_ssh ansible_ssh_common_args='-o ProxyJump=b'",
			"ansible_ssh_common_args"},
		{"ansible_connection=setns mitogen_kind=vm", "inventory_hostname"},
		{"ansible_ssh_jump_host=bastion",
			"ansible_ssh_jump_host: is no variable that is known here for this connection, and may change " +
				"the way to the host: give it"},
		{"ansible_ssh_prot=22", "(ansible_ssh_port?)"},
		{"ansible_become=1 ansible_become_usr=x", "(ansible_become_user?)"},
		{"ansible_connection=podman ansible_podman_remote=x", "ansible_podman_remote"},
		{"ansible_become=1 ansible_become_level=x", "ansible_become_level"},
		{"mitogen_ssh_args=x", "mitogen_ssh_args"},
		{"mitogen_via=a+local:x", "(standard input):1: host h: mitogen_via: \"a+local:x\" is no host"},
		{"mitogen_via=exec:sh", "mitogen_via"},
		{"mitogen_via=h", "(standard input):1: host h: mitogen_via: leads in a circle: h, h"},
		{"mitogen_target=no+such:x", "mitogen_target"},
		{"ansible_host='{{ lookup(\"file\", \"X\") }}'", "only Ansible"},
		{"ansible_host='{{ nonesuch }}'",
			"refers to nonesuch, which isn't known here: write the value, or {{ lookup('env', 'NAME') }}"},
		{"ansible_host='{{ nonesuch | lower }}'", "nonesuch"},
		{"ansible_host='{{ hostvars.h2.x }}'", "refers to hostvars.h2.x"},
		{"ansible_host='{{ hostvars[\"h2\"].x }}'", "hostvars"},
		{"ansible_host='{{ hostvars[\"h3\"].x }}'", "hostvars"},
		{"ansible_host='{{ hostvars[\"h\"].ansible_host }}'", "circle"},
		{"ansible_host='{{+ x }}' x=a", "only Ansible"},
		{"ansible_host='{{ x.y.z }}' x=a", "refers to x.y, which isn't known"},
		{"ansible_host='{{ groups }}'", "more than one value"},
		{"ansible_host='{{ x if y else z }}' x=a z=b", "refers to the condition of an if"},
		{"ansible_host='{{ x if n }}' x=a n=", "a value without else"},
		{"ansible_host='{{ x | regex_replace(1) }}' x=a", "only Ansible"},
		{"ansible_host='{{ x[0:y] }}' x=a", "ansible_host"},
		{"ansible_host='{{ a ~ b }}' a=x", "refers to b"},
		{"ansible_host='{{ x.split() }}' x=a", "is not text"},
		{"ansible_host='{{ x + 1 }}' x=a", "different kinds"},
		{"ansible_host='{{ lookup(\"pipe\", \"id\") }}'", "only Ansible"},
		{"ansible_host='{{ query(\"env\", \"HOME\") }}'", "only Ansible"},
		{"ansible_host='{{ a }}' a='{{ b }}' b='{{ nonesuch }}'", "refers to nonesuch"},
		{"ansible_user='{{{ x }}' x=a", "only Ansible"},
		{"ansible_password='#jinja2: trim_blocks:no {{ x }}' x=a", "only Ansible"},
		{"ansible_port='{{ 022 }}'", "only Ansible"},
		{"ansible_user='{{ x | default(omit) | string }}'", "of omit"},
		{"ansible_port='{{ x | int }}' x=a", "ansible_port"},
		{"ansible_become='{{ x | bool }}' x=maybe", "ansible_become"},
		{"ansible_host='{{ x | b64decode }}' x=a", "only Ansible"},
		{"ansible_host='{{ ansible_host }}'", "circle"},
		{"ansible_python_interpreter='{{ ansible_playbook_python }}'", "ansible_python_interpreter"},
	} {
		v := list(t, "h "+tt.vars+"\nh2")
		chain, err := v.Chain(v.Host("h"))
		if err == nil || !strings.Contains(err.Error(), tt.want) ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v, want %q", tt.vars, chain, err, tt.want)
		}
	}
}

// A host's name is one for ssh, unless it can't be.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"localhost": "localhost", "localhost:2222": "localhost:2222", "127.0.0.1": "127.0.0.1",
		"local": "ssh:local", "local:22": "ssh:local:22",
		"sudo": "ssh:sudo", "fork": "ssh:fork", "docker": "ssh:docker", "exec:22": "ssh:exec:22",
		"user@far:2200": "user@far:2200", "me@local": "me@local",
		"fe80::1": "[fe80::1]", "ssh:host": "host", "docker:app": "docker:app", "web1+sudo": "web1+sudo",
		"bastion+me@web1:22+docker:x": "bastion+me@web1:22+docker:x",
		"local+sudo":                  "local+sudo", "sudo:pg": "", "local:x": "", "exec:sh": "",
		"web1+exec:sh": "", "setns:x/y": "", "setns:1": "ssh:setns:1", "web1+": "", "a:b": "[a:b]",
		"ssh:": "", `CORP\+me@web1`: `CORP\+me@web1`, `CORP\me@web1`: `CORP\me@web1`,
		"ssh://me@web1:22": "me@web1:22", "prod/web": "prod/web",
		`b+CORP\+me@web1`: `b+CORP\+me@web1`, "me@[db:x]:22": "me@[db:x]:22", "chroot:/srv": "",
		"docker:app+x:y": "",
	} {
		r := &reader{host: &Host{Name: name, line: true}}
		ways := r.ways()
		if want == "" && r.err == nil {
			t.Errorf("name %s: %v, want an error", name, ways)
		}
		if want != "" && (r.err != nil || len(ways) != 1 || ways[0].Target != want) {
			t.Errorf("name %s: %v, %v, want %s", name, ways, r.err, want)
		}
	}
	v := list(t, "bastion+web1 ansible_user=me ansible_port=22\ndocker:app ansible_port=22\nlocal+x "+
		"ansible_host=far\nlocalhost ansible_connection=local")
	for name, want := range map[string]string{"bastion+web1": "bastion+me@web1:22", "docker:app": "",
		"local+x": "far", "localhost": "local"} {
		chain, err := v.Chain(v.Host(name))
		if want == "" && err == nil || want != "" && (err != nil || chain[0].Target != want) {
			t.Errorf("name %s: %v, %v, want %q", name, chain, err, want)
		}
	}
}

// Names in a mapping are never targets: another author may have called a machine so.
func TestNamesInMappings(t *testing.T) {
	v := list(t, "---\nall: {hosts: {local+sudo: , 'docker:app': , 'web1+sudo': , local: , plain: , "+
		"user@far: , 'far:22': , a+me@web1: , 'a\\+me@web1': , ssh://me@a:22: }}")
	for name, want := range map[string]string{"local+sudo": "", "docker:app": "", "web1+sudo": "",
		"local": "ssh:local", "plain": "plain", "user@far": "user@far",
		"a+me@web1": "", `a\+me@web1`: "", "ssh://me@a:22": "me@a:22"} {
		chain, err := v.Chain(v.Host(name))
		if want == "" && (err == nil ||
			!strings.Contains(err.Error(), "(standard input):2: host "+name+": inventory_hostname")) ||
			want != "" && (err != nil || chain[0].Target != want) {
			t.Errorf("name %s: %v, %v, want %q", name, chain, err, want)
		}
	}
}

func TestChain(t *testing.T) {
	v := list(t, `
a ansible_host=10.0.0.1 ansible_port=2222 ansible_user=me
h mitogen_via=a ansible_ssh_private_key_file=key ansible_ssh_pass=pw
i mitogen_via=doas:op@h ansible_python_interpreter=/opt/python
j mitogen_via=op@h
k mitogen_via=su:me@corp.example@h
l mitogen_via=CORP+op@h
bad3 mitogen_via=bad4
bad4 mitogen_via=bad3
`)
	for name, want := range map[string]string{"k": "me@10.0.0.1:2222 > h+su:me@corp.example > k",
		"l": `me@10.0.0.1:2222 > h+sudo:CORP\+op > l`, "h": "me@10.0.0.1:2222 > h",
		"i": "me@10.0.0.1:2222 > h+doas:op > i", "j": "me@10.0.0.1:2222 > h+sudo:op > j"} {
		chain, err := v.Chain(v.Host(name))
		var got []string
		for _, w := range chain {
			got = append(got, w.Target)
			if pw := w.Options.SSH.Password; (pw == "pw") != strings.HasPrefix(w.Target, "h") {
				t.Errorf("%s: the password of %s is %q", name, w.Target, string(pw))
			}
		}
		if err != nil || strings.Join(got, " > ") != want {
			t.Errorf("%s: %q, %v, want %s", name, got, err, want)
		}
	}
	if _, err := v.Chain(v.Host("bad3")); err == nil || !strings.Contains(err.Error(), "in a circle") {
		t.Error(err)
	}
}

// An account of a host on the way is entered with that host's password, and the next host has its
// own.
func TestPasswordOfAccount(t *testing.T) {
	v := list(t, `
a ansible_become_password=of-a ansible_sudo_pass=sudo-of-a
h mitogen_via=op@a ansible_become=true ansible_become_password=of-h
i mitogen_via=doas:op@a
j mitogen_via=a
`)
	for name, want := range map[string]string{"h": "a+sudo:op - sudo:op=sudo-of-a > h+sudo of-h",
		"i": "a+doas:op - doas:op=of-a > i -", "j": "a - > j -"} {
		chain, err := v.Chain(v.Host(name))
		var got []string
		for _, w := range chain {
			text := w.Target + " " + or(string(w.Options.Sudo.Password))
			for hop, s := range w.Options.Passwords.All() {
				text += " " + hop + "=" + string(s)
			}
			got = append(got, text)
		}
		if all := strings.Join(got, " > "); err != nil || all != want {
			t.Errorf("%s: got %q, %v, want %q", name, all, err, want)
		}
	}
}

func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// Words are cut as by Python's shlex, which Ansible uses.
func TestSplitArgs(t *testing.T) {
	lines := []string{"", "a b", ` a  "b c" 'd e'`, `a\ b "c\"d" "e\f" 'g\h'`, `"" '' x`, "a#b #c",
		"a\tb\nc", `x="y z"w`, `"a\\b"`, `\'`}
	const code = "import json, shlex, sys; print(json.dumps([[x.strip() for x in shlex.split(a) if " +
		"x.strip()] for a in sys.argv[1:]]))"
	out, err := exec.Command("python3", append([]string{"-c", code}, lines...)...).Output()
	var want [][]string
	if err == nil {
		err = json.Unmarshal(out, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		if got, err := splitArgs(line); err != nil || !slices.Equal(got, want[i]) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want[i])
		}
	}
	for _, line := range []string{`'a`, `"a`, `a\`, `"a\"`} {
		if got, err := splitArgs(line); err == nil {
			t.Errorf("%q: got %q, want an error", line, got)
		}
	}
}

func TestProxyAndUser(t *testing.T) {
	for arg, want := range map[string]string{"-J": "proxy", "-Jb": "proxy", "-vJ": "proxy",
		"ProxyJump=b": "proxy", "-oproxycommand nc": "proxy", "-l": "user", "-Cl": "user",
		"User x": "user", "-oUSER=x": "user", "UserKnownHostsFile=x": "", "ProxyUseFdpass=no": "",
		"-vv": "", "-p": "", "-o": "", "-i/J": "", "l": ""} {
		got := ""
		if namesProxy.MatchString(arg) {
			got += "proxy"
		}
		if namesUser.MatchString(arg) {
			got += "user"
		}
		if got != want {
			t.Errorf("argument %q names %q, want %q", arg, got, want)
		}
	}
}

// Whatever a mapping says of where and as whom, it is one hop by ssh, or an error.
func FuzzWays(f *testing.F) {
	for _, s := range []string{"a+local", "docker:x", "me@b", "[::1]:22", "-oProxyCommand=x",
		"{{ x }}", "{{ x | default('y+sudo') }}", "a\\+b", "ssh:x", "local", "exec:sh"} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, name, host, user string) {
		for _, vars := range []map[string]Var{{}, {"ansible_host": {Value: host}},
			{"ansible_user": {Value: user}},
			{"ansible_host": {Value: host}, "ansible_user": {Value: user}}} {
			vars["x"] = Var{Value: name}
			r := &reader{host: &Host{Name: name}, vars: vars}
			ways := r.ways()
			if r.err != nil {
				continue
			}
			hops, err := methods.ParseTarget(ways[0].Target)
			if err != nil || len(ways) != 1 || len(hops) != 1 || hops[0].Method != "ssh" {
				t.Errorf("name %q, %v: %+v, %v", name, vars, ways, err)
			}
		}
	})
}

// A source without lines is named alone.
func TestPlaceWithoutLine(t *testing.T) {
	v, err := Load(t.Context(), []string{"h:99999,exec:id"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"h": "(list): host h: ansible_port",
		"exec:id": "(list): host exec:id: inventory_hostname"} {
		if _, err := v.Chain(v.Host(name)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("host %s: error %v, want %q", name, err, want)
		}
	}
}

// The order of a group's hosts is by chance where ansible-inventory has read them.
func TestMemberWithoutOrder(t *testing.T) {
	v := list(t, "h ansible_host=\"{{ groups['two'][0] }}\"\ni ansible_host=\"{{ groups['one'][0] "+
		"}}\"\n[two]\na\nb\n[one]\na")
	v.asked = true
	if _, err := v.Chain(v.Host("h")); err == nil ||
		!strings.Contains(err.Error(),
			"(standard input):1: host h: ansible_host: refers to groups['two'] by place") {
		t.Errorf("one of two hosts: error %v, want one that names the variable", err)
	}
	if chain, err := v.Chain(v.Host("i")); err != nil || chain[0].Target != "a" {
		t.Errorf("the only host: %v, %v, want a", chain, err)
	}
}
