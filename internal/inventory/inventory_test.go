package inventory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes files of a map in a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const iniText = `
; the lonely ones
mail ansible_host=10.0.0.9   # a comment
"odd.name:2222"

[web]
web[01:03] ansible_user=www ansible_port=2222
old ansible_python_interpreter="/opt/py 2/bin/python" color='#fff'

[db]
db-[a:c:2].example

[prod:children]
web
db

[prod:vars]
tier = one two
quoted = "a # b"
flag=True
n=42

[all:vars]
tier=all
base=1
`

const yamlText = `
all:
  hosts:
    mail: {ansible_host: 10.0.0.9}
  vars: {tier: all, base: 1}
  children:
    prod:
      vars: {tier: one two, flag: yes, n: 42, secret: !vault x, octal: 0644, word: 12:30:45}
      children:
        web:
          hosts:
            web[01:03]:
              ansible_user: www
              ansible_port: 2222
            old:
              ansible_python_interpreter: /opt/py 2/bin/python
        db:
          hosts: {"db-[a:c:2].example": }
`

func load(t *testing.T, sources ...string) *Inventory {
	t.Helper()
	v, err := Load(context.Background(), sources, strings.NewReader(iniText))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func names(hosts []*Host) string {
	var all []string
	for _, h := range hosts {
		all = append(all, h.Name)
	}
	return strings.Join(all, " ")
}

func TestForms(t *testing.T) {
	dir := write(t, map[string]string{"hosts": iniText, "hosts.yml": yamlText})
	for _, source := range []string{"-", dir + "/hosts", dir + "/hosts.yml"} {
		v := load(t, source)
		if got := names(v.members("prod")); got != "web01 web02 web03 old db-a.example db-c.example" {
			t.Errorf("%s: prod is %s", source, got)
		}
		vars := v.Vars(v.Host("web02"))
		want := map[string]any{"ansible_user": "www", "ansible_port": int64(2222), "tier": "one two",
			"base": int64(1), "flag": true, "n": int64(42)}
		for k, x := range want {
			if vars[k].Value != x {
				t.Errorf("%s: %s is %#v, want %#v", source, k, vars[k], x)
			}
		}
		if got := v.Vars(v.Host("mail"))["tier"].Value; got != "all" {
			t.Errorf("%s: tier of mail: got %v, want all", source, got)
		}
		got := v.Vars(v.Host("old"))["ansible_python_interpreter"].Value
		if got != "/opt/py 2/bin/python" {
			t.Errorf("%s: interpreter of old: got %v, want /opt/py 2/bin/python", source, got)
		}
	}
	v := load(t, "-")
	if got := v.Vars(v.Host("odd.name"))["ansible_port"].Value; got != int64(2222) {
		t.Errorf("port %v", got)
	}
	if got := v.Vars(v.Host("web01"))["quoted"].Value; got != "a # b" {
		t.Errorf("variable quoted: got %q, want \"a # b\"", got)
	}
	y := load(t, dir+"/hosts.yml")
	vars := y.Vars(y.Host("old"))
	if !vars["secret"].Vault || vars["octal"].Value != int64(420) ||
		vars["word"].Value != int64(45045) {
		t.Errorf("variables of old: got %+v, want a vault, octal 420, word 45045", vars)
	}
}

func (v *Inventory) members(name string) []*Host { return v.groups[name].members() }

func TestVarsFiles(t *testing.T) {
	dir := write(t, map[string]string{"inv/hosts": "[web]\na x=1 y=1\nb\n",
		"inv/more.yml": "db: {hosts: {c: }}", "inv/notes.md": "[", "inv/.hidden": "[",
		"inv/group_vars/web.yml": "{x: 2, z: 2}", "inv/group_vars/all/first": "w: 1",
		"inv/group_vars/all/second.yml": "w: 2", "inv/host_vars/a.json": `{"y": 3}`})
	v := load(t, dir+"/inv")
	got := fmt.Sprint(v.Vars(v.Host("a"))["x"].Value, v.Vars(v.Host("a"))["y"].Value,
		v.Vars(v.Host("a"))["z"].Value, v.Vars(v.Host("b"))["x"].Value,
		v.Vars(v.Host("c"))["w"].Value)
	if got != "1 3 2 2 2" {
		t.Error(got)
	}
}

// What is a program's is asked of it.
func TestProgram(t *testing.T) {
	dir := write(t, map[string]string{
		"bin/ansible-inventory": "#!/bin/sh\n[ \"$1 $3\" = '-i --list' ] || exit 9\ncase $2 in *bad*) " +
			"echo no such plugin >&2; exit 1;; esac\n" +
			`echo '{"_meta": {"hostvars": {"a": {"ansible_port": 22, "f": 1.5}}}, "web": {"hosts": ["a", ` +
			`"b"], "vars": {"x": "y"}}, "all": {"children": ["web"]}, "old": ["c"]}'` + "\n",
		"hosts.aws.yml": "plugin: amazon.aws.aws_ec2\nregions: [x]\n", "bad.yml": "plugin: x\n",
		"script": "#!/bin/sh\necho '{\"g\": [\"s\"]}'\n"})
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	v := load(t, dir+"/hosts.aws.yml")
	if got := names(v.Hosts()); got != "a b c" {
		t.Error(got)
	}
	if vars := v.Vars(v.Host("a")); vars["ansible_port"].Value != int64(22) ||
		vars["f"].Value != 1.5 || vars["x"].Value != "y" {
		t.Errorf("variables of a: got %+v, want port 22, f 1.5, x y", vars)
	}
	if _, err := Load(context.Background(), []string{dir + "/bad.yml"}, nil); err == nil ||
		!strings.Contains(err.Error(), "bad.yml:1: ansible-inventory: exit status 1: no such plugin") {
		t.Error(err)
	}
	t.Setenv("PATH", dir)
	if names(load(t, dir+"/script").Hosts()) != "s" {
		t.Error("script")
	}
	if _, err := Load(context.Background(), []string{dir + "/hosts.aws.yml"}, nil); err == nil ||
		!strings.Contains(err.Error(), "install ansible-core") {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"hosts", "a\n[web\nb", "hosts:2: no ] in"},
		{"hosts", "[web:hostz]\n", `hosts:1: section [web:hostz]: "hostz" is none of`},
		{"hosts", "a b\n", `hosts:1: behind host a: not NAME=VALUE: "b"`},
		{"hosts", "\n[x:vars]\nnonsense\n", `hosts:3: not NAME=VALUE: "nonsense"`},
		{"hosts", "[x:vars]\na=1\n", `hosts:1: there is no group "x"`},
		{"hosts", "[x:children]\ny\n", `hosts:2: there is no group "y"`},
		{"hosts", "[x:children]\ny z\n[y]\n", "hosts:2: not the name of a group"},
		{"hosts", "web[1:x]\n", "hosts:1: range [1:x]: neither two numbers"},
		{"hosts", "web[01:100]\n", "different width"},
		{"hosts", "web[1:99999999]\n", "more than"},
		{"hosts", "web[1:1000][1:1000][1:1000]\n", "more than"},
		{"hosts", "a 'b\n", "hosts:1: a quote without its end"},
		{"hosts", "[a:children]\nb\n[b:children]\na\n", `hosts:4: group "a" is its own child`},
		{"hosts.yml", "- a\n", "hosts.yml:1: not a mapping of groups"},
		{"hosts.yml", "a:\n  hosts: {b: 3}\n", "hosts.yml:2: host b: not a mapping"},
		{"hosts.yml", "a:\n  hosts: [b]\n", `hosts.yml:2: group "a": hosts is not a mapping`},
		{"hosts.yml", "a: {b\n", "hosts.yml: not YAML: "},
		{"group_vars/all", "- 1\n", "all:1: file: not a mapping"},
	} {
		dir := write(t, map[string]string{"plain": "x\n", tt.name: tt.text})
		source := dir + "/" + tt.name
		if strings.Contains(tt.name, "_vars") {
			source = dir + "/plain"
		}
		v, err := Load(context.Background(), []string{source}, nil)
		if err == nil {
			err = v.anyUnread()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: %v, want %q", tt.name, tt.text, err, tt.want)
		}
		if bad := (*Error)(nil); err != nil && !errors.As(err, &bad) &&
			!strings.Contains(tt.want, "own child") {
			t.Errorf("load %q: got an error of type %T, want an *Error", tt.text, err)
		}
	}
	if _, err := Load(context.Background(), []string{"/no/such"}, nil); err == nil ||
		err.Error() != "inventory /no/such: no such file or directory" {
		t.Error(err)
	}
}

func TestSelect(t *testing.T) {
	v := load(t, "-")
	for pattern, want := range map[string]string{
		"web":              "web01 web02 web03 old",
		"web,db":           "web01 web02 web03 old db-a.example db-c.example",
		"web:db:!old":      "web01 web02 web03 db-a.example db-c.example",
		"prod:&web:!web0*": "old",
		"web*":             "web01 web02 web03 old",
		"~db-[ab]":         "db-a.example",
		"web[0]":           "web01",
		"web[-1]":          "old",
		"web[1:2]":         "web02 web03",
		"web[2:]":          "web03 old",
		"!prod":            "mail odd.name",
		"all:!web:!db":     "mail odd.name",
		"mail, old":        "mail old",
		"*.example":        "db-a.example db-c.example",
		"all":              "mail odd.name web01 web02 web03 old db-a.example db-c.example",
	} {
		got, err := v.Select(pattern)
		if err != nil || names(got) != want {
			t.Errorf("%s: %q, %v, want %q", pattern, names(got), err, want)
		}
	}
	for pattern, want := range map[string]string{
		"wob": `no host or group "wob"`, "Web": `("web"?)`, "zz*": "matches no host", "~(": "pattern",
		"web:!web": "no host is left", "web[": "brackets", ",": "empty",
	} {
		if _, err := v.Select(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(iniText)
	f.Add("---\n" + yamlText)
	f.Add("[a:children]\n[b]\n[c")
	f.Add("x[1:2][a:b] a='b")
	f.Fuzz(func(t *testing.T, text string) {
		v := New()
		if v.text(origin{file: "f"}, []byte(strings.ReplaceAll(text, "plugin", "x"))) == nil &&
			v.finish() == nil {
			for _, h := range v.Hosts()[:min(len(v.Hosts()), 10)] {
				v.Chain(h)
			}
		}
	})
}
