package inventory

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// realAnsible puts one Ansible first in PATH, and an empty configuration in place of the user's.
func realAnsible(t *testing.T) (dir string) {
	t.Helper()
	for program := range ansiblePythons(t) {
		dir = filepath.Dir(program)
	}
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	writeFile(t, config, "")
	t.Setenv("ANSIBLE_CONFIG", config)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

// Options that change how inventories are read are left to Ansible, wherever they stand.
func TestConfigured(t *testing.T) {
	realAnsible(t)
	dir := write(t, map[string]string{
		"hosts.yml": "all: {vars: {m: {a: 1}}, hosts: {x: {m: {b: 2}}}}",
		"usual/ansible.cfg": "[inventory]\nenable_plugins = host_list, script, auto, yaml, ini, toml\n" +
			"[defaults]\nhash_behaviour=replace ; as ever\nforks = 5\n",
		"merge/ansible.cfg": "# comment\n[other]\nhash_behaviour = x\n[defaults]\nhash_behaviour = " +
			"merge\n",
		"empty": "",
	})
	t.Chdir(dir)
	size := func() int {
		v, err := Load(context.Background(), []string{dir + "/hosts.yml"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(v.Vars(v.Host("x"))["m"].Value.(map[string]any))
	}
	t.Setenv("ANSIBLE_CONFIG", dir+"/usual")
	if got := size(); got != 1 {
		t.Errorf("usual options: %d entries, want 1", got)
	}
	t.Setenv("ANSIBLE_CONFIG", dir+"/merge/ansible.cfg")
	if got := size(); got != 2 {
		t.Errorf("hash_behaviour = merge: %d entries, want 2", got)
	}
	for _, name := range []string{"ANSIBLE_VERBOSITY=3", "ANSIBLE_INVENTORY_EXPORT=1",
		"ANSIBLE_FORCE_COLOR=1"} {
		name, value, _ := strings.Cut(name, "=")
		t.Setenv(name, value)
	}
	if got := size(); got != 2 {
		t.Errorf("with options for what is printed: %d entries, want 2", got)
	}
	t.Setenv("PATH", dir)
	_, err := Load(context.Background(), []string{dir + "/hosts.yml"}, nil)
	if want := "merge/ansible.cfg:5: hash_behaviour decides how inventories are read, and " +
		"ansible-inventory isn't there"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without Ansible: %v, want %q", err, want)
	}
	t.Setenv("ANSIBLE_CONFIG", "")
	t.Setenv("HOME", dir+"/merge")
	t.Chdir(dir + "/usual")
	if got := size(); got != 1 {
		t.Errorf("the working directory's options: %d entries, want 1", got)
	}
	t.Setenv("ANSIBLE_INVENTORY_ENABLED", "yaml")
	if _, err = Load(context.Background(), []string{dir + "/hosts.yml"}, nil); err == nil ||
		!strings.Contains(err.Error(), "$ANSIBLE_INVENTORY_ENABLED: enable_plugins decides") {
		t.Errorf("environment: %v", err)
	}
}

// Where everyone may write, Ansible doesn't look for its options.
func TestConfigOfEveryone(t *testing.T) {
	dir := write(t, map[string]string{"ansible.cfg": "[defaults]\nhash_behaviour=merge\n",
		"home/x": ""})
	t.Setenv("ANSIBLE_CONFIG", "")
	t.Setenv("HOME", dir+"/home")
	if why := configured(dir); why == nil {
		t.Error("no option found")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if why := configured(dir); why != nil {
		t.Error(why)
	}
}

// An encrypted file is Ansible's; a value is unknown.
func TestEncrypted(t *testing.T) {
	ansible := realAnsible(t)
	dir := write(t, map[string]string{"pass": "open\n",
		"hosts":              "[web]\na\n[db]\nb\n[db:children]\nsub\n[sub]\nc\n",
		"group_vars/web.yml": "ansible_user: boss\n",
		"host_vars/a":        "x: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\ny: 1\n"})
	t.Chdir(dir)
	v := load(t, "hosts")
	if vars := v.Vars(v.Host("a")); !vars["x"].Vault || vars["y"].Value != int64(1) {
		t.Errorf("variables of a: got %+v, want x a vault, y 1", vars)
	}
	if out, err := exec.Command(filepath.Join(ansible, "ansible-vault"), "encrypt",
		"--vault-password-file", "pass", "group_vars/web.yml").CombinedOutput(); err != nil {
		t.Fatalf("encrypt group_vars: %v; output: %s", err, out)
	}
	v = load(t, "hosts")
	if _, err := v.Chain(v.Host("a")); err == nil ||
		!strings.Contains(err.Error(), "web.yml: ansible-inventory: exit status") {
		t.Errorf("without a password: %v", err)
	}
	for _, free := range []string{"b", "c"} { // whose files aren't encrypted
		if chain, err := v.Chain(v.Host(free)); err != nil || chain[0].Target != free {
			t.Errorf("host %s: %v, %v, want that of no encrypted file", free, chain, err)
		}
	}
	t.Setenv("ANSIBLE_VAULT_PASSWORD_FILE", "pass")
	v = load(t, "hosts")
	if err := v.unread(v.Host("a")); err != nil {
		t.Error(err)
	}
	// Since 2.22 such values aren't told, and must not be taken for a text.
	if vars := v.Vars(v.Host("a")); vars["ansible_user"].Value != "boss" &&
		!vars["ansible_user"].Vault || !vars["x"].Vault {
		t.Errorf("variables of a: got %+v, want ansible_user boss or a vault, x a vault", vars)
	}
	t.Setenv("PATH", dir)
	v = load(t, "hosts")
	if _, err := v.Chain(v.Host("a")); err == nil ||
		!strings.Contains(err.Error(),
			"web.yml: is encrypted, and ansible-inventory isn't there: install ansible-core") {
		t.Errorf("without Ansible: %v", err)
	}
}

func TestStandardInputForAnsible(t *testing.T) {
	_, err := Load(context.Background(), []string{"-"}, strings.NewReader("plugin: x\n"))
	if err == nil || !strings.Contains(err.Error(),
		"(standard input):1: is for a plugin of Ansible: Ansible doesn't read standard input") {
		t.Error(err)
	}
}

// Releases of Ansible differ in a path with a comma; it is a file if it is there.
func TestPathWithComma(t *testing.T) {
	v := load(t, write(t, map[string]string{"x,y": "[web]\na\n"})+"/x,y")
	if got := names(v.Hosts()); got != "a" {
		t.Error(got)
	}
}

func TestLineEnds(t *testing.T) {
	for _, text := range []string{"[web]\r\na x=1\r\nb\r\n", "[web]\ra x=1\rb",
		"[web]\x0ba x=1\u2028b\n", "# \xff\n[web]\na x=1\nb"} {
		v := New()
		if err := v.text(origin{file: "f"}, []byte(text)); err != nil || v.finish() != nil ||
			names(v.Hosts()) != "a b" {
			t.Errorf("load %q: got %v, hosts %s; want a b", text, err, names(v.Hosts()))
		}
	}
	if err := New().text(origin{file: "f"}, []byte("a\nb\xff\n")); err == nil ||
		err.Error() != "f:2: not UTF-8" {
		t.Error(err)
	}
	if err := New().text(origin{file: "f"}, []byte("\ufeff[web]\na\n")); err == nil {
		t.Error("a byte order mark is part of a host's name in Ansible")
	}
}

// A directory is followed as it is there: links, broken ones, pipes.
func TestOddFiles(t *testing.T) {
	dir := write(t, map[string]string{"real/hosts": "[web]\na\n", "real/group_vars/web": "v: real\n",
		"inv/group_vars/web": "v: link\n"})
	if err := os.Symlink("../real/hosts", dir+"/inv/hosts"); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{dir + "/inv", dir + "/inv/hosts"} {
		v := load(t, source)
		if got := v.Vars(v.Host("a"))["v"].Value; got != "link" {
			t.Errorf("%s: %v, want link: files count beside the link", source, got)
		}
	}
	os.Symlink("nothing", dir+"/inv/broken")
	if _, err := Load(context.Background(), []string{dir + "/inv"}, nil); err == nil ||
		!strings.Contains(err.Error(), "inv/broken: no such file") {
		t.Error(err)
	}
}

// Another user's files in a directory of everyone's decide nothing.
func TestSharedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := write(t, map[string]string{"inv/hosts": "a\n", "group_vars/all": "ansible_user: mallory\n"})
	t.Chdir(dir)
	user := func() (any, error) {
		v, err := Load(context.Background(), []string{"inv/hosts"}, nil)
		if err != nil {
			return nil, err
		}
		return v.Vars(v.Host("a"))["ansible_user"].Value, nil
	}
	if got, err := user(); got != "mallory" || err != nil {
		t.Errorf("own directory: %v, %v", got, err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := user(); got != "mallory" || err != nil {
		t.Errorf("own files in a shared directory: %v, %v", got, err)
	}
	if err := os.Chown(dir+"/group_vars", 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if got, err := user(); err == nil ||
		!strings.Contains(err.Error(), "group_vars: belongs to another user") {
		t.Errorf("another's files: %v, %v", got, err)
	}
}

// Aliases don't multiply without end.
// One goroutine computes: the race detector has nothing to see here.
func TestAliases(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes under the race detector")
	}
	var b strings.Builder
	b.WriteString("a0: &a0 {hosts: {h: }}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d {children: {x%d: *a%d, y%d: *a%d}}\n", i, i, i, i-1, i, i-1)
	}
	if err := New().text(origin{file: "f"}, []byte(b.String())); err == nil ||
		!strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
}

func TestVarsPlugins(t *testing.T) {
	dir := write(t, map[string]string{"plugins/vars/mine.py": "", "hosts": "a\n"})
	t.Setenv("ANSIBLE_HOME", dir)
	t.Setenv("PATH", dir)
	_, err := Load(context.Background(), []string{dir + "/hosts"}, nil)
	if err == nil || !strings.Contains(err.Error(),
		"plugins/vars/mine.py: decides on variables, and ansible-inventory isn't there") {
		t.Error(err)
	}
}

// An unsafe value is no template, and names that Ansible gives are there for templates.
func TestTemplates(t *testing.T) {
	dir := write(t, map[string]string{"hosts.yml": `
all:
  hosts:
    a.example: {ansible_password: !unsafe "{{x}}", ansible_host: "{{ inventory_hostname_short }}"}
    10.0.0.1: {ansible_host: "{{ inventory_hostname_short }}",
      ansible_ssh_private_key_file: "{{ inventory_dir }}/key"}
`})
	v := load(t, dir+"/hosts.yml")
	for name, want := range map[string]string{"a.example": "a", "10.0.0.1": "10.0.0.1"} {
		chain, err := v.Chain(v.Host(name))
		if err != nil {
			t.Fatal(err)
		}
		if o := chain[0].Options.SSH; name == "10.0.0.1" && o.IdentityFile != dir+"/key" ||
			name != "10.0.0.1" && o.Password != "{{x}}" {
			t.Errorf("%s: key %q, password of %d bytes", name, o.IdentityFile, len(o.Password))
		}
		if chain[0].Target != want {
			t.Errorf("%s: target %q, want %q", name, chain[0].Target, want)
		}
	}
}

// What a script writes to stderr is told.
func TestScriptWarns(t *testing.T) {
	script := "#!/bin/sh\necho half of the cloud is away >&2\necho '{\"_meta\": {\"hostvars\": {}}, " +
		"\"web\": {\"hosts\": [\"a\"]}}'\n"
	v := load(t, write(t, map[string]string{"script": script})+"/script")
	if got := strings.Join(v.Warnings(), "; "); !strings.HasSuffix(got,
		"/script: half of the cloud is away") {
		t.Errorf("warnings %q", got)
	}
}

// What Ansible's configuration says of ways is told where it isn't used, and only where it would
// change a way.
func TestConfigurationUnused(t *testing.T) {
	for _, tt := range []struct{ config, env, hosts, want string }{
		{"[defaults]\nremote_user = ec2-user\n", "", "a",
			"CONFIG:2: remote_user is not used here: the variable for that is ansible_user"},
		{"[defaults]\nremote_user = ec2-user\n", "",
			"a ansible_user=me\nb ansible_ssh_user=me\nc ansible_connection=local", ""},
		{"[defaults]\nhost_key_checking = no\ntransport = smart\nremote_port=22\n", "", "a", ""},
		{"[ssh_connection]\nssh_args = -F cfg\n", "", "a",
			"CONFIG:2: ssh_args is not used here: the variable for that is ansible_ssh_args"},
		{"[ssh_connection]\nssh_args = -C -o ControlMaster=auto -o 'ControlPersist=60s' " +
			"-oServerAliveInterval=5\n", "", "a", ""},
		{"[ssh_connection]\nssh_args = -o ControlMaster=auto -J b\n", "", "a ansible_connection=docker",
			""},
		{"[ssh_connection]\nssh_args = -o ControlMaster=auto -J b\n", "", "a ansible_connection=smart",
			"CONFIG:2: ssh_args is not"},
		{"[privilege_escalation]\nbecome = yes\n", "", "a",
			"CONFIG:2: become is not used here: the variable for that is ansible_become"},
		{"[privilege_escalation]\nbecome = False\nbecome_user=root\nbecome_method=sudo", "", "a", ""},
		{"[sudo_become_plugin]\nflags = -i\n", "", "a ansible_connection=docker",
			"CONFIG:2: flags is not used here"},
		{"[docker_connection]\nextra_cli_args = -H tcp://x\n", "",
			"a ansible_connection=community.docker.docker", "ansible_docker_extra_args"},
		{"", "ANSIBLE_REMOTE_USER=x", "a",
			"$ANSIBLE_REMOTE_USER: is not used here: the variable for that is ansible_user"},
		{"", "ANSIBLE_SSH_COMMON_ARGS=-J b", "a",
			"$ANSIBLE_SSH_COMMON_ARGS: is not used here: the variable for that is ansible_ssh_common_args"},
		{"", "K8S_AUTH_CONTEXT=x", "a", ""},
		{"", "K8S_AUTH_CONTEXT=x", "a ansible_connection=kubernetes.core.kubectl",
			"ansible_kubectl_context"},
	} {
		t.Run(tt.config+tt.env+tt.hosts, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "ansible.cfg")
			writeFile(t, config, tt.config)
			t.Setenv("ANSIBLE_CONFIG", config)
			if name, value, ok := strings.Cut(tt.env, "="); ok {
				t.Setenv(name, value)
			}
			v, err := Load(context.Background(), []string{"-"}, strings.NewReader(tt.hosts))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(strings.Join(v.Warnings(), "; "), config, "CONFIG")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%s%s, hosts %q: warnings %q, want %q", tt.config, tt.env, tt.hosts, got, tt.want)
			}
		})
	}
}
