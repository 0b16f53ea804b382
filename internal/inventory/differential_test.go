package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/secret"
)

// found is a host's connection as Ansible would make it, by testdata/way/action_plugins/way.py.
type found struct {
	Host       string   `json:"host"`
	Connection string   `json:"connection"`
	Argv       []string `json:"argv"`
	Password   string   `json:"password"`
	Python     string   `json:"python"`
	Become     string   `json:"become"`
	BecomeArgv []string `json:"become_argv"`

	Place          string         `json:"place"` // a container
	BecomePassword string         `json:"become_password"`
	Options        map[string]any `json:"options"`
}

// askAnsible has a release of Ansible tell how it would reach the hosts of an inventory. Hosts
// where it fails are missing.
func askAnsible(t *testing.T, playbook, inventory string) map[string]found {
	t.Helper()
	home := t.TempDir()
	for _, program := range []string{"sshpass", "docker", "kubectl", "lxc", "incus", "podman",
		"buildah"} {
		if err := os.WriteFile(filepath.Join(home, program), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "ansible.cfg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(home, "out")
	cmd := exec.Command(playbook, "-f", "4", "-i", inventory, "play.yml")
	cmd.Dir = "testdata/way"
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ANSIBLE_") || strings.HasPrefix(e, "ANSIBLE_COLLECTIONS_PATH=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "PATH="+home+":"+os.Getenv("PATH"), "HOME="+home, "WAY_OUT="+out,
		"LC_ALL=C.UTF-8",
		"ANSIBLE_CONFIG="+filepath.Join(home, "ansible.cfg"))
	said, failed := cmd.CombinedOutput()
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("run %s: got %v, want a record; output:\n%s", playbook, failed, said)
	}
	all := map[string]found{}
	for line := range bytes.Lines(text) {
		var f found
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatalf("decode %s: %v", line, err)
		}
		for i := range f.Argv {
			f.Argv[i] = strings.ReplaceAll(f.Argv[i], `"`+home+"/", `"~/`)
		}
		all[f.Host] = f
	}
	return all
}

// differ compares how each host is reached. It returns how many hosts were refused by us alone.
func differ(t *testing.T, playbook, inventory string) (refused int) {
	t.Helper()
	v, err := Load(context.Background(), []string{inventory}, nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs := askAnsible(t, playbook, inventory)
	for _, h := range v.Hosts() {
		f, ok := theirs[h.Name]
		ways, err := v.Chain(h)
		switch {
		// newer Ansible has no terminal for it; ours has
		case !ok && strings.HasPrefix(h.Name, "session"):
		case !ok && err == nil:
			t.Errorf("host %s: Ansible fails, and we reach %+v; variables %s", h.Name, ways, given(v, h))
		case ok && err != nil:
			refused++
			t.Logf("refused: %v", err)
			named := func(name string) bool { return strings.Contains(err.Error(), name) }
			if !slices.ContainsFunc(sortedKeys(v.Vars(h)), named) {
				t.Errorf("host %s: the error names no variable: %v", h.Name, err)
			}
		case ok && err == nil:
			for _, d := range compareWay(t, f, ways[len(ways)-1]) {
				t.Errorf("host %s: %s; variables %s", h.Name, d, given(v, h))
			}
		}
	}
	return refused
}

func given(v *Inventory, h *Host) string {
	var all []string
	for name, x := range v.Vars(h) {
		all = append(all, fmt.Sprintf("%s=%v", name, x.Value))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// compareWay returns the differences between Ansible's way and ours.
func compareWay(t *testing.T, f found, w Way) (all []string) {
	t.Helper()
	differs := func(what string, ours, theirs any) {
		if !reflect.DeepEqual(ours, theirs) {
			all = append(all, fmt.Sprintf("%s: ours %q, Ansible's %q", what, ours, theirs))
		}
	}
	hops, err := methods.ParseTarget(w.Target)
	if err != nil {
		t.Fatal(err)
	}
	plan := func(h methods.Hop) []string {
		p, err := h.Plan([]string{"BOOT"}, w.Options, true)
		if err != nil {
			t.Fatal(err)
		}
		return p.Argv
	}
	if f.Become != "" {
		last := hops[len(hops)-1]
		hops = hops[:len(hops)-1]
		differs("become method", last.Method, f.Become)
		differs("become", accountArgv(last.Method, plan(last)), accountArgv(f.Become, f.BecomeArgv))
		passwords := map[string]secret.Secret{"sudo": w.Options.Sudo.Password,
			"su": w.Options.Su.Password, "doas": w.Options.Doas.Password}
		differs("become password", string(passwords[last.Method]), f.BecomePassword)
	}
	if strings.HasPrefix(f.Python, "auto") {
		f.Python = ""
	}
	differs("interpreter", strings.Join(w.Options.Python, " "), f.Python)
	return append(all, comparePlace(f, w, hops, plan)...)
}

// comparePlace compares all but the account that is become.
func comparePlace(f found, w Way, hops []methods.Hop,
	plan func(h methods.Hop) []string) (all []string) {
	differs := func(what string, ours, theirs any) {
		if !reflect.DeepEqual(ours, theirs) {
			all = append(all, fmt.Sprintf("%s: ours %q, Ansible's %q", what, ours, theirs))
		}
	}
	first := hops[0]
	switch f.Connection {
	case "ssh":
		differs("method", first.Method, "ssh")
		differs("password", string(w.Options.SSH.Password), f.Password)
		differs("program", plan(first)[0], f.Options["ssh_executable"])
		all = append(all, compareSettings(settings(plan(first)), settings(f.Argv))...)
	case "local":
		differs("method", first.Method, "local")
	case "podman", "buildah":
		differs("arguments", containerArgv(plan(first))[:len(f.Argv)-1],
			containerArgv(f.Argv)[:len(f.Argv)-1])
		differs("user", first.User, orEmpty(f.Options["remote_user"]))
		differs("container", first.Host, f.Place)
	case "lxd", "incus":
		ours := plan(first)
		differs("program and project", strings.Join(ours[:slices.Index(ours, "exec")], " "),
			strings.Join(containerArgv(f.Argv)[:slices.Index(f.Argv, "exec")], " "))
		differs("instance", first.Host, f.Argv[slices.Index(f.Argv, "exec")+1])
		if user := orEmpty(f.Options["remote_user"]); user != "root" {
			differs("user", plan(hops[1])[:2], f.Argv[slices.Index(f.Argv, "--")+1:][:2])
		}
	default:
		differs("command", containerArgv(plan(first)), containerArgv(f.Argv))
	}
	return all
}

func orEmpty(x any) string {
	s, _ := x.(string)
	return s
}

// ownSettings are those that are ours to decide, and change nothing of who is reached, as whom and
// how surely.
var ownSettings = []string{"controlmaster", "controlpath", "controlpersist", "compression",
	"loglevel", "batchmode", "numberofpasswordprompts",
	"passwordauthentication", "kbdinteractiveauthentication", "preferredauthentications",
	"clearallforwardings", "forwardx11", "requesttty",
	"serveraliveinterval"} // by BatchMode, in Debian

// settings returns what ssh makes of its arguments.
func settings(argv []string) map[string][]string {
	out, err := exec.Command("ssh", append([]string{"-G"}, argv[1:]...)...).Output()
	all := map[string][]string{"fails": {fmt.Sprint(err)}}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.Contains(ownSettings, name) {
			all[name] = append(all[name], value)
		}
	}
	return all
}

func compareSettings(ours, theirs map[string][]string) (all []string) {
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(sortedKeys(ours),
		sortedKeys(theirs)...)))) {
		if name == "connecttimeout" && slices.Equal(theirs[name], []string{"10"}) &&
			slices.Equal(ours[name], []string{"30"}) {
			continue // the defaults
		}
		if !slices.Equal(ours[name], theirs[name]) {
			all = append(all, fmt.Sprintf("ssh's %s: ours %q, Ansible's %q", name, ours[name], theirs[name]))
		}
	}
	return all
}

// accountArgv writes a become command as program, user and flags in one order.
func accountArgv(method string, argv []string) string {
	end := slices.IndexFunc(argv, func(w string) bool {
		return w == "--" || w == "/bin/sh" || w == "/usr/bin/env" || w == "-c" ||
			strings.HasPrefix(w, "echo")
	})
	if end < 0 {
		end = len(argv)
	}
	user, flags := "root", []string(nil)
	for i := 1; i < end; i++ {
		switch w := argv[i]; {
		case w == "-u":
			i++
			user = argv[i]
		case w == "-p" && method == "sudo":
			i++
		case w == "-S" || w == "-n" || w == "--non-interactive" || w == "--stdin" || w == "-q" ||
			w == "--quiet":
		case w == "-" || w == "-l" || w == "--login" || w == "-i" && method == "sudo":
			flags = append(flags, "login")
		case method == "su" && i == end-1 && !strings.HasPrefix(w, "-"):
			user = w
		case method == "machinectl" && strings.HasSuffix(w, "@"),
			method == "machinectl" && strings.HasSuffix(w, "@.host"):
			if name, _, _ := strings.Cut(w, "@"); name != "" {
				user = name
			}
		case cluster.MatchString(w) && method == "sudo":
			for _, f := range single(w, sudoFlags) {
				argv = append(argv, f)
				if !slices.Contains([]string{"-S", "-n", "-i"}, f) {
					flags = append(flags, f)
				} else if f == "-i" {
					flags = append(flags, "login")
				}
			}
		case w == "shell" && method == "machinectl", strings.HasPrefix(w, "SYSTEMD_COLORS"):
		default:
			flags = append(flags, w)
		}
	}
	slices.Sort(flags)
	program := argv[0]
	if strings.HasPrefix(program, "SYSTEMD_COLORS") {
		program = argv[1]
		flags = slices.DeleteFunc(flags, func(f string) bool { return f == program })
	}
	return fmt.Sprint(program, " as ", user, " ", flags)
}

// containerArgv writes a command with short flags, and the program by its name.
func containerArgv(argv []string) []string {
	short := map[string]string{"--interactive": "-i", "--stdin": "-i", "--user": "-u",
		"--workdir": "-w", "--namespace": "-n", "--container": "-c"}
	var front, back []string
	for i, w := range argv {
		if s := short[w]; s != "" {
			w = s
		}
		switch {
		case w == "--quiet":
		case i == 0:
			front = append(front, filepath.Base(w))
		default:
			back = append(back, w)
		}
	}
	// The order of the flags behind "exec" is free, and kubectl's own may be anywhere.
	if front[0] == "docker" || front[0] == "kubectl" {
		slices.Sort(back)
	}
	return append(front, back...)
}

// wayInventory has the kinds of ways in one place; hosts are named after what is tried.
const wayInventory = `
localhost
ports:2222
local
sudo:22
docker
127.0.0.1 ansible_port=2200
spellings ansible_ssh_host=a ansible_host=b ansible_ssh_user=a ansible_user=b ansible_ssh_port=1 ` +
	`ansible_port=2
nothing ansible_user=b ansible_ssh_user='' ansible_ssh_password='' ansible_ssh_pass=b ` +
	`ansible_password=a
nobody ansible_host='' ansible_ssh_host=x
none ansible_ssh_user=None ansible_user=x
six ansible_host=fe80::1
user ansible_host=me@far
users ansible_host=me@far ansible_user=you
userargs ansible_host=me@far ansible_ssh_args='-o User=you'
userlate ansible_host=me@far ansible_ssh_common_args='-o User=you'
args ansible_user=me ansible_port=22 ansible_ssh_args='-o User=x -o Port=23 -o ConnectTimeout=3' ` +
	`ansible_ssh_extra_args='-o Ciphers=aes256-ctr' ansible_ssh_common_args='-o Ciphers=aes128-ctr'
argslate ansible_user=me ansible_port=22 ansible_ssh_common_args='-l x -p 23 -o ConnectTimeout=3'
noargs ansible_ssh_args=''
jump ansible_ssh_args='-o ProxyJump=bastion'
proxy ansible_ssh_common_args='-o ProxyCommand="ssh -W %h:%p -q me@bastion"'
jumpextra ansible_ssh_extra_args='-J bastion:22'
keys ansible_private_key_file=/a ansible_ssh_private_key_file=/b
keyhome ansible_private_key_file='~/.ssh/some key'
keyargs ansible_ssh_args='-i /a' ansible_private_key_file=/b ansible_ssh_common_args='-i /c'
unchecked ansible_host_key_checking=no
checked ansible_host_key_checking=no ansible_ssh_host_key_checking=yes
uncheckedargs ansible_host_key_checking=False ansible_ssh_args='-o StrictHostKeyChecking=yes'
checkedlate ansible_host_key_checking=False ansible_ssh_common_args='-o StrictHostKeyChecking=yes'
timeout ansible_timeout=20
timeouts ansible_timeout=20 ansible_ssh_timeout=5
program ansible_ssh_executable=/usr/bin/ssh
smart ansible_connection=smart
legacy ansible_connection=ansible.legacy.ssh
builtin ansible_connection=ansible.builtin.ssh
here ansible_connection=local ansible_host=x ansible_user=y
python ansible_python_interpreter=/opt/python
auto ansible_python_interpreter=auto_silent
template ansible_host="{{ inventory_hostname }}.example" ansible_user="{{ x | default('me') }}" ` +
	`ansible_port="{{ y | default(22) }}"
short.example ansible_host="{{ inventory_hostname_short }}"
filters ansible_port="{{ ' 22' | int }}" ansible_user="{{ x | default('ME') | lower }}" ` +
	`ansible_become="{{ 'on' | bool }}" ansible_host="{{ ' a ' | trim | upper }}"
hostvars1 ansible_host="{{ hostvars['spellings']['ansible_host'] }}" ` +
	`ansible_user="{{ hostvars[of].ansible_ssh_user | default('x') }}" of=spellings
hostvars2 ansible_host="{{ hostvars['template'].ansible_host }}" ` +
	`ansible_port="{{ hostvars['localhost'].nonesuch | default(22) }}"
hostvars3 ansible_ssh_common_args='-o ProxyCommand="ssh -W %h:%p ` +
	`{{ hostvars["user"]["inventory_hostname"] }}"'
hostvars4 ansible_host="{{ hostvars['nonesuch'].ansible_host }}"
groups1 ansible_host="{{ groups['some'][0] }}" ansible_user="{{ groups['some'][-1] }}"
groups2 ansible_ssh_common_args='-o ProxyCommand="ssh -W %h:%p ` +
	`{{ hostvars[groups["some"][1]]["ansible_host"] }}"'
groups3 ansible_host="{{ hostvars[groups[of][0]].nonesuch | default(groups['some'][0]) }}" of=some
groups4 ansible_host="{{ groups['some'][9] | default('x') }}" ` +
	`ansible_user="{{ groups['nonesuch'][0] | default(groups['all'][2]) }}"
groups5 ansible_host="{{ groups['some'][9] }}"
filternone ansible_user="{{ n | string }}" n=None
filternonehost ansible_host="{{ n | lower }}" n=None
filterwrong ansible_become="{{ y | bool }}"
become ansible_become=yes
becomeno ansible_become=off ansible_become_user=x
becometext ansible_become="{{ x }}" x=T
becomewrong ansible_become=maybe
becomenumber ansible_become=1
becometwo ansible_become=2
becomeuser ansible_become=1 ansible_become_user=b ansible_sudo_user=a ansible_become_password=1a ` +
	`ansible_become_pass=2a ansible_sudo_pass=3a
becomeempty ansible_become=1 ansible_become_user='' ansible_become_flags=''
becomeflags ansible_become=1 ansible_become_flags='-HSn -g wheel' ansible_become_exe=/opt/sudo
becomelogin ansible_become=1 ansible_sudo_flags='-i' ansible_become_flags=-E ansible_become_pass=p
becomefalse ansible_become=1 ansible_become_user=False ansible_become_exe=0
becomefalseflags ansible_become=1 ansible_become_flags=0
becomewho ansible_become=1 ansible_become_flags='-u x'
su ansible_become=1 ansible_become_method=su ansible_su_user=x ansible_su_pass=p ` +
	`ansible_become_flags=-m
sulogin ansible_become=1 ansible_become_method=ansible.builtin.su ansible_su_flags='- -s /bin/bash'
sufalse ansible_become=1 ansible_become_method=su ansible_become_user=0 ansible_su_exe=False
sufalseflags ansible_become=1 ansible_become_method=su ansible_su_flags=0.0
suempty ansible_become=1 ansible_become_method=su ansible_become_user=''
method ansible_become=1 ansible_become_method=nonesuch
methodempty ansible_become=1 ansible_become_method=''
port0 ansible_port=x
portempty ansible_port=''
portnone ansible_port=None
connection ansible_connection=nonesuch
pkcs ansible_ssh_pkcs11_provider=/lib/x.so
[some:children]
inner
[some]
spellings
[inner]
template
`

func TestWaysAgainstAnsible(t *testing.T) {
	for _, playbook := range playbooks(t) {
		t.Run(playbook, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(write(t, map[string]string{"hosts": wayInventory}), "hosts")
			if refused, want := differ(t, playbook, file), 5; refused > want {
				t.Errorf("%d hosts are refused that Ansible takes, want %d at most", refused, want)
			}
		})
	}
}

// containerInventory is for the plugins of collections.
const containerInventory = `
[docker]
docker1 ansible_host=app ansible_user=www
docker2 ansible_docker_extra_args='-H tcp://10.0.0.9:2375' ansible_docker_host=x ansible_user=a ` +
	`ansible_docker_user=b
docker3 ansible_docker_working_dir=/srv ansible_docker_privileged=yes
docker4 ansible_ssh_user=a
docker5 ansible_ssh_user=a ansible_user=b ansible_ssh_host=x
docker6 ansible_connection=community.general.docker
[docker:vars]
ansible_connection=community.docker.docker
[kubectl]
kube1
kube2 ansible_kubectl_context=c ansible_kubectl_namespace=n ansible_kubectl_container=s ` +
	`ansible_kubectl_pod=p ansible_host=x
kube3 ansible_kubectl_kubeconfig=k ansible_kubectl_config=l ansible_kubectl_host=https://h ` +
	`ansible_kubectl_verify_ssl=no
kube4 ansible_kubectl_client_cert=c ansible_kubectl_client_key=k ansible_kubectl_ca_cert=a ` +
	`ansible_kubectl_extra_args='--v 3' ansible_ssh_host=y ansible_host=z
kube5 ansible_kubectl_namespace=0 ansible_kubectl_pod=False ansible_kubectl_host=0
[kubectl:vars]
ansible_connection=kubernetes.core.kubectl
[podman]
podman1 ansible_host=app ansible_user=www ansible_podman_extra_args='--connection "a b"'
podman2 ansible_podman_host=x
podman3 ansible_podman_host=x ansible_host=y
podman4 ansible_podman_host=x ansible_host=x
[podman:vars]
ansible_connection=containers.podman.podman
[buildah]
buildah1 ansible_user=www ansible_buildah_extra_args='--root /x'
[buildah:vars]
ansible_connection=containers.podman.buildah
[instances]
lxd1.example ansible_connection=community.general.lxd
lxd2 ansible_connection=community.general.lxd ansible_lxd_remote=far ansible_lxd_project=p ` +
	`ansible_user=me ansible_lxd_host=c.d
incus1 ansible_connection=community.general.incus ansible_incus_project=p
incus2 ansible_connection=community.general.incus ansible_incus_remote=far ansible_user=me ` +
	`incus_become_method=/opt/su
[accounts]
doas1 ansible_become_user=x ansible_doas_user=y ansible_become_pass=p ansible_doas_exe=/opt/doas
doas2 ansible_doas_flags=-n
[accounts:vars]
ansible_become=1
ansible_become_method=community.general.doas
[sessions]
session1 ansible_become_user=x
session2 ansible_machinectl_exe=/opt/machinectl
[sessions:vars]
ansible_become=1
ansible_become_method=community.general.machinectl
`

// TestContainersAgainstAnsible runs where the collections are: ANSIBLE_COLLECTIONS_PATH.
func TestContainersAgainstAnsible(t *testing.T) {
	if os.Getenv("ANSIBLE_COLLECTIONS_PATH") == "" {
		t.Skip("no ANSIBLE_COLLECTIONS_PATH")
	}
	for _, playbook := range playbooks(t) {
		t.Run(playbook, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(write(t, map[string]string{"hosts": containerInventory}), "hosts")
			if refused, want := differ(t, playbook, file), 2; refused > want {
				t.Errorf("%d hosts are refused that Ansible takes, want %d at most", refused, want)
			}
		})
	}
}
